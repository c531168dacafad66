"""The command line as a research fellow uses it: files in, files out, messages, exit codes."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ctkernel.cli import main
from ctkernel.console import ProgressPrinter
from KernelNormalizationLib.core.imaging.body import find_body
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.simulated_chest import SamplePair

SMALL_SHAPE, SMALL_SPACING = (24, 208, 208), (10.0, 1.6, 1.6)


@pytest.fixture(scope="module")
def normalized(scan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("normalized") / "smooth.nrrd"
    assert main(["normalize", str(scan), str(path), "--method", "linear"]) == 0
    return path


@pytest.mark.slow
@pytest.mark.parametrize("method", ["restored", "unet", "linear", "bands", "heuristic"])
def test_every_method_writes_a_synthetic_volume_in_the_same_place(method: str, scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.nrrd"
    assert main(["normalize", str(scan), str(out), "--method", method, "--device", "cpu"]) == 0
    before, after = read_volume(scan), read_volume(out)
    assert after.geometry.matches(before.geometry, 1e-6)
    assert after.synthetic
    assert after.acquisition.kernel == "B20f (synthetic)"
    record = json.loads((tmp_path / "out.provenance.json").read_text())
    assert record["method"] == method
    assert "Research use only" in record["use"]


@pytest.mark.slow
@pytest.mark.parametrize(("chosen", "method"), [([], "restored"), (["--model", "unet-b20f-20261126"], "unet")])
def test_without_a_method_the_default_is_taken_or_the_network_that_is_named(
    chosen: list[str], method: str, scan: Path, tmp_path: Path
) -> None:
    assert main(["normalize", str(scan), str(tmp_path / "out.nrrd"), "--device", "cpu", *chosen]) == 0
    assert json.loads((tmp_path / "out.provenance.json").read_text())["method"] == method


@pytest.mark.slow
def test_the_kernel_may_be_named(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.nrrd"
    assert main(["normalize", str(scan), str(out), "--method", "linear", "--kernel", "B60f"]) == 0
    record = json.loads((tmp_path / "out.provenance.json").read_text())
    assert (record["source_kernel_from"], record["source_kernel_number"]) == ("told by the user", 60.0)
    capsys.readouterr()
    assert main(["info", str(scan), "--kernel", "B60f", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kernel_told_by_user"] == "B60f"


def test_a_kernel_that_does_not_exist_is_refused(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.nrrd"
    assert main(["normalize", str(scan), str(out), "--method", "linear", "--kernel", "B95f"]) == 2
    assert "“B95f” is not known; give one of B10f to B80f" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
def test_normalizing_lowers_the_raw_index_towards_the_smooth_reconstruction(
    scan: Path, sample: SamplePair, tmp_path: Path
) -> None:
    out = tmp_path / "out.nrrd"
    assert main(["normalize", str(scan), str(out), "--device", "cpu"]) == 0

    def index(hu: np.ndarray) -> float:
        return 100.0 * float((hu[sample.lungs] < -950.0).mean())

    truth = index(sample.smooth.hu)
    assert abs(index(read_volume(out).hu) - truth) < 0.25 * abs(index(sample.sharp.hu) - truth)


@pytest.mark.slow
def test_quantify_writes_segmentation_and_metrics_with_units(scan: Path, normalized: Path, tmp_path: Path) -> None:
    assert main(["quantify", str(scan), "--compare", str(normalized), "--out", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    raw, smooth = (v["regions"][0] for v in metrics["volumes"])
    assert raw["region"] == "whole"
    assert smooth["ei_percent"] < raw["ei_percent"]
    assert metrics["agreement"]["delta_ei_points"] == pytest.approx(smooth["ei_percent"] - raw["ei_percent"])
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["region"] for row in rows} >= {"whole", "right", "left"}
    assert {row["region"] for row in rows} >= {"upper third", "middle third", "lower third", "core", "rind"}
    assert float(rows[0]["EI [%]"]) == pytest.approx(raw["ei_percent"], abs=1e-4)
    assert [row["kind"] for row in rows if row["region"] == "whole"] == ["raw", "normalized"]
    assert (tmp_path / "emphysema.seg.nrrd").stat().st_size > 0


@pytest.mark.slow
def test_quantify_reports_the_pair_with_the_provenance_of_the_normalization(
    scan: Path, normalized: Path, tmp_path: Path
) -> None:
    arguments = ["quantify", str(scan), "--compare", str(normalized), "--out", str(tmp_path), "--report"]
    assert main(arguments) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"emphysema.seg.nrrd", "metrics.json", "metrics.csv", "report.pdf", "report.html"}
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    page = (tmp_path / "report.html").read_text()
    assert "linear" in page
    assert "Research use only" in page


@pytest.mark.slow
def test_quantify_uses_the_mask_it_is_given(scan: Path, sample: SamplePair, tmp_path: Path) -> None:
    labels = np.where(sample.lungs, np.where(np.arange(SMALL_SHAPE[2]) < SMALL_SHAPE[2] // 2, 2, 3), 0).astype(np.uint8)
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(sitk.ReadImage(str(scan)))
    sitk.WriteImage(image, str(tmp_path / "mask.nrrd"))
    patient = ["--sex", "female", "--height", "165", "--weight", "60", "--thirds", "height"]
    assert main(["quantify", str(scan), "--mask", str(tmp_path / "mask.nrrd"), "--out", str(tmp_path / "q"), *patient]) == 0
    volume = json.loads((tmp_path / "q" / "metrics.json").read_text())["volumes"][0]
    assert volume["regions"][0]["voxels"] == int(sample.lungs.sum())
    assert any("predicted for Chinese adults" in item["remark"] for item in volume["acquisition"])


@pytest.mark.slow
def test_info_says_kernel_floor_sharpness_and_verdict(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(scan), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kernel"] == "B80f"
    assert facts["floor_kind"] == "truncated"
    assert facts["floor_hu"] == -1024.0
    assert facts["lung_voxels_at_floor_percent"] > 1.0
    assert facts["verdict"] in ("in domain", "untested")
    assert main(["info", str(scan)]) == 0
    assert "Research use only" in capsys.readouterr().out


def test_info_says_what_the_kernels_name_means_and_that_a_lying_one_is_refused(
    sample: SamplePair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lying = replace(sample.sharp, acquisition=replace(sample.sharp.acquisition, kernel="B20f"))
    write_volume(lying, tmp_path / "lying.nrrd")
    assert main(["info", str(tmp_path / "lying.nrrd"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kernel_in_words"] == "Siemens B20f, smooth, filtered back-projection"
    assert facts["verdict"] == "refuse"
    assert facts["kernel_contradicted_by_noise"]
    command = ["normalize", str(tmp_path / "lying.nrrd"), str(tmp_path / "out.nrrd"), "--method", "linear"]
    assert main(command) == 2
    assert "The header says B20f, but the noise looks like B" in capsys.readouterr().err
    assert not (tmp_path / "out.nrrd").exists()
    assert main([*command, "--kernel", "B80f"]) == 0
    assert main([*command, "--override-gate"]) == 0
    record = json.loads((tmp_path / "out.provenance.json").read_text())
    assert record["gate"] == {"verdict": "refuse", "overridden": True}


def test_quantify_says_what_the_gate_says(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quantify", str(scan), "--out", str(tmp_path)]) == 0
    assert "Verdict: untested. " in capsys.readouterr().out
    volume = json.loads((tmp_path / "metrics.json").read_text())["volumes"][0]
    assert volume["gate"]["verdict"] == "untested"
    assert next(item for item in volume["acquisition"] if item["name"] == "Verdict")["status"] == "doubt"


@pytest.mark.slow
def test_json_output_is_only_json(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["normalize", str(scan), str(tmp_path / "o.nrrd"), "--method", "linear", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "linear"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["normalize", "missing.nrrd", "{tmp}/o.nrrd"], "does not exist"),
        (["normalize", "{scan}", "{tmp}/o.txt"], "suffix"),
        (["normalize", "{scan}", "{tmp}/nowhere/o.nrrd"], "does not exist; create it"),
        (["normalize", "{scan}", "{scan}"], "never overwritten"),
        (["normalize", "{scan}", "{tmp}/o.nrrd", "--model", "no-such-model"], "no model"),
        (["normalize", "{scan}", "{tmp}/o.nrrd", "--method", "unet", "--device", "mps"], "mps"),
        (["normalize", "{scan}", "{tmp}/o.nrrd", "--ensemble", "--method", "linear"], "--method unet"),
        (["normalize", "{scan}", "{tmp}/o.nrrd", "--ensemble", "--model", "unet-b20f-20261126"], "0 ensemble members"),
        (["quantify", "{scan}", "--threshold", "5", "--out", "{tmp}"], "from -1000 to -800 HU"),
        (["quantify", "{scan}", "--height", "175", "--out", "{tmp}"], "--sex, --height and --weight together"),
        (["quantify", "{scan}", "--mask", "missing.nrrd", "--out", "{tmp}"], "missing.nrrd"),
        (["info", "{tmp}"], "No DICOM image"),
    ],
)
def test_bad_input_ends_with_code_2_and_says_what_to_do(
    arguments: list[str], words: str, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [a.replace("{scan}", str(scan)).replace("{tmp}", str(tmp_path)) for a in arguments]
    assert main(filled) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("o.*"))


@pytest.mark.slow
def test_a_body_without_lungs_is_an_error_not_a_zero(
    sample: SamplePair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = find_body(sample.smooth)
    assert body is not None
    hu = np.full(SMALL_SHAPE, -1000.0, np.float32)
    hu[:, *body.box] = np.where(sample.smooth.hu < -200.0, -80.0, sample.smooth.hu)[:, *body.box]
    write_volume(sample.smooth.with_hu(hu, name="solid", synthetic=False), tmp_path / "solid.nrrd")
    assert main(["quantify", str(tmp_path / "solid.nrrd"), "--out", str(tmp_path / "q")]) == 2
    assert "lung" in capsys.readouterr().err.lower()


@pytest.mark.slow
def test_interrupting_a_run_ends_with_code_3_and_leaves_nothing(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.nrrd"
    command = [sys.executable, "-m", "ctkernel", "normalize", str(scan), str(out), "--method", "heuristic"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "Heuristic filter" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 3
    assert "nothing was kept" in rest
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_demo_writes_everything_it_promises(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", str(scan), "--out", str(tmp_path)]) == 0
    expected = {
        "normalized_B20f_synthetic.nrrd",
        "normalized_B20f_synthetic.provenance.json",
        "emphysema.seg.nrrd",
        "metrics.json",
        "metrics.csv",
        "comparison.png",
    }
    assert {path.name for path in tmp_path.iterdir()} == expected
    assert "EI (%)" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["demo", "--out", "{tmp}/out"], ["review"]])
def test_a_series_without_a_scan_is_refused(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.format(tmp=tmp_path) for word in command] + ["--series", "B70f"]) == 2
    assert "no scan was given" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["verify", "cohort", "reader-study prepare", "reader-study run"])
def test_commands_that_read_no_series_do_not_offer_to_choose_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    assert "--series" not in capsys.readouterr().out


def test_the_same_progress_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ProgressTracker(ProgressPrinter())
    progress.start("Network", 0)
    progress.start("Network", 2)
    progress.advance(0)
    progress.advance(2)
    progress.advance(0)
    assert capsys.readouterr().err.splitlines() == ["Network: 0 of 2", "Network: 2 of 2"]
