"""Frequency bands: each band's energy in the lungs is brought to that of the reference kernel.

After Gallardo-Estrella et al. 2013 and 2016 (known to us from their abstracts): hierarchical unsharp masking with Gaussians
of 1, 2, 4, 8 and 16 pixels, energy = standard deviation of a band inside the lungs, each band scaled to the reference
kernel's mean energy, low-pass left alone, repeated until all are within 5 %. The reference energies, the coarse lung
region and the limit of repetitions are this project's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .body import find_body
from .errors import InputError
from .progress import Progress
from .sharpness import smoothed
from .volume import BoolArray, CTVolume, FloatArray

SIGMAS = (1.0, 2.0, 4.0, 8.0, 16.0)
TOLERANCE = 0.05
MAXIMUM_PASSES = 5
# Mean band energies (HU) in the lungs of simulated B20f volumes: python -m training.band_energies
REFERENCE_ENERGIES = (14.0, 17.0, 22.0, 30.0, 32.0)


def normalize_bands(volume: CTVolume, progress: Progress) -> tuple[FloatArray, dict[str, Any]]:
    """Scale the frequency bands of ``volume`` to the energies of B20f lungs.

    Returns:
        float32 (k, j, i), HU, and the energies, factors and passes.

    Raises:
        InputError: no lung to measure energies in.
    """
    region = find_body(volume)
    if region is None or not region.lungs.any():
        raise InputError("No aerated lung was found, so band energies cannot be measured; use another method.")
    hu = volume.filled()
    lungs = region.lungs
    factors = np.ones(len(SIGMAS))
    passes = 0
    progress.start("Frequency bands", len(hu) * (MAXIMUM_PASSES + 1))
    while passes < MAXIMUM_PASSES:
        energies = _energies(hu, lungs, progress)
        step = np.asarray(REFERENCE_ENERGIES) / np.maximum(energies, 1e-6)
        if passes == 0:
            measured = energies
        if np.abs(step - 1.0).max() <= TOLERANCE:
            break
        hu = _scaled(hu, step, progress if passes == 0 else None)
        factors *= step
        passes += 1
    record = {
        "band_sigmas_pixels": list(SIGMAS),
        "band_energies_hu": [round(float(e), 3) for e in measured],
        "band_factors": [round(float(f), 4) for f in factors],
        "passes": passes,
    }
    return hu, record


def band_energies(hu: FloatArray, lungs: BoolArray) -> NDArray[np.float64]:
    """Standard deviation (HU) of each band of ``hu`` (k, j, i) inside ``lungs`` (k, j, i), finest band first."""
    return _energies(hu, lungs, None)


def _energies(hu: FloatArray, lungs: BoolArray, progress: Progress | None) -> NDArray[np.float64]:
    count, total, squares = 0, np.zeros(len(SIGMAS)), np.zeros(len(SIGMAS))
    for k in range(len(hu)):
        inside = lungs[k]
        if inside.any():
            count += int(inside.sum())
            for n, band in enumerate(_bands(hu[k : k + 1])):
                values = band[0][inside].astype(np.float64)
                total[n] += values.sum()
                squares[n] += (values**2).sum()
        if progress is not None:
            progress.advance()
    return np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0.0))


def _scaled(hu: FloatArray, factors: NDArray[np.float64], progress: Progress | None) -> FloatArray:
    out = np.empty_like(hu)
    for k in range(len(hu)):
        low = hu[k : k + 1]
        bands = list(_bands(low))
        out[k] = low[0] + sum(np.float32(f - 1.0) * band[0] for f, band in zip(factors, bands, strict=True))
        if progress is not None:
            progress.advance()
    return out


def _bands(image: FloatArray) -> Iterator[FloatArray]:
    finer = image
    for sigma in SIGMAS:
        coarser = smoothed(image, sigma)
        yield finer - coarser
        finer = coarser
