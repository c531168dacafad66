"""Quantum and electronic noise: Gaussian noise in the sinogram, reconstructed by filtered back-projection with two kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from KernelNormalizationLib.core.arrays import FloatArray

from .projector import back_project, forward_project
from .sampling import Grid, Mtf

# Linear attenuation of water at the effective energy of 120 kVp after filtration (about 70 keV), 1/mm.
WATER_ATTENUATION = 0.0193
# Rebinned parallel beam of a Somatom Definition AS: 736 channels x 1.2858 mm at 1085.6 mm, scaled to the isocentre
# (595 mm) and doubled by the quarter-detector shift: 0.353 mm.
CHANNEL_SPACING = 0.353
# Rebinning to parallel rays interpolates neighbouring readings, which blurs the noise like a box of this width (mm). With it,
# the noise relative to B30f is 0.65 for B10f, 2.6 for B50f and 5.7 for B70f, as on real pairs (0.65, 2.5, 5.3 to 5.9), and the
# ratio of B80f to B20f is 6.1. The published spectra alone would give 0.63, 3.0, 6.6 and 7.0; the measured pairs were
# preferred.
REBINNING_BLUR = 0.50
FIELD_OF_MEASUREMENT = 500.0
VIEWS = 500
# Read-out noise, expressed in quanta; the variance of the logarithm of N quanta is 1/N + (20/N)^2.
ELECTRONIC_QUANTA = 20.0
# Neighbouring thin slices of a spiral reconstruction share data; measured noise correlation 0.24.
SLICE_CORRELATION = 0.24
# Bowtie filter: at the edge of the 500 mm field, the quanta fall to about a tenth of those in the centre.
BOWTIE_EXPONENT = 2.3
# Scanners filter readings with very few quanta (photon starvation) before reconstruction; this limits the noise of a reading.
STARVATION_LIMIT = 0.8
# The noise variance is a smooth function of angle and channel, so the object is projected on this coarse grid (mm) and the
# variance is interpolated.
COARSE_PIXEL = 2.0
COARSE_MATRIX = int(FIELD_OF_MEASUREMENT / COARSE_PIXEL) + 2
COARSE_VIEWS = 100


@dataclass(frozen=True)
class Dose:
    """Exposure of one patient.

    Attributes:
        quanta: I0, unattenuated quanta per rebinned sample in the centre of the field for the mean patient.
        modulation: strength of the tube-current modulation by angle, slice and patient: 0 no modulation; 0.5 current
            proportional to the square root of the attenuation (least noise for the dose); 1 the same number of quanta behind
            the patient in every view.
        slice_factor: slice thickness relative to 1 mm; the quanta are proportional to it.
    """

    quanta: float
    modulation: float = 0.5
    slice_factor: float = 1.0


def coarse_grid(z: tuple[float, ...]) -> Grid:
    """The whole measurement field at 2 mm, for attenuation."""
    return Grid(z, COARSE_PIXEL, COARSE_MATRIX)


def attenuation(hu: FloatArray) -> FloatArray:
    """Line integrals of one coarse slice: float32 (COARSE_VIEWS, channels at 2 mm) from HU (COARSE_MATRIX squared)."""
    mu = np.maximum((hu + 1000.0) * (WATER_ATTENUATION / 1000.0), 0.0).astype(np.float32)
    angles = (np.arange(COARSE_VIEWS) * np.pi / COARSE_VIEWS).astype(np.float32)
    offsets = ((np.arange(COARSE_MATRIX) - 0.5 * (COARSE_MATRIX - 1)) * COARSE_PIXEL).astype(np.float32)
    return forward_project(mu, COARSE_PIXEL, angles, offsets)


def reading_noise(line_integrals: FloatArray, dose: Dose, reference_peak: float) -> FloatArray:
    """Noise standard deviation of each reading after the logarithm: float32 (views, channels) like ``line_integrals``.

    Args:
        line_integrals: float32 (views, channels at 2 mm), dimensionless.
        dose: exposure.
        reference_peak: largest line integral of the mean patient, for which modulation changes nothing.
    """
    offsets = (np.arange(line_integrals.shape[1]) - 0.5 * (line_integrals.shape[1] - 1)) * COARSE_PIXEL
    bowtie = np.exp(-BOWTIE_EXPONENT * (offsets / (0.5 * FIELD_OF_MEASUREMENT)) ** 2)
    peak = line_integrals.max(axis=1)
    current = np.exp(dose.modulation * (peak - reference_peak))
    quanta = dose.quanta * dose.slice_factor * current[:, None] * bowtie[None, :] * np.exp(-line_integrals)
    variance = 1.0 / quanta + (ELECTRONIC_QUANTA / quanta) ** 2
    limited: FloatArray = np.minimum(np.sqrt(variance), STARVATION_LIMIT).astype(np.float32)
    return limited


class NoiseChain:
    """Makes the noise images of a sharp and a smooth kernel from the same sinogram noise.

    Args:
        grid: the image grid.
        sharp, smooth: transfer functions (lp/cm to gain) without the blur of the detector, which does not affect noise.
    """

    def __init__(self, grid: Grid, sharp: Mtf, smooth: Mtf) -> None:
        self._grid = grid
        self.channels = int(fft.next_fast_len(int(FIELD_OF_MEASUREMENT / CHANNEL_SPACING)))
        self._angles = (np.arange(VIEWS) * np.pi / VIEWS).astype(np.float32)
        f = np.abs(np.fft.fftfreq(self.channels, CHANNEL_SPACING))
        # Back-projection interpolates linearly. The kernels do not include this blur, so it is divided out.
        ramp = 1000.0 / WATER_ATTENUATION * f * np.sinc(REBINNING_BLUR * f) / np.sinc(CHANNEL_SPACING * f) ** 2
        self._filter = (ramp * sharp(10.0 * f) + 1j * ramp * smooth(10.0 * f)).astype(np.complex64)

    def draw_white(self, count: int, correlation: float, rng: np.random.Generator) -> FloatArray:
        """White sinogram noise of ``count`` slices, unit variance, neighbours correlated: (count, VIEWS, channels)."""
        white = rng.standard_normal((count + 1, VIEWS, self.channels), dtype=np.float32)
        # a^2 + b^2 = 1 and a b = correlation.
        a = 0.5 * (np.sqrt(1.0 + 2.0 * correlation) + np.sqrt(1.0 - 2.0 * correlation))
        b = np.sqrt(1.0 - a * a)
        mixed: FloatArray = np.float32(a) * white[:-1] + np.float32(b) * white[1:]
        return mixed

    def reconstruct(self, white: FloatArray, reading_sd: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Noise images of one slice.

        Args:
            white: float32 (VIEWS, channels), unit variance.
            reading_sd: float32 (COARSE_VIEWS, coarse channels) from :func:`reading_noise`.

        Returns:
            (sharp, smooth): float32 (matrix, matrix), HU.
        """
        noise = white * self._spread(reading_sd)
        filtered = fft.ifft(fft.fft(noise, axis=1) * self._filter, axis=1).astype(np.complex64)
        grid = self._grid
        image = back_project(filtered, self._angles, CHANNEL_SPACING, grid.pixel, grid.matrix, grid.centre)
        return np.ascontiguousarray(image.real), np.ascontiguousarray(image.imag)

    def _spread(self, reading_sd: FloatArray) -> FloatArray:
        views = np.arange(VIEWS, dtype=np.float32) * (COARSE_VIEWS / VIEWS)
        offsets = (np.arange(self.channels) - 0.5 * (self.channels - 1)) * CHANNEL_SPACING
        channels = (offsets / COARSE_PIXEL + 0.5 * (reading_sd.shape[1] - 1)).astype(np.float32)
        where = np.meshgrid(views, channels, indexing="ij")
        spread: FloatArray = ndimage.map_coordinates(reading_sd, where, order=1, mode="nearest").astype(np.float32)
        return spread
