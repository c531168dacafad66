"""Code blocks of a JPEG 2000 image that use more or fewer bytes than they have, which only damage does.

A JPEG 2000 decoder reads a code block's arithmetic code until it has all bits that the header announces. In a whole image the
code ends there. After a changed bit the decoder reads on in a code that is no longer in step, and ends early or beyond.
OpenJPEG knows where it ended, and says so if the image states *predictable termination* (ISO/IEC 15444-1, D.4.2), a flag that
changes no pixel. So the flag is set in a copy, which is decoded once more. pylibjpeg-openjpeg, which brings OpenJPEG, drops
these warnings; its library is therefore called directly.
"""

from __future__ import annotations

import ctypes
import importlib
import re
import struct
from collections.abc import Iterator
from ctypes import CFUNCTYPE, byref, c_char_p, c_int, c_int64, c_size_t, c_uint64, c_void_p
from functools import lru_cache
from typing import Any

from ..cores import usable_cores

# Bytes by which a block of a whole image may be off. Encoders cut a block's code at slightly different places: those of
# OpenJPEG, GDCM, Kakadu and JasPer stay below OpenJPEG's own limit of 2, damaged ones are some tens of bytes off.
SPARE_BYTES = 4
# A changed bit leaves one damaged block (148 of 150 trials on a slice of the B70f scan, in the other two none). Where more than
# these are off, of some 100 in a slice, it is the way in which an encoder ends all of its blocks, and tells nothing.
MOST_DAMAGED = 16
# Markers and flags of ISO/IEC 15444-1, tables A.2 and A.19: flags that begin a new code inside a block are not looked at.
_SOC, _SOT, _COD, _COC = b"\xff\x4f", 0xFF90, 0xFF52, 0xFF53
_PREDICTABLE, _SEVERAL_CODES = 0x10, 0x01 | 0x04 | 0x40
_FIRST_MARKER, _SHORTEST_PART = 0xFF00, 14
_J2K_CODEC = 0
_PARAMETERS_BYTES, _CHUNK = 1 << 15, 1 << 20
_WARNING = re.compile(rb"PTERM check failure: (\d+)")
_LARGEST_THREADS = 4

_Message = CFUNCTYPE(None, c_char_p, c_void_p)
_Read = CFUNCTYPE(c_size_t, c_void_p, c_size_t, c_void_p)
_Skip = CFUNCTYPE(c_int64, c_int64, c_void_p)
_Seek = CFUNCTYPE(c_int, c_int64, c_void_p)


def damaged_blocks(stream: bytes) -> int | None:
    """Number of damaged code blocks of a JPEG 2000 codestream.

    Returns:
        ``None`` if that cannot be found out: OpenJPEG is not installed or not reachable on this system, or the codestream has
        several codes in a block, ends them in a way of its own, or cannot be read.
    """
    library, flagged = _openjpeg(), _with_flag(stream)
    if library is None or flagged is None:
        return None
    messages = _decode(library, flagged)
    if messages is None:
        return None
    damaged = sum(int(n) > SPARE_BYTES for n in _WARNING.findall(b"\n".join(messages)))
    return damaged if damaged <= MOST_DAMAGED else None


def has_whole_tiles(stream: bytes) -> bool:
    """Whether every part of a tile is as long as its header says (ISO/IEC 15444-1, A.4.2); true of what is no JPEG 2000."""
    if not stream.startswith(_SOC):
        return True
    try:
        at = len(_SOC)
        while (marker := struct.unpack(">H", stream[at : at + 2])[0]) != _SOT:
            if marker < _FIRST_MARKER:
                return False
            at += 2 + struct.unpack(">H", stream[at + 2 : at + 4])[0]
        while stream[at : at + 2] == struct.pack(">H", _SOT):
            (length,) = struct.unpack(">L", stream[at + 6 : at + 10])
            if length == 0:  # the last part, up to the end
                return True
            if length < _SHORTEST_PART or at + length > len(stream):
                return False
            at += length
    except struct.error:
        return False
    return True  # what stands behind the last tile is no pixel


def is_irreversible(stream: bytes) -> bool:
    """Whether a JPEG 2000 stream, of which the beginning is enough, uses the transform that rounds (ISO/IEC 15444-1, A.6.1).

    Raises:
        IndexError, struct.error: a damaged header.
    """
    # COD: length, Scod, 4 bytes, levels, width, height, style, transform
    return any(marker == _COD and stream[at + 13] == 0 for marker, at in _main_header(stream))


