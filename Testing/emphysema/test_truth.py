from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from emphysema.phantom import make

from EmphysemaQuantLib.core.indices.density import compute_indices
from EmphysemaQuantLib.core.indices.distribution import HISTOGRAM_EDGES_HU, density_histogram, ei_curve, floor_effect
from EmphysemaQuantLib.core.indices.longitudinal import compare_dates, volume_adjusted_perc15
from EmphysemaQuantLib.core.lungs.quality_verdict import MaskFacts, MaskQuality, judge
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.results.acquisition_sheet import Patient, acquisition_sheet, location_reliable, predicted_tlv_ml
from EmphysemaQuantLib.core.results.measurement import MeasurementSettings, measure
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import Acquisition, Geometry


@pytest.fixture(scope="module")
def chest():
    phantom = make(noise_hu=60.0)
    labels = phantom.right.astype(np.uint8) + 2 * phantom.left.astype(np.uint8)
    return phantom.volume, LungMask(labels, phantom.airways, MaskQuality("ok"))


def sheet_of(chest, **changes):
    volume, mask = chest
    volume = replace(volume, **changes)
    items = acquisition_sheet(volume, compute_indices(volume, mask)[0], mask.quality)
    return {item.name: item for item in items}


def test_the_curve_agrees_with_the_index_and_rises(chest):
    volume, mask = chest
    curve = dict(ei_curve(volume.hu[mask.mask]))
    assert curve[-950.0] == compute_indices(volume, mask)[0].ei_percent
    assert list(curve.values()) == sorted(curve.values())
    assert (min(curve), max(curve)) == (-980.0, -900.0)


def test_the_histogram_holds_every_voxel_in_its_range(chest):
    volume, mask = chest
    lung = volume.hu[mask.mask]
    edges, percent = HISTOGRAM_EDGES_HU, density_histogram(lung)
    assert percent.sum() == pytest.approx(100 * np.mean((lung >= edges[0]) & (lung <= edges[-1])))
    assert len(edges) == len(percent) + 1


def test_truncation_bias_matches_a_truncated_normal_distribution():
    rng = np.random.default_rng(8)
    true = rng.normal(-900.0, 90.0, 400_000)
    cut = np.maximum(true, -1024.0).astype(np.float32)
    effect = floor_effect(cut, -1024.0, -950.0)
    assert effect.lung_share_percent == pytest.approx(100 * np.mean(true <= -1024.0), abs=0.01)
    assert effect.mean_bias_hu == pytest.approx(float(cut.mean() - true.mean()), abs=0.3)
    assert "cut off at -1024 HU" in effect.text
    assert floor_effect(cut, None, -950.0).mean_bias_hu == 0.0


def test_sponge_model_undoes_a_change_of_inspiration(chest):
    volume, mask = chest
    ratio = 1.25
    # the same lung mass in 1.25 times the volume: larger voxels, densities divided by 1.25
    spacing = (volume.geometry.spacing[0] * ratio, *volume.geometry.spacing[1:])
    deeper = replace(volume, hu=(volume.hu + 1000.0) / ratio - 1000.0, geometry=Geometry(spacing))
    change = compare_dates((volume, mask), (deeper, mask))
    assert change.tlv_change_ml > 1000
    assert change.perc15_change_hu < -5
    assert change.perc15_adjusted_change_hu == pytest.approx(0.0, abs=0.01)
    assert change.ei_change_points > 1
    assert change.ei_adjusted_change_points == pytest.approx(0.0, abs=0.01)


def test_loss_of_tissue_is_beyond_limits_and_none_is_not(chest):
    volume, mask = chest
    assert not compare_dates((volume, mask), (volume, mask)).beyond_limits
    lost = replace(volume, hu=np.where(mask.mask, volume.hu - 15.0, volume.hu).astype(np.float32))
    assert compare_dates((volume, mask), (lost, mask)).beyond_limits


def test_adjusted_percentile_refuses_impossible_volumes():
    assert volume_adjusted_perc15(-930.0, 6000.0, 5000.0) == pytest.approx(-916.0)
    with pytest.raises(InputError, match="positive"):
        volume_adjusted_perc15(-930.0, 0.0, 5000.0)


