"""The report as one web page, on the screen and, printed, on one A4 page; pictures are embedded, nothing is loaded."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from KernelNormalizationLib.core.embedded_picture import embedded
from KernelNormalizationLib.core.plain_text import printable_lines

from ..core.results.measurement import Measurement
from ..core.results.wording import VERDICT_WORDS
from . import text
from .figures import View, caption, draw_curve, draw_histogram, draw_view, grid_of, views
from .tables import printed_clusters, printed_regions, printed_whole

# Width between the margins of an A4 page, so that text in the figures is printed at its nominal size.
PRINTED_WIDTH_INCHES = 7.3
TITLE_INCHES = 0.25
DOTS_PER_INCH = 180
TEMPLATE = Path(__file__).with_name("page.html")


def page(measurement: Measurement, title: str) -> str:
    """The page as text; Jinja2 escapes every word that comes from outside."""
    # An undefined name in the template is an error, not an empty string.
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_finalized)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    verdict = measurement.lung_mask.quality.verdict
    return template.render(
        title=title,
        headline=text.headline(measurement),
        verdict=verdict,
        verdict_words=f"Lung mask: {VERDICT_WORDS[verdict]}",
        verdicts=text.verdicts(measurement),
        pictures=_pictures(measurement),
        caption=caption(measurement),
        regions=printed_regions(measurement),
        comparison=text.comparison(measurement),
        comparison_title=text.comparison_title(measurement),
        whole=printed_whole(measurement),
        clusters=printed_clusters(measurement),
        histogram=_plot(draw_histogram, measurement),
        curve=_plot(draw_curve, measurement),
        sheet=text.sheet(measurement),
        methods=text.methods(measurement),
        provenance=text.provenance(measurement),
        use=text.FOOTER,
    )


def _finalized(value: object) -> object:
    """Text without control characters; text that Jinja2 has escaped already (output of a macro) unchanged."""
    return value if isinstance(value, Markup) else printable_lines(value)


def _pictures(measurement: Measurement) -> str:
    pictures = views(measurement)
    rows, columns = grid_of(pictures)
    width = PRINTED_WIDTH_INCHES / columns
    heights = [
        width * max(_height_over_width(view) for view, _, _ in pictures[row * columns :][:columns]) for row in range(rows)
    ]
    figure = _figure(PRINTED_WIDTH_INCHES, sum(heights) + TITLE_INCHES * rows)
    grid = figure.add_gridspec(rows, columns, height_ratios=heights)
    for number, (view, title, raw) in enumerate(pictures):
        draw_view(figure.add_subplot(grid[divmod(number, columns)]), view, title, raw)
    return _embedded(figure)


def _height_over_width(view: View) -> float:
    rows, columns = view.hu.shape
    return float(rows * view.aspect / columns)


def _plot(draw: Callable[[Any, Measurement], None], measurement: Measurement) -> str:
    figure = _figure(PRINTED_WIDTH_INCHES / 2, 1.5)
    draw(figure.add_subplot(), measurement)
    return _embedded(figure)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _embedded(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return embedded(buffer.getvalue())
