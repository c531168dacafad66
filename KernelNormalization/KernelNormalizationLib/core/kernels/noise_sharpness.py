"""Sharpness of a reconstruction, estimated from the spectrum or autocorrelation of its noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..arrays import BoolArray, FloatArray
from ..imaging.filters import smoothed
from ..imaging.reconstruction_plane import in_reconstruction_plane
from ..volume import CTVolume
from .mtf import KERNELS, kernel_mtf
from .noise_fit import FamilyFit, fit_family
from .noise_spectrum import NoiseSpectrum, aliased_noise_power, chosen_slices, measure_noise_spectrum, slices_apart

# Noise is the image minus its Gaussian blur of 3 pixels. Homogeneous tissue is where that blur lies between 0 and 80 HU and
# differs by less than FLAT_HU from a blur twice as wide.
HIGH_PASS_SIGMA = 3.0
TISSUE_HU = (0.0, 80.0)
FLAT_HU = 12.0
# Air is where the blur lies in this range. It is wide because truncation at -1024 HU raises the mean of air in images of sharp
# kernels, in real scans by up to 35 HU.
AIR_HU_RANGE = (-1040.0, -960.0)
# Up to this kernel number a scan counts as smooth already. Real B10f to B30f were estimated as 30 or less.
SMOOTH_NUMBER = 32.0
MINIMUM_TISSUE_VOXELS = 2000
# Less noise (HU) than this is no evidence against the kernel in the header: normalized chests have 9 to 20 HU, a noise-free
# B70f phantom 2 HU. The limit in air is lower, because air holds no anatomy and less noise: real B20f slices have 3.8 to 11 HU
# there.
TELLING_NOISE_HU, TELLING_IN_AIR_HU = 5.0, 2.0


@dataclass(frozen=True)
class Sharpness:
    """Noise of a volume in homogeneous soft tissue, or in air, and the sharpness that follows from it.

    Attributes:
        rho1: lag-1 autocorrelation of the high-passed noise, mean of rows and columns; the sharper the kernel, the lower.
        noise_sd: standard deviation of that noise, HU.
        kernel_number: number (10 to 80) of the Siemens B kernel whose published noise spectrum is closest; without a measured
            spectrum, the number with the same rho1.
        voxels: number of voxels used.
        spectrum: noise power spectrum; ``None`` if there is too little homogeneous tissue and too little untruncated air.
        family: fit of the Siemens B family to the spectrum; ``None`` without a spectrum.
        place: where the spectrum, or else the autocorrelation, was measured.
    """

    rho1: float
    noise_sd: float
    kernel_number: float
    voxels: int
    spectrum: NoiseSpectrum | None = None
    family: FamilyFit | None = None
    place: Literal["soft tissue", "air"] = "soft tissue"

    @property
    def is_telling(self) -> bool:
        """Whether there is enough noise to contradict the kernel that the header or the user names."""
        return self.noise_sd >= (TELLING_IN_AIR_HU if self.place == "air" else TELLING_NOISE_HU)


def estimate_sharpness(volume: CTVolume) -> Sharpness | None:
    """Measure the noise of ``volume``; ``None`` if it shows too little homogeneous soft tissue and air.

    The noise is measured in the plane of reconstruction, whatever order the voxels are stored in.

    Raises:
        InputError: the volume is stored obliquely.
    """
    volume = in_reconstruction_plane(volume).volume
    slice_mm = volume.geometry.spacing[0]
    places = chosen_slices(volume.shape[0], slices_apart(slice_mm, volume.acquisition.slice_thickness_mm))
    hu = volume.filled()
    first, second = hu[places[0]], hu[places[1]]
    pixel = float(np.mean(volume.geometry.spacing[1:]))
    tissue = homogeneous_tissue(first)
    spectrum = measure_noise_spectrum(first, second, tissue & homogeneous_tissue(second), pixel)
    if spectrum is None:
        lowest = float(hu.min())
        outside = volume.padding_mask[places[0]] | volume.padding_mask[places[1]]
        air = homogeneous_air(first) & homogeneous_air(second) & ~outside
        in_air = measure_noise_spectrum(first, second, air, pixel, floor_hu=lowest)
        if in_air is not None:
            return _read(high_passed(first), air, pixel, in_air, "air")
    return _read(high_passed(first), tissue, pixel, spectrum, "soft tissue")


def _read(
    noise: FloatArray, where: BoolArray, pixel: float, spectrum: NoiseSpectrum | None, place: Literal["soft tissue", "air"]
) -> Sharpness | None:
    """Sharpness from high-passed slices (k, j, i) in the voxels ``where``; ``None`` for too few voxels or no noise."""
    voxels = int(np.count_nonzero(where))
    if voxels < MINIMUM_TISSUE_VOXELS:
        return None
    variance = float(np.mean(noise[where] ** 2))
    if variance == 0.0:
        return None
    rho1 = float(np.mean([_lag_one(noise, where, axis) for axis in (1, 2)])) / variance
    family = None if spectrum is None else fit_family(spectrum)
    number = kernel_number_of_rho1(rho1, pixel) if family is None else family.number
    return Sharpness(rho1, variance**0.5, number, voxels, spectrum, family, place)


def high_passed(hu: FloatArray) -> FloatArray:
    """``hu`` (k, j, i) minus its in-plane Gaussian blur of 3 pixels, HU."""
    result: FloatArray = hu - smoothed(hu, HIGH_PASS_SIGMA)
    return result


def homogeneous_tissue(hu: FloatArray) -> BoolArray:
    """Voxels (k, j, i) in soft tissue (0 to 80 HU) away from edges."""
    narrow, wide = smoothed(hu, HIGH_PASS_SIGMA), smoothed(hu, 2.0 * HIGH_PASS_SIGMA)
    mask: BoolArray = (narrow > TISSUE_HU[0]) & (narrow < TISSUE_HU[1]) & (np.abs(narrow - wide) < FLAT_HU)
    return mask


def homogeneous_air(hu: FloatArray) -> BoolArray:
    """Voxels (k, j, i) in air (-1040 to -960 HU) away from edges. The caller has to exclude padding."""
    narrow, wide = smoothed(hu, HIGH_PASS_SIGMA), smoothed(hu, 2.0 * HIGH_PASS_SIGMA)
    mask: BoolArray = (narrow > AIR_HU_RANGE[0]) & (narrow < AIR_HU_RANGE[1]) & (np.abs(narrow - wide) < FLAT_HU)
    return mask


def kernel_number_of_rho1(rho1: float, pixel_mm: float) -> float:
    """Kernel number (10 to 80) whose modelled noise has lag-1 autocorrelation ``rho1`` at ``pixel_mm``.

    Values outside the range of the family give 10 or 70. Above B55f rho1 no longer falls with the number (B60f -0.10, B70f
    -0.08, B80f 0.02 at 0.7 mm), so all sharper kernels are reported as B70f, the most common of them; only the noise spectrum
    distinguishes them.
    """
    numbers = np.append(np.arange(min(KERNELS), 56), 70)
    expected = np.array([expected_rho1(float(n), round(pixel_mm, 3)) for n in numbers])
    falling = np.minimum.accumulate(expected)
    return float(np.interp(-rho1, -falling, numbers))


@lru_cache(maxsize=1024)
def expected_rho1(number: float, pixel_mm: float) -> float:
    """Lag-1 autocorrelation of high-passed noise that the kernel model predicts for pixels of ``pixel_mm``.

    It follows from the noise power f M(f)^2 with aliasing (:func:`.noise_spectrum.aliased_noise_power`) and the high-pass.
    """
    density = noise_power(number, pixel_mm)
    size = density.shape[0]
    omega = 2.0 * np.pi * np.fft.fftfreq(size)
    attenuation = np.exp(-0.5 * (HIGH_PASS_SIGMA * omega) ** 2)
    density = density * (1.0 - attenuation[:, None] * attenuation[None, :]) ** 2
    return float((density * np.cos(omega)[None, :]).sum() / density.sum())


def noise_power(number: float, pixel_mm: float, size: int = 64) -> NDArray[np.float64]:
    """Modelled noise power (size, size) of a kernel on the pixel grid, FFT order, arbitrary scale, aliasing included."""
    return aliased_noise_power(lambda frequency: kernel_mtf(number, frequency), pixel_mm, size)


def _lag_one(noise: FloatArray, tissue: BoolArray, axis: int) -> float:
    head, tail = (tuple(part if n == axis else slice(None) for n in range(3)) for part in (slice(None, -1), slice(1, None)))
    both = tissue[head] & tissue[tail]
    return float(np.mean(noise[head][both] * noise[tail][both])) if both.any() else 0.0
