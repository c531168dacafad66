"""Pictures of a lung mask to look at: axial and coronal planes in the lung window with the mask's outline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from KernelNormalizationLib.core.imaging.orientation import Canonical
from KernelNormalizationLib.core.imaging.slice_picture import draw_slice
from KernelNormalizationLib.core.volume import CTVolume

COLOURS = {1: "#4aa3ff", 2: "#5fd35f"}
AXIAL, CORONAL = 8, 4


def write_montage(volume: CTVolume, mask: LungMask, path: Path) -> None:
    """Eight axial planes from apex to base and four coronal ones; right lung blue, left green, airways red."""
    frame = Canonical.of(volume.geometry)
    hu, labels, airways = (frame.forward(a) for a in (volume.hu, mask.labels, mask.airways))
    k_mm, j_mm, i_mm = frame.spacing
    used = [np.flatnonzero((labels > 0).any(axis=axes)) for axes in ((1, 2), (0, 2))]
    figure = Figure(figsize=(16, 13), layout="constrained", facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 4).ravel()
    planes = [(int(k), 0) for k in np.linspace(used[0][-1], used[0][0], AXIAL)]
    planes += [(int(j), 1) for j in np.linspace(used[1][0], used[1][-1], CORONAL + 2)[1:-1]]
    for where, (index, axis) in zip(axes, planes, strict=True):
        image, label, lumen = (a.take(index, axis)[:: -1 if axis else 1] for a in (hu, labels, airways))
        aspect = (k_mm if axis else j_mm) / i_mm
        draw_slice(where, image, f"{'coronal' if axis else 'axial'} {index}", aspect, ink="white", size=8.0)
        for side, colour in COLOURS.items():
            if (label == side).any():
                where.contour(label == side, [0.5], colors=colour, linewidths=0.8)
        if lumen.any():
            where.contour(lumen, [0.5], colors="#ff4040", linewidths=0.8)
    figure.suptitle(f"{volume.name}: {mask.quality.verdict}. {' '.join(mask.quality.reasons)}", color="white", fontsize=10)
    figure.savefig(path, dpi=70, facecolor="black")
