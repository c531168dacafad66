"""Tables of a report: tidy rows and JSON for files, and the tables that are printed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from EmphysemaQuantLib.core.indices.clusters import SIZE_CLASS_NAMES
from EmphysemaQuantLib.core.indices.density import RegionIndices
from EmphysemaQuantLib.core.results.table import MaskNote, Row, volume_rows
from KernelNormalizationLib.core.io.writing import RESEARCH_USE

from .results import Report


def table_rows(report: Report) -> list[Row]:
    """One row a region and volume, ready for :func:`EmphysemaQuantLib.core.results.table.csv_text`."""
    verdict = report.lung_mask.quality.verdict
    rows: list[Row] = []
    for kind, panel in report.panels:
        interval = report.interval if panel.synthetic else None
        note = MaskNote(verdict, panel.airways_ml)
        rows += volume_rows(panel.name, kind, panel.synthetic, panel.regions, note, interval)
    return rows


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
                "perc15_adjusted_hu": panel.perc15_adjusted_hu,
                "airways_ml": panel.airways_ml,
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
    if all(p.perc15_adjusted_hu is not None for p in panels):
        add("Perc15 at predicted TLV (HU)", [f"{p.perc15_adjusted_hu:.0f}" for p in panels])
    add("SD (HU)", [f"{p.whole.sd_hu:.1f}" for p in panels])
    add("Skewness", [f"{p.whole.skewness:.2f}" for p in panels])
    add("Excess kurtosis", [f"{p.whole.kurtosis:.2f}" for p in panels])
    add("Airways left out (mL)", ["–" if p.airways_ml is None else f"{p.airways_ml:.1f}" for p in panels])
    add("Lung mass (g)", [f"{p.whole.mass_g:.0f}" for p in panels])
    add("Clusters", [f"{p.clusters.count}" for p in panels])
    add("Largest cluster (mL)", [f"{p.clusters.largest_ml:.2f}" for p in panels])
    fits = [p.clusters.power_law for p in panels]
    add("D-value", ["–" if fit is None else f"{fit.d_value:.2f}" for fit in fits])
    add("R² of its fit", ["–" if fit is None else f"{fit.r_squared:.2f}" for fit in fits])
    add("In clusters > 120 mm³ (%)", [f"{p.clusters.class_percent[-1]:.2f}" for p in panels])
    add("At the HU floor (%)", [f"{p.floor.lung_share_percent:.2f}" for p in panels])
    return ["Both lungs", *(kind for kind, _ in report.panels)], rows
