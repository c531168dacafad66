"""The tidy table of indices, one row a region and volume: the same for command line, report and panel."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.write import RESEARCH_USE

from .indices import RegionIndices
from .interval import EIInterval

Cell = str | float | int
Row = dict[str, Cell]

# Column -> field of RegionIndices; the unit stands in brackets.
COLUMNS: Mapping[str, str] = {
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
# 95 % interval of the EI above; filled for both lungs of a normalized volume whose error is known.
INTERVAL_COLUMNS = ("EI low [%]", "EI high [%]")
# Signs that start a formula, in ASCII and full width (some spreadsheets fold them), and separators of old exchange formats.
_FORMULA_SIGNS = frozenset("=+-@|%＝＋－＠")


def safe_cell(text: str) -> str:
    """``text`` such that a spreadsheet shows it instead of running it as a formula.

    Whitespace, control and format characters before the sign do not hide it: spreadsheets skip them.
    """
    bare = next((c for c in text if not (c.isspace() or unicodedata.category(c) in ("Cc", "Cf"))), "")
    return "'" + text if bare in _FORMULA_SIGNS else text


def volume_rows(
    name: str,
    kind: str,
    synthetic: bool,
    regions: Sequence[RegionIndices],
    mask_verdict: str,
    interval: EIInterval | None = None,
) -> list[Row]:
    """Rows of one volume; text cells are spreadsheet-safe, numbers stay numbers.

    Args:
        name: of the volume.
        kind: "raw", "normalized" or "compared".
        synthetic: whether a normalization drew it.
        regions: its indices.
        mask_verdict: verdict on the lung mask.
        interval: of the EI of both lungs, if known.
    """
    rows: list[Row] = []
    for region in regions:
        row: Row = {
            "volume": safe_cell(name),
            "kind": kind,
            "synthetic": "yes" if synthetic else "no",
            "region": safe_cell(region.region),
        }
        row |= {column: _rounded(getattr(region, field)) for column, field in COLUMNS.items()}
        low, high = INTERVAL_COLUMNS
        row[low], row[high] = "", ""
        if interval is not None and region.region == "whole":
            row[low], row[high] = _rounded(interval.low), _rounded(interval.high)
        row["lung mask"] = mask_verdict
        row["use"] = RESEARCH_USE
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
