from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from emphysema.phantom import make

from EmphysemaQuantLib.core.indices.clusters import analyse_clusters, cluster_sizes, fit_power_law
from EmphysemaQuantLib.core.indices.density import compute_indices, partition_indices
from EmphysemaQuantLib.core.indices.regions import core_and_rind, thirds
from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import CTVolume, Geometry


@pytest.fixture(scope="module")
def chest():
    phantom = make(noise_hu=60.0)
    labels = phantom.right.astype(np.uint8) + 2 * phantom.left.astype(np.uint8)
    return phantom.volume, LungMask(labels, phantom.airways, MaskQuality("ok"))


def block(labels: np.ndarray, shape=(30, 40, 60)) -> np.ndarray:
    return np.broadcast_to(labels, shape).astype(np.uint8).copy()


def test_thirds_of_equal_volume_hold_a_third_each_and_the_upper_is_towards_the_head(chest):
    volume, mask = chest
    parts = thirds(mask, volume.geometry)
    shares = [np.count_nonzero(parts.labels == n) / mask.mask.sum() for n in (1, 2, 3)]
    slice_share = max(np.count_nonzero(mask.mask, axis=(1, 2))) / mask.mask.sum()
    assert shares == pytest.approx([1 / 3] * 3, abs=slice_share / 2)
    heights = [np.argwhere(parts.labels == n)[:, 0].mean() for n in (1, 2, 3)]
    assert heights[0] > heights[1] > heights[2]


def test_thirds_of_equal_height_split_the_height():
    labels = block(np.ones(1))
    labels[:, :, 30:] = 2
    labels[:10] = 0
    labels[28:] = 0
    mask = LungMask(labels, np.zeros(labels.shape, bool), MaskQuality("ok"))
    parts = thirds(mask, Geometry((2.0, 1.0, 1.0)), by="height")
    assert [np.flatnonzero((parts.labels == n).any(axis=(1, 2))).tolist() for n in (3, 2, 1)] == [
        list(range(10, 16)),
        list(range(16, 22)),
        list(range(22, 28)),
    ]


def test_the_upper_third_stays_upper_when_slices_are_stored_from_the_head(chest):
    volume, mask = chest
    flipped = replace(volume.geometry, direction=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)))
    turned = LungMask(np.ascontiguousarray(mask.labels[::-1]), mask.airways[::-1], mask.quality)
    assert np.array_equal(thirds(turned, flipped).labels[::-1], thirds(mask, volume.geometry).labels)


def test_the_rind_is_a_shell_of_the_given_depth():
    labels = np.zeros((40, 60, 60), np.uint8)
    labels[5:35, 10:50, 10:50] = 1
    mask = LungMask(labels, np.zeros(labels.shape, bool), MaskQuality("ok"))
    parts = core_and_rind(mask, Geometry((2.0, 2.0, 2.0)), rind_mm=10.0)
    inner = np.argwhere(parts.labels == 1)
    # 10 mm are five voxels; the surface lies half a voxel outside the outermost voxel centre
    assert abs(int(inner[:, 1].min()) - 15) <= 1
    assert abs(int(inner[:, 1].max()) - 44) <= 1
    assert np.count_nonzero(parts.labels) == np.count_nonzero(labels)


@pytest.fixture(scope="module")
def touching_blocks() -> LungMask:
    """Two lungs of 40 voxels each way that touch along a plane."""
    labels = np.zeros((44, 44, 84), np.uint8)
    labels[2:42, 2:42, 2:42] = 1
    labels[2:42, 2:42, 42:82] = 2
    return LungMask(labels, np.zeros(labels.shape, bool), MaskQuality("ok"))


def test_the_rows_of_the_thirds_are_named_by_where_they_lie(touching_blocks):
    geometry = Geometry((2.0, 2.0, 2.0))
    towards_the_head = np.broadcast_to(-900.0 + np.arange(44.0)[:, None, None], (44, 44, 84)).astype(np.float32)
    volume = CTVolume(np.ascontiguousarray(towards_the_head), geometry)
    rows = {r.region: r.mld_hu for r in partition_indices(volume, [thirds(touching_blocks, geometry)])}
    assert rows["upper third"] > rows["middle third"] > rows["lower third"]


