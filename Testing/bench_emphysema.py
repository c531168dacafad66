"""Speed and memory of lung mask and indices for one scan, beside an open peer: ``python -m Testing.bench_emphysema SCAN``.

The process holds nothing but the scan and what is measured on it, so its peak memory is that of the quantification.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from EmphysemaQuantLib.core.indices.density import compute_indices
from EmphysemaQuantLib.core.lungs.segmentation import segment_lungs
from EmphysemaQuantLib.core.results.measurement import measure
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.volume import CTVolume
from training.evaluation.measured import ResultNumbers

Result = TypeVar("Result")
# The peer's network sees every slice alike: its time is scaled from so many.
PEER_SLICES = 20
PEER_SIDE = 256
# What the peers themselves publish, quoted and not measured here.
QUOTED = (
    'lungmask README, "Runtime and GPU support": "using the CPU-only will take several minutes" a volume',
    "EmphysemaSeg README, runtime table: (512, 512, 400) in about 1 min 20 s, 6.5 GB of graphics memory (lobes and LAA-950)",
)


def clock(write: Callable[[str], object], name: str, work: Callable[[], Result]) -> tuple[Result, float, float]:
    """Run ``work`` once, write its line, and return its result, wall seconds and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    write(f"  {name:<34} {wall:6.1f} s, {cpu:6.1f} CPU-s")
    return result, wall, cpu


def quantification(volume: CTVolume, write: Callable[[str], object], kept: ResultNumbers) -> float:
    """Mask, main indices and complete measurement; returns the CPU seconds of mask and panel."""
    mask, mask_wall, mask_cpu = clock(write, "lung mask", lambda: segment_lungs(volume))
    clock(write, "EI and main indices", lambda: compute_indices(volume, mask))
    _, panel_wall, panel_cpu = clock(write, "complete measurement", lambda: measure([volume], mask))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    total = mask_cpu + panel_cpu
    write(f"  {'mask and measurement':<34} {mask_wall + panel_wall:6.1f} s, {total:6.1f} CPU-s, peak memory {peak:.2f} GB")
    kept.add("our_mask_seconds", mask_cpu, 1, "our mask (CPU-s)")
    kept.add("volume_panel", mask_wall + panel_wall, 1, "lung mask and complete panel (s)")
    kept.add("volume_panel_memory", peak, 2, "its peak memory (GiB)")
    return total


def peer(volume: CTVolume, ours_cpu: float, write: Callable[[str], object], kept: ResultNumbers) -> None:
    """CPU time of lungmask's network (R231) with weights that were never trained: the time does not depend on them."""
    try:
        import torch
        from lungmask.resunet import UNet
        from lungmask.utils import preprocess
    except ImportError:
        write("  lungmask is not installed (pip install lungmask): its network was not timed")
        return
    network = UNet(n_classes=3, padding=True, depth=5, up_mode="upsample", batch_norm=True, residual=False).eval()
    chosen = np.linspace(0, volume.shape[0] - 1, PEER_SLICES).astype(int)
    scale = volume.shape[0] / PEER_SLICES

    def run() -> None:
        slices, _ = preprocess(volume.hu[chosen], resolution=[PEER_SIDE, PEER_SIDE])
        with torch.inference_mode():
            network(torch.as_tensor((slices + 1024.0) / 1624.0, dtype=torch.float32)[:, None])

    _, wall, cpu = clock(write, f"lungmask network, {PEER_SLICES} slices", run)
    write(
        f"  scaled to {volume.shape[0]} slices {wall * scale:.0f} s, {cpu * scale:.0f} CPU-s without its post-processing: "
        f"{cpu * scale / ours_cpu:.1f} x our mask and panel together (CPU-s)"
    )
    kept.add("lungmask_seconds", cpu * scale, 0, "lungmask's network, such a volume (CPU-s)")


def main() -> None:
    """Print every figure, a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path, help="DICOM folder or volume file")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep the numbers in FOLDER/bench_emphysema.json")
    options, kept = parser.parse_args(), ResultNumbers()

    def write(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    volume = read_volume(options.scan)
    slices, rows, columns = volume.shape
    write(f"Quantification of {columns} x {rows} x {slices}, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    peer(volume, quantification(volume, write, kept), write, kept)
    for line in QUOTED:
        write(f"  quoted: {line}")
    if options.out is not None:
        kept.write(options.out / "bench_emphysema.json", "python -m Testing.bench_emphysema SCAN")


if __name__ == "__main__":
    main()
