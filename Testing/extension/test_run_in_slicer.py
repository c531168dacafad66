"""``Testing/run_in_slicer.sh`` and the workflows around it, with a stand-in for the Slicer executable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "Testing" / "run_in_slicer.sh"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script")


def run(tmp_path: Path, failing: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, report, and the arguments of every start, one a line, with a Slicer that fails where ``failing`` is named."""
    program, log = tmp_path / "Slicer", tmp_path / "starts"
    program.write_text(f'#!/bin/sh\necho "$@" >> "{log}"\ncase "$*" in *"{failing}"*) exit 134;; esac\n')
    program.chmod(0o755)
    settings = {**os.environ, "DISPLAY": ":0", "SLICER_EXECUTABLE": str(program), **environment}
    done = subprocess.run(["sh", str(SCRIPT)], capture_output=True, text=True, env=settings, check=False, timeout=1800)
    return done.returncode, done.stdout, log.read_text()


def test_every_module_runs_although_the_first_one_fails(tmp_path: Path) -> None:
    code, report, starts = run(tmp_path, "'KernelNormalization')")
    assert code != 0
    assert "KernelNormalization: self tests FAILED (exit code 134)" in report
    assert "EmphysemaQuant: self tests passed" in report
    assert len(starts.splitlines()) == 2


def test_all_that_passes_ends_with_0_and_writes_pictures_where_asked(tmp_path: Path) -> None:
    code, report, starts = run(tmp_path, "nothing", SCREENSHOTS=str(tmp_path / "my pictures"))
    assert code == 0, report
    assert report.count("passed") == 2
    assert f"slicer_screenshots.py {tmp_path / 'my pictures'}" in starts.splitlines()[-1]
    assert (tmp_path / "my pictures").is_dir()


def test_a_failure_of_the_last_module_is_told(tmp_path: Path) -> None:
    code, report, _ = run(tmp_path, "'EmphysemaQuant')")
    assert code != 0
    assert "EmphysemaQuant: self tests FAILED (exit code 134)" in report


def test_without_slicer_nothing_runs_and_that_is_said(tmp_path: Path) -> None:
    settings = {key: value for key, value in os.environ.items() if key != "SLICER_EXECUTABLE"}
    done = subprocess.run(["sh", str(SCRIPT)], capture_output=True, text=True, env=settings, check=False, timeout=1800)
    assert done.returncode == 0
    assert "no self test was run" in done.stderr


def test_workflows_cover_three_systems_two_pythons_and_both_slicers() -> None:
    tests = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    slicers = (ROOT / ".github" / "workflows" / "slicer.yml").read_text()
    assert "[ubuntu-latest, macos-latest, windows-latest]" in tests
    assert '["3.11", "3.12"]' in tests
    assert "[stable, preview]" in slicers
    assert "Testing/run_in_slicer.sh" in slicers
    assert "upload-artifact" in slicers
