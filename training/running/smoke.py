"""Tiny pairs and tiny runs: every part of training in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from KernelNormalizationLib.core.kernels.mtf import KERNELS
from KernelNormalizationLib.core.simulated_chest import SHARP, make_sample

from .config import TrainConfig
from ..simulate.kernel_family import nominal_kernel
from ..simulate.patient import SimulatedPatient, emphysema_index
from ..simulate.store import patient_path, write_patient

SHAPE, SPACING = (8, 128, 128), (30.0, 2.4, 2.4)
LUNG_SLICES = slice(1, 7)


def make_tiny_pairs(folder: Path, count: int) -> list[Path]:
    """``count`` coarse chests of six slices as patient files of ``folder``; those already there are kept.

    Returns:
        their paths.
    """
    paths = [patient_path(folder, index) for index in range(count)]
    for index, path in enumerate(paths):
        if not path.exists():
            write_patient(path, _tiny_patient(index))
    return paths


def _tiny_patient(index: int) -> SimulatedPatient:
    pair = make_sample(index + 1, SHAPE, SPACING)
    sharp, smooth = (volume.hu[LUNG_SLICES].astype(np.int16) for volume in (pair.sharp, pair.smooth))
    lung = pair.lungs[LUNG_SLICES].astype(np.uint8)
    meta = {
        "object": f"sample chest {index}",
        "sharp_kernel": nominal_kernel(SHARP).as_meta(),
        "smooth_kernel": {"name": "B20f", "number": KERNELS[20].number},
        "floor": {"kind": "truncated", "value": -1024.0},
        "padding": None,
        "dose": None,
        "pixel_mm": SPACING[1],
        "slice_mm": SPACING[0],
        "real_object": False,
        "true_ei": emphysema_index(smooth, lung),
    }
    return SimulatedPatient(sharp, smooth, lung, SPACING, meta)


def tiny(config: TrainConfig) -> TrainConfig:
    """The recipe with a few feature maps and steps."""
    small = replace(config, features=(4, 4, 8, 8), batch=2, patch=64, patches_per_patient=4)
    return replace(small, steps=4, epochs=min(config.epochs, 2), validate_every=2)
