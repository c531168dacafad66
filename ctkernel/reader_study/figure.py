"""The paper's Fig. 3 for a study: how often each score was given, originals beside normalized images, and the ROC curves."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from KernelNormalizationLib.core.errors import RESEARCH_USE

from .scale import GROUPS, SCORE_WORDS, SCORES, Group, Reading
from .statistics.descriptive import ReaderScores
from .statistics.roc import roc_points
from .statistics.summary import StudySummary

# Blue and orange differ for colour-blind eyes and in grey; hatching tells them apart in print.
COLOURS: Mapping[Group, str] = {"original": "#2b6ca3", "normalized": "#e08a2c"}
HATCHES: Mapping[Group, str] = {"original": "", "normalized": "///"}
GROUP_WORDS: Mapping[Group, str] = {"original": "original", "normalized": "normalized (synthetic)"}
LINES = ("-", "--", "-.", ":")
MOST_COLUMNS = 3


def draw_study(summary: StudySummary, readings: Sequence[Reading]) -> bytes:
    """The figure as PNG: one panel of score counts per reader, one of all, one of ROC curves.

    Args:
        summary: statistics.
        readings: the scores behind them.
    """
    panels = [*summary.readers, summary.everyone] if len(summary.readers) > 1 else list(summary.readers)
    count = len(panels) + 1
    columns = 2 if count == 4 else min(MOST_COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.4 * columns, 3.3 * rows + 0.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for number, scores in enumerate(panels):
        _draw_distribution(figure.add_subplot(rows, columns, number + 1), scores)
    _draw_curves(figure.add_subplot(rows, columns, count), summary, readings)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    figure.supxlabel(RESEARCH_USE, fontsize=8, color="#b00020")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140)
    return buffer.getvalue()


def _draw_distribution(axes: Any, scores: ReaderScores) -> None:
    highest = max(max(group.distribution) for group in scores.groups) or 1
    for side, group in enumerate(scores.groups):
        places = [score + (side - 0.5) * 0.38 for score in SCORES]
        style = {"color": COLOURS[group.group], "hatch": HATCHES[group.group], "edgecolor": "white", "linewidth": 0.4}
        axes.bar(places, group.distribution, width=0.36, label=GROUP_WORDS[group.group], **style)
        if group.mean is not None:
            height = highest * (1.22 - 0.10 * side)
            words = {"color": COLOURS[group.group], "capsize": 3, "marker": "o", "markersize": 4}
            axes.errorbar(group.mean, height, xerr=group.sd or 0.0, **words)
    axes.axvline(2.5, color="#888888", lw=0.8, ls=":")
    title = f"{scores.reader} ({', '.join(f'{g.count} {g.group}' for g in scores.groups)})"
    axes.set_title(title, fontsize=10)
    axes.set(xlim=(-0.6, 5.6), ylim=(0, highest * 1.32), ylabel="images", xticks=list(SCORES))
    axes.set_xlabel(f"0 {SCORE_WORDS[0]}  …  5 {SCORE_WORDS[-1]}", fontsize=8)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_curves(axes: Any, summary: StudySummary, readings: Sequence[Reading]) -> None:
    axes.plot([0, 1], [0, 1], color="#999999", lw=0.8)
    for number, scores in enumerate(summary.readers):
        area = summary.areas[scores.reader]
        if area is None:
            continue
        own = [r for r in readings if r.reader == scores.reader]
        high, low = ([r.score for r in own if r.group == group] for group in GROUPS)
        x, y = zip(*roc_points(high, low), strict=True)
        line = {"color": "#222222", "ls": LINES[number % len(LINES)], "marker": "o", "markersize": 2.5, "lw": 1.3}
        axes.plot(x, y, label=f"{scores.reader}: {area.area:.2f}", **line)
    axes.set_title("ROC curve and area", fontsize=10)
    axes.set(xlabel="normalized taken for original", ylabel="originals recognised")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False, loc="lower right")
