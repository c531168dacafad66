"""Slices interpolated after truncation: found, and what was taken from both of their parents is estimated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from KernelNormalizationLib.core.censoring import restore_slices
from KernelNormalizationLib.core.floor import HUFloor
from KernelNormalizationLib.core.linear import b20f_gain
from KernelNormalizationLib.core.normal import both_below, inverse_mills
from KernelNormalizationLib.core.radial import apply_gain
from KernelNormalizationLib.core.slicemix import CORRELATION, SliceMix, expect_mixed

PIXEL = (0.7, 0.7)
GAIN = b20f_gain(80)
FLOOR = HUFloor("clipped", -1024.0)
REGIONS = {"emphysema": (np.s_[20:-20, 70:180], -965.0), "lung": (np.s_[20:-20, 220:330], -880.0)}
Image = NDArray[np.float32]


def parents(sd: float, seed: int = 3) -> NDArray[np.float64]:
    """Two neighbouring slices before truncation, (2, 256, 384): tissue, emphysema and lung under correlated sharp noise."""
    rng = np.random.default_rng(seed)
    truth = np.full((256, 384), 40.0)
    truth[:, 50:200], truth[:, 200:350] = -965.0, -880.0
    frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(384)[None, :])
    white = rng.standard_normal((2, 256, 384))
    white[1] = CORRELATION * white[0] + math.sqrt(1.0 - CORRELATION**2) * white[1]
    noise = np.fft.ifft2(np.fft.fft2(white) * np.sqrt(frequency)).real
    return truth + noise * (sd / noise.std())


def resampled(weight: float, sd: float = 110.0) -> tuple[Image, Image]:
    """The slice a resampled series stores, and what it would be without the floor; (1, 256, 384), HU."""
    both = parents(sd)
    clipped = np.maximum(np.rint(both), FLOOR.value)
    mixed, truth = (weight * pair[0] + (1.0 - weight) * pair[1] for pair in (clipped, both))
    return np.rint(mixed).astype(np.float32)[None], truth.astype(np.float32)[None]


@pytest.mark.parametrize("weight", [0.5, 0.71, 0.86, 1.0])
def test_emphysema_and_lung_of_a_resampled_series_get_back_their_mean(weight: float) -> None:
    sharp, truth = resampled(weight)
    linear, restored = (image[0] for image in (apply_gain(sharp, PIXEL, GAIN), restore_slices(sharp, PIXEL, GAIN, FLOOR)))
    exact = apply_gain(truth, PIXEL, GAIN)[0]
    emphysema = REGIONS["emphysema"][0]
    assert linear[emphysema].mean() > -965.0 + 15.0
    for name, (region, mean) in REGIONS.items():
        assert restored[region].mean() == pytest.approx(mean, abs=5.0), name
    assert np.abs(restored - exact)[emphysema].mean() < 0.5 * np.abs(linear - exact)[emphysema].mean()


@pytest.mark.parametrize("weight", [0.5, 0.71, 0.86])
def test_expectation_is_right_for_every_stored_value(weight: float) -> None:
    rng = np.random.default_rng(4)
    mean, sd = -960.0, 110.0
    first = rng.standard_normal((600, 800))
    second = CORRELATION * first + math.sqrt(1.0 - CORRELATION**2) * rng.standard_normal((600, 800))
    truth = mean + sd * (weight * first + (1.0 - weight) * second)
    mixed = weight * np.maximum(mean + sd * first, FLOOR.value) + (1.0 - weight) * np.maximum(mean + sd * second, FLOOR.value)
    image = mixed.astype(np.float32)
    expected, variance = image.copy(), np.zeros_like(image)
    level, spread = (np.full(image.shape, value, np.float32) for value in (mean, sd))
    everywhere = np.ones(image.shape, dtype=bool)
    expect_mixed(image, level, spread, everywhere, FLOOR, SliceMix(weight), expected, variance)
    for low, high in ((-1024.1, -1023.6), (-1023.6, -1000.0), (-1000.0, -970.0), (-970.0, -930.0), (-930.0, -860.0)):
        chosen = (image >= low) & (image < high)
        error = (truth - expected)[chosen]
        assert error.mean() == pytest.approx(0.0, abs=1.0), (low, high)
        if low > -1024.0:  # at the floor the spread of two truncated values is approximated
            assert variance[chosen].mean() == pytest.approx(error.var(), rel=0.05, abs=5.0), (low, high)


# Two estimates do not reach the mean of emphysema under the strongest noise; taken for a mixture it would be overshot.
@pytest.mark.parametrize(("sd", "within"), [(40.0, 2.0), (80.0, 2.0), (110.0, 4.0), (200.0, 9.0)])
def test_slices_as_reconstructed_are_not_taken_for_resampled_ones(sd: float, within: float) -> None:
    sharp = np.rint(np.maximum(parents(sd)[:1], FLOOR.value)).astype(np.float32)
    restored = restore_slices(sharp, PIXEL, GAIN, FLOOR)[0]
    for name, (region, mean) in REGIONS.items():
        assert restored[region].mean() == pytest.approx(mean, abs=within), name
        assert restored[region].mean() > mean - 1.0, name


def test_noise_of_a_mixture_is_that_of_the_weighted_sum() -> None:
    assert SliceMix().noise == 1.0
    assert SliceMix(0.5).noise == pytest.approx(math.sqrt(0.5 * (1.0 + CORRELATION)))


def test_tables_of_the_normal_distribution() -> None:
    zero = np.zeros(1)
    assert both_below(zero, 0.24)[0] == pytest.approx(0.25 + math.asin(0.24) / (2.0 * math.pi), abs=1e-6)
    assert both_below(np.array([1.3]), 0.0)[0] == pytest.approx((0.5 * math.erfc(-1.3 / math.sqrt(2.0))) ** 2, abs=1e-6)
    assert inverse_mills(zero)[0] == pytest.approx(math.sqrt(2.0 / math.pi), abs=1e-6)
    assert inverse_mills(np.array([-6.0]))[0] == pytest.approx(6.158, abs=1e-2)
