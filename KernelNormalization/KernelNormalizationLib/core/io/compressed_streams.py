"""Damage in compressed pixels that the decoders pass over: DICOM has no checksum, and most changed bits decode into others.

Each compression leaves something that must come out even, whoever encoded the image: in RLE the bytes of each segment, in
lossless JPEG the bits of all Huffman codes, in JPEG 2000 the bytes that each code block uses (:mod:`.jpeg2000_blocks`).
JPEG-LS is left to its decoder, which finds nearly all changes. ``docs/limits.md`` has the share that is found of each.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID, JPEG2000Lossless, RLELossless

from ..errors import InputError
from .jpeg2000_blocks import damaged_blocks

Stored = NDArray[np.int64]

# Bytes that an RLE segment may hold beyond its last pixel: padding to an even length, and headers that stand for nothing
# (PS3.5, section G.3.1).
_RLE_FILLER = (0x00, 0x80)
# So many equal bytes are never written one by one: encoders repeat from two or three on. A block of zeros on the way is.
_RLE_REPEATED = re.compile(rb"(.)\1{15}", re.DOTALL)
# Markers of JPEG (ITU-T T.81, table B.1): a frame of the lossless process with Huffman codes, the tables, and the scan.
_SOF3, _DHT, _DRI, _SOS = 0xC3, 0xC4, 0xDD, 0xDA
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
# Table H.1 of T.81.
_PREDICTORS: dict[int, Callable[[Stored, Stored, Stored], Stored]] = {
    1: lambda left, above, corner: left,
    2: lambda left, above, corner: above,
    3: lambda left, above, corner: corner,
    4: lambda left, above, corner: left + above - corner,
    5: lambda left, above, corner: left + ((above - corner) >> 1),
    6: lambda left, above, corner: above + ((left - corner) >> 1),
    7: lambda left, above, corner: (left + above) >> 1,
}
# A difference of this category has no additional bits (T.81, table H.2).
_CATEGORY_16 = 16


def require_whole_stream(stream: bytes, syntax: UID, candidates: list[Stored], where: str) -> None:
    """Refuse a compressed image whose stream does not come out even.

    Args:
        stream: the image as it lies in the file.
        syntax: how it is compressed; of those not named in this module, nothing is checked.
        candidates: the decoded pixels (j, i) as the encoder may have had them; one must fit.
        where: what to name in the message.

    Raises:
        InputError: damaged.
    """
    rows, columns = candidates[0].shape
    if syntax == RLELossless:
        damaged = not _rle_fits(stream, rows * columns)
    elif syntax == JPEG2000Lossless:  # with loss, an encoder cuts the codes off where it likes
        damaged = bool(damaged_blocks(stream))
    else:
        scan = _lossless_scan(stream)
        damaged = scan is not None and not any(scan.fits(stored) for stored in candidates)
    if damaged:
        raise InputError(
            f"{where} holds compressed pixels that are damaged: they decode, but not to the length they must have. Copy the "
            "series again from where it came from."
        )


def _rle_fits(stream: bytes, pixels: int) -> bool:
    """Whether every segment ends with the image's last pixel (PS3.5, section G.3.1) and repeats what can be repeated."""
    if len(stream) < 64:
        return False
    (count,) = struct.unpack("<L", stream[:4])
    if not 1 <= count <= 15:
        return False
    starts = (*struct.unpack(f"<{count}L", stream[4 : 4 + 4 * count]), len(stream))
    return all(_rle_segment_fits(stream[a:b], pixels) for a, b in pairwise(starts))


def _rle_segment_fits(segment: bytes, pixels: int) -> bool:
    at = made = 0
    size = len(segment)
    while at < size and made < pixels:
        header = segment[at]
        if header < 0x80:
            if header >= 15 and _RLE_REPEATED.search(segment, at + 1, at + header + 2):
                return False
            at += header + 2
            made += header + 1
        else:
            at += 2 if header > 0x80 else 1
            made += 257 - header if header > 0x80 else 0
    rest = segment[at:]
    # some encoders pad an odd number of pixels before they compress
    return at <= size and made - pixels in (0, pixels % 2) and (len(rest) <= 1 or all(byte in _RLE_FILLER for byte in rest))


