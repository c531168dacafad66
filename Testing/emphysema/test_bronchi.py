"""Bronchi are taken out of the lungs on the smoothest volume; emphysema, bullae and broken walls beside them are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from emphysema.bronchial_tree import FINE, Branch, Point, Tree, branches, tree
from emphysema.phantom import make

from EmphysemaQuantLib.core.lungs.bronchi import follow_bronchi, without_leaks
from EmphysemaQuantLib.core.lungs.segmentation import LungMask, segment_lungs, smoothest
from EmphysemaQuantLib.core.results.quantification import quantify
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import CTVolume, Geometry

pytestmark = pytest.mark.slow

SEGMENTAL = [branch for branch in branches() if branch.generation == 2]
SHARP_NOISE_HU, SMOOTH_NOISE_HU = 90.0, 8.0


def beside(branch: Branch, gap_mm: float) -> Point:
    """A point ``gap_mm`` from the axis of a branch, half way along it."""
    along = np.subtract(branch.end, branch.start)
    across = np.cross(along, (1.0, 0.3, 0.2))
    point = (np.add(branch.start, branch.end)) / 2 + gap_mm * across / np.linalg.norm(across)
    return float(point[0]), float(point[1]), float(point[2])


def sharp(case: Tree) -> CTVolume:
    """The same chest as a sharp kernel shows it: its noise added to the smooth volume."""
    noise = np.random.default_rng(7).normal(0.0, SHARP_NOISE_HU, size=case.phantom.volume.shape).astype(np.float32)
    return case.phantom.volume.with_hu(np.clip(case.phantom.volume.hu + noise, -1024, 3071), name="sharp", synthetic=False)


def smooth(case: Tree) -> CTVolume:
    return replace(case.phantom.volume, synthetic=True)


def emphysema_ml(case: Tree, inside: np.ndarray) -> float:
    voxel_ml = case.phantom.volume.geometry.voxel_volume_ml
    return float(np.count_nonzero((case.phantom.volume.hu < -950.0) & inside)) * voxel_ml


def index(case: Tree, lungs: np.ndarray) -> float:
    return 100.0 * float(np.mean(case.phantom.volume.hu[lungs] < -950.0))


@pytest.fixture(scope="module")
def healthy() -> Tree:
    return tree(SMOOTH_NOISE_HU)


@pytest.fixture(scope="module")
def healthy_sharp(healthy: Tree) -> CTVolume:
    return sharp(healthy)


@pytest.fixture(scope="module")
def healthy_mask(healthy: Tree, healthy_sharp: CTVolume) -> LungMask:
    return segment_lungs(healthy_sharp, smooth=smooth(healthy))


@pytest.fixture(scope="module")
def sharp_mask(healthy_sharp: CTVolume) -> LungMask:
    """The mask of the sharp volume without help of a smooth one."""
    return segment_lungs(healthy_sharp)


@pytest.fixture(scope="module")
def sick() -> Tree:
    """Emphysema that touches bronchi, and two bullae that touch bronchi; every wall is whole."""
    small = tuple((beside(b, b.radius + b.wall + 5.0), 6.0) for b in SEGMENTAL[::2])
    bullae = tuple((beside(b, b.radius + b.wall + 17.0), 18.0) for b in SEGMENTAL[1::4])
    return tree(SMOOTH_NOISE_HU, small + bullae)


@pytest.fixture(scope="module")
def broken() -> Tree:
    """Bullae beside bronchi, and a hole of 6 mm in the wall of one bronchus that opens into its bulla."""
    bullae = tuple((beside(b, b.radius + b.wall + 17.0), 18.0) for b in SEGMENTAL[::2])
    return tree(SMOOTH_NOISE_HU, bullae, broken=(beside(SEGMENTAL[0], 4.0), 3.0))


def test_a_healthy_chest_has_no_emphysema_left_in_its_bronchi(healthy, sharp_mask, healthy_mask):
    lumen = healthy.phantom.airways
    left_alone, left = (emphysema_ml(healthy, mask.mask & lumen) for mask in (sharp_mask, healthy_mask))
    assert left < 0.5 * left_alone
    assert left < 0.15
    assert index(healthy, healthy_mask.mask) < 0.005
    assert not (healthy_mask.airways & healthy_mask.mask).any()


def test_the_airways_are_lumen_and_nothing_else(healthy, healthy_mask):
    found = healthy_mask.airways
    assert np.count_nonzero(found & ~healthy.phantom.airways) < 0.01 * np.count_nonzero(found)
    # a lumen of one or two voxels is not as dark as air and cannot pass for emphysema: only what can is asked for
    dark = healthy.segmental & (healthy.phantom.volume.hu < -950.0)
    assert np.count_nonzero(found & dark) > 0.9 * np.count_nonzero(dark) > 200
    truth_ml = np.count_nonzero(healthy.phantom.airways) * healthy.phantom.volume.geometry.voxel_volume_ml
    assert healthy_mask.airways_ml(healthy.phantom.volume.geometry.voxel_volume_ml) == pytest.approx(truth_ml, rel=0.1)


def test_the_smooth_volume_takes_bronchi_out_of_the_lungs_and_changes_nothing_else(healthy, sharp_mask, healthy_mask):
    changed = sharp_mask.labels != healthy_mask.labels
    assert (healthy_mask.labels[changed] == 0).all()
    assert healthy.lumen[changed].mean() > 0.95
    assert np.count_nonzero(changed) < 0.002 * np.count_nonzero(sharp_mask.labels)


@pytest.mark.parametrize("with_smooth", [True, False], ids=["with a normalized volume", "sharp alone"])
@pytest.mark.parametrize("case", ["sick", "broken"])
def test_emphysema_beside_bronchi_is_kept(case, with_smooth, request):
    chest: Tree = request.getfixturevalue(case)
    mask = segment_lungs(sharp(chest), smooth=smooth(chest) if with_smooth else None)
    true = emphysema_ml(chest, chest.emphysema)
    assert true > 40.0
    assert emphysema_ml(chest, chest.emphysema & mask.mask) > 0.99 * true
    assert index(chest, mask.mask) == pytest.approx(index(chest, chest.phantom.lungs), abs=0.03)


def test_a_leak_through_a_broken_wall_is_taken_back(broken):
    lumen, spacing = broken.phantom.airways, broken.phantom.volume.geometry.spacing
    hu = broken.phantom.volume.hu
    trachea = lumen.copy()
    trachea[: lumen.shape[0] * 2 // 3] = False
    sound = without_leaks(hu, lumen | broken.emphysema, trachea, spacing)
    assert np.count_nonzero(sound & broken.emphysema) < 0.02 * np.count_nonzero(broken.emphysema)
    assert np.count_nonzero(sound & lumen) > 0.95 * np.count_nonzero(lumen)


def test_without_a_trachea_in_the_scan_nothing_but_bronchi_is_taken_out():
    small = tuple((beside(b, b.radius + b.wall + 5.0), 6.0) for b in SEGMENTAL[::2])
    chest = tree(SMOOTH_NOISE_HU, small, plan=replace(FINE, trachea=False))
    mask = segment_lungs(smooth(chest))
    assert np.count_nonzero(mask.airways & ~chest.lumen) < 0.01 * np.count_nonzero(mask.airways)
    assert emphysema_ml(chest, chest.emphysema & mask.mask) > 0.99 * emphysema_ml(chest, chest.emphysema)


def test_a_chest_whose_airways_cannot_be_found_says_so_and_counts_none():
    mask = segment_lungs(make(trachea=False).volume)
    assert not mask.airways.any()
    assert mask.airways_ml(1.0) is None
    assert "No trachea was found" in " ".join(mask.quality.reasons)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)], ids=["slices from the head down", "sagittal storage"])
def test_stored_order_does_not_matter(healthy, healthy_sharp, healthy_mask, axes):
    spacing = healthy_sharp.geometry.spacing
    unit = np.eye(3)
    # array axis n holds canonical axis axes[n], and the first one runs backwards
    rows = [unit[2 - axes[n]] * (-1.0 if n == 0 else 1.0) for n in (2, 1, 0)]
    direction = tuple(map(tuple, np.stack(rows, axis=1).tolist()))
    geometry = Geometry((spacing[axes[0]], spacing[axes[1]], spacing[axes[2]]), direction=direction)

    def turned(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array.transpose(axes)[::-1])

    pair = [replace(v, hu=turned(v.hu), geometry=geometry) for v in (healthy_sharp, smooth(healthy))]
    mask = segment_lungs(pair[0], smooth=pair[1])
    assert np.array_equal(mask.labels, turned(healthy_mask.labels))
    assert np.array_equal(mask.airways, turned(healthy_mask.airways))


def test_one_mask_without_airways_serves_both_volumes(healthy, healthy_sharp, healthy_mask):
    result = quantify(healthy_sharp, smooth(healthy))
    assert np.array_equal(result.lung_mask.labels, healthy_mask.labels)
    assert result.volume.whole.voxels == result.compared.whole.voxels
    assert not (result.volume.emphysema & result.lung_mask.airways).any()
    assert result.volume.airways_ml == result.compared.airways_ml > 30.0


def test_the_normalized_volume_is_the_smoothest_and_then_the_one_with_least_noise(healthy, healthy_sharp):
    soft = healthy.phantom.volume
    assert smoothest([healthy_sharp, soft]) is soft
    synthetic = replace(healthy_sharp, synthetic=True)
    assert smoothest([soft, synthetic]) is synthetic


def test_a_smooth_volume_of_another_shape_is_refused(healthy_sharp):
    other = replace(healthy_sharp, hu=healthy_sharp.hu[1:])
    with pytest.raises(InputError, match="same grid"):
        segment_lungs(healthy_sharp, smooth=other)


@pytest.mark.parametrize(("side", "followed"), [(60, True), (150, False)], ids=["11 mL", "70 mL"])
def test_a_growth_larger_than_any_tree_is_refused_whole(side, followed):
    # one winding tube 4 mm wide, walled in everywhere, so that only its volume gives it away
    hu = np.full((6, side + 1, side + 1), -1000.0, dtype=np.float32)
    hu[[0, 5]] = 0.0
    hu[:, :, [0, side]] = 0.0
    hu[:, ::5] = 0.0
    hu[1:5, 5:side:10, 1:5], hu[1:5, 10:side:10, side - 4 : side] = -1000.0, -1000.0
    start = np.zeros(hu.shape, dtype=bool)
    start[2, 2, side - 3] = True
    found = follow_bronchi(hu, np.ones(hu.shape, dtype=bool), start, (1.0, 1.0, 1.0))
    assert np.count_nonzero(found) > 0.9 * np.count_nonzero(hu < -900.0) if followed else not found.any()


def test_nothing_is_followed_from_nowhere():
    nothing = np.zeros((8, 8, 8), dtype=bool)
    assert not follow_bronchi(np.full((8, 8, 8), -1000.0, dtype=np.float32), ~nothing, nothing, (1.0, 1.0, 1.0)).any()
