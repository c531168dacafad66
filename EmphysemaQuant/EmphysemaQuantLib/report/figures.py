"""Pictures of a report: axial and coronal views with overlay, histogram, EI against threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import BoolArray
from KernelNormalizationLib.core.imaging.appearance import ADDED, LUNG_WINDOW_HU, ORIGINAL, REMOVED, SYNTHETIC
from KernelNormalizationLib.core.imaging.morphology import bounding_box
from KernelNormalizationLib.core.imaging.orientation import Canonical
from KernelNormalizationLib.core.imaging.slice_picture import draw_mask, draw_slice, mark_sides_and_scale
from KernelNormalizationLib.core.volume import CTVolume

from ..core.indices.distribution import HISTOGRAM_EDGES_HU
from ..core.indices.emphysema_mask import emphysema_mask
from ..core.results.measurement import Measurement
from ..core.results.wording import kind_words

LINES = (ORIGINAL, SYNTHETIC)
# The part of the histogram that a normal or emphysematous lung fills.
HISTOGRAM_SHOWN_HU = (-1050.0, -500.0)
MARGIN_MM = 12.0


@dataclass(frozen=True)
class View:
    """One plane, ready to draw: rows run down, columns to the patient's left.

    Attributes:
        hu: float32 (rows, columns).
        emphysema: bool (rows, columns).
        aspect: height of a pixel over its width.
        width_mm: of the picture.
        plane: "axial" or "coronal".
    """

    hu: NDArray[np.float32]
    emphysema: BoolArray
    aspect: float
    width_mm: float
    plane: str


@dataclass(frozen=True)
class Levels:
    """Where the pictures are taken, canonical indices: axial slice and coronal row with most emphysema, and the crop."""

    k: int
    j: int
    box: tuple[slice, slice, slice]


def worst_levels(volume: CTVolume, lungs: BoolArray, threshold_hu: float) -> Levels:
    """The axial and coronal plane with most emphysema among those that cut at least half the largest lung area.

    Args:
        volume: whose emphysema decides.
        lungs: bool (k, j, i), stored order.
        threshold_hu: HU.
    """
    frame = Canonical.of(volume.geometry)
    inside = frame.forward(lungs)
    emphysema = frame.forward(emphysema_mask(volume.hu, lungs, threshold_hu))
    planes = []
    for axes in ((1, 2), (0, 2)):
        area = np.count_nonzero(inside, axis=axes)
        found = np.count_nonzero(emphysema, axis=axes)
        planes.append(int(np.argmax(np.where(area >= 0.5 * area.max(), found, -1))))
    margin = max(1, round(MARGIN_MM / min(frame.spacing)))
    return Levels(planes[0], planes[1], bounding_box(inside, margin))


def cut(volume: CTVolume, lungs: BoolArray, levels: Levels, threshold_hu: float, plane: str) -> View:
    """One plane of a volume with its emphysema."""
    frame = Canonical.of(volume.geometry)
    hu, inside = frame.forward(volume.hu), frame.forward(lungs)
    k_mm, j_mm, i_mm = frame.spacing
    k, j, i = levels.box
    # radiologists look at coronal planes with the head up, so the slices run downwards
    if plane == "axial":
        row_mm, picture, lung = j_mm, hu[levels.k, j, i], inside[levels.k, j, i]
    else:
        row_mm, picture, lung = k_mm, hu[k, levels.j, i][::-1], inside[k, levels.j, i][::-1]
    picture = np.ascontiguousarray(picture)
    below = emphysema_mask(picture, np.ascontiguousarray(lung), threshold_hu)
    return View(picture, below, row_mm / i_mm, picture.shape[1] * i_mm, plane)


def draw_view(axes: Any, view: View, title: str, raw: View | None = None) -> None:
    """Draw a view with its emphysema in red, or, against the raw view, the change: kept, removed and added."""
    draw_slice(axes, view.hu, title, view.aspect, size=7.0)
    if raw is None:
        draw_mask(axes, view.emphysema)
    else:
        draw_mask(axes, view.emphysema & raw.emphysema)
        draw_mask(axes, ~view.emphysema & raw.emphysema, REMOVED, 0.7)
        draw_mask(axes, view.emphysema & ~raw.emphysema, ADDED)
    mark_sides_and_scale(axes, view.width_mm, size=8.0)


def draw_histogram(axes: Any, measurement: Measurement) -> None:
    """Lung density histograms of the volumes with the threshold."""
    for volume, colour in zip(measurement.volumes, LINES, strict=False):
        axes.stairs(volume.histogram, HISTOGRAM_EDGES_HU, color=colour, label=volume.kind, lw=1.2)
    axes.axvline(measurement.threshold_hu, color="0.4", lw=0.8, ls="--")
    axes.set_xlim(*HISTOGRAM_SHOWN_HU)
    axes.set_xlabel("lung density (HU)", fontsize=7)
    axes.set_ylabel("% per 5 HU", fontsize=7)
    axes.set_title("Density histogram, % of lung voxels", fontsize=8)
    _finish(axes)


def draw_curve(axes: Any, measurement: Measurement) -> None:
    """Emphysema index against threshold."""
    for volume, colour in zip(measurement.volumes, LINES, strict=False):
        thresholds, values = zip(*volume.curve, strict=True)
        axes.plot(thresholds, values, color=colour, label=volume.kind, lw=1.2)
        axes.plot([volume.threshold_hu], [volume.whole.ei_percent], "o", ms=3, color=colour)
    axes.axvline(measurement.threshold_hu, color="0.4", lw=0.8, ls="--")
    axes.set_xlabel("threshold (HU)", fontsize=7)
    axes.set_ylabel("EI (%)", fontsize=7)
    axes.set_ylim(bottom=0)
    axes.set_title("Emphysema index against threshold", fontsize=8)
    _finish(axes)


def _finish(axes: Any) -> None:
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6, frameon=False, handlelength=1.0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def caption(measurement: Measurement) -> str:
    """What the pictures show."""
    low, high = LUNG_WINDOW_HU
    text = (
        f"Axial and coronal plane with most emphysema, lung window {low:g} to {high:g} HU, patient's right on the left; "
        "emphysema red."
    )
    if measurement.compared is not None:
        text += " Change: kept red, removed orange, added violet."
    return text


def grid_of(pictures: Sequence[object]) -> tuple[int, int]:
    """Rows and columns for the pictures: a row for each plane, or a single row of two."""
    return (2, len(pictures) // 2) if len(pictures) > 2 else (1, len(pictures))


# A view, its title, and the raw view when the picture shows the change against it.
Picture = tuple[View, str, View | None]


def views(measurement: Measurement) -> list[Picture]:
    """The pictures with titles, axial then coronal: the first volume, and with a second one also that and the change."""
    threshold, lungs = measurement.threshold_hu, measurement.lung_mask.mask
    first, second = measurement.volume, measurement.compared
    levels = worst_levels(measurement.volumes[-1].ct, lungs, threshold)
    pictures: list[Picture] = []
    for plane in ("axial", "coronal"):
        one = cut(first.ct, lungs, levels, threshold, plane)
        pictures.append((one, f"{plane}, {kind_words(first)}", None))
        if second is not None:
            other = cut(second.ct, lungs, levels, threshold, plane)
            pictures.append((other, f"{plane}, {kind_words(second)}", None))
            pictures.append((other, f"{plane}, change", one))
    return pictures
