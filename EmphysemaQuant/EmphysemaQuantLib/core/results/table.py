"""The tidy table of indices, one row a region and volume: the same for command line, report and panel."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.writing import RESEARCH_USE

from ..indices.density import RegionIndices
from ..indices.prediction_interval import EIInterval

Cell = str | float | int
Row = dict[str, Cell]

# Column -> field of RegionIndices; the unit stands in brackets. What is read first stands first.
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
# What a table that must be short shows.
MAIN_COLUMNS = ("EI [%]", "EV [mL]", "TLV [mL]", "Perc15 [HU]", "MLD [HU]")
# 95 % interval of the EI; filled for both lungs of a normalized volume whose error is known.
INTERVAL_COLUMNS = ("EI low [%]", "EI high [%]")
# Lumen left out of both lungs; filled for both lungs together, and empty when the mask knows no airways.
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
    "LAA-910 [%]": "Share of lung voxels below -910 HU, for thick slices at inspiration",
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
    "synthetic": "Whether a normalization drew the volume",
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


def interval_words(interval: EIInterval) -> str:
    """The interval beside its EI."""
    return f"95 % interval {interval.low:.1f} to {interval.high:.1f} %"


def interval_sentence(interval: EIInterval | None) -> str:
    """What the interval of a normalized volume's EI rests on, or that there is none."""
    if interval is None:
        return "No cross-validated error is known for this method and threshold, so EI is given without interval."
    low, high, basis = interval.low, interval.high, interval.basis
    return f"95 % interval of the normalized EI: {low:.2f} to {high:.2f} %, from {basis}."


@dataclass(frozen=True)
class MaskNote:
    """What the rows say about the lung mask.

    Attributes:
        verdict: "ok", "look" or "failed".
        airways_ml: mL, airway lumen left out of the lungs; ``None`` when the mask knows none.
    """

    verdict: str
    airways_ml: float | None = None


def airways_sentence(airways_ml: float | None) -> str:
    """How much airway was left out of the lungs, or that none was."""
    if airways_ml is None:
        return "No airways are known to this lung mask; air of bronchi inside it counts as lung."
    return f"Airways left out of the lungs: {airways_ml:.1f} mL (lumen of trachea and bronchi)."


def volume_rows(
    name: str,
    kind: str,
    synthetic: bool,
    regions: Sequence[RegionIndices],
    mask: MaskNote,
    interval: EIInterval | None = None,
) -> list[Row]:
    """Rows of one volume; text cells are spreadsheet-safe, numbers stay numbers.

    Args:
        name: of the volume.
        kind: "raw", "normalized" or "compared".
        synthetic: whether a normalization drew it.
        regions: its indices.
        mask: verdict on the lung mask, and the airways left out of it.
        interval: of the EI of both lungs, if known.
    """
    rows: list[Row] = []
    for region in regions:
        measured: Row = {column: _rounded(getattr(region, field)) for column, field in COLUMNS.items()}
        ends: tuple[Cell, Cell] = ("", "")
        if interval is not None and region.region == "whole":
            ends = (_rounded(interval.low), _rounded(interval.high))
        row: Row = {"volume": safe_cell(name), "region": safe_cell(region.region), "EI [%]": measured["EI [%]"]}
        row |= dict(zip(INTERVAL_COLUMNS, ends, strict=True))
        row |= measured
        known = region.region == "whole" and mask.airways_ml is not None
        row[AIRWAYS_COLUMN] = _rounded(mask.airways_ml or 0.0) if known else ""
        row |= {"kind": kind, "synthetic": "yes" if synthetic else "no", "lung mask": mask.verdict, "use": RESEARCH_USE}
        rows.append(row)
    return rows


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
    writer.writerows(rows)
    return out.getvalue()


def _rounded(value: float | int) -> float | int:
    return value if isinstance(value, int) else round(float(value), 4)
