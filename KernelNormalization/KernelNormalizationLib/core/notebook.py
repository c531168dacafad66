"""How a volume shows itself in a notebook: three mid planes and one line of facts, as HTML without outside references.

Imports nothing that imports a volume, because :mod:`.volume` imports this one.
"""

from __future__ import annotations

import io
from html import escape
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from .embedded_picture import embedded
from .imaging.appearance import LUNG_WINDOW_HU

PICTURE_HEIGHT_PIXELS = 220

# Name, HU (rows, columns), and mm of a row and a column.
Plane = tuple[str, NDArray[np.float32], float, float]


def mid_planes(hu: NDArray[np.float32], ijk_to_lps: NDArray[np.float64]) -> tuple[Plane, Plane, Plane]:
    """The middle axial, coronal and sagittal plane: head or front up, patient's right (or front) on the left.

    Args:
        hu: float32 (k, j, i), HU, in any stored axis order.
        ijk_to_lps: 4 x 4 matrix from voxel index (i, j, k, 1) to LPS mm.
    """
    steps = ijk_to_lps[:3, :3][:, ::-1]  # columns k, j, i; rows x (left), y (back), z (head)
    mm = np.linalg.norm(steps, axis=0)
    cosines = (steps / mm)[::-1]  # rows z, y, x
    # The assignment of array axes to z, y and x that fits best, also for oblique volumes.
    axes = max(permutations(range(3)), key=lambda p: sum(abs(cosines[row, axis]) for row, axis in enumerate(p)))
    backwards = tuple(row for row, axis in enumerate(axes) if cosines[row, axis] < 0)
    turned = np.flip(hu.transpose(axes), backwards)
    z_mm, y_mm, x_mm = (float(mm[axis]) for axis in axes)
    z, y, x = (size // 2 for size in turned.shape)
    # Slices run from feet to head, so coronal and sagittal planes are turned over.
    return (
        ("axial", turned[z], y_mm, x_mm),
        ("coronal", turned[::-1, y], z_mm, x_mm),
        ("sagittal", turned[::-1, :, x], z_mm, y_mm),
    )


def as_html(hu: NDArray[np.float32], ijk_to_lps: NDArray[np.float64], caption: str) -> str:
    """The mid planes in the lung window with ``caption`` below; arguments as for :func:`mid_planes`."""
    pictures = "".join(_picture(plane) for plane in mid_planes(hu, ijk_to_lps))
    return f'<figure style="margin:0">{pictures}<figcaption>{escape(caption)}</figcaption></figure>'


def _picture(plane: Plane) -> str:
    from matplotlib.image import imsave

    name, hu, row_mm, column_mm = plane
    buffer = io.BytesIO()
    low, high = LUNG_WINDOW_HU
    imsave(buffer, np.ascontiguousarray(hu), cmap="gray", vmin=low, vmax=high, format="png")
    rows, columns = hu.shape
    width = max(1, round(PICTURE_HEIGHT_PIXELS * columns * column_mm / (rows * row_mm)))
    size = f'width="{width}" height="{PICTURE_HEIGHT_PIXELS}"'
    return (
        f'<img alt="{name} mid plane" title="{name}" {size} style="display:inline-block" src="{embedded(buffer.getvalue())}">'
    )
