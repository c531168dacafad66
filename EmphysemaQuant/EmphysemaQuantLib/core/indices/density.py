"""Emphysema and density indices of a lung region, each with its unit, definition and source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.truncation.hu_floor import HUFloor, detect_floor
from KernelNormalizationLib.core.volume import CTVolume

from ..lungs.segmentation import LungMask
from .emphysema_mask import EMPHYSEMA_THRESHOLD_HU
from .regions import Partition, lobes, sides


@dataclass(frozen=True)
class RegionIndices:
    """Indices of one region of one volume.

    Attributes:
        region: "whole", "right", "left", a lobe, a third, "core" or "rind".
        threshold_hu: HU, the emphysema threshold that ``ei_percent`` and ``ev_ml`` use.
        voxels: number of voxels in the region.
        tlv_ml: mL, volume of the region's mask (for "whole" the total lung volume).
        ev_ml: mL, emphysema volume: voxels strictly below the threshold.
        ei_percent: %, emphysema index 100 x EV / TLV; LAA-950 at the default threshold (Gevenois 1995).
        laa910_percent: %, share below -910 HU at inspiration (a voxel index of Parr, Respir Res 9:21, abstract).
        laa856_percent: %, share below -856 HU; gas trapping, meaningful on *expiration* only (Schroeder 2013,
            there ≤ -856 HU).
        perc15_hu: HU below which 15 % of the region's voxels lie, linear between order statistics (a
            measure of progression in Parr 2006, Thorax 61:485, abstract).
        mld_hu: HU, mean lung density.
        sd_hu: HU, standard deviation over voxels (population, divisor n).
        skewness: dimensionless, third standardized moment m3 / m2^1.5; 0 when the region has one value only.
        kurtosis: dimensionless, *excess* kurtosis m4 / m2^2 - 3 (0 for a normal distribution).
        mass_g: g, tissue and blood: volume x (MLD + 1000) / 1000, 0 HU taken as 1 g/mL and -1000 HU as
            gas (doi 10.1186/cc12738, introduction).
        floor_percent: %, share of voxels stored at the HU floor of the series (0 when it has none); they were cut off
            by the scanner, so mean and smoothed densities are biased upwards where it is high.
    """

    region: str
    threshold_hu: float
    voxels: int
    tlv_ml: float
    ev_ml: float
    ei_percent: float
    laa910_percent: float
    laa856_percent: float
    perc15_hu: float
    mld_hu: float
    sd_hu: float
    skewness: float
    kurtosis: float
    mass_g: float
    floor_percent: float


def compute_indices(volume: CTVolume, lung_mask: LungMask, threshold_hu: float = EMPHYSEMA_THRESHOLD_HU) -> list[RegionIndices]:
    """Indices of whole, right and left lung (in this order), then of the lobes if the mask has them.

    A side that is absent (pneumonectomy) has no row.

    Args:
        volume: CT in HU.
        lung_mask: mask of the same shape.
        threshold_hu: HU of the emphysema index.

    Raises:
        InputError: the shapes differ or the mask is empty.
    """
    require_mask_of(volume, lung_mask)
    return partition_indices(volume, [sides(lung_mask), lobes(lung_mask)], threshold_hu, with_whole=True)


def floor_below(volume: CTVolume, threshold_hu: float) -> HUFloor:
    """The volume's HU floor, which must lie below the threshold of the emphysema index (HU).

    Raises:
        InputError: all values below the threshold were cut off, so that the index would be 0 whatever the lungs are.
    """
    floor = detect_floor(volume.hu, volume.padding_mask)
    # below the usual threshold the lowest value may be that of a phantom without noise, in which nothing was cut off
    if floor.cut_off_all_below(threshold_hu) and (floor.noisy or threshold_hu >= EMPHYSEMA_THRESHOLD_HU):
        raise InputError(
            f"“{volume.name}” holds no values below {floor.value:g} HU: something cut them off there, such as a display window "
            f"that was stored. The share of lung below {threshold_hu:g} HU cannot be measured in it; load the scan as the "
            "scanner stored it, or give a threshold above that value."
        )
    return floor


def require_mask_of(volume: CTVolume, lung_mask: LungMask) -> None:
    """Raise :class:`InputError` unless the mask has the volume's shape and at least one voxel."""
    if volume.shape != lung_mask.labels.shape:
        raise InputError(
            f"The volume has shape {volume.shape}, the lung mask {lung_mask.labels.shape}; make the mask on this volume."
        )
    if not lung_mask.labels.any():
        raise InputError("The lung mask is empty; an emphysema index of nothing would be meaningless.")


