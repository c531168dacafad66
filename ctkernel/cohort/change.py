"""Change between dates for a whole cohort, from its table of results: nothing is measured again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from EmphysemaQuantLib.core.indices.longitudinal import (
    EI_LIMIT_POINTS,
    PERC15_ADJUSTED_LIMIT_HU,
    volume_adjusted_perc15,
)
from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError

from .output import cohort_record
from .rows import NORMALIZED, ORIGINAL, Column
from .tables import Rows, read_results, write_both

CHANGE_CSV, CHANGE_PARQUET = "change.csv", "change.parquet"
DAYS_A_YEAR = 365.25
# 95 % limits of agreement of volume-corrected Perc15 over three months in which nothing can have changed: falls of 9.7 to
# 14.7 % (131 smokers of two screening trials; Diciotti et al., Acad Radiol 2011; 18: 1403-1411, abstract). Its correction is a
# regression on logarithms, ours the sponge model, so the wider limit is taken.
DENSITY_LIMIT_PERCENT = 14.7
LIMITS_TEXT = (
    f"Beyond limits: adjusted Perc15 fell by over {PERC15_ADJUSTED_LIMIT_HU:g} HU, or EI rose by over {EI_LIMIT_POINTS:g} "
    "points (conventions of this project, no measured repeatability)."
)
REPEATABILITY_TEXT = (
    f"Beyond repeatability: adjusted density (Perc15 + 1000) fell by over {DENSITY_LIMIT_PERCENT:g} %, the wider of two 95 % "
    "limits over three months in Diciotti et al. 2011 (abstract)."
)
COLUMNS: tuple[Column, ...] = (
    Column("patient", "", "Pseudonym", number=False),
    Column("basis", "", "normalized (as it is where the scan was smooth already) or original", number=False),
    Column("baseline_case", "", "Case of the earliest date", number=False),
    Column("case", "", "Case of the follow-up", number=False),
    Column("baseline_date", "", "Earliest date", number=False),
    Column("date", "", "Date of the follow-up", number=False),
    Column("years", "years", "Between both"),
    Column("tlv_change_ml", "mL", "Total lung volume, follow-up minus baseline"),
    Column("perc15_change_hu", "HU", "Perc15, not adjusted"),
    Column("perc15_adjusted_change_hu", "HU", "Perc15 after adjustment of the follow-up to the baseline's lung volume"),
    Column("density_adjusted_change_percent", "%", "The same as change of density, (Perc15 + 1000) g/L"),
    Column("ei_change_points", "percentage points", "EI, not adjusted"),
    Column("perc15_adjusted_change_hu_per_year", "HU/year", "Adjusted change divided by years"),
    Column("beyond_limits", "", "yes or no: " + LIMITS_TEXT, number=False),
    Column("beyond_repeatability", "", "yes or no: " + REPEATABILITY_TEXT, number=False),
    Column("doubts", "", "What makes the change doubtful; empty if nothing is known", number=False),
    Column("use", "", "What the numbers may be used for", number=False),
)


def change_of_cohort(out: Path) -> tuple[Rows, list[str]]:
    """The change of every patient with scans of several dates; writes ``change.csv`` and ``change.parquet`` into the folder.

    Args:
        out: output folder of ``ctkernel cohort``.

    Returns:
        The rows, and lines for a person.

    Raises:
        InputError: no output folder of a cohort, no results, or no patient with two dates.
    """
    if cohort_record(out) is None:
        raise InputError(f"{out} is no output folder of ctkernel cohort; give that, or an earlier and a later scan.")
    dated = [row for row in read_results(out, "whole") if row["patient"] and row["date"]]
    if not dated:
        raise InputError(
            "No case has a patient and a date. Give both as columns of the CSV list, or use --dates with a DICOM archive, and "
            "run ctkernel cohort again; nothing is normalized anew."
        )
    changes = changes_of(dated)
    if not changes:
        patients = len({row["patient"] for row in dated})
        raise InputError(f"None of {patients} patient(s) has scans of two dates, so there is no change to report.")
    write_both(out / CHANGE_CSV, out / CHANGE_PARQUET, COLUMNS, [changes])
    return changes, _lines(out, changes)


def changes_of(rows: Sequence[dict[str, Any]]) -> Rows:
    """One row a patient, follow-up and basis: each later date against the earliest.

    Args:
        rows: whole-lung rows of the tidy table with patient and date.
    """
    by_patient: dict[str, dict[str, dict[str, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        by_patient[row["patient"]][row["case"]][row["volume"]] = row
    changes = []
    for _, cases in sorted(by_patient.items()):
        ordered = sorted(cases.values(), key=lambda volumes: (volumes[ORIGINAL]["date"], volumes[ORIGINAL]["case"]))
        first = ordered[0]
        for later in ordered[1:]:
            if later[ORIGINAL]["date"] == first[ORIGINAL]["date"]:
                continue
            for basis in (NORMALIZED, ORIGINAL):
                changes.append(_change(first.get(basis, first[ORIGINAL]), later.get(basis, later[ORIGINAL]), basis))
    return changes


def _change(first: dict[str, Any], later: dict[str, Any], basis: str) -> dict[str, Any]:
    years = (date.fromisoformat(later["date"]) - date.fromisoformat(first["date"])).days / DAYS_A_YEAR
    adjusted = volume_adjusted_perc15(later["perc15_hu"], later["tlv_ml"], first["tlv_ml"])
    fell = adjusted - first["perc15_hu"]
    percent = 100.0 * fell / (first["perc15_hu"] + 1000.0) if first["perc15_hu"] > -1000.0 else None
    ei = later["ei_percent"] - first["ei_percent"]
    return {
        "patient": first["patient"],
        "basis": basis,
        "baseline_case": first["case"],
        "case": later["case"],
        "baseline_date": first["date"],
        "date": later["date"],
        "years": years,
        "tlv_change_ml": later["tlv_ml"] - first["tlv_ml"],
        "perc15_change_hu": later["perc15_hu"] - first["perc15_hu"],
        "perc15_adjusted_change_hu": fell,
        "density_adjusted_change_percent": percent,
        "ei_change_points": ei,
        "perc15_adjusted_change_hu_per_year": fell / years,
        "beyond_limits": _yes(-fell > PERC15_ADJUSTED_LIMIT_HU or ei > EI_LIMIT_POINTS),
        "beyond_repeatability": _yes(percent is not None and -percent > DENSITY_LIMIT_PERCENT),
        "doubts": " ".join(_doubts(first, later, basis)),
        "use": RESEARCH_USE,
    }


def _doubts(first: dict[str, Any], later: dict[str, Any], basis: str) -> list[str]:
    doubts = []
    kernels = first["kernel"], later["kernel"]
    if None in kernels:
        doubts.append("A kernel is not stated.")
    elif kernels[0] != kernels[1]:
        doubts.append(f"The kernels differ ({kernels[0]}, {kernels[1]}).")
    if first["scanner_model"] != later["scanner_model"]:
        doubts.append("The scanners differ.")
    thickness = first["slice_spacing_mm"], later["slice_spacing_mm"]
    if max(thickness) > 1.5 * min(thickness):
        doubts.append(f"The slice spacings differ ({thickness[0]:g}, {thickness[1]:g} mm).")
    if "look" in (first["lung_mask"], later["lung_mask"]):
        doubts.append("Look at the lung masks.")
    if later["tlv_ml"] < 0.8 * first["tlv_ml"] or later["tlv_ml"] > 1.25 * first["tlv_ml"]:
        doubts.append("The lung volumes differ by over a fifth: the adjustment is not reliable over so large a difference.")
    return doubts


def _yes(so: bool) -> str:
    return "yes" if so else "no"


def _lines(out: Path, changes: Rows) -> list[str]:
    chosen = [row for row in changes if row["basis"] == NORMALIZED]
    patients = len({row["patient"] for row in chosen})
    beyond = sum(row["beyond_limits"] == "yes" for row in chosen)
    repeatable = sum(row["beyond_repeatability"] == "yes" for row in chosen)
    doubtful = sum(bool(row["doubts"]) for row in chosen)
    return [
        f"{len(chosen)} follow-up(s) of {patients} patient(s), on normalized volumes",
        f"{beyond} beyond limits, {repeatable} beyond repeatability; {doubtful} with doubts",
        LIMITS_TEXT,
        REPEATABILITY_TEXT,
        f"Table: {out / CHANGE_CSV} (with the same on the scans as reconstructed)",
    ]
