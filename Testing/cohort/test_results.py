"""What a cohort leaves, what another run takes over from it, and what happens to input that cannot be used."""

from __future__ import annotations

import csv
import dataclasses
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

import ctkernel
from ctkernel.cli import main
from ctkernel.cohort.command import Finished, run_cohort
from ctkernel.cohort.finding import Finding, find_cases
from ctkernel.cohort.lanes import ThisProcess
from ctkernel.cohort.output import alone_in, open_output, output_salt
from ctkernel.cohort.rows import COLUMNS
from ctkernel.cohort.running import Update
from ctkernel.cohort.settings import CohortSettings
from ctkernel.cohort.steps import Job
from ctkernel.cohort.tables import columns_text, read_results
from KernelNormalizationLib.core.errors import Cancelled, InputError
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.simulated_chest import make_sample
from Testing.cohort.runs import LINEAR, ROOT, SHAPE, SPACING, environment, run, tiny_chest
from Testing.core.conftest import make_model
from Testing.core.dicomseries import write_series

pytestmark = pytest.mark.slow

SETTINGS = CohortSettings(method="linear")


def do(inputs: Path, out: Path, settings: CohortSettings = SETTINGS) -> Finished:
    """A run in this process."""
    checked = settings.checked()
    salt = open_output(out, [inputs], checked)
    job = Job(checked, out, "")
    with alone_in(out):
        return run_cohort(find_cases([inputs], Finding(salt=salt)), ThisProcess(job), job, lambda update: None)


def states(finished: Finished) -> dict[str, str]:
    return {case: outcome.state for case, outcome in finished.outcomes.items()}


def written(out: Path, part: str) -> dict[str, int]:
    return {path.parents[1].name: path.stat().st_mtime_ns for path in (out / "cases").glob(f"*/{part}/stage.json")}


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of two scans of a patient, the first with a soft partner."""
    folder = tmp_path_factory.mktemp("listed")
    pair = make_sample(1, SHAPE, SPACING)
    write_volume(pair.sharp, folder / "sharp.nrrd")
    write_volume(pair.smooth, folder / "soft.nrrd")
    write_volume(tiny_chest(2), folder / "later.nrrd")
    (folder / "list.csv").write_text(
        "path,case,patient,date,partner\nsharp.nrrd,first,P1,2020-01-01,soft.nrrd\nlater.nrrd,second,P1,2021-01-01,\n"
    )
    return folder / "list.csv"


@pytest.fixture(scope="module")
def base(listed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its results, with reports."""
    out = tmp_path_factory.mktemp("base") / "out"
    assert set(states(do(listed, out, dataclasses.replace(SETTINGS, report=True))).values()) == {"done"}
    return out


@pytest.fixture
def out(base: Path, tmp_path: Path) -> Path:
    """A copy to go on with."""
    return Path(shutil.copytree(base, tmp_path / "out"))


def test_the_numbers_are_those_of_the_one_measurement(listed: Path, base: Path) -> None:
    scan = ctkernel.read(listed.parent / "sharp.nrrd")
    expected = ctkernel.measure([scan, ctkernel.normalize(scan, method="linear")])
    rows = [row for row in read_results(base) if row["case"] == "first" and row["region"] == "whole"]
    found = {row["volume"]: row["ei_percent"] for row in rows}
    assert found["original"] == expected.volumes[0].whole.ei_percent
    assert found["normalized"] == expected.volumes[1].whole.ei_percent
    soft = ctkernel.measure(listed.parent / "soft.nrrd", expected.lung_mask)
    assert found["soft"] == soft.volume.whole.ei_percent
    assert {row["synthetic"] for row in rows if row["volume"] == "normalized"} == {"yes"}
    assert all(row["use"].startswith("Research use only") for row in rows)


