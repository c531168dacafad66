"""Noise of lungs apart from their texture: expected from the rays, and told in the correlation of the averaged images."""

from __future__ import annotations

import numpy as np
import pytest

from KernelNormalizationLib.core.truncation.lung_texture import KAPPA, with_texture
from KernelNormalizationLib.core.truncation.model import Truncation
from KernelNormalizationLib.core.truncation.ray_noise import WATER_PER_MM, noise_by_rays

RADIUS_MM, PIXEL_MM, SIDE = 90.0, 1.0, 256


def _disc() -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE] - 0.5 * (SIDE - 1)
    return np.where(np.hypot(rows, columns) < RADIUS_MM, 0.0, -1000.0).astype(np.float32)


def _expected_in_water(distance_mm: float) -> float:
    """Noise at a distance from the middle of a disc of water: mean over the rays through it."""
    angle = np.linspace(0.0, np.pi, 2000)
    path = 2.0 * np.sqrt(RADIUS_MM**2 - (distance_mm * np.sin(angle)) ** 2)
    return float(np.sqrt(np.exp(WATER_PER_MM * path).mean()))


@pytest.mark.parametrize("distance", [30, 60])
def test_noise_of_a_disc_of_water_falls_from_its_middle_as_its_rays_say(distance: int) -> None:
    noise = noise_by_rays(_disc(), (PIXEL_MM, PIXEL_MM))
    assert noise.shape == (SIDE, SIDE)
    middle = SIDE // 2
    wanted = _expected_in_water(distance) / _expected_in_water(0.0)
    assert noise[middle, middle + distance] / noise[middle, middle] == pytest.approx(wanted, rel=0.03)
    assert noise[middle + distance, middle] / noise[middle, middle] == pytest.approx(wanted, rel=0.03)


def test_pixels_need_not_be_square() -> None:
    noise, stretched = noise_by_rays(_disc(), (PIXEL_MM, PIXEL_MM)), noise_by_rays(_disc()[:, ::2], (PIXEL_MM, 2.0 * PIXEL_MM))
    middle = SIDE // 2
    assert stretched.shape == (SIDE, SIDE // 2)
    assert stretched[middle, middle // 2 + 20] == pytest.approx(noise[middle, middle + 40], rel=0.03)


def test_noise_without_texture_leaves_the_truncation_as_it_is() -> None:
    four = Truncation.of_equal_images(4, 0.24)
    assert with_texture(four, 1.0) == (four, 1.0)


def test_texture_makes_the_averaged_images_more_alike_and_keeps_the_noise_of_each() -> None:
    four = Truncation.of_equal_images(4, 0.24)
    lungs, factor = with_texture(four, 0.8)
    assert 0.3 < lungs.correlation < 0.5
    one_image = (0.8 / four.noise_ratio) ** 2 + KAPPA * (1.0 - 0.8**2)
    assert (factor / lungs.noise_ratio) ** 2 == pytest.approx(one_image, rel=0.02)


def test_texture_of_a_single_image_is_noise_like_any_other() -> None:
    lungs, factor = with_texture(Truncation(), 0.8)
    assert lungs == Truncation()
    assert 0.8 < factor < 1.0