@dataclass(frozen=True)
class _LosslessScan:
    """What the headers of a lossless JPEG say of its single scan, and how long that is.

    Attributes:
        precision: bits of a sample.
        predictor: 1 to 7 (T.81, table H.1).
        code_bits: length in bits of the code of each category 0 to 16; 0 where there is none.
        bits: of the scan without stuffed bytes.
    """

    precision: int
    predictor: int
    code_bits: NDArray[np.int64]
    bits: int

    def fits(self, stored: Stored) -> bool:
        """Whether the codes of these samples (j, i) are as long as the scan, up to the last byte's filling bits."""
        samples = stored & ((1 << self.precision) - 1)  # JPEG has no sign
        difference = ((samples - self._predicted(samples) + 0x8000) & 0xFFFF) - 0x8000
        # the category is the number of bits of the magnitude; a difference of 32768 has the category 16 (T.81, H.1.2.2)
        category = np.frexp(np.abs(difference).astype(np.float64))[1]
        used = np.bincount(category.ravel(), minlength=_CATEGORY_16 + 1)
        if np.any(self.code_bits[used > 0] == 0):
            return False
        extra = np.arange(_CATEGORY_16 + 1) % _CATEGORY_16
        return 0 <= self.bits - int(np.sum(used * (self.code_bits + extra))) < 8

    def _predicted(self, stored: Stored) -> Stored:
        left, above, corner = stored[1:, :-1], stored[:-1, 1:], stored[:-1, :-1]
        predicted = np.empty_like(stored)
        predicted[0, 0] = 1 << (self.precision - 1)
        predicted[0, 1:] = stored[0, :-1]
        predicted[1:, 0] = stored[:-1, 0]
        predicted[1:, 1:] = _PREDICTORS[self.predictor](left, above, corner)
        return predicted


def _lossless_scan(stream: bytes) -> _LosslessScan | None:
    """The scan of a lossless JPEG of one component; ``None`` for any other, of which nothing can be said here."""
    codes: dict[int, NDArray[np.int64]] = {}
    precision = 0
    try:
        segments = list(_segments(stream))
        for marker, content, _ in segments:
            if marker == _DHT:
                codes |= _code_lengths(content)
            elif marker == _SOF3 and content[5] == 1:
                precision = content[0]
            elif marker == _DRI and content != b"\0\0":
                return None  # restarts begin the prediction anew
        _, content, begin = segments[-1]
        table, predictor, transform = content[2] >> 4, content[3], content[5] & 0x0F
        if not precision or content[0] != 1 or predictor not in _PREDICTORS or transform:
            return None
        # bytes FF before a marker are filling
        scan = stream[begin : stream.rindex(_JPEG_END)].rstrip(b"\xff")
        return _LosslessScan(precision, predictor, codes[table], 8 * len(scan.replace(b"\xff\0", b"\xff")))
    except (IndexError, KeyError, ValueError, struct.error):
        return None


def _segments(stream: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, content and end of each segment; the last one is the header of the first scan."""
    at, marker = len(_JPEG_START), 0
    while marker != _SOS:
        if stream[at] != 0xFF:
            raise ValueError("no marker")
        if stream[at + 1] == 0xFF:  # filling
            at += 1
            continue
        marker = stream[at + 1]
        (length,) = struct.unpack(">H", stream[at + 2 : at + 4])
        yield marker, stream[at + 4 : at + 2 + length], at + 2 + length
        at += 2 + length


def _code_lengths(content: bytes) -> dict[int, NDArray[np.int64]]:
    """Length in bits of each category's code, by the number of the table (T.81, B.2.4.2)."""
    found, at = {}, 0
    while at < len(content):
        counts = content[at + 1 : at + 17]
        categories = content[at + 17 : at + 17 + sum(counts)]
        lengths = np.zeros(_CATEGORY_16 + 1, np.int64)
        lengths[list(categories)] = np.repeat(np.arange(1, 17), list(counts))
        found[content[at]] = lengths
        at += 17 + sum(counts)
    return found
