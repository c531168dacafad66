"""The emphysema mask: lung voxels of abnormally low attenuation."""

from __future__ import annotations

import numpy as np

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import BoolArray, FloatArray

# Gevenois 1995/1996: -950 HU agrees best with macroscopic and microscopic morphometry on thin slices at inspiration.
EMPHYSEMA_THRESHOLD_HU = -950.0


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
