"""Noise power spectrum of a scan, measured in homogeneous soft tissue, and the spectrum that a given kernel would show there.

Power is averaged over rings of equal frequency. From every patch the same patch of a neighbouring slice is subtracted. This
removes anatomy, which continues from slice to slice, and leaves noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..arrays import BoolArray, FloatArray

Curve = NDArray[np.float64]
Transfer = Callable[[Curve], Curve]

# A patch is PATCH pixels wide and at least PATCH_TISSUE_SHARE of it is homogeneous in both slices.
PATCH, PATCH_STEP = 32, 16
PATCH_TISSUE_SHARE = 0.8
# With fewer patches, the power of the rings that distinguish kernels would be uncertain by more than 15 %.
MINIMUM_PATCHES = 4
# Number of evenly spread slice pairs. With it the real chest of 99 slices gives 57 patches, that of 64 slices 500.
SLICE_PAIRS = 24
# The fifth of the patches with the most power is left out, because it may hold vessels and edges that the tissue mask missed.
KEPT_SHARE = 0.8
# A voxel at or below this value in soft tissue is padding, air or truncated; its patch is not used.
LOWEST_HU = -1000.0
# Truncation changes the noise spectrum. A patch of air is used if at most this share of its voxels is truncated: cutting 2 %
# off the tail of a Gaussian lowers its power by 3 %.
TRUNCATED_SHARE = 0.02
# Overlapping slices share part of their noise, which the subtraction removes. For independent slices the difference keeps 0.75
# to 1.05 of the power (three real scans and simulated ones). If it keeps less than this, nothing is subtracted.
LEAST_INDEPENDENT = 0.3
# Number of rings, each as wide as the frequency step of a patch. The first holds what is left of trends in the patch; the last
# lies at 1.3 times the Nyquist frequency, in the corners of the spectrum.
RINGS = 21
_HIGH_RING = 8


@dataclass(frozen=True)
class NoiseSpectrum:
    """Noise power as a function of in-plane frequency.

    Attributes:
        power: (21,), mean power of each ring in arbitrary units; ring n lies at n / (32 pixels).
        pixel_mm: in-plane spacing, mm.
        patches: number of pairs of patches that were averaged.
        from_differences: whether neighbouring slices were subtracted.
    """

    power: Curve
    pixel_mm: float
    patches: int
    from_differences: bool

    @property
    def frequency(self) -> Curve:
        """(21,), lp/cm: centres of the rings."""
        return ring_frequencies(self.pixel_mm)


def ring_frequencies(pixel_mm: float) -> Curve:
    """(21,), lp/cm: centres of the rings for pixels of ``pixel_mm``."""
    return np.asarray(np.arange(RINGS) * 10.0 / (PATCH * pixel_mm), np.float64)


def chosen_slices(count: int, apart: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Indices of the first and the second slice of every pair to measure, for a volume with ``count`` slices.

    Args:
        count: number of slices.
        apart: distance between the two slices of a pair, in slices; reduced if the volume is shorter.
    """
    apart = max(1, min(apart, count - 1))
    available = max(1, count - apart)
    first = np.unique(np.linspace(0, available - 1, min(SLICE_PAIRS, available)).astype(np.int_))
    return first, np.minimum(first + apart, count - 1)


def slices_apart(spacing_mm: float, thickness_mm: float | None) -> int:
    """Distance, in slices, at which slices no longer overlap; at most three."""
    return int(np.clip(np.ceil((thickness_mm or spacing_mm) / spacing_mm - 0.1), 1, 3))


def measure_noise_spectrum(
    first: FloatArray, second: FloatArray, tissue: BoolArray, pixel_mm: float, floor_hu: float | None = None
) -> NoiseSpectrum | None:
    """Noise power spectrum of patches that are homogeneous in both slices of a pair; ``None`` if there are too few.

    Args:
        first: (k, j, i), HU; the first slice of every pair.
        second: (k, j, i), HU; the second slice of every pair.
        tissue: (k, j, i), where both slices show homogeneous soft tissue (or air).
        pixel_mm: in-plane spacing, mm.
        floor_hu: for a measurement in air, the lowest HU of the series; ``None`` for a measurement in soft tissue.
    """
    plain, difference = [], []
    for k, row, column in np.argwhere(_share_of_patches(tissue) >= PATCH_TISSUE_SHARE):
        place = (k, slice(row * PATCH_STEP, row * PATCH_STEP + PATCH), slice(column * PATCH_STEP, column * PATCH_STEP + PATCH))
        one, other = first[place].astype(np.float64), second[place].astype(np.float64)
        if not _usable(one, other, floor_hu):
            continue
        a, b = _tapered_transform(one), _tapered_transform(other)
        plain.append(_ring_means(0.5 * (np.abs(a) ** 2 + np.abs(b) ** 2)))
        difference.append(_ring_means(0.5 * np.abs(a - b) ** 2))
    if len(plain) < MINIMUM_PATCHES:
        return None
    alone, subtracted = np.array(plain), np.array(difference)
    independent = subtracted[:, _HIGH_RING:].sum() >= LEAST_INDEPENDENT * alone[:, _HIGH_RING:].sum()
    chosen = subtracted if independent else alone
    total = (chosen * _ring_sizes()).sum(axis=1)
    power = chosen[total <= np.quantile(total, KEPT_SHARE)].mean(axis=0)
    return NoiseSpectrum(power, pixel_mm, len(plain), bool(independent)) if power.max() > 0.0 else None


