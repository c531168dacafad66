"""Files that are no DICOM and are named like the slices beside them: what is left of a damaged or lost one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from .dicom_slice import fault_in_words

# Names that archives make of a checksum or of a random number.
_CHECKSUM = re.compile(r"(?=.*\d)[0-9a-f]{8,}(-[0-9a-f]+)*")
NO_DICOM = "is named like the others and is no DICOM file"
_IMAGE_SUFFIXES = (".dcm", ".ima", ".dicom", ".ct")


def named_like(images: Sequence[Path], strays: Iterable[Path]) -> list[Path]:
    """Those of ``strays``, which are not DICOM, that are named like ``images`` beside them, as a damaged slice is."""
    kinds = {(path.parent, _kind(path)) for path in images}
    suffixes = {(path.parent, path.suffix.lower()) for path in images}
    return [
        path
        for path in strays
        if not path.name.startswith(".")  # metadata files of operating systems
        and (
            (path.parent, _kind(path)) in kinds
            or (path.suffix.lower() in _IMAGE_SUFFIXES and (path.parent, path.suffix.lower()) in suffixes and _was_file(path))
        )
    ]


def _was_file(path: Path) -> bool:
    """Whether a file or a lost one: a pipe is a damaged slice only where it has the whole name of one."""
    return path.is_file() or not path.exists()


def not_dicom(path: Path) -> str:
    """What is to be said of a file that :func:`named_like` found."""
    return fault_in_words(path, NO_DICOM)


def _kind(path: Path) -> str:
    """The name without what differs between the files of a series: numbers, or a checksum."""
    name = path.name.lower()
    return "#" + path.suffix.lower() if _CHECKSUM.fullmatch(path.stem.lower()) else re.sub(r"\d+", "#", name)
