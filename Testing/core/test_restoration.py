"""Truncation undone: known truncation gives the true mean back; unknown truncation is read from the scan."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from core.chests import Chest, coloured_noise, make_chest
from numpy.typing import NDArray

from KernelNormalizationLib.core.kernels.mtf import gain_to_b20f
from KernelNormalizationLib.core.kernels.radial_filter import Gain, apply_gain
from KernelNormalizationLib.core.truncation.estimation import Fit, Prior, estimate_plan, examined_slices, known_plan
from KernelNormalizationLib.core.truncation.model import Truncation
from KernelNormalizationLib.core.truncation.restoration import RestorationPlan, restore_slices
from KernelNormalizationLib.core.truncation.scan_regions import AIR_LIMIT_HU, air_limit, outer_air
from training.simulate.truncated import truncated

PIXEL = (0.7, 0.7)
NOISE_HU = 80.0
SIDE, SLICES, BODY_SCALE = 256, 8, 0.72


def _gain(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    return gain_to_b20f(70.0, frequency)


GAIN: Gain = _gain


@lru_cache(maxsize=1)
def _chest() -> Chest:
    return make_chest(slices=SLICES, side=SIDE, noise_hu=0.0, floor=None, scale=BODY_SCALE)


@lru_cache(maxsize=8)
def _scan(
    truncation: Truncation | None, seed: int = 5, noise_hu: float = NOISE_HU
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Stored slices and the transfer of the slices before truncation, (k, j, i), HU; several tests read them, none writes."""
    noise = coloured_noise(70.0, (SLICES, SIDE, SIDE), PIXEL[0], noise_hu, seed)
    whole = (_chest().volume.hu + noise).astype(np.float32)
    stored = np.rint(truncated(whole, noise, truncation, np.random.default_rng(seed))).astype(np.float32)
    transferred = apply_gain(whole, PIXEL, GAIN)
    for shared in (stored, transferred):
        shared.flags.writeable = False
    return stored, transferred


@lru_cache(maxsize=8)
def _estimated(truncation: Truncation) -> RestorationPlan:
    """What is read from a scan with this truncation, without being told it."""
    return estimate_plan(_scan(truncation)[0], PIXEL, GAIN, -1024.0, siemens=True)


def _inner_lung() -> NDArray[np.bool_]:
    lungs = _chest().lungs
    kept = lungs.copy()
    for axis, step in ((1, 8), (1, -8), (2, 8), (2, -8)):
        kept &= np.roll(lungs, step, axis)
    return kept


TRUNCATIONS = {
    "plain clip": Truncation(),
    "interpolated": Truncation(weights=(0.7, 0.3), correlation=0.24),
    "two images": Truncation.of_equal_images(2, 0.24),
    "four images": Truncation.of_equal_images(4, 0.24),
    "floor at -1000": Truncation(floor_hu=-1000.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUNCATIONS)
def test_lung_keeps_its_mean_when_the_truncation_is_known(name: str) -> None:
    truncation = TRUNCATIONS[name]
    stored, truth = _scan(truncation)
    base, lost = restore_slices(stored, PIXEL, GAIN, known_plan(stored, PIXEL, GAIN, truncation))
    lung = _inner_lung()
    before = float(apply_gain(stored, PIXEL, GAIN)[lung].mean() - truth[lung].mean())
    after = float(base[lung].mean() - truth[lung].mean())
    assert abs(after) < 1.0
    assert before > 1.5 or truncation.images == 1
    assert lost.max() <= 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUNCATIONS)
def test_air_around_the_body_comes_back_as_air(name: str) -> None:
    truncation = TRUNCATIONS[name]
    stored, _ = _scan(truncation)
    outside = np.stack([outer_air(image) for image in stored])
    far = outside & ~_chest().body
    base, _ = restore_slices(stored, PIXEL, GAIN, known_plan(stored, PIXEL, GAIN, truncation), outside)
    for axis, step in ((1, 10), (1, -10), (2, 10), (2, -10)):
        far &= np.roll(outside, step, axis)
    assert base[far].mean() == pytest.approx(-1001.0, abs=2.0)