def partition_indices(
    volume: CTVolume,
    partitions: Sequence[Partition | None],
    threshold_hu: float = EMPHYSEMA_THRESHOLD_HU,
    with_whole: bool = False,
) -> list[RegionIndices]:
    """Indices of every region that has voxels, partition by partition, in the order of the labels.

    Args:
        volume: CT in HU.
        partitions: divisions of the same lungs, same shape as the volume; ``None`` is skipped.
        threshold_hu: HU of the emphysema index.
        with_whole: whether all regions of the first partition together come first, as "whole".
    """
    floor = detect_floor(volume.hu, volume.padding_mask)
    floor_hu = None if floor.kind == "none" else floor.value
    found: dict[str, FloatArray] = {}
    for partition in partitions:
        if partition is None:
            continue
        # regions are picked from the lungs' voxels alone, a third or less of the volume
        inside = partition.labels > 0
        hu, labels = volume.hu[inside], partition.labels[inside]
        if with_whole and not found:
            found["whole"] = hu
        found |= {name: hu[labels == label] for label, name in partition.names.items()}
    voxel_ml = volume.geometry.voxel_volume_ml
    return [region_indices(name, hu, voxel_ml, threshold_hu, floor_hu) for name, hu in found.items() if hu.size]


def region_indices(
    region: str,
    hu: FloatArray,
    voxel_ml: float,
    threshold_hu: float = EMPHYSEMA_THRESHOLD_HU,
    floor_hu: float | None = None,
) -> RegionIndices:
    """Indices of the voxels of one region.

    Args:
        region: its name.
        hu: float32 (n,), HU of its voxels, n >= 1.
        voxel_ml: volume of a voxel, mL.
        threshold_hu: HU of the emphysema index.
        floor_hu: HU at which the series is cut off, or ``None``.

    Raises:
        InputError: the region has no voxel.
    """
    if hu.size == 0:
        raise InputError(f"The region “{region}” has no voxel; leave it out.")
    below = _percent_below(hu, threshold_hu)
    mean, sd, skewness, kurtosis = _moments(hu)
    volume_ml = hu.size * voxel_ml
    at_floor = 0 if floor_hu is None else int(np.count_nonzero(hu <= np.float32(floor_hu)))
    return RegionIndices(
        region=region,
        threshold_hu=float(threshold_hu),
        voxels=int(hu.size),
        tlv_ml=volume_ml,
        ev_ml=below / 100.0 * volume_ml,
        ei_percent=below,
        laa910_percent=_percent_below(hu, -910.0),
        laa856_percent=_percent_below(hu, -856.0),
        perc15_hu=float(np.percentile(hu, 15.0)),
        mld_hu=mean,
        sd_hu=sd,
        skewness=skewness,
        kurtosis=kurtosis,
        mass_g=volume_ml * (mean + 1000.0) / 1000.0,
        floor_percent=100.0 * at_floor / hu.size,
    )


def _percent_below(hu: FloatArray, threshold: float) -> float:
    return 100.0 * float(np.count_nonzero(hu < np.float32(threshold))) / hu.size


def _moments(hu: FloatArray) -> tuple[float, float, float, float]:
    """Mean, standard deviation, skewness and excess kurtosis; in blocks, so that no float64 copy of all is made."""
    mean = float(np.mean(hu, dtype=np.float64))
    sums = np.zeros(3)
    for start in range(0, hu.size, 1 << 20):
        deviation = hu[start : start + (1 << 20)].astype(np.float64) - mean
        square = deviation * deviation
        sums += (square.sum(), (square * deviation).sum(), (square * square).sum())
    m2, m3, m4 = (float(s) / hu.size for s in sums)
    if m2 <= 0.0:
        return mean, 0.0, 0.0, 0.0
    return mean, math.sqrt(m2), m3 / m2**1.5, m4 / m2**2 - 3.0
