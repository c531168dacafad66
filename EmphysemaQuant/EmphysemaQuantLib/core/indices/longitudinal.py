"""Change between two dates, with and without adjustment for the depth of inspiration."""

from __future__ import annotations

from dataclasses import dataclass

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import CTVolume

from ..lungs.segmentation import LungMask
from .density import RegionIndices, compute_indices, floor_below
from .emphysema_mask import EMPHYSEMA_THRESHOLD_HU

# Conventions of this project, not of a standard, and not a measured repeatability: smaller changes are not called large. What a
# change means depends on the repeatability of scanner and protocol.
PERC15_ADJUSTED_LIMIT_HU = 11.0
EI_LIMIT_POINTS = 3.7


@dataclass(frozen=True)
class DensityChange:
    """Follow-up minus baseline, whole lungs.

    The adjusted numbers assume the sponge model: the lung mass is constant while the volume changes with inspiration,
    so densities (HU + 1000) are multiplied by TLV of the follow-up / TLV of the baseline.

    Attributes:
        tlv_change_ml: mL.
        perc15_change_hu: HU.
        perc15_adjusted_change_hu: HU, after adjustment of the follow-up to the baseline's volume.
        ei_change_points: percentage points.
        ei_adjusted_change_points: percentage points, EI of the adjusted follow-up minus EI of the baseline.
        beyond_limits: whether adjusted Perc15 fell by more than 11 HU or EI rose by more than 3.7 points (conventions of this
            project, no measured repeatability).
    """

    tlv_change_ml: float
    perc15_change_hu: float
    perc15_adjusted_change_hu: float
    ei_change_points: float
    ei_adjusted_change_points: float
    beyond_limits: bool


def volume_adjusted_perc15(perc15_hu: float, tlv_ml: float, reference_tlv_ml: float) -> float:
    """Perc15 that the lung would have at the reference volume (sponge model: constant lung mass), HU.

    Args:
        perc15_hu: HU.
        tlv_ml: mL at which it was measured.
        reference_tlv_ml: mL to adjust to (baseline, or predicted TLV).

    Raises:
        InputError: a volume is not positive.
    """
    if tlv_ml <= 0 or reference_tlv_ml <= 0:
        raise InputError(f"Lung volumes must be positive, not {tlv_ml:g} and {reference_tlv_ml:g} mL.")
    return (perc15_hu + 1000.0) * tlv_ml / reference_tlv_ml - 1000.0


def compare_dates(
    baseline: tuple[CTVolume, LungMask],
    follow_up: tuple[CTVolume, LungMask],
    threshold_hu: float = EMPHYSEMA_THRESHOLD_HU,
) -> DensityChange:
    """Change from baseline to follow-up; each volume has a mask of its own, and geometries may differ.

    Args:
        baseline: earlier volume and its lung mask.
        follow_up: later volume and its lung mask; use the same kernel (or normalize both).
        threshold_hu: HU of the emphysema index.

    Raises:
        InputError: all values below the threshold were cut off in one of them.
    """
    for volume, _ in (baseline, follow_up):
        floor_below(volume, threshold_hu)
    first: RegionIndices = compute_indices(*baseline, threshold_hu)[0]
    second: RegionIndices = compute_indices(*follow_up, threshold_hu)[0]
    adjusted_perc15 = volume_adjusted_perc15(second.perc15_hu, second.tlv_ml, first.tlv_ml)
    # scaling densities by r moves the voxels below T to those below (T + 1000) / r - 1000
    ratio = second.tlv_ml / first.tlv_ml
    equivalent = (threshold_hu + 1000.0) / ratio - 1000.0
    adjusted_ei = compute_indices(*follow_up, equivalent)[0].ei_percent
    perc15_fall = first.perc15_hu - adjusted_perc15
    ei_rise = second.ei_percent - first.ei_percent
    return DensityChange(
        tlv_change_ml=second.tlv_ml - first.tlv_ml,
        perc15_change_hu=second.perc15_hu - first.perc15_hu,
        perc15_adjusted_change_hu=-perc15_fall,
        ei_change_points=ei_rise,
        ei_adjusted_change_points=adjusted_ei - first.ei_percent,
        beyond_limits=perc15_fall > PERC15_ADJUSTED_LIMIT_HU or ei_rise > EI_LIMIT_POINTS,
    )