def _with_flag(stream: bytes) -> bytes | None:
    """The codestream with the flag of predictable termination; ``None`` if its blocks hold several codes."""
    changed = bytearray(stream)
    try:
        for marker, at in _main_header(stream):
            if marker not in (_COD, _COC):
                continue
            # COD: length, Scod, 4 bytes, levels, width, height, style; COC: length, component (1 or 2 bytes), Scoc, levels, …
            components = struct.unpack(">H", stream[40:42])[0]
            style = at + 12 if marker == _COD else at + 9 + (components > 256)
            if changed[style] & _SEVERAL_CODES:
                return None
            changed[style] |= _PREDICTABLE
    except (IndexError, struct.error):
        return None
    return bytes(changed)


def _main_header(stream: bytes) -> Iterator[tuple[int, int]]:
    """Markers of the main header and where each stands."""
    at = len(_SOC)
    while True:
        marker, length = struct.unpack(">HH", stream[at : at + 4])
        if marker == _SOT:
            return
        yield marker, at
        at += 2 + length


@lru_cache(maxsize=1)
def _openjpeg() -> Any:
    """OpenJPEG in the library of pylibjpeg-openjpeg; ``None`` where it is missing or shows no names (Windows)."""
    try:
        library = ctypes.CDLL(str(importlib.import_module("_openjpeg").__file__))
        library.opj_version.restype = c_char_p
        if not library.opj_version().startswith(b"2."):
            return None
        for name, result, arguments in _FUNCTIONS:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (ImportError, OSError, AttributeError):
        return None
    return library


_FUNCTIONS: tuple[tuple[str, Any, list[Any]], ...] = (
    ("opj_stream_create", c_void_p, [c_size_t, c_int]),
    ("opj_stream_set_user_data_length", None, [c_void_p, c_uint64]),
    ("opj_stream_set_read_function", None, [c_void_p, _Read]),
    ("opj_stream_set_skip_function", None, [c_void_p, _Skip]),
    ("opj_stream_set_seek_function", None, [c_void_p, _Seek]),
    ("opj_stream_destroy", None, [c_void_p]),
    ("opj_create_decompress", c_void_p, [c_int]),
    ("opj_set_warning_handler", c_int, [c_void_p, _Message, c_void_p]),
    ("opj_set_default_decoder_parameters", None, [c_void_p]),
    ("opj_setup_decoder", c_int, [c_void_p, c_void_p]),
    ("opj_codec_set_threads", c_int, [c_void_p, c_int]),
    ("opj_read_header", c_int, [c_void_p, c_void_p, c_void_p]),
    ("opj_decode", c_int, [c_void_p, c_void_p, c_void_p]),
    ("opj_end_decompress", c_int, [c_void_p, c_void_p]),
    ("opj_destroy_codec", None, [c_void_p]),
    ("opj_image_destroy", None, [c_void_p]),
)


class _Source:
    """A codestream as OpenJPEG reads it."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0
        self.read, self.skip, self.seek = _Read(self._give), _Skip(self._pass), _Seek(self._go)

    def _give(self, target: int, wanted: int, _: object) -> int:
        part = self._content[self._at : self._at + wanted]
        if not part:
            return c_size_t(-1).value  # OpenJPEG's sign of the end
        ctypes.memmove(target, part, len(part))
        self._at += len(part)
        return len(part)

    def _pass(self, count: int, _: object) -> int:
        skipped = min(count, len(self._content) - self._at)
        self._at += skipped
        return skipped

    def _go(self, to: int, _: object) -> int:
        inside = 0 <= to <= len(self._content)
        self._at = to if inside else self._at
        return int(inside)


def _decode(library: Any, content: bytes) -> list[bytes] | None:
    """Warnings while OpenJPEG decodes ``content``; ``None`` if it cannot."""
    messages: list[bytes] = []
    handler = _Message(lambda text, _: messages.append(text))
    source, image = _Source(content), c_void_p()
    parameters = ctypes.create_string_buffer(_PARAMETERS_BYTES)
    library.opj_set_default_decoder_parameters(parameters)
    stream, codec = library.opj_stream_create(_CHUNK, 1), library.opj_create_decompress(_J2K_CODEC)
    try:
        library.opj_stream_set_user_data_length(stream, len(content))
        library.opj_stream_set_read_function(stream, source.read)
        library.opj_stream_set_skip_function(stream, source.skip)
        library.opj_stream_set_seek_function(stream, source.seek)
        library.opj_set_warning_handler(codec, handler, None)
        done = library.opj_setup_decoder(codec, parameters)
        library.opj_codec_set_threads(codec, min(usable_cores(), _LARGEST_THREADS))
        done = done and library.opj_read_header(stream, codec, byref(image)) and library.opj_decode(codec, stream, image)
        return messages if done and library.opj_end_decompress(codec, stream) else None
    finally:
        library.opj_stream_destroy(stream)
        library.opj_destroy_codec(codec)
        if image:
            library.opj_image_destroy(image)
