"""The report as one web page without outside references: pictures are embedded, nothing is loaded."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from EmphysemaQuantLib.core.indices.clusters import SIZE_CLASS_NAMES
from KernelNormalizationLib.core.io.writing import atomic_path

from . import text
from .figures import caption, draw_curve, draw_histogram, draw_view, grid_of, views
from .results import Report
from .tables import printed_regions, printed_whole

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Emphysema report: $title</title>
<style>
 :root { color-scheme: light; }
 body { font: 14px/1.45 system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; background: #fff;
        margin: 0 auto; max-width: 1000px; padding: 1rem 1.25rem 3rem; }
 h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 1.4rem 0 .4rem; }
 .scan { color: #555; overflow-wrap: anywhere; } .result { font-size: 1.2rem; margin: .4rem 0; }
 .verdict { font-weight: 600; } .ok { color: #1e7d32; } .look, .doubt { color: #8a5200; } .failed { color: #b00020; }
 .note { color: #1f5fa8; }
 table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
 th, td { padding: .18rem .5rem; text-align: right; border-bottom: 1px solid #ddd; vertical-align: top; }
 th:first-child, td:first-child { white-space: nowrap; }
 th:first-child, td:first-child, table.words th, table.words td { text-align: left; }
 thead th { border-bottom: 2px solid #555; vertical-align: bottom; white-space: nowrap; }
 figure { margin: .6rem 0; } img { max-width: 100%; height: auto; display: block; }
 figcaption { color: #555; font-size: .85rem; } .wide { overflow-x: auto; }
 .use { position: fixed; left: 0; right: 0; bottom: 0; background: #b00020; color: #fff; text-align: center;
        font-weight: 600; padding: .25rem; }
 @media print {
  @page { size: A4; margin: 11mm 12mm 14mm;
          @bottom-center { content: "$use"; color: #b00020; font: 600 9pt sans-serif; } }
  body { font-size: 8.5pt; line-height: 1.35; max-width: none; padding: 0; } ul { margin: .2rem 0; }
  h1 { font-size: 1.2rem; } .result { font-size: 1rem; } p { margin: .2rem 0; }
  h2 { font-size: .95rem; margin: .5rem 0 .15rem; break-after: avoid; }
  th, td { padding: .08rem .4rem; } figure img { max-height: 96mm; margin: 0 auto; }
  figcaption { font-size: 7.5pt; }
  figure, tr, .keep { break-inside: avoid; } .wide { overflow: visible; }
  .use { position: static; margin-top: .6rem; color: #b00020; background: none; }
 }
</style></head><body>
<header><h1>Emphysema quantification</h1><div class="scan">$title</div>
<p class="result">$headline</p><p class="verdict $verdict">$verdict_words</p></header>
<h2>What limits these numbers</h2><ul>$verdicts</ul>
<figure class="keep"><img alt="$picture_alt" src="$pictures"><figcaption>$caption</figcaption></figure>
<section class="keep"><h2>Regions</h2><div class="wide">$regions</div></section>
$comparison
<section class="keep"><h2>Both lungs in detail</h2><div class="wide">$whole</div></section>
<section class="keep"><h2>Emphysema by cluster size</h2><div class="wide">$clusters</div></section>
<figure class="keep"><img alt="Density histogram, and emphysema index against threshold" src="$plots"></figure>
<section class="keep"><h2>Acquisition</h2>$sheet</section>
<section class="keep"><h2>Methods text</h2><p>$methods</p></section>
<section class="keep"><h2>Provenance</h2><ul>$provenance</ul></section>
<div class="use">$use</div></body></html>
""")


def write_html(report: Report, path: Path) -> None:
    """Write the page, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(page(report), encoding="utf-8")


def page(report: Report) -> str:
    """The page as text; every word from outside is escaped."""
    verdict = report.lung_mask.quality.verdict
    return _PAGE.substitute(
        title=escape(report.title),
        headline=escape(text.headline(report)),
        verdict=verdict,
        verdict_words=escape(text.VERDICT_WORDS[verdict]),
        verdicts=_items(text.verdicts(report)),
        pictures=_pictures(report),
        picture_alt="Axial and coronal planes with most emphysema, lung window, emphysema coloured",
        caption=escape(caption(report)),
        regions=_table(*printed_regions(report)),
        comparison=_comparison(report),
        whole=_table(*printed_whole(report)),
        clusters=_table(*_cluster_rows(report)),
        plots=_plots(report),
        sheet=_sheet(report),
        methods=escape(text.methods(report)),
        provenance=_items(text.provenance(report)),
        use=escape(text.FOOTER),
    )


def _items(lines: Sequence[str]) -> str:
    return "".join(f"<li>{escape(line)}</li>" for line in lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    # what is measured and on which volume stand below each other, so that the columns stay narrow
    cells = [escape(header[0]), *("<br>".join(escape(part) for part in cell.rsplit(" ", 1)) for cell in header[1:])]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in cells)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _comparison(report: Report) -> str:
    lines = text.comparison(report)
    return f"<h2>{escape(text.comparison_title(report))}</h2><ul>{_items(lines)}</ul>" if lines else ""


def _cluster_rows(report: Report) -> tuple[list[str], list[list[str]]]:
    header = ["% of the lung in clusters of", *(kind for kind, _ in report.panels)]
    rows = [
        [name, *(f"{panel.clusters.class_percent[number]:.2f}" for _, panel in report.panels)]
        for number, name in enumerate(SIZE_CLASS_NAMES)
    ]
    return header, rows


def _sheet(report: Report) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(item.name)}</th><td class="{_tone(item.status)}">{escape(item.value)}</td>'
        f'<td class="{_tone(item.status)}">{escape(item.remark)}</td></tr>'
        for item in text.sheet(report)
    )
    return f'<table class="words"><tbody>{rows}</tbody></table>'


def _tone(status: str) -> str:
    # what is in order needs no colour; green is kept for the verdict
    return "" if status == "ok" else status


def _pictures(report: Report) -> str:
    pictures = views(report)
    rows, columns = grid_of(pictures)
    figure = _figure(10.2, 3.1 * rows if rows > 1 else 4.2)
    for number, (view, title, raw) in enumerate(pictures):
        draw_view(figure.add_subplot(rows, columns, number + 1), view, title, raw)
    return _embedded(figure)


def _plots(report: Report) -> str:
    figure = _figure(10.0, 2.6)
    draw_histogram(figure.add_subplot(1, 2, 1), report)
    draw_curve(figure.add_subplot(1, 2, 2), report)
    return _embedded(figure)


def _figure(width: float, height: float) -> Any:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _embedded(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
