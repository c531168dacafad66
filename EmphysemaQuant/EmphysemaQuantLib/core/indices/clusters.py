"""Clusters of emphysema: number, sizes and size distribution (D-value)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import BoolArray, Spacing
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging.morphology import bounding_box
from KernelNormalizationLib.core.stopping import filtered

# Bounds of the size classes, mm3: a choice of this project.
SIZE_CLASS_BOUNDS_MM3 = (2.0, 8.0, 65.0, 120.0)
SIZE_CLASS_NAMES = ("< 2 mm³", "2–8 mm³", "8–65 mm³", "65–120 mm³", "> 120 mm³")
# Fewest different sizes for a fit.
MINIMUM_FIT_SIZES = 5
# Above the size that only a handful of clusters reach, the cumulative count is dominated by chance.
MINIMUM_FIT_COUNT = 3


@dataclass(frozen=True)
class PowerLaw:
    """Power law of a cumulative size distribution, Y = K X^-D.

    Attributes:
        d_value: dimensionless, exponent D > 0 (Mishima 1999, abstract: falls while emphysema clusters merge).
        fit_from: smallest cluster size of the fit (mm3 in 3D, mm2 in 2D).
        fit_to: largest cluster size of the fit.
        r_squared: share of the variance of log Y explained by the line.
        sizes: number of different sizes fitted.
    """

    d_value: float
    fit_from: float
    fit_to: float
    r_squared: float
    sizes: int


@dataclass(frozen=True)
class ClusterIndices:
    """Clusters of voxels below the threshold.

    Attributes:
        count: number of face-connected clusters.
        largest_ml: mL, volume of the largest.
        class_percent: % of the lung volume in clusters of each class of ``SIZE_CLASS_NAMES``.
        power_law: distribution of the cluster volumes, ``None`` with fewer than five different sizes to fit.
    """

    count: int
    largest_ml: float
    class_percent: tuple[float, ...]
    power_law: PowerLaw | None


def analyse_clusters(emphysema: BoolArray, lung_voxels: int, spacing: Spacing) -> ClusterIndices:
    """Cluster indices of an emphysema mask.

    Clusters are connected through voxel faces in 3D. Noise makes countless one-voxel clusters: so on raw
    sharp-kernel scans the numbers describe the noise.

    Args:
        emphysema: bool (k, j, i).
        lung_voxels: number of voxels of the lung mask (> 0).
        spacing: mm along (k, j, i).

    Raises:
        InputError: ``lung_voxels`` is not positive.
    """
    if lung_voxels <= 0:
        raise InputError(f"The lungs have {lung_voxels} voxels; cluster shares need at least one.")
    sizes = cluster_sizes(emphysema)
    voxel_mm3 = float(np.prod(spacing))
    volumes = sizes * voxel_mm3
    classes = np.searchsorted(SIZE_CLASS_BOUNDS_MM3, volumes, side="right")
    per_class = np.bincount(classes, weights=sizes, minlength=len(SIZE_CLASS_NAMES)) * 100.0 / lung_voxels
    return ClusterIndices(
        count=int(sizes.size),
        largest_ml=float(volumes.max()) / 1000.0 if sizes.size else 0.0,
        class_percent=tuple(float(p) for p in per_class),
        power_law=fit_power_law(volumes),
    )


def cluster_sizes(mask: BoolArray) -> NDArray[np.int64]:
    """Voxels of every face-connected cluster of a 3D mask, in no particular order."""
    if not mask.any():
        return np.zeros(0, dtype=np.int64)
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask[bounding_box(mask)]).astype(np.uint8))
    # the view uses the memory of the image, which must not be freed before it
    connected = filtered(sitk.ConnectedComponentImageFilter, image)
    sizes: NDArray[np.int64] = np.bincount(sitk.GetArrayViewFromImage(connected).ravel())[1:]
    return sizes


def fit_power_law(sizes: NDArray[np.floating]) -> PowerLaw | None:
    """Fit Y = K X^-D by least squares of log Y on log X, Y being the number of clusters of at least size X.

    Every different size counts once; the fit runs from the smallest size to the largest one that at least three
    clusters reach.

    Args:
        sizes: (n,) cluster sizes, any unit.
    """
    values, counts = np.unique(np.asarray(sizes, dtype=np.float64), return_counts=True)
    reaching = np.cumsum(counts[::-1])[::-1]
    used = reaching >= MINIMUM_FIT_COUNT
    if np.count_nonzero(used) < MINIMUM_FIT_SIZES:
        return None
    x, y = np.log(values[used]), np.log(reaching[used])
    slope, intercept = np.polyfit(x, y, 1)
    residual = y - (slope * x + intercept)
    spread = float(((y - y.mean()) ** 2).sum())
    return PowerLaw(
        d_value=float(-slope),
        fit_from=float(values[used][0]),
        fit_to=float(values[used][-1]),
        r_squared=1.0 - float((residual**2).sum()) / spread if spread > 0.0 else 0.0,
        sizes=int(np.count_nonzero(used)),
    )
