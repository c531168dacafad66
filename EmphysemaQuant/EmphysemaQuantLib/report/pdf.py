"""The report as one A4 page."""

from __future__ import annotations

import logging
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D

from KernelNormalizationLib.core.io.writing import atomic_path
from KernelNormalizationLib.core.plain_text import for_pdf

from ..core.results.measurement import Measurement
from ..core.results.wording import VERDICT_WORDS
from . import text
from .figures import Picture, caption, draw_curve, draw_histogram, draw_view, grid_of, views
from .tables import printed_regions, printed_whole

A4_INCHES = (8.27, 11.69)
LEFT, RIGHT = 0.06, 0.94
COLOURS = {"ok": "#1e7d32", "look": "#b26a00", "failed": "#b00020"}
SMALL, TINY = 6.6, 5.8
# Characters that fit the page's width at the tiny size, measured with DejaVu Sans.
WRAP_FULL, WRAP_HALF = 176, 84
LINE = 0.0098
# The text must end above the footer; the pictures keep at least a third of their height.
LOWEST, MAXIMUM_SQUEEZE = 0.034, 0.235

logger = logging.getLogger(__name__)


def write_pdf(measurement: Measurement, path: Path, title: str) -> None:
    """Draw the page and write it, whole or not at all."""
    figure = draw_page(measurement, title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="pdf", metadata={"Title": "Emphysema report", "Creator": "CTKernelNormalization"})


def draw_page(measurement: Measurement, title: str) -> Figure:
    """The page as a matplotlib figure of A4 size; what the text needs beyond the page is taken from the pictures."""
    pictures = views(measurement)
    figure, end = _draw(measurement, title, pictures, squeeze=0.0)
    if end < LOWEST:
        figure, end = _draw(measurement, title, pictures, squeeze=min(MAXIMUM_SQUEEZE, LOWEST - end + 0.002))
    if end < LOWEST:
        logger.warning("The report of %s does not fit its page; the web page holds all of it.", title)
    return figure


def _draw(measurement: Measurement, title: str, pictures: list[Picture], squeeze: float) -> tuple[Figure, float]:
    """The page with everything below the pictures ``squeeze`` (share of the page) higher, and the y where it ends."""
    figure = Figure(figsize=A4_INCHES, facecolor="white")
    FigureCanvasAgg(figure)
    _heading(figure, measurement, title)
    _pictures(figure, measurement, pictures, squeeze)
    draw_histogram(figure.add_axes((LEFT + 0.03, 0.46 + squeeze, 0.23, 0.095)), measurement)
    draw_curve(figure.add_axes((0.385, 0.46 + squeeze, 0.23, 0.095)), measurement)
    header, rows = printed_whole(measurement)
    _table(figure, (0.66, 0.566 + squeeze), header, rows, _columns(0.28, len(header), first=0.5))
    header, rows = printed_regions(measurement)
    bottom = _table(figure, (LEFT, 0.412 + squeeze), header, rows, _columns(RIGHT - LEFT, len(header), first=0.15))
    top = bottom - 0.012
    left = _sheet(figure, measurement, top)
    right = _paragraphs(figure, 0.52, top, "Verdicts", text.verdicts(measurement), WRAP_HALF)
    if measurement.agreement is not None:
        heading, lines = text.comparison_title(measurement), text.comparison(measurement)
        right = _paragraphs(figure, 0.52, right - 0.006, heading, lines, WRAP_HALF)
    y = min(left, right) - 0.006
    y = _paragraphs(figure, LEFT, y, "Methods text", [text.methods(measurement)], WRAP_FULL)
    y = _paragraphs(figure, LEFT, y - 0.004, "Provenance", text.provenance(measurement), WRAP_FULL)
    _put(figure, 0.5, 0.012, text.FOOTER, ha="center", fontsize=8, weight="bold", color="#b00020")
    return figure, y