def test_core_and_rind_belong_to_each_lung_and_carry_their_own_names(touching_blocks):
    geometry = Geometry((2.0, 2.0, 2.0))
    parts = core_and_rind(touching_blocks, geometry, rind_mm=15.0)
    core = np.isin(parts.labels, [n for n, name in parts.names.items() if name == "core"])
    in_right, in_left = (np.count_nonzero(core & (touching_blocks.labels == side)) for side in (1, 2))
    assert in_right == in_left > 0
    # the surface between two touching lungs is a surface of both
    assert not core[:, :, 36:48].any()
    assert core[22, 22, 22]
    hu = np.where(core, -990.0, -850.0).astype(np.float32)
    rows = {r.region: r.ei_percent for r in partition_indices(CTVolume(hu, geometry), [parts])}
    assert rows == {"core": 100.0, "rind": 0.0}


@pytest.mark.parametrize("divide", [thirds, core_and_rind])
def test_regions_add_up_to_the_whole(chest, divide):
    volume, mask = chest
    whole = compute_indices(volume, mask)[0]
    rows = partition_indices(volume, [divide(mask, volume.geometry)])
    assert sum(r.voxels for r in rows) == whole.voxels
    assert sum(r.tlv_ml for r in rows) == pytest.approx(whole.tlv_ml)
    assert sum(r.ev_ml for r in rows) == pytest.approx(whole.ev_ml)
    assert sum(r.mass_g for r in rows) == pytest.approx(whole.mass_g, rel=1e-6)
    assert sum(r.mld_hu * r.voxels for r in rows) / whole.voxels == pytest.approx(whole.mld_hu)


def test_lobes_have_rows_of_their_own_when_the_mask_knows_them(chest):
    volume, mask = chest
    lobes = np.where(mask.labels == 1, 3, np.where(mask.labels == 2, 5, 0)).astype(np.uint8)
    lobes[(mask.labels == 1) & (np.arange(72)[:, None, None] > 40)] = 1
    rows = {r.region: r for r in compute_indices(volume, replace(mask, lobes=lobes))}
    assert list(rows) == ["whole", "right", "left", "right upper lobe", "right lower lobe", "left lower lobe"]
    assert rows["right upper lobe"].voxels + rows["right lower lobe"].voxels == rows["right"].voxels


def test_clusters_touching_by_faces_are_one_and_by_corners_are_two():
    mask = np.zeros((10, 10, 10), bool)
    mask[2, 2, 2:5] = True
    mask[3, 2, 4] = True
    mask[4, 3, 4] = True
    assert sorted(cluster_sizes(mask).tolist()) == [1, 4]


def test_cluster_numbers_volumes_and_classes_are_exact():
    mask = np.zeros((20, 30, 30), bool)
    mask[2:7, 2:7, 2:7] = True
    mask[10:12, 10:12, 10:14] = True
    mask[15, 20, 20:23] = True
    mask[18, 5, 5] = True
    # voxels of 1 mm3: clusters of 125, 16, 3 and 1 mm3
    result = analyse_clusters(mask, lung_voxels=1000, spacing=(1.0, 1.0, 1.0))
    assert result.count == 4
    assert result.largest_ml == pytest.approx(0.125)
    assert result.class_percent == pytest.approx((0.1, 0.3, 1.6, 0.0, 12.5))
    assert result.power_law is None


def test_a_size_on_a_bound_belongs_to_the_class_above():
    mask = np.zeros((10, 10, 10), bool)
    mask[1, 1, 1:3] = True
    mask[4:6, 4:6, 4:6] = True
    # clusters of exactly 2 and 8 mm3 in 100 voxels of lung
    assert analyse_clusters(mask, 100, (1.0, 1.0, 1.0)).class_percent == pytest.approx((0.0, 2.0, 8.0, 0.0, 0.0))


