"""The emphysema mask: lung voxels of abnormally low attenuation."""

from __future__ import annotations

import numpy as np

from KernelNormalizationLib.core.arrays import EMPHYSEMA_THRESHOLD_HU as EMPHYSEMA_THRESHOLD_HU
from KernelNormalizationLib.core.arrays import BoolArray, FloatArray
from KernelNormalizationLib.core.errors import InputError

# What panel and command line accept: from the density of air up to the highest threshold in use, -856 HU for gas trapping at
# expiration, and some room above it (a choice of this project).
THRESHOLD_RANGE_HU = (-1000.0, -800.0)


def require_threshold(threshold_hu: float) -> None:
    """Raise :class:`InputError` for a threshold outside :data:`THRESHOLD_RANGE_HU`, or none at all (NaN)."""
    low, high = THRESHOLD_RANGE_HU
    if not low <= threshold_hu <= high:
        raise InputError(f"The threshold is {threshold_hu:g} HU; choose one from {low:g} to {high:g} HU.")


def emphysema_mask(hu: FloatArray, lung_mask: BoolArray, threshold_hu: float = EMPHYSEMA_THRESHOLD_HU) -> BoolArray:
    """Voxels inside the lungs that are strictly below the threshold.

    Args:
        hu: float32 (k, j, i), HU.
        lung_mask: bool (k, j, i), both lungs without airways.
        threshold_hu: HU; a voxel at exactly this value is not emphysema.

    Returns:
        bool (k, j, i).

    Raises:
        InputError: the shapes differ.
    """
    if hu.shape != lung_mask.shape:
        raise InputError(f"The volume has shape {hu.shape}, the lung mask {lung_mask.shape}; make the mask on this volume.")
    below: BoolArray = hu < np.float32(threshold_hu)
    below &= lung_mask.astype(bool, copy=False)
    return below
