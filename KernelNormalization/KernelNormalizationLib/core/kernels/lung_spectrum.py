"""Energy of the lung texture in frequency bands, and the gain that brings these energies to those of B20f.

Each band is the difference between two Gaussian blurs of the slice. The method "bands" uses this gain; the linear transfer uses
it for its level in the lungs, and alone if a scan shows too little homogeneous tissue for a noise spectrum.
"""

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

# Standard deviations of the Gaussians, pixels; the finest band is the image minus its narrowest blur.
SIGMAS = (1.0, 2.0, 4.0, 8.0, 16.0)
# Iteration stops when no factor would change by more than this, or after MAXIMUM_PASSES.
TOLERANCE = 0.05
MAXIMUM_PASSES = 6
# Energies are measured in at most this many evenly spread slices; the factors are then used for all slices.
MEASURED_SLICES = 16
# Index of the anchor band: it and all coarser bands stay unscaled, and energies are relative to it.
ANCHOR = 3
# Energies of B20f lungs relative to the anchor band of the sharp scan, finest first. Mean over 118 simulated patients of the
# preset "diverse" (SD 0.57, 0.41, 0.20), from python -m training.band_energies.
REFERENCE_RATIOS = (1.34, 1.33, 1.34, 1.0, 1.0)
# Smallest factor of each band. In 40 simulated B50f to B80f patients the sharp kernel amplified the bands at most 8.6, 2.4 and
# 1.34 times, so no smaller factors are needed. Without limits, lungs with hardly any texture would be blurred without end,
# because structures leak in from their borders.
SMALLEST_FACTORS = (0.11, 0.4, 0.7, 1.0, 1.0)
Factors = NDArray[np.float64]


def find_band_gain(volume: CTVolume, region: BodyRegion) -> tuple[Gain, dict[str, Any]]:
    """The radial filter that brings the band energies of the lungs to those of B20f.

    Scaling differences of Gaussians is itself a radial filter, the same everywhere in the slice.

    Args:
        volume: the scan.
        region: its body with lungs.

    Returns:
        The gain as a function of in-plane frequency (lp/cm), and a record with the energies before and after (HU), the factors
        and the number of passes.
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
    """Gain at ``frequency`` (lp/cm) of scaling the bands by the factors of each pass; ``pixel_mm`` is the pixel size."""
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
        # Neighbouring bands overlap, so a later pass may undo part of an earlier one, but no band ends up amplified.
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
