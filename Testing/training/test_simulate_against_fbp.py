"""The fast scanner model against full filtered back-projection of exact line integrals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.simulate.kernel_family import SMOOTH_KERNEL, nominal_kernel
from training.simulate.noise import (
    CHANNEL_SPACING,
    REBINNING_BLUR,
    WATER_ATTENUATION,
    Dose,
    NoiseChain,
    attenuation,
    coarse_grid,
    reading_noise,
)
from training.simulate.projector import back_project
from training.simulate.sampling import DETECTOR_APERTURE, FOCUS_WIDTH, Grid, Mtf, SignalChain

pytestmark = pytest.mark.slow

VIEWS = 1152
CHANNELS = 1024
GRID = Grid((0.0,), 0.6, 160)
# (y, x, radius) mm and HU relative to what lies below: body, lung, spine-like insert, vessels, an emphysema hole.
DISCS = (
    (0.0, 0.0, 90.0, 1040.0),
    (3.0, 4.0, 44.0, -890.0),
    (-20.0, -12.0, 6.0, 700.0),
    (10.0, 12.0, 1.5, 850.0),
    (-6.0, 20.0, 0.6, 850.0),
    (18.0, -8.0, 4.0, -100.0),
)


def line_integrals(sub_rays: int = 5) -> NDArray[np.float64]:
    """Exact chords through the discs, averaged over aperture and focus: (VIEWS, CHANNELS)."""
    angles = np.arange(VIEWS) * np.pi / VIEWS
    fine = (np.arange(CHANNELS * sub_rays) - 0.5 * (CHANNELS * sub_rays - 1)) * CHANNEL_SPACING / sub_rays
    total = np.zeros((VIEWS, fine.size))
    for y, x, radius, hu in DISCS:
        distance = fine[None, :] - (x * np.cos(angles) + y * np.sin(angles))[:, None]
        total += hu / 1000.0 * WATER_ATTENUATION * 2.0 * np.sqrt(np.maximum(radius**2 - distance**2, 0.0))
    f = np.fft.rfftfreq(fine.size, CHANNEL_SPACING / sub_rays)
    blurred = np.fft.irfft(np.fft.rfft(total) * np.sinc(DETECTOR_APERTURE * f) * np.sinc(FOCUS_WIDTH * f), fine.size)
    return blurred[:, sub_rays // 2 :: sub_rays]


def reconstruct(sinogram: NDArray[np.float64], mtf: Mtf) -> NDArray[np.float32]:
    """Filtered back-projection in HU with the space-domain ramp (no bias at zero frequency)."""
    size = 2 * CHANNELS
    n = np.fft.fftfreq(size, 1.0 / size)
    ramp = np.where(n % 2 == 1, -1.0 / (np.pi * np.where(n == 0, 1, n) * CHANNEL_SPACING) ** 2, 0.0)
    ramp[0] = 1.0 / (4.0 * CHANNEL_SPACING**2)
    response = np.real(np.fft.fft(ramp)) * CHANNEL_SPACING
    f = np.abs(np.fft.fftfreq(size, CHANNEL_SPACING))
    # Linear interpolation of the back-projection is divided out; aperture and focus are in the line integrals and stay.
    window = mtf(10.0 * f) / np.sinc(CHANNEL_SPACING * f) ** 2
    filtered = np.fft.ifft(np.fft.fft(sinogram, size, axis=1) * response * window, axis=1)[:, :CHANNELS]
    angles = (np.arange(VIEWS) * np.pi / VIEWS).astype(np.float32)
    image = back_project(filtered.astype(np.complex64), angles, CHANNEL_SPACING, GRID.pixel, GRID.matrix)
    return image.real * 1000.0 / np.float32(WATER_ATTENUATION) - 1000.0


def sampled_object(grid: Grid) -> NDArray[np.float32]:
    """The discs on a grid, borders partial-volumed by 3 x 3 sub-samples."""
    y, x = grid.axes()
    hu = np.full((grid.matrix, grid.matrix), -1000.0)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            yy, xx = y[:, None] + dy * grid.pixel / 3, x[None, :] + dx * grid.pixel / 3
            for cy, cx, radius, value in DISCS:
                hu += value / 9.0 * (np.hypot(yy - cy, xx - cx) < radius)
    return hu.astype(np.float32)


@pytest.mark.parametrize(("number", "tolerance"), [(20, 1.3), (50, 3.0), (70, 6.0)])
def test_the_signal_is_that_of_filtered_back_projection(number: int, tolerance: float) -> None:
    """Root-mean-square difference over lungs, vessels and borders: 1.0, 2.3 and 4.7 HU."""
    kernel = SMOOTH_KERNEL if number == 20 else nominal_kernel(number)
    exact = reconstruct(line_integrals(), kernel.mtf)
    fast = SignalChain(GRID, (kernel.mtf,))(sampled_object(GRID.fine()))[0]
    inside = np.s_[10:-10, 10:-10]
    difference = exact[inside] - fast[inside]
    assert np.sqrt(np.mean(difference**2)) < tolerance
    assert abs(difference.mean()) < 1.0
    lung = np.s_[70:90, 84:92]
    assert exact[lung].mean() == pytest.approx(fast[lung].mean(), abs=2.0)


def test_the_noise_is_that_of_counted_quanta() -> None:
    """Standard deviation of logarithms of Poisson counts through full back-projection, against the Gaussian model."""
    rng = np.random.default_rng(0)
    clean = line_integrals()
    dose = Dose(4e4, 0.0)
    offsets = (np.arange(CHANNELS) - 0.5 * (CHANNELS - 1)) * CHANNEL_SPACING
    bowtie = np.exp(-2.3 * (offsets / 250.0) ** 2)
    # The model spreads I0 over 500 views; more views carry less each.
    quanta = dose.quanta * 500.0 / VIEWS * bowtie * np.exp(-clean)
    counted = np.maximum(rng.poisson(quanta) + rng.normal(0.0, 20.0 * np.sqrt(500.0 / VIEWS), quanta.shape), 1.0)
    noisy = -np.log(counted / quanta)
    kernel = nominal_kernel(50)
    full = reconstruct(noisy, lambda f: kernel.mtf(f) * np.sinc(REBINNING_BLUR * np.asarray(f) / 10.0)) + 1000.0
    grid = coarse_grid((0.0,))
    spread = reading_noise(attenuation(sampled_object(grid)), dose, 0.0)
    chain = NoiseChain(GRID, kernel.mtf, SMOOTH_KERNEL.mtf)
    fast = [chain.reconstruct(white, spread)[0] for white in chain.draw_white(2, 0.0, rng)]
    centre = np.s_[30:130, 30:130]
    assert np.mean([f[centre].std() for f in fast]) == pytest.approx(full[centre].std(), rel=0.06)
