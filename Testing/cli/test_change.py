"""``ctkernel change``: two dates of one patient."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ctkernel.cli import main
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.simulated_chest import SamplePair


@pytest.fixture(scope="module")
def scans(sample: SamplePair, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A smooth scan, the same patient after a loss of 20 HU of lung, and the sharp reconstruction of the first."""
    folder = tmp_path_factory.mktemp("dates")
    later = np.where(sample.lungs, sample.smooth.hu - 20.0, sample.smooth.hu)
    lost = sample.smooth.with_hu(later, name="later", synthetic=False)
    paths = {name: folder / f"{name}.nrrd" for name in ("first", "later", "sharp")}
    for path, volume in zip(paths.values(), (sample.smooth, lost, sample.sharp), strict=True):
        write_volume(volume, path)
    return paths


def changed(first: Path, second: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    assert main(["change", str(first), str(second), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_loss_of_lung_is_measured_and_said_to_be_beyond_the_limits(
    scans: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    record = changed(scans["first"], scans["later"], capsys)
    assert record["change"]["perc15_change_hu"] == pytest.approx(-20.0, abs=1.5)
    assert record["change"]["ei_change_points"] > 0
    assert record["change"]["beyond_limits"]
    assert record["doubts"] == []
    assert main(["change", str(scans["first"]), str(scans["later"])]) == 0
    shown = capsys.readouterr().out
    assert "Beyond the limits of this project: a fall of adjusted Perc15 by 11 HU" in shown
    assert "conventions, not a measured repeatability" in shown
    assert "remembered" not in shown
    assert "Research use only" in shown


@pytest.mark.slow
def test_the_same_scan_twice_has_not_changed(scans: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    record = changed(scans["first"], scans["first"], capsys)
    assert record["change"]["tlv_change_ml"] == 0.0
    assert not record["change"]["beyond_limits"]
    assert record["doubts"] == ["Both scans have the same voxels, so they are one scan and not two dates."]


@pytest.mark.slow
def test_a_change_of_kernel_is_warned_of(scans: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert "B20f, B80f" in changed(scans["first"], scans["sharp"], capsys)["doubts"][0]
