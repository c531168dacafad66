"""Files of a series that are there twice, as after a second download into the same folder."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from .dicom_slice import DicomSlice, Series


def without_copies(slices: Series) -> Series:
    """``slices`` without files that equal another one byte for byte; that one holds their names.

    Files that only state the same instance UID stay, so that they are refused as doubled slices.
    """
    files: dict[Path, DicomSlice] = {}
    for item in slices:
        if item.fault is None:
            files.setdefault(item.path, item)  # the first frame stands for its file
    alike: dict[tuple[object, ...], list[Path]] = {}
    for path, item in files.items():
        alike.setdefault((item.values.text("SOPInstanceUID"), *_place(item), item.bytes_left), []).append(path)
    copies = {kept: found for paths in alike.values() if len(paths) > 1 for kept, found in _copies(paths).items()}
    left_out = {path for found in copies.values() for path in found}
    names = {kept: tuple(path.name for path in found) for kept, found in copies.items()}
    return [replace(item, copies=names.get(item.path, ())) for item in slices if item.path not in left_out]


def _place(item: DicomSlice) -> tuple[str, str]:
    """What differs between slices, even where all have one instance UID, as text."""
    return item.values.shown("ImagePositionPatient"), item.values.shown("InstanceNumber")


def _copies(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """File -> those that equal it; the name that is shortest is kept, since programs lengthen the names of copies."""
    found: dict[Path, list[Path]] = {}
    for path in sorted(paths, key=lambda path: (len(path.name), str(path))):
        kept = next((other for other in found if _equal(other, path)), None)
        found.setdefault(path if kept is None else kept, []).extend([] if kept is None else [path])
    return found


def _equal(one: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False  # read, and told, later
