"""Pictures of the real scans: every image in the lung window, and its difference from the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from KernelNormalizationLib.core.arrays import BoolArray, FloatArray
from KernelNormalizationLib.core.errors import RESEARCH_USE
from KernelNormalizationLib.core.imaging.slice_picture import draw_difference, draw_slice
from KernelNormalizationLib.core.io.writing import atomic_path

from ..evaluation.figures import RESOLUTION


@dataclass(frozen=True)
class Panel:
    """Content of a picture.

    Attributes:
        name: name of the file.
        images: HU (k, j, i) for each label.
        reference: (k, j, i), HU, with which the images are compared.
        reference_label: its label.
        lungs: boolean (k, j, i); the slice with most lung is shown, or the first slice if there is no lung.
    """

    name: str
    images: Mapping[str, FloatArray]
    reference: FloatArray
    reference_label: str
    lungs: BoolArray | None = None


def save_panel(folder: Path, panel: Panel) -> Path:
    """Draw ``panel`` into ``folder``: images above, differences to the reference below.

    Returns:
        the PNG file.
    """
    k = 0 if panel.lungs is None else int(np.argmax(panel.lungs.sum(axis=(1, 2))))
    reference = panel.reference[k]
    columns = {panel.reference_label: reference, **{label: hu[k] for label, hu in panel.images.items()}}
    figure = Figure(figsize=(3.4 * len(columns), 7.4), layout="constrained")
    axes = figure.subplots(2, len(columns), squeeze=False)
    for n, (label, plane) in enumerate(columns.items()):
        draw_slice(axes[0, n], plane, label if "original" in label else f"{label} (synthetic)")
        shown = draw_difference(axes[1, n], plane - reference, f"minus {panel.reference_label}")
    figure.colorbar(shown, ax=axes[1, :], label="HU", shrink=0.8)
    figure.suptitle(f"{panel.name.replace('_', ' ')}, slice {k + 1}. {RESEARCH_USE}", fontsize=11)
    target = folder / f"{panel.name}.png"
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=RESOLUTION)
    return target