def _heading(figure: Figure, measurement: Measurement, title: str) -> None:
    _put(figure, RIGHT, 0.982, _shortened(title, 90), fontsize=7, ha="right", color="0.3")
    _put(figure, LEFT, 0.970, "Emphysema quantification", fontsize=13, weight="bold")
    _put(figure, LEFT, 0.953, text.headline(measurement), fontsize=9.5)
    verdict = measurement.lung_mask.quality.verdict
    words = f"Lung mask: {VERDICT_WORDS[verdict]}"
    _put(figure, RIGHT, 0.968, words, fontsize=8, ha="right", weight="bold", color=COLOURS[verdict])


def _pictures(figure: Figure, measurement: Measurement, pictures: list[Picture], squeeze: float) -> None:
    rows, columns = grid_of(pictures)
    width, height = (RIGHT - LEFT) / columns, (0.352 - squeeze) / rows
    for number, (view, title, raw) in enumerate(pictures):
        row, column = divmod(number, columns)
        bottom = 0.942 - (row + 1) * height
        axes = figure.add_axes((LEFT + column * width + 0.003, bottom, width - 0.006, height - 0.016))
        draw_view(axes, view, title, raw)
    _put(figure, 0.5, 0.581 + squeeze, caption(measurement), fontsize=TINY, ha="center", color="0.3")


def _columns(width: float, count: int, first: float) -> list[float]:
    """Widths of the columns: the first takes its share, the others divide the rest."""
    return [width * first] + [width * (1 - first) / (count - 1)] * (count - 1)


def _table(figure: Figure, corner: tuple[float, float], header: list[str], rows: list[list[str]], widths: list[float]) -> float:
    """Draw a table from its upper left corner; numbers are set to the right. Returns the y of its end."""
    x, y = corner
    for number, line in enumerate([header, *rows]):
        at = x
        for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
            right = column > 0
            style: dict[str, Any] = {"weight": "bold"} if number == 0 else {}
            size = TINY if number == 0 else SMALL
            # a header breaks before its last word, so that narrow columns do not run into each other
            shown = "\n".join(cell.rsplit(" ", 1)) if number == 0 and cell.count(" ") > 1 else cell
            _put(figure, at + (width if right else 0), y, shown, fontsize=size, ha="right" if right else "left", **style)
            at += width
        if number == 0:
            _rule(figure, x, sum(widths), y - 0.0035)
        y -= LINE + (0.002 if number == 0 else 0)
    return y


def _rule(figure: Figure, x: float, width: float, y: float) -> None:
    figure.add_artist(Line2D([x, x + width], [y, y], color="0.3", lw=0.6))


def _sheet(figure: Figure, measurement: Measurement, top: float) -> float:
    _put(figure, LEFT, top, "Acquisition", fontsize=8, weight="bold")
    y = top - 0.0135
    colours = {"ok": "black", "note": "#1f5fa8", "doubt": COLOURS["look"]}
    for item in text.sheet(measurement):
        _put(figure, LEFT, y, item.name, fontsize=SMALL)
        _put(figure, LEFT + 0.12, y, _shortened(item.value, 48), fontsize=SMALL, color=colours[item.status], weight="bold")
        y -= LINE
        for line in textwrap.wrap(item.remark, WRAP_HALF - 24):
            _put(figure, LEFT + 0.12, y, line, fontsize=TINY, color=colours[item.status])
            y -= LINE * 0.92
    return y


def _paragraphs(figure: Figure, x: float, top: float, title: str, paragraphs: list[str], wrap: int) -> float:
    _put(figure, x, top, title, fontsize=8, weight="bold")
    y = top - 0.0135
    for paragraph in paragraphs:
        for line in textwrap.wrap(paragraph, wrap):
            _put(figure, x, y, line, fontsize=TINY)
            y -= LINE * 0.92
        y -= 0.0025
    return y


def _put(figure: Figure, x: float, y: float, words: str, **style: Any) -> None:
    figure.text(x, y, for_pdf(words, _glyphs()), **style)


@cache
def _glyphs() -> frozenset[int]:
    """Characters that the page's font can draw."""
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def _shortened(words: str, length: int) -> str:
    return words if len(words) <= length else words[: length - 1] + "…"
