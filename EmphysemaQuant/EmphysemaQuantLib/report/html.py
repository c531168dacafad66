"""The report as one web page without outside references: pictures are embedded, nothing is loaded."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from KernelNormalizationLib.core.io.writing import atomic_path
from KernelNormalizationLib.core.plain_text import printable_lines

from ..core.results.measurement import Measurement
from ..core.results.wording import VERDICT_WORDS
from . import text
from .figures import caption, draw_curve, draw_histogram, draw_view, grid_of, views
from .tables import printed_clusters, printed_regions, printed_whole

TEMPLATE = Path(__file__).with_name("page.html")


def write_html(measurement: Measurement, path: Path, title: str) -> None:
    """Write the page, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(page(measurement, title), encoding="utf-8")


def page(measurement: Measurement, title: str) -> str:
    """The page as text; Jinja2 escapes every word that comes from outside."""
    # A name that the page does not know is an error, not an empty place.
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
        plots=_plots(measurement),
        sheet=text.sheet(measurement),
        methods=text.methods(measurement),
        provenance=text.provenance(measurement),
        use=text.FOOTER,
    )


def _finalized(value: object) -> object:
    """Words as they may be shown; what Jinja2 has escaped already (a macro's output) as it is."""
    return value if isinstance(value, Markup) else printable_lines(value)


def _pictures(measurement: Measurement) -> str:
    pictures = views(measurement)
    rows, columns = grid_of(pictures)
    figure = _figure(10.2, 3.1 * rows if rows > 1 else 4.2)
    for number, (view, title, raw) in enumerate(pictures):
        draw_view(figure.add_subplot(rows, columns, number + 1), view, title, raw)
    return _embedded(figure)


def _plots(measurement: Measurement) -> str:
    figure = _figure(10.0, 2.6)
    draw_histogram(figure.add_subplot(1, 2, 1), measurement)
    draw_curve(figure.add_subplot(1, 2, 2), measurement)
    return _embedded(figure)


def _figure(width: float, height: float) -> Any:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _embedded(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
