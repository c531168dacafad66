"""Pictures of the summary page."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .statistics import Agreement, CaseNumbers

# Okabe and Ito's colours, told apart with every kind of colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_GREY = "#666666"


def drawn(draw: Callable[[Any], None]) -> bytes:
    """PNG of a figure that ``draw`` fills."""
    figure: Any = Figure(figsize=(9.0, 3.9), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    draw(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def draw_before_after(figure: Any, cases: Sequence[CaseNumbers]) -> None:
    """EI after against before, by kernel, and the change of each."""
    left, right = figure.subplots(1, 2)
    kernels = sorted({case.row["scan_kernel"] or "not stated" for case in cases})
    for number, kernel in enumerate(kernels):
        look: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        members = [case for case in cases if (case.row["scan_kernel"] or "not stated") == kernel]
        label = f"{kernel} (n = {len(members)})" if number < len(COLOURS) else None
        left.scatter(
            [c.original for c in members], [c.after for c in members], s=22, alpha=0.75, clip_on=False, label=label, **look
        )
        change = [case.change for case in members]
        right.scatter([case.original for case in members], change, s=22, alpha=0.75, clip_on=False, **look)
    top = 1.05 * max([1.0, *(case.original for case in cases), *(case.after for case in cases)])
    left.plot([0, top], [0, top], color=_GREY, lw=1)
    left.set(xlim=(0, top), ylim=(0, top), xlabel="EI as reconstructed (%)", ylabel="EI after normalization (%)")
    left.set_aspect("equal")
    left.legend(fontsize=8, frameon=False, loc="upper left")
    right.axhline(0.0, color=_GREY, lw=1)
    right.set(xlim=(0, top), xlabel="EI as reconstructed (%)", ylabel="change of EI (percentage points)")
    _plain(left, right)


def draw_agreement(figure: Any, before: Agreement, after: Agreement) -> None:
    """Bland-Altman plots against the soft partner, before and after, on one scale."""
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for place, found, title, colour in zip(
        axes, (before, after), ("as reconstructed", "after normalization"), COLOURS[1::-1], strict=True
    ):
        means, differences = zip(*found.pairs, strict=True)
        place.scatter(means, differences, s=22, alpha=0.75, clip_on=False, color=colour)
        place.axhline(0.0, color=_GREY, lw=0.8)
        place.axhline(found.bias, color=colour, lw=1.4)
        for limit in found.limits or ():
            place.axhline(limit, color=colour, lw=1.2, ls="--")
        place.set_title(f"EI {title} − soft partner: {found.bias:+.2f} points, n = {len(means)}", fontsize=9.5)
        place.set_xlabel("mean of both EI (%)")
    axes[0].set_ylabel("difference (percentage points)")
    _plain(*axes)


def _plain(*axes: Any) -> None:
    for place in axes:
        place.tick_params(labelsize=8)
        for side in ("top", "right"):
            place.spines[side].set_visible(False)
