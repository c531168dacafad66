"""Draws CT slices for reports, evaluations and checks: lung window, masks, differences, side letters and scale bar.

The functions draw on matplotlib axes of the caller; none opens a figure.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import BoolArray, FloatArray
from .appearance import DIFFERENCE_HU, EMPHYSEMA, LUNG_WINDOW_HU, RGB

SCALE_BAR_MM = 50.0


def draw_slice(axes: Any, hu: FloatArray, title: str, aspect: float = 1.0, ink: str = "black", size: float = 9.0) -> None:
    """Draw a slice in the lung window with a title.

    Args:
        axes: matplotlib axes.
        hu: float32 (rows, columns), HU; rows run to the back or the feet, columns to the patient's left.
        title: text above the slice.
        aspect: height of a pixel divided by its width.
        ink: colour of the title.
        size: font size of the title, points.
    """
    low, high = LUNG_WINDOW_HU
    axes.imshow(hu, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="nearest")
    axes.set_title(title, color=ink, fontsize=size, pad=3, parse_math=False)
    axes.set_axis_off()


def draw_mask(axes: Any, mask: BoolArray, colour: RGB = EMPHYSEMA, opacity: float = 0.8) -> None:
    """Draw a coloured mask, bool (rows, columns), over the slice that was drawn before."""
    overlay: NDArray[np.float64] = np.zeros((*mask.shape, 4))
    overlay[mask] = (*colour, opacity)
    axes.imshow(overlay, aspect=axes.get_aspect(), interpolation="nearest")


def draw_difference(axes: Any, difference: Any, title: str, aspect: float = 1.0, ink: str = "black", size: float = 9.0) -> Any:
    """Draw a signed difference (rows, columns) in HU, red above and blue below zero; returns the image for a colour bar."""
    limits = {"vmin": -DIFFERENCE_HU, "vmax": DIFFERENCE_HU}
    drawn = axes.imshow(difference, cmap="RdBu_r", aspect=aspect, interpolation="nearest", **limits)
    axes.set_title(title, color=ink, fontsize=size, pad=3, parse_math=False)
    axes.set_axis_off()
    return drawn


def mark_sides_and_scale(axes: Any, width_mm: float, size: float = 9.0) -> None:
    """Draw the letters R and L and a scale bar of 5 cm, outlined so that they are readable on lung, bone and background.

    Args:
        axes: matplotlib axes with an image whose columns run to the patient's left.
        width_mm: width of the image, mm.
        size: font size of the letters, points.
    """
    from matplotlib.patheffects import withStroke

    where = axes.transAxes
    thin = [withStroke(linewidth=2.0, foreground="black")]
    words: dict[str, Any] = {"color": "white", "transform": where, "path_effects": thin}
    axes.text(0.02, 0.97, "R", ha="left", va="top", fontsize=size, **words)
    axes.text(0.98, 0.97, "L", ha="right", va="top", fontsize=size, **words)
    share = SCALE_BAR_MM / width_mm
    outline = [withStroke(linewidth=3.6, foreground="black")]
    axes.plot([0.03, 0.03 + share], [0.04, 0.04], color="white", lw=2, transform=where, path_effects=outline)
    axes.text(0.03, 0.06, f"{SCALE_BAR_MM / 10.0:g} cm", va="bottom", fontsize=0.75 * size, **words)
