"""Lungs whose chest wall is cut by the reconstruction circle or the border of a small field of view are kept and reported."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from emphysema.phantom import Phantom, dice, make

from EmphysemaQuantLib.core.lungs.quality_measurements import cut_surface_cm2
from EmphysemaQuantLib.core.lungs.segmentation import LungMask, segment_lungs
from KernelNormalizationLib.core.arrays import BoolArray
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.volume import CTVolume

DATA = Path(__file__).parents[2].parent / "shared" / "data"
PADDING_HU = -2000.0


def in_circle(volume: CTVolume, diameter_mm: float, shift_mm: float = 0.0) -> BoolArray:
    """Rows and columns inside a circle around the middle of the image, shifted along the columns."""
    rows, columns = (
        (np.arange(n) - (n - 1) / 2) * s for n, s in zip(volume.shape[1:], volume.geometry.spacing[1:], strict=True)
    )
    inside: BoolArray = np.hypot(rows[:, None], columns[None, :] - shift_mm) <= diameter_mm / 2
    return inside


def circled(volume: CTVolume, inside: BoolArray) -> CTVolume:
    hu = np.where(inside[None], volume.hu, np.float32(PADDING_HU))
    return CTVolume(hu, volume.geometry, volume.acquisition, PADDING_HU, volume.name)


def reported_cm2(mask: LungMask) -> float:
    sentence = next(reason for reason in mask.quality.reasons if "padding" in reason)
    assert "TLV and EI are those of the imaged part" in sentence
    found = re.match(r"(\d+) cm²", sentence)
    assert found is not None
    return float(found[1])


@pytest.fixture(scope="module")
def chest() -> Phantom:
    return make()


@pytest.mark.slow
@pytest.mark.parametrize(("diameter_mm", "shift_mm"), [(230.0, 0.0), (180.0, 0.0), (150.0, 60.0), (150.0, -60.0)])
def test_a_lung_that_the_circle_cuts_is_kept_whole_as_far_as_it_is_imaged(
    chest: Phantom, diameter_mm: float, shift_mm: float
) -> None:
    inside = in_circle(chest.volume, diameter_mm, shift_mm)
    mask = segment_lungs(circled(chest.volume, inside))
    assert dice(mask.mask, chest.lungs & inside[None]) > 0.97
    assert not mask.mask[:, ~inside].any()
    assert mask.quality.verdict == "look"
    outside = np.broadcast_to(~inside, chest.volume.shape)
    expected_cm2 = cut_surface_cm2(chest.lungs & inside, outside, chest.volume.geometry.spacing)
    assert reported_cm2(mask) == pytest.approx(expected_cm2, rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [slice(52, 138), slice(50, 95)], ids=["both lungs cut", "one lung"])
def test_a_lung_that_the_border_cuts_is_kept(chest: Phantom, columns: slice) -> None:
    volume = chest.volume
    cropped = CTVolume(volume.hu[:, :, columns], volume.geometry, name="small field of view")
    mask = segment_lungs(cropped)
    assert dice(mask.mask, chest.lungs[:, :, columns]) > 0.97
    assert reported_cm2(mask) > 50.0


@pytest.mark.slow
def test_a_circle_that_leaves_the_chest_whole_changes_nothing(chest: Phantom) -> None:
    inside = in_circle(chest.volume, 400.0)
    mask = segment_lungs(circled(chest.volume, inside))
    assert np.array_equal(mask.labels, segment_lungs(chest.volume).labels)
    assert mask.quality.reasons == segment_lungs(chest.volume).quality.reasons


def test_the_surface_of_a_round_field_is_that_of_its_cylinder() -> None:
    rows, columns = np.mgrid[:200, :200] - 99.5
    inside = np.broadcast_to(np.hypot(rows, columns) < 80.0, (20, 200, 200))
    spacing = (2.0, 0.7, 0.7)
    expected_cm2 = 2.0 * np.pi * 80.0 * 0.7 * 20 * 2.0 / 100.0
    assert cut_surface_cm2(inside, ~inside, spacing) == pytest.approx(expected_cm2, rel=0.02)


def test_every_border_in_plane_counts_with_the_surface_that_it_cuts() -> None:
    spacing = (2.0, 0.7, 0.9)
    everything = np.ones((20, 30, 40), bool)
    sides_mm2 = 2 * 20 * 2.0 * 30 * 0.7  # two sides of slices x rows
    front_and_back_mm2 = 2 * 20 * 2.0 * 40 * 0.9
    nothing = np.zeros_like(everything)
    assert cut_surface_cm2(everything, nothing, spacing) == pytest.approx((sides_mm2 + front_and_back_mm2) / 100.0)
    away = everything.copy()
    away[:, [0, -1]] = False
    assert cut_surface_cm2(away, nothing, spacing) == pytest.approx(sides_mm2 * 28 / 30 / 100.0)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="development CT data are not on this machine")
@pytest.mark.parametrize(("diameter_mm", "lung_ml"), [(254.0, 4526.0), (243.0, 4418.0), (150.0, 1724.0)])
def test_a_real_chest_in_a_small_circle_keeps_its_lung_volume_and_index(diameter_mm: float, lung_ml: float) -> None:
    volume = read_volume(DATA / "cptac-c3n00247-siemens" / "sharp_B70f")
    whole = segment_lungs(volume).mask
    inside = in_circle(volume, diameter_mm)
    mask = segment_lungs(circled(volume, inside))
    measured = np.count_nonzero(mask.mask) * volume.geometry.voxel_volume_ml
    assert measured == pytest.approx(lung_ml, rel=0.01)
    truth = whole & inside[None]
    assert dice(mask.mask, truth) > 0.99
    assert 100 * np.mean(volume.hu[mask.mask] < -950) == pytest.approx(100 * np.mean(volume.hu[truth] < -950), abs=0.1)
    assert reported_cm2(mask) > 100.0
