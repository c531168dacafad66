"""Padding of several values, blended with what it borders on, undeclared, or read as unsigned."""

from __future__ import annotations

import numpy as np
import pytest
from core.chests import Chest, make_chest, outside_circle
from numpy.typing import NDArray
from scipy import ndimage

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.padding import detect_padding
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.suitability import assess
from KernelNormalizationLib.core.truncation.hu_floor import detect_floor
from KernelNormalizationLib.core.volume import CTVolume

FLOORS = pytest.mark.parametrize("floor", [-1024.0, None], ids=["floor", "no floor"])


def read(chest: Chest, hu: NDArray[np.floating], declared: float | None = None) -> CTVolume:
    """As a file with these voxels is read."""
    hu = hu.astype(np.float32)
    return CTVolume(hu, chest.volume.geometry, chest.volume.acquisition, detect_padding(hu, declared), "padded")


@FLOORS
@pytest.mark.parametrize("declared", [None, -2000.0, -3024.0])
def test_two_padding_values_are_both_outside(floor: float | None, declared: float | None) -> None:
    chest = make_chest(floor=floor)
    outside = outside_circle(chest)
    hu = np.where(outside, -2000.0, chest.volume.hu)
    hu[:, :12] = -3024.0
    volume = read(chest, hu, declared)
    assert np.array_equal(volume.padding_mask, outside | (hu == -3024.0))
    assert detect_floor(volume.hu, volume.padding_mask).value > -1500.0


@FLOORS
@pytest.mark.parametrize("padding", [-2000.0, -2048.0, -3024.0])
@pytest.mark.parametrize("blur", ["in plane", "two slices", "all axes"])
def test_blended_padding_is_neither_floor_nor_image(floor: float | None, padding: float, blur: str) -> None:
    chest = make_chest(floor=floor, slices=12)
    outside = outside_circle(chest)
    outside_of_slices = outside & (np.arange(12) < 6)[:, None, None] if blur == "two slices" else outside
    hu = np.where(outside_of_slices, np.float32(padding), chest.volume.hu)
    if blur == "two slices":
        hu = 0.5 * (hu + np.roll(hu, 1, axis=0))
        touched = outside_of_slices | np.roll(outside_of_slices, 1, axis=0)
    else:
        size = (1, 2, 2) if blur == "in plane" else (2, 2, 2)
        hu = ndimage.uniform_filter(hu, size)
        touched = ndimage.uniform_filter(outside.astype(np.float32), size) > 1e-3
    volume = read(chest, hu)
    found = detect_floor(volume.hu, volume.padding_mask)
    assert found.value > -1300.0
    assert volume.padding_value is not None
    # half padding and half soft tissue looks like air: of a whole slice of it only the border is found
    assert np.mean(volume.padding_mask[touched]) > (0.98 if blur == "two slices" else 0.99)
    assert np.mean(volume.padding_mask[~ndimage.binary_dilation(touched)]) < 0.002
    assert volume.filled().min() > -1300.0


def test_a_rim_does_not_make_a_sharp_scan_smooth() -> None:
    chest = make_chest(number=70.0, noise_hu=60.0)
    padded = np.where(outside_circle(chest), np.float32(-2048.0), chest.volume.hu)
    hu = ndimage.shift(padded, (0, 0.5, 0), order=1, mode="nearest")
    volume = read(chest, hu)
    assert volume.padding_value == -2048.0
    assert not any("smooth" in reason for reason in assess(volume).reasons)
    assert detect_floor(volume.hu, volume.padding_mask).value >= -1024.0


@pytest.mark.slow
def test_padding_that_was_read_as_unsigned_is_outside_and_comes_back_as_it_was() -> None:
    chest = make_chest()
    outside = outside_circle(chest, 1.0)
    for value in (63536.0, 62512.0, 63488.0):
        volume = read(chest, np.where(outside, value, chest.volume.hu))
        assert volume.padding_value == value
        assert np.array_equal(volume.padding_mask, outside)
        assert volume.filled().max() < 3000.0
        made = create_normalizer("linear").normalize(volume, ProgressTracker()).volume
        assert np.array_equal(made.hu[outside], volume.hu[outside])
        assert made.hu[~outside].max() < 3000.0


@pytest.mark.parametrize("beside", [np.s_[:, :, :6], np.s_[:, -3:], np.s_[:, :, [0, 1, -2, -1]]])
def test_columns_or_rows_of_it_are_outside_too(beside: tuple[slice, ...]) -> None:
    chest = make_chest()
    hu = chest.volume.hu.copy()
    hu[beside] = 62512.0
    volume = read(chest, hu)
    assert volume.padding_value == 62512.0
    assert np.array_equal(volume.padding_mask, hu == 62512.0)
    assert volume.filled().max() < 3000.0


def test_a_block_of_it_in_the_body_is_not() -> None:
    chest = make_chest()
    hu = chest.volume.hu.copy()
    hu[:, 60:70, 60:70] = 62512.0
    assert detect_padding(hu) is None


def test_metal_at_the_end_of_the_extended_scale_is_not_padding() -> None:
    chest = make_chest()
    hu = chest.volume.hu.copy()
    hu[:, 60:70, 60:70] = 30710.0
    assert detect_padding(hu) is None


def test_the_median_that_a_refusal_names_is_the_median() -> None:
    chest = make_chest()
    hu = np.where(outside_circle(chest), np.float32(-2048.0), chest.volume.hu + 900.0)
    hu[:, 0] = -900.0
    inside = np.where(hu == -2048.0, np.nan, hu)
    with pytest.raises(InputError, match=f"median {np.nanmedian(inside):g}\\)"):
        CTVolume(hu, chest.volume.geometry, padding_value=-2048.0)


@FLOORS
def test_the_same_voxels_are_outside_after_normalization(floor: float | None) -> None:
    chest = make_chest(floor=floor)
    padded = np.where(outside_circle(chest), np.float32(-2000.0), chest.volume.hu)
    volume = read(chest, ndimage.uniform_filter(padded, (1, 2, 2)))
    made = create_normalizer("linear").normalize(volume, ProgressTracker()).volume
    assert np.array_equal(made.padding_mask, volume.padding_mask)
    assert np.array_equal(made.hu[made.padding_mask], volume.hu[volume.padding_mask])


@FLOORS
def test_a_border_of_one_padded_pixel_is_found_blended_too(floor: float | None) -> None:
    chest = make_chest(floor=floor)
    padded = np.where(outside_circle(chest, 0.9), np.float32(-3024.0), chest.volume.hu)
    padded[:, :, -1] = -3024.0
    volume = read(chest, 0.5 * (padded + np.roll(padded, 1, axis=2)))
    assert volume.padding_mask[:, :, -1].all()
    assert volume.filled().min() > -1300.0