def test_both_tables_hold_the_same_with_units_in_the_metadata(base: Path) -> None:
    from pyarrow import parquet

    with (base / "results.csv").open(newline="", encoding="utf-8") as file:
        from_csv = list(csv.DictReader(file))
    rows = read_results(base)
    assert len(from_csv) == len(rows) == (3 + 2) * 8  # volumes x (whole, right, left, thirds, core, rind)
    for text, row in zip(from_csv, rows, strict=True):
        for column in COLUMNS:
            value, cell = row[column.name], text[column.name]
            if value is None:
                assert cell == ""
            elif column.number:
                assert float(cell) == value
            else:
                assert cell.lstrip("'") == value
    field = parquet.read_schema(base / "results.parquet").field("ei_percent")
    assert field.metadata[b"unit"] == b"%"


def test_the_documents_describe_every_column() -> None:
    assert columns_text() in (ROOT / "docs" / "cohort.md").read_text(encoding="utf-8")


def test_the_same_command_again_does_nothing_again(listed: Path, out: Path) -> None:
    before = written(out, "measured"), written(out, "normalized"), (out / "results.parquet").read_bytes()
    assert set(states(do(listed, out)).values()) == {"kept"}
    assert (written(out, "measured"), written(out, "normalized"), (out / "results.parquet").read_bytes()) == before


def test_another_threshold_measures_again_without_normalizing_again(listed: Path, out: Path, tmp_path: Path) -> None:
    before = written(out, "normalized")
    other = dataclasses.replace(SETTINGS, threshold_hu=-910.0)
    assert set(states(do(listed, out, other)).values()) == {"done"}
    assert written(out, "normalized") == before
    do(listed, tmp_path / "fresh", other)
    assert (out / "results.csv").read_bytes() == (tmp_path / "fresh" / "results.csv").read_bytes()
    # and back: what the threshold in force needs is what the tables hold
    do(listed, out)
    assert {row["threshold_hu"] for row in read_results(out)} == {-950.0}


def test_another_method_normalizes_again(listed: Path, out: Path) -> None:
    before = written(out, "normalized")
    assert set(states(do(listed, out, CohortSettings(method="heuristic"))).values()) == {"done"}
    assert all(when != before[case] for case, when in written(out, "normalized").items())
    assert {row["method"] for row in read_results(out) if row["synthetic"] == "yes"} == {"heuristic"}


def test_a_scan_that_was_replaced_is_done_again_and_a_copied_one_is_not(listed: Path, base: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(listed.parent, tmp_path / "in"))
    shutil.copytree(base, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "cohort.json").read_text())
    record["inputs"] = [str(folder / "list.csv")]
    (tmp_path / "out" / "cohort.json").write_text(json.dumps(record))
    (folder / "sharp.nrrd").touch()
    assert states(do(folder / "list.csv", tmp_path / "out")) == {"first": "kept", "second": "kept"}
    write_volume(tiny_chest(5), folder / "later.nrrd")
    assert states(do(folder / "list.csv", tmp_path / "out")) == {"first": "kept", "second": "done"}


def test_half_a_result_counts_as_none(listed: Path, out: Path) -> None:
    (out / "cases" / "first" / "measured" / "stage.json").write_text('{"key": ')
    (out / "cases" / "second" / "normalized" / "lungs.npz").write_bytes(b"damaged")
    (out / "cases" / "second" / "measured" / "stage.json").unlink()
    assert states(do(listed, out)) == {"first": "done", "second": "done"}


def test_numbers_that_were_changed_are_measured_again(listed: Path, out: Path) -> None:
    before = (out / "results.csv").read_bytes()
    rows = [out / "cases" / case / "measured" / "rows.json" for case in ("first", "second")]
    changed = json.loads(rows[0].read_text())
    changed[0]["ei_percent"] = 99.0
    rows[0].write_text(json.dumps(changed))
    rows[1].write_text('[{"x": 1}]')
    assert states(do(listed, out)) == {"first": "done", "second": "done"}
    assert (out / "results.csv").read_bytes() == before
    assert states(do(listed, out)) == {"first": "kept", "second": "kept"}


