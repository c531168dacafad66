"""The interval of a normalized volume's EI in the Emphysema Quantification panel and in all it hands out."""

from __future__ import annotations

import csv
import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import slicer
from emphysemapanel import EmphysemaPanel, chest, compute, panel, partner

from EmphysemaQuantLib.core.indices import prediction_interval
from EmphysemaQuantLib.core.indices.left_open import read_left_open
from EmphysemaQuantLib.core.indices.prediction_interval import ErrorStratum, ei_interval
from KernelNormalizationLib.core.network.model_folder import CARD
from KernelNormalizationLib.mrml import provenance

__all__ = ["chest", "panel", "partner"]

STRATUM = ErrorStratum(0.0, 100.0, 0.2, 46, 0.1, "simulated patients")
RECORD = {
    "method": "unet",
    "model": "tiny",
    "model_sha256": "abc",
    "input": {"verdict": "in domain"},
    "ei_hypotheses": {
        "open": {
            "truncation": {"shifts": [{"points": 0.0}, {"points": -0.1}, {"points": 0.6}]},
            "lift": {"reason": "the kernel is no sharper than B20f"},
        }
    },
}
NONE_KNOWN = "No measured error is known for this method, model and threshold, so EI is given without an interval."


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The card of an installed model whose errors are known."""
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    card = {"id": "tiny", "sha256": {"model.safetensors": "abc"}, "ei_error_strata": [vars(STRATUM)]}
    (folder / CARD).write_text(json.dumps(card))
    monkeypatch.setattr(prediction_interval, "models_folder", lambda: folder.parent)
    return folder


def expected(panel: EmphysemaPanel) -> Any:
    found = ei_interval(panel.result.compared.whole.ei_percent, (STRATUM,), left_open=read_left_open(RECORD) or ())
    assert found is not None
    return found


@pytest.mark.slow
def test_interval_stands_beside_the_ei_with_its_basis(
    panel: EmphysemaPanel, chest: Any, partner: Any, model: Path, app: Any, tmp_path: Path
) -> None:
    partner.SetAttribute(provenance.RECORD, json.dumps(RECORD))
    assert "Done" in compute(panel)
    known = expected(panel)
    first, second, *_ = panel.ui.indexLabel.text.split("<br>")
    sentence = unescape(panel.ui.detailsLabel.text.split("<br>")[0])
    assert f"(95 % interval {known.low:.1f} to {known.high:.1f} %)" in second
    assert "interval" not in first
    basis = (
        "the error in 46 simulated patients with EI 0 to 100 % that the method was not trained on (mean +0.10, "
        "SD 0.20 points); and from "
        "scanner properties that one scan does not show: how many images the scanner averaged into a slice "
        "(-0.10 to +0.60 points), how strongly "
        "the scanner's smooth kernels amplify coarse detail (not tried: the kernel is no sharper than B20f)"
    )
    assert sentence == f"95 % interval of the normalized EI: {known.low:.1f} to {known.high:.1f} %, from {basis}."
    panel.ui.copyButton.click()
    assert sentence in app.qapplication.clipboard().text()
    panel.saveReport(str(tmp_path / "report.txt"))
    assert sentence in (tmp_path / "report.txt").read_text(encoding="utf-8")
    panel.saveReport(str(tmp_path / "report.csv"))
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["kind"], row["region"], row["EI low [%]"]) for row in csv.DictReader(file)]
    assert [row for row in rows if row[2]] == [("normalized", "whole", f"{round(known.low, 4)}")]


@pytest.mark.slow
def test_record_beside_the_file_of_a_loaded_volume_is_used(
    panel: EmphysemaPanel, chest: Any, partner: Any, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "smooth.provenance.json").write_text(json.dumps(RECORD))
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(tmp_path / "smooth.nrrd"))
    partner.SetAndObserveStorageNodeID(storage.GetID())
    assert "Done" in compute(panel)
    assert panel.result.compared.interval == expected(panel)
    assert panel.result.volume.interval is None


@pytest.mark.slow
def test_synthetic_volume_of_a_method_without_known_error_says_so(
    panel: EmphysemaPanel, chest: Any, partner: Any, app: Any
) -> None:
    partner.SetAttribute(provenance.RECORD, json.dumps({"method": "linear"}))
    compute(panel)
    assert NONE_KNOWN in panel.ui.detailsLabel.text
    panel.ui.copyButton.click()
    assert NONE_KNOWN in app.qapplication.clipboard().text()


def test_an_original_alone_says_nothing_of_intervals(panel: EmphysemaPanel, chest: Any) -> None:
    compute(panel)
    assert "interval" not in panel.ui.indexLabel.text + panel.ui.detailsLabel.text


@pytest.mark.slow
def test_damaged_record_is_said(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    partner.SetAttribute(provenance.RECORD, "{")
    message = compute(panel)
    assert message.startswith("The provenance record of “Chest B20f (synthetic)” is not valid JSON")
    assert "normalize again" in message


@pytest.mark.slow
def test_damaged_errors_of_the_model_are_said(panel: EmphysemaPanel, chest: Any, partner: Any, model: Path) -> None:
    partner.SetAttribute(provenance.RECORD, json.dumps(RECORD))
    (model / CARD).write_text(json.dumps({"id": "tiny", "sha256": {"w": "abc"}, "ei_error_strata": [{"ei_from": 0}]}))
    assert "ei_error_strata of model tiny is damaged" in compute(panel)
