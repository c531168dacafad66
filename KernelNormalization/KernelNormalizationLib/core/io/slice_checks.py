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
# A row of one value shows nothing where this share of the same row is tissue in the slices before and after it. Rows are lost
# in blocks: a single row may be flat by chance.
TISSUE_HU, TISSUE_SHARE, BLANK_ROWS = -500.0, 0.1, 2
# No scanner stores HU beyond these (16 bits that were misread do), and padding lies at the same place in the next slice.
POSSIBLE_HU = (-8192.0, HIGHEST_STORED_HU)
# HU of air to bone, to compare slices by: padding and metal are no measure.
AIR_TO_BONE_HU = 1024.0
# A region (so many pixels a side, every second pixel taken) that differs from both neighbours by this many times what these
# differ from each other, and by more than so many HU: 1.6 times at most in a sharp chest of 3 mm (B70f), noise included.
REGION_SIDE, ODD_FACTOR, ODD_HU = 16, 3.0, 30.0


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


def require_whole_slices(hu: FloatArray, names: Sequence[str]) -> None:
    """Refuse slices of which a part is blank or was misread, while the slices before and after them show something there.

    Args:
        hu: (k, j, i), HU.
        names: of the slices' files.

    Raises:
        InputError: such slices; the message names the first.
    """
    blank = np.stack([(image == image[:, :1]).all(axis=1) for image in hu])
    tissue = np.stack([(image > TISSUE_HU).mean(axis=1) > TISSUE_SHARE for image in hu])
    low, high = POSSIBLE_HU
    beyond = [(image < low) | (image > high) if image.min() < low or image.max() > high else None for image in hu]
    for k in range(1, len(hu) - 1):
        lost = blank[k] & tissue[k - 1] & tissue[k + 1] & ~blank[k - 1] & ~blank[k + 1]
        if np.count_nonzero(lost) >= BLANK_ROWS:
            raise InputError(
                f"{names[k]} shows nothing in {np.count_nonzero(lost)} of {lost.size} rows of its image, where the slices "
                "before and after it show the body; it was not copied completely. Export the series again."
            )
        misread = beyond[k]
        if misread is None:
            continue
        for other in (beyond[k - 1], beyond[k + 1]):
            misread = misread if other is None else misread & ~other
        if misread.any():
            value = float(hu[k][misread][0])
            raise InputError(
                f"{names[k]} holds {np.count_nonzero(misread)} pixel(s) that no CT has, such as {value:g} HU, where the slices "
                "before and after it show usual ones; its pixels are damaged. Export the series again."
            )


def odd_slices(hu: FloatArray) -> list[tuple[int, float]]:
    """Slices that differ from both neighbours in some region far more than these differ from each other.

    Args:
        hu: (k, j, i), HU.

    Returns:
        Index of the slice, and mean difference (HU) from the more similar neighbour in its oddest region.
    """
    found: list[tuple[int, float]] = []
    seen = [np.clip(image[::2, ::2], -AIR_TO_BONE_HU, AIR_TO_BONE_HU) for image in hu]
    for k in range(1, len(hu) - 1):
        to_both = np.minimum(_by_region(seen[k] - seen[k - 1]), _by_region(seen[k] - seen[k + 1]))
        odd = to_both > ODD_FACTOR * _by_region(seen[k + 1] - seen[k - 1]) + ODD_HU
        if odd.any():
            found.append((k, float(to_both[odd].max())))
    return found


def _by_region(difference: FloatArray) -> FloatArray:
    """Mean of the absolute difference in each region."""
    rows, columns = (np.linspace(0, n, max(n // REGION_SIDE, 1) + 1).astype(int) for n in difference.shape)
    sums = np.add.reduceat(np.add.reduceat(np.abs(difference), rows[:-1], axis=0), columns[:-1], axis=1)
    return np.asarray(sums / np.outer(np.diff(rows), np.diff(columns)), dtype=np.float32)


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
