"""A simulated chest: known emphysema, one raw data set, a sharp and a smooth reconstruction.

Deliberately simple (ellipses, vessels, holes; noise with the spectrum of filtered back-projection), for trying every part
without a scan. The networks are trained on the full simulation in ``training/simulate``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import AIR_HU, EMPHYSEMA_THRESHOLD_HU, LOWEST_STORED_HU, FloatArray
from .kernels.mtf import kernel_mtf
from .kernels.noise_spectrum import Transfer
from .volume import Acquisition, CTVolume, Geometry

SHAPE = (72, 416, 416)
SPACING = (3.5, 0.8, 0.8)
SHARP, SMOOTH = 80, 20
# Noise of the sharp reconstruction in soft tissue, HU: what thin B80f chest slices show.
SHARP_NOISE_HU = 95.0
FLOOR_HU, CEILING_HU = LOWEST_STORED_HU, 3071.0
SOFT, FAT, BONE, LUNG, HOLE, AIR = 40.0, -90.0, 600.0, -850.0, -985.0, AIR_HU


@dataclass(frozen=True)
class SamplePair:
    """The simulated chest.

    Attributes:
        sharp: B80f-like reconstruction, the scan to normalize.
        smooth: B20f-like reconstruction of the same raw data, the truth to compare with.
        lungs: boolean (k, j, i), exact lung mask.
        true_ei_percent: EI (%) of the noise-free object inside that mask.
    """

    sharp: CTVolume
    smooth: CTVolume
    lungs: NDArray[np.bool_]
    true_ei_percent: float


def make_sample(
    seed: int = 1, shape: tuple[int, int, int] = SHAPE, spacing: tuple[float, float, float] = SPACING
) -> SamplePair:
    """Simulate the chest; the same seed gives the same voxels.

    Args:
        seed: of emphysema, vessels and noise.
        shape: (k, j, i).
        spacing: mm (k, j, i).
    """
    rng = np.random.default_rng(seed)
    thorax = _Thorax(shape, spacing, rng)
    sharp, smooth = np.empty(shape, np.float32), np.empty(shape, np.float32)
    lungs = np.empty(shape, bool)
    empty = 0
    transfer = {n: _transfer(n, shape, spacing[2]) for n in (SHARP, SMOOTH)}
    noise_filter = {n: _noise_filter(n, shape, spacing[2]) for n in (SHARP, SMOOTH)}
    scale = SHARP_NOISE_HU / _noise_sd(noise_filter[SHARP], shape)
    for k in range(shape[0]):
        hu, lungs[k] = thorax.slice(k)
        empty += int(np.count_nonzero(hu[lungs[k]] < EMPHYSEMA_THRESHOLD_HU))
        spectrum, white = np.fft.rfft2(hu), np.fft.rfft2(rng.standard_normal(shape[1:]))
        for number, out in ((SHARP, sharp), (SMOOTH, smooth)):
            image = np.fft.irfft2(spectrum * transfer[number] + scale * white * noise_filter[number], s=shape[1:])
            out[k] = np.clip(np.rint(image), FLOOR_HU, CEILING_HU)
    geometry = Geometry(spacing, (-0.5 * shape[2] * spacing[2], -0.5 * shape[1] * spacing[1], 0.0))
    return SamplePair(
        _volume(sharp, geometry, SHARP), _volume(smooth, geometry, SMOOTH), lungs, 100.0 * empty / int(lungs.sum())
    )


def make_reconstructions(
    transfers: Sequence[Transfer], seed: int, shape: tuple[int, int, int], spacing: tuple[float, float, float], noise_hu: float
) -> list[FloatArray]:
    """The same chest and the same raw noise on any kernels: float32 (k, j, i), HU, one a transfer.

    Args:
        transfers: gain of each kernel against frequency, lp/cm.
        seed: of vessels, emphysema and noise.
        shape: (k, j, i).
        spacing: mm (k, j, i).
        noise_hu: standard deviation of the first kernel's noise, HU; the others' follow from it.
    """
    rng = np.random.default_rng(seed)
    thorax = _Thorax(shape, spacing, rng)
    frequency = _frequency(shape, spacing[2])
    gains = [transfer(frequency) for transfer in transfers]
    scale = noise_hu / _noise_sd(np.sqrt(frequency) * gains[0], shape)
    images = [np.empty(shape, np.float32) for _ in gains]
    for k in range(shape[0]):
        spectrum = np.fft.rfft2(thorax.slice(k)[0])
        spectrum += scale * np.sqrt(frequency) * np.fft.rfft2(rng.standard_normal(shape[1:]))
        for gain, image in zip(gains, images, strict=True):
            image[k] = np.clip(np.rint(np.fft.irfft2(spectrum * gain, s=shape[1:])), FLOOR_HU, CEILING_HU)
    return images


def _volume(hu: FloatArray, geometry: Geometry, number: int) -> CTVolume:
    facts = Acquisition(f"B{number}f", "SIEMENS (simulated)", "simulated chest", geometry.spacing[0], modality="CT")
    return CTVolume(hu, geometry, facts, name=f"simulated chest B{number}f")


def _frequency(shape: tuple[int, int, int], pixel_mm: float) -> NDArray[np.float64]:
    rows, columns = np.fft.fftfreq(shape[1], pixel_mm / 10.0), np.fft.rfftfreq(shape[2], pixel_mm / 10.0)
    return np.asarray(np.hypot(rows[:, None], columns[None, :]))


def _transfer(number: int, shape: tuple[int, int, int], pixel_mm: float) -> NDArray[np.float64]:
    return kernel_mtf(number, _frequency(shape, pixel_mm))


def _noise_filter(number: int, shape: tuple[int, int, int], pixel_mm: float) -> NDArray[np.float64]:
    # Filtered back-projection colours white sinogram noise as sqrt(f) M(f).
    frequency = _frequency(shape, pixel_mm)
    return np.asarray(np.sqrt(frequency) * kernel_mtf(number, frequency))


def _noise_sd(noise_filter: NDArray[np.float64], shape: tuple[int, int, int]) -> float:
    weights = np.full(noise_filter.shape[1], 2.0)
    weights[0] = 1.0
    if shape[2] % 2 == 0:
        weights[-1] = 1.0
    return float(np.sqrt((noise_filter**2 * weights).sum() / (shape[1] * shape[2])))


class _Thorax:
    """Slices of an elliptic chest: body, spine, ribs' ring, heart, trachea, lungs with vessels and emphysema."""

    def __init__(self, shape: tuple[int, int, int], spacing: tuple[float, float, float], rng: np.random.Generator) -> None:
        self._spacing, self._count = spacing, shape[0]
        self._y, self._x = ((np.arange(n) - 0.5 * (n - 1)) * s for n, s in zip(shape[1:], spacing[1:], strict=True))
        length = shape[0] * spacing[0]
        self._holes = self._spread(rng, 260, length, (2.0, 9.0))
        self._vessels = self._spread(rng, 420, length, (0.8, 2.4))

    def slice(self, k: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """HU (j, i) and lung mask (j, i) of slice ``k`` (caudal to cranial)."""
        z = (k + 0.5) * self._spacing[0]
        height = (k + 0.5) / self._count
        x, y = self._x[None, :], self._y[:, None]
        hu = np.full((y.size, x.size), AIR)
        hu[_ellipse(x, y, 0, 0, 150, 105)] = FAT
        hu[_ellipse(x, y, 0, 0, 138, 94)] = SOFT
        rib_cage = _ellipse(x, y, 0, 0, 134, 90) & ~_ellipse(x, y, 0, 0, 128, 84)
        hu[rib_cage & ((np.arctan2(y, x) * 6.0 + z / 9.0) % 2.0 < 0.7)] = BONE
        open_part = np.sqrt(max(0.0, 1.0 - ((height - 0.5) / 0.47) ** 2))
        lungs = np.zeros(hu.shape, bool)
        for side in (-1.0, 1.0):
            lungs |= _ellipse(x, y, 66 * side, 4, 54 * open_part, 74 * open_part)
        heart = _ellipse(x, y, 22, -22, 48, 42) if height < 0.5 else _ellipse(x, y, 0, -20, 22, 30)
        spine = _ellipse(x, y, 0, 62, 20, 18)
        lungs &= ~(heart | spine)
        # Gravity: dependent (posterior) lung is denser.
        hu[lungs] = np.broadcast_to(LUNG + 0.35 * y, hu.shape)[lungs]
        self._paint(hu, lungs, z, self._holes, HOLE)
        self._paint(hu, lungs, z, self._vessels, SOFT)
        hu[heart] = SOFT
        hu[spine] = BONE * 0.5
        if height > 0.45:
            hu[_ellipse(x, y, 0, 22, 9, 9)] = AIR
        return hu, lungs & (hu < -500.0)

    def _spread(self, rng: np.random.Generator, count: int, length: float, radius: tuple[float, float]) -> NDArray[np.float64]:
        x = rng.choice([-1.0, 1.0], count) * rng.uniform(14, 118, count)
        return np.stack([rng.uniform(0, length, count), rng.uniform(-68, 76, count), x, rng.uniform(*radius, count)], axis=1)

    def _paint(
        self, hu: NDArray[np.float64], lungs: NDArray[np.bool_], z: float, blobs: NDArray[np.float64], value: float
    ) -> None:
        # Stretched along z, so that vessels and holes run through several slices.
        for blob_z, blob_y, blob_x, radius in blobs[np.abs(blobs[:, 0] - z) < 3.0 * blobs[:, 3]]:
            size = radius * np.sqrt(1.0 - ((blob_z - z) / (3.0 * radius)) ** 2)
            where = np.hypot(self._x[None, :] - blob_x, self._y[:, None] - blob_y) < size
            hu[where & lungs] = value


def _ellipse(x: NDArray[Any], y: NDArray[Any], cx: float, cy: float, half_width: float, half_depth: float) -> NDArray[np.bool_]:
    if half_width <= 0 or half_depth <= 0:
        return np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
    inside: NDArray[np.bool_] = ((x - cx) / half_width) ** 2 + ((y - cy) / half_depth) ** 2 <= 1.0
    return inside
