"""Pictures of a report: axial and coronal views with overlay, histogram, EI against threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from EmphysemaQuantLib.core.indices.distribution import density_histogram
from EmphysemaQuantLib.core.indices.emphysema_mask import emphysema_mask
from KernelNormalizationLib.core.imaging.reduced_grid import Canonical, bounding_box
from KernelNormalizationLib.core.imaging.slice_picture import draw_mask, draw_slice, mark_sides_and_scale
from KernelNormalizationLib.core.volume import BoolArray, CTVolume

from .results import Kind, Report
from .text import KIND_WORDS

REMOVED, ADDED = (1.00, 0.62, 0.10), (0.55, 0.20, 0.85)
RAW_LINE, PARTNER_LINE = "#c0392b", "#1f5fa8"
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


def draw_histogram(axes: Any, report: Report) -> None:
    """Lung density histograms of the report's volumes with the threshold."""
    lungs = report.lung_mask.mask
    for volume, name, colour in _series(report):
        edges, percent = density_histogram(volume.hu[lungs])
        axes.stairs(percent, edges, color=colour, label=name, lw=1.2)
    axes.axvline(report.raw_panel.threshold_hu, color="0.4", lw=0.8, ls="--")
    axes.set_xlabel("lung density (HU)", fontsize=7)
    axes.set_ylabel("% of lung voxels per 5 HU", fontsize=7)
    axes.set_title("Density histogram", fontsize=8)
    _finish(axes)


def draw_curve(axes: Any, report: Report) -> None:
    """Emphysema index against threshold."""
    for (_, panel), (_, name, colour) in zip(report.panels, _series(report), strict=True):
        thresholds, values = zip(*panel.curve, strict=True)
        axes.plot(thresholds, values, color=colour, label=name, lw=1.2)
        axes.plot([panel.threshold_hu], [panel.whole.ei_percent], "o", ms=3, color=colour)
    axes.axvline(report.raw_panel.threshold_hu, color="0.4", lw=0.8, ls="--")
    axes.set_xlabel("threshold (HU)", fontsize=7)
    axes.set_ylabel("EI (%)", fontsize=7)
    axes.set_ylim(bottom=0)
    axes.set_title("Emphysema index against threshold", fontsize=8)
    _finish(axes)


def _series(report: Report) -> list[tuple[CTVolume, Kind, str]]:
    volumes = (report.raw,) if report.partner is None else (report.raw, report.partner)
    return list(zip(volumes, report.kinds, (RAW_LINE, PARTNER_LINE), strict=False))


def _finish(axes: Any) -> None:
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6, frameon=False, handlelength=1.0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def caption(report: Report) -> str:
    """What the pictures show."""
    text = (
        "Axial and coronal plane with most emphysema, lung window -1350 to 150 HU, patient's right on the left; emphysema red."
    )
    if report.partner is not None:
        text += " Change: kept red, removed orange, added violet."
    return text


def grid_of(pictures: Sequence[object]) -> tuple[int, int]:
    """Rows and columns for the pictures: a row for each plane, or a single row of two."""
    return (2, len(pictures) // 2) if len(pictures) > 2 else (1, len(pictures))


# A view, its title, and the raw view when the picture shows the change against it.
Picture = tuple[View, str, View | None]


def views(report: Report) -> list[Picture]:
    """The report's pictures with titles, axial then coronal: raw, and with a partner also that and the change."""
    threshold, lungs = report.raw_panel.threshold_hu, report.lung_mask.mask
    decisive = report.partner if report.partner is not None else report.raw
    levels = worst_levels(decisive, lungs, threshold)
    pictures: list[Picture] = []
    for plane in ("axial", "coronal"):
        raw = cut(report.raw, lungs, levels, threshold, plane)
        pictures.append((raw, f"{plane}, {KIND_WORDS[report.kinds[0]]}", None))
        if report.partner is not None:
            partner = cut(report.partner, lungs, levels, threshold, plane)
            pictures.append((partner, f"{plane}, {KIND_WORDS[report.kinds[1]]}", None))
            pictures.append((partner, f"{plane}, change", raw))
    return pictures
