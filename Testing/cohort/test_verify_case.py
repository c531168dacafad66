"""``ctkernel verify`` on a case of a cohort: made again from its record; what was changed since is said."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from ctkernel.cli import main
from ctkernel.cohort.settings import CohortSettings
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.provenance.hashes import voxels_sha256
from KernelNormalizationLib.core.simulated_chest import SamplePair, make_sample
from Testing.cohort.runs import SHAPE, SPACING
from Testing.cohort.test_results import do

Capture = pytest.CaptureFixture[str]
SETTINGS = CohortSettings(method="linear", report=True)


@pytest.fixture(scope="module")
def pair() -> SamplePair:
    return make_sample(1, SHAPE, SPACING)


@pytest.fixture(scope="module")
def done(pair: SamplePair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a list and, as ``out``, of its results: one case with a soft partner, its kernel told by the user."""
    folder = tmp_path_factory.mktemp("verified")
    write_volume(pair.sharp, folder / "sharp.nrrd")
    write_volume(pair.smooth, folder / "soft.nrrd")
    (folder / "list.csv").write_text("path,case,partner,kernel\nsharp.nrrd,one,soft.nrrd,B70f\n")
    do(folder / "list.csv", folder / "out", SETTINGS)
    return folder


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "done"))


def verify(capsys: Capture, folder: Path, part: str) -> tuple[int, str]:
    """Exit code, and what is said of a part of the case."""
    capsys.readouterr()
    code = main(["verify", str(folder / "out" / "cases" / "one" / part), "--input", str(folder / "sharp.nrrd")])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_the_measurement_of_a_case_is_reproduced_from_its_record(done: Path, capsys: Capture) -> None:
    code, said = verify(capsys, done, "measured")
    assert code == 0, said
    assert "DIFFERS" not in said
    for words in (
        "The record is as it was written",
        "report.html is as it was",
        "rows.json is as",
        "normalized.nrrd is the recorded",
    ):
        assert words in said
    assert said.count("on record, ") == 2  # EI of the scan and of the normalized volume


def test_the_normalized_volume_of_a_case_is_reproduced_from_its_record(done: Path, capsys: Capture) -> None:
    code, said = verify(capsys, done, "normalized/normalized.nrrd")
    assert code == 0, said
    assert "normalized.nrrd is the file that was written" in said
    assert "every voxel is the same to the last bit" in said


def test_the_record_names_the_soft_partner_by_its_voxels(done: Path, pair: SamplePair) -> None:
    record = json.loads((done / "out/cases/one/measured/metrics.json").read_text())
    assert record["manifest"]["soft_partner"]["voxels_sha256"] == voxels_sha256(pair.smooth.hu)
    assert [facts["role"] for facts in record["manifest"]["inputs"]] == ["raw", "normalized"]


def test_rows_that_were_changed_are_named(copy: Path, capsys: Capture) -> None:
    rows = copy / "out/cases/one/measured/rows.json"
    rows.write_text(rows.read_text().replace("original", "Original"))
    code, said = verify(capsys, copy, "measured")
    assert code == 1
    assert "rows.json was changed after it was written" in said


@pytest.mark.slow
def test_another_threshold_measures_a_kept_volume_again_and_that_is_reproduced_too(copy: Path, capsys: Capture) -> None:
    cohort = copy / "out" / "cohort.json"
    told = json.loads(cohort.read_text())
    cohort.write_text(json.dumps({**told, "inputs": [str(copy / "list.csv")]}))
    do(copy / "list.csv", copy / "out", dataclasses.replace(SETTINGS, threshold_hu=-910.0))
    code, said = verify(capsys, copy, "measured")
    assert code == 0, said
    assert json.loads((copy / "out/cases/one/measured/metrics.json").read_text())["volumes"][1]["threshold_hu"] == -910.0


@pytest.mark.slow
def test_a_volume_that_was_replaced_is_not_measured_again_but_made_again(copy: Path, pair: SamplePair) -> None:
    """The record beside it describes other voxels, so a new measurement must not take it for the normalized volume."""
    volume = copy / "out/cases/one/normalized/normalized.nrrd"
    kept = volume.read_bytes()
    write_volume(pair.sharp, volume)
    cohort = copy / "out" / "cohort.json"
    told = json.loads(cohort.read_text())
    cohort.write_text(json.dumps({**told, "inputs": [str(copy / "list.csv")]}))
    do(copy / "list.csv", copy / "out", dataclasses.replace(SETTINGS, threshold_hu=-910.0))
    assert volume.read_bytes() == kept


def test_the_tables_of_a_cohort_are_told_from_changed_ones(copy: Path, capsys: Capture) -> None:
    out = copy / "out"
    assert main(["verify", str(out)]) == 0
    said = capsys.readouterr().out
    assert "results.csv is as it was written" in said
    assert "The records of all cases (1) are those that the tables were made from" in said
    (out / "results.csv").write_text((out / "results.csv").read_text().replace("original", "Original"))
    metrics = out / "cases/one/measured/metrics.json"
    metrics.write_text(metrics.read_text().replace("B70f", "B20f"))
    assert main(["verify", str(out / "manifest.json")]) == 1
    said = capsys.readouterr().out
    assert "results.csv was changed after it was written" in said
    assert "changed after the tables were made, are the records of: one" in said
    assert "summary.html is as it was written" in said


def test_no_record_names_a_path_or_a_patient(done: Path) -> None:
    for path in done.rglob("*.json"):
        if path.name in ("metrics.json", "manifest.json", "normalized.provenance.json"):
            assert str(done) not in path.read_text(), path
