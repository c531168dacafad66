"""Distribution of lung densities: histogram, emphysema index against threshold, and the effect of the HU floor."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.errors import InputError

CURVE_THRESHOLDS_HU = tuple(float(t) for t in range(-980, -895, 5))
# Bins of 5 HU from the lowest stored density of a chest to the border between lung and tissue.
HISTOGRAM_EDGES_HU = np.arange(-1100.0, -395.0, 5.0)


def ei_curve(lung_hu: FloatArray, thresholds_hu: tuple[float, ...] = CURVE_THRESHOLDS_HU) -> tuple[tuple[float, float], ...]:
    """Emphysema index as a function of the threshold: pairs (HU, % strictly below), thresholds as given.

    Args:
        lung_hu: float32 (n,), HU of the lung voxels.
        thresholds_hu: HU.

    Raises:
        InputError: no voxel.
    """
    _require_voxels(lung_hu)
    return tuple((float(t), 100.0 * float(np.count_nonzero(lung_hu < np.float32(t))) / lung_hu.size) for t in thresholds_hu)


def density_histogram(lung_hu: FloatArray) -> NDArray[np.float64]:
    """Share of the lung voxels (%) in each bin of :data:`HISTOGRAM_EDGES_HU`.

    Args:
        lung_hu: float32 (n,), HU; voxels outside all bins count in the total.

    Returns:
        float64 (m,), one value a bin.
    """
    _require_voxels(lung_hu)
    counts, _ = np.histogram(lung_hu, bins=HISTOGRAM_EDGES_HU)
    return 100.0 * counts / lung_hu.size


@dataclass(frozen=True)
class FloorEffect:
    """Effect of truncation at the HU floor on the densities of the lungs.

    Attributes:
        floor_hu: HU, lowest value the series stores; ``None`` without a floor.
        lung_share_percent: % of the lung voxels stored at the floor.
        emphysema_share_percent: % of the emphysema voxels stored at the floor.
        mean_bias_hu: HU by which truncation raises the mean of the lungs, estimated for normally distributed densities;
            0 without a floor.
        text: one sentence for a reader.
    """

    floor_hu: float | None
    lung_share_percent: float
    emphysema_share_percent: float
    mean_bias_hu: float
    text: str


def floor_effect(lung_hu: FloatArray, floor_hu: float | None, threshold_hu: float) -> FloorEffect:
    """Describe truncation in a lung.

    With share p at the floor f and median m, a normal distribution has the SD (m - f) / -z(p), and truncation raises
    its mean by SD (phi(z) + z p), where z is the normal quantile and phi its density.

    Args:
        lung_hu: float32 (n,), HU of the lung voxels.
        floor_hu: HU value of the floor, or ``None``.
        threshold_hu: HU of the emphysema index.
    """
    _require_voxels(lung_hu)
    at_floor = 0 if floor_hu is None else int(np.count_nonzero(lung_hu <= np.float32(floor_hu)))
    if floor_hu is None or at_floor == 0:
        return FloorEffect(None, 0.0, 0.0, 0.0, "No lung voxel is cut off by the scanner's lowest HU.")
    share = at_floor / lung_hu.size
    below = max(1, int(np.count_nonzero(lung_hu < np.float32(threshold_hu))))
    bias = _truncation_bias(share, float(np.median(lung_hu)) - floor_hu)
    of_emphysema = min(100.0, 100.0 * at_floor / below)
    text = (
        f"{100 * share:.1f} % of the lung voxels ({of_emphysema:.0f} % of those below {threshold_hu:.0f} HU) were cut off "
        f"at {floor_hu:.0f} HU. They count as emphysema in this volume; plain smoothing makes the lung too dense "
        "there, so that EI of a filtered volume tends to be too low where emphysema is severe."
    )
    return FloorEffect(floor_hu, 100.0 * share, of_emphysema, bias, text)


def _truncation_bias(share: float, median_above_floor: float) -> float:
    if not 0.0 < share < 0.5 or median_above_floor <= 0.0:
        return 0.0
    z = NormalDist().inv_cdf(share)
    sd = median_above_floor / -z
    return sd * (NormalDist().pdf(z) + z * share)


def _require_voxels(lung_hu: FloatArray) -> None:
    if lung_hu.size == 0:
        raise InputError("The lung mask is empty; there is no density to describe.")
