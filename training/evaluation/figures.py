"""Figures of the evaluation: panels and box plots laid out like the paper's, Bland-Altman and calibration of EI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from EmphysemaQuantLib.core.indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU
from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.errors import RESEARCH_USE
from KernelNormalizationLib.core.imaging.slice_picture import draw_difference, draw_mask, draw_slice, mark_sides_and_scale

from .cases import Case
from .scores import SEVERE_EI, Score, frame_of
from .tables import methods_of

RESOLUTION = 110  # dots per inch
FIGURE_SUFFIXES = (".png", ".pdf")
PANEL_NOTE = "{} and the raw image are reconstructions, every other image is synthetic."
PANELS_A_ROW = 4


def save_panel(path: Path, case: Case, images: Sequence[tuple[str, FloatArray]]) -> None:
    """Draw one column per image, with rows for the image, its emphysema, and the difference to the smooth original.

    The layout is that of the paper's Fig. 1.

    Args:
        path: PNG or PDF to write.
        case: the pair; its middle slice is shown.
        images: label and float32 (k, j, i), HU.
    """
    k = case.slices // 2
    reference = reference_label(case)
    columns = [(reference, case.smooth.hu), *images]
    rows, cols = _lung_box(case.lung.mask[k])
    shape = case.smooth.hu[k][rows, cols].shape
    figure = Figure(figsize=(3.2 * len(columns), 3 * (3.2 * shape[0] / shape[1] + 0.35)), layout="constrained")
    axes = figure.subplots(3, len(columns), squeeze=False)
    lung = case.lung.mask[k]
    for n, (label, hu) in enumerate(columns):
        plane = hu[k]
        emphysema = (plane < EMPHYSEMA_THRESHOLD_HU) & lung
        index = 100.0 * float(emphysema.sum()) / max(1.0, float(lung.sum()))
        draw_slice(axes[0, n], plane[rows, cols], label)
        draw_slice(axes[1, n], plane[rows, cols], f"below -950 HU in this slice: {index:.1f} %", size=8.0)
        draw_mask(axes[1, n], emphysema[rows, cols])
        difference = plane - case.smooth.hu[k]
        title = f"minus original, mean |.| {np.abs(difference[lung]).mean():.1f} HU in lung"
        shown = draw_difference(axes[2, n], difference[rows, cols], title, size=8.0)
    mark_sides_and_scale(axes[0, 0], shape[1] * case.sharp.geometry.spacing[2])
    figure.colorbar(shown, ax=axes[2, :], label="HU", shrink=0.8)
    _save(figure, path, PANEL_NOTE.format(reference))


def reference_label(case: Case) -> str:
    """What the smooth image of a pair is called: its own kernel, which is B20f in simulated pairs alone."""
    kernel = case.meta.get("smooth_kernel") or {}
    return f"{kernel.get('name', 'smooth')} (original)"


def _lung_box(lung: NDArray[np.bool_], margin: int = 12) -> tuple[slice, slice]:
    if not lung.any():
        return slice(None), slice(None)
    rows, columns = (np.flatnonzero(lung.any(axis=a)).astype(int) for a in (1, 0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin),
    )


def save_boxes(path: Path, scores: Sequence[Score]) -> None:
    """Box plots of the EI difference and of Dice for every method, all patients and those with EI > 5 (the paper's Fig. 2)."""
    methods = methods_of(scores)
    figure = Figure(figsize=(1.6 + 1.5 * len(methods), 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    frame = frame_of(scores).eval("error = ei - true_ei")
    patients = (frame, frame[frame.true_ei > SEVERE_EI])
    for axis, name, label in (
        (left, "error", "EI minus EI of B20f, points"),
        (right, "dice", "Dice of emphysema at -950 HU"),
    ):
        groups = [chosen[name][chosen.method == method] for method in methods for chosen in patients]
        places = [3 * n + d for n in range(len(methods)) for d in (0, 1)]
        boxes = axis.boxplot(groups, positions=places, widths=0.8, patch_artist=True, medianprops={"color": "black"})
        for n, box in enumerate(boxes["boxes"]):
            box.set_facecolor("#9ecae1" if n % 2 == 0 else "#fdae6b")
        axis.set_xticks([3 * n + 0.5 for n in range(len(methods))], methods, rotation=20)
        axis.set_ylabel(label)
        axis.grid(axis="y", alpha=0.3)
    left.axhline(0.0, color="grey", lw=0.8)
    left.legend(boxes["boxes"][:2], ["all patients", "EI > 5 %"], fontsize=8)
    _save(figure, path)


def save_bland_altman(path: Path, scores: Sequence[Score]) -> None:
    """Bland-Altman plot of EI: difference against mean, with bias and 95 % limits of agreement; one panel per method."""
    figure, axes = _one_a_method(scores)
    frame = frame_of(scores)
    for method, axis in axes:
        chosen = frame[frame.method == method]
        mean, difference = 0.5 * (chosen.ei + chosen.true_ei), chosen.ei - chosen.true_ei
        bias, limit = difference.mean(), 1.96 * (difference.std() if len(difference) > 1 else 0.0)
        axis.scatter(mean, difference, s=14)
        for level, style in ((bias, "-"), (bias - limit, "--"), (bias + limit, "--")):
            axis.axhline(level, color="black", ls=style, lw=0.9)
        axis.set_title(f"{method}: {bias:+.2f} ± {limit:.2f}", fontsize=9)
    figure.supxlabel("mean of both EI, %", fontsize=9)
    figure.supylabel("EI minus EI of B20f, points (scales differ)", fontsize=9)
    _save(figure, path)


def save_calibration(path: Path, scores: Sequence[Score]) -> None:
    """EI of every method against the true EI with a fitted line; one panel per method, all on the same scale."""
    figure, axes = _one_a_method(scores)
    frame = frame_of(scores)
    largest = frame[["ei", "true_ei"]].to_numpy().max() * 1.05 + 0.5
    for method, axis in axes:
        chosen = frame[frame.method == method]
        true, ei = chosen.true_ei, chosen.ei
        axis.plot([0, largest], [0, largest], color="grey", lw=0.9)
        axis.scatter(true, ei, s=14)
        title = method
        if np.ptp(true) > 0:
            slope, offset = np.polyfit(true, ei, 1)
            axis.plot([0, largest], [offset, offset + slope * largest], color="black", ls="--", lw=0.9)
            title += f": slope {slope:.2f}, offset {offset:+.2f}"
        axis.set_title(title, fontsize=9)
        axis.set(xlim=(0, largest), ylim=(0, largest))
    figure.supxlabel("EI of B20f, %", fontsize=9)
    figure.supylabel("EI of the image, %", fontsize=9)
    _save(figure, path)


def _one_a_method(scores: Sequence[Score]) -> tuple[Figure, list[tuple[str, Any]]]:
    methods = methods_of(scores)
    columns = min(len(methods), PANELS_A_ROW)
    rows = -(-len(methods) // columns)
    figure = Figure(figsize=(3.1 * columns + 0.3, 2.9 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[len(methods) :]:
        unused.set_axis_off()
    return figure, list(zip(methods, axes, strict=False))


def _save(figure: Figure, path: Path, note: str = "") -> None:
    figure.suptitle(f"{RESEARCH_USE} {note}".strip(), fontsize=7, color="dimgrey", x=0.995, ha="right")
    figure.savefig(path, dpi=RESOLUTION)
