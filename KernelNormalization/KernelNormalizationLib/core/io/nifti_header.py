"""What the NIfTI library overlooks: cut-off files, read and written without complaint, and spacings that are no lengths."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

from ..errors import InputError

NIFTI_SUFFIXES = (".nii", ".nii.gz")
# Offsets of dim, bitpix, pixdim and vox_offset by size of the header: NIfTI-1, NIfTI-2.
_LAYOUTS = {348: ("8h", 40, 72, "8f", 76, "f", 108), 540: ("8q", 16, 14, "8d", 104, "q", 168)}
_BLOCK = 1 << 24


def check_nifti(path: Path) -> None:
    """Check that a ``.nii`` or ``.nii.gz`` file holds all its voxels and positive spacings.

    Raises:
        InputError: damaged header, spacing not positive, or fewer bytes than the header says.
    """
    compressed = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path, "rb") if compressed else path.open("rb") as file:
            spacing, expected = _facts(file.read(540), path)
        if not all(math.isfinite(s) and s > 0.0 for s in spacing):
            raise InputError(f"{path.name} has spacing {spacing} mm; all must be positive. Correct the file's header.")
        actual = _unpacked_size(path, expected) if compressed else path.stat().st_size
    except (EOFError, zlib.error, gzip.BadGzipFile, struct.error) as error:
        raise InputError(f"{path.name} is cut off or damaged ({error}); copy it again.") from error
    if actual < expected:
        raise InputError(f"{path.name} holds {actual} bytes instead of {expected}; it is cut off, copy it again.")


def _facts(header: bytes, path: Path) -> tuple[tuple[float, ...], int]:
    """Spacing (mm, as stated) of the dimensions in use and the size the file must have, bytes."""
    for order in "<>":
        (size,) = struct.unpack_from(order + "i", header)
        if size in _LAYOUTS:
            break
    else:
        raise InputError(f"{path.name} has no NIfTI header; the file is damaged or not the format its name says.")
    dim_format, dim_at, bits_at, pixdim_format, pixdim_at, offset_format, offset_at = _LAYOUTS[size]
    dim = struct.unpack_from(order + dim_format, header, dim_at)
    (bits,) = struct.unpack_from(order + "h", header, bits_at)
    pixdim = struct.unpack_from(order + pixdim_format, header, pixdim_at)
    (offset,) = struct.unpack_from(order + offset_format, header, offset_at)
    used = min(max(int(dim[0]), 0), 7)
    return pixdim[1 : 1 + min(used, 3)], int(offset) + math.prod(dim[1 : 1 + used]) * bits // 8


def _unpacked_size(path: Path, expected: int) -> int:
    """Size of the unpacked file; its trailer is believed, anything else is unpacked to be sure."""
    with path.open("rb") as file:
        file.seek(-4, 2)
        (stated,) = struct.unpack("<I", file.read(4))
    if stated == expected % (1 << 32):
        return expected
    with gzip.open(path, "rb") as file:
        return _length(file)


def _length(file: gzip.GzipFile) -> int:
    total = 0
    while block := file.read(_BLOCK):
        total += len(block)
    return total
