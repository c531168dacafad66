"""Air outside the part of the image that the network sees."""

from __future__ import annotations

import numpy as np
import pytest

from KernelNormalizationLib.core.outerair import OuterAir

FLOOR = -1023.5


def _air(seed: int, shape: tuple[int, int] = (64, 64)) -> tuple[np.ndarray, np.ndarray]:
    noisy = np.random.default_rng(seed).normal(-1000.0, 90.0, shape)
    sharp = np.maximum(np.rint(noisy), -1024.0).astype(np.float32)
    return sharp, np.full(shape, sharp.mean(), np.float32)


def test_air_beyond_the_crop_gets_the_change_of_the_air_inside() -> None:
    sharp, base = _air(1)
    air = OuterAir(FLOOR)
    air.observe(sharp[None], base[None], base[None] - 28.0)
    assert air.change == pytest.approx(-28.0)
    unseen, linear = _air(2)
    assert np.mean(air.apply(unseen, linear) - linear) == pytest.approx(-28.0, abs=0.5)


def test_table_and_air_without_truncated_voxels_stay_as_they_are() -> None:
    sharp, base = _air(1)
    air = OuterAir(FLOOR)
    air.observe(sharp[None], base[None], base[None] - 28.0)
    calm = np.full((64, 64), -1000.0, np.float32)
    np.testing.assert_array_equal(air.apply(calm, calm), calm)
    table = np.full((64, 64), -300.0, np.float32)
    np.testing.assert_array_equal(air.apply(sharp, table), table)


def test_without_truncated_air_in_the_crop_nothing_changes() -> None:
    air = OuterAir(FLOOR)
    calm = np.full((1, 64, 64), -1000.0, np.float32)
    air.observe(calm, calm, calm - 5.0)
    sharp, base = _air(3)
    np.testing.assert_array_equal(air.apply(sharp, base), base)
