"""The tidy table of indices, one row a region and volume: the same for command line, report and panel."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence

from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.plain_text import for_csv

from ..indices.prediction_interval import EIInterval
from .measurement import Measurement, VolumeMeasurement
from .wording import airways_sentence as airways_sentence  # also importable from here
from .wording import interval_sentence as interval_sentence
from .wording import interval_words as interval_words

Cell = str | float | int
Row = dict[str, Cell]

# Column -> field of RegionIndices, with the unit in brackets; the most important come first.
COLUMNS: Mapping[str, str] = {
    "EI [%]": "ei_percent",
    "EV [mL]": "ev_ml",
    "TLV [mL]": "tlv_ml",
    "Perc15 [HU]": "perc15_hu",
    "MLD [HU]": "mld_hu",
    "LAA-910 [%]": "laa910_percent",
    "LAA-856 [%]": "laa856_percent",
    "SD [HU]": "sd_hu",
    "skewness": "skewness",
    "excess kurtosis": "kurtosis",
    "lung mass [g]": "mass_g",
    "at HU floor [%]": "floor_percent",
    "voxels": "voxels",
    "threshold [HU]": "threshold_hu",
}
# Columns of short tables.
MAIN_COLUMNS = ("EI [%]", "EV [mL]", "TLV [mL]", "Perc15 [HU]", "MLD [HU]")
# 95 % interval of the EI; filled for both lungs of a normalized volume whose error is known.
INTERVAL_COLUMNS = ("EI low [%]", "EI high [%]")
# Lumen left out of both lungs; filled for both lungs together, and empty if the mask has no airways.
AIRWAYS_COLUMN = "airways [mL]"
MEANINGS: Mapping[str, str] = {
    "volume": "Name of the volume",
    "region": "Both lungs (whole), a lung, a lobe, a third, core or rind",
    "EI [%]": "Emphysema index: share of lung voxels strictly below the threshold",
    "EI low [%]": "Lower end of the 95 % interval of the normalized EI",
    "EI high [%]": "Upper end of the 95 % interval of the normalized EI",
    "EV [mL]": "Emphysema volume",
    "TLV [mL]": "Lung volume of the mask",
    "Perc15 [HU]": "HU below which 15 % of the lung voxels lie",
    "MLD [HU]": "Mean lung density",
    "LAA-910 [%]": "Share of lung voxels below -910 HU, at inspiration",
    "LAA-856 [%]": "Share of lung voxels below -856 HU, for gas trapping at expiration only",
    "SD [HU]": "Standard deviation of lung density",
    "skewness": "Skewness of lung density",
    "excess kurtosis": "Kurtosis of lung density minus 3",
    "lung mass [g]": "Tissue and blood, 0 HU taken as 1 g/mL",
    "at HU floor [%]": "Share of voxels that the scanner cut off at its lowest HU",
    "voxels": "Number of voxels of the region",
    "threshold [HU]": "Threshold of EI and EV",
    "airways [mL]": "Lumen of trachea and bronchi in the scan, left out of lungs and emphysema",
    "kind": "As reconstructed (raw), normalized, or compared with one of the same kind",
    "synthetic": "Whether the volume was computed by a normalization",
    "lung mask": "Verdict on the lung mask",
    "use": "What these numbers may be used for",
}
# Signs that start a formula, in ASCII and full width (some spreadsheets fold them), and separators of old exchange formats.
_FORMULA_SIGNS = frozenset("=+-@|%＝＋－＠")


def safe_cell(text: str) -> str:
    """``text`` such that a spreadsheet shows it instead of running it as a formula.

    Whitespace, control and format characters before the sign do not hide it: spreadsheets skip them.
    """
    bare = next((c for c in text if not (c.isspace() or unicodedata.category(c) in ("Cc", "Cf"))), "")
    return "'" + text if bare in _FORMULA_SIGNS else text


def measurement_rows(measurement: Measurement, main_only: bool = False) -> list[Row]:
    """One row a volume and region, ready for :func:`csv_text`; text cells are spreadsheet-safe, numbers stay numbers.

    Args:
        measurement: what was measured.
        main_only: leave out thirds, core and rind.
    """
    verdict = measurement.lung_mask.quality.verdict
    return [row for volume in measurement.volumes for row in _volume_rows(volume, verdict, main_only)]


def _volume_rows(volume: VolumeMeasurement, verdict: str, main_only: bool) -> list[Row]:
    described: Row = {"kind": volume.kind, "synthetic": "yes" if volume.synthetic else "no"}
    described |= {"lung mask": verdict, "use": RESEARCH_USE}
    rows: list[Row] = []
    for region in volume.indices if main_only else volume.regions:
        measured: Row = {column: _rounded(getattr(region, field)) for column, field in COLUMNS.items()}
        whole = region.region == "whole"
        row: Row = {"volume": safe_cell(volume.name), "region": safe_cell(region.region), "EI [%]": measured["EI [%]"]}
        row |= dict(zip(INTERVAL_COLUMNS, _ends(volume.interval if whole else None), strict=True))
        row |= measured
        row[AIRWAYS_COLUMN] = _rounded(volume.airways_ml) if whole and volume.airways_ml is not None else ""
        rows.append(row | described)
    return rows


def _ends(interval: EIInterval | None) -> tuple[Cell, Cell]:
    return ("", "") if interval is None else (_rounded(interval.low), _rounded(interval.high))


def csv_text(rows: Sequence[Row]) -> str:
    """The rows as CSV with a header line.

    Raises:
        InputError: there is no row.
    """
    if not rows:
        raise InputError("A table of indices needs at least one volume; measure one first.")
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: for_csv(v) if isinstance(v, str) else v for key, v in row.items()} for row in rows)
    return out.getvalue()


def _rounded(value: float | int) -> float | int:
    return value if isinstance(value, int) else round(float(value), 4)
