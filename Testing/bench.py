"""Speed and memory, as ratios against named alternatives measured in the same run: ``make bench``.

``--out training/results/measured`` also keeps the numbers for the documents, which needs an idle machine.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from safetensors.torch import load_file

from EmphysemaQuantLib.core.indices.density import compute_indices
from EmphysemaQuantLib.core.lungs.segmentation import segment_lungs
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.kernels.radial_filter import in_threads
from KernelNormalizationLib.core.methods.correction import STAGE
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.network.backends import Backend, available_cpu_backends, create_cpu_backend
from KernelNormalizationLib.core.network.model_folder import load_model
from KernelNormalizationLib.core.network.unet import UNet, UNetConfig
from KernelNormalizationLib.core.progress import ProgressReport, ProgressTracker
from KernelNormalizationLib.core.simulated_chest import make_sample
from training.evaluation.measured import ResultNumbers

SIDE = 512
REPEATS = 7
VOLUME_SHAPE, VOLUME_SPACING = (300, SIDE, SIDE), (1.0, 0.7, 0.7)
MATRIX = 2048
# Backend -> how the documents call it.
KEYS = {"openvino": "openvino", "onnxruntime": "onnx", "torch": "channels_last"}


def seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median wall time of ``work`` after one warm-up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return median(times)


def multiply_adds(network: UNet) -> int:
    """Multiply-adds of the network's convolutions for one 512 x 512 slice."""
    total = 0

    def count(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        weight = module.weight
        pixels = inputs[0] if isinstance(module, torch.nn.ConvTranspose2d) else output
        total += weight.numel() * pixels.shape[2] * pixels.shape[3]

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network.features(torch.zeros(1, 3, SIDE, SIDE))
    return total


def network_bench(write: Callable[[str], object], kept: ResultNumbers) -> float:
    """Seconds a slice of every CPU backend, against plain eager torch and against a matrix product; returns eager's.

    A backend that computes several slices at once is given as many.
    """
    model = load_model()
    rng = np.random.default_rng(0)
    sharp = rng.normal(-850.0, 100.0, (1, 1, SIDE, SIDE)).astype(np.float32)
    base = (0.3 * sharp - 595.0).astype(np.float32)
    eager = UNet(UNetConfig.from_card(model.card["architecture"])).eval()
    eager.load_state_dict(load_file(str(model.weights)))
    images = (sharp, base, np.minimum(sharp + np.float32(950.0), 0.0))
    tensors = [torch.from_numpy(image) for image in images]
    a, b = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    with torch.inference_mode():
        plain = seconds(lambda: eager(*tensors))
        product = seconds(lambda: a @ b)
    work = multiply_adds(UNet(UNetConfig.from_card(model.card["architecture"])))
    ideal = product * work / MATRIX**3
    write(f"Network, one {SIDE} x {SIDE} slice, {2 * work / 1e9:.1f} GFLOP, {torch.get_num_threads()} threads")
    write(f"  plain eager torch            {plain:.3f} s")
    write(f"  matrix product, same work    {ideal:.3f} s")
    kept.add("speed_eager", plain, 3, "plain eager torch, a slice (s)")
    kept.add("speed_eager_rate", 100 * ideal / plain, 0, "its rate (%)")
    kept.add("speed_matrix", ideal, 3, "matrix product (s)")
    kept.add("speed_matrix_ratio", plain / ideal, 1, "its ratio")
    for name in available_cpu_backends():
        backend = create_cpu_backend(name, model)
        at_once = [images] * backend.streams

        def run(backend: Backend = backend, at_once: list[tuple[np.ndarray, ...]] = at_once) -> None:
            list(in_threads(lambda x: backend.run(*x), at_once, backend.streams))

        taken = seconds(run) / backend.streams
        label = "torch, channels_last" if name == "torch" else name
        ratios = f"{plain / taken:.2f} x eager, {100 * ideal / taken:.0f} % of the matrix product's rate"
        write(f"  {label:<28} {taken:.3f} s, {ratios}")
        key = f"speed_{KEYS[name]}"
        kept.add(key, taken, 3, f"{label}, a slice (s)")
        kept.add(f"{key}_ratio", plain / taken, 2, "its ratio")
        kept.add(f"{key}_rate", 100 * ideal / taken, 0, "its rate (%)")
    return plain


class StageClock:
    """Seconds of every stage a normalization reports."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started: dict[str, float] = {}

    def __call__(self, report: ProgressReport) -> None:
        now = time.perf_counter()
        self.seconds[report.stage] = now - self._started.setdefault(report.stage, now)


def volume_bench(write: Callable[[str], object], eager: float, kept: ResultNumbers, out: Path | None) -> None:
    """Seconds and peak memory of a 512 x 512 x 300 chest through the command line, and of lung mask and indices."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan, smooth = folder / "sharp.nrrd", folder / "smooth.nrrd"
        write_volume(make_sample(1, VOLUME_SHAPE, VOLUME_SPACING).sharp, scan)
        normalize = child_seconds("ctkernel", "normalize", str(scan), str(smooth))
        # ru_maxrss of children is the largest of all so far: the normalization's, then possibly the measurement's.
        normalize_peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
        measure = child_seconds("ctkernel", "quantify", str(scan), "--compare", str(smooth), "--out", str(folder / "q"))
        both_peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
        keep = [] if out is None else ["--out", str(out)]
        quantified = subprocess.run(
            [sys.executable, "-m", "Testing.bench_emphysema", str(scan), *keep], check=True, capture_output=True, text=True
        ).stdout
        volume = read_volume(scan)
        started = time.perf_counter()
        compute_indices(volume, segment_lungs(volume))
        mask = time.perf_counter() - started
        clock = StageClock()
        create_normalizer("unet", device="cpu").normalize(volume, ProgressTracker(clock))
    network = clock.seconds[STAGE] / VOLUME_SHAPE[0]
    write(f"Volume of {SIDE} x {SIDE} x {VOLUME_SHAPE[0]}")
    write(f"  restoration and network      {network:.3f} s a slice, {eager / network:.2f} x plain eager, whole slices")
    write(f"  normalize (command line)     {normalize:.1f} s, peak memory {normalize_peak:.2f} GB")
    write(f"  quantify pair (command line) {measure:.1f} s, peak memory at most {both_peak:.2f} GB")
    write(f"  lung mask and indices        {mask:.1f} s, {mask / normalize:.2f} x normalization")
    write(quantified.rstrip())
    kept.add("volume_slice", network, 3, "network with crop, a slice (s)")
    kept.add("volume_slice_ratio", eager / network, 2, "as fast as plain eager on whole slices (times)")
    kept.add("volume_normalize", normalize, 1, f"normalize {SIDE} x {SIDE} x {VOLUME_SHAPE[0]}, files included (s)")
    kept.add("volume_normalize_memory", normalize_peak, 2, "its peak memory (GiB)")
    kept.add("volume_mask", mask, 1, "lung mask and main indices (s)")
    kept.add("volume_mask_ratio", mask / normalize, 2, "the same, of normalization")


def child_seconds(module: str, *arguments: str) -> float:
    """Wall time of ``python -m module arguments``."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Print every figure, a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep the numbers in FOLDER/bench.json")
    out, kept = parser.parse_args().out, ResultNumbers()

    def write(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    volume_bench(write, network_bench(write, kept), kept, out)
    if out is not None:
        kept.write(out / "bench.json", "make bench")


if __name__ == "__main__":
    main()
