"""Headers of a folder tree, summed up series by series: an archive's images do not fit into memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.dicom_series import acquisition_of
from KernelNormalizationLib.core.io.dicom_slice import DicomSlice, read_images
from KernelNormalizationLib.core.io.dicom_strays import named_like, not_dicom
from KernelNormalizationLib.core.io.dicom_values import HeaderValues
from KernelNormalizationLib.core.io.volume_file import VOLUME_SUFFIXES
from KernelNormalizationLib.core.io.whole_sets import PRIVATE_PREFIX
from KernelNormalizationLib.core.volume import Acquisition

# Of an output folder of a cohort: never part of an input.
COHORT_FILE = "cohort.json"
# Tags that two reconstructions of one scan have in common, and how many numbers each holds.
_GRID = {"Rows": 1, "Columns": 1, "PixelSpacing": 2, "ImageOrientationPatient": 6}


@dataclass
class SeriesFound:
    """A DICOM series, without its single images.

    Attributes:
        uid: series instance UID.
        facts: acquisition facts of its first image.
        patient: patient ID of the header; made a pseudonym before it goes anywhere.
        date: study date as in the header.
        grid: rows, columns, pixel spacing and orientation as text, the same for reconstructions on one grid.
        images: number of image files.
        extent: lowest and highest position along the normal, mm; empty without positions.
        places: folder -> names of the series' files.
        derived: whether the header says that the images were computed from others.
    """

    uid: str
    facts: Acquisition
    patient: str
    date: str
    grid: tuple[str, ...]
    pixels: int
    derived: bool
    images: int = 0
    extent: list[float] = field(default_factory=list)
    places: dict[Path, list[str]] = field(default_factory=dict)

    @property
    def step_mm(self) -> float | None:
        """Mean distance of slices, mm; ``None`` without positions."""
        return (self.extent[1] - self.extent[0]) / (self.images - 1) if self.extent and self.images > 1 else None

    @property
    def length_mm(self) -> float | None:
        """From the first to the last slice, mm."""
        return self.extent[1] - self.extent[0] if self.extent else None


@dataclass
class Tree:
    """What lies below a folder.

    Attributes:
        series: by UID.
        volumes: NRRD, NIfTI and MHA files.
        faults: folder -> what is wrong with DICOM files in it.
        shared: folders that hold subfolders or files of several series.
    """

    series: dict[str, SeriesFound] = field(default_factory=dict)
    volumes: list[Path] = field(default_factory=list)
    faults: dict[Path, list[str]] = field(default_factory=dict)
    shared: set[Path] = field(default_factory=set)


def scan_tree(root: Path, told: Callable[[int], None] | None = None) -> Tree:
    """Look at every file below ``root``; hidden files, links to folders and results of a cohort are passed over.

    Args:
        root: folder.
        told: called with the number of files seen, after every folder; may raise to stop.

    Raises:
        InputError: the folder cannot be listed.
    """
    tree, seen = Tree(), 0

    def refuse(error: OSError) -> None:
        if error.filename is not None and Path(error.filename) == root:
            raise InputError(f"{root} cannot be listed ({error.strerror}); check the drive and your permission.")
        tree.faults.setdefault(Path(str(error.filename)), []).append(f"The folder cannot be listed ({error.strerror}).")

    for place, folders, names in os.walk(root, onerror=refuse):
        if COHORT_FILE in names:
            folders.clear()
            continue
        folders[:] = sorted(f for f in folders if not f.startswith((".", PRIVATE_PREFIX)))
        folder = Path(place)
        looked = {folder / name: _look(tree, folder, name) for name in sorted(names)}
        found = {uid for uid in looked.values() if uid}
        strays = [path for path, uid in looked.items() if uid is None]
        for path in named_like([path for path, uid in looked.items() if uid], strays):
            tree.faults.setdefault(folder, []).append(not_dicom(path))
        if len(found) > 1 or (found and folders):
            tree.shared.add(folder)
        seen += len(names)
        if told is not None:
            told(seen)
    return tree


def _look(tree: Tree, folder: Path, name: str) -> str | None:
    """Take one file into the tree; the UID of its series if it is an image, ``None`` if it may be what is left of one."""
    path = folder / name
    if name.startswith("."):
        return ""
    if name.lower().endswith(VOLUME_SUFFIXES):
        tree.volumes.append(path)
        return ""
    if not path.is_file():
        return "" if path.is_dir() else None
    items = read_images(path)
    if items is None:
        return None
    item = items[0]
    if item.fault is not None:
        tree.faults.setdefault(folder, []).append(item.fault)
        return ""
    if "Rows" not in item.header:
        return ""
    uid = item.values.text("SeriesInstanceUID") or f"no UID in {folder}"
    series = tree.series.get(uid)
    if series is None:
        series = tree.series[uid] = _begun(uid, item)
    series.images += len(items)
    series.places.setdefault(folder, []).append(name)
    try:
        positions = [image.position for image in items]
    except InputError:
        return uid  # said when the series is read
    series.extent = [min([*series.extent[:1], *positions]), max([*series.extent[1:], *positions])]
    return uid


def _begun(uid: str, item: DicomSlice) -> SeriesFound:
    values = item.values

    def text(keyword: str) -> str:
        return values.text(keyword) or ""

    # damaged values are told when the series is read; they must not end the search of a whole archive
    numbers = {keyword: _numbers(values, keyword, count) for keyword, count in _GRID.items()}
    grid = [text("StudyInstanceUID"), text("FrameOfReferenceUID"), *map(str, numbers.values())]
    pixels = int(numbers["Rows"][0] * numbers["Columns"][0]) if numbers["Rows"] and numbers["Columns"] else 0
    facts = acquisition_of(item.header)
    derived = "DERIVED" in facts.image_type[:1] or "DerivationDescription" in item.header
    return SeriesFound(uid, facts, text("PatientID"), text("StudyDate"), tuple(grid), pixels, derived)


def _numbers(values: HeaderValues, keyword: str, count: int) -> tuple[float, ...]:
    try:
        return values.numbers(keyword, count) or ()
    except InputError:
        return ()
