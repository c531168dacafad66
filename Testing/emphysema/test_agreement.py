from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from emphysema.phantom import make

from EmphysemaQuantLib.core.indices.agreement import compare_volumes
from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import CTVolume


@pytest.fixture(scope="module")
def chest():
    phantom = make(shape=(36, 75, 95), spacing=(8.0, 4.4, 4.4))
    labels = phantom.right.astype(np.uint8) + 2 * phantom.left.astype(np.uint8)
    return phantom.volume, LungMask(labels, phantom.airways, MaskQuality("ok"))


def painted(volume: CTVolume, where: np.ndarray, value: float) -> CTVolume:
    hu = volume.hu.copy()
    hu[where] = value
    return replace(volume, hu=hu)


def slabs(mask: LungMask) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three disjoint slabs of lung, 100, 60 and 30 voxels."""
    where = np.argwhere(mask.mask)
    pieces = []
    for start, count in ((1000, 100), (3000, 60), (5000, 30)):
        piece = np.zeros(mask.labels.shape, dtype=bool)
        piece[tuple(where[start : start + count].T)] = True
        pieces.append(piece)
    return pieces[0], pieces[1], pieces[2]


@pytest.mark.slow
def test_identical_volumes_agree_perfectly(chest):
    volume, mask = chest
    result = compare_volumes(volume, volume, mask)
    assert (result.l1_image_hu, result.l1_body_hu, result.l1_lung_hu) == (0.0, 0.0, 0.0)
    assert (result.delta_ei_points, result.dice) == (0.0, 1.0)


def test_kept_removed_and_added_emphysema_are_told_apart(chest):
    volume, mask = chest
    kept, removed, added = slabs(mask)
    reference = painted(volume, kept | removed, -990.0)
    other = painted(volume, kept | added, -990.0)
    result = compare_volumes(reference, other, mask)
    voxel_ml = volume.geometry.voxel_volume_ml
    base = int((volume.hu[mask.mask] < -950).sum())
    assert base == 0
    assert result.kept_ml == pytest.approx(100 * voxel_ml)
    assert result.removed_ml == pytest.approx(60 * voxel_ml)
    assert result.added_ml == pytest.approx(30 * voxel_ml)
    assert result.dice == pytest.approx(2 * 100 / (160 + 130))
    assert result.delta_ei_points == pytest.approx(-100 * 30 / mask.mask.sum())
    assert result.abs_delta_ei_points == pytest.approx(-result.delta_ei_points)


def test_l1_is_told_apart_for_image_body_and_lungs(chest):
    volume, mask = chest
    other = painted(volume, mask.mask, 0.0)
    other = replace(other, hu=np.where(mask.mask, volume.hu + 10.0, volume.hu).astype(np.float32))
    result = compare_volumes(volume, other, mask)
    assert result.l1_lung_hu == pytest.approx(10.0, abs=1e-3)
    share = mask.mask.mean()
    assert result.l1_image_hu == pytest.approx(10.0 * share, rel=1e-3)
    assert result.l1_image_hu < result.l1_body_hu < result.l1_lung_hu


@pytest.mark.slow
def test_padding_does_not_count(chest):
    volume, mask = chest
    hu = volume.hu.copy()
    hu[:, :5] = -2048.0
    padded = CTVolume(hu, volume.geometry, padding_value=-2048.0)
    assert compare_volumes(padded, volume, mask).l1_image_hu == 0.0
    assert compare_volumes(volume, padded, mask).l1_image_hu == 0.0


def test_an_empty_mask_is_refused(chest):
    volume, mask = chest
    nothing = replace(mask, labels=np.zeros_like(mask.labels))
    with pytest.raises(InputError, match="empty"):
        compare_volumes(volume, volume, nothing)


@pytest.mark.slow
def test_exchanging_the_volumes_turns_the_change_round(chest):
    volume, mask = chest
    kept, removed, added = slabs(mask)
    there = compare_volumes(painted(volume, kept | removed, -990.0), painted(volume, kept | added, -990.0), mask)
    back = compare_volumes(painted(volume, kept | added, -990.0), painted(volume, kept | removed, -990.0), mask)
    assert (there.dice, there.kept_ml, there.l1_lung_hu) == (back.dice, back.kept_ml, back.l1_lung_hu)
    assert (there.removed_ml, there.added_ml) == (back.added_ml, back.removed_ml)
    assert there.delta_ei_points == -back.delta_ei_points


def test_another_place_is_refused_with_the_values(chest):
    volume, mask = chest
    moved = replace(volume, geometry=replace(volume.geometry, origin=(0.0, 0.0, 7.5)), name="other day")
    with pytest.raises(InputError, match=r"other day.*7\.5"):
        compare_volumes(volume, moved, mask)


def test_another_shape_is_refused_with_the_values(chest):
    volume, mask = chest
    shorter = replace(volume, hu=volume.hu[:-2])
    with pytest.raises(InputError, match=str(shorter.shape[0])):
        compare_volumes(volume, shorter, mask)
