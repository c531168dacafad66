"""MetaImage files (``.mha``, ``.mhd`` with its raw file): header and voxels, each checked against the other.

Format: the MetaIO documentation of ITK ("MetaImage", tags of MetaObject and MetaImage).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..plain_text import one_letter_apart, quoted
from .input_files import open_file, read_exactly, require_length, require_possible_size, unpack_zlib
from .stored_image import (
    StoredImage,
    require_once,
    require_origin,
    require_rotation,
    require_spacing,
    require_three_dimensions,
)

_MAXIMUM_HEADER = 1 << 16
# Other programs keep the tags of DICOM (0008|0060) and fields of NRRD (NRRD_kinds[0]) under their names.
_NAME = re.compile(r"[A-Za-z][\w .:-]*(\[\d+\])?|[0-9A-Fa-f]{4}\|[0-9A-Fa-f]{4}")
_OWN_TEXTS = ("CTKernelNormalization.",)
_TYPES: Mapping[str, str] = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_BYTE_ORDER = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_KNOWN = (
    "ObjectType",
    "NDims",
    "DimSize",
    "ElementType",
    "ElementSpacing",
    "ElementSize",
    "ElementDataFile",
    "CompressedData",
    "CompressedDataSize",
    "BinaryData",
    *_BYTE_ORDER,
    "TransformMatrix",
    "Rotation",
    "Orientation",
    "Offset",
    "Origin",
    "Position",
    "CenterOfRotation",
    "AnatomicalOrientation",
    "HeaderSize",
    "ElementNumberOfChannels",
)


def read_metaimage(path: Path) -> StoredImage:
    """Read a three-dimensional image of one number a voxel.

    Raises:
        InputError: damaged, cut off, without spacing, sheared, or not such an image.
    """
    name = path.name
    with open_file(path) as file:
        fields, end = _header(file, name)
        sizes = _whole(fields.get("DimSize", ""), "DimSize", name)
        channels = _whole(fields.get("ElementNumberOfChannels", "1"), "ElementNumberOfChannels", name)
        dimensions = _whole(fields.get("NDims", ""), "NDims", name)
        if dimensions != (len(sizes),):
            stated = f"NDims {quoted(fields.get('NDims'))} and {len(sizes)} sizes"
            raise InputError(f"{name} states {stated}, which do not fit together; its header is damaged, save it again.")
        require_three_dimensions(sizes, channels[0])
        require_possible_size(sizes, name)
        _require_plain_image(fields, name)
        spacing, origin, direction = _placement(fields, name)
        dtype = _dtype(fields, name)
        body = _body(file, path, fields, end, math.prod(sizes) * dtype.itemsize)
    texts = {key: text for key, text in fields.items() if key not in _KNOWN}
    return StoredImage(np.frombuffer(body, dtype).reshape(sizes[::-1]), spacing, origin, direction, texts)


def _header(file: IO[bytes], name: str) -> tuple[dict[str, str], int]:
    """Fields and the place of the voxels; ElementDataFile is the last field."""
    fields: dict[str, str] = {}
    while line := file.readline(_MAXIMUM_HEADER):
        key, equals, value = line.decode("utf-8", "replace").partition("=")
        # a damaged field name would otherwise be ignored, and the field, such as the direction, lost
        if not equals or not _NAME.fullmatch(key.strip()) or file.tell() > _MAXIMUM_HEADER:
            break
        key, value = key.strip(), value.strip()
        if key in _KNOWN or key.startswith(_OWN_TEXTS):
            require_once(fields, key, value, name)
        elif meant := next((known for known in _KNOWN if one_letter_apart(key, known)), None):
            raise InputError(
                f"{name} has the header field {quoted(key, 40)}, which is almost “{meant}”; the header is damaged or misspelt. "
                "Correct it, or save the file again."
            )
        fields[key] = value
        if key == "ElementDataFile":
            return fields, file.tell()
    raise InputError(f"{name} has no complete MetaImage header; the file is damaged or not the format its name says.")


def _require_plain_image(fields: Mapping[str, str], name: str) -> None:
    kind = fields.get("ObjectType", "Image")
    if kind.lower() != "image":
        raise InputError(f"{name} states ObjectType = {quoted(kind, 40)}; an Image is needed. Save the scan as a volume.")
    units = fields.get("DistanceUnits", "mm")
    if units.lower() not in ("mm", "?", ""):
        raise InputError(f"{name} states lengths in {quoted(units, 20)}; only mm are read. Save it again in mm.")
    for field, plain in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        # readers differ in whether they apply these, so the values could be meant either way
        if field in fields and _numbers(fields[field], name) != [plain]:
            raise InputError(
                f"{name} states {field} = {quoted(fields[field], 40)}, which programs read in different ways; save it again "
                "with the values in HU."
            )


def _placement(
    fields: Mapping[str, str], name: str
) -> tuple[tuple[float, float, float], tuple[float, float, float], NDArray[np.float64]]:
    stated = fields.get("ElementSpacing") or fields.get("ElementSize")
    if not stated:
        raise InputError(
            f"{name} states no spacing (no “ElementSpacing”), so no volume can be measured; save it again with its geometry."
        )
    spacing = require_spacing(_numbers(stated, name), name)
    origin = _one_of(fields, ("Offset", "Origin", "Position"), "0 0 0", name)
    matrix = _one_of(fields, ("TransformMatrix", "Rotation", "Orientation"), "1 0 0 0 1 0 0 0 1", name)
    numbers = _numbers(matrix, name)
    if len(numbers) != 9:
        raise InputError(f"{name} has the TransformMatrix {quoted(matrix, 80)}; nine numbers are needed. Save it again.")
    # MetaImage writes one index axis per row
    rotation = require_rotation(np.reshape(numbers, (3, 3)).T, name)
    return spacing, require_origin(_numbers(origin, name), name), rotation


def _one_of(fields: Mapping[str, str], synonyms: tuple[str, ...], default: str, name: str) -> str:
    """The field that is there under one of its names; under several with different values it is refused."""
    stated = {key: fields[key] for key in synonyms if key in fields}
    for key, value in stated.items():
        if _numbers(value, name) != _numbers(next(iter(stated.values())), name):
            raise InputError(
                f"{name} states {next(iter(stated))} = {quoted(next(iter(stated.values())), 60)} and {key} = "
                f"{quoted(value, 60)}, which mean the same; its header is damaged, save it again."
            )
    return next(iter(stated.values()), default)


def _numbers(text: str, name: str) -> list[float]:
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        raise InputError(f"{name} has {quoted(text, 60)} in its header where numbers must stand; save it again.") from None


def _whole(text: str, field: str, name: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(word) for word in text.split())
    except ValueError:
        numbers = ()
    if not numbers:
        raise InputError(f"{name} states {field} = {quoted(text, 60)}; whole numbers are needed. Save it again.")
    return numbers


def _yes(fields: Mapping[str, str], name: str, default: bool, *keys: str) -> bool:
    """The value of the first of these fields that the header has; ``default`` if it has none."""
    stated = next((key for key in keys if key in fields), None)
    if stated is None:
        return default
    word = fields[stated].lower()
    if word not in ("true", "t", "1", "false", "f", "0"):
        # ITK takes every word with a t for true, other programs do not
        raise InputError(f"{name} states {stated} = {quoted(fields[stated], 40)}; True or False is needed. Save it again.")
    return word in ("true", "t", "1")


def _dtype(fields: Mapping[str, str], name: str) -> np.dtype[np.generic]:
    stated = fields.get("ElementType", "")
    if stated not in _TYPES:
        raise InputError(f"{name} states the ElementType {quoted(stated, 40)}; numbers are read. Save it again.")
    one, other = _BYTE_ORDER
    big = _yes(fields, name, False, one, other)
    if big != _yes(fields, name, big, other):
        raise InputError(
            f"{name} states {one} = {quoted(fields[one], 40)} and {other} = {quoted(fields[other], 40)}, which mean the same; "
            "its header is damaged, save it again."
        )
    return np.dtype((">" if big else "<") + _TYPES[stated])


def _body(file: IO[bytes], path: Path, fields: Mapping[str, str], end: int, expected: int) -> bytes | bytearray:
    if not _yes(fields, path.name, True, "BinaryData"):
        raise InputError(f"{path.name} keeps its voxels as text; save it again in binary form.")
    place = fields["ElementDataFile"]
    if place.upper() == "LOCAL":
        file.seek(end)
        return _decoded(file, path, fields, expected)
    if place.upper().startswith("LIST") or "%" in place or not place:
        raise InputError(f"{path.name} names a list of data files; save it again as one file.")
    data = path.parent / place
    if not data.exists():
        raise InputError(f"{path.name} names the data file {quoted(place, 80)}, which is missing; copy both files together.")
    with open_file(data) as detached:
        return _decoded(detached, data, fields, expected)


def _decoded(file: IO[bytes], path: Path, fields: Mapping[str, str], expected: int) -> bytes | bytearray:
    size, name = path.stat().st_size, path.name
    compressed = _yes(fields, name, False, "CompressedData")
    skip = _whole(fields.get("HeaderSize", "0"), "HeaderSize", name)[0]
    if skip == -1 and not compressed:
        skip = size - expected - file.tell()
    if skip < 0:
        require_length(size - file.tell(), expected, name)
        raise InputError(f"{name} states HeaderSize = {skip}; a length is needed. Save it again.")
    file.seek(skip, 1)
    if not compressed:
        return read_exactly(file, expected, size, name)
    # other programs read as many bytes as are stated; writers that do not know the size state 0
    stated, held = _whole(fields.get("CompressedDataSize", "0"), "CompressedDataSize", name)[0], size - file.tell()
    if stated not in (0, held):
        raise InputError(f"{name} holds {held} compressed bytes, but its header states {stated}; it is damaged, copy it again.")
    return unpack_zlib(file, expected, name)