def _usable(one: NDArray[np.float64], other: NDArray[np.float64], floor_hu: float | None) -> bool:
    if floor_hu is None:
        return bool(min(one.min(), other.min()) > LOWEST_HU)
    return bool(max(np.mean(one <= floor_hu), np.mean(other <= floor_hu)) <= TRUNCATED_SHARE)


def expected_rings(transfer: Transfer, pixel_mm: float) -> Curve:
    """(21,): noise power of a kernel as :func:`measure_noise_spectrum` would measure it, arbitrary units.

    Aliasing by the pixel grid and leakage by the window of the patch are included.

    Args:
        transfer: transfer of the kernel as a function of frequency, lp/cm.
        pixel_mm: in-plane spacing, mm.
    """
    power = aliased_noise_power(transfer, pixel_mm, PATCH)
    for axis in (0, 1):  # the Hann window spreads power: 2/3 stay, 1/6 go to either neighbouring frequency
        power = 2.0 / 3.0 * power + (np.roll(power, 1, axis) + np.roll(power, -1, axis)) / 6.0
    return _ring_means(power)


def aliased_noise_power(transfer: Transfer, pixel_mm: float, size: int) -> NDArray[np.float64]:
    """Noise power (size, size) of a kernel on the pixel grid, FFT order, arbitrary scale, aliasing included.

    Filtered back-projection turns the white noise of the sinogram into noise with the power f M(f)^2; sampling then folds what
    lies above the Nyquist frequency back (aliasing).
    """
    total = np.zeros((size, size))
    for radius in _aliased_frequencies(size, round(pixel_mm, 5)):
        total += radius * transfer(radius) ** 2
    return total


@lru_cache(maxsize=8)
def _aliased_frequencies(size: int, pixel_mm: float) -> list[NDArray[np.float64]]:
    frequency, period = np.fft.fftfreq(size, pixel_mm / 10.0), 10.0 / pixel_mm
    shifts = [(row * period, column * period) for row in (-1, 0, 1) for column in (-1, 0, 1)]
    return [np.hypot(frequency[:, None] + down, frequency[None, :] + right) for down, right in shifts]


def _share_of_patches(tissue: BoolArray) -> NDArray[np.float64]:
    """(k, rows, columns): share of tissue in each patch; patches begin every PATCH_STEP pixels."""
    slices, rows, columns = tissue.shape
    down, right = rows // PATCH_STEP, columns // PATCH_STEP
    if down < 2 or right < 2:
        return np.zeros((slices, 0, 0))
    used = tissue[:, : down * PATCH_STEP, : right * PATCH_STEP]
    blocks = used.reshape(slices, down, PATCH_STEP, right, PATCH_STEP).mean(axis=(2, 4))
    share: NDArray[np.float64] = (blocks[:, 1:, 1:] + blocks[:, :-1, 1:] + blocks[:, 1:, :-1] + blocks[:, :-1, :-1]) / 4.0
    return share


def _tapered_transform(patch: NDArray[np.float64]) -> NDArray[np.complex128]:
    basis, fit = _trend()
    values = patch.reshape(-1)
    window = np.hanning(PATCH + 2)[1:-1]
    flat = (values - basis @ (fit @ values)).reshape(PATCH, PATCH)
    transformed: NDArray[np.complex128] = np.fft.fft2(flat * np.outer(window, window))
    return transformed


def _ring_means(power: NDArray[np.float64]) -> Curve:
    sums = np.bincount(_ring_of_frequency().ravel(), power.ravel())[:RINGS]
    return np.asarray(sums / _ring_sizes(), np.float64)


@lru_cache(maxsize=1)
def _ring_of_frequency() -> NDArray[np.int_]:
    steps = np.fft.fftfreq(PATCH, 1.0 / PATCH)
    rings: NDArray[np.int_] = np.rint(np.hypot(steps[:, None], steps[None, :])).astype(np.int_)
    return rings


@lru_cache(maxsize=1)
def _ring_sizes() -> Curve:
    return np.bincount(_ring_of_frequency().ravel())[:RINGS].astype(np.float64)


@lru_cache(maxsize=1)
def _trend() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = np.mgrid[:PATCH, :PATCH].reshape(2, -1) / PATCH - 0.5
    basis = np.stack([np.ones_like(rows), rows, columns, rows**2, columns**2, rows * columns], axis=1)
    return basis, np.linalg.pinv(basis)
