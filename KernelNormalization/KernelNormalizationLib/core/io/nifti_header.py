"""NIfTI files: header and voxels, each checked against the other before anything is unpacked.

Format: nifti1.h (R. W. Cox, 2004 and 2007) and nifti2.h; the names of the fields below are those.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..plain_text import quoted
from .input_files import open_file, read_exactly, require_length, require_possible_size, unpack_gzip
from .stored_image import StoredImage, require_origin, require_rotation, require_spacing, require_three_dimensions

NIFTI_SUFFIXES = (".nii", ".nii.gz")
DESCRIPTION = "ITK_FileNotes"  # SimpleITK's name of the field descrip
# Size of the header -> magic of a single file, of a pair, format and offset of each field.
_MAGIC = {348: (b"n+1\0", b"ni1\0"), 540: (b"n+2\0", b"ni2\0")}
_FIELDS = {
    348: {
        "magic": ("4s", 344),
        "dim": ("8h", 40),
        "datatype": ("h", 70),
        "bitpix": ("h", 72),
        "pixdim": ("8f", 76),
        "vox_offset": ("f", 108),
        "slope": ("f", 112),
        "inter": ("f", 116),
        "units": ("B", 123),
        "descrip": ("80s", 148),
        "qform": ("h", 252),
        "sform": ("h", 254),
        "quatern": ("6f", 256),
        "srow": ("12f", 280),
    },
    540: {
        "magic": ("4s", 4),
        "dim": ("8q", 16),
        "datatype": ("h", 12),
        "bitpix": ("h", 14),
        "pixdim": ("8d", 104),
        "vox_offset": ("q", 168),
        "slope": ("d", 176),
        "inter": ("d", 184),
        "units": ("i", 500),
        "descrip": ("80s", 240),
        "qform": ("i", 344),
        "sform": ("i", 348),
        "quatern": ("6d", 352),
        "srow": ("12d", 400),
    },
}
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_COMPLEX, _COLOURS = (32, 1792, 2048), {128: 3, 2304: 4}
_GZIP = b"\x1f\x8b"
_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
# sform and pixdim are both stored in float32 and rounded by writers; a contradiction is more.
_SPACING_AGREEMENT, _DIRECTION_AGREEMENT = 0.01, 0.05
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class _Header:
    """The fields of a header by their names, and the byte order."""

    size: int
    order: str
    content: bytes

    def get(self, name: str) -> tuple[float, ...]:
        form, place = _FIELDS[self.size][name]
        values: tuple[float, ...] = struct.unpack_from(self.order + form, self.content, place)
        return values

    def text(self, name: str) -> bytes:
        form, place = _FIELDS[self.size][name]
        (value,) = struct.unpack_from(self.order + form, self.content, place)
        return bytes(value)


def check_nifti(path: Path) -> None:
    """Check that a ``.nii`` or ``.nii.gz`` file holds all its voxels and a placement.

    Raises:
        InputError: damaged header, spacing not positive, or fewer bytes than the header says.
    """
    name = path.name
    with open_file(path) as file:
        compressed = _is_packed(file)
        header = _header(_first_bytes(file, compressed, name), name)
        _placement(header, name)
        expected = _start(header, name) + require_possible_size(_sizes(header, name), name) * _dtype(header, name).itemsize
        file.seek(0)
        if compressed:
            unpack_gzip(file, expected, name)
        else:
            require_length(path.stat().st_size, expected, name)


def read_nifti(path: Path) -> StoredImage:
    """Read a three-dimensional image of one number a voxel, its intensity scaling applied (float64 unless it is 1 and 0).

    Raises:
        InputError: damaged, cut off, contradictory, sheared, or not such an image.
    """
    name = path.name
    with open_file(path) as file:
        compressed = _is_packed(file)
        header = _header(_first_bytes(file, compressed, name), name)
        sizes = _sizes(header, name)
        count = require_possible_size(sizes, name)
        dtype = _dtype(header, name)
        slope, intercept = _scaling(header, name)
        spacing, origin, direction = _placement(header, name)
        start = _start(header, name)
        expected = start + count * dtype.itemsize
        file.seek(0)
        size = path.stat().st_size
        content = unpack_gzip(file, expected, name) if compressed else read_exactly(file, expected, size, name)
    voxels = np.frombuffer(content, dtype, count, start).reshape(sizes[::-1])
    if (slope, intercept) != (1.0, 0.0):
        voxels = voxels.astype(np.float64) * slope + intercept
    notes = header.text("descrip").partition(b"\0")[0].decode("utf-8", "replace").strip()
    return StoredImage(voxels, spacing, origin, direction, {DESCRIPTION: notes} if notes else {})


def _is_packed(file: IO[bytes]) -> bool:
    """Whether ``file`` begins like gzip; programs give packed and plain files each other's names."""
    begin = file.read(len(_GZIP))
    file.seek(0)
    return begin == _GZIP


def _first_bytes(file: IO[bytes], compressed: bool, name: str) -> bytes:
    try:
        return gzip.GzipFile(fileobj=file).read(540) if compressed else file.read(540)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"The packed content of {name} is cut off or damaged; copy the file again.") from error


def _header(content: bytes, name: str) -> _Header:
    for order in "<>":
        size = struct.unpack_from(order + "i", content)[0] if len(content) >= 4 else 0
        if size in _MAGIC and len(content) >= size:
            header = _Header(size, order, content)
            single, pair = _MAGIC[size]
            magic = header.text("magic")
            if magic == single:
                return header
            if magic == pair:
                raise InputError(f"{name} is the header of a pair of files (.hdr, .img); save it again as one .nii file.")
            told, right = (quoted(word.decode("ascii", "replace").rstrip("\0")) for word in (magic, single[:3]))
            raise InputError(f"{name} has the magic word {told} instead of {right}; its header is damaged, save it again.")
    raise InputError(f"{name} has no NIfTI header; the file is damaged or not the format its name says.")


