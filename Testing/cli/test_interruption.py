"""Ctrl+C while the program is still loading its packages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")

# Loaded early, in the middle and late. After the last of them a tenth of a second of imports is left; the line of
# ``ctkernel.cli`` itself comes when all is loaded, and the command may have ended before the signal arrives.
# The command cannot run ahead of this test on a busy machine: a pipe of one page holds fewer lines than are still to come.
MOMENTS = ("argparse", "numpy.linalg", "scipy", "SimpleITK", "KernelNormalizationLib.core.io.file_conversion")
PIPE_BYTES = 4096


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_during_the_imports_ends_with_code_3_and_one_line(moment: str, tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "ctkernel", "info", str(tmp_path / "missing.nrrd"), "--json"]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0, "pipesize": PIPE_BYTES}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if line.decode().rsplit("|", 1)[-1].strip() == moment:
                process.send_signal(signal.SIGINT)
                break
        said = [line for line in process.stderr.read().decode().splitlines() if not line.startswith("import time:")]
        record = json.loads(process.stdout.read())
    assert process.returncode == 3
    assert said == ["ctkernel: Cancelled with Ctrl+C."]
    assert record == {"error": "Cancelled with Ctrl+C.", "exit_code": 3, "kind": "cancelled"}
