"""The volumes that a record was made from: found beside it or given, and known again by their hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.dicom_series import read_header
from KernelNormalizationLib.core.io.reading import VOLUME_SUFFIXES, read_volume
from KernelNormalizationLib.core.plain_text import plain
from KernelNormalizationLib.core.provenance.hashes import voxels_sha256
from KernelNormalizationLib.core.volume import CTVolume

from ..cohort.case_folder import NORMALIZED, VOLUME
from .findings import OLDER, Verification

# Folders beside a record whose first file is looked at for the series; more are no place for one scan's results.
MOST_FOLDERS = 50
HOW_TO_GIVE = "give it with --input: its DICOM folder, or its file"


@dataclass(frozen=True)
class ReadInput:
    """A volume, and the file or folder that it was read from."""

    volume: CTVolume
    path: Path


def find_inputs(recorded: Sequence[Mapping[str, Any]], folder: Path, given: Sequence[Path]) -> list[ReadInput]:
    """The volume of each recorded input, in that order.

    Args:
        recorded: name, series, shape and, if known, hash of each.
        folder: where the record lies.
        given: by the user, in any order; one that fits none stands for the input of its place, so that the difference is told.

    Raises:
        InputError: one was neither given nor found, or cannot be read.
    """
    series = [str(uid) for facts in recorded if (uid := facts.get("series_instance_uid"))]
    left = [_read(path, series) for path in given]
    chosen: list[ReadInput | None] = []
    for facts in recorded:
        match = next((item for item in left if is_recorded(facts, item.volume)), None)
        chosen.append(match)
        left = [item for item in left if item is not match]
    for number, facts in enumerate(recorded):
        # what the user gave is told of, even where the recorded input lies beside the record
        if chosen[number] is None:
            chosen[number] = left.pop(0) if left else _beside(facts, folder, series)
    if left:
        raise InputError(f"{plain(left[0].path)} is none of the {len(recorded)} input(s) on record; leave this --input out.")
    missing = [_name(facts) for facts, item in zip(recorded, chosen, strict=True) if item is None]
    if missing:
        raise InputError(f"The input “{missing[0]}” was not found beside the record; {HOW_TO_GIVE}.")
    return [item for item in chosen if item is not None]


def is_recorded(facts: Mapping[str, Any], volume: CTVolume) -> bool:
    """Whether ``volume`` is the one on record: by the hash of its voxels; in older records by series and shape."""
    expected = facts.get("voxels_sha256")
    if expected is not None:
        return bool(expected == voxels_sha256(volume.hu))
    shape, uid = facts.get("shape"), facts.get("series_instance_uid")
    return (shape is None or list(shape) == list(volume.shape)) and (
        uid is None or uid == volume.acquisition.series_instance_uid
    )


def check_input(facts: Mapping[str, Any], item: ReadInput, found: Verification) -> bool:
    """Add whether ``item`` is the recorded input, and return it."""
    subject, name = "input", plain(item.path.name)
    same = is_recorded(facts, item.volume)
    if facts.get("voxels_sha256") is None:
        text = f"{name} fits the record in series and size, which is no proof that it is the input; {OLDER} of the voxels."
        if same:
            found.note(subject, text)
            return True
        return found.check(subject, False, ("", f"{name} is of another series or size than the recorded input {_name(facts)}."))
    uid = facts.get("series_instance_uid")
    told = uid is not None and item.volume.acquisition.series_instance_uid == uid
    differs = f"{name} is not the recorded input {_name(facts)}: its voxels have another hash" + (
        ", though its series UID is the same; it was changed or exported again." if told else "."
    )
    return found.check(subject, same, (f"{name} is the recorded input: its voxels have the same hash.", differs))


def _beside(facts: Mapping[str, Any], folder: Path, series: Sequence[str]) -> ReadInput | None:
    for path in _candidates(facts, folder):
        try:
            item = _read(path, series)
        except InputError:
            continue
        if is_recorded(facts, item.volume):
            return item
    return None


def _candidates(facts: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    """Files of the recorded name, and folders with the recorded series, in the record's folder and the one above.

    A cohort keeps the normalized volume of a case in a folder beside that of the measurement.
    """
    name, uid = Path(str(facts.get("name", ""))).name, facts.get("series_instance_uid")
    if facts.get("synthetic") and (volume := folder.parent / NORMALIZED / VOLUME).is_file():
        yield volume
    for place in (folder, folder.parent):
        if name:
            yield from (path for suffix in VOLUME_SUFFIXES if (path := place / f"{name}{suffix}").is_file())
        if uid:
            inner = sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
            yield from (path for path in [place, *inner][:MOST_FOLDERS] if _first_series(path) == uid)


def _first_series(folder: Path) -> str | None:
    first = next((path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix.lower() in ("", ".dcm")), None)
    header = None if first is None else read_header(first)
    return None if header is None else str(header.get("SeriesInstanceUID", ""))


def _read(path: Path, series: Sequence[str]) -> ReadInput:
    """Read a volume; of a folder with several series the recorded one."""
    if path.is_dir():
        for uid in series:
            try:
                return ReadInput(read_volume(path, uid), path)
            except InputError:
                continue
    return ReadInput(read_volume(path), path)


def _name(facts: Mapping[str, Any]) -> str:
    return plain(str(facts.get("name", "without a name")))
