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
MOMENTS = ("argparse", "numpy.linalg", "scipy", "SimpleITK", "KernelNormalizationLib.core.io.file_conversion")


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_during_the_imports_ends_with_code_3_and_one_line(moment: str, tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "ctkernel", "info", str(tmp_path / "missing.nrrd"), "--json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if line.rsplit("|", 1)[-1].strip() == moment:
                process.send_signal(signal.SIGINT)
                break
        said = [line.rstrip("\n") for line in process.stderr if not line.startswith("import time:")]
        record = json.loads(process.stdout.read())
    assert process.returncode == 3
    assert said == ["ctkernel: Cancelled with Ctrl+C."]
    assert record == {"error": "Cancelled with Ctrl+C.", "exit_code": 3, "kind": "cancelled"}
