from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from EmphysemaQuantLib.core.indices.prediction_interval import (
    NOT_RECORDED,
    ErrorStratum,
    ei_interval,
    interval_of_normalized,
    read_strata,
)
from KernelNormalizationLib.core.errors import InputError, ModelError
from KernelNormalizationLib.core.methods.protocol import RESTORATION
from KernelNormalizationLib.core.network.model_files import with_own_hash
from KernelNormalizationLib.core.network.model_folder import CARD

LOW, HIGH = ErrorStratum(0, 5, 0.4, 30), ErrorStratum(5, 100, 1.5, 12, 0.5, "simulated patients")
# 97.5 % quantiles of Student's distribution for 29 and 11 degrees of freedom, from printed tables.
T29, T11 = 2.0452, 2.2010


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "unet-x"
    folder.mkdir()
    card = {"id": "unet-x", "sha256": {"model.safetensors": "ab12"}, "ei_error_strata": [asdict(LOW), asdict(HIGH)]}
    (folder / "card.json").write_text(json.dumps(card))
    return tmp_path


RECORD = {"model": "unet-x", "model_sha256": "ab12"}


def test_the_stratum_of_the_index_gives_a_prediction_interval():
    found = ei_interval(2.0, (LOW, HIGH))
    half = T29 * 0.4 * (1 + 1 / 30) ** 0.5
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-3)
    assert "30 patients" in found.basis


def test_a_known_bias_moves_the_interval():
    found = ei_interval(20.0, (LOW, HIGH))
    half = T11 * 1.5 * (1 + 1 / 12) ** 0.5
    assert (found.low, found.high) == pytest.approx((19.5 - half, 19.5 + half), abs=1e-3)
    assert "12 simulated patients" in found.basis


def test_the_spread_of_an_ensemble_widens_it():
    alone, both = ei_interval(2.0, (LOW,)), ei_interval(2.0, (LOW,), ensemble_sd_points=0.3)
    assert both.high - both.low > alone.high - alone.low
    only = ei_interval(2.0, ensemble_sd_points=0.3)
    assert (only.low, only.high) == pytest.approx((2 - 1.96 * 0.3, 2 + 1.96 * 0.3), abs=1e-3)


def test_95_of_100_intervals_hold_the_true_index():
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(4000):
        errors = rng.normal(0.3, 0.8, 12)
        stratum = ErrorStratum(0, 100, float(errors.std(ddof=1)), 12, float(errors.mean()))
        found = ei_interval(50.0 + float(rng.normal(0.3, 0.8)), (stratum,))
        inside += found.low <= 50.0 <= found.high
    assert inside / 4000 == pytest.approx(0.95, abs=0.012)


def test_an_interval_stays_a_percentage():
    assert ei_interval(0.1, (LOW,)).low == 0.0
    assert ei_interval(100.0, (HIGH,)).high == 100.0


def test_an_index_on_a_bound_belongs_to_the_stratum_above():
    assert "12 simulated patients" in ei_interval(5.0, (LOW, HIGH)).basis
    assert "30 patients" in ei_interval(0.0, (LOW, HIGH)).basis


def test_nothing_known_gives_no_interval():
    assert ei_interval(20.0) is None
    assert ei_interval(20.0, (LOW,)) is None
    assert ei_interval(2.0, (ErrorStratum(0, 5, 0.4, 4),)) is None
    with pytest.raises(InputError, match="130"):
        ei_interval(130.0)


def test_the_provenance_record_leads_to_the_models_errors(models):
    told = RECORD | {"ei_hypotheses": {"open": {}}}
    assert interval_of_normalized(2.0, told, models=models) == ei_interval(2.0, (LOW,))
    spread = told | {"ensemble": {"ei_sd_points": 0.3}}
    assert interval_of_normalized(2.0, spread, models=models) == ei_interval(2.0, (LOW,), 0.3)


def test_an_old_record_gives_the_interval_of_the_patients_and_says_what_is_missing(models):
    found, expected = interval_of_normalized(2.0, RECORD, models=models), ei_interval(2.0, (LOW,))
    assert (found.low, found.high) == (expected.low, expected.high)
    assert found.basis == f"{expected.basis}; {NOT_RECORDED}"


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"method": "linear"},
        {"model": "other", "model_sha256": "ab12"},
        RECORD | {"model_sha256": "cd34"},
        {"model": "../unet-x", "model_sha256": "ab12"},
    ],
)
def test_errors_of_another_model_are_never_borrowed(models, record):
    assert interval_of_normalized(2.0, record, models=models) is None


def test_the_method_without_a_network_has_errors_of_its_own():
    record = {"method": "restored", "restoration": RESTORATION, "ei_hypotheses": {"open": {}}}
    found = interval_of_normalized(2.0, record)
    assert found is not None
    assert found.low < 2.0 < found.high
    assert interval_of_normalized(2.0, record | {"restoration": "restored-1"}) is None


def test_errors_changed_after_the_export_give_no_interval(models):
    path = models / "unet-x" / CARD
    card = with_own_hash(json.loads(path.read_text()))
    path.write_text(json.dumps(card))
    assert interval_of_normalized(2.0, RECORD, models=models) is not None
    card["ei_error_strata"][0]["error_sd_points"] = 0.04
    path.write_text(json.dumps(card))
    with pytest.raises(ModelError, match="changed after its model was exported"):
        interval_of_normalized(2.0, RECORD, models=models)


def test_errors_hold_for_the_restoration_they_were_measured_with_only(models):
    card = json.loads((models / "unet-x" / CARD).read_text())
    (models / "unet-x" / CARD).write_text(json.dumps(card | {"restoration": RESTORATION}))
    assert interval_of_normalized(2.0, RECORD | {"restoration": RESTORATION}, models=models) is not None
    assert interval_of_normalized(2.0, RECORD | {"restoration": "restored-1"}, models=models) is None


def test_errors_hold_for_the_usual_threshold_only(models):
    assert interval_of_normalized(2.0, RECORD, -910.0, models) is None


def test_a_scan_outside_the_models_domain_is_said_to_be(models):
    record = RECORD | {"input": {"verdict": "untested"}}
    assert "untested" in interval_of_normalized(2.0, record, models=models).basis
    inside = RECORD | {"input": {"verdict": "in domain"}}
    assert "domain" not in interval_of_normalized(2.0, inside, models=models).basis


@pytest.mark.parametrize(
    "entry",
    [
        {"ei_from": 0},
        {**asdict(LOW), "error_sd_points": "much"},
        {**asdict(LOW), "ei_to": -1},
        "text",
        {**asdict(LOW), "error_sd_points": -0.4},
        {**asdict(LOW), "bias_points": float("nan")},
    ],
)
def test_damaged_errors_of_a_card_are_refused_with_the_models_name(entry):
    with pytest.raises(ModelError, match="unet-x"):
        read_strata({"id": "unet-x", "ei_error_strata": [entry]})
