"""Agreement of two volumes of one acquisition on one lung mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from KernelNormalizationLib.core.arrays import BoolArray, FloatArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging.body import body_mask
from KernelNormalizationLib.core.volume import CTVolume

from ..lungs.segmentation import LungMask
from .emphysema_mask import EMPHYSEMA_THRESHOLD_HU, emphysema_mask


@dataclass(frozen=True)
class Agreement:
    """Agreement of another volume with a reference on one lung mask.

    Attributes:
        threshold_hu: HU of the emphysema masks.
        l1_image_hu: HU, mean |other - reference| over all voxels that are padding in neither volume.
        l1_body_hu: HU, the same inside the body of the reference; outside air reflects the HU floor more
            than the kernel.
        l1_lung_hu: HU, the same inside the lung mask.
        reference_ei_percent: %, EI of the reference.
        other_ei_percent: %, EI of the other volume.
        delta_ei_points: percentage points, other minus reference.
        abs_delta_ei_points: percentage points, its absolute value.
        dice: 2 |A and B| / (|A| + |B|) of the two emphysema masks; 1 when both are empty.
        kept_ml: mL, emphysema in both volumes.
        removed_ml: mL, emphysema in the reference only.
        added_ml: mL, emphysema in the other volume only.
    """

    threshold_hu: float
    l1_image_hu: float
    l1_body_hu: float
    l1_lung_hu: float
    reference_ei_percent: float
    other_ei_percent: float
    delta_ei_points: float
    abs_delta_ei_points: float
    dice: float
    kept_ml: float
    removed_ml: float
    added_ml: float


def compare_volumes(
    reference: CTVolume, other: CTVolume, lung_mask: LungMask, threshold_hu: float = EMPHYSEMA_THRESHOLD_HU
) -> Agreement:
    """Compare two volumes voxel by voxel on one lung mask.

    Args:
        reference: the volume taken as true (a real soft-kernel series, or the raw scan).
        other: the volume that is judged; same geometry.
        lung_mask: one mask for both.
        threshold_hu: HU of the emphysema masks.

    Raises:
        InputError: geometry or shapes differ, or the lung mask is empty.
    """
    require_same_grid(reference, other, lung_mask)
    lungs = lung_mask.mask
    if not lungs.any():
        raise InputError("The lung mask is empty; there is nothing to compare.")
    valid = ~(reference.padding_mask | other.padding_mask)
    difference: FloatArray = np.abs(other.hu - reference.hu)
    first = emphysema_mask(reference.hu, lungs, threshold_hu)
    second = emphysema_mask(other.hu, lungs, threshold_hu)
    kept, a, b = (int(np.count_nonzero(m)) for m in (first & second, first, second))
    count, voxel_ml = int(np.count_nonzero(lungs)), reference.geometry.voxel_volume_ml
    ei = (100.0 * a / count, 100.0 * b / count)
    return Agreement(
        threshold_hu=float(threshold_hu),
        l1_image_hu=_mean_over(difference, valid),
        l1_body_hu=_mean_over(difference, valid & body_mask(reference)),
        l1_lung_hu=_mean_over(difference, lungs),
        reference_ei_percent=ei[0],
        other_ei_percent=ei[1],
        delta_ei_points=ei[1] - ei[0],
        abs_delta_ei_points=abs(ei[1] - ei[0]),
        dice=2.0 * kept / (a + b) if a + b else 1.0,
        kept_ml=kept * voxel_ml,
        removed_ml=(a - kept) * voxel_ml,
        added_ml=(b - kept) * voxel_ml,
    )


def require_same_grid(reference: CTVolume, other: CTVolume, lung_mask: LungMask) -> None:
    """Raise :class:`InputError`, naming the values, unless both volumes and the mask share one grid."""
    if reference.shape != other.shape:
        raise InputError(
            f"“{reference.name}” has shape {reference.shape}, “{other.name}” {other.shape}; "
            "compare two reconstructions of one acquisition with equal matrix and slices."
        )
    if not reference.geometry.matches(other.geometry):
        raise InputError(
            f"“{reference.name}” ({_place(reference)}) and “{other.name}” ({_place(other)}) are not in the same place; "
            "compare two reconstructions of one acquisition on one grid. Resampling one of them would change its index."
        )
    if lung_mask.labels.shape != reference.shape:
        raise InputError(f"The lung mask has shape {lung_mask.labels.shape}, the volumes {reference.shape}; make it on them.")


def _place(volume: CTVolume) -> str:
    origin, spacing = (", ".join(f"{v:.4g}" for v in t) for t in (volume.geometry.origin, volume.geometry.spacing))
    return f"origin {origin} mm, spacing {spacing} mm"


def _mean_over(difference: FloatArray, where: BoolArray) -> float:
    return float(np.mean(difference[where], dtype=np.float64)) if where.any() else 0.0
