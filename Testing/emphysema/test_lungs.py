from __future__ import annotations

import numpy as np
import pytest
from emphysema.phantom import dice, make, patient

from EmphysemaQuantLib.core.lungs.segmentation import segment_lungs
from KernelNormalizationLib.core.errors import Cancelled, LungNotFoundError
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.volume import CTVolume, Geometry

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chest():
    return make()


@pytest.fixture(scope="module")
def chest_mask(chest):
    return segment_lungs(chest.volume)


def test_both_lungs_are_found_and_named_by_side(chest, chest_mask):
    assert dice(chest_mask.labels == 1, chest.right) > 0.99
    assert dice(chest_mask.labels == 2, chest.left) > 0.99
    assert chest_mask.quality.verdict == "ok"
    assert chest_mask.quality.reasons == ()


def test_trachea_and_main_bronchi_are_kept_out_of_the_lungs(chest, chest_mask):
    assert not (chest_mask.airways & chest_mask.mask).any()
    assert (chest_mask.airways & chest.airways).sum() > 0.95 * chest.airways.sum()
    assert (chest_mask.mask & chest.airways).sum() == 0


def test_bowel_gas_table_and_outside_air_are_kept_out(chest, chest_mask):
    outside = chest_mask.mask & ~chest.lungs
    assert outside.sum() * chest.volume.geometry.voxel_volume_ml < 30


def test_vessels_inside_the_lungs_belong_to_the_mask(chest, chest_mask):
    vessels = chest.lungs & (chest.volume.hu > 0)
    assert vessels.sum() > 500
    assert (chest_mask.mask & vessels).sum() > 0.9 * vessels.sum()


def test_noise_of_the_sharpest_kernel_leaves_the_mask_right():
    noisy = make(noise_hu=100.0)
    mask = segment_lungs(noisy.volume)
    assert dice(mask.mask, noisy.lungs) > 0.98


@pytest.mark.parametrize("noise", [0.0, 60.0])
def test_lungs_that_touch_in_front_are_parted(noise):
    touching = make(touching=True, noise_hu=noise)
    mask = segment_lungs(touching.volume)
    assert dice(mask.labels == 1, touching.right) > 0.97
    assert dice(mask.labels == 2, touching.left) > 0.97


@pytest.mark.parametrize(("slice_mm", "count"), [(8.0, 36), (0.6, 480)])
def test_thick_and_thin_slices_are_segmented(slice_mm, count):
    chest = make(shape=(count, 110, 135), spacing=(slice_mm, 3.0, 3.0), noise_hu=40.0)
    mask = segment_lungs(chest.volume)
    assert dice(mask.labels == 1, chest.right) > 0.98
    assert dice(mask.labels == 2, chest.left) > 0.98
    assert mask.quality.verdict == "ok"


@pytest.mark.parametrize("number", [8, 13])
def test_simulated_patients_with_emphysema_are_segmented(number):
    name, truth = patient(number)
    mask = segment_lungs(truth.volume)
    assert dice(mask.labels == 1, truth.right) > 0.98, name
    assert dice(mask.labels == 2, truth.left) > 0.98, name
    assert mask.quality.verdict == "ok"


@pytest.mark.parametrize(("gone", "stays"), [("right_lung", 2), ("left_lung", 1)])
def test_a_missing_lung_is_reported_and_the_other_keeps_its_name(gone, stays):
    one = make(**{gone: False})
    mask = segment_lungs(one.volume)
    assert dice(mask.labels == stays, one.lungs) > 0.98
    assert (mask.labels == 3 - stays).sum() * one.volume.geometry.voxel_volume_ml < 20
    assert mask.quality.verdict == "look"
    assert any(gone.split("_")[0] in reason for reason in mask.quality.reasons)


def test_a_big_bulla_stays_in_and_is_reported():
    bullous = make(bulla_mm=35.0)
    mask = segment_lungs(bullous.volume)
    assert dice(mask.mask, bullous.lungs) > 0.99
    assert mask.quality.verdict == "look"
    assert "bulla" in mask.quality.reasons[0]


def test_a_scan_without_trachea_is_reported():
    mask = segment_lungs(make(trachea=False).volume)
    assert mask.quality.verdict == "look"
    assert "trachea" in mask.quality.reasons[0]


def test_cut_off_lungs_are_reported(chest):
    middle = CTVolume(chest.volume.hu[20:50], chest.volume.geometry)
    quality = segment_lungs(middle).quality
    assert quality.verdict == "look"
    assert any("uppermost" in r for r in quality.reasons)
    assert any("lowest" in r for r in quality.reasons)


def test_no_lung_is_an_error_that_says_what_was_seen():
    nothing = make(right_lung=False, left_lung=False)
    with pytest.raises(LungNotFoundError, match="mL of air"):
        segment_lungs(nothing.volume)


def test_air_alone_is_an_error():
    air = np.full((10, 50, 50), -1000.0, dtype=np.float32)
    with pytest.raises(LungNotFoundError):
        segment_lungs(CTVolume(air, Geometry((3.0, 2.0, 2.0))))


STORED = {
    "feet first": (lambda a: a[::-1], lambda a: a[::-1], (1, 1, -1), (0, 1, 2)),
    "right to left reversed": (lambda a: a[:, :, ::-1], lambda a: a[:, :, ::-1], (-1, 1, 1), (0, 1, 2)),
    "coronal stack": (lambda a: a.transpose(1, 0, 2), lambda a: a.transpose(1, 0, 2), None, None),
}


@pytest.mark.parametrize("stored", STORED)
def test_the_stored_order_of_axes_changes_nothing(chest, chest_mask, stored):
    there, back, signs, _ = STORED[stored]
    spacing = chest.volume.geometry.spacing
    if signs is not None:
        direction = tuple(tuple(float(signs[r]) if r == c else 0.0 for c in range(3)) for r in range(3))
        geometry = Geometry(spacing, direction=direction)
    else:
        # slices run along y, rows along z
        direction = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0))
        geometry = Geometry((spacing[1], spacing[0], spacing[2]), direction=direction)
    mask = segment_lungs(CTVolume(np.ascontiguousarray(there(chest.volume.hu)), geometry))
    assert np.array_equal(back(mask.labels), chest_mask.labels)
    assert np.array_equal(back(mask.airways), chest_mask.airways)


def test_padding_outside_the_field_of_view_changes_nothing(chest, chest_mask):
    hu = chest.volume.hu.copy()
    hu[:, :, :6] = -2048.0
    padded = CTVolume(hu, chest.volume.geometry, padding_value=-2048.0)
    assert np.array_equal(segment_lungs(padded).labels, chest_mask.labels)


def test_progress_is_reported_and_cancelling_stops(chest):
    reports = []
    segment_lungs(chest.volume, ProgressTracker(on_report=reports.append))
    assert reports[-1].done == reports[-1].total
    calls = iter([False, False, True])
    with pytest.raises(Cancelled):
        segment_lungs(chest.volume, ProgressTracker(is_cancelled=lambda: next(calls)))
