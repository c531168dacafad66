"""By how much the emphysema index changes under scanner properties that the scan does not determine."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from core.chests import LUNG_HU, Chest, coloured_noise, make_chest

from EmphysemaQuantLib.core.indices.left_open import read_left_open
from EmphysemaQuantLib.core.indices.prediction_interval import ErrorStratum, ei_interval
from KernelNormalizationLib.core.arrays import EMPHYSEMA_THRESHOLD_HU
from KernelNormalizationLib.core.imaging.body import find_body
from KernelNormalizationLib.core.kernels.mtf import KERNELS, gain_to_b20f
from KernelNormalizationLib.core.kernels.noise_sharpness import Sharpness
from KernelNormalizationLib.core.kernels.noise_spectrum import NoiseSpectrum, expected_rings
from KernelNormalizationLib.core.kernels.radial_filter import apply_gain
from KernelNormalizationLib.core.kernels.transfer import SourceTransfer, b20f_gain, find_transfer
from KernelNormalizationLib.core.methods.hypotheses import LungSample, extremes, hypotheses_record
from KernelNormalizationLib.core.methods.protocol import HYPOTHESES_KEY
from KernelNormalizationLib.core.truncation.estimation import Fit, known_plan, not_ruled_out
from KernelNormalizationLib.core.truncation.model import Truncation
from KernelNormalizationLib.core.truncation.restoration import RestorationPlan

PIXEL_MM, NOISE_HU = 0.7, 110.0
FOUR = Truncation.of_equal_images(4, 0.24)


def chest_of(truncation: Truncation, lung_hu: float) -> tuple[Chest, np.ndarray]:
    """A chest of B70f noise whose lungs read ``lung_hu``, truncated as told, and what it would be without truncation."""
    plain = make_chest(noise_hu=0.0, floor=None, slices=8, side=192, pixel_mm=PIXEL_MM)
    object_hu = plain.volume.hu + plain.lungs * np.float32(lung_hu - LUNG_HU)
    r = truncation.correlation
    own, shared = (
        [coloured_noise(70.0, plain.volume.shape, PIXEL_MM, NOISE_HU, seed=seed + n) for n in range(count)]
        for seed, count in ((9, truncation.images), (3, 1))
    )
    images = np.stack([object_hu + np.sqrt(1.0 - r) * one + np.sqrt(r) * shared[0] for one in own]).astype(np.float32)
    stored = np.rint(truncation.store(images))
    unclipped = np.tensordot(np.asarray(truncation.weights, np.float32), images, axes=1)
    return replace(plain, volume=replace(plain.volume, hu=stored)), unclipped


def transfer_of_b70f() -> SourceTransfer:
    return SourceTransfer(b20f_gain(70.0), "tag", {"source_kernel_from": "tag", "source_kernel_number": 70.0})


def open_plan(chest: Chest, chosen: Truncation, others: dict[Truncation, float]) -> RestorationPlan:
    """``chosen`` with ``others`` left open, by the mean HU that each restores."""
    plan = known_plan(chest.volume.hu, (PIXEL_MM, PIXEL_MM), b20f_gain(70.0), chosen)
    entries = [
        {**t.as_record(), "noise_share": round(plan.noise_share, 3), "chi2": 3.0, "loss_hu": loss}
        for t, loss in {chosen: -9.0, **others}.items()
    ]
    return replace(plan, evidence={"left_open": entries})


def points(record: dict[str, Any], what: str) -> list[float]:
    return [shift["points"] for shift in record["open"][what]["shifts"]]


@pytest.mark.slow
def test_more_averaged_images_than_assumed_mean_a_higher_index_of_about_the_true_size() -> None:
    chest, unclipped = chest_of(FOUR, -935.0)
    region = find_body(chest.volume)
    assert region is not None
    record = hypotheses_record(chest.volume, region, transfer_of_b70f(), open_plan(chest, Truncation(), {FOUR: -25.0}))
    shift = points(record, "truncation")[1]
    base = apply_gain(unclipped, (PIXEL_MM, PIXEL_MM), b20f_gain(70.0))
    truth = 100.0 * float(np.mean(base[chest.lungs] < EMPHYSEMA_THRESHOLD_HU))
    assert shift > 0.0
    assert abs(record["ei_percent"] + shift - truth) < 0.5 * abs(record["ei_percent"] - truth)


@pytest.mark.parametrize("lung_hu", [-905.0, -935.0])
def test_the_index_rises_with_the_lift_by_what_the_transfers_of_whole_slices_differ(lung_hu: float) -> None:
    chest, unclipped = chest_of(Truncation(floor_hu=-2000.0), lung_hu)
    region = find_body(chest.volume)
    assert region is not None
    record = hypotheses_record(chest.volume, region, transfer_of_b70f(), None)
    sample = LungSample.of(chest.volume, region)
    assert sample is not None
    with_lift, more, half, without = points(record, "lift")
    shares = []
    for lift in (1.0, 1.3, 0.5, 0.0):
        base = apply_gain(unclipped, (PIXEL_MM, PIXEL_MM), lambda f, lift=lift: gain_to_b20f(70.0, f, lift=lift))
        shares.append(100.0 * float(np.mean(base[list(sample.numbers)][:, *sample.box][sample.lungs] < EMPHYSEMA_THRESHOLD_HU)))
    # The lift makes lung beside the chest wall undershoot and passes more noise: both push voxels under the threshold.
    assert without < half < with_lift == 0.0 < more
    for shift, share in zip((more, half, without), shares[1:], strict=True):
        assert shift == pytest.approx(share - shares[0], abs=0.1)


@pytest.mark.parametrize("origin", ["published spectrum", "noise spectrum"])
def test_of_a_transfer_that_rests_on_noise_alone_the_level_is_open_and_the_index_moves_with_it(origin: Any) -> None:
    chest, _ = chest_of(Truncation(floor_hu=-2000.0), -905.0)
    other = replace(transfer_of_b70f(), origin=origin, record={"source_kernel": "GE lung"})
    record = hypotheses_record(chest.volume, find_body(chest.volume), other, None)
    assert set(record["open"]) == {"level", "truncation"}
    chosen, more, less = points(record, "level")
    assert less < chosen == 0.0 < more
    left_open = read_left_open({HYPOTHESES_KEY: record}) or ()
    widened = ei_interval(record["ei_percent"], (ErrorStratum(0.0, 100.0, 0.1, 40),), None, left_open)
    assert widened is not None
    assert widened.low < record["ei_percent"] + less
    assert widened.high > record["ei_percent"] + more
    assert "how much coarse detail the kernel passes, which noise does not show (-" in widened.basis


@pytest.mark.slow
def test_the_record_survives_json_and_names_every_hypothesis() -> None:
    chest, _ = chest_of(FOUR, -935.0)
    plan = open_plan(chest, Truncation(), {FOUR: -25.0})
    record = hypotheses_record(chest.volume, find_body(chest.volume), transfer_of_b70f(), plan)
    assert json.loads(json.dumps(record)) == record
    assert [s["lift"] for s in record["open"]["lift"]["shifts"]] == [1.0, 1.3, 0.5, 0.0]
    assert [len(s["weights"]) for s in record["open"]["truncation"]["shifts"]] == [1, 4]
    assert len(record["slices"]) <= 8


def test_the_index_is_measured_up_to_the_chest_wall() -> None:
    chest, _ = chest_of(FOUR, -900.0)
    region = find_body(chest.volume)
    assert region is not None
    sample = LungSample.of(chest.volume, region)
    assert sample is not None
    lungs = chest.lungs[list(sample.numbers)][:, *sample.box]
    assert np.count_nonzero(sample.lungs & lungs) > 0.95 * np.count_nonzero(lungs)
    assert np.count_nonzero(sample.lungs & ~lungs) < 0.02 * np.count_nonzero(lungs)


def test_noise_of_another_kernel_than_the_tags_moves_the_index_and_noise_of_the_tags_own_hardly_does() -> None:
    chest, _ = chest_of(Truncation(floor_hu=-2000.0), -905.0)
    region = find_body(chest.volume)
    told = {}
    for name, made_by in (("own", KERNELS[70]), ("other", replace(KERNELS[70], f50=7.3, f1=5.9, b=2.0))):
        spectrum = NoiseSpectrum(expected_rings(made_by.mtf, PIXEL_MM), PIXEL_MM, 400, False)
        sharpness = Sharpness(0.0, 60.0, 70.0, 10_000, spectrum)
        record = hypotheses_record(chest.volume, region, transfer_of_b70f(), None, sharpness)
        told[name] = points(record, "kernel")[1]
    # A higher hump of the sharp kernel asks for a lower gain, which leaves less noise below the threshold.
    assert told["other"] < -1.0
    assert abs(told["own"]) < 0.25 * abs(told["other"])
    without = hypotheses_record(chest.volume, region, transfer_of_b70f(), None)["open"]["kernel"]
    assert "too little homogeneous tissue" in without["reason"]


def test_of_many_open_truncations_those_that_restore_least_and_most_are_tried() -> None:
    many = {Truncation.of_equal_images(2, 0.1 * n): -10.0 - n for n in range(7)}
    plan = open_plan(chest_of(FOUR, -900.0)[0], Truncation(), many)
    assert sorted(entry["loss_hu"] for entry in extremes(plan)) == [-16.0, -15.0, -11.0, -10.0]


def test_the_lift_of_a_number_read_from_the_noise_is_tried_though_the_record_rounds_it() -> None:
    chest, _ = chest_of(FOUR, -935.0)
    read = SourceTransfer(b20f_gain(67.34), "noise", {"source_kernel_from": "noise", "source_kernel_number": 67.3})
    assert len(points(hypotheses_record(chest.volume, find_body(chest.volume), read, None), "lift")) == 4


def test_a_histogram_that_tells_nothing_leaves_any_number_of_images_open() -> None:
    plan = replace(open_plan(chest_of(FOUR, -900.0)[0], FOUR, {}), evidence={"left_open": []})
    assert [len(entry["weights"]) for entry in extremes(plan)] == [1, 2, 8, 12]


def test_a_poor_fit_leaves_more_open_than_a_good_one() -> None:
    good = [Fit(FOUR, 5.0), Fit(Truncation(), 20.0)]
    poor = [Fit(FOUR, 35.0), Fit(Truncation(), 50.0)]
    assert [len(not_ruled_out(fits)) for fits in (good, poor, [])] == [1, 2, 0]


def test_what_cannot_be_computed_says_why() -> None:
    chest, _ = chest_of(FOUR, -900.0)
    region = find_body(chest.volume)
    other = replace(transfer_of_b70f(), origin="model", record={})
    known = known_plan(chest.volume.hu, (PIXEL_MM, PIXEL_MM), other.gain, FOUR)
    reasons = hypotheses_record(chest.volume, region, other, known)["open"]
    assert "(model)" in reasons["lift"]["reason"]
    own = replace(transfer_of_b70f(), gain=b20f_gain(60.0))
    assert "not that of the kernel number 70" in hypotheses_record(chest.volume, region, own, known)["open"]["lift"]["reason"]
    assert reasons["truncation"]["reason"] == "the truncation was given, not read from the scan"
    untruncated = hypotheses_record(chest.volume, region, transfer_of_b70f(), None)["open"]
    assert untruncated["truncation"]["reason"] == "the scan was not truncated"
    no_lungs = hypotheses_record(chest.volume, None, transfer_of_b70f(), known)["open"]
    assert "too little lung" in no_lungs["lift"]["reason"]
    smooth = find_transfer(replace(chest.volume, synthetic=True))
    assert "left as it is" in hypotheses_record(chest.volume, region, smooth, known)["open"]["lift"]["reason"]
