"""How a DICOM file begins: with preamble and mark, or, as old archives and some converters write it, with its first element."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import pydicom

from .input_files import open_file

MARK = b"DICM"
_MARK_END = 132
# First group of a file without preamble: 0002 (file meta) or 0008 (identification), and the highest element of 0008 that can
# come first: a series without SOPClassUID (0018), StudyDate (0020) and Modality (0060) is none.
_FIRST_GROUPS, _HIGHEST_FIRST_ELEMENT = (0x0002, 0x0008), 0x0060
# Value representations of these elements (PS3.6).
_FIRST_TYPES = (b"UL", b"OB", b"UI", b"CS", b"DA", b"TM", b"LO", b"SH", b"DT")
_LONGEST_FIRST_VALUE = 128


def has_dicom_mark(path: Path) -> bool:
    """Whether a file begins as DICOM files do, whatever follows."""
    try:
        with path.open("rb") as file:
            return _begins_as_dicom(file.read(_MARK_END))
    except OSError:
        return False


def read_dataset(source: Path | IO[bytes], **options: Any) -> pydicom.FileDataset:
    """A DICOM file, with or without preamble.

    Args:
        source: its path, or the opened file.
        options: as for ``pydicom.dcmread``.

    Raises:
        InvalidDicomError: it does not begin like DICOM.
        InputError: it cannot be opened.
        OSError, ValueError and the rest of :data:`.dicom_values.UNREADABLE`: damaged.
    """
    if isinstance(source, Path):
        with open_file(source) as file:
            return read_dataset(file, **options)
    start = source.read(_MARK_END)
    source.seek(0)
    return pydicom.dcmread(source, force=_begins_with_element(start), **options)


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