def test_stopping_keeps_what_is_finished_and_says_how_to_go_on(listed: Path, tmp_path: Path) -> None:
    def stop(update: Update) -> None:
        if update.done:
            raise Cancelled("asked")

    job = Job(SETTINGS, tmp_path, "")
    open_output(tmp_path, [listed], SETTINGS)
    with pytest.raises(Cancelled, match="run the same command again"):
        run_cohort(find_cases([listed], Finding()), ThisProcess(job), job, stop)
    assert "not done yet" in (tmp_path / "summary.html").read_text(encoding="utf-8")
    assert sorted(states(do(listed, tmp_path)).values()) == ["done", "kept"]


def test_broken_inputs_each_get_a_reason_and_the_others_their_results(tmp_path: Path) -> None:
    chest = tiny_chest(1)
    write_volume(chest, tmp_path / "good.nrrd")
    (tmp_path / "text.nrrd").write_text("no volume")
    write_volume(chest.with_hu(np.where(chest.hu < -500, 0.0, chest.hu), name="x", synthetic=False), tmp_path / "solid.nrrd")
    cut = (tmp_path / "good.nrrd").read_bytes()
    (tmp_path / "cut.nrrd").write_bytes(cut[: len(cut) // 2])
    lines = ["good.nrrd,good", "text.nrrd,text", "solid.nrrd,solid", "cut.nrrd,cut", "absent.nrrd,absent", "good.nrrd,twice"]
    (tmp_path / "list.csv").write_text("path,case\n" + "\n".join(lines) + "\n")
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    finished = do(tmp_path / "list.csv", tmp_path / "out")
    assert finished.measured == 1
    reasons = {failure.case: failure.reason for failure in finished.failures}
    assert "does not exist" in reasons["absent"]
    assert "aerated lung" in reasons["solid"] or "Hounsfield" in reasons["solid"]
    assert "row 2 already" in next(text for case, text in reasons.items() if "row 7" in case)
    assert {"text", "cut"} <= set(reasons)
    with (tmp_path / "out" / "failures.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert all(row["reason"] and row["what_to_do"] for row in rows)
    assert {path: path.read_bytes() for path in files} == files  # the inputs are as they were
    page = (tmp_path / "out" / "summary.html").read_text(encoding="utf-8")
    assert all(f"{case}" in page for case in ("absent", "solid", "text", "cut"))
    again = do(tmp_path / "list.csv", tmp_path / "out")
    assert {failure.case: failure.reason for failure in again.failures} == reasons


def test_a_scan_too_large_for_the_memory_of_a_worker_is_told_how_much_it_needs(listed: Path, tmp_path: Path) -> None:
    small = dataclasses.replace(SETTINGS, memory_gb=0.5)
    folder = tmp_path / "in"
    folder.mkdir()
    hu = tiny_chest(1).hu.repeat(7, 0).repeat(4, 1).repeat(4, 2)
    write_volume(ctkernel.from_array(hu, (2.0, 1.3, 1.3), kernel="B80f"), folder / "large.nrrd")
    (failure,) = do(folder, tmp_path / "out", small).failures
    assert failure.kind == "memory"
    assert "--memory" in failure.advice
    assert "GB" in failure.reason


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    folder = tmp_path / "foreign"
    folder.mkdir()
    return folder


def test_an_output_folder_of_another_cohort_or_of_something_else_is_left_alone(out: Path, foreign: Path) -> None:
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="holds the cohort of"):
        open_output(out, [foreign], SETTINGS)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="nothing is overwritten"):
        open_output(foreign, [out], SETTINGS)
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]


