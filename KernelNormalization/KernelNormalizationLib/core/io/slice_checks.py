"""Checks of slices against their neighbours: images that hold nothing, and a rescale that belongs to another slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError
from .padding import HIGHEST_STORED_HU

# A slice of one value at or below this may be padding or air at the ends of a volume; anything above is no part of a scan.
EMPTY_HU = -900.0
# An intercept that was lost on the way is 0 instead of -1024 or so; smaller differences between slices occur in valid series.
LOST_INTERCEPT_HU = 900.0
# Neighbouring slices whose HU differ by this many times what their stored values differ by are scaled wrongly.
JUMP_FACTOR = 2.0


def require_pictures(hu: FloatArray, names: Sequence[str] | None = None) -> None:
    """Refuse slices of a single value, which a transfer that broke off leaves behind.

    Padding or air at the first and last slices is allowed: cut and resampled volumes have it.

    Args:
        hu: (k, j, i), HU.
        names: of the slices' files, if each has its own.

    Raises:
        InputError: such slices; the message names them.
    """
    low, high = hu.min(axis=(1, 2)), hu.max(axis=(1, 2))
    pictures = np.flatnonzero(low != high)
    if not pictures.size:
        raise InputError("Every slice holds a single value; there is no image. Export the scan again.")
    k = np.arange(len(hu))
    inside = (k > pictures[0]) & (k < pictures[-1])
    padding = (low <= EMPTY_HU) | (low > HIGHEST_STORED_HU)
    empty = np.flatnonzero((low == high) & (inside | ~padding))
    if not empty.size:
        return
    first = names[int(empty[0])] if names is not None else f"slice {int(empty[0]) + 1} of {len(hu)}"
    raise InputError(
        f"{empty.size} slice(s) hold the single value {low[empty[0]]:g} HU and no image, first {first}; the scan was not "
        "copied completely. Export the series again, or cut off slices that hold nothing."
    )


def require_fitting_rescale(hu: FloatArray, rescales: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    """Refuse neighbouring slices of which one has lost its intercept, so that their stored values continue each other.

    Args:
        hu: (k, j, i), HU, after the rescale.
        rescales: slope and intercept of each slice.
        names: of the slices' files.

    Raises:
        InputError: such slices.
    """
    for k in range(1, len(hu)):
        (slope, intercept), (before, offset) = rescales[k], rescales[k - 1]
        if slope != before or abs(intercept - offset) < LOST_INTERCEPT_HU:
            continue
        as_before = hu[k] - intercept + offset
        jump = float(np.abs(hu[k] - hu[k - 1]).mean())
        kept = float(np.abs(as_before - hu[k - 1]).mean())
        if jump > JUMP_FACTOR * kept:
            raise InputError(
                f"{names[k - 1]} states the rescale intercept {offset:g}, the next slice {names[k]} {intercept:g}, and with "
                f"them the HU of the two differ by {jump:.0f} on average, with one and the same by {kept:.0f}. One of the tags "
                "is wrong; export the series again."
            )
