"""Voxels as the page draws them: in anatomical order whatever the file's order, and exact about the threshold."""

from __future__ import annotations

import numpy as np
import pytest

from ctkernel.review.pictures import hu_block, layout, mask_block
from ctkernel.review.steps import whole_threshold
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import CTVolume, Geometry

SHAPE = (9, 6, 5)


def volume(direction: tuple[tuple[float, float, float], ...], hu: np.ndarray | None = None) -> CTVolume:
    voxels = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) - 1000.0 if hu is None else hu
    return CTVolume(voxels, Geometry((3.0, 2.0, 1.0), (10.0, 20.0, 30.0), direction))


def drawn(ct: CTVolume) -> np.ndarray:
    shape = layout(ct)["shape"]
    return np.frombuffer(hu_block(ct, 0, shape[0]), "<i2").reshape(shape)


UPRIGHT = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def test_a_volume_stored_feet_first_and_from_the_right_is_drawn_as_it_is() -> None:
    ct = volume(UPRIGHT)
    assert (drawn(ct) == ct.hu).all()
    assert layout(ct) == {"shape": [9, 6, 5], "spacing_mm": [3.0, 2.0, 1.0], "first_slice_z_mm": 30.0}


def test_left_and_right_head_and_feet_are_not_exchanged() -> None:
    turned = volume(((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)))
    assert (drawn(turned) == turned.hu[::-1, :, ::-1]).all()
    assert layout(turned)["first_slice_z_mm"] == pytest.approx(30.0 - 8 * 3.0)


def test_a_volume_of_coronal_images_is_drawn_axially() -> None:
    # index k runs to the back, j to the feet
    coronal = volume(((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)))
    assert layout(coronal)["shape"] == [6, 9, 5]
    assert layout(coronal)["spacing_mm"] == [2.0, 3.0, 1.0]
    assert (drawn(coronal) == coronal.hu.transpose(1, 0, 2)[::-1]).all()


def test_rounding_down_keeps_every_voxel_on_its_side_of_a_whole_threshold() -> None:
    generator = np.random.default_rng(1)
    hu = generator.normal(-950.0, 2.0, SHAPE).astype(np.float32)
    hu[0, 0, :3] = -950.0, np.nextafter(np.float32(-950.0), np.float32(-951.0)), -949.99994
    ct = volume(UPRIGHT, hu)
    for threshold in (-952, -950, -949):
        assert ((drawn(ct) < threshold) == (ct.hu < np.float32(threshold))).all()


def test_lung_bits_are_those_of_the_mask() -> None:
    ct = volume(UPRIGHT)
    mask = np.random.default_rng(2).random(SHAPE) < 0.5
    bits = np.frombuffer(mask_block(mask, ct, 2, 7), np.uint8).reshape(5, -1)
    assert (np.unpackbits(bits, axis=1)[:, :30].reshape(5, 6, 5) == mask[2:7]).all()


@pytest.mark.parametrize(("first", "last"), [(3, 3), (5, 2), (0, 10), (0, 99999)])
def test_slices_that_are_not_there_are_refused(first: int, last: int) -> None:
    with pytest.raises(InputError, match="no slices"):
        hu_block(volume(UPRIGHT), first, last)


@pytest.mark.parametrize("threshold", [float("nan"), -950.5, -1001.0, 0.0, float("inf")])
def test_a_threshold_that_the_pictures_could_not_show_exactly_is_refused(threshold: float) -> None:
    with pytest.raises(InputError, match="threshold"):
        whole_threshold(threshold)