def test_the_sheet_doubts_an_unknown_kernel_thick_slices_and_gaps(chest):
    sheet = sheet_of(chest, acquisition=Acquisition(kernel="B20f", slice_thickness_mm=1.0))
    assert sheet["Kernel"].status == "ok"
    assert sheet["Slice thickness"].status == "ok"
    # slices lie 4 mm apart in this chest
    assert sheet["Slice distance"].status == "doubt"
    assert "3 mm of every 4 mm" in sheet["Slice distance"].remark
    sheet = sheet_of(chest, acquisition=Acquisition(slice_thickness_mm=5.0, contrast_agent="Iopromide"))
    assert (sheet["Kernel"].status, sheet["Slice thickness"].status) == ("doubt", "doubt")
    assert sheet["Contrast agent"].status == "note"


def test_a_synthetic_volume_is_never_shown_as_a_reconstruction(chest):
    sheet = sheet_of(chest, synthetic=True, acquisition=Acquisition(kernel="B20f"))
    assert "not reconstructed" in sheet["Kernel"].remark


def test_location_is_called_unreliable_up_to_five_percent():
    assert not location_reliable(5.0)
    assert location_reliable(5.01)


def test_low_inspiration_is_judged_against_a_named_population(chest):
    volume, mask = chest
    whole = compute_indices(volume, mask)[0]
    tall, small = Patient("male", 205, 90), Patient("female", 155, 55)
    assert predicted_tlv_ml(Patient("male", 175, 75)) == pytest.approx(-10150 + 605.3 + 92.61 * 175 - 12.99 * 75)
    for patient, status in ((tall, "doubt"), (small, "ok")):
        item = next(i for i in acquisition_sheet(volume, whole, mask.quality, patient) if i.name == "Inspiration")
        assert item.status == status
        assert "Chinese adults" in item.remark
    with pytest.raises(InputError, match="17"):
        predicted_tlv_ml(Patient("male", 17, 75))
    with pytest.raises(InputError, match="formula predicts"):
        predicted_tlv_ml(Patient("female", 135, 200))


@pytest.mark.slow
def test_percentile_15_is_adjusted_to_the_predicted_volume_when_the_patient_is_described(chest):
    volume, mask = chest
    patient = Patient("female", 165, 60)
    predicted = predicted_tlv_ml(patient)
    panel = measure([volume], mask, MeasurementSettings(patient=patient)).volume
    expected = (panel.whole.perc15_hu + 1000) * panel.whole.tlv_ml / predicted - 1000
    assert panel.perc15_adjusted_hu == pytest.approx(expected)
    assert measure([volume], mask).volume.perc15_adjusted_hu is None
    assert next(i for i in panel.sheet if i.name == "Inspiration").remark


def test_thirds_are_of_equal_volume_or_of_equal_height_as_asked(chest):
    volume, mask = chest
    by_volume, by_height = (measure([volume], mask, MeasurementSettings(thirds_by=by)).volume for by in ("volume", "height"))
    thirds = [{r.region: r.voxels for r in p.regions if "third" in r.region} for p in (by_volume, by_height)]
    assert thirds[0] != thirds[1]
    assert sum(thirds[0].values()) == sum(thirds[1].values()) == by_volume.whole.voxels


@pytest.mark.parametrize(("kernel", "status"), [("B40f", "ok"), ("B41f", "doubt"), ("B50f", "doubt"), ("B70f", "doubt")])
def test_kernels_above_b40_are_called_sharp(chest, kernel, status):
    assert sheet_of(chest, acquisition=Acquisition(kernel=kernel))["Kernel"].status == status


@pytest.mark.parametrize(("thickness", "status"), [(1.5, "ok"), (1.6, "doubt"), (2.0, "doubt")])
def test_slices_over_one_and_a_half_millimetres_are_doubted(chest, thickness, status):
    assert sheet_of(chest, acquisition=Acquisition(slice_thickness_mm=thickness))["Slice thickness"].status == status


def test_dense_lungs_suggest_shallow_inspiration(chest):
    volume, mask = chest
    dense = replace(volume, hu=np.where(mask.mask, volume.hu + 120.0, volume.hu).astype(np.float32))
    whole = compute_indices(dense, mask)[0]
    item = next(i for i in acquisition_sheet(dense, whole, mask.quality) if i.name == "Inspiration")
    assert item.status == "doubt"
    assert sheet_of(chest)["Inspiration"].status == "ok"


