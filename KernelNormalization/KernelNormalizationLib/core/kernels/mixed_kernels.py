"""Slices of different kernels in one series whose header does not tell: sharpness and strength of the noise change together.

A sharper kernel passes more noise, and most of it is fine. Dose, thickness and the body change the strength of the noise and
hardly its colour; anatomy changes the colour a little and hardly the strength. Interpolation between slices leaves the colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray
from ..imaging.fine_noise import fine_noise
from .radial_filter import in_threads

# Side of the blocks that tell what is soft tissue, pixels, and least number of 2 x 2 pixels of it, for fine noise and for
# that of half the resolution. Smaller images hold none.
BLOCK_PIXELS, LEAST_FINE, LEAST_COARSE, SMALLEST_SIDE = 4, 200, 50, 16
# Variance (HU^2) that is added to both, so that images without noise have no colour; smooth chests have 3 to 12 HU.
NO_NOISE_HU2 = 2.0**2
# So many slices of a long series are looked at: every third, fifth and so on, which meets both kinds where they alternate.
LOOKED_AT = 128
# Change between neighbouring slices of the logarithm of the fine noise's variance and of its ratio to the coarser noise's. The
# smaller of the two, each relative to its limit, was 0.1 to 0.4 in real and simulated chests of one kernel (0.8 in a head),
# 1.9 and more where Philips L and B were mixed, and 1.5 where half of a B70f was blurred with 0.7 pixels.
LEVEL_STEP, COLOUR_STEP = 1.2, 0.6
# From so many times the limits on, with so many slices of either kind, there is no doubt.
CERTAIN, CERTAIN_SLICES = 1.5, 3


@dataclass(frozen=True)
class Mixture:
    """Two kinds of slices in one series.

    Attributes:
        sharper: numbers of the slices (from 0) with the finer noise; slices without soft tissue are in neither.
        smoother: of the others.
        before: the slice before the largest change.
        after: the next one that was looked at.
        noise_hu: standard deviation of the fine noise of the sharper and of the smoother ones, HU.
        size: of the change, relative to the least that counts.
    """

    sharper: tuple[int, ...]
    smoother: tuple[int, ...]
    before: int
    after: int
    noise_hu: tuple[float, float]
    size: float

    @property
    def is_certain(self) -> bool:
        """Whether no scan of one kernel looks like this."""
        return self.size >= CERTAIN and min(len(self.sharper), len(self.smoother)) >= CERTAIN_SLICES


def find_mixture(hu: FloatArray) -> Mixture | None:
    """Whether slices of different kernels are mixed; ``None`` if not, or if it does not show.

    Args:
        hu: (k, j, i), HU, in the plane of reconstruction, padding as air.
    """
    if min(hu.shape[1:]) < SMALLEST_SIDE:
        return None
    looked_at = np.arange(0, len(hu), 1 + 2 * (len(hu) // (2 * LOOKED_AT)))
    found = np.array(list(in_threads(_level_and_colour, (hu[k] for k in looked_at))))
    there = np.isfinite(found).all(axis=1)
    if np.count_nonzero(there) < 2:
        return None
    seen, (level, colour) = looked_at[there], found[there].T
    by_level, by_colour = np.diff(level), np.diff(colour)
    size = np.where(by_level * by_colour > 0.0, np.minimum(np.abs(by_level) / LEVEL_STEP, np.abs(by_colour) / COLOUR_STEP), 0.0)
    n = int(np.argmax(size))
    if size[n] < 1.0:
        return None
    is_sharper = colour > colour[n : n + 2].mean()
    sharper, smoother = (tuple(int(k) for k in seen[which]) for which in (is_sharper, ~is_sharper))
    noise_hu = _noise_hu(level[is_sharper]), _noise_hu(level[~is_sharper])
    return Mixture(sharper, smoother, int(seen[n]), int(seen[n + 1]), noise_hu, float(size[n]))


def _noise_hu(level: NDArray[np.float64]) -> float:
    return float(np.sqrt(max(np.exp(np.median(level)) - NO_NOISE_HU2, 0.0)))


def _level_and_colour(image: FloatArray) -> NDArray[np.float64]:
    """Logarithms of the fine noise's variance (HU^2) and of its ratio to that of half the resolution; NaN without tissue."""
    fine = _variance(image, LEAST_FINE)
    rows, columns = (n - n % 2 for n in image.shape)
    halved = image[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3), dtype=np.float32)
    coarse = _variance(halved, LEAST_COARSE)
    return np.array([np.log(fine), np.log(fine / coarse)])


def _variance(image: FloatArray, least: int) -> float:
    noise, tissue = fine_noise(image, BLOCK_PIXELS)
    if np.count_nonzero(tissue) < least:
        return np.nan
    return float(np.mean(noise[tissue] ** 2)) + NO_NOISE_HU2
