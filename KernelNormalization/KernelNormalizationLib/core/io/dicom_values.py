"""Typed access to DICOM header values; damaged and mistyped tags are handled here only."""

from __future__ import annotations

import math
import re
import struct
import warnings
import zlib
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.errors import BytesLengthException
from pydicom.tag import Tag

from ..errors import InputError
from ..plain_text import quoted

# Exceptions of pydicom and its converters for damaged files and values.
UNREADABLE = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    BytesLengthException,
    struct.error,
    zlib.error,
)


# A number as DICOM writes it (PS3.5, DS and IS); Python's own float() also takes 1_000, inf and digits of other scripts.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class HeaderValues:
    """Reads one file's header.

    Args:
        header: the header.
        where: name of the file, for messages.
    """

    def __init__(self, header: pydicom.Dataset, where: str) -> None:
        self._header, self.where = header, where

    def number(self, keyword: str) -> float | None:
        """One finite number, ``None`` if the tag is absent or empty.

        Raises:
            InputError: anything else.
        """
        found = self.numbers(keyword, 1)
        return None if found is None else found[0]

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """``count`` finite numbers, ``None`` if the tag is absent or empty.

        Raises:
            InputError: another number of values, or one that is no finite number.
        """
        value = self._value(keyword)
        if value is None:
            return None
        parts = _parts(value)
        try:
            numbers = tuple(_number(part) for part in parts)
        except (TypeError, ValueError, OverflowError):
            numbers = ()
        if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
            raise self._refusal(keyword, "one finite number is" if count == 1 else f"{count} finite numbers are")
        return numbers

    def number_within(self, keyword: str, limit: float) -> float | None:
        """One number from -``limit`` to ``limit``, ``None`` if the tag is absent or empty.

        Raises:
            InputError: anything else.
        """
        number = self.number(keyword)
        if number is not None and abs(number) > limit:
            raise self._refusal(keyword, f"a number from {-limit:g} to {limit:g} is")
        return number

    def whole(self, keyword: str) -> int | None:
        """One whole number, ``None`` if the tag is absent or empty.

        Raises:
            InputError: anything else.
        """
        number = self.number(keyword)
        if number is not None and number != int(number):
            raise self._refusal(keyword, "one whole number is")
        return None if number is None else int(number)

    def number_if_readable(self, keyword: str) -> float | None:
        """One finite number, ``None`` if there is none: for information that no voxel depends on."""
        try:
            return self.number(keyword)
        except InputError:
            return None

    def text(self, keyword: str) -> str | None:
        r"""Text, several values joined by ``\``; ``None`` if absent, empty or no text."""
        parts = self.texts(keyword)
        return "\\".join(parts).strip() or None

    def texts(self, keyword: str) -> tuple[str, ...]:
        """The values of a text tag; empty if absent or no text."""
        try:
            value = self._value(keyword)
        except InputError:
            return ()
        parts = [] if value is None else _parts(value)
        return tuple(str(part).strip() for part in parts) if all(_is_text(part) for part in parts) else ()

    def text_of_tag(self, tag: int) -> str:
        """Text of a tag that has no keyword, such as a private one; empty if absent or unreadable."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value: Any = self._header[tag].value if tag in self._header else ""
        except UNREADABLE:
            return ""
        return value.decode("ascii", "replace") if isinstance(value, bytes) else str("" if value is None else value)

    def is_there(self, keyword: str) -> bool:
        """Whether the tag stands in the header, with or without a value that can be read."""
        return (tag_for_keyword(keyword) or 0) in self._header

    def unreadable(self, keyword: str) -> bool:
        """Whether the tag holds something that is not one finite number."""
        try:
            self.number(keyword)
        except InputError:
            return True
        return False

    def shown(self, keyword: str) -> str:
        """The tag and what it holds, for messages."""
        tag = Tag(tag_for_keyword(keyword) or 0)
        if tag not in self._header:
            return f"no {keyword} {tag}"
        try:
            content: Any = self._header.get_item(tag).value
        except UNREADABLE:
            content = "something unreadable"
        if isinstance(content, bytes):
            content = content.decode("ascii", "replace").strip("\0 ")
        elif not isinstance(content, str):
            content = "\\".join(str(part) for part in _parts(content))
        return f"{keyword} {tag} = {quoted(content)}"

    def _value(self, keyword: str) -> Any:
        tag = tag_for_keyword(keyword)
        if tag is None or tag not in self._header:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = self._header[tag].value
        except UNREADABLE:
            raise self._refusal(keyword, "a value that can be read is") from None
        empty = (isinstance(value, str) and not value.strip("\0 ")) or (isinstance(value, bytes) and not value.strip(b"\0 "))
        return None if empty else value

    def _refusal(self, keyword: str, needed: str) -> InputError:
        return InputError(
            f"{self.where} states {self.shown(keyword)}; {needed} needed. Correct the tag, or export the series again."
        )


def _parts(value: Any) -> list[Any]:
    if isinstance(value, bytes) or _is_text(value):
        return [value]
    try:
        return list(value)
    except TypeError:
        return [value]


def _is_text(value: Any) -> bool:
    # UIDs and person names have their own text types
    return isinstance(value, str) or type(value).__name__ == "PersonName"


def _number(value: Any) -> float:
    if isinstance(value, bytes):
        value = value.decode("ascii").strip("\0 ")
    value = getattr(value, "original_string", value)  # what the file holds, not what Python made of it
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        value = str(value)
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip("\0 \r\n\t")):
        raise ValueError(value)
    return float(value.strip("\0 \r\n\t") if isinstance(value, str) else value)
