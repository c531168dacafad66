"""Truncation inside the reconstruction: the averaged images are what they claim, and air looks as on real scanners."""

from __future__ import annotations

import json

import numpy as np
import pytest

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.truncation.model import Truncation
from training.simulate.floors import to_integers
from training.simulate.kernel_family import SMOOTH_KERNEL, nominal_kernel
from training.simulate.noise import COARSE_MATRIX, COARSE_VIEWS, NoiseChain
from training.simulate.sampling import Grid
from training.simulate.truncated import (
    _images,
    _moves,
    draw_truncation,
    draw_weights,
    truncated,
    truncation_meta,
    truncation_of,
)

AIR_HU = -1001.0
UNEQUAL = Truncation(-1024.0, (0.2, 0.5, 0.3), 0.3)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """Back-projected B70f noise (j, i) of 63 HU, as the thin Siemens pair has it after averaging."""
    chain = NoiseChain(Grid((0.0,), 0.7, 256), nominal_kernel(70).mtf, SMOOTH_KERNEL.mtf)
    flat = np.full((COARSE_VIEWS, COARSE_MATRIX), 0.02, np.float32)
    made = chain.reconstruct(chain.draw_white(1, 0.0, np.random.default_rng(0))[0], flat)[0]
    return (made * (63.0 / made.std())).astype(np.float32)


@pytest.mark.parametrize("truncation", [Truncation.of_equal_images(4, 0.24), UNEQUAL, Truncation.of_equal_images(12, 0.7)])
def test_the_images_have_the_asked_mean_noise_and_correlation(noise: np.ndarray, truncation: Truncation) -> None:
    images = _images(AIR_HU + noise, noise, truncation, np.random.default_rng(3)) - AIR_HU
    # single precision of values about 1000
    np.testing.assert_allclose(np.tensordot(truncation.weights, images, 1), noise, atol=1e-3)
    np.testing.assert_allclose(images.std(axis=(1, 2)), 63.0 / truncation.noise_ratio, rtol=0.03)
    correlations = np.corrcoef(images.reshape(truncation.images, -1))[np.triu_indices(truncation.images, 1)]
    np.testing.assert_allclose(correlations, truncation.correlation, atol=0.05)


def test_noise_moved_in_the_plane_is_uncorrelated_with_itself(noise: np.ndarray) -> None:
    moves = [(0, 0), *_moves(11, np.random.default_rng(1))]
    moved = np.stack([np.roll(noise, move, axis=(0, 1)).reshape(-1) for move in moves])
    between = np.corrcoef(moved)[np.triu_indices(len(moves), 1)]
    assert np.abs(between).max() < 0.05
    assert all(12.0 <= np.hypot(*move) <= 41.0 for move in moves[1:])


def test_an_image_keeps_the_colour_of_the_noise(noise: np.ndarray) -> None:
    images = _images(noise, noise, UNEQUAL, np.random.default_rng(2))

    def lag(field: np.ndarray) -> float:
        return float((field[:, 1:] * field[:, :-1]).mean() / (field**2).mean())

    for image in images:
        assert lag(image) == pytest.approx(lag(noise), abs=0.02)


def test_averaged_air_looks_like_the_series_it_was_fitted_to(noise: np.ndarray) -> None:
    """Outside air of the thin Siemens pair's B70f: mean -974, SD 42, 6.7 % at the floor; one image alone cannot."""
    air = (AIR_HU + noise)[None]
    stored, clipped = (
        to_integers(truncated(air, noise[None], truncation, np.random.default_rng(0)))
        for truncation in (Truncation.of_equal_images(4, 0.24), Truncation())
    )
    assert stored.mean() == pytest.approx(-974.0, abs=3.0)
    assert stored.std() == pytest.approx(42.0, abs=3.0)
    assert 100.0 * np.mean(stored == -1024) == pytest.approx(6.7, abs=1.5)
    assert np.mean(clipped == -1024) > 0.3


def test_one_image_is_a_plain_clip_and_none_leaves_everything() -> None:
    hu = np.array([[[-1500.0, -1024.4, -950.0, 5000.0]]], np.float32)
    nothing, rng = np.zeros_like(hu), np.random.default_rng(0)
    assert truncated(hu, nothing, Truncation(), rng).tolist() == [[[-1024.0, -1024.0, -950.0, 3071.0]]]
    assert truncated(hu, nothing, Truncation(-1000.0), rng)[0, 0, 0] == -1000.0
    assert truncated(hu, nothing, None, rng)[0, 0, 0] == -1500.0
    assert hu[0, 0, 0] == -1500.0


def test_one_seed_gives_two_kernels_the_same_departures(noise: np.ndarray) -> None:
    """An image that is a fraction of another, noise and all, departs by that fraction."""
    truncation = Truncation.of_equal_images(3, 0.2)
    whole, half = (_images(0.0 * noise, n, truncation, np.random.default_rng(7)) for n in (noise, 0.5 * noise))
    np.testing.assert_allclose(half, 0.5 * whole, atol=1e-3)


def test_noise_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(1, 4, 4\)"):
        truncated(np.zeros((2, 4, 4), np.float32), np.zeros((1, 4, 4), np.float32), None, np.random.default_rng(0))


def test_drawn_weights_are_a_mean_and_half_of_them_unequal() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_weights(4, rng) for _ in range(200)]
    assert all(sum(w) == pytest.approx(1.0) and min(w) > 0.02 for w in drawn)
    assert 0.35 < np.mean([max(w) > min(w) for w in drawn]) < 0.65
    assert draw_weights(1, rng) == (1.0,)


def test_any_truncation_of_real_scanners_is_drawn() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_truncation(rng) for _ in range(400)]
    assert None in drawn
    # what is written into a patient's meta data is read back exactly
    assert all(truncation_of(json.loads(json.dumps({"truncation": truncation_meta(t)}))) == t for t in drawn)
    assert {t.images for t in drawn if t is not None} == set(range(1, 9))
