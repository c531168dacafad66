"""A small field of view whose surroundings are filled with an ordinary value, as many scanners and converters do."""

from __future__ import annotations

import numpy as np
import pytest
from emphysema.phantom import dice

from EmphysemaQuantLib.core.lungs.segmentation import segment_lungs
from KernelNormalizationLib.core.io.padding import surrounding_mask
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.simulated_chest import SamplePair, make_sample
from KernelNormalizationLib.core.volume import CTVolume

SHAPE, SPACING = (24, 128, 128), (10.0, 2.6, 2.6)


@pytest.fixture(scope="module")
def chest() -> SamplePair:
    return make_sample(3, SHAPE, SPACING)


def beyond(diameter_mm: float) -> np.ndarray:
    """Pixels (j, i) beyond a circle in the middle of the image."""
    middle = (np.array(SHAPE[1:]) - 1) / 2
    j, i = np.indices(SHAPE[1:])
    found: np.ndarray = np.hypot(j - middle[0], i - middle[1]) * SPACING[1] > diameter_mm / 2
    return found


def off_centre(diameter_mm: float, middle_mm: tuple[float, float]) -> np.ndarray:
    """Pixels (j, i) beyond a circle whose middle lies off that of the image."""
    j, i = ((np.arange(n) - (n - 1) / 2) * SPACING[1] for n in SHAPE[1:])
    found: np.ndarray = np.hypot(j[:, None] - middle_mm[0], i - middle_mm[1]) > diameter_mm / 2
    return found


def cut(chest: SamplePair, value: float, diameter_mm: float) -> CTVolume:
    hu = chest.sharp.hu.copy()
    hu[:, beyond(diameter_mm)] = value
    return CTVolume(hu, chest.sharp.geometry, chest.sharp.acquisition)


@pytest.mark.parametrize("value", [-1024.0, -1000.0, 0.0])
def test_lungs_that_such_a_circle_cuts_are_kept_and_said_to_be_cut(chest: SamplePair, value: float) -> None:
    mask = segment_lungs(cut(chest, value, 195.0))
    truth = chest.lungs & ~beyond(195.0)
    assert np.count_nonzero(truth) < 0.9 * np.count_nonzero(chest.lungs)  # the circle does cut them
    assert dice(mask.mask, truth) > 0.97
    assert any("the field of view cuts the lungs" in reason for reason in mask.quality.reasons)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_surroundings_are_found_in_any_stored_axis_order(chest: SamplePair, axis: int) -> None:
    stored = np.moveaxis(cut(chest, -1024.0, 215.0).hu, 0, axis)
    expected = np.moveaxis(np.broadcast_to(beyond(215.0), SHAPE), 0, axis)
    found = surrounding_mask(stored)
    assert found is not None
    assert np.array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("value", [-1024.0, -1000.0, 0.0])
@pytest.mark.parametrize("middle", [(0.0, 80.0), (0.0, -80.0), (-70.0, 90.0)])
def test_lungs_cut_by_a_circle_that_reaches_beyond_the_image_are_kept(
    chest: SamplePair, value: float, middle: tuple[float, float]
) -> None:
    outside = off_centre(240.0, middle)
    assert not (outside[[0, -1]].all() and outside[:, [0, -1]].all())  # the border of the image cuts the circle
    hu = np.where(outside, np.float32(value), chest.sharp.hu)
    mask = segment_lungs(CTVolume(hu, chest.sharp.geometry, chest.sharp.acquisition))
    truth = chest.lungs & ~outside
    assert np.count_nonzero(truth) < 0.9 * np.count_nonzero(chest.lungs)  # the circle does cut them
    assert dice(mask.mask, truth) > 0.97
    assert any("the field of view cuts the lungs" in reason for reason in mask.quality.reasons)


def test_the_round_outline_of_a_cropped_body_in_air_without_noise_is_no_circle() -> None:
    rows, columns = np.indices(SHAPE[1:])
    for height, width in ((60.0, 75.0), (70.0, 80.0), (90.0, 110.0)):
        body = np.hypot((rows - 64) / height, (columns - 64) / width) < 1.0
        assert surrounding_mask(np.broadcast_to(np.where(body, 40.0, -1000.0), SHAPE).astype(np.float32)) is None


def test_lungs_that_a_filled_rectangle_cuts_are_kept(chest: SamplePair) -> None:
    seen = np.zeros(SHAPE[1:], bool)
    seen[20:-20, 30:-30] = True
    hu = np.where(seen, chest.sharp.hu, np.float32(-1024.0))
    mask = segment_lungs(CTVolume(hu, chest.sharp.geometry, chest.sharp.acquisition))
    truth = chest.lungs & seen
    assert np.count_nonzero(truth) < 0.97 * np.count_nonzero(chest.lungs)
    assert dice(mask.mask, truth) > 0.97


def test_truncated_air_and_air_without_noise_are_no_surroundings(chest: SamplePair) -> None:
    assert surrounding_mask(chest.sharp.hu) is None
    j, i = np.indices(SHAPE[1:])
    body = ((j - 64) / 40) ** 2 + ((i - 64) / 58) ** 2 < 1
    assert surrounding_mask(np.broadcast_to(np.where(body, 40.0, -1000.0), SHAPE).astype(np.float32)) is None


def test_the_surroundings_keep_their_value_through_a_normalization(chest: SamplePair) -> None:
    volume = cut(chest, -1024.0, 215.0)
    made = create_normalizer("linear").normalize(volume, ProgressTracker()).volume
    assert (made.hu[:, beyond(215.0)] == -1024.0).all()
    assert made.padding_value is None  # lung at the floor is not declared as padding in files
