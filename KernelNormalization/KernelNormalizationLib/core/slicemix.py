"""Slices that were interpolated between two others after truncation, as when a series of 0.7 mm is resampled to 1 mm.

Such a voxel is w a + (1 - w) b of two voxels truncated before. It lies at the floor only if both were, so that its noise
looks weaker and less truncated than it was, and half of the truncation's bias would be overlooked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .floor import HUFloor
from .normal import Curve, Values, both_below, density, distribution, inverse_mills
from .truncation.local_means import LocalMeans
from .volume import BoolArray, FloatArray

# Noise of neighbouring thin slices of a spiral reconstruction shares data; measured correlation 0.24 (SLICE_CORRELATION of
# training.simulate.noise).
CORRELATION = 0.24
# On 12 simulated B80f patients apart from all reported ones, the share of voxels at the floor that local mean and noise
# predict was 0.82 to 0.90 of that found in slices as reconstructed, and 1.16 to 1.53 of it in interpolated ones (on a clipped
# Philips series, where noise varies more, 0.35 to 0.50). With the true weight it is 0.82 to 0.86 of it in interpolated ones.
SUSPICIOUS, TYPICAL = 1.03, 0.86
# Weights nearer to 1 cannot be told from none, and hardly differ from it.
WEIGHTS = np.linspace(0.5, 0.96, 24)
# Where the truncated share is told from: the region fills this share of the Gaussian, and neither none nor all is truncated.
NEEDED_SHARE, TOLD_FROM, NEEDED_POINTS = 0.3, (0.03, 0.6), 200
NOISE_SIGMA = 8.0
# Values so many standard deviations above the floor hold no truncated part any more.
REACH = 5.0
# A truncated voxel lies at most this many standard deviations below the floor.
DEEPEST = 4.0


@dataclass(frozen=True)
class SliceMix:
    """How a slice was made of two.

    Attributes:
        weight: of the nearer slice, 0.5 to 1; 1 for a slice as it was reconstructed.
    """

    weight: float = 1.0

    @property
    def noise(self) -> float:
        """Standard deviation of the mixture's noise in units of that of the slices it was made of."""
        return _noise(self.weight)


def _noise(weight: float) -> float:
    other = 1.0 - weight
    return math.sqrt(weight**2 + other**2 + 2.0 * CORRELATION * weight * other)


def find_mix(local: LocalMeans, truncated: BoolArray, height: Callable[[float], Curve]) -> SliceMix:
    """Weight with which a slice was interpolated, from how often voxels lie at the floor.

    Args:
        local: the region (lung and air) of the slice.
        truncated: (rows, columns), voxels at a clipped floor.
        height: mean above the floor in units of the slices' noise, on the coarse grid, if the mixture's noise were that share
            of theirs.
    """
    found = local.mean(truncated.astype(np.float32), NOISE_SIGMA)
    told = (local.share(NOISE_SIGMA) > NEEDED_SHARE) & (found > TOLD_FROM[0]) & (found < TOLD_FROM[1])
    if np.count_nonzero(told) < NEEDED_POINTS:
        return SliceMix()
    total = float(found[told].sum())
    if float(distribution(-height(1.0)[told]).sum()) < SUSPICIOUS * total:
        return SliceMix()
    predicted = [float(both_below(-height(_noise(w))[told], CORRELATION).sum()) for w in WEIGHTS]
    return SliceMix(float(WEIGHTS[np.argmin(np.abs(np.array(predicted) / total - TYPICAL))]))


def expect_mixed(image: FloatArray, mean: FloatArray, sigma: FloatArray, region: BoolArray, floor: HUFloor, mix: SliceMix,
                 expected: FloatArray, variance: FloatArray) -> None:  # fmt: skip
    """Put the expectation (HU) and variance of the mixture before its floor, given what was stored, into a region's voxels.

    Args:
        image: (rows, columns), HU, as stored.
        mean, sigma: the same shape: mean (HU) and noise of the two slices.
        region: where to.
        floor: a clipped one.
        mix: how the slice was made.
        expected, variance: changed in place.
    """
    both = region & (image <= floor.threshold)
    a = (floor.value - mean[both]) / sigma[both]
    expected[both] = floor.value + np.clip(_mean_of_both(a) - a, -DEEPEST, 0.0) * sigma[both]
    mills = inverse_mills(a)
    variance[both] = (sigma[both] * mix.noise) ** 2 * np.clip(1.0 - a * mills - mills**2, 0.0, 1.0)
    one = region & ~both & (image < floor.value + REACH * sigma)
    a = (floor.value - mean[one]) / sigma[one]
    shift, squared = _one_truncated(a, (image[one] - floor.value) / sigma[one], mix.weight)
    expected[one] = image[one] + sigma[one] * shift
    variance[one] = sigma[one] ** 2 * (squared - shift**2)


def _mean_of_both(a: Values) -> Curve:
    """Mean of two correlated unit normals that are both below ``a``."""
    spread = math.sqrt((1.0 - CORRELATION) / (1.0 + CORRELATION))
    a = np.maximum(a, -6.0)
    mean: Curve = -(1.0 + CORRELATION) * density(a) * distribution(a * spread) / both_below(a, CORRELATION)
    return mean


def _one_truncated(a: Values, d: Values, weight: float) -> tuple[Curve, Curve]:
    """Mean and mean square of what truncation took from mixtures that lie ``d`` above the floor.

    Args:
        a: floor, and ``d`` distance from it, in standard deviations of the slices; floor relative to their mean.
        d: see ``a``.
        weight: of the nearer slice.
    """
    near, near_shift, near_square = _other_truncated(a, d, weight)
    far, far_shift, far_square = _other_truncated(a, d, 1.0 - weight)
    noise = _noise(weight)
    # Neither truncated: given their mixture, the nearer slice is normal, between its floor and where the other meets its own.
    slope = (weight + (1.0 - weight) * CORRELATION) / noise
    middle, rest = slope * (a + d) / noise, math.sqrt(1.0 - slope**2)
    inside = distribution((a + d / weight - middle) / rest) - distribution((a - middle) / rest)
    neither = density((a + d) / noise) / noise * np.maximum(inside, 0.0)
    total = np.maximum(near + far + neither, 1e-12)
    shift = np.minimum((near * near_shift + far * far_shift) / total, 0.0)
    square = (near * near_square + far * far_square) / total
    return shift, square


def _other_truncated(a: Values, d: Values, weight: float) -> tuple[Curve, Curve, Curve]:
    """Density, mean shift and mean square of it if the slice of ``weight`` was not truncated, and the other was."""
    known = a + d / weight
    rest = math.sqrt(1.0 - CORRELATION**2)
    limit = (a - CORRELATION * known) / rest
    mills = inverse_mills(limit)
    shift = (1.0 - weight) * (CORRELATION * known - rest * mills - a)
    spread = ((1.0 - weight) * rest) ** 2 * np.clip(1.0 - limit * mills - mills**2, 0.0, 1.0)
    return density(known) / weight * distribution(limit), shift, shift**2 + spread
