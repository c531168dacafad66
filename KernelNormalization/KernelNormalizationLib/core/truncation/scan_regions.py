"""Finds homogeneous regions of a slice (soft tissue, lungs, air around the body), and cuts out the lungs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..arrays import BoolArray, FloatArray
from ..kernels.radial_filter import Gain, in_threads
from .interpolated_slices import AS_RECONSTRUCTED, Interpolated
from .lung_texture import interpolated_lungs
from .model import Truncation
from .ray_noise import noise_by_rays
from .restoration import BASE, NOISE_BAND, LocalState, Restorer

# SD of all removed noise over that of its high band, of real B70f and B50f tissue (1.2 to 1.3), where none can be measured.
TYPICAL_NOISE_SHARE = 1.25
TISSUE_HU, FLAT_HU, MINIMUM_TISSUE = (0.0, 80.0), 12.0, 500
BODY_HU, LUNG_HU = -300.0, -500.0
# The stronger the truncated noise, the denser air around the body is stored: -975 HU in most scans, up to -850 HU where
# several images of severe noise were averaged. Its local means then lie from 25 HU below to 25 HU above their most frequent
# value (24 simulated scanners); the foam of the table lies 45 HU and more above it. No air was seen stored above -830 HU.
AIR_LIMIT_HU, AIR_WIDTH_HU, DENSEST_AIR_HU = -930.0, 25.0, -830.0
AIR_BIN_HU, AIR_PEAK_SHARE = 10.0, 0.3
# Blurred skin reaches this far into the air around it.
BODY_MARGIN_PIXELS = 3
SLICES, MARGIN_PIXELS = 4, 24


@dataclass(frozen=True)
class Sample:
    """A slice cropped to its lungs; regions in it; the noise (HU) expected from the rays, (rows, columns); how it was made."""

    image: FloatArray
    lungs: BoolArray
    restorer: Restorer
    start: LocalState
    expected: FloatArray | None = None
    how: Interpolated = AS_RECONSTRUCTED

    def lungs_before(self, lungs: Truncation, apart: float) -> tuple[Truncation, float]:
        """The slice's truncation from that of slices before an interpolation, and the factor on its noise."""
        return interpolated_lungs(lungs, apart, self.how)


@dataclass(frozen=True)
class Regions:
    """A slice and what is homogeneous in it, (rows, columns)."""

    image: FloatArray
    removed: FloatArray
    band: FloatArray
    tissue: BoolArray
    lungs: BoolArray
    outside: BoolArray
    how: Interpolated = AS_RECONSTRUCTED

    @classmethod
    def of(cls, image: FloatArray, restorer: Restorer, how: Interpolated = AS_RECONSTRUCTED) -> Regions:
        base, band = restorer.filters(image, BASE, NOISE_BAND)
        narrow, wide = ndimage.gaussian_filter(base, 3.0), ndimage.gaussian_filter(base, 6.0)
        low, high = TISSUE_HU
        tissue = (narrow > low) & (narrow < high) & (np.abs(narrow - wide) < FLAT_HU)
        smooth = ndimage.gaussian_filter(base, 2.0)
        body = ndimage.binary_fill_holes(smooth > BODY_HU)
        lungs = ndimage.binary_erosion(body & (smooth < LUNG_HU), iterations=4)
        near = ndimage.binary_dilation(body, iterations=15)
        around = ~near & _circle(image.shape)
        outside = ndimage.binary_erosion((narrow < air_limit(narrow[around])) & around, iterations=4)
        return cls(image, image - base, band, tissue, lungs, outside, how)


def air_limit(around: FloatArray) -> float:
    """HU below which local means around the body are those of air: above their lowest peak, which is that of air.

    Args:
        around: local means outside the body, HU, (n,).
    """
    counts, edges = np.histogram(around, np.arange(-1060.0, DENSEST_AIR_HU + AIR_BIN_HU, AIR_BIN_HU))
    if not counts.any():
        return AIR_LIMIT_HU
    start = int(np.argmax(counts >= AIR_PEAK_SHARE * counts.max()))
    peak = start + int(np.argmax(counts[start : start + 3]))
    return float(max(AIR_LIMIT_HU, edges[peak] + 0.5 * AIR_BIN_HU + AIR_WIDTH_HU))


def outer_air(image: FloatArray) -> BoolArray:
    """Air around the body in a slice (rows, columns), HU, whose body closes round the lungs."""
    body = ndimage.binary_fill_holes(ndimage.gaussian_filter(image, 2.0) > BODY_HU)
    outside: BoolArray = ~ndimage.binary_dilation(body, iterations=BODY_MARGIN_PIXELS)
    return outside


def cut_to_lungs(regions: Sequence[Regions], pixel_mm: tuple[float, float], gain: Gain) -> list[Sample]:
    """The lungs' rectangles, with a margin, of the slices that show lung."""
    seen = [r for r in regions if r.lungs.any()]
    rays = list(in_threads(lambda r: noise_by_rays(r.image - r.removed, pixel_mm), seen))
    tissue = sum(int(np.count_nonzero(r.tissue)) for r in seen)
    told = sum(float(np.sum(r.removed[r.tissue] ** 2)) for r in seen)
    power = sum(float(np.sum((r.how.noise_ratio * ray[r.tissue]) ** 2)) for r, ray in zip(seen, rays, strict=True))
    scale = np.float32(np.sqrt(told / power)) if tissue >= MINIMUM_TISSUE else None
    samples = []
    for r, ray in zip(seen, rays, strict=True):
        spans = [np.flatnonzero(r.lungs.any(axis=axis)) for axis in (1, 0)]
        box = tuple(slice(max(0, s[0] - MARGIN_PIXELS), s[-1] + 1 + MARGIN_PIXELS) for s in spans)
        image = np.ascontiguousarray(r.image[box])
        restorer = Restorer((image.shape[0], image.shape[1]), pixel_mm, gain)
        expected = None if scale is None else scale * np.float32(r.how.noise_ratio) * ray[box]
        samples.append(Sample(image, r.lungs[box], restorer, restorer.start(image), expected, r.how))
    return samples


def fullest(regions: Sequence[Regions]) -> list[Regions]:
    """The slices that show most lung."""
    return sorted(regions, key=lambda r: -int(np.count_nonzero(r.lungs)))[:SLICES]


def noise_share(regions: Sequence[Regions]) -> float:
    removed = np.concatenate([r.removed[r.tissue] for r in regions])
    band = np.concatenate([r.band[r.tissue] for r in regions])
    power = float(np.mean(band**2)) if removed.size >= MINIMUM_TISSUE else 0.0
    return float(np.sqrt(np.mean(removed**2) / power)) if power > 0.0 else TYPICAL_NOISE_SHARE


def _circle(shape: tuple[int, int]) -> BoolArray:
    """Inside the circle that reconstructions fill, (rows, columns)."""
    rows, columns = (np.arange(n) - 0.5 * (n - 1) for n in shape)
    return np.asarray(np.hypot(rows[:, None] / shape[0], columns[None, :] / shape[1]) < 0.47)


def evenly(count: int, wanted: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.intp)) if count else np.zeros(0, np.intp)
