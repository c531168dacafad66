"""How much of each frequency band the lungs of a scan hold, and the gain that gives them those of B20f."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import BoolArray, FloatArray
from ..imaging.body import BodyRegion
from ..imaging.filters import smoothed
from ..volume import CTVolume
from .radial_filter import Gain

SIGMAS = (1.0, 2.0, 4.0, 8.0, 16.0)
TOLERANCE = 0.05
MAXIMUM_PASSES = 6
# Energies are read from at most this many slices, evenly spread; the factors then hold for all.
MEASURED_SLICES = 16
# Bands from this index on are not scaled; energies are relative to the first of them.
ANCHOR = 3
# Mean over 118 simulated B20f patients of the diverse preset (SD 0.57, 0.41, 0.20), against the sharp scan's anchor band:
# python -m training.band_energies
REFERENCE_RATIOS = (1.34, 1.33, 1.34, 1.0, 1.0)
# No kernel takes more of a band than this (largest of 40 simulated B50f to B80f patients: 8.6, 2.4 and 1.34 times); lungs with
# hardly any texture would otherwise be blurred without end by what leaks in from their borders.
SMALLEST_FACTORS = (0.11, 0.4, 0.7, 1.0, 1.0)
Factors = NDArray[np.float64]


def find_band_gain(volume: CTVolume, region: BodyRegion) -> tuple[Gain, dict[str, Any]]:
    """The radial filter that brings the lungs' band energies to those of B20f.

    Scaling bands made of Gaussians is itself a radial filter; one that does not depend on place.

    Args:
        volume: the scan.
        region: its body with lungs.

    Returns:
        Gain against in-plane frequency (lp/cm), and energies before and after (HU), factors and passes.
    """
    passes, before, after = _find_passes(volume.filled(), region.lungs)
    pixel_mm = float(np.mean(volume.geometry.spacing[1:]))
    record = {
        "band_sigmas_pixels": list(SIGMAS),
        "band_energies_hu": [round(float(e), 3) for e in before],
        "band_energies_after_hu": [round(float(e), 3) for e in after],
        "band_factors": [round(float(f), 4) for f in np.prod(passes, axis=0)] if passes else [1.0] * len(SIGMAS),
        "passes": len(passes),
    }
    return lambda frequency: band_gain(passes, frequency, pixel_mm), record


def band_gain(passes: list[Factors], frequency: NDArray[np.float64], pixel_mm: float) -> NDArray[np.float64]:
    """Gain at ``frequency`` (lp/cm) of scaling the bands by each of ``passes`` in turn, at a pixel of ``pixel_mm``."""
    cycles = np.asarray(frequency) * pixel_mm / 10.0
    blurs = [np.ones_like(cycles), *(np.exp(-2.0 * (np.pi * sigma * cycles) ** 2) for sigma in SIGMAS)]
    gain = np.ones_like(cycles)
    for factors in passes:
        differences = (finer - coarser for finer, coarser in pairwise(blurs))
        gain = gain * (1.0 + sum((f - 1.0) * band for f, band in zip(factors, differences, strict=True)))
    return gain


def band_energies(hu: FloatArray, lungs: BoolArray) -> NDArray[np.float64]:
    """Standard deviation (HU) of each band of ``hu`` (k, j, i) inside ``lungs`` (k, j, i), finest band first."""
    alone = np.where(lungs, hu, np.float32(hu[lungs].mean()))
    return np.array([float(band[lungs].std()) for band in _bands(alone)])


def _find_passes(hu: FloatArray, lungs: BoolArray) -> tuple[list[Factors], Factors, Factors]:
    with_lung = np.flatnonzero(lungs.any(axis=(1, 2)))
    chosen = with_lung[:: max(1, -(-len(with_lung) // MEASURED_SLICES))]
    sample, inside = hu[chosen], lungs[chosen]
    before = energies = band_energies(sample, inside)
    reference = np.asarray(REFERENCE_RATIOS) * before[ANCHOR]
    passes: list[Factors] = []
    total = np.ones(len(SIGMAS))
    while len(passes) < MAXIMUM_PASSES:
        # Bands overlap, so a later pass may give back what an earlier one took from a neighbour, but never more.
        wanted = np.clip(total * reference / np.maximum(energies, 1e-6), SMALLEST_FACTORS, 1.0)
        wanted[ANCHOR:] = 1.0
        factors = wanted / total
        if np.abs(factors - 1.0).max() <= TOLERANCE:
            break
        passes.append(factors)
        total = wanted
        sample = _scaled(sample, [factors])
        energies = band_energies(sample, inside)
    return passes, before, energies


def _scaled(hu: FloatArray, passes: list[Factors]) -> FloatArray:
    for factors in passes:
        change = np.zeros_like(hu)
        for factor, band in zip(factors, _bands(hu), strict=True):
            change += np.float32(factor - 1.0) * band
        hu = hu + change
    return hu


def _bands(hu: FloatArray) -> Iterator[FloatArray]:
    finer = hu
    for sigma in SIGMAS:
        coarser = smoothed(hu, sigma)
        yield finer - coarser
        finer = coarser
