"""Correlated random fields for tissue texture and irregular borders."""

from __future__ import annotations

import numpy as np
from scipy import fft

from KernelNormalizationLib.core.arrays import FloatArray

from .sampling import Grid, radial_frequency


def random_field(grid: Grid, scale_mm: float, slope: float, rng: np.random.Generator) -> FloatArray:
    """Gaussian field of unit variance whose amplitude spectrum falls above 1 / (2 pi scale) with the power ``slope``.

    Neighbouring slices correlate as exp(-distance / scale).

    Args:
        grid: grid of the field.
        scale_mm: correlation length, mm.
        slope: exponent of the fall; 1 leaves much fine detail, 3 is smooth.
        rng: random generator.

    Returns:
        float32 (k, rows, columns).
    """
    f = radial_frequency(grid.matrix, grid.pixel) / 10.0
    gain = ((1.0 + (2.0 * np.pi * f * scale_mm) ** 2) ** (-0.5 * slope)).astype(np.float32)
    gain[0, 0] = 0.0
    field = np.empty((len(grid.z), grid.matrix, grid.matrix), np.float32)
    previous = None
    for k, z in enumerate(grid.z):
        white = rng.standard_normal((grid.matrix, grid.matrix), dtype=np.float32)
        if previous is not None:
            link = np.float32(np.exp(-abs(z - grid.z[k - 1]) / scale_mm))
            white = link * previous + np.sqrt(np.float32(1.0) - link * link) * white
        previous = white
        field[k] = fft.irfft2(fft.rfft2(white) * gain, s=white.shape)
    return field / np.float32(max(float(field.std()), 1e-6))


class SmoothWarp:
    """Smooth displacement defined everywhere in space: a sum of a few sine waves with random directions.

    Args:
        rng: random generator.
        amplitude: root-mean-square displacement, mm.
        wavelengths: shortest and longest wavelength, mm.
        waves: number of waves.
    """

    def __init__(self, rng: np.random.Generator, amplitude: float, wavelengths: tuple[float, float], waves: int = 6) -> None:
        directions = rng.standard_normal((waves, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        self._vectors = directions * (2.0 * np.pi / rng.uniform(*wavelengths, size=(waves, 1)))
        self._phases = rng.uniform(0.0, 2.0 * np.pi, waves)
        self._amplitude = amplitude * np.sqrt(2.0 / waves)

    def __call__(self, z: float | FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
        """Displacement (mm) at broadcastable coordinates (mm); float32."""
        total: FloatArray = np.zeros(np.broadcast_shapes(np.shape(z), y.shape, x.shape), np.float32)
        for (vz, vy, vx), phase in zip(self._vectors.astype(np.float32), self._phases, strict=True):
            total += np.sin(vz * z + vy * y + vx * x + np.float32(phase))
        return np.float32(self._amplitude) * total
