from __future__ import annotations

import numpy as np
import pytest

from EmphysemaQuantLib.core.indices.emphysema_mask import emphysema_mask
from EmphysemaQuantLib.core.indices.density import compute_indices, region_indices
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import CTVolume, Geometry

SPACING = (2.0, 0.5, 0.5)
VOXEL_ML = 2.0 * 0.5 * 0.5 / 1000


def scan_with(right: list[float], left: list[float]) -> tuple[CTVolume, LungMask]:
    """A volume whose right and left lung hold exactly the given HU."""
    hu = np.full((10, 40, 40), 20.0, dtype=np.float32)
    labels = np.zeros(hu.shape, dtype=np.uint8)
    for label, values, first_column in ((1, right, 0), (2, left, 20)):
        flat = np.arange(len(values))
        k, j, i = flat // 400, (flat % 400) // 20, flat % 20 + first_column
        hu[k, j, i] = values
        labels[k, j, i] = label
    hu[-1, -1, :] = -1000.0
    volume = CTVolume(hu, Geometry(SPACING))
    return volume, LungMask(labels, np.zeros(hu.shape, dtype=bool), MaskQuality("ok"))


def test_emphysema_is_strictly_below_the_threshold_and_inside_the_mask():
    hu = np.array([[[-951.0, -950.0, -949.0, -1000.0]]], dtype=np.float32)
    lungs = np.array([[[True, True, True, False]]])
    assert emphysema_mask(hu, lungs).tolist() == [[[True, False, False, False]]]
    assert emphysema_mask(hu, lungs, -949.0).tolist() == [[[True, True, False, False]]]


def test_emphysema_refuses_a_mask_of_another_shape_and_names_both():
    with pytest.raises(InputError, match=r"\(1, 1, 4\).*\(1, 1, 3\)"):
        emphysema_mask(np.zeros((1, 1, 4), np.float32), np.ones((1, 1, 3), bool))


def test_known_emphysema_gives_the_known_index_and_volumes():
    volume, mask = scan_with(right=[-980.0] * 30 + [-850.0] * 70, left=[-960.0] * 5 + [-850.0] * 45)
    whole, right, left = compute_indices(volume, mask)
    assert [r.region for r in (whole, right, left)] == ["whole", "right", "left"]
    assert whole.ei_percent == pytest.approx(100 * 35 / 150)
    assert right.ei_percent == pytest.approx(30.0)
    assert left.ei_percent == pytest.approx(10.0)
    assert whole.tlv_ml == pytest.approx(150 * VOXEL_ML)
    assert whole.ev_ml == pytest.approx(35 * VOXEL_ML)
    assert right.tlv_ml + left.tlv_ml == pytest.approx(whole.tlv_ml)
    assert right.ev_ml + left.ev_ml == pytest.approx(whole.ev_ml)
    assert right.voxels + left.voxels == whole.voxels


def test_percentile_15_interpolates_between_order_statistics():
    values = [-1000.0 + n for n in range(101)]
    volume, mask = scan_with(right=values, left=[-900.0])
    right = compute_indices(volume, mask)[1]
    assert right.perc15_hu == pytest.approx(-985.0)
    volume, mask = scan_with(right=[-1000.0, -900.0, -800.0], left=[-900.0])
    # 15 % of the way along two gaps lies 0.3 of the first one
    assert compute_indices(volume, mask)[1].perc15_hu == pytest.approx(-970.0)


def test_moments_and_mass_match_their_definitions():
    rng = np.random.default_rng(4)
    values = (rng.gamma(4.0, 20.0, size=3000) - 960.0).astype(np.float32)
    volume, mask = scan_with(right=values.tolist(), left=[-850.0])
    right = compute_indices(volume, mask)[1]
    v = values.astype(np.float64)
    assert right.mld_hu == pytest.approx(v.mean(), abs=1e-3)
    assert right.sd_hu == pytest.approx(v.std(), abs=1e-3)
    assert right.skewness == pytest.approx(((v - v.mean()) ** 3).mean() / v.std() ** 3, abs=1e-4)
    assert right.kurtosis == pytest.approx(((v - v.mean()) ** 4).mean() / v.std() ** 4 - 3, abs=1e-4)
    grams = ((v + 1000) / 1000 * VOXEL_ML).sum()
    assert right.mass_g == pytest.approx(grams, rel=1e-5)