def _sizes(header: _Header, name: str) -> tuple[int, ...]:
    dim = [int(v) for v in header.get("dim")]
    if not 1 <= dim[0] <= 7:
        raise InputError(f"{name} states {dim[0]} dimensions; 1 to 7 are possible. Its header is damaged, save it again.")
    sizes = dim[1 : 1 + dim[0]]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    kind = int(header.get("datatype")[0])
    if kind in _COMPLEX:
        raise InputError("The voxels are complex numbers; a CT in Hounsfield units has one real number a voxel.")
    vector = len(sizes) == 5 and sizes[3] == 1
    require_three_dimensions(sizes[:3] if vector else sizes, sizes[4] if vector else _COLOURS.get(kind, 1))
    return tuple(sizes)


def _dtype(header: _Header, name: str) -> np.dtype[np.generic]:
    kind, bits = int(header.get("datatype")[0]), int(header.get("bitpix")[0])
    if kind not in _TYPES:
        raise InputError(f"{name} states the data type {kind}, which is not read; save it again as 16-bit or decimal numbers.")
    dtype = np.dtype(header.order + _TYPES[kind])
    if bits != 8 * dtype.itemsize:
        raise InputError(f"{name} states {bits} bits a voxel for a type of {8 * dtype.itemsize}; its header is damaged.")
    return dtype


def _scaling(header: _Header, name: str) -> tuple[float, float]:
    slope, intercept = header.get("slope")[0], header.get("inter")[0]
    # by nifti1.h a slope of 0 means "not scaled"; some programs write NaN for both instead
    if (slope == 0.0 and intercept == 0.0) or (math.isnan(slope) and math.isnan(intercept)):
        return 1.0, 0.0
    if slope == 0.0 or not (math.isfinite(slope) and math.isfinite(intercept)):
        raise InputError(
            f"{name} states the scaling slope {slope:g} and intercept {intercept:g}, which give no HU; save it again."
        )
    return slope, intercept


def _start(header: _Header, name: str) -> int:
    offset = header.get("vox_offset")[0]
    least = header.size + 4
    if not math.isfinite(offset) or offset < least or offset != int(offset) or offset > 1 << 30:
        raise InputError(
            f"{name} states that its voxels begin at byte {offset:g}; byte {least} is the first possible. "
            "Its header is damaged, save it again."
        )
    return int(offset)


def _placement(
    header: _Header, name: str
) -> tuple[tuple[float, float, float], tuple[float, float, float], NDArray[np.float64]]:
    units = int(header.get("units")[0]) & 7
    if units not in _MM:
        raise InputError(f"{name} states the unknown unit of length {units}; save it again in mm.")
    pixdim, scale = header.get("pixdim"), _MM[units]
    spacing = require_spacing([float(v) * scale for v in pixdim[1:4]], name)
    qform, sform = header.get("qform")[0] > 0, header.get("sform")[0] > 0
    if not qform and not sform:
        raise InputError(
            f"{name} states no orientation (qform_code and sform_code are 0), so left and right are unknown; "
            "save it again with its geometry."
        )
    found: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    if sform:
        rows = np.reshape(header.get("srow"), (3, 4)) * scale
        lengths = require_spacing([float(v) for v in np.linalg.norm(rows[:, :3], axis=0)], name)
        if not np.allclose(lengths, spacing, rtol=_SPACING_AGREEMENT, atol=0.0):
            raise InputError(
                f"{name} states the spacing {_shown(spacing)} mm in pixdim and {_shown(lengths)} mm in its sform; "
                "they contradict each other. Correct the header, or save it again from its source."
            )
        found.append((require_rotation(_RAS_TO_LPS @ (rows[:, :3] / np.array(lengths)), name), _RAS_TO_LPS @ rows[:, 3]))
    if qform:
        rotation, offset = _quaternion(header, name)
        found.append((_RAS_TO_LPS @ rotation, _RAS_TO_LPS @ (offset * scale)))
    if len(found) == 2 and float(np.abs(found[0][0] - found[1][0]).max()) > _DIRECTION_AGREEMENT:
        raise InputError(f"{name} states two orientations, sform and qform, that differ; save it again with one.")
    direction, origin = found[0]
    return spacing, require_origin([float(v) for v in origin], name), direction


def _quaternion(header: _Header, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation (RAS) and offset (RAS, in the file's unit) of the qform; formula of nifti1.h, METHOD 2."""
    *bcd, x, y, z = header.get("quatern")
    factor = header.get("pixdim")[0]
    b, c, d = bcd
    square = b * b + c * c + d * d
    if not math.isfinite(square) or square > 1.01 or factor not in (-1.0, 0.0, 1.0):
        raise InputError(
            f"{name} states the quaternion ({b:g}, {c:g}, {d:g}) with sign {factor:g}, which is no orientation; save it again."
        )
    if square > 1.0:
        a, (b, c, d) = 0.0, (v / math.sqrt(square) for v in bcd)
    else:
        a = math.sqrt(1.0 - square)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    rotation[:, 2] *= -1.0 if factor < 0.0 else 1.0
    return rotation, np.array([x, y, z])


def _shown(values: tuple[float, float, float]) -> str:
    return " x ".join(f"{v:g}" for v in values)