@pytest.mark.parametrize("name", ["plain clip", "interpolated", "two images", "four images"])
def test_foam_of_the_table_is_not_taken_for_air(name: str) -> None:
    truncation = TRUNCATIONS[name]
    foam = np.zeros((SLICES, SIDE, SIDE), bool)
    foam[:, -34:, :] = True
    foam &= ~_chest().body
    noise = coloured_noise(70.0, foam.shape, PIXEL[0], NOISE_HU, 7)
    whole = (np.where(foam, -925.0, _chest().volume.hu) + noise).astype(np.float32)
    stored = np.rint(truncated(whole, noise, truncation, np.random.default_rng(7))).astype(np.float32)
    outside = np.stack([outer_air(image) for image in stored])
    base, _ = restore_slices(stored, PIXEL, GAIN, known_plan(stored, PIXEL, GAIN, truncation), outside)
    deep = foam & outside & (np.arange(SIDE)[:, None] > SIDE - 22)
    air = outside & ~foam & (np.arange(SIDE)[:, None] < 20)
    assert min(np.count_nonzero(deep), np.count_nonzero(air)) > 5000
    assert base[deep].mean() == pytest.approx(-925.0, abs=5.0)
    assert base[air].mean() == pytest.approx(-1001.0, abs=4.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain clip", "two images", "four images"])
def test_truncation_read_from_the_scan_restores_as_well_as_the_known_one(name: str) -> None:
    stored, truth = _scan(TRUNCATIONS[name])
    plan = _estimated(TRUNCATIONS[name])
    base, _ = restore_slices(stored, PIXEL, GAIN, plan)
    lung = _inner_lung()
    assert abs(float(base[lung].mean() - truth[lung].mean())) < 3.0
    assert plan.evidence["air"]["from"] == "histogram of the air"


@pytest.mark.slow
def test_the_air_tells_how_many_images_were_averaged() -> None:
    for images, correlation in ((1, 0.0), (2, 0.24), (4, 0.24), (4, 0.48)):
        air = _estimated(Truncation.of_equal_images(images, correlation)).air
        effective = 1.0 / sum(w * w for w in air.weights)
        assert effective == pytest.approx(images, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize(("images", "correlation"), [(12, 0.1), (8, 0.05)])
def test_many_images_of_strong_noise_are_told_by_their_air_though_hardly_a_voxel_lies_at_the_floor(
    images: int, correlation: float
) -> None:
    many = Truncation.of_equal_images(images, correlation)
    stored, truth = _scan(many, noise_hu=90.0)
    outside = ~_chest().body
    assert stored[outside].mean() > -930.0
    assert np.mean(stored[outside] == -1024.0) < 0.01
    plan = estimate_plan(stored, PIXEL, GAIN, -1024.0, siemens=True)
    assert plan.evidence["air"]["from"] == "histogram of the air"
    assert plan.lungs.images > 4
    assert plan.air.noise_ratio == pytest.approx(many.noise_ratio, rel=0.06)
    base, _ = restore_slices(stored, PIXEL, GAIN, plan)
    lung = _inner_lung()
    unrestored = apply_gain(stored, PIXEL, GAIN)
    assert abs(float((base - truth)[lung].mean())) < 0.5 * abs(float((unrestored - truth)[lung].mean()))


@pytest.mark.parametrize("air_hu", [-1000.0, -975.0, -930.0, -890.0, -860.0])
def test_air_is_found_however_dense_it_is_stored_and_foam_above_it_is_not_taken_for_it(air_hu: float) -> None:
    rng = np.random.default_rng(2)
    air, foam = rng.normal(air_hu, 9.0, 20_000), rng.normal(air_hu + 52.0, 9.0, 25_000)
    limit = air_limit(np.concatenate([air, foam]).astype(np.float32))
    assert np.mean(air < limit) > 0.95
    assert np.mean(foam < limit) < 0.05 or limit == AIR_LIMIT_HU


def test_nothing_but_blankets_around_the_body_is_not_air() -> None:
    assert air_limit(np.full(5000, -700.0, np.float32)) == AIR_LIMIT_HU
    assert air_limit(np.zeros(0, np.float32)) == AIR_LIMIT_HU


def test_an_untruncated_scan_is_the_plain_transfer() -> None:
    stored, _ = _scan(None)
    stored = np.maximum(stored, stored.min())
    plan = RestorationPlan(Truncation(floor_hu=-1500.0), Truncation(floor_hu=-1500.0), 1.25)
    base, lost = restore_slices(stored, PIXEL, GAIN, plan)
    assert not lost.any()
    np.testing.assert_allclose(base, apply_gain(stored, PIXEL, GAIN), atol=0.01)


@pytest.mark.slow
def test_soft_tissue_is_the_plain_transfer() -> None:
    stored, _ = _scan(Truncation.of_equal_images(2, 0.24))
    base, _ = restore_slices(stored, PIXEL, GAIN, known_plan(stored, PIXEL, GAIN, Truncation.of_equal_images(2, 0.24)))
    tissue = np.zeros(stored.shape, bool)
    middle = SIDE // 2
    tissue[:, middle - 6 : middle + 6, middle - 3 : middle + 3] = True
    np.testing.assert_allclose(base[tissue], apply_gain(stored, PIXEL, GAIN)[tissue], atol=0.5)


def test_a_scan_without_voxels_at_the_floor_falls_back_and_says_so() -> None:
    quiet = np.where(_chest().body, _chest().volume.hu, -1000.0).astype(np.float32)
    plan = estimate_plan(quiet, PIXEL, GAIN, -1024.0, siemens=True)
    assert plan.lungs == Truncation.of_equal_images(2, 0.24)
    assert plan.evidence["lungs"]["from"] == "default"
    assert "too few voxels" in plan.evidence["lungs"]["reason"]
    assert estimate_plan(quiet, PIXEL, GAIN, -1024.0, siemens=False).lungs == Truncation()


@pytest.mark.slow
def test_a_histogram_that_no_truncation_explains_falls_back_and_says_so() -> None:
    stored = _scan(Truncation())[0].copy()
    rng = np.random.default_rng(3)
    # values from -1024 to -1000 pressed onto every tenth HU: no floor makes such a comb
    low = stored < -960.0
    stored[low] = np.where(rng.random(np.count_nonzero(low)) < 0.5, -1015.0, -980.0)
    stored[0, 0, 0] = -1024.0
    plan = estimate_plan(stored, PIXEL, GAIN, -1024.0, siemens=True)
    assert plan.lungs == Truncation.of_equal_images(2, 0.24)
    assert "reason" in plan.evidence["lungs"]


def test_the_air_holds_the_lungs_estimate() -> None:
    near, far = Truncation.of_equal_images(4, 0.24), Truncation()
    prior = Prior(near, 1.0)
    assert prior.misfit(near) == 0.0
    assert prior.misfit(far) > 9.0
    assert Prior(near, 3.0).misfit(far) == pytest.approx(prior.misfit(far) / 9.0)
    assert Fit(near, 1.0).noise_factor == 1.0


@pytest.mark.slow
def test_the_plan_is_json() -> None:
    import json

    record = _estimated(TRUNCATIONS["two images"]).as_record()
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("count", [1, 8, 12, 13, 300])
def test_the_slices_that_tell_the_truncation_are_all_that_is_needed_of_a_series(count: int) -> None:
    examined = examined_slices(count)
    assert examined.max() < count
    np.testing.assert_array_equal(examined_slices(examined.size), np.arange(examined.size))


@pytest.mark.slow
def test_the_user_reads_how_the_scan_was_cut_off() -> None:
    told = _estimated(TRUNCATIONS["plain clip"]).in_words()
    assert told.startswith("The scanner cut off values below -1024 HU (read from the scan). ")
    averaged = RestorationPlan(Truncation.of_equal_images(2), Truncation(), 1.25, {"lungs": {"from": "default"}}).in_words()
    assert "in 2 images that were then averaged" in averaged
    assert "the scan does not tell" in averaged
