"""Files that a browser sends: counted while they come, stored under numbers, unpacked only into their own folder.

Names of uploaded files often hold the patient's name, and can hold ``..``; here a file gets a number and keeps its suffix.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from KernelNormalizationLib.core.errors import InputError

# Suffixes that are kept, since readers go by them; everything else is taken for DICOM, which is known by its content.
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".zip", ".dcm")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class UploadLimits:
    """What is accepted.

    Attributes:
        sent_bytes: of all files of one upload together. 512 x 512 x 1000 voxels of 16 bits are 0.5 GB.
        unpacked_bytes: of all files of a zip together.
        files: how many, sent or in a zip.
    """

    sent_bytes: int = 2 << 30
    unpacked_bytes: int = 4 << 30
    files: int = 5000


async def save_upload(request: web.Request, folder: Path, limits: UploadLimits | None = None) -> list[Path]:
    """Store the files of a multipart request in ``folder``, a zip among them unpacked; returns what was stored.

    Args:
        request: a form with files.
        folder: empty, private.
        limits: what is accepted.

    Raises:
        InputError: no form, no file, too many or too large, or a zip that is not accepted; the folder may hold a part.
    """
    limits = limits or UploadLimits()
    if not request.content_type.startswith("multipart/"):
        raise InputError("The request holds no files; choose files on the page.")
    stored: list[Path] = []
    sent = 0
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or not part.filename:
                continue
            if len(stored) >= limits.files:
                raise InputError(f"More than {limits.files} files were sent; send one series.")
            path = folder / numbered_name(len(stored), part.filename)
            with path.open("xb") as file:
                async for block in _blocks(part):
                    sent += len(block)
                    if sent > limits.sent_bytes:
                        raise InputError(_too_large("upload", limits.sent_bytes))
                    file.write(block)
            stored.append(path)
    except (ValueError, HttpProcessingError) as error:
        raise InputError("The upload is malformed; send it again.") from error
    if not stored:
        raise InputError("The request holds no files; choose files on the page.")
    return unpacked(stored, folder, limits)


def unpacked(stored: list[Path], folder: Path, limits: UploadLimits | None = None) -> list[Path]:
    """``stored`` with every zip among them replaced by what it holds.

    Raises:
        InputError: a zip that is not accepted.
    """
    files: list[Path] = []
    for path in stored:
        if path.suffix == ".zip":
            inside = folder / f"{path.stem}-unpacked"
            inside.mkdir()
            files += extract_zip(path, inside, limits)
            path.unlink()
        else:
            files.append(path)
    return files


def numbered_name(number: int, name: str) -> str:
    """A name of our own, with the suffix of ``name`` if it is one that readers need."""
    low = name.lower()
    return f"{number:05d}" + next((suffix for suffix in SUFFIXES if low.endswith(suffix)), ".dcm")


def extract_zip(path: Path, folder: Path, limits: UploadLimits | None = None) -> list[Path]:
    """Unpack a zip into ``folder``; entries get numbers for names, and bytes are counted as they come, not as announced.

    Args:
        path: the zip.
        folder: empty; nothing is written outside it.
        limits: what is accepted.

    Returns:
        The files, in the order of the zip. A zip inside stays packed.

    Raises:
        InputError: damaged, encrypted, a link, a name that leads outside, no or too many entries, or too large unpacked.
    """
    limits = limits or UploadLimits()
    files: list[Path] = []
    left = limits.unpacked_bytes
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if not entries:
                raise InputError("The zip is empty; pack the DICOM folder, or one NRRD or NIfTI file.")
            if len(entries) > limits.files:
                raise InputError(f"The zip holds {len(entries)} files; at most {limits.files} are accepted. Pack one series.")
            for entry in entries:
                _require_harmless(entry)
            if sum(entry.file_size for entry in entries) > limits.unpacked_bytes:
                raise InputError(_too_large("unpacked zip", limits.unpacked_bytes))
            for entry in entries:
                target = folder / numbered_name(len(files), entry.filename)
                with archive.open(entry) as source, target.open("xb") as file:
                    left -= _copied(source, file, left, limits)
                files.append(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise InputError(f"The zip cannot be unpacked ({error}); pack it again, without a password.") from error
    return files


def _copied(source: IO[bytes], file: IO[bytes], left: int, limits: UploadLimits) -> int:
    total = 0
    while block := source.read(_BLOCK):
        total += len(block)
        if total > left:
            raise InputError(_too_large("unpacked zip", limits.unpacked_bytes))
        file.write(block)
    return total


def _require_harmless(entry: zipfile.ZipInfo) -> None:
    name = entry.filename.replace("\\", "/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise InputError("The zip holds a link or a device; pack plain files.")
    if name.startswith("/") or ".." in PurePosixPath(name).parts or ":" in name.split("/")[0] or "\0" in name:
        raise InputError("The zip holds a name that leads outside its folder; it is refused. Pack it again.")
    if entry.flag_bits & 0x1:
        raise InputError("The zip has a password; pack it without one.")


async def _blocks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while block := await part.read_chunk(_BLOCK):
        yield block


def _too_large(what: str, limit: int) -> str:
    return f"The {what} is larger than {limit / 1e9:.3g} GB; send one series only, or give its path on this computer."
