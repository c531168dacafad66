"""A running review page, a small simulated chest for it, and a real browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.simulated_chest import make_sample
from Testing.web.chromium import PATIENCE_SECONDS, chromium

# What the server writes to standard error lies in this file of its temporary folder.
COMPLAINTS = "complaints.txt"
# Names a sharp scan for the tests of the page, such as a real one: a DICOM folder or a file.
SCAN_VARIABLE = "REVIEW_SCAN"
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Served:
    """A review server of its own process."""

    process: subprocess.Popen[str]
    address: str
    temporary: Path

    @property
    def origin(self) -> str:
        return "http://" + urlsplit(self.address).netloc

    @property
    def token(self) -> str:
        return urlsplit(self.address).query.removeprefix("token=")


Serve = Callable[..., Served]


def command_line(*arguments: object, temporary: Path) -> subprocess.Popen[str]:
    """``ctkernel`` in a process whose temporary files lie in ``temporary``."""
    paths = os.pathsep.join(str(ROOT / name) for name in ("KernelNormalization", "EmphysemaQuant", "."))
    environment = os.environ | {"PYTHONPATH": paths, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ctkernel", *map(str, arguments)]
    with (temporary / COMPLAINTS).open("a") as complaints:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True, env=environment)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts ``ctkernel review``; every server is ended afterwards."""
    started: list[Served] = []

    def start(*arguments: object) -> Served:
        temporary = tmp_path_factory.mktemp("temporary")
        process = command_line("review", "--json", *arguments, temporary=temporary)
        assert process.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, "the server ended before it was ready"
            text += line
        started.append(Served(process, json.loads(text)["address"], temporary))
        return started[-1]

    yield start
    for served in started:
        served.process.terminate()
        served.process.wait(PATIENCE_SECONDS)
        assert served.process.stdout is not None
        served.process.stdout.close()
    complaints = "".join((served.temporary / COMPLAINTS).read_text() for served in started)
    assert "Traceback" not in complaints, complaints


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated chest with emphysema on the kernel B80f; or the scan that the variable REVIEW_SCAN names."""
    if SCAN_VARIABLE in os.environ:
        return Path(os.environ[SCAN_VARIABLE]).resolve()
    path = tmp_path_factory.mktemp("scan") / "sharp.nrrd"
    write_volume(make_sample(3, (24, 208, 208), (10.0, 1.6, 1.6)).sharp, path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser
