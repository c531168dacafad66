"""Whether an image was compressed with loss, and how strongly: from its header, and from the compressed stream itself."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pydicom

from ..errors import InputError
from .dicom_checks import size_of
from .dicom_pixels import NATIVE, transfer_syntax
from .dicom_slice import DicomSlice
from .dicom_values import UNREADABLE, HeaderValues
from .jpeg2000_blocks import is_irreversible

# Lossy by definition (PS3.5, section 10), or unless the header states that they are not (JPEG 2000, HTJ2K).
LOSSY = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.93",
    "1.2.840.10008.1.2.4.203",
)
# How the remarks on an image's derivation tell of compression with loss: CID 7203 of PS3.16, and words.
_LOSSY_CODE = ("113040", "DCM")
_LOSSY_WORD = re.compile(r"\b(lossy|irreversibl[ey])\b", re.IGNORECASE)
# Encoders miss the ratio that they were asked for by a few percent; own choice.
_HONEST = 1.1
# The stream begins behind the pixel element's head and a table of 4 bytes a frame (PS3.5, A.4).
_HEAD_BYTES = 1 << 18
# Beginnings of JPEG 2000 (SOC, SIZ), of JPEG and JPEG-LS streams.
_J2K, _JPEG = b"\xff\x4f\xff\x51", b"\xff\xd8\xff"
# Start of frame: baseline, extended and progressive (cosine transform); lossless Huffman; JPEG-LS. Start of scan.
_COSINE, _LOSSLESS, _LS, _SCAN = (0xC0, 0xC1, 0xC2), 0xC3, 0xF7, 0xDA


def compression_ratios(images: Sequence[DicomSlice]) -> list[float | None]:
    """Ratio of the lossy compression of each image, 1.0 if it was never compressed with loss, ``None`` if it is not stated."""
    left = Counter[Path]()
    for image in images:
        left[image.path] += image.bytes_left
    # once for each file: an enhanced CT holds all frames in one
    loss = {path: _loss_of_stream(image, left[path]) for path, image in {image.path: image for image in images}.items()}
    return [_ratio(image, loss[image.path]) for image in images]


def _ratio(image: DicomSlice, loss: bool | None) -> float | None:
    """Ratio of one image: what is stated, or 16-bit size over compressed size where nothing is, or far less.

    "01" is what the standard asks for; other marks, and a ratio or method without a mark, are trusted as much. A ratio of 1
    says that there was a loss, and does not say which. The stream is trusted more than a header that denies a loss.

    Args:
        image: of a file.
        loss: whether its stream loses something, if it tells.
    """
    header, values = image.header, image.values
    flagged = values.text("LossyImageCompression")
    if flagged == "00" and not loss:
        return 1.0
    lossy_now = loss if loss is not None else transfer_syntax(header, values.where) in LOSSY
    stated = [ratio for ratio in _ratios(values) if ratio > 1.0]
    told = flagged is not None or bool(stated) or values.text("LossyImageCompressionMethod") is not None
    if not told and not lossy_now:
        return None if _derived_with_loss(header, values) else 1.0
    told_most = max(stated, default=None)
    if not lossy_now:
        return told_most
    rows, columns = size_of(values)
    allocated = values.whole("BitsAllocated") or 16
    by_size = rows * columns * allocated / 8 / max(image.bytes_left, 1)
    # programs state the ratio of the bits stored (12 of 16) or of those allocated
    spared = allocated / (values.whole("BitsStored") or allocated)
    return told_most if told_most is not None and by_size <= _HONEST * spared * told_most else by_size


def _loss_of_stream(image: DicomSlice, bytes_left: int) -> bool | None:
    """Whether the compressed stream of a file loses something; ``None`` if it cannot be told, or there is none.

    Of JPEG 2000 the reversible transform may be cut off, so that it is no proof of a lossless image.
    """
    if transfer_syntax(image.header, image.values.where) in NATIVE:
        return None
    with image.path.open("rb") as file:
        file.seek(image.path.stat().st_size - bytes_left)  # not before: icons in the header have streams of their own
        head = file.read(_HEAD_BYTES)
    starts = [at for mark in (_J2K, _JPEG) if (at := head.find(mark)) >= 0]
    if not starts:
        return None
    stream = head[min(starts) :]
    try:
        return (is_irreversible(stream) or None) if stream.startswith(_J2K) else _loss_of_jpeg(stream)
    except (IndexError, struct.error):
        return None


def _loss_of_jpeg(stream: bytes) -> bool | None:
    """As :func:`_loss_of_stream`, of JPEG (ISO/IEC 10918-1, B.2) and JPEG-LS (ISO/IEC 14495-1, C.2)."""
    at, frame = 2, 0
    while True:
        mark, kind, length = struct.unpack(">BBH", stream[at : at + 4])
        if mark != 0xFF:
            return None
        if kind in (*_COSINE, _LOSSLESS, _LS):
            frame = kind
        if kind == _SCAN:
            break
        at += 2 + length
    if frame == _LS:
        # length, number of components, two bytes for each, NEAR
        return stream[at + 5 + 2 * stream[at + 4]] > 0
    return None if frame == 0 else frame in _COSINE


def _derived_with_loss(header: pydicom.Dataset, values: HeaderValues) -> bool:
    """Whether the image's derivation, which programs fill in instead of the flag, tells of a compression with loss."""
    if _LOSSY_WORD.search(values.text("DerivationDescription") or ""):
        return True
    try:
        codes = [(str(item.get("CodeValue", "")), str(item.get("CodingSchemeDesignator", ""))) for item in _derivations(header)]
    except UNREADABLE:
        return False  # a damaged remark is no reason to refuse whole pixels
    return _LOSSY_CODE in codes


def _derivations(header: pydicom.Dataset) -> list[pydicom.Dataset]:
    return list(header.get("DerivationCodeSequence") or [])


def _ratios(values: HeaderValues) -> list[float]:
    """The ratios that are stated; with a decimal comma too, since leaving one out would hide the loss."""
    for count in (1, 2, 3):
        try:
            return list(values.numbers("LossyImageCompressionRatio", count) or ())
        except InputError:
            continue
    ratios = []
    for text in values.texts("LossyImageCompressionRatio"):
        try:
            ratios.append(float(text.replace(",", ".")))
        except ValueError:
            continue
    return ratios
