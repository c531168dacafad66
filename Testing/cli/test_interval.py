"""From a model's cross-validated errors and ensemble members to the interval of the emphysema index on every output."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import stdev

import pytest
from core.conftest import make_model

from ctkernel.cli import main
from EmphysemaQuantLib.core.indices import prediction_interval
from EmphysemaQuantLib.core.indices.left_open import read_left_open
from EmphysemaQuantLib.core.indices.prediction_interval import ErrorStratum, ei_interval
from KernelNormalizationLib.core.network.model_files import with_own_hash
from KernelNormalizationLib.core.network.model_folder import CARD

STRATUM = ErrorStratum(0.0, 100.0, 0.8, 46, 0.2, "simulated patients")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose card holds errors, with an ensemble of two unlike networks."""
    folder = make_model(tmp_path_factory.mktemp("models") / "tiny")
    (folder / "members").mkdir()
    make_model(folder / "members" / "a")
    make_model(folder / "members" / "b", residual=False)
    card = json.loads((folder / CARD).read_text())
    card["ei_error_strata"] = [vars(STRATUM)]
    (folder / CARD).write_text(json.dumps(with_own_hash(card)))
    return folder


@pytest.fixture(scope="module")
def normalized(scan: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("normalized") / "smooth.nrrd"
    assert main(["normalize", str(scan), str(out), "--model", str(model), "--device", "cpu", "--ensemble"]) == 0
    return out


def provenance_of(normalized: Path) -> dict:
    return json.loads(normalized.with_name("smooth.provenance.json").read_text())


@pytest.mark.slow
def test_the_provenance_holds_every_member_and_the_spread_of_their_indices(normalized: Path) -> None:
    spread = provenance_of(normalized)["ensemble"]
    assert [m["id"] for m in spread["members"]] == ["a", "b"]
    assert all(len(m["sha256"]) == 64 for m in spread["members"])
    values = [m["ei_percent"] for m in spread["members"]]
    assert values[0] != values[1]
    assert spread["ei_sd_points"] == pytest.approx(stdev(values), abs=1e-3)


@pytest.fixture
def installed(model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model as one that came with the product."""
    monkeypatch.setattr(prediction_interval, "models_folder", lambda: model.parent)
    return model


@pytest.mark.slow
def test_quantify_shows_the_interval_everywhere(
    scan: Path, installed: Path, normalized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantify", str(scan), "--compare", str(normalized), "--out", str(tmp_path), "--report"]
    assert main(command) == 0
    record = json.loads((tmp_path / "metrics.json").read_text())
    ei = record["volumes"][1]["regions"][0]["ei_percent"]
    left_open = read_left_open(provenance_of(normalized))
    assert left_open is not None
    assert any(p.known and p.up > p.down for p in left_open)
    expected = ei_interval(ei, (STRATUM,), provenance_of(normalized)["ensemble"]["ei_sd_points"], left_open)
    assert expected is not None
    assert "scanner properties that one scan does not show" in expected.basis
    assert record["volumes"][1]["ei_interval"]["low"] == pytest.approx(expected.low)
    assert record["volumes"][1]["ei_interval"]["high"] == pytest.approx(expected.high)
    assert "46 simulated patients" in record["volumes"][1]["ei_interval"]["basis"]
    shown = f"95 % interval of the normalized EI: {expected.low:.1f} to {expected.high:.1f} %"
    assert shown in capsys.readouterr().out
    assert shown in (tmp_path / "report.html").read_text()
    with (tmp_path / "metrics.csv").open() as file:
        whole = [row for row in csv.DictReader(file) if row["region"] == "whole"]
    assert [row["EI low [%]"] for row in whole] == ["", f"{round(expected.low, 4)}"]


@pytest.mark.slow
def test_without_the_models_errors_only_the_spread_is_used(
    scan: Path, normalized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quantify", str(scan), "--compare", str(normalized), "--out", str(tmp_path), "--json"]) == 0
    basis = json.loads(capsys.readouterr().out)["volumes"][1]["ei_interval"]["basis"]
    assert "ensemble spread" in basis
    assert "was not trained on" not in basis


@pytest.mark.slow
def test_a_damaged_provenance_record_is_refused(
    scan: Path, normalized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "smooth.nrrd"
    copy.write_bytes(normalized.read_bytes())
    (tmp_path / "smooth.provenance.json").write_text("{")
    assert main(["quantify", str(scan), "--compare", str(copy), "--out", str(tmp_path / "q")]) == 2
    assert "smooth.provenance.json is not valid JSON" in capsys.readouterr().err
