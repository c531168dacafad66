"""From folders, lists and files to cases."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.file_conversion import provenance_path

from .case import Case, Found, LeftOut, Scan, made_id, relative_to
from .choosing import THICKEST_MM, Choice, choose, shown, unfit
from .csv_list import iso_date, read_list
from .series_scan import SeriesFound, Tree, scan_tree


@dataclass(frozen=True)
class Finding:
    """How cases are found.

    Attributes:
        thickest_mm: series with thicker slices are left out.
        every_series: take every acquisition and thickness of a study.
        dates: keep the study dates of DICOM headers, for change over time.
        salt: makes pseudonyms of patient IDs; whoever lacks it cannot find the ID by trying.
    """

    thickest_mm: float = THICKEST_MM
    every_series: bool = False
    dates: bool = False
    salt: bytes = b""


def find_cases(inputs: Sequence[Path], how: Finding, told: Callable[[int], None] | None = None) -> Found:
    """The cases of folders, CSV lists and single scans.

    Args:
        inputs: what the user gave.
        how: how to choose among series.
        told: called with the number of files seen while a folder is looked through; may raise to stop.

    Raises:
        InputError: an input does not exist or cannot be listed, a list cannot be read, or nothing at all was found.
    """
    cases: dict[str, Case] = {}
    left_out: list[LeftOut] = []
    for path in inputs:
        found = _found(path, how, told)
        left_out += found.left_out
        for case in found.cases:
            if case.id in cases:
                left_out.append(LeftOut(case.described or case.id, "The same scan stands in another input too.", broken=True))
            else:
                cases[case.id] = case
    if not cases and not left_out:
        given = ", ".join(str(path) for path in inputs)
        raise InputError(f"No CT was found in {given}; give folders of DICOM, NRRD, NIfTI or MHA, or a CSV list.")
    return Found(tuple(cases[name] for name in sorted(cases)), tuple(left_out))


def _found(path: Path, how: Finding, told: Callable[[int], None] | None) -> Found:
    if not path.exists():
        raise InputError(f"{path} does not exist; give a folder, a CSV list or a scan.")
    if path.is_dir():
        return _in_tree(path, scan_tree(path, told), how)
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return read_list(path)
    return Found((Case(made_id(path.name), Scan(str(path)), described=path.name),))


def _in_tree(root: Path, tree: Tree, how: Finding) -> Found:
    cases, left_out = _volume_cases(root, tree.volumes)
    studies: dict[str, list[SeriesFound]] = defaultdict(list)
    for series in tree.series.values():
        reason = unfit(series, how.thickest_mm)
        fault = next((texts[0] for folder, texts in tree.faults.items() if folder in series.places), None)
        if fault is not None and reason is None:
            left_out.append(LeftOut(shown(series), fault, broken=True))
        elif reason is not None:
            left_out.append(LeftOut(shown(series), reason))
        else:
            studies[series.facts.study_instance_uid or series.uid].append(series)
    known = {folder for series in tree.series.values() for folder in series.places}
    for folder, texts in tree.faults.items():
        if folder not in known:
            left_out.append(LeftOut(f"{len(texts)} file(s) of a folder without a readable image", texts[0], broken=True))
    for group in studies.values():
        choices, others = choose(group, how.every_series)
        left_out += others
        cases += [_case(choice, tree, how) for choice in choices]
    return Found(tuple(cases), tuple(left_out))


def _volume_cases(root: Path, volumes: Sequence[Path]) -> tuple[list[Case], list[LeftOut]]:
    cases, left_out = [], []
    for path in volumes:
        name = relative_to(path, root)
        if path.name.lower().endswith(".seg.nrrd"):
            left_out.append(LeftOut(name, "It is a segmentation."))
        elif provenance_path(path).is_file():
            left_out.append(LeftOut(name, "It is a normalized volume (its provenance lies beside it)."))
        else:
            cases.append(Case(made_id(name), Scan(str(path)), described=name))
    return cases, left_out


def _case(choice: Choice, tree: Tree, how: Finding) -> Case:
    series, partner = choice.scan, choice.partner
    told = shown(series) + (f"; soft partner {partner.facts.kernel or 'unknown kernel'}" if partner is not None else "")
    return Case(
        id=made_id(series.uid),
        scan=_scan(series, tree),
        partner=None if partner is None else _scan(partner, tree),
        patient=_pseudonym(series.patient, how.salt),
        date=_date(series.date) if how.dates else None,
        voxels=series.pixels * series.images,
        described=told,
    )


def _scan(series: SeriesFound, tree: Tree) -> Scan:
    places = sorted(series.places)
    if len(places) == 1 and places[0] not in tree.shared:
        return Scan(str(places[0]), series.uid)
    root = Path(os.path.commonpath(places))
    names = sorted(relative_to(place / name, root) for place in places for name in series.places[place])
    return Scan(str(root), series.uid, tuple(names))


def _pseudonym(patient: str, salt: bytes) -> str | None:
    if not patient:
        return None
    return "p-" + hashlib.blake2b(patient.encode("utf-8", "replace"), key=salt[:64], digest_size=6).hexdigest()


def _date(text: str) -> str | None:
    try:
        return iso_date(text)
    except InputError:
        return None  # a date that cannot be read takes no scan away


def new_salt() -> bytes:
    """A salt for pseudonyms."""
    return secrets.token_bytes(32)


def dry_run_lines(found: Found, most: int = 40) -> list[str]:
    """What would run and what not, for a person.

    Args:
        found: of :func:`find_cases`.
        most: lines of each list; how many more there are is said.
    """
    pairs = sum(case.partner is not None for case in found.cases)
    lines = [f"{len(found.cases)} case(s) would run, {pairs} with a soft partner"]
    lines += _shortened([f"  {case.id}  {case.described}" for case in found.cases], most)
    for broken, title in ((True, "cannot run and would stand in failures.csv"), (False, "left out")):
        items = [item for item in found.left_out if item.broken is broken]
        lines.append(f"{len(items)} {title}" + (":" if items else ""))
        lines += _shortened([f"  {item.what}: {item.reason}" for item in items], most)
    return lines


def _shortened(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"  and {len(lines) - most} more"]
