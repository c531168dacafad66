"""The comparison figure, laid out like the paper's Fig. 1: image, image with emphysema, difference."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from EmphysemaQuantLib.core.results.measurement import Measurement
from KernelNormalizationLib.core.arrays import BoolArray, FloatArray
from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.imaging.appearance import DIFFERENCE_HU, LUNG_WINDOW_HU
from KernelNormalizationLib.core.imaging.slice_picture import draw_difference, draw_mask, draw_slice, mark_sides_and_scale
from KernelNormalizationLib.core.io.writing import atomic_path
from KernelNormalizationLib.core.volume import CTVolume

BACKGROUND, INK = "black", "white"
# A page of the documents shows the figure 638 pixels wide, where a point is nearly a pixel: letters stay 10 pixels high.
SIZE_INCH, DOTS_PER_INCH = (9.0, 7.3), 160
TEXT_POINTS, SIDES_POINTS = 10.0, 12.0
CHARACTERS_A_LINE = 36


def draw_comparison(measurement: Measurement, path: Path) -> None:
    """Draw the axial slice with most emphysema of the first volume, and write a PNG.

    Args:
        measurement: of an original and its synthetic volume.
        path: PNG file to write.

    Raises:
        InputError: one volume only was measured.
    """
    if len(measurement.volumes) != 2:
        raise InputError("A comparison needs two volumes; measure the original and its normalized volume.")
    original, normalized = (volume.ct for volume in measurement.volumes)
    lungs = measurement.lung_mask.mask
    k = most_telling_slice(lungs, measurement.volume.emphysema)
    view = AxialView(original, k)
    figure = Figure(figsize=SIZE_INCH, facecolor=BACKGROUND, layout=ConstrainedLayoutEngine(h_pad=0.07))
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3, gridspec_kw={"width_ratios": (1, 1, 1)})
    names = (f"{original.name} (original)", normalized.name)
    for row, (volume, name) in enumerate(zip(measurement.volumes, names, strict=True)):
        found = f"EI {volume.whole.ei_percent:.1f} % (lung below {measurement.threshold_hu:g} HU)"
        view.show(axes[row, 0], volume.ct.hu, fill(name, CHARACTERS_A_LINE))
        view.show(axes[row, 1], volume.ct.hu, found, volume.emphysema)
    view.show_difference(axes[0, 2], figure, normalized.hu - original.hu, "normalized minus original")
    view.show_difference(axes[1, 2], figure, normalized.hu - original.hu, "the same, inside the lungs", lungs)
    low, high = LUNG_WINDOW_HU
    figure.suptitle(
        f"Axial slice {k + 1} of {original.shape[0]}, lung window {low:g} to {high:g} HU. {RESEARCH_USE}",
        color=INK,
        fontsize=TEXT_POINTS,
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor=BACKGROUND)


def most_telling_slice(lungs: BoolArray, emphysema: BoolArray) -> int:
    """Slice with most emphysema among those that show at least half of the largest lung area."""
    area = lungs.sum(axis=(1, 2))
    counts = np.where(area >= 0.5 * area.max(), emphysema.sum(axis=(1, 2)), -1)
    return int(np.argmax(counts))


class AxialView:
    """Draws one axial slice in radiological orientation: seen from the feet, patient's right on the left, front up.

    Args:
        volume: gives the geometry.
        k: slice index.
    """

    def __init__(self, volume: CTVolume, k: int) -> None:
        self._k = k
        _, row_mm, column_mm = volume.geometry.spacing
        self._aspect = row_mm / column_mm
        self._column_mm = column_mm
        direction = np.asarray(volume.geometry.direction)
        # LPS: columns should run to the patient's left (+x), rows to the back (+y).
        self._flip_columns = direction[0, 0] < 0
        self._flip_rows = direction[1, 1] < 0

    def show(self, axes: Any, hu: FloatArray, title: str, overlay: BoolArray | None = None) -> None:
        """Grey image (k, j, i) in the lung window, with an optional mask (k, j, i) over it."""
        image = self._oriented(hu)
        draw_slice(axes, image, title, self._aspect, INK, TEXT_POINTS)
        if overlay is not None:
            draw_mask(axes, self._oriented(overlay))
        mark_sides_and_scale(axes, image.shape[1] * self._column_mm, size=SIDES_POINTS)

    def show_difference(
        self, axes: Any, figure: Figure, difference: FloatArray, title: str, inside: BoolArray | None = None
    ) -> None:
        """Signed difference (k, j, i), HU, in diverging colours, with a colour bar; outside ``inside`` it is blank."""
        image = self._oriented(difference)
        if inside is not None:
            image = np.ma.masked_where(~self._oriented(inside), image)
        drawn = draw_difference(axes, image, title, self._aspect, INK, TEXT_POINTS)
        ticks = (-DIFFERENCE_HU, 0.0, DIFFERENCE_HU)
        bar = figure.colorbar(drawn, ax=axes, orientation="horizontal", shrink=0.8, pad=0.02, ticks=ticks)
        bar.ax.set_xticklabels([f"{tick:+.0f} HU" if tick else "0" for tick in ticks])
        bar.ax.tick_params(colors=INK, labelsize=TEXT_POINTS)
        mark_sides_and_scale(axes, image.shape[1] * self._column_mm, size=SIDES_POINTS)

    def _oriented(self, array: Any) -> Any:
        image = array[self._k]
        image = image[::-1] if self._flip_rows else image
        return image[:, ::-1] if self._flip_columns else image
