"""Cohorts of tiny simulated chests, run by the command line in processes that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.simulated_chest import make_sample
from KernelNormalizationLib.core.volume import CTVolume

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (16, 64, 64)
SPACING = (240.0 / SHAPE[0], 332.8 / SHAPE[1], 332.8 / SHAPE[2])
# Linear: where it runs matters here, not what the network draws.
LINEAR = ("--method", "linear")
PATIENCE = 900.0


def tiny_chest(seed: int) -> CTVolume:
    """The smallest chest that passes for one."""
    return make_sample(seed, SHAPE, SPACING).sharp


def write_chests(folder: Path, count: int) -> Path:
    """``count`` tiny chests, in subfolders as an archive has them."""
    for seed in range(count):
        place = folder / f"study{seed // 10}"
        place.mkdir(parents=True, exist_ok=True)
        write_volume(tiny_chest(seed), place / f"chest{seed:02d}.nrrd")
    return folder


def environment() -> dict[str, str]:
    """Of a child: this checkout's code, and one core each."""
    code = os.pathsep.join(str(ROOT / part) for part in ("KernelNormalization", "EmphysemaQuant", ""))
    return os.environ | {"PYTHONPATH": code, "OMP_NUM_THREADS": "1"}


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """``ctkernel cohort`` in a process group of its own."""
    command = [sys.executable, "-m", "ctkernel", "cohort", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code, and everything that was printed."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        kill_group(process)
        raise
    return process.returncode, out + err


def run(*arguments: str | Path) -> tuple[int, str]:
    """``ctkernel cohort`` to its end."""
    return finish(start(*arguments))


def kill_group(process: subprocess.Popen[str]) -> None:
    """End the process and its children."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def measured(out: Path) -> dict[str, int]:
    """Case -> when its measurement was written, ns."""
    stages = (out / "cases").glob("*/measured/stage.json")
    return {path.parents[1].name: path.stat().st_mtime_ns for path in stages}


def wait_until(so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something that the process does."""
    until = time.monotonic() + PATIENCE
    while not so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "It takes too long."
        time.sleep(0.05)


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The Dask worker processes that a run started."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def leftovers(out: Path) -> list[Path]:
    """Unfinished files and folders."""
    return [path for path in out.rglob(".*") if path.name.startswith(".ctkernel-unfinished")]
