"""The results file of a real scan holds its own indices and those of each method, and not where the scan lies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from core.chests import make_chest

from docsite import measure_scan
from KernelNormalizationLib.core.io.writing import write_volume


def test_a_scan_and_what_a_method_makes_of_it_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_scan, "METHODS", ("linear",))
    write_volume(make_chest(slices=8, slice_mm=100.0).volume, tmp_path / "scan.nrrd")
    assert measure_scan.main([str(tmp_path / "scan.nrrd"), "--out", str(tmp_path / "found.json")]) == 0
    text = (tmp_path / "found.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert found["raw"]["ei_percent"] > found["linear"]["ei_percent"]
    assert found["raw"]["tlv_ml"] > 1000.0
    assert found["linear"]["ei_low_percent"] is None
    assert "measure_scan scan.nrrd" in found["provenance"]["command"]
    assert str(tmp_path / "scan.nrrd") not in text


def test_a_scan_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert measure_scan.main([str(tmp_path / "none"), "--out", str(tmp_path / "found.json")]) == 2
    assert "does not exist" in capsys.readouterr().err
