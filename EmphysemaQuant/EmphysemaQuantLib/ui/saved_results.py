"""Results in scenes that an earlier version saved: figures read from the table node.

The table has the command line's columns, so that EI, volumes and densities are those measured, to the six digits of a scene
file; agreement of the volumes and the reasons of the lung mask's verdict are not in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from KernelNormalizationLib.core.plain_text import for_html
from KernelNormalizationLib.mrml.provenance import RESEARCH_USE_TEXT

from ..core.indices.density import RegionIndices
from ..core.indices.prediction_interval import EIInterval
from ..core.results.table import COLUMNS, INTERVAL_COLUMNS, MAIN_COLUMNS, csv_text
from ..mrml.segments import COMPARED, EMPHYSEMA
from ..mrml.volume_pairs import isReversed
from .headline import Headline
from .summary import Summary, volumeLines

Row = dict[str, str]
SAVED = "These figures were read from the table that was saved with the scene; press Compute for agreement and all details."


@dataclass(frozen=True)
class SavedVolume:
    """One volume of a saved table, with what :class:`Headline` needs.

    Attributes:
        name: of the volume.
        synthetic: whether a normalization made it.
        interval: 95 % interval of its EI, if the table has one.
        indices: of both lungs, each lung and the lobes.
    """

    name: str
    synthetic: bool
    interval: EIInterval | None
    indices: tuple[RegionIndices, ...]

    @property
    def whole(self) -> RegionIndices:
        """Indices of both lungs."""
        return self.indices[0]


def savedHeadline(table: Any | None) -> Headline | None:
    """The headline of the result in a table node; ``None`` if that holds no result."""
    rows = _rows(table)
    volumes = _volumes(rows)
    if not volumes:
        return None
    threshold, verdict = volumes[0].whole.threshold_hu, rows[0].get("lung mask", "")
    millilitres = {style.role: v.whole.ev_ml for style, v in zip((EMPHYSEMA, COMPARED), volumes, strict=False)}
    shown = volumes[::-1] if len(volumes) == 2 and isReversed(volumes[0].synthetic, volumes[1].synthetic) else volumes
    details = [f"Lung mask: {for_html(verdict)}." if verdict else "", f"Threshold {threshold:g} HU. {RESEARCH_USE_TEXT}", SAVED]
    return Headline.ofVolumes(shown, threshold, verdict or "ok", "<br>".join(filter(None, details)), millilitres)


def savedSummary(table: Any | None) -> Summary | None:
    """Text and CSV of the result in a table node; ``None`` if that holds no result."""
    rows = _rows(table)
    volumes = _volumes(rows)
    if not volumes:
        return None
    heading = [f"Emphysema quantification, threshold {volumes[0].whole.threshold_hu:g} HU", RESEARCH_USE_TEXT, ""]
    verdict = rows[0].get("lung mask", "")
    lines = [*heading, *volumeLines(volumes), *([f"Lung mask: {verdict}"] if verdict else []), SAVED]
    return Summary("\n".join(lines) + "\n", csv_text([dict(row) for row in rows]))


def _rows(node: Any | None) -> list[Row]:
    """Rows of the table; none if it lacks a column that is shown."""
    if node is None:
        return []
    table = node.GetTable()
    titles = [str(table.GetColumnName(column)) for column in range(table.GetNumberOfColumns())]
    if not {"volume", "region", *MAIN_COLUMNS} <= set(titles):
        return []
    return [
        {title: _cell(table.GetValue(row, column)) for column, title in enumerate(titles)}
        for row in range(table.GetNumberOfRows())
    ]


def _cell(value: Any) -> str:
    text = str(value.ToString())
    return "" if text == "nan" else text


def _volumes(rows: list[Row]) -> list[SavedVolume]:
    """The one or two volumes, in the table's order; none if the rows are no such table."""
    starts = [n for n, row in enumerate(rows) if row["region"] == "whole"]
    if not starts or starts[0] != 0 or len(starts) > 2:
        return []
    return [_volume(rows[start:end]) for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]


def _volume(rows: list[Row]) -> SavedVolume:
    first = rows[0]
    name = first["volume"].removeprefix("'")  # set before a name that a spreadsheet would run as a formula
    synthetic = first["synthetic"] == "yes" if "synthetic" in first else "synthetic" in name.lower()
    low, high = (_number(first.get(column, "")) for column in INTERVAL_COLUMNS)
    interval = None if math.isnan(low) or math.isnan(high) else EIInterval(low, high, "the saved table")
    return SavedVolume(name, synthetic, interval, tuple(_indices(row) for row in rows))


def _indices(row: Row) -> RegionIndices:
    values = {field: _number(row.get(column, "")) for column, field in COLUMNS.items()}
    return RegionIndices(region=row["region"], **values)  # type: ignore[arg-type]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
