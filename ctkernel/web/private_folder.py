"""A folder for a scan that somebody uploaded: for this user only, and gone when the program is, however it ended."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..file_lock import try_to_lock

PREFIX = "ctkernel-private-"
# Held locked by the program that uses the folder. The operating system unlocks it even after kill -9.
LOCK = ".in-use"
# A folder without a lock file is just being made, or its maker was killed then.
BEING_MADE_SECONDS = 60.0


@contextmanager
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder that only this user can read; removed at the end. Those that killed programs left are removed first.

    Args:
        parent: where it is made; the system's folder for temporary files unless told otherwise.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    with (folder / LOCK).open("wb") as lock:
        try_to_lock(lock)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)  # Windows keeps the lock file until it is closed


def remove_abandoned(parent: Path) -> int:
    """Remove the private folders in ``parent`` whose program is gone; returns how many."""
    removed = 0
    for folder in parent.glob(PREFIX + "*"):
        if _is_ours(folder) and _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def _is_ours(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    if folder.is_symlink() or not folder.is_dir():
        return False
    return sys.platform == "win32" or status.st_uid == os.getuid()


def _is_abandoned(folder: Path) -> bool:
    try:
        with (folder / LOCK).open("r+b") as lock:
            return try_to_lock(lock)
    except FileNotFoundError:
        try:
            return time.time() - folder.stat().st_mtime > BEING_MADE_SECONDS
        except OSError:
            return False
    except OSError:
        return False
