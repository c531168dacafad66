"""Names and texts from outside on terminals and on the page, and outputs that cannot be made."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from core.dicomseries import chest_slices, write_series
from pydicom.dataset import FileDataset

from ctkernel.cli import main
from ctkernel.quantification_files import read_provenance
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.simulated_chest import SamplePair


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A series whose scanner is called by Chinese characters and a control sequence."""

    def change(_: int, ds: FileDataset) -> None:
        ds.SpecificCharacterSet, ds.Manufacturer, ds.ManufacturerModelName = "ISO_IR 192", "西门子", "a\x1b[31mb"

    write_series(tmp_path / "scan", chest_slices(10, 24, 24), change=change)
    return tmp_path / "scan"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_any_terminal_shows_the_scan(scan: Path, encoding: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "ctkernel", "info", str(scan)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    printed = run.stdout.decode(encoding)
    assert run.returncode == 0
    assert ("西门子" if encoding == "utf-8" else "???") in printed
    assert "\x1b" not in printed
    assert b"Warning" not in run.stderr


def test_a_file_in_the_way_of_the_output_is_named(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("a file")
    assert main(["quantify", str(scan), "--out", str(tmp_path / "out")]) == 2
    assert f"{tmp_path / 'out'} is a file; give a folder." in capsys.readouterr().err


def test_a_record_with_nan_is_refused_and_not_copied(tmp_path: Path) -> None:
    (tmp_path / "a.provenance.json").write_text('{"ei": NaN}')
    with pytest.raises(InputError, match="NaN is no number"):
        read_provenance(tmp_path / "a.nrrd")
    (tmp_path / "a.provenance.json").write_text("[" * 5000 + "]" * 5000)
    with pytest.raises(InputError, match="nested too deeply"):
        read_provenance(tmp_path / "a.nrrd")


def test_the_error_is_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path / "a\x1b[31m"), "--json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["exit_code"] == 2
    assert "\x1b" not in captured.err + captured.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["normalize", "SCAN", "a\0b.nrrd"], "holds a zero byte; give a name without it."),
        (["normalize", "SCAN", "x" * 300 + ".nrrd"], "is a longer name than the system takes"),
        (["normalize", "SCAN", "out.nrrd", "--series", "3"], "so there is no series to choose with --series 3"),
        (["quantify", "SCAN", "--out", "out", "--threshold=--"], "--threshold has no value"),
        (["quantify", "", "--out", "out"], "One of the arguments is empty"),
        (["quantify", "SCAN", "--out", "out", "--mask="], "One of the arguments is empty"),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scan.nrrd").write_bytes(b"")
    assert main([part.replace("SCAN", "scan.nrrd") for part in arguments]) == 2
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nrrd"]


def test_an_empty_kernel_is_no_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    """An unset variable of a script would otherwise choose the header's."""
    with pytest.raises(SystemExit) as stopped:
        main(["normalize", "scan.nrrd", "out.nrrd", "--kernel", ""])
    assert stopped.value.code == 2
    assert "--kernel: it is empty; give a name, or leave the option out" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not UTF-8")
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_names_that_are_no_utf8_are_measured_or_refused_and_never_abort(
    sample: SamplePair, tmp_path: Path, encoding: str
) -> None:
    """The command used to abort in a library, or to fail at its last line, after everything was written."""
    write_volume(sample.sharp, tmp_path / "scan.nrrd")
    scan = (tmp_path / "scan.nrrd").rename(tmp_path / os.fsdecode(b"\xe4\xff.nrrd"))

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "ctkernel", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": encoding})
        return done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding)

    out = tmp_path / os.fsdecode(b"out\xff")
    code, printed, told = run("quantify", scan, "--out", out)
    assert (code, "Traceback" in told) == (0, False)
    assert "Files: " in printed
    assert json.loads((out / "metrics.json").read_text())["volumes"][0]["regions"][0]["ei_percent"] > 0.0
    code, _, told = run("normalize", scan, tmp_path / os.fsdecode(b"smooth\xff.nrrd"), "--method", "heuristic")
    assert code == 2
    assert "is no name in UTF-8; give the file and its folders another name." in told
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([scan.name, out.name])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not UTF-8")
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["normalize", "SCAN", "out.nrrd"],
        ["quantify", "SCAN", "--out", "out"],
        ["change", "SCAN", "SCAN"],
        ["export", "SCAN", "SCAN", "--out", "out"],
        ["verify", "SCAN"],
        ["cohort", "absent SCAN", "--out", "out"],
        ["reader-study", "prepare", "SCAN", "SCAN", "--out", "out"],
        ["info", "SCAN"],
        ["info", "SCAN", "--json"],
        ["demo", "SCAN", "--out", "out"],
    ],
    ids=" ".join,
)
def test_every_command_names_what_it_refuses_on_any_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], encoding: str
) -> None:
    """Neither the name, of bytes that are no UTF-8 and Chinese characters, nor the terminal ends the program."""
    monkeypatch.chdir(tmp_path)
    scan = os.fsdecode(b"\xff") + "胸.nrrd"
    Path(scan).write_bytes(b"no NRRD")
    shown = {
        name: io.TextIOWrapper(io.BytesIO(), encoding, errors="strict", write_through=True) for name in ("stdout", "stderr")
    }
    for name, stream in shown.items():
        monkeypatch.setattr(sys, name, stream)
    code = main([part.replace("SCAN", scan) for part in arguments])
    printed, told = (stream.buffer.getvalue().decode(encoding) for stream in shown.values())  # type: ignore[attr-defined]
    assert code == 2
    assert told.startswith("ctkernel: ")
    assert told.count("\n") == 1
    assert "?" in told
    if "--json" in arguments:
        assert json.loads(printed)["exit_code"] == 2
    assert [path.name for path in tmp_path.iterdir()] == [scan]