def test_wider_thresholds_are_reported_beside_the_index():
    volume, mask = scan_with(right=[-960.0, -920.0, -880.0, -800.0], left=[-800.0])
    right = compute_indices(volume, mask)[1]
    assert (right.ei_percent, right.laa910_percent, right.laa856_percent) == (25.0, 50.0, 75.0)


def test_a_voxel_at_a_threshold_is_not_below_it_and_the_next_hu_is():
    volume, mask = scan_with(right=[-950.0, -910.0, -856.0, -800.0], left=[-951.0, -911.0, -857.0, -800.0])
    _, right, left = compute_indices(volume, mask)
    assert (right.ei_percent, right.laa910_percent, right.laa856_percent) == (0.0, 25.0, 50.0)
    assert (left.ei_percent, left.laa910_percent, left.laa856_percent) == (25.0, 50.0, 75.0)


def test_moments_of_more_voxels_than_one_block_are_those_of_all():
    # sorted, so that the first million voxels alone would give other moments
    hu = np.sort(np.random.default_rng(7).normal(-850.0, 40.0, 1_200_000)).astype(np.float32)
    found, values = region_indices("whole", hu, 0.001), hu.astype(np.float64)
    assert found.sd_hu == pytest.approx(values.std(), rel=1e-6)
    assert found.kurtosis == pytest.approx(((values - values.mean()) ** 4).mean() / values.var() ** 2 - 3, abs=1e-6)


def test_the_index_never_falls_when_the_threshold_rises():
    rng = np.random.default_rng(5)
    volume, mask = scan_with(right=rng.normal(-900, 60, 2000).tolist(), left=rng.normal(-900, 60, 2000).tolist())
    curve = [compute_indices(volume, mask, t)[0].ei_percent for t in range(-1000, -850, 10)]
    assert curve == sorted(curve)
    assert curve[-1] > curve[0]


def test_voxels_at_a_clipped_floor_are_counted_and_a_natural_tail_is_not():
    rng = np.random.default_rng(6)
    noisy = rng.normal(-930.0, 60.0, 3600)
    clipped, mask = scan_with(right=np.clip(np.rint(noisy), -1024, None).tolist(), left=[-850.0])
    right = compute_indices(clipped, mask)[1]
    assert right.floor_percent == pytest.approx(100 * np.mean(np.rint(noisy) <= -1024), abs=0.01)
    open_ended, mask = scan_with(right=[-1090.0, -1060.0, *np.linspace(-1040, -800, 3000)], left=[-850.0])
    assert compute_indices(open_ended, mask)[1].floor_percent == 0.0


def test_an_absent_lung_has_no_row():
    volume, mask = scan_with(right=[-850.0] * 10, left=[])
    assert [r.region for r in compute_indices(volume, mask)] == ["whole", "right"]


def test_an_empty_mask_is_an_error_and_not_a_zero():
    volume, _ = scan_with(right=[-850.0], left=[-850.0])
    empty = LungMask(np.zeros(volume.shape, np.uint8), np.zeros(volume.shape, bool), MaskQuality("ok"))
    with pytest.raises(InputError, match="empty"):
        compute_indices(volume, empty)


def test_a_mask_of_another_shape_is_refused():
    volume, _ = scan_with(right=[-850.0], left=[-850.0])
    other = LungMask(np.ones((8, 4, 4), np.uint8), np.zeros((8, 4, 4), bool), MaskQuality("ok"))
    with pytest.raises(InputError, match=r"\(8, 4, 4\)"):
        compute_indices(volume, other)


def test_padding_outside_the_lungs_changes_no_index():
    volume, mask = scan_with(right=[-980.0, -850.0, -840.0], left=[-960.0, -830.0])
    hu = volume.hu.copy()
    hu[:, 30:, :] = -2048.0
    padded = CTVolume(hu, volume.geometry, padding_value=-2048.0)
    assert compute_indices(padded, mask) == compute_indices(volume, mask)
