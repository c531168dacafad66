"""Checks for a machine with an NVIDIA GPU, in one command: ``python -m Testing.cuda_check``.

CUDA tests, agreement with the CPU, and seconds a chest, printed and, with ``--out FILE``, written as JSON, from which the
documents take their numbers. With ``--device cpu`` the same code runs without a GPU, so that it can be tried anywhere; its
times then say nothing of a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.imaging.body import find_body
from KernelNormalizationLib.core.io.writing import atomic_path
from KernelNormalizationLib.core.kernels.transfer import find_transfer
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.methods.restored import restoration
from KernelNormalizationLib.core.network.backends import Backend, TorchBackend, available_cpu_backends, create_cpu_backend
from KernelNormalizationLib.core.network.model_folder import Model, list_models, load_model
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.simulated_chest import make_sample
from KernelNormalizationLib.core.truncation.hu_floor import detect_floor
from KernelNormalizationLib.core.volume import CTVolume

# The README's promises: fp32 is the same wherever it is computed; what is faster stays close where emphysema is decided.
SAME_HU, NEAR_HU = 0.01, 0.5
EMPHYSEMA_HU, NEIGHBOURHOOD_HU = -950.0, 50.0
SIDE, SPACING_MM = 512, (1.0, 0.7, 0.7)
COMPARED_SLICES = 8
# On a CPU the faster type is there to be tried, and to be refused where it is too far off.
AUTOCAST = {"cuda": "float16", "cpu": "bfloat16"}
CUDA_TESTS = ("Testing/core/test_backends.py", "Testing/training/test_runs.py")
ROOT = Path(__file__).resolve().parents[1]

Write = Callable[[str], object]
Numbers = dict[str, float | int | str | bool]


def run_cuda_tests(write: Write) -> bool:
    """The tests that need a GPU; whether they passed."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-k",
        "cuda",
        "Testing/core/test_backends.py",
        "Testing/training/test_runs.py",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    write(f"CUDA tests: {done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()[-200:]}")
    return done.returncode == 0


def network_inputs(volume: CTVolume, model: Model) -> list[FloatArray]:
    """What ``model`` sees of the first slices, each float32 (n, 1, rows, columns), HU."""
    region = find_body(volume)
    floor = detect_floor(volume.hu, volume.padding_mask)
    restored = restoration(volume, region, floor, find_transfer(volume, region).gain)
    part = slice(0, COMPARED_SLICES)
    base, lost = restored.of(part)
    seen = {"sharp": volume.filled()[part], "base": base, "lost": lost}
    return [np.ascontiguousarray(seen[name][:, None]) for name in model.inputs]


def agreement(model: Model, volume: CTVolume, device: str, write: Write) -> Numbers:
    """How far fp32 and the faster type on ``device`` are off another library on the CPU, HU; whether they keep their limits."""
    images = network_inputs(volume, model)
    reference = create_cpu_backend(next(n for n in available_cpu_backends() if n != "torch"), model)
    expected = _slice_by_slice(reference, images)
    near = np.abs(expected - EMPHYSEMA_HU) < NEIGHBOURHOOD_HU
    numbers: Numbers = {"reference": reference.name, "kept": True}
    for name, asked, limit, where in (
        ("fp32", "float32", SAME_HU, np.ones_like(near)),
        ("faster", AUTOCAST[device], NEAR_HU, near),
    ):
        backend = TorchBackend(model, device, asked)
        off = float(np.abs(_slice_by_slice(backend, images) - expected)[where].max())
        kept = off <= limit
        numbers |= {f"{name}_hu": off, f"{name}_used": backend.precision, "kept": numbers["kept"] and kept}
        used = "" if backend.precision == {"float32": "fp32"}.get(asked, asked) else f", refused for {backend.precision}"
        write(
            f"{model.id}: {asked}{used} on {device} is {off:.4f} HU off {reference.name} (at most {limit:g}): "
            f"{'kept' if kept else 'NOT KEPT'}"
        )
    return numbers


def _slice_by_slice(backend: Backend, images: list[FloatArray]) -> FloatArray:
    return np.concatenate([backend.run(*(image[k : k + 1] for image in images)) for k in range(len(images[0]))])


def seconds_a_chest(model: Model, volume: CTVolume, device: str, write: Write) -> Numbers:
    """Time and memory of a whole normalization, after one that warms up."""
    normalizer = create_normalizer("unet", model=model.id, device=device)  # type: ignore[arg-type]
    normalizer.normalize(_first_slices(volume, COMPARED_SLICES), ProgressTracker())
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    record = normalizer.normalize(volume, ProgressTracker()).record
    taken = time.perf_counter() - started
    numbers: Numbers = {"seconds": taken, "precision": str(record["precision"]), "batch": int(record["batch"])}
    memory = ""
    if device == "cuda":
        numbers["gib"] = torch.cuda.max_memory_allocated() / 1024**3
        memory = f", {numbers['gib']:.2f} GiB of its memory"
    shape = " x ".join(str(n) for n in volume.shape[::-1])
    write(
        f"{model.id}: {shape} in {taken:.1f} s on {device} ({record['backend']}, {record['precision']}, "
        f"batch {record['batch']}){memory}"
    )
    return numbers


def _first_slices(volume: CTVolume, count: int) -> CTVolume:
    return CTVolume(volume.hu[:count], volume.geometry, volume.acquisition, volume.padding_value, volume.name)


def checks(device: str, slices: int, write: Write) -> Iterator[tuple[str, Numbers]]:
    """Every check in turn: its name and what it found; ``kept`` says whether it held."""
    if device == "cuda":
        write(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
        yield "tests", {"kept": run_cuda_tests(write)}
    volume = make_sample(1, (slices, SIDE, SIDE), (300.0 / slices, *SPACING_MM[1:])).sharp
    middle = volume.hu[slices // 2 - COMPARED_SLICES // 2 :]
    compared = CTVolume(middle, volume.geometry, volume.acquisition, volume.padding_value, volume.name)
    for name in list_models():
        model = load_model(name)
        yield name, {**agreement(model, compared, device, write), **seconds_a_chest(model, volume, device, write)}


def machine(device: str) -> Numbers:
    """What the checks ran on."""
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return {"name": name, "cores": os.cpu_count() or 1, "torch": torch.__version__, "cuda": str(torch.version.cuda)}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when every limit is kept, 1 when one is not, 2 without the device."""
    parser = argparse.ArgumentParser("python -m Testing.cuda_check", description=__doc__)
    parser.add_argument("--device", choices=sorted(AUTOCAST), default="cuda", help="cpu tries the script itself")
    parser.add_argument("--slices", type=int, default=300, help="of the simulated chest, 16 or more (default: 300)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write what was found there, as JSON")
    options = parser.parse_args(arguments)

    def write(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    if options.device == "cuda" and not torch.cuda.is_available():
        write("torch finds no CUDA GPU here; try the script itself with --device cpu --slices 16.")
        return 2
    if options.slices < 2 * COMPARED_SLICES:
        write(f"--slices is {options.slices}; give at least {2 * COMPARED_SLICES}.")
        return 2
    found = dict(checks(options.device, options.slices, write))
    if options.out:
        content = {"machine": machine(options.device), "slices": options.slices, "side": SIDE, "checks": found}
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")
    return 0 if all(numbers["kept"] for numbers in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
