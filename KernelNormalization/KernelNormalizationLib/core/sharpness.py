"""How sharp a reconstruction is, read from the colour of its noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import SimpleITK as sitk
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .kernels import KERNELS, TARGET_NUMBER, kernel_mtf
from .volume import BoolArray, CTVolume, FloatArray

# Noise is what a Gaussian of 3 pixels takes away; tissue is where that Gaussian reads 0 to 80 HU and is locally flat.
HIGH_PASS_SIGMA = 3.0
TISSUE_HU = (0.0, 80.0)
FLAT_HU = 12.0
# Kernel number below which there is nothing to take away: B30f noise reads 30 or less, real B10f to B30f did.
SMOOTH_NUMBER = 32.0
MINIMUM_TISSUE_VOXELS = 2000
MAXIMUM_SLICES = 24
# The spectrum is read from patches of 32 pixels, four fifths of them homogeneous, above the frequencies that anatomy fills.
# On real series it gave 76 (B70f), 49 (Philips L), 25 (Philips B) and 20 (fourteen B20f slices of as many patients).
PATCH, PATCH_STEP = 32, 16
PATCH_TISSUE_SHARE = 0.8
MINIMUM_PATCHES, MAXIMUM_PATCHES = 2, 300
ANATOMY_LP_PER_CM = 1.5
# Shares of the power that may be as soft as B20f's whatever the kernel: anatomy and partial volume left in flat tissue. In the
# real B70f series (3 mm slices) the power at 2 lp/cm is a third of that at 5.5, in the published spectrum a tenth; without a
# share for it that plateau is taken for B55f.
SOFT_SHARES = (0.0, 0.05)


@dataclass(frozen=True)
class Sharpness:
    """Noise colour of a volume in homogeneous soft tissue.

    Attributes:
        rho1: lag-1 autocorrelation of the high-passed noise, mean of rows and columns; falls with sharpness.
        noise_sd: standard deviation of that noise, HU.
        kernel_number: number of the Siemens B kernel (10 to 80) whose modelled noise spectrum is most like this one's;
            where flat tissue is scarce, the one with the same rho1.
        voxels: how many voxels it was read from.
    """

    rho1: float
    noise_sd: float
    kernel_number: float
    voxels: int


def estimate_sharpness(volume: CTVolume) -> Sharpness | None:
    """Noise colour of ``volume``, or ``None`` if it shows too little homogeneous soft tissue to tell."""
    step = max(1, volume.shape[0] // MAXIMUM_SLICES)
    hu = volume.filled()[::step]
    noise, tissue = high_passed(hu), homogeneous_tissue(hu)
    voxels = int(np.count_nonzero(tissue))
    if voxels < MINIMUM_TISSUE_VOXELS:
        return None
    variance = float(np.mean(noise[tissue] ** 2))
    if variance == 0.0:
        return None
    rho1 = float(np.mean([_lag_one(noise, tissue, axis) for axis in (1, 2)])) / variance
    pixel = float(np.mean(volume.geometry.spacing[1:]))
    spectrum = noise_spectrum(hu, tissue)
    number = kernel_number_of_rho1(rho1, pixel) if spectrum is None else kernel_number_of_spectrum(spectrum, pixel)
    return Sharpness(rho1, variance**0.5, number, voxels)


def high_passed(hu: FloatArray) -> FloatArray:
    """``hu`` (k, j, i) less its in-plane Gaussian of 3 pixels, HU."""
    result: FloatArray = hu - smoothed(hu, HIGH_PASS_SIGMA)
    return result


def smoothed(hu: FloatArray, sigma: float) -> FloatArray:
    """In-plane Gaussian of ``sigma`` pixels of ``hu`` (k, j, i), edges replicated."""
    image = sitk.GetImageFromArray(hu)
    for direction in (0, 1):
        image = sitk.RecursiveGaussian(image, sigma=sigma, direction=direction)
    array: FloatArray = sitk.GetArrayFromImage(image)
    return array


def homogeneous_tissue(hu: FloatArray) -> BoolArray:
    """Voxels (k, j, i) in soft tissue (0 to 80 HU) away from edges."""
    narrow, wide = smoothed(hu, HIGH_PASS_SIGMA), smoothed(hu, 2.0 * HIGH_PASS_SIGMA)
    mask: BoolArray = (narrow > TISSUE_HU[0]) & (narrow < TISSUE_HU[1]) & (np.abs(narrow - wide) < FLAT_HU)
    return mask


def noise_spectrum(hu: FloatArray, tissue: BoolArray) -> NDArray[np.float64] | None:
    """Mean noise power (32, 32), FFT order, of flat patches inside homogeneous tissue; ``None`` if there are too few.

    Args:
        hu: (k, j, i), HU.
        tissue: (k, j, i), homogeneous tissue.
    """
    window = np.hanning(PATCH + 2)[1:-1]
    taper = np.outer(window, window)
    basis, fit = _trend()
    power = np.zeros((PATCH, PATCH))
    inside = sliding_window_view(tissue, (PATCH, PATCH), axis=(1, 2))[:, ::PATCH_STEP, ::PATCH_STEP].mean(axis=(3, 4))
    places = np.argwhere(inside > PATCH_TISSUE_SHARE)
    if len(places) < MINIMUM_PATCHES:
        return None
    places = places[:: max(1, len(places) // MAXIMUM_PATCHES)]
    for k, row, column in places:
        top, left = row * PATCH_STEP, column * PATCH_STEP
        patch = hu[k, top : top + PATCH, left : left + PATCH].astype(np.float64).reshape(-1)
        power += np.abs(np.fft.fft2((patch - basis @ (fit @ patch)).reshape(PATCH, PATCH) * taper)) ** 2
    return power / len(places)


def kernel_number_of_spectrum(spectrum: NDArray[np.float64], pixel_mm: float) -> float:
    """Kernel number (10 to 80) whose modelled noise power is closest in shape to ``spectrum`` (32, 32), FFT order."""
    frequency = np.fft.fftfreq(PATCH, pixel_mm / 10.0)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    used = (radius > ANATOMY_LP_PER_CM) & (radius < 0.95 * 5.0 / pixel_mm)
    measured = np.log(spectrum[used])
    numbers = np.arange(min(KERNELS), max(KERNELS) + 1)
    soft = _unit_power(float(TARGET_NUMBER), pixel_mm)
    expected = [_unit_power(float(n), pixel_mm) for n in numbers]
    misfits = [
        min(float(np.std(measured - np.log((share * soft + (1.0 - share) * power)[used]))) for share in SOFT_SHARES)
        for power in expected
    ]
    return float(numbers[int(np.argmin(misfits))])


def _unit_power(number: float, pixel_mm: float) -> NDArray[np.float64]:
    power = noise_power(number, pixel_mm, PATCH)
    unit: NDArray[np.float64] = power / power.sum()
    return unit


def kernel_number_of_rho1(rho1: float, pixel_mm: float) -> float:
    """Kernel number (10 to 80) whose modelled noise has lag-1 autocorrelation ``rho1`` at ``pixel_mm``.

    Values beyond the family's range give its ends. Beyond B55f rho1 falls no further with the number (B60f -0.10, B70f -0.08,
    B80f 0.02 at 0.7 mm), so what is sharper reads as B70f, the commonest of them; only the spectrum tells them apart.
    """
    numbers = np.append(np.arange(min(KERNELS), 56), 70)
    expected = np.array([expected_rho1(float(n), round(pixel_mm, 3)) for n in numbers])
    falling = np.minimum.accumulate(expected)
    return float(np.interp(-rho1, -falling, numbers))


@lru_cache(maxsize=1024)
def expected_rho1(number: float, pixel_mm: float) -> float:
    """Lag-1 autocorrelation of high-passed noise that the kernel model predicts at ``pixel_mm``.

    Filtered back-projection colours white sinogram noise as f M(f)^2; sampling aliases what lies beyond Nyquist.
    """
    density = noise_power(number, pixel_mm)
    size = density.shape[0]
    omega = 2.0 * np.pi * np.fft.fftfreq(size)
    attenuation = np.exp(-0.5 * (HIGH_PASS_SIGMA * omega) ** 2)
    density = density * (1.0 - attenuation[:, None] * attenuation[None, :]) ** 2
    return float((density * np.cos(omega)[None, :]).sum() / density.sum())


def noise_power(number: float, pixel_mm: float, size: int = 64) -> NDArray[np.float64]:
    """Modelled noise power (size, size) of a kernel on the pixel grid, FFT order, arbitrary scale, aliasing included."""
    frequency = np.fft.fftfreq(size, pixel_mm / 10.0)
    period = 10.0 / pixel_mm
    total = np.zeros((size, size))
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            radius = np.hypot(frequency[:, None] + row * period, frequency[None, :] + column * period)
            total += radius * kernel_mtf(number, radius) ** 2
    return total


def _lag_one(noise: FloatArray, tissue: BoolArray, axis: int) -> float:
    head, tail = (tuple(part if n == axis else slice(None) for n in range(3)) for part in (slice(None, -1), slice(1, None)))
    both = tissue[head] & tissue[tail]
    return float(np.mean(noise[head][both] * noise[tail][both])) if both.any() else 0.0


@lru_cache(maxsize=1)
def _trend() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = np.mgrid[:PATCH, :PATCH].reshape(2, -1) / PATCH - 0.5
    basis = np.stack([np.ones_like(rows), rows, columns, rows**2, columns**2, rows * columns], axis=1)
    return basis, np.linalg.pinv(basis)
