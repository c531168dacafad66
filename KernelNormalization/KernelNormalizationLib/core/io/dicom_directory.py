"""DICOMDIR: the list of the files on a disc or in an exported folder, and which of them are not there."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage

from ..errors import InputError
from ..plain_text import plain, quoted
from .dicom_beginning import read_dataset
from .dicom_values import UNREADABLE, HeaderValues
from .input_files import open_file

DICOMDIR = "DICOMDIR"
# A file set names its files in at most 8 parts of at most 8 characters (PS3.10, 8.5); more is a damaged list.
_MOST_PARTS, _LONGEST_PART = 8, 64


def is_directory_file(path: Path) -> bool:
    """Whether ``path`` is a file that lists other files, by its content."""
    try:
        with open_file(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            meta = read_dataset(file, specific_tags=["SOPClassUID"]).file_meta
    except (InputError, InvalidDicomError, *UNREADABLE):
        return False
    return HeaderValues(meta, "").text("MediaStorageSOPClassUID") == str(MediaStorageDirectoryStorage)


def listed_images(path: Path) -> dict[str, list[Path]]:
    """Series instance UID -> files of its images, as a DICOMDIR lists them, whether they are there or not.

    Args:
        path: the DICOMDIR; its files lie below the folder that it lies in.

    Raises:
        InputError: it is cut off or damaged, or names a file elsewhere.
    """
    try:
        with open_file(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            records = list(read_dataset(file).DirectoryRecordSequence)
            _require_all(records)
            found: dict[str, list[Path]] = defaultdict(list)
            series = ""
            # The records are linked by offsets, and every known writer also stores them in that order.
            for record in records:
                kind = HeaderValues(record, plain(path.name)).text("DirectoryRecordType")
                if kind == "SERIES":
                    series = HeaderValues(record, plain(path.name)).text("SeriesInstanceUID") or ""
                elif kind in ("PATIENT", "STUDY"):
                    series = ""
                elif kind == "IMAGE" and record.get("ReferencedFileID"):
                    found[series].append(_place(path, record))
    except (InvalidDicomError, *UNREADABLE) as error:
        raise InputError(
            f"{quoted(path.name)} is cut off or damaged, so it cannot be said which images belong to it; give the folder of "
            "the images instead."
        ) from error
    return dict(found)


def _require_all(records: Sequence[Dataset]) -> None:
    """Every record that another one points to must be there: a list that was cut off would name fewer images.

    Raises:
        EOFError: one is not.
    """
    there = {record.seq_item_tell for record in records}
    for record in records:
        values = HeaderValues(record, "")
        for link in ("OffsetOfTheNextDirectoryRecord", "OffsetOfReferencedLowerLevelDirectoryEntity"):
            if (values.whole(link) or 0) not in there | {0}:
                raise EOFError(link)


def _place(path: Path, record: Dataset) -> Path:
    parts = HeaderValues(record, plain(path.name)).texts("ReferencedFileID")
    odd = not 1 <= len(parts) <= _MOST_PARTS or any(
        not part or part in (".", "..") or len(part) > _LONGEST_PART or "/" in part or "\\" in part or ":" in part
        for part in parts
    )
    if odd:
        raise InputError(
            f"{quoted(path.name)} names a file {quoted('/'.join(parts))} outside its own folder; it is damaged. Give the "
            "folder of the images instead."
        )
    return _on_disk(path.parent, parts)


def _on_disk(folder: Path, parts: Sequence[str]) -> Path:
    """The file under its listed name, or under the same name in small letters, as some systems show discs."""
    exact = folder.joinpath(*parts)
    small = folder.joinpath(*(part.lower() for part in parts))
    return small if not exact.exists() and small.exists() else exact


def missing_images(folder: Path) -> Mapping[str, list[Path]]:
    """Series instance UID -> files that the DICOMDIR of ``folder`` lists and that are not there.

    A series none of whose files is there is left out: it was never copied. Empty without a DICOMDIR, or where it is damaged.
    """
    for name in (DICOMDIR, DICOMDIR.lower()):
        if (folder / name).is_file() and is_directory_file(folder / name):
            try:
                listed = listed_images(folder / name)
            except InputError:
                return {}
            absent = {uid: [path for path in paths if not path.exists()] for uid, paths in listed.items()}
            return {uid: paths for uid, paths in absent.items() if 0 < len(paths) < len(listed[uid])}
    return {}
