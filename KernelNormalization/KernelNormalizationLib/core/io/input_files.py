"""Safe opening of files from users: regular files only, and decompression only up to the size that the header states."""

from __future__ import annotations

import bz2
import gzip
import stat
import zlib
from pathlib import Path
from typing import IO, Protocol

from ..errors import InputError

# More voxels than any chest CT (the finest scanners make 2048 x 2048 x 400); as float32 they take 8 GB.
MAXIMUM_VOXELS = 1 << 31
# Programs may round a file up to a multiple of 16 bytes; a longer one does not belong to its header.
SPARE_BYTES = 15
# Largest number of bytes decompressed at once, also from damaged data.
_BLOCK = 1 << 22


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def require_regular_file(path: Path) -> int:
    """Check that ``path`` is a readable regular file; opening a pipe would block.

    Returns:
        Its size, bytes.

    Raises:
        InputError: missing, a folder, a pipe or device, or not readable by this user.
    """
    try:
        status = path.stat()
    except PermissionError as error:
        raise InputError(f"{path.name} cannot be opened: you have no permission to read it. Ask for read access.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} does not exist or cannot be reached; check the name and the drive.") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder; give a file.")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is a pipe or a device, not a file; give a file on disk.")
    return status.st_size


def open_file(path: Path) -> IO[bytes]:
    """``path`` opened for reading bytes.

    Raises:
        InputError: not an ordinary file, or it cannot be opened.
    """
    require_regular_file(path)
    try:
        return path.open("rb")
    except PermissionError as error:
        raise InputError(f"{path.name} cannot be opened: you have no permission to read it. Ask for read access.") from error
    except OSError as error:
        raise InputError(f"{path.name} cannot be opened ({error.strerror}); check the drive and copy it again.") from error


def require_possible_size(sizes: tuple[int, ...], name: str) -> int:
    """Number of voxels of an image of ``sizes``.

    Raises:
        InputError: a size that is not positive, or more voxels than a chest CT can have.
    """
    total = 1
    for size in sizes:
        if size < 1:
            raise InputError(f"{name} states the size {_shown(sizes)}; every axis needs at least one voxel. Save it again.")
        total *= size
    if total > MAXIMUM_VOXELS:
        raise InputError(
            f"{name} states the size {_shown(sizes)}, which is {total:.3g} voxels; a chest CT has at most "
            f"{MAXIMUM_VOXELS:.2g}. Its header is damaged, or it is not a chest CT; save it again."
        )
    return total


def require_length(actual: int, expected: int, name: str, what: str = "voxels") -> None:
    """Compare the size of the data with the size that the header states.

    Raises:
        InputError: fewer, or clearly more.
    """
    if actual < expected:
        raise InputError(
            f"{name} holds {actual} bytes of {what} where its header promises {expected}; it is cut off, copy it again."
        )
    if actual > expected + SPARE_BYTES:
        raise InputError(
            f"{name} holds more than the {expected} bytes of {what} that its header promises; header and content do not "
            "belong together. Save it again from its source."
        )


def read_exactly(file: IO[bytes], expected: int, size: int, name: str) -> bytes:
    """The rest of a file of ``size`` bytes, which must be ``expected`` bytes.

    Raises:
        InputError: another length.
    """
    require_length(size - file.tell(), expected, name)
    return file.read(expected)


def unpack_gzip(file: IO[bytes], expected: int, name: str) -> bytearray:
    """Unpack the rest of ``file`` (gzip, any number of members); its checksum and length are verified.

    Raises:
        InputError: damaged, or another length than ``expected``.
    """
    return _unpacked(gzip.GzipFile(fileobj=file), expected, name)


def unpack_bzip2(file: IO[bytes], expected: int, name: str) -> bytearray:
    """Unpack the rest of ``file`` (bzip2); checksums are verified.

    Raises:
        InputError: damaged, or another length than ``expected``.
    """
    return _unpacked(bz2.BZ2File(file), expected, name)


def unpack_zlib(file: IO[bytes], expected: int, name: str) -> bytearray:
    """Unpack the rest of ``file`` (zlib, as MetaImage has it); its checksum is verified.

    Raises:
        InputError: damaged, or another length than ``expected``.
    """
    return _unpacked(_ZlibReader(file), expected, name)


class _ZlibReader:
    """A zlib stream read in blocks; its end and checksum must be there."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._unpacker = file, zlib.decompressobj()

    def read(self, size: int = -1, /) -> bytes:
        unpacker = self._unpacker
        while not unpacker.eof:
            packed = unpacker.unconsumed_tail or self._file.read(_BLOCK)
            if not packed:
                raise EOFError("the stream ends too early")
            block = unpacker.decompress(packed, size)
            if block:
                return block
        return b""


def _unpacked(source: _Readable, expected: int, name: str) -> bytearray:
    content = bytearray()
    try:
        # read to the end, where the checksum is
        while block := source.read(_BLOCK):
            content += block
            if len(content) > expected + SPARE_BYTES:
                break
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise InputError(f"The packed content of {name} is cut off or damaged; copy the file again.") from error
    require_length(len(content), expected, name)
    del content[expected:]
    return content


def _shown(sizes: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in sizes)
