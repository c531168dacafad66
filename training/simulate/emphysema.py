"""Emphysema: clusters of low attenuation whose sizes follow a power law, as many as the target index requires."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from KernelNormalizationLib.core.arrays import FloatArray, LabelArray

from .paint import paint_holes
from .sampling import Grid

Pattern = Literal["centrilobular", "panlobular", "paraseptal"]
Dominance = Literal["upper", "lower", "even"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
DOMINANCES: tuple[Dominance, ...] = get_args(Dominance)

# The number Y of clusters larger than X follows Y = K X^-D (Mishima, PNAS 1999). For areas D is about 0.9 in severe and 1.8 in
# mild disease; for radii the exponent is 2 D.
AREA_EXPONENT = (0.9, 1.7)
RADIUS_RANGE = {"centrilobular": (0.9, 7.0), "panlobular": (2.5, 16.0), "paraseptal": (1.5, 11.0)}
# Share of tissue that is missing in the middle of a hole: centrilobular and paraseptal holes are nearly empty, panlobular loss
# is partial.
DEPTH_RANGE = {"centrilobular": (0.6, 0.98), "panlobular": (0.45, 0.9), "paraseptal": (0.8, 0.99)}
LOBULE_MM = 12.0
LARGEST_COUNT = 60_000
# Largest target index, %.
LARGEST_INDEX = 40.0


@dataclass(frozen=True)
class EmphysemaPlan:
    """Pattern and extent of a patient's emphysema; the extent is given as a target index."""

    pattern: Pattern
    dominance: Dominance
    target_index: float


@dataclass(frozen=True)
class Holes:
    """Balls of missing tissue in the order in which they are used; arrays of one length, see :func:`paint_holes`."""

    centres: FloatArray
    radii: FloatArray
    depths: FloatArray
    soft: FloatArray

    def first(self, count: int) -> Holes:
        """The first ``count``."""
        return Holes(self.centres[:count], self.radii[:count], self.depths[:count], self.soft[:count])

    def paint(self, grid: Grid, warp: FloatArray) -> FloatArray:
        """Fraction of tissue missing: float32 (k, rows, columns)."""
        return paint_holes(grid, warp, self.centres, self.radii, self.depths, self.soft)


def draw_holes(plan: EmphysemaPlan, lung: LabelArray, grid: Grid, rng: np.random.Generator) -> Holes:
    """Draw candidate holes in and around a slab; the first few make mild disease, all of them very severe disease.

    Args:
        plan: pattern, and whether the upper or the lower lung has more disease.
        lung: uint8 (k, rows, columns) labels on ``grid``.
        grid: grid of the labels.
        rng: random generator.
    """
    low, high = RADIUS_RANGE[plan.pattern]
    power = 2.0 * float(rng.uniform(*AREA_EXPONENT))
    mask = lung[len(grid.z) // 2, ::4, ::4] > 0
    area = float(mask.sum()) * (4 * grid.pixel) ** 2
    if area == 0.0:
        return Holes(*(np.zeros((0, 3), np.float32), *(np.zeros(0, np.float32),) * 3))
    # Radii follow a bounded Pareto distribution; there are enough of them to cover the slab about twice.
    cut = 1.0 - (low / high) ** power
    sample = low * (1.0 - rng.random(4000) * cut) ** (-1.0 / power)
    thickness = grid.z[-1] - grid.z[0] + 2.0 * high
    count = int(min(LARGEST_COUNT, 2.5 * area * thickness / float(np.mean(4.19 * sample**3))))
    radii = low * (1.0 - rng.random(count) * cut) ** (-1.0 / power)
    centres = _centres(plan, mask, grid, count, thickness, rng)
    depths = rng.uniform(*DEPTH_RANGE[plan.pattern], size=count)
    softness = rng.uniform(0.6, 1.6, size=count) if plan.pattern != "panlobular" else rng.uniform(2.0, 6.0, size=count)
    return Holes(*(a.astype(np.float32) for a in (centres, radii, depths, softness)))


def _centres(
    plan: EmphysemaPlan, mask: NDArray[np.bool_], grid: Grid, count: int, thickness: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    y, x = (a[::4] for a in grid.axes())
    depth = ndimage.distance_transform_edt(mask) * 4 * grid.pixel
    weight = mask.astype(np.float64)
    if plan.pattern == "paraseptal":
        weight *= np.exp(-((depth / 5.0) ** 2))
    else:
        # Disease is patchy: smooth regions a few centimetres wide hold most of it.
        patch = ndimage.gaussian_filter(rng.standard_normal(mask.shape), 18.0 / (4 * grid.pixel))
        weight *= np.exp(1.2 * patch / max(float(patch.std()), 1e-9))
    flat = np.cumsum(weight.ravel())
    picked = np.searchsorted(flat, rng.random(count) * flat[-1])
    j, i = np.unravel_index(np.minimum(picked, mask.size - 1), mask.shape)
    z = 0.5 * (grid.z[0] + grid.z[-1]) + (rng.random(count) - 0.5) * thickness
    jitter = rng.uniform(-2.0, 2.0, (count, 2)) * grid.pixel
    centres = np.stack([z, y[j] + jitter[:, 0], x[i] + jitter[:, 1]], axis=1)
    if plan.pattern == "centrilobular":
        # Holes lie near the middle of secondary lobules.
        lobule = (np.floor(centres / LOBULE_MM) + 0.5) * LOBULE_MM
        shift = 2.5 * np.sin(lobule[:, [1, 2, 0]] * 1.7 + 0.3)
        near = rng.random(count) < 0.7
        centres[near] = lobule[near] + shift[near] + 2.2 * rng.standard_normal((int(near.sum()), 3))
    return centres


def index_at(position: float, plan: EmphysemaPlan) -> float:
    """Target index at a relative height (0 base, 1 apex); it falls to a third towards the end with less disease."""
    if plan.dominance == "even":
        return plan.target_index
    toward = position if plan.dominance == "upper" else 1.0 - position
    return min(LARGEST_INDEX, plan.target_index * (0.5 + toward))


def dig(hu: FloatArray, lung: LabelArray, missing: FloatArray) -> FloatArray:
    """Remove tissue from the lung parenchyma; vessels and bronchial walls stay.

    Args:
        hu: float32 (k, rows, columns), HU.
        lung: uint8 labels of the same shape.
        missing: float32 of the same shape, 0 to 1.

    Returns:
        float32, a new array, HU.
    """
    parenchyma = np.clip((-650.0 - hu) / 100.0, 0.0, 1.0) * (lung > 0)
    dug: FloatArray = hu - missing * parenchyma * np.maximum(hu + np.float32(1000.0), 0.0)
    return dug


def calibrate(index_of: Callable[[int], float], largest: int, target: float, steps: int = 9) -> int:
    """Number of holes whose measured index is closest to ``target`` (%), found by bisection on a geometric scale.

    Args:
        index_of: gives the measured index (%) after reconstruction for a number of holes; it must increase with that number.
        largest: number of candidates.
        target: target index, %.
        steps: number of bisections.
    """
    if largest == 0 or index_of(0) >= target:
        return 0
    low, high = 0.0, float(np.log1p(largest))
    for _ in range(steps):
        middle = 0.5 * (low + high)
        if index_of(int(np.expm1(middle))) < target:
            low = middle
        else:
            high = middle
    return int(np.expm1(0.5 * (low + high)))
