"""Pixels of one DICOM file in HU; length, type and rescale values are checked and never guessed."""

from __future__ import annotations

import io
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.encaps import generate_fragments, parse_basic_offsets
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from ..arrays import FloatArray
from ..errors import InputError
from ..plain_text import quoted
from .compressed_streams import require_whole_stream
from .dicom_beginning import read_dataset
from .dicom_checks import rescale_of, size_of
from .dicom_decoding import (
    HIGH_THROUGHPUT,
    OVERLAY,
    as_encoded,
    bits_in_use,
    decoded_frames,
    has_overlay,
    require_stated_frames,
)
from .dicom_values import UNREADABLE, HeaderValues
from .jpeg2000_blocks import has_whole_tiles

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
_TAGS: list[str | int] = [
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    OVERLAY,
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
]
_READ_AS_IT_IS = ("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths", OVERLAY)
_JPEG_BEGINNINGS = (b"\xff\xd8", b"\xff\x4f")
_JPEG_END = b"\xff\xd9"
# What closes an item or a sequence (PS3.5, 7.5): no four pixels, but what a writer filled short pixels up with.
_CLOSING = tuple(tag + bytes(4) for tag in (b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"))
# No codec compresses a noisy image more than this many times.
_PACKED_AT_MOST = 2000


def transfer_syntax(header: pydicom.Dataset, where: str) -> UID:
    """Transfer syntax of the file's pixels.

    Raises:
        InputError: a syntax that DICOM does not know.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid UID is refused below, in words for the user
        stated = getattr(header, "file_meta", pydicom.Dataset()).get("TransferSyntaxUID")
        syntax = UID(str(stated)) if stated else None
    if syntax is None:
        implicit, little = header.original_encoding
        return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    if syntax not in NATIVE and not (syntax.is_transfer_syntax and not syntax.is_private and syntax.is_encapsulated):
        raise InputError(f"{where} is written in the transfer syntax {quoted(syntax)}, which is not read; export it again.")
    return syntax


def read_pixels(path: Path) -> FloatArray:
    """Pixels of one single-frame file, float32 (j, i), HU.

    Raises:
        InputError: unreadable, another number of bytes than the header promises, or a compression that cannot be decoded.
    """
    dataset, values, syntax = read_packed(path)
    slope, intercept = rescale_of(values)
    if syntax in NATIVE:
        stored = native_pixels(dataset, values, syntax)(0)
    elif syntax == RLELossless or syntax in HIGH_THROUGHPUT:
        ((_, stored),) = decoded_frames(dataset, values, syntax, [0])
    else:
        return _decoded(dataset, values, path, (slope, intercept))
    return (stored * slope + intercept).astype(np.float32)


def read_packed(path: Path) -> tuple[pydicom.Dataset, HeaderValues, UID]:
    """Pixel element of a file as it is stored, the header fields that describe it, and how it is written.

    Raises:
        InputError: unreadable, without pixels, with more images than stated, or a transfer syntax that DICOM does not know.
    """
    where = path.name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = read_dataset(path, specific_tags=_TAGS)
            for tag in _READ_AS_IT_IS:
                dataset.get(tag)  # pydicom reads an element when it is asked for; a changed type of it shows then
    except UNREADABLE as error:
        raise InputError(f"{where} is cut off or damaged; copy the series again.") from error
    if "PixelData" not in dataset and ("FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset):
        raise InputError(
            f"{where} holds its pixels as floating-point numbers, as maps and not CT images do; export whole numbers, or NRRD."
        )
    if "PixelData" not in dataset:
        raise InputError(f"{where} holds no pixels; it is cut off, copy the series again.")
    values, syntax = HeaderValues(dataset, where), transfer_syntax(dataset, where)
    if syntax not in NATIVE:
        require_stated_frames(dataset, values, syntax)
    return dataset, values, syntax


def native_pixels(
    dataset: pydicom.Dataset, values: HeaderValues, syntax: UID, frames: int = 1
) -> Callable[[int], NDArray[np.float64]]:
    """What gives the stored pixels (j, i) of a frame, by its number from 0, of a file without compression.

    Raises:
        InputError: another number of bytes than ``frames`` images need, or a type of pixels that is not read.
    """
    rows, columns = size_of(values)
    allocated, signed = values.whole("BitsAllocated"), values.whole("PixelRepresentation")
    if allocated not in (8, 16, 32) or signed not in (0, 1):
        raise InputError(
            f"{values.where} states {values.shown('BitsAllocated')} and {values.shown('PixelRepresentation')}; "
            "8, 16 or 32 bits and 0 or 1 are read. Export the series again."
        )
    content = dataset["PixelData"].value
    pixels = rows * columns
    expected = frames * pixels * allocated // 8
    present = len(content) if isinstance(content, bytes) else 0
    # an odd number of bytes is padded to an even one
    if present != expected + expected % 2:
        several = f"{frames} frames of " if frames > 1 else ""
        raise InputError(
            f"{values.where} holds {present} bytes of pixels where {several}{rows} x {columns} of {allocated} bits need "
            f"{expected}; it is cut off or damaged, copy the series again."
        )
    if content.endswith(_CLOSING):
        raise InputError(
            f"{values.where} holds fewer pixels than {rows} x {columns}: the mark that ends an element was taken for the last "
            "of them; it is cut off or damaged, copy the series again."
        )
    kind = f"{'>' if syntax == ExplicitVRBigEndian else '<'}{'i' if signed else 'u'}{allocated // 8}"
    overlaid = has_overlay(dataset)

    def frame(number: int) -> NDArray[np.float64]:
        stored = np.frombuffer(content, kind, pixels, number * pixels * allocated // 8)
        return bits_in_use(stored.reshape(rows, columns).astype(np.int64), values, bool(signed), overlaid).astype(np.float64)

    return frame


def _decoded(dataset: pydicom.Dataset, values: HeaderValues, path: Path, rescale: tuple[float, float]) -> FloatArray:
    """Compressed pixels through GDCM, which applies the (checked) rescale itself."""
    stream = _check_packed(dataset, values)
    if values.text("PhotometricInterpretation") == "MONOCHROME1":
        raise InputError(f"{values.where} is compressed and MONOCHROME1; export the series uncompressed.")
    rows, columns = size_of(values)
    try:
        image = _through_gdcm(path)
    except RuntimeError as error:
        raise InputError(f"{values.where} holds pixels that cannot be decoded; export the series uncompressed.") from error
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetSize()[:2] != (columns, rows):
        raise InputError(f"{values.where} decodes to {image.GetSize()[:2]} pixels instead of {(columns, rows)}; copy it again.")
    hu: FloatArray = sitk.GetArrayFromImage(image).reshape(rows, columns).astype(np.float32)
    if not has_overlay(dataset):
        stored = np.rint((hu.astype(np.float64) - rescale[1]) / rescale[0]).astype(np.int64)
        require_whole_stream(stream, transfer_syntax(dataset, values.where), as_encoded(stored, values), values.where)
    return hu


def _through_gdcm(path: Path) -> sitk.Image:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        # ITK aborts the program on names that are not UTF-8
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "image.dcm"
            shutil.copyfile(path, copy)
            return sitk.ReadImage(str(copy), imageIO="GDCMImageIO")
    return sitk.ReadImage(str(path), imageIO="GDCMImageIO")


def _check_packed(dataset: pydicom.Dataset, values: HeaderValues) -> bytes:
    """The compressed stream, which is complete from its first to its last marker."""
    rows, columns = size_of(values)
    try:
        content = io.BytesIO(dataset["PixelData"].value)
        parse_basic_offsets(content)
        stream = b"".join(generate_fragments(content))
    except UNREADABLE:
        stream = b""
    whole = stream.startswith(_JPEG_BEGINNINGS) and stream.rstrip(b"\0").endswith(_JPEG_END)
    # OpenJPEG would tell of tiles that are cut off on the terminal, in its own words
    if not whole or not has_whole_tiles(stream) or len(stream) * _PACKED_AT_MOST < rows * columns:
        raise InputError(f"{values.where} holds compressed pixels that are cut off or damaged; copy the series again.")
    return stream