@pytest.mark.slow
def test_an_exact_power_law_gives_its_exponent_back():
    for d in (0.7, 1.4, 2.2):
        sizes = 2.0 ** np.arange(10)
        reaching = np.round(4e7 * sizes**-d).astype(int)
        counts = reaching - np.append(reaching[1:], 0)
        fit = fit_power_law(np.repeat(sizes, counts))
        assert fit.d_value == pytest.approx(d, abs=0.01)
        assert fit.r_squared > 0.999
        assert (fit.fit_from, fit.fit_to) == (1.0, 512.0)


def test_the_fit_needs_five_sizes_and_ends_where_fewer_than_three_clusters_reach():
    four = np.repeat([1.0, 2.0, 4.0, 8.0], [40, 20, 10, 5])
    assert fit_power_law(four) is None
    fit = fit_power_law(np.append(four, [16.0] * 3))
    assert (fit.sizes, fit.fit_from, fit.fit_to) == (5, 1.0, 16.0)
    # two single giants are reached by two clusters and by one: chance, and left out
    assert fit_power_law(np.append(four, [16.0, 16.0, 500.0, 900.0])).fit_to == 16.0
    assert fit_power_law(np.append(four, [500.0, 900.0])) is None


def test_r_squared_is_the_share_that_the_line_explains():
    values, counts = np.array([1.0, 2.0, 3.0, 5.0, 9.0]), np.array([50, 9, 20, 4, 3])
    fit = fit_power_law(np.repeat(values, counts))
    reaching = np.cumsum(counts[::-1])[::-1]
    assert fit.r_squared == pytest.approx(np.corrcoef(np.log(values), np.log(reaching))[0, 1] ** 2)
    assert fit.d_value == pytest.approx(-np.polyfit(np.log(values), np.log(reaching), 1)[0])
    # the unit of size changes the range, not the exponent
    scaled = fit_power_law(np.repeat(values * 7.0, counts))
    assert (scaled.d_value, scaled.fit_to) == pytest.approx((fit.d_value, 63.0))


def test_cluster_volumes_are_in_millimetres_whatever_the_voxel():
    mask = np.zeros((10, 10, 10), bool)
    mask[1, 1, 1:4] = True
    mask[4:7, 4:7, 4:7] = True
    # voxels of half a cubic millimetre: clusters of 1.5 and 13.5 mm3
    result = analyse_clusters(mask, 300, (2.0, 0.5, 0.5))
    assert result.class_percent == pytest.approx((1.0, 0.0, 9.0, 0.0, 0.0))
    assert result.largest_ml == pytest.approx(0.0135)


def test_no_emphysema_has_no_cluster_and_no_d_value():
    result = analyse_clusters(np.zeros((8, 8, 8), bool), 100, (1.0, 1.0, 1.0))
    assert (result.count, result.largest_ml, result.power_law) == (0, 0.0, None)
    with pytest.raises(InputError, match="0 voxels"):
        analyse_clusters(np.zeros((8, 8, 8), bool), 0, (1.0, 1.0, 1.0))


def test_regions_of_an_empty_mask_are_an_error():
    empty = LungMask(np.zeros((8, 8, 8), np.uint8), np.zeros((8, 8, 8), bool), MaskQuality("ok"))
    with pytest.raises(InputError, match="empty"):
        thirds(empty, Geometry((1.0, 1.0, 1.0)))


def test_indices_do_not_depend_on_the_stored_axis_order(chest):
    volume, mask = chest
    spacing = volume.geometry.spacing
    geometry = Geometry((spacing[1], spacing[0], spacing[2]), direction=((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)))
    turned = CTVolume(np.ascontiguousarray(volume.hu.transpose(1, 0, 2)), geometry)
    turned_mask = replace(mask, labels=np.ascontiguousarray(mask.labels.transpose(1, 0, 2)))
    rows = zip(compute_indices(volume, mask), compute_indices(turned, turned_mask), strict=True)
    for ours, theirs in rows:
        assert theirs.ei_percent == ours.ei_percent
        assert theirs.perc15_hu == ours.perc15_hu
        assert theirs.mld_hu == pytest.approx(ours.mld_hu)
    ours, theirs = (partition_indices(v, [thirds(m, v.geometry)]) for v, m in ((volume, mask), (turned, turned_mask)))
    assert [r.voxels for r in theirs] == [r.voxels for r in ours]
