"""The noise power spectrum of a scan, measured in homogeneous soft tissue, and what a kernel's spectrum looks like there.

Power is averaged over rings of equal frequency. From every patch the same patch of a neighbouring slice is subtracted: anatomy,
which goes on from slice to slice, goes, and noise stays.
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
# Fewer patches than this leave more than 15 % of uncertainty in the rings that tell kernels apart.
MINIMUM_PATCHES = 4
# Pairs of slices, evenly spread; the real 99-slice chest gives 57 patches, the 64-slice one 500.
SLICE_PAIRS = 24
# Of the patches, the fifth with the most power is left out: vessels and edges that the tissue mask did not see.
KEPT_SHARE = 0.8
# A voxel this low in soft tissue is padding, air, or truncated.
LOWEST_HU = -1000.0
# Truncation changes the colour of noise. A patch is used up to this share of truncated voxels: with 2 % of a Gaussian's tail
# cut off, its power falls by 3 %.
TRUNCATED_SHARE = 0.02
# Slices that overlap share their noise. Of independent slices the difference keeps 0.75 to 1.05 of the power (three real scans,
# simulated ones); where it keeps less than this, the patches themselves are used.
LEAST_INDEPENDENT = 0.3
# Rings are one step of the patch's discrete frequencies wide. The first holds what is left of trends; the last is at 1.3 times
# the Nyquist frequency, in the corners of the spectrum.
RINGS = 21
_HIGH_RING = 8


@dataclass(frozen=True)
class NoiseSpectrum:
    """Noise power against in-plane frequency.

    Attributes:
        power: (21,), mean power of a ring in arbitrary units; ring n lies at n / (32 pixels).
        pixel_mm: in-plane spacing, mm.
        patches: how many pairs of patches it was averaged over.
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
    """(21,), lp/cm: centres of the rings at a pixel of ``pixel_mm``."""
    return np.asarray(np.arange(RINGS) * 10.0 / (PATCH * pixel_mm), np.float64)


def chosen_slices(count: int, apart: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """First and second slice of the pairs to measure in, of a volume with ``count`` slices.

    Args:
        count: number of slices.
        apart: distance of the two in slices; less where the volume is shorter.
    """
    apart = max(1, min(apart, count - 1))
    available = max(1, count - apart)
    first = np.unique(np.linspace(0, available - 1, min(SLICE_PAIRS, available)).astype(np.int_))
    return first, np.minimum(first + apart, count - 1)


def slices_apart(spacing_mm: float, thickness_mm: float | None) -> int:
    """Distance, in slices, of slices that do not overlap, at most three."""
    return int(np.clip(np.ceil((thickness_mm or spacing_mm) / spacing_mm - 0.1), 1, 3))


def measure_noise_spectrum(
    first: FloatArray, second: FloatArray, tissue: BoolArray, pixel_mm: float, floor_hu: float | None = None
) -> NoiseSpectrum | None:
    """Noise power of patches that are homogeneous in both of two neighbouring slices; ``None`` if there are too few.

    Args:
        first: (k, j, i), HU; one slice of every pair.
        second: (k, j, i), HU; the other.
        tissue: (k, j, i), where both are homogeneous soft tissue.
        pixel_mm: in-plane spacing, mm.
        floor_hu: lowest HU that the series stores, to measure in air; ``None`` in tissue, where nothing is that low.
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
    """(21,): noise power of a kernel as :func:`measure_noise_spectrum` would see it, arbitrary units.

    Aliasing by the pixel grid and the leakage of the patch's window are included.

    Args:
        transfer: of the kernel against frequency, lp/cm.
        pixel_mm: in-plane spacing, mm.
    """
    power = aliased_noise_power(transfer, pixel_mm, PATCH)
    for axis in (0, 1):  # power of the Hann window's transform: 2/3, and 1/6 at the frequencies beside
        power = 2.0 / 3.0 * power + (np.roll(power, 1, axis) + np.roll(power, -1, axis)) / 6.0
    return _ring_means(power)


def aliased_noise_power(transfer: Transfer, pixel_mm: float, size: int) -> NDArray[np.float64]:
    """Noise power (size, size) of a kernel on the pixel grid, FFT order, arbitrary scale, aliasing included.

    Filtered back-projection colours white sinogram noise as f M(f)^2; sampling folds what lies beyond Nyquist.
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
    """(k, rows, columns): share of tissue in the patch that begins at every PATCH_STEP pixels."""
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