def test_inputs_that_cannot_be_used_leave_no_folder_that_belongs_to_them(
    listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cohort", str(tmp_path / "misspelt.csv"), "--out", str(tmp_path / "out")]) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "list.csv").write_bytes(b"PK\x03\x04" + bytes(100))
    assert main(["cohort", str(tmp_path / "list.csv"), "--out", str(tmp_path / "out")]) == 2
    assert "save the list as CSV" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    salt = output_salt(tmp_path / "out", [listed])
    assert open_output(tmp_path / "out", [listed], SETTINGS, salt) == salt == output_salt(tmp_path / "out", [listed])


def test_two_runs_do_not_work_in_one_folder(out: Path) -> None:
    code = (
        "import time; from pathlib import Path; from ctkernel.cohort.output import alone_in\n"
        f"with alone_in(Path({str(out)!r})): print(1, flush=True); time.sleep(3600)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(InputError, match="Another run works"), alone_in(out):
            pass
    finally:
        other.kill()
        other.communicate()
    with alone_in(out):  # the other was killed: its mark counts no more
        pass


def test_a_disk_that_takes_no_more_gives_reasons_and_a_folder_to_go_on_with(listed: Path, tmp_path: Path) -> None:
    """No file may grow over 100 kB, as on a full disk or beyond a quota; a normalized volume is larger."""
    limit = 100_000
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {resource.RLIM_INFINITY}));"
        "from ctkernel.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-c", code, "cohort", str(listed), "--out", str(out), *LINEAR, "--json"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert (done.returncode, told["measured"]) == (1, 0)
    assert len(told["failures"]) == 2
    assert all("disk" in failure["reason"] for failure in told["failures"])
    code_again, text = run(listed, "--out", out, *LINEAR)
    assert code_again == 0, text
    assert "2 case(s) measured: 2 now" in text


def test_two_dicom_series_in_one_folder_are_told_apart_and_leave_dicom_of_their_own(tmp_path: Path) -> None:
    spacing = {"step": SPACING[0], "pixel": SPACING[1:]}
    for seed, stem in ((1, "one"), (2, "two")):
        hu = tiny_chest(seed).hu.astype(np.int16)
        write_series(tmp_path / "flat", hu, kernel="B80f", stem=stem, change=_of_study(seed), **spacing)
    finished = do(tmp_path, tmp_path.parent / f"{tmp_path.name}-out", dataclasses.replace(SETTINGS, dicom=True))
    assert set(states(finished).values()) == {"done"}
    out = tmp_path.parent / f"{tmp_path.name}-out"
    for case in states(finished):
        exported = ctkernel.read(out / "cases" / case / "dicom")
        assert exported.synthetic
        kept = ctkernel.read(out / "cases" / case / "normalized" / "normalized.nrrd")
        assert np.abs(exported.hu - kept.hu).max() <= 0.5
    tables = (out / "results.csv").read_text() + (out / "summary.html").read_text(encoding="utf-8")
    assert "Doe^Jane" not in tables
    assert "PID4711" not in tables


def _of_study(seed: int) -> Callable[[int, FileDataset], None]:
    def change(k: int, ds: FileDataset) -> None:
        ds.StudyInstanceUID = f"1.2.{seed}"

    return change


def test_the_network_gives_a_case_what_it_gives_a_single_scan(tmp_path: Path) -> None:
    model_folder = make_model(tmp_path / "tiny")
    (tmp_path / "in").mkdir()
    write_volume(tiny_chest(3), tmp_path / "in" / "scan.nrrd")
    do(tmp_path / "in", tmp_path / "out", CohortSettings(method="unet", model=str(model_folder), device="cpu"))
    scan = ctkernel.read(tmp_path / "in" / "scan.nrrd")
    expected = ctkernel.measure([scan, ctkernel.normalize(scan, model=model_folder, device="cpu")])
    found = {r["volume"]: r["ei_percent"] for r in read_results(tmp_path / "out") if r["region"] == "whole"}
    assert found["normalized"] == pytest.approx(expected.volumes[1].whole.ei_percent, abs=0.02)
