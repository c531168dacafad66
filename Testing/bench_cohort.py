"""Throughput of a cohort on one and on two worker processes, as a ratio, and the memory of a worker.

``python -m Testing.bench_cohort`` with full-size scans; ``--shape 16 64 64 --method linear --scans 20`` for a quick look. The
numbers mean little on a machine that does other work: the load average is printed with them.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ctkernel.cohort.finding import Finding, find_cases
from KernelNormalizationLib.core.cores import usable_cores
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.simulated_chest import make_sample
from Testing.core.dicomseries import chest_slices, write_series

HEADER_FILES = 600


def main() -> None:
    """Print every figure, a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=4)
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512), metavar=("K", "J", "I"))
    parser.add_argument("--method", default="unet")
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--gpus", metavar="LIST", help="GPUs that the workers share, as in ctkernel cohort")
    options = parser.parse_args()
    k, j, i = options.shape
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(f"{options.scans} scans of {i} x {j} x {k}, method {options.method}, on {usable_cores()} cores")
        write(f"  headers        {headers_a_second(folder / 'headers'):.0f} DICOM files a second")
        (folder / "in").mkdir()
        first = folder / "in" / "scan0.nrrd"
        write_volume(make_sample(1, (k, j, i), (300.0 / k, 358.4 / j, 358.4 / i)).sharp, first)
        for number in range(1, options.scans):
            os.link(first, folder / "in" / f"scan{number}.nrrd")
        chosen = ["--method", options.method, *(["--gpus", options.gpus] if options.gpus else [])]
        rates = {n: rate(folder, n, chosen) for n in options.workers}
    fewest, *others = sorted(rates)
    for workers in others:
        write(f"  {fewest} -> {workers} workers {rates[workers] / rates[fewest]:.2f} x")


def rate(folder: Path, workers: int, chosen: list[str]) -> float:
    """Scans an hour, from the start of the run to its end; prints what a worker took."""
    out = folder / f"out{workers}"
    command = [sys.executable, "-m", "ctkernel", "cohort", str(folder / "in"), "--out", str(out), *chosen]
    load, started = os.getloadavg()[0], time.perf_counter()
    subprocess.run([*command, "--workers", str(workers)], check=True, capture_output=True)
    seconds = time.perf_counter() - started
    with (out / "runs.csv").open(newline="", encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    peak = max(float(run["peak_memory_gb"]) for run in runs)
    names = ("read", "compute", "write", "cpu")
    read, compute, writing, cpu = (sum(float(run[f"{name}_seconds"]) for run in runs) / len(runs) for name in names)
    disk = sum(path.stat().st_size for path in (out / "cases").rglob("*") if path.is_file()) / len(runs)
    found = 3600.0 * len(runs) / seconds
    write(
        f"  {workers} worker(s)    {found:.1f} scans an hour, peak memory of a worker {peak:.2f} GB; a scan: read {read:.1f}, "
        f"compute {compute:.1f} ({cpu:.1f} of the processor), write {writing:.1f} s, {disk / 1e6:.0f} MB on disk; load average "
        f"before {load:.1f}, after {os.getloadavg()[0]:.1f}"
    )
    return found


def headers_a_second(folder: Path) -> float:
    """Files a second that looking through an archive takes."""
    for number in range(HEADER_FILES // 60):
        write_series(folder / str(number), chest_slices(60), step=5.0, number=number)
    started = time.perf_counter()
    find_cases([folder], Finding())
    return HEADER_FILES / (time.perf_counter() - started)


def write(line: str) -> None:
    """A line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
