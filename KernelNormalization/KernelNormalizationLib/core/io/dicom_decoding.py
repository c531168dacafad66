"""Compressed pixels through the decoders of pydicom, and which bits of a stored pixel count."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Iterator

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_fragments, get_frame, parse_basic_offsets
from pydicom.pixels import get_decoder
from pydicom.uid import UID, JPEGLSLossless, JPEGLSNearLossless, RLELossless

from ..errors import InputError
from .compressed_streams import require_whole_stream
from .dicom_checks import bits_stored, size_of
from .dicom_values import UNREADABLE, HeaderValues

OVERLAY = 0x60000102  # bit position of the first overlay, 0 where it lies beside the pixels
# Decoders that need no library under the GPL: pylibjpeg is asked for JPEG 2000 alone, which it reads through OpenJPEG.
_JPEG, _JPEG_LS, _JPEG_2000 = ("gdcm",), ("pyjpegls", "gdcm"), ("pylibjpeg", "gdcm")
HIGH_THROUGHPUT = (UID("1.2.840.10008.1.2.4.201"), UID("1.2.840.10008.1.2.4.202"), UID("1.2.840.10008.1.2.4.203"))
_2000 = (UID("1.2.840.10008.1.2.4.90"), UID("1.2.840.10008.1.2.4.91"))
# At most so many values beyond the stated bits are taken for padding.
PADDING_VALUES = 2
# How a stream of JPEG or JPEG-LS begins, and one of JPEG 2000; neither stands within a stream.
_BEGINNINGS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
INSTALL = "pip install 'ctkernelnormalization[dicom]'"


def bits_in_use(stored: NDArray[np.int64], values: HeaderValues, signed: bool, overlaid: bool) -> NDArray[np.int64]:
    """The stored bits of each pixel; the others are no part of it (PS3.5, section 8.1.1)."""
    bits = bits_stored(values)
    if bits == (values.whole("BitsAllocated") or 16):
        return stored
    limit = 1 << bits
    negative = np.unique(stored[stored < 0]) if signed else np.empty(0)
    if negative.size > PADDING_VALUES:
        return stored  # written with all allocated bits, whatever the header says of them
    beyond = np.unique(stored[stored >= limit])
    if beyond.size > PADDING_VALUES and not overlaid:
        raise InputError(
            f"{values.where} holds pixels up to {int(beyond[-1])}, and states {values.shown('BitsStored')}, which end at "
            f"{limit - 1}; one of both is wrong. Export the series again."
        )
    if signed:
        low = stored & (limit - 1)
        extended = np.where(low >= limit // 2, low - limit, low)
        # a pixel beyond its bits that is no missing sign was written so on purpose (padding of some makers)
        zero_filled = (stored >= 0) & (stored < limit)
        return np.where(zero_filled, extended, stored)
    # old overlays lie in the free bits
    return stored & (limit - 1) if overlaid else stored


def decoded_frames(
    dataset: pydicom.Dataset, values: HeaderValues, syntax: UID, numbers: list[int]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Stored pixels (j, i) of the frames ``numbers`` (from 0) of a compressed file, each with its number.

    Raises:
        InputError: damaged, another size than the header states, or no decoder is installed.
    """
    size, signed = size_of(values), values.whole("PixelRepresentation") == 1
    plugin = decoder_for(syntax, values.where)
    overlaid = has_overlay(dataset)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = get_decoder(syntax).iter_array(dataset, indices=numbers, raw=True, decoding_plugin=plugin)
            for number, (stored, _) in zip(numbers, found, strict=True):
                if stored.shape != size:
                    raise InputError(f"{values.where} holds {stored.shape} pixels instead of {size}; copy the series again.")
                require_whole_stream(_stream_of(dataset, values, number), syntax, [stored.astype(np.int64)], values.where)
                yield number, bits_in_use(stored.astype(np.int64), values, signed, overlaid).astype(np.float64)
    except (*UNREADABLE, RuntimeError) as error:
        raise InputError(
            f"{values.where} holds compressed pixels that are cut off, damaged or cannot be decoded; copy the series again, or "
            "export it uncompressed."
        ) from error


def require_stated_frames(dataset: pydicom.Dataset, values: HeaderValues, syntax: UID) -> None:
    """Refuse compressed pixels that hold more images than the header states: which one is meant is not known.

    Raises:
        InputError: such pixels.
    """
    stated = values.whole("NumberOfFrames") or 1
    held = _images_held(dataset, syntax)
    if held > stated:
        raise InputError(
            f"{values.where} states {'one image' if stated == 1 else f'{stated} images'} and holds {held}; export the series "
            "again."
        )


def _images_held(dataset: pydicom.Dataset, syntax: UID) -> int:
    """Images by the tables of offsets, or by the fragments that begin one; 0 where the fragments cannot be followed."""
    try:
        content = io.BytesIO(dataset["PixelData"].value)
        listed = len(parse_basic_offsets(content))
        if "ExtendedOffsetTable" in dataset:
            listed = max(listed, len(dataset["ExtendedOffsetTable"].value) // 8)
        fragments = (part for part in generate_fragments(content) if part)
        # in RLE each fragment is an image (PS3.5, section 8.2.2)
        begun = sum(1 for part in fragments if syntax == RLELossless or part.startswith(_BEGINNINGS))
    except UNREADABLE:
        return 0
    return int(max(listed, begun))


def has_overlay(dataset: pydicom.Dataset) -> bool:
    """Whether an overlay lies in the free bits of the pixels."""
    return OVERLAY in dataset and dataset[OVERLAY].value not in (None, 0)


def as_encoded(stored: NDArray[np.int64], values: HeaderValues) -> list[NDArray[np.int64]]:
    """The samples that an encoder may have had for ``stored`` (j, i): the pixels, or without their sign in the free bits."""
    return [stored, stored & ((1 << bits_stored(values)) - 1)]


def _stream_of(dataset: pydicom.Dataset, values: HeaderValues, number: int) -> bytes:
    """The compressed bytes of the frame ``number``, from 0."""
    tables = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
    offsets = tuple(dataset[name].value for name in tables) if all(name in dataset for name in tables) else None
    frames = values.whole("NumberOfFrames") or 1
    return bytes(get_frame(dataset["PixelData"].value, number, extended_offsets=offsets, number_of_frames=frames))


def decoder_for(syntax: UID, where: str) -> str:
    """Name of the installed decoder for ``syntax``.

    Raises:
        InputError: none is installed; the message says how to install one.
    """
    if syntax == RLELossless:
        return "pydicom"
    if syntax in HIGH_THROUGHPUT:
        candidates: tuple[str, ...] = ("pylibjpeg",)
    elif syntax in _2000:
        candidates = _JPEG_2000
    else:
        candidates = _JPEG_LS if syntax in (JPEGLSLossless, JPEGLSNearLossless) else _JPEG
    try:
        available = set(get_decoder(syntax).available_plugins)
    except NotImplementedError:
        available = set()
    if "openjpeg" not in _importable("openjpeg"):
        available.discard("pylibjpeg")
    found = next((name for name in candidates if name in available), None)
    if found is None:
        raise InputError(
            f"{where} is compressed as {syntax.name}, and no decoder for that is installed. Install one with: {INSTALL} - or "
            "export the series uncompressed."
        )
    return found


def _importable(*names: str) -> set[str]:
    return {name for name in names if importlib.util.find_spec(name) is not None}
