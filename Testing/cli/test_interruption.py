"""Ctrl+C and SIGTERM while the program is still loading its packages, and while a command works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ctkernel.console import CANCELLED

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


def _in_a_process(work: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``work`` in a process of its own, to which it sends signals: a signal that comes late must not hit the tests."""
    begin = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from ctkernel.console import cancellable, run_command\n"
        "from KernelNormalizationLib.core.errors import Cancelled\n"
        "from KernelNormalizationLib.core.io.whole_sets import whole_set\n"
    )
    command = [sys.executable, "-c", begin + work, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
    )


@pytest.mark.parametrize("stop", STOPS)
def test_a_command_without_steps_is_stopped_at_once(stop: signal.Signals) -> None:
    done = _in_a_process(
        "def command():\n"
        "    os.kill(os.getpid(), int(sys.argv[1]))\n"
        "    time.sleep(60.0)\n"
        "sys.exit(run_command(command, as_json=False))",
        str(int(stop)),
    )
    assert (done.returncode, done.stderr) == (CANCELLED, "ctkernel: Cancelled with Ctrl+C.\n")


def test_what_a_package_makes_of_the_interruption_is_no_failure() -> None:
    done = _in_a_process(
        "def command():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(60.0)\n"
        "    except KeyboardInterrupt:\n"
        "        raise ImportError('initialization failed') from None\n"
        "sys.exit(run_command(command, as_json=False))"
    )
    assert (done.returncode, done.stderr) == (CANCELLED, "ctkernel: Cancelled with Ctrl+C.\n")


@pytest.mark.parametrize("stop", STOPS)
def test_work_that_comes_to_no_step_is_interrupted_and_leaves_nothing(stop: signal.Signals, tmp_path: Path) -> None:
    done = _in_a_process(
        "try:\n"
        "    with cancellable(True, step_seconds=0.05), whole_set(Path(sys.argv[2]) / 'out') as private:\n"
        "        (private / 'half.txt').write_text('half', encoding='utf-8')\n"
        "        os.kill(os.getpid(), int(sys.argv[1]))\n"
        "        time.sleep(60.0)\n"
        "except Cancelled:\n"
        "    print('cancelled')",
        str(int(stop)),
        str(tmp_path),
    )
    assert (done.returncode, done.stdout) == (0, "cancelled\n"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_work_that_ends_in_time_is_not_interrupted() -> None:
    done = _in_a_process(
        "with cancellable(True, step_seconds=0.1) as progress:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    try:\n"
        "        progress.start('Work', 3)\n"
        "    except Cancelled as error:\n"
        "        print(error)\n"
        "time.sleep(0.3)\n"
        "print('the timer no longer runs')"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("the timer no longer runs\n")
    assert "nothing was kept" in done.stdout
