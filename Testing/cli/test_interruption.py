"""Ctrl+C and SIGTERM while the program is still loading its packages, and while a command works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ctkernel.console import CANCELLED, cancellable, run_command
from KernelNormalizationLib.core.errors import Cancelled
from KernelNormalizationLib.core.io.whole_sets import whole_set

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")

# Loaded early, in the middle and late. After the last of them a tenth of a second of imports is left; the line of
# ``ctkernel.cli`` itself comes when all is loaded, and the command may have ended before the signal arrives.
# The command cannot run ahead of this test on a busy machine: a pipe of one page holds fewer lines than are still to come.
MOMENTS = ("argparse", "numpy.linalg", "scipy", "SimpleITK", "KernelNormalizationLib.core.io.file_conversion")
PIPE_BYTES = 4096


STOPS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_during_the_imports_ends_with_code_3_and_one_line(moment: str, tmp_path: Path) -> None:
    _stop_during_imports(moment, tmp_path, signal.SIGINT)


def test_sigterm_during_the_imports_ends_with_code_3_and_one_line(tmp_path: Path) -> None:
    _stop_during_imports("numpy.linalg", tmp_path, signal.SIGTERM)


def _stop_during_imports(moment: str, tmp_path: Path, stop: signal.Signals) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "ctkernel", "info", str(tmp_path / "missing.nrrd"), "--json"]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0, "pipesize": PIPE_BYTES}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if line.decode().rsplit("|", 1)[-1].strip() == moment:
                process.send_signal(stop)
                break
        said = [line for line in process.stderr.read().decode().splitlines() if not line.startswith("import time:")]
        record = json.loads(process.stdout.read())
    assert process.returncode == 3
    assert said == ["ctkernel: Cancelled with Ctrl+C."]
    assert record == {"error": "Cancelled with Ctrl+C.", "exit_code": 3, "kind": "cancelled"}


@pytest.mark.parametrize("stop", STOPS)
def test_a_command_without_steps_is_stopped_at_once(stop: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        os.kill(os.getpid(), stop)
        time.sleep(60.0)

    assert run_command(command, as_json=False) == CANCELLED
    assert capsys.readouterr().err == "ctkernel: Cancelled with Ctrl+C.\n"


def test_what_a_package_makes_of_the_interruption_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60.0)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    assert run_command(command, as_json=False) == CANCELLED
    assert capsys.readouterr().err == "ctkernel: Cancelled with Ctrl+C.\n"


@pytest.mark.parametrize("stop", STOPS)
def test_work_that_comes_to_no_step_is_interrupted_and_leaves_nothing(stop: signal.Signals, tmp_path: Path) -> None:
    def work() -> None:
        with cancellable(True, step_seconds=0.05), whole_set(tmp_path / "out") as private:
            (private / "half.txt").write_text("half", encoding="utf-8")
            os.kill(os.getpid(), stop)
            time.sleep(60.0)

    with pytest.raises(Cancelled):
        work()
    assert list(tmp_path.iterdir()) == []


def test_work_that_ends_in_time_is_not_interrupted() -> None:
    with cancellable(True, step_seconds=0.1) as progress:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Cancelled, match="nothing was kept"):
            progress.start("Work", 3)
    time.sleep(0.3)  # the timer no longer runs
