"""Tables of a report: tidy CSV (one row a region and volume) and JSON, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from EmphysemaQuantLib.core.clusters import SIZE_CLASS_NAMES
from EmphysemaQuantLib.core.indices import RegionIndices
from KernelNormalizationLib.core.write import RESEARCH_USE, atomic_path, write_json

from .report import Report

# Column of the CSV -> field of RegionIndices; the unit stands in brackets.
CSV_COLUMNS: Mapping[str, str] = {
    "threshold [HU]": "threshold_hu",
    "voxels": "voxels",
    "TLV [mL]": "tlv_ml",
    "EV [mL]": "ev_ml",
    "EI [%]": "ei_percent",
    "LAA-910 [%]": "laa910_percent",
    "LAA-856 [%]": "laa856_percent",
    "Perc15 [HU]": "perc15_hu",
    "MLD [HU]": "mld_hu",
    "SD [HU]": "sd_hu",
    "skewness": "skewness",
    "excess kurtosis": "kurtosis",
    "lung mass [g]": "mass_g",
    "at HU floor [%]": "floor_percent",
}
# Signs that start a formula, in ASCII and full width (some spreadsheets fold them), and separators of old exchange formats.
_FORMULA_SIGNS = frozenset("=+-@|%＝＋－＠")


def safe_cell(text: str) -> str:
    """``text`` such that a spreadsheet shows it instead of running it as a formula.

    Whitespace, control and format characters before the sign do not hide it: spreadsheets skip them.
    """
    bare = next((c for c in text if not (c.isspace() or unicodedata.category(c) in ("Cc", "Cf"))), "")
    return "'" + text if bare in _FORMULA_SIGNS else text


def csv_rows(report: Report) -> list[dict[str, str | float | int]]:
    """One row a region and volume; text cells are spreadsheet-safe, numbers stay numbers."""
    rows: list[dict[str, str | float | int]] = []
    for kind, panel in report.panels:
        for region in panel.regions:
            row: dict[str, str | float | int] = {
                "volume": safe_cell(panel.name),
                "kind": kind,
                "synthetic": "yes" if panel.synthetic else "no",
                "region": safe_cell(region.region),
            }
            row |= {column: _rounded(getattr(region, field)) for column, field in CSV_COLUMNS.items()}
            row["lung mask"] = report.lung_mask.quality.verdict
            row["use"] = RESEARCH_USE
            rows.append(row)
    return rows


def write_indices_csv(report: Report, path: Path) -> None:
    """Write the rows of :func:`csv_rows` as UTF-8 CSV with a header, whole or not at all."""
    rows = csv_rows(report)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def json_record(report: Report) -> dict[str, Any]:
    """The report as JSON-serializable data; keys carry their unit as suffix (``_hu``, ``_ml``, ``_percent`` …)."""
    return {
        "use": RESEARCH_USE,
        "title": report.title,
        "lung_mask": asdict(report.lung_mask.quality),
        "volumes": [
            {
                "kind": kind,
                "name": panel.name,
                "synthetic": panel.synthetic,
                "threshold_hu": panel.threshold_hu,
                "regions": [asdict(region) for region in panel.regions],
                "clusters": {**asdict(panel.clusters), "classes": list(SIZE_CLASS_NAMES)},
                "ei_by_threshold": [{"threshold_hu": t, "ei_percent": e} for t, e in panel.curve],
                "floor": asdict(panel.floor),
                "acquisition": [asdict(item) for item in panel.sheet],
            }
            for kind, panel in report.panels
        ],
        "agreement": None if report.agreement is None else asdict(report.agreement),
        "ei_interval": None if report.interval is None else asdict(report.interval),
        "provenance": dict(report.provenance),
    }


def write_indices_json(report: Report, path: Path) -> None:
    """Write :func:`json_record`, whole or not at all."""
    write_json(json_record(report), path)


def region_of(report: Report, kind: str, region: str) -> RegionIndices | None:
    """Indices of a region of the raw or normalized volume, ``None`` when it has no such row."""
    for found, panel in report.panels:
        if found == kind:
            return next((r for r in panel.regions if r.region == region), None)
    return None


# Header and format of the printed table; TLV belongs to the mask and is the same for both volumes.
PRINTED = (("EI (%)", "ei_percent", ".2f"), ("EV (mL)", "ev_ml", ".0f"), ("Perc15 (HU)", "perc15_hu", ".0f"),
           ("MLD (HU)", "mld_hu", ".0f"))  # fmt: skip


def printed_regions(report: Report) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the region table: raw and normalized side by side."""
    kinds = [kind for kind, _ in report.panels]
    pair = len(kinds) == 2
    header = ["Region", "TLV (mL)"]
    header += [f"{label} {kind}" if pair else label for label, _, _ in PRINTED for kind in kinds]
    rows = []
    for first in report.raw_panel.regions:
        row = [first.region, f"{first.tlv_ml:.0f}"]
        for _, field, form in PRINTED:
            for kind in kinds:
                found = region_of(report, kind, first.region)
                row.append("–" if found is None else format(getattr(found, field), form))
        rows.append(row)
    return header, rows


def printed_whole(report: Report) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of further indices of the whole lungs."""
    panels = [panel for _, panel in report.panels]
    rows: list[list[str]] = []

    def add(name: str, values: list[str]) -> None:
        rows.append([name, *values])

    add("LAA-910, inspiration (%)", [f"{p.whole.laa910_percent:.2f}" for p in panels])
    add("LAA-856, expiration (%)", [f"{p.whole.laa856_percent:.2f}" for p in panels])
    add("SD (HU)", [f"{p.whole.sd_hu:.1f}" for p in panels])
    add("Skewness", [f"{p.whole.skewness:.2f}" for p in panels])
    add("Excess kurtosis", [f"{p.whole.kurtosis:.2f}" for p in panels])
    add("Lung mass (g)", [f"{p.whole.mass_g:.0f}" for p in panels])
    add("Clusters", [f"{p.clusters.count}" for p in panels])
    add("Largest cluster (mL)", [f"{p.clusters.largest_ml:.2f}" for p in panels])
    fits = [p.clusters.power_law for p in panels]
    add("D-value", ["–" if fit is None else f"{fit.d_value:.2f}" for fit in fits])
    add("R² of its fit", ["–" if fit is None else f"{fit.r_squared:.2f}" for fit in fits])
    add("In clusters > 120 mm³ (%)", [f"{p.clusters.class_percent[-1]:.2f}" for p in panels])
    add("At the HU floor (%)", [f"{p.floor.lung_share_percent:.2f}" for p in panels])
    return ["Both lungs", *(kind for kind, _ in report.panels)], rows


def _rounded(value: float | int) -> float | int:
    return value if isinstance(value, int) else round(float(value), 4)
