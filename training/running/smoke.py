"""Tiny data and a tiny configuration, with which every part of training runs in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from KernelNormalizationLib.core.kernels.mtf import KERNELS
from KernelNormalizationLib.core.simulated_chest import SHARP, make_sample

from ..data.kernel_pair import KernelPair, PairRecord
from ..simulate.kernel_family import nominal_kernel
from ..simulate.patient import emphysema_index
from ..simulate.store import patient_path, write_patient
from .config import TrainConfig

SHAPE, SPACING = (8, 128, 128), (30.0, 2.4, 2.4)
LUNG_SLICES = slice(1, 7)


def make_tiny_pairs(folder: Path, count: int) -> list[Path]:
    """Write ``count`` coarse chests of six slices as patient files into ``folder``; existing ones are kept.

    Returns:
        the paths of the files.
    """
    paths = [patient_path(folder, index) for index in range(count)]
    for index, path in enumerate(paths):
        if not path.exists():
            write_patient(path, _tiny_patient(index))
    return paths


def _tiny_patient(index: int) -> KernelPair:
    pair = make_sample(index + 1, SHAPE, SPACING)
    sharp, smooth = (volume.hu[LUNG_SLICES].astype(np.int16) for volume in (pair.sharp, pair.smooth))
    lung = pair.lungs[LUNG_SLICES].astype(np.uint8)
    meta: PairRecord = {
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
    return KernelPair(sharp, smooth, lung, SPACING, meta)


def tiny(config: TrainConfig) -> TrainConfig:
    """The recipe with few feature maps and steps."""
    small = replace(config, features=(4, 4, 8, 8), batch=2, patch=64, patches_per_patient=4)
    return replace(small, steps=4, epochs=min(config.epochs, 2), validate_every=2)