@pytest.mark.parametrize(("fall", "beyond"), [(10.5, False), (11.5, True)])
def test_the_limit_of_the_percentile_is_eleven_hu(chest, fall, beyond):
    volume, mask = chest
    # every voxel above the threshold before and after, so that the percentile alone decides
    calm = replace(volume, hu=np.where(mask.mask, -850.0, volume.hu).astype(np.float32))
    lost = replace(calm, hu=np.where(mask.mask, -850.0 - fall, volume.hu).astype(np.float32))
    assert compare_dates((calm, mask), (lost, mask)).beyond_limits is beyond


@pytest.mark.parametrize(("share", "beyond"), [(0.035, False), (0.039, True)])
def test_the_limit_of_the_index_is_3_7_points(chest, share, beyond):
    volume, mask = chest
    calm = replace(volume, hu=np.where(mask.mask, -850.0, volume.hu).astype(np.float32))
    holes = np.argwhere(mask.mask)[: round(share * mask.mask.sum())]
    hu = calm.hu.copy()
    hu[tuple(holes.T)] = -990.0
    assert compare_dates((calm, mask), (replace(calm, hu=hu), mask)).beyond_limits is beyond


def test_the_share_of_emphysema_at_the_floor_is_exact():
    lung = np.array([-1024.0] * 5 + [-980.0] * 15 + [-850.0] * 80, dtype=np.float32)
    effect = floor_effect(lung, -1024.0, -950.0)
    assert (effect.lung_share_percent, effect.emphysema_share_percent) == (5.0, 25.0)


GOOD = MaskFacts(right_ml=3000.0, left_ml=2600.0, mean_hu=-850.0, dorsal_gap_mm=(40.0, 44.0))


def test_a_good_mask_is_ok():
    assert judge(GOOD) == MaskQuality("ok", ())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"right_ml": 500.0, "left_ml": 400.0}, "900 mL"),
        ({"right_ml": 6500.0, "left_ml": 5500.0}, "12000 mL"),
        ({"left_ml": 1200.0}, "2.50 times"),
        ({"left_ml": 10.0}, "left lung"),
        ({"top_cut_cm2": 30.0}, "uppermost"),
        ({"bottom_cut_cm2": 30.0}, "lowest"),
        ({"edge_cm2": 9.0}, "edge of the image"),
        ({"mean_hu": -400.0}, "-400 HU"),
        ({"dense_percent": 20.0}, "20 %"),
        ({"trachea_found": False}, "trachea"),
        ({"airways_leaked": True}, "leaking"),
        ({"gas_pocket_ml": 90.0}, "90 mL"),
        ({"left_out_gas_ml": 400.0}, "400 mL"),
        ({"metal_ml": 20.0}, "metal"),
        ({"contact_cm2": 90.0}, "90 cm²"),
        ({"dorsal_gap_mm": (40.0, 80.0)}, "Behind the left lung"),
        ({"silhouette_gap_cm2": (60.0, 0.0)}, "the right lung does not cover 60 cm²"),
        ({"silhouette_gap_cm2": (0.0, 60.0)}, "the left lung does not cover 60 cm²"),
        ({"solid_ml": 40.0}, "solid part of 40 mL"),
        ({"holes_ml": 30.0}, "holes of 30 mL"),
    ],
)
def test_every_doubt_about_a_mask_is_named(change, word):
    quality = judge(replace(GOOD, **change))
    assert quality.verdict == "look"
    assert len(quality.reasons) == 1
    assert word in quality.reasons[0]


def test_more_than_any_lungs_hold_is_a_failure():
    quality = judge(replace(GOOD, right_ml=9000.0, left_ml=8000.0))
    assert quality.verdict == "failed"
    assert "17000 mL" in quality.reasons[0]


def test_hardly_any_lung_is_a_failure():
    assert judge(MaskFacts(right_ml=100.0, left_ml=50.0, mean_hu=-850.0)).verdict == "failed"


def test_the_panel_holds_all_regions_and_agrees_with_itself(chest):
    volume, mask = chest
    panel = measure([volume], mask).volume
    names = [r.region for r in panel.regions]
    assert names == ["whole", "right", "left", "upper third", "middle third", "lower third", "core", "rind"]
    assert dict(panel.curve)[-950.0] == panel.whole.ei_percent
    assert sum(panel.clusters.class_percent) == pytest.approx(panel.whole.ei_percent)
