"""Slices interpolated after truncation: found by their noise, restored each by its own shares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from core.chests import coloured_noise, make_chest
from numpy.typing import NDArray

from KernelNormalizationLib.core.kernels.mtf import gain_to_b20f
from KernelNormalizationLib.core.kernels.radial_filter import Gain
from KernelNormalizationLib.core.simulated_chest import make_sample
from KernelNormalizationLib.core.truncation.estimation import estimate_plan
from KernelNormalizationLib.core.truncation.interpolated_slices import Interpolated, find_interpolation
from KernelNormalizationLib.core.truncation.loss_table import LossTable
from KernelNormalizationLib.core.truncation.model import Truncation
from KernelNormalizationLib.core.truncation.restoration import restore_slices

PIXEL = (0.7, 0.7)
SIDE = 256


def _gain(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    return gain_to_b20f(70.0, frequency)


GAIN: Gain = _gain


def _positions(count: int, step: float, phase: float = 0.0) -> NDArray[np.float64]:
    return phase + np.arange(count) * step


def _shares(place: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.minimum(place % 1.0, 1.0 - place % 1.0)


def _along(hu: NDArray[np.float32], place: NDArray[np.float64]) -> NDArray[np.float32]:
    low = np.minimum(place.astype(int), len(hu) - 2)
    part = (place - low).astype(np.float32)[:, None, None]
    mixed: NDArray[np.float32] = (1.0 - part) * hu[low] + part * hu[low + 1]
    return mixed


def _tissue(count: int, correlation: float = 0.24, seed: int = 3) -> NDArray[np.float32]:
    """Slices of soft tissue in air with the noise of a sharp kernel, neighbours correlated, HU."""
    white = np.random.default_rng(seed).standard_normal((count + 1, SIDE, SIDE)).astype(np.float32)
    a = 0.5 * (np.sqrt(1.0 + 2.0 * correlation) + np.sqrt(1.0 - 2.0 * correlation))
    image = np.full((SIDE, SIDE), -1000.0, np.float32)
    image[40:-40, 30:-30] = 40.0
    mixed: NDArray[np.float32] = image + 90.0 * (a * white[:-1] + np.sqrt(1.0 - a * a) * white[1:])
    return mixed


@pytest.mark.parametrize(("step", "phase"), [(1.0 / 0.7, 0.0), (1.0 / 0.8, 0.3), (0.8, 0.1)])
@pytest.mark.parametrize("count", [5, 60])
def test_shares_are_read_from_the_noise(step: float, phase: float, count: int) -> None:
    place = _positions(count, step, phase)
    found = find_interpolation(_along(_tissue(int(place[-1]) + 3), place))
    assert found is not None
    assert found.step == pytest.approx(step, abs=0.03)
    assert np.abs([s.share for s in found.slices] - _shares(place)).max() < 0.08


@pytest.mark.parametrize("count", [5, 60])
def test_slices_as_reconstructed_are_left_alone(count: int) -> None:
    assert find_interpolation(_tissue(count)) is None


def test_copies_of_slices_are_known_for_what_they_are() -> None:
    place = _positions(6, 1.0 / 0.7)
    stored = _along(_tissue(int(place[-1]) + 3), place)
    order = [0, 1, 2, 3, 4, 5, 4, 3]
    found, mirrored = find_interpolation(stored), find_interpolation(stored[order])
    assert found is not None
    assert mirrored is not None
    assert mirrored.slices == tuple(found.slices[k] for k in order)


def test_noise_that_follows_the_body_is_no_interpolation() -> None:
    slices = _tissue(40)
    stronger = np.exp(0.5 * np.sin(np.arange(40) / 6.0)).astype(np.float32)
    assert find_interpolation(40.0 + stronger[:, None, None] * (slices - 40.0)) is None


def test_noise_that_turns_with_the_spiral_is_no_interpolation() -> None:
    slices = _tissue(40)
    turning = np.sqrt(1.0 + 0.08 * np.sin(np.arange(40) * 1.9)).astype(np.float32)
    assert find_interpolation(40.0 + turning[:, None, None] * (slices - 40.0)) is None


def test_chance_in_the_noise_of_little_tissue_is_no_interpolation() -> None:
    # Of thirty such chests the noise of five, this one among them, varies by chance as if slices had been interpolated.
    chest = make_sample(105, (24, 192, 192), (10.8, 1.73, 1.73)).sharp
    assert find_interpolation(chest.hu) is None


def test_too_few_slices_or_no_tissue_tell_nothing() -> None:
    assert find_interpolation(_along(_tissue(6), _positions(3, 1.4))) is None
    assert find_interpolation(_along(_tissue(9) - 900.0, _positions(5, 1.4))) is None


@pytest.mark.parametrize("share", [0.025, 0.1, 0.3])
@pytest.mark.parametrize("count", [1, 4, 12])
def test_a_second_slice_changes_neither_mean_nor_noise_of_the_table(share: float, count: int) -> None:
    """Its images have weights down to 0.002, less than a cell of the table."""
    images = Truncation.of_equal_images(count, 0.1)
    how = Interpolated(share, 0.25)
    alone, both = LossTable.of(images), LossTable.of(how.of(images))
    assert both.mean == pytest.approx(alone.mean, abs=0.004)
    far = alone.t > 4.0
    assert both.sd[far] == pytest.approx(alone.sd[far] * how.noise_ratio, rel=0.02)


@pytest.mark.parametrize("images", [Truncation(), Truncation.of_equal_images(3, 0.24)])
def test_the_table_of_an_interpolated_slice_agrees_with_drawn_images(images: Truncation) -> None:
    share, between, mean, one = 0.3, 0.25, -980.0, 60.0
    how = Interpolated(share, between)
    rng, n = np.random.default_rng(1), 400_000
    # Images of one slice have the correlation r, those of two slices share what makes their means correlate.
    across = between * images.noise_ratio**2
    every = rng.standard_normal(n) * np.sqrt(across)
    sums = []
    for _ in range(2):
        own = rng.standard_normal(n) * np.sqrt(max(images.correlation - across, 0.0) if images.images > 1 else 0.0)
        rest = np.sqrt(1.0 - across - (max(images.correlation - across, 0.0) if images.images > 1 else 0.0))
        drawn = mean + one * (every + own + rest * rng.standard_normal((images.images, n)))
        weight = np.asarray(images.weights)[:, None]
        sums.append(((weight * drawn).sum(axis=0), (weight * np.maximum(drawn, -1024.0)).sum(axis=0)))
    whole, stored = ((1.0 - share) * a + share * b for a, b in zip(*sums, strict=True))
    truncation = how.of(images)
    assert whole.std() / one == pytest.approx(truncation.noise_ratio, rel=0.01)
    t = np.full(n, (mean + 1024.0) / one, np.float32)
    u = ((stored + 1024.0) / one).astype(np.float32)
    told = LossTable.of(truncation).look_up(t, u, stored <= -1023.5)[0] * one
    for low, high in ((0.1, 0.4), (0.4, 0.8), (0.8, 1.5)):
        some = (u > low) & (u < high)
        assert told[some].mean() == pytest.approx(float((whole - stored)[some].mean()), abs=0.05 * one)
    assert told.mean() == pytest.approx(float((whole - stored).mean()), rel=0.06)


@pytest.mark.slow
def test_each_slice_is_restored_by_its_own_shares() -> None:
    place = _positions(6, 1.0 / 0.7)
    count = int(place[-1]) + 2
    chest = make_chest(slices=count, side=SIDE, noise_hu=0.0, floor=None, scale=0.72)
    whole = (chest.volume.hu + coloured_noise(70.0, (count, SIDE, SIDE), PIXEL[0], 90.0, 5)).astype(np.float32)
    stored = np.rint(_along(np.maximum(whole, -1024.0), place)).astype(np.float32)
    lost = _along(whole, place) - stored
    lungs = chest.lungs[np.rint(place).astype(int)]
    found = find_interpolation(stored)
    assert found is not None

    def errors(slices: tuple[Interpolated, ...]) -> list[float]:
        """Mean HU in the lungs of each slice by which what was lost is missed."""
        plan = estimate_plan(stored, PIXEL, GAIN, -1024.0, None, slices)
        restored = restore_slices(stored, PIXEL, GAIN, replace(plan, interpolation=found if slices else None))[1]
        return [float(abs((restored[k] - lost[k])[lungs[k]].mean())) for k in range(len(stored))]

    assert max(errors(found.slices)) < 0.6
    assert max(errors(())) > 1.2
