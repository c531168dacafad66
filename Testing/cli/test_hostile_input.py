"""Names and texts from outside on terminals and on the page, and outputs that cannot be made."""

from __future__ import annotations

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
