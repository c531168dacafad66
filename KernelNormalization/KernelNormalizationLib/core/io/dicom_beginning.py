"""How a DICOM file begins: with preamble and mark, or, as old archives and some converters write it, with its first element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from .input_files import open_file

MARK = b"DICM"
_MARK_END = 132
# First group of a file without preamble: 0002 (file meta) or 0008 (identification), and the highest element of 0008 that can
# come first: a series without SOPClassUID (0018), StudyDate (0020) and Modality (0060) is none.
_FIRST_GROUPS, _HIGHEST_FIRST_ELEMENT = (0x0002, 0x0008), 0x0060
# Value representations of these elements (PS3.6).
_FIRST_TYPES = (b"UL", b"OB", b"UI", b"CS", b"DA", b"TM", b"LO", b"SH", b"DT")
_LONGEST_FIRST_VALUE = 128
# Pixels as integers, as float and as double (PS3.3, C.7.6.3 and C.7.6.24).
_PIXELS = frozenset((0x7FE00010, 0x7FE00008, 0x7FE00009))
_UNDEFINED_LENGTH = 0xFFFFFFFF


def has_dicom_mark(path: Path) -> bool:
    """Whether a file begins as DICOM files do, whatever follows."""
    try:
        with path.open("rb") as file:
            return _begins_as_dicom(file.read(_MARK_END))
    except OSError:
        return False


class RepeatedElementError(ValueError):
    """A file states one of the elements that are read more than once, so its value cannot be known; the text names it."""


def read_dataset(
    source: Path | IO[bytes], stop_before_pixels: bool = False, specific_tags: Sequence[str | int] = ()
) -> pydicom.FileDataset:
    """A DICOM file, with or without preamble.

    Args:
        source: its path, or the opened file.
        stop_before_pixels: leave the pixels out.
        specific_tags: keywords or numbers of what is read; everything if empty.

    Raises:
        InvalidDicomError: it does not begin like DICOM.
        InputError: it cannot be opened.
        RepeatedElementError: one of ``specific_tags`` stands in it twice.
        OSError, ValueError and the rest of :data:`.dicom_values.UNREADABLE`: damaged, or shorter than it states.
    """
    if isinstance(source, Path):
        with open_file(source) as file:
            return read_dataset(file, stop_before_pixels, specific_tags)
    start = source.read(_MARK_END)
    source.seek(0)
    tags = [Tag(tag) for tag in specific_tags]
    stop = _stop_when(stop_before_pixels, frozenset(tags))
    # as ``pydicom.dcmread`` does, which shows no element before a later one of the same tag has replaced it
    dataset = read_partial(source, stop, force=_begins_with_element(start), specific_tags=list(tags) or None)
    _require_whole(dataset)
    return dataset


def _stop_when(stop_before_pixels: bool, tags: frozenset[BaseTag]) -> Callable[[BaseTag, str | None, int], bool]:
    seen: set[BaseTag] = set()

    def stop(tag: BaseTag, _type: str | None, _length: int) -> bool:
        if stop_before_pixels and tag in _PIXELS:
            return True
        if tag in seen and tag in tags:
            raise RepeatedElementError(f"{keyword_for_tag(tag)} {tag}")
        seen.add(tag)
        return False

    return stop


def _require_whole(dataset: pydicom.Dataset) -> None:
    """pydicom gives what there is of a value that the end of the file cuts off.

    Raises:
        EOFError: an element is shorter than it states.
    """
    for element in map(dataset.get_item, list(dataset.keys())):
        if not isinstance(element, RawDataElement) or element.value is None or element.length == _UNDEFINED_LENGTH:
            continue
        if len(element.value) < element.length:
            raise EOFError(f"{element.tag} is cut off")


def _begins_as_dicom(start: bytes) -> bool:
    return start[_MARK_END - len(MARK) :] == MARK or _begins_with_element(start)


def _begins_with_element(start: bytes) -> bool:
    """Whether the first bytes are a DICOM element: its tag, then its type or length."""
    for order in ("little", "big"):
        group, element = (int.from_bytes(start[n : n + 2], order) for n in (0, 2))
        if len(start) == _MARK_END and group in _FIRST_GROUPS and element <= _HIGHEST_FIRST_ELEMENT:
            implicit = order == "little" and int.from_bytes(start[4:8], "little") <= _LONGEST_FIRST_VALUE
            return implicit or start[4:6] in _FIRST_TYPES
    return False
