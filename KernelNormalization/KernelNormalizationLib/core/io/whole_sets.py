"""Files that belong together are written as one set: a program killed at any moment leaves the old set or the new one.

A set is written into a private folder and moved into place at the end. A folder that holds only such sets is replaced as a
whole, in one step of the file system. Where that is not possible, files are moved one by one after the private folder was
marked as complete, and the next run that uses the folder completes an interrupted move (:func:`finish_interrupted`). Old and
new files are never mixed.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..plain_text import quoted

logger = logging.getLogger(__name__)

PRIVATE_PREFIX = ".ctkernel-unfinished-"
# In the private folder once every file is complete: the files to move in this order.
COMPLETE = ".complete.json"
# A folder with more other files than this was not created for the set.
MOST_OTHER_FILES = 100
# A private folder without a known writer counts as left over after this time, longer than any run.
ABANDONED_SECONDS = 24 * 3600.0
# renameat2(2) and renamex_np(2)
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def require_name(path: Path) -> None:
    """Check that the system takes the name of ``path``, which otherwise shows only when the work is done.

    Raises:
        InputError: too long, with a zero byte, or a link that leads to itself.
    """
    try:
        path.stat()
    except ValueError:
        raise InputError(f"{quoted(path, 120)} holds a zero byte, which no name can have; give another.") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{quoted(path, 120)} is a longer name than the system takes; give a shorter one.") from None
        if error.errno == errno.ELOOP:
            raise InputError(f"{quoted(path, 120)} is a link that leads to itself; give another path.") from None


def require_set_writable(folder: Path, names: Sequence[str] = ()) -> None:
    """Check, before any work is done, that a set can be written into ``folder``; it need not exist.

    Args:
        folder: where the set will be written.
        names: of its files, as far as known.

    Raises:
        InputError: ``folder`` is a file or not writable, or one of ``names`` in it is a folder.
    """
    for path in (folder, *(folder / name for name in names)):
        require_name(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder.")
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"The folder {existing} is not writable; choose another, or ask for the permission to write there.")
    for name in names:
        if (folder / name).is_dir():
            raise InputError(f"{folder / name} is a folder where a file is to be written; move it away or write elsewhere.")


@contextmanager
def whole_set(folder: Path, names: Sequence[str] = (), own_folder: bool = True) -> Iterator[Path]:
    """A private folder; when the block ends without an error, all of its files are moved into ``folder``, else none.

    Other files in ``folder`` are kept.

    Args:
        folder: target; created if it does not exist.
        names: of files that belong to such a set: an older one that is not replaced is removed.
        own_folder: whether ``folder`` was made for such sets, so that it may be replaced as a whole.

    Raises:
        InputError: ``folder`` cannot be written to, or holds a folder of a file's name; nothing is changed.
    """
    require_set_writable(folder)
    folder = folder.resolve()
    for place in (folder, folder.parent):
        finish_interrupted(place)
    beside = not folder.exists() or (own_folder and _may_be_replaced(folder))
    home = folder.parent if beside else folder
    home.mkdir(parents=True, exist_ok=True)
    private = Path(tempfile.mkdtemp(dir=home, prefix=private_prefix()))
    try:
        yield private
        written = sorted(path.name for path in private.iterdir() if not path.name.startswith(PRIVATE_PREFIX))
        gone = [name for name in names if name not in written]
        require_set_writable(folder, (*written, *gone))
        if not (beside and _replaced_as_a_whole(private, folder, gone)):
            if beside:
                private = private.rename(folder / private.name)
            _write_whole(private / COMPLETE, {"written": written, "gone": gone})
            _move_into_place(private, folder, written, gone)
    finally:
        # a complete set is moved by the next run
        if private.exists() and not (private / COMPLETE).exists():
            shutil.rmtree(private, ignore_errors=True)


def _may_be_replaced(folder: Path) -> bool:
    """Whether the folder can be exchanged for another one."""
    is_here = Path.cwd().is_relative_to(folder)
    return not is_here and not folder.is_mount() and os.access(folder.parent, os.W_OK | os.X_OK)


def _replaced_as_a_whole(private: Path, folder: Path, gone: Sequence[str]) -> bool:
    """Replace ``folder`` by ``private`` in one step; false, with nothing changed, where that is not possible."""
    if not folder.exists():
        private.chmod(0o777 & ~current_umask())
        private.rename(folder)
        return True
    others = [path for path in folder.iterdir() if path.name not in gone and not (private / path.name).exists()]
    linked = []
    try:
        if len(others) > MOST_OTHER_FILES or any(path.is_symlink() or not path.is_file() for path in others):
            return False
        for path in others:
            os.link(path, private / path.name)
            linked.append(private / path.name)
        shutil.copymode(folder, private)
        if _exchanged(private, folder):
            # files that were added to the old folder in the meantime
            for path in private.iterdir():
                if path.name not in gone and not (folder / path.name).exists():
                    path.rename(folder / path.name)
            return True
    except OSError:
        logger.debug("The folder cannot be replaced as a whole", exc_info=True)
    for path in linked:
        path.unlink()
    return False


def _exchanged(first: Path, second: Path) -> bool:
    """Exchange two folders in one step (Linux, macOS); false where the system cannot."""
    library: Any = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    names = os.fsencode(first), os.fsencode(second)
    if hasattr(library, "renameat2"):
        return bool(library.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)
    if hasattr(library, "renamex_np"):
        return bool(library.renamex_np(*names, RENAME_EXCHANGE) == 0)
    return False


def finish_interrupted(folder: Path) -> None:
    """Move the sets that were complete when their writer was killed; remove unfinished files and sets of writers that ended.

    Args:
        folder: where sets are written; nothing happens if it does not exist.
    """
    if not folder.is_dir():
        return
    for private in sorted(folder.glob(PRIVATE_PREFIX + "*")):
        if not _is_abandoned(private):
            continue
        if (content := _whole_list(private / COMPLETE)) is not None:
            _move_into_place(private, folder, *content)
        elif private.is_dir():
            shutil.rmtree(private, ignore_errors=True)
        else:
            private.unlink(missing_ok=True)


def private_prefix() -> str:
    """How the name of an unfinished file or folder of this process begins.

    It says whose it is: what a process left that was killed at any moment is known as left over.
    """
    return f"{PRIVATE_PREFIX}{_this_machine()}-{os.getpid()}-"


def _whole_list(path: Path) -> tuple[list[str], list[str]] | None:
    """The names in a set's list, written and gone; ``None`` where there is none, or none that this program wrote."""
    try:
        if not path.is_file():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        written, gone = content["written"], content["gone"]
        own = all(name and name == Path(name).name and name != ".." for name in (*written, *gone))
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return (written, gone) if own else None


def _move_into_place(private: Path, folder: Path, written: Sequence[str], gone: Sequence[str]) -> None:
    waiting = [name for name in written if (private / name).exists()]
    if len(waiting) == len(written):
        # remove old files first, so that old and new files are never mixed
        for name in (*written[1:], *gone):
            (folder / name).unlink(missing_ok=True)
    for name in waiting:
        (private / name).replace(folder / name)
    shutil.rmtree(private, ignore_errors=True)


def _is_abandoned(private: Path) -> bool:
    """Whether the writer of a private folder has ended: by its process on this machine, else by the folder's age."""
    machine, _, rest = private.name.removeprefix(PRIVATE_PREFIX).partition("-")
    process = rest.partition("-")[0]
    if os.name == "posix" and machine == _this_machine() and process.isdecimal():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            return False
        return False
    try:
        return time.time() - private.stat().st_mtime > ABANDONED_SECONDS
    except OSError:
        return False


def _this_machine() -> str:
    """A mark of this computer that any file system takes in a name."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12]


def _write_whole(path: Path, content: object) -> None:
    """Write JSON completely or not at all, even if the power fails."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def current_umask() -> int:
    """The process's file mode mask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
