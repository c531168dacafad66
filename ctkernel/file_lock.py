"""A lock on a file that the operating system takes away when the program ends, however it ended."""

from __future__ import annotations

import sys
from typing import IO


def try_to_lock(file: IO[bytes], place: int = 0) -> bool:
    """Lock ``file`` until it is closed; false if another program has.

    Args:
        file: open for reading and writing; left at its beginning.
        place: of the byte that stands for the file on Windows, which keeps others from reading a locked byte.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(place)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(0)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
