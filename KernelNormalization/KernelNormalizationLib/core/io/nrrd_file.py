"""NRRD files: header and voxels, each checked against the other before anything is unpacked.

Format: Teem's "Definition of NRRD File Format" (NRRD0001 to NRRD0005).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..plain_text import quoted
from .input_files import open_file, read_exactly, require_possible_size, unpack_bzip2, unpack_gzip
from .stored_image import (
    ORIENTATION_KEY,
    StoredImage,
    require_once,
    require_origin,
    require_rotation,
    require_spacing,
    require_three_dimensions,
)

_MAGIC = re.compile(rb"NRRD000[1-5]\r?\n")
_MAXIMUM_HEADER = 1 << 20
_TYPES: Mapping[str, str] = {
    name: code
    for code, names in {
        "i1": "signed char, int8, int8_t",
        "u1": "uchar, unsigned char, uint8, uint8_t",
        "i2": "short, short int, signed short, signed short int, int16, int16_t",
        "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
        "i4": "int, signed int, int32, int32_t",
        "u4": "uint, unsigned int, uint32, uint32_t",
        "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
        "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
        "f4": "float",
        "f8": "double",
    }.items()
    for name in names.split(", ")
}
# Signs that convert the coordinates of a space to LPS.
_TO_LPS: Mapping[str, tuple[float, float, float]] = {
    name: signs
    for signs, names in {
        (1.0, 1.0, 1.0): "left-posterior-superior, lps, scanner-xyz, 3d-right-handed, 3d-left-handed, scanner",
        (-1.0, -1.0, 1.0): "right-anterior-superior, ras",
        (1.0, -1.0, 1.0): "left-anterior-superior, las",
    }.items()
    for name in names.split(", ")
}
_KNOWN_FIELDS = frozenset(
    (
        "dimension",
        "type",
        "block size",
        "blocksize",
        "encoding",
        "endian",
        "content",
        "min",
        "max",
        "old min",
        "oldmin",
        "old max",
        "oldmax",
        "data file",
        "line skip",
        "byte skip",
        "number",
        "sample units",
        "sampleunits",
        "space",
        "space dimension",
        "space units",
        "space origin",
        "space directions",
        "measurement frame",
        "sizes",
        "spacings",
        "thicknesses",
        "axis mins",
        "axismins",
        "axis maxs",
        "axismaxs",
        "centers",
        "labels",
        "units",
        "kinds",
    )
)
# Kinds of an axis along which the same place is shown more than once.
_REPEATED_KINDS = ("time", "frequency")
# Spaces, and none, that do not say where the patient's left is; they are read as LPS, as other programs do.
_NOT_ANATOMICAL = ("", "scanner-xyz", "3d-right-handed", "3d-left-handed", "scanner")
# Beginnings of the texts that are read, of the segments of 3D Slicer and of this project.
_OWN_TEXTS = ("Segment", "CTKernelNormalization.")
# Spacings and directions of one file may differ by the digits that were written.
_ROUNDING = 1e-3
_LENGTHS = {"mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "": 1.0}
_COMPONENT_KINDS = (
    "vector",
    "list",
    "rgb-color",
    "rgba-color",
    "3-color",
    "4-color",
    "covariant-vector",
    "normal",
    "point",
    "complex",
    "2-vector",
    "3-vector",
    "4-vector",
    "3-gradient",
    "3-normal",
)


@dataclass(frozen=True)
class NrrdHeader:
    """Fields (lower case) and key/value texts of a header, and the position of its voxels in the file."""

    fields: Mapping[str, str]
    texts: Mapping[str, str]
    end: int

    def words(self, name: str) -> list[str]:
        """The words of a field; empty if it is absent."""
        return self.fields.get(name, "").split()


def read_nrrd(path: Path) -> StoredImage:
    """Read a three-dimensional image of one number a voxel from a ``.nrrd`` or ``.nhdr`` file.

    Raises:
        InputError: damaged, cut off, without spacing, sheared, or not such an image.
    """
    with open_file(path) as file:
        header = parse_header(file, path.name)
        sizes = _sizes(header, path.name)
        vector = _component_axis(header, sizes)
        components = 1 if vector is None else sizes[vector]
        require_three_dimensions([s for n, s in enumerate(sizes) if n != vector], components)
        repeated = [kind for kind in header.words("kinds") if kind.lower() in _REPEATED_KINDS]
        if repeated:
            raise InputError(f"{path.name} has an axis of the kind {quoted(repeated[0])}; save one volume of it by itself.")
        if vector is not None:
            raise InputError(f"{path.name} keeps one number a voxel as a list; save it as a plain three-dimensional image.")
        return _read(file, path, header, sizes)


def read_nrrd_layers(path: Path) -> StoredImage:
    """Read a segmentation (``.seg.nrrd``): voxels (k, j, i, layer) and its texts; an image without layers has one.

    Raises:
        InputError: damaged, cut off, without placement, sheared, or not of whole numbers.
    """
    name = path.name
    with open_file(path) as file:
        header = parse_header(file, name)
        sizes = _sizes(header, name)
        spatial = sizes[1:] if len(sizes) == 4 else sizes
        require_three_dimensions(spatial, 1)
        if "space directions" not in header.fields or "space origin" not in header.fields:
            raise InputError(f"{name} states no placement (space directions and origin); save it again with 3D Slicer.")
        stored = _read(file, path, header, sizes)
    if stored.voxels.dtype.kind not in "iu":
        raise InputError(f"{name} holds decimal numbers; a segmentation has whole ones. Save it again with 3D Slicer.")
    layers = stored.voxels if len(sizes) == 4 else stored.voxels[..., None]
    return replace(stored, voxels=layers)


def _component_axis(header: NrrdHeader, sizes: tuple[int, ...]) -> int | None:
    kinds = [kind.lower() for kind in header.words("kinds")]
    return next((n for n, kind in enumerate(kinds) if kind in _COMPONENT_KINDS and n < len(sizes)), None)


def _read(file: IO[bytes], path: Path, header: NrrdHeader, sizes: tuple[int, ...]) -> StoredImage:
    require_possible_size(sizes, path.name)
    spacing, origin, direction = _placement(header, path.name)
    dtype = _dtype(header, path.name)
    body = _body(file, path, header, math.prod(sizes), dtype)
    voxels = np.frombuffer(body, dtype).reshape(sizes[::-1])
    assumed = header.fields.get("space", "").lower() in _NOT_ANATOMICAL
    texts = {**header.texts, ORIENTATION_KEY: "true"} if assumed else header.texts
    return StoredImage(voxels, spacing, origin, direction, texts)


def parse_header(file: IO[bytes], name: str) -> NrrdHeader:
    """Read the header at the beginning of ``file``.

    Raises:
        InputError: it is none, has no end or a line that is no field.
    """
    start = file.read(_MAXIMUM_HEADER)
    if not _MAGIC.match(start):
        raise InputError(f"{name} does not begin like a NRRD file; it is damaged or not the format its name says.")
    ends = [start.find(mark) + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if mark in start]
    end = min(ends, default=len(start))
    fields: dict[str, str] = {}
    texts: dict[str, str] = {}
    # not splitlines, which also parts the texts of other programs at rare characters such as U+2028
    for line in start[:end].decode("utf-8", "replace").replace("\r\n", "\n").split("\n")[1:]:
        if not line.strip() or line.startswith("#"):
            continue
        if ":=" in line and (": " not in line or line.index(":=") < line.index(": ")):
            key, _, text = line.partition(":=")
            if key.startswith(_OWN_TEXTS):
                require_once(texts, key.strip(), text.strip(), name)
            texts[key.strip()] = text.strip()
            continue
        key, colon, value = line.partition(":")
        if not colon:
            raise InputError(f"{name} has the header line {quoted(line, 60)}, which is no NRRD field; the file is damaged.")
        field = _same_name(key.strip().lower())
        if field not in _KNOWN_FIELDS:
            # a damaged field name would otherwise be ignored, and the field, such as the origin, lost
            raise InputError(f"{name} has the header field {quoted(key)}, which NRRD does not know; the file is damaged.")
        require_once(fields, field, value.strip(), name)
        fields[field] = value.strip()
    return NrrdHeader(fields, texts, end)


def _same_name(key: str) -> str:
    return {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip", "centerings": "centers"}.get(key, key)


def _sizes(header: NrrdHeader, name: str) -> tuple[int, ...]:
    try:
        dimension = int(header.fields.get("dimension", ""))
        sizes = tuple(int(word) for word in header.words("sizes"))
    except ValueError:
        dimension, sizes = 0, ()
    if dimension < 1 or len(sizes) != dimension:
        stated = f"dimension {quoted(header.fields.get('dimension', ''))} and sizes {quoted(header.fields.get('sizes', ''))}"
        raise InputError(f"{name} states {stated}, which do not fit together; its header is damaged, save it again.")
    return sizes


def _placement(
    header: NrrdHeader, name: str
) -> tuple[tuple[float, float, float], tuple[float, float, float], NDArray[np.float64]]:
    for unit in [word.strip('"').lower() for field in ("space units", "units") for word in header.words(field)]:
        if unit not in _LENGTHS:
            raise InputError(f"{name} states lengths in {quoted(unit)}; only mm are read. Save it again in mm.")
    directions = header.fields.get("space directions")
    if directions is None:
        if "spacings" not in header.fields:
            raise InputError(
                f"{name} states no spacing (neither “space directions” nor “spacings”), so no volume can be measured; "
                "save it again with its geometry."
            )
        return require_spacing(_numbers(header.fields["spacings"], name), name), (0.0, 0.0, 0.0), np.eye(3)
    space = header.fields.get("space", "").lower()
    signs = _TO_LPS.get(space)
    if signs is None:
        raise InputError(f"{name} states the space {quoted(space)}; only LPS, RAS and LAS are read. Save it again in LPS.")
    # "none" or a vector of NaN stands for the axis of the layers
    parts = [part.replace("none", " ").strip() for part in directions.replace(")", " ").split("(")]
    vectors = [_numbers(part, name) for part in parts if part]
    if header.words("kinds")[:1] == ["list"] and len(vectors) == 4:
        vectors = vectors[1:]
    matrix = np.array([v for v in vectors if len(v) == 3], dtype=float).reshape(-1, 3) * signs
    if len(vectors) != 3 or matrix.shape != (3, 3):
        raise InputError(f"{name} has the space directions {quoted(directions, 80)}; three vectors are needed. Save it again.")
    with np.errstate(all="ignore"):
        spacing = require_spacing([float(v) for v in np.linalg.norm(matrix, axis=1)], name)
    _require_same_lengths(header, spacing, name)
    rotation = require_rotation((matrix / np.array(spacing)[:, None]).T, name)
    origin = _numbers(header.fields.get("space origin", "(0,0,0)"), name)
    placed = require_origin([float(o) * s for o, s in zip(origin, signs, strict=False)] if len(origin) == 3 else origin, name)
    return spacing, placed, rotation


def _require_same_lengths(header: NrrdHeader, lengths: tuple[float, float, float], name: str) -> None:
    """Refuse “spacings” beside “space directions” of other lengths; NaN stands for an unknown spacing."""
    spacings = _numbers(header.fields.get("spacings", ""), name)[-3:]
    if all(math.isnan(s) or math.isclose(s, mm, rel_tol=_ROUNDING) for s, mm in zip(spacings, lengths, strict=False)):
        return
    raise InputError(
        f"{name} states the spacings {quoted(header.fields['spacings'], 60)} and space directions with the lengths "
        f"{' '.join(f'{mm:g}' for mm in lengths)} mm; one of both is wrong. Correct its header, or save it again."
    )


def _numbers(text: str, name: str) -> list[float]:
    words = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    try:
        return [float(word) for word in words]
    except ValueError:
        raise InputError(f"{name} has {quoted(text, 60)} in its header where numbers must stand; save it again.") from None


def _dtype(header: NrrdHeader, name: str) -> np.dtype[np.generic]:
    stated = header.fields.get("type", "")
    code = _TYPES.get(stated.lower())
    if code is None:
        raise InputError(f"{name} states the voxel type {quoted(stated)}; whole or decimal numbers are read. Save it again.")
    endian = header.fields.get("endian", "").lower()
    text = header.fields.get("encoding", "").lower() in ("ascii", "text", "txt")
    if code[1] != "1" and endian not in ("little", "big") and not text:
        raise InputError(f"{name} does not state its byte order (endian: {quoted(endian)}); save it again.")
    return np.dtype((">" if endian == "big" else "<") + code)


def _body(file: IO[bytes], path: Path, header: NrrdHeader, count: int, dtype: np.dtype[np.generic]) -> bytes | bytearray:
    stated = header.fields.get("data file")
    if stated is None:
        if header.end >= path.stat().st_size:
            raise InputError(f"{path.name} ends after its header; the voxels are missing, copy it again.")
        file.seek(header.end)
        return _decoded(file, path, header, count, dtype)
    if stated.upper().startswith("LIST") or "%" in stated:
        raise InputError(f"{path.name} names a list of data files; save it again as one file.")
    data = path.parent / stated
    if not data.exists():
        raise InputError(f"{path.name} names the data file {quoted(stated, 80)}, which is missing; copy both files together.")
    with open_file(data) as detached:
        return _decoded(detached, data, header, count, dtype)


def _decoded(file: IO[bytes], path: Path, header: NrrdHeader, count: int, dtype: np.dtype[np.generic]) -> bytes | bytearray:
    name, expected = path.name, count * dtype.itemsize
    try:
        lines, skip = int(header.fields.get("line skip", 0)), int(header.fields.get("byte skip", 0))
    except ValueError:
        raise InputError(f"{name} states a line or byte skip that is no number; save it again.") from None
    encoding = header.fields.get("encoding", "").lower()
    size = path.stat().st_size
    if skip < -1 or lines < 0 or (skip > 0 and encoding != "raw"):
        raise InputError(f"{name} states the skips {lines} and {skip}, which are not read; save it again without.")
    for _ in range(min(lines, size)):
        file.readline(_MAXIMUM_HEADER)
    if skip == -1 and encoding == "raw":
        file.seek(max(size - expected, file.tell()))
    elif skip > 0:
        file.seek(skip, 1)
    if encoding == "raw":
        return read_exactly(file, expected, size, name)
    if encoding in ("gzip", "gz"):
        return unpack_gzip(file, expected, name)
    if encoding in ("bzip2", "bz2"):
        return unpack_bzip2(file, expected, name)
    if encoding in ("ascii", "text", "txt"):
        return _from_text(file, count, size, dtype, name)
    raise InputError(f"{name} states the encoding {quoted(encoding)}; raw, gzip, bzip2 and ascii are read. Save it again.")


def _from_text(file: IO[bytes], count: int, size: int, dtype: np.dtype[np.generic], name: str) -> bytes:
    if size < 2 * count:  # at least a digit and a space per number
        raise InputError(f"{name} holds fewer than the {count} numbers that its header promises; copy it again.")
    words = file.read().split()
    if len(words) != count:
        raise InputError(f"{name} holds {len(words)} numbers where its header promises {count}; copy it again.")
    try:
        values = np.array(words, dtype=float)
    except ValueError:
        raise InputError(f"{name} holds a word that is no number among its voxels; save it again.") from None
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.str)
        if not bool(((values >= limits.min) & (values <= limits.max)).all()):
            raise InputError(f"{name} holds numbers that its voxel type cannot hold; save it again.")
    return values.astype(dtype).tobytes()
