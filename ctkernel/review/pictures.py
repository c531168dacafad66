"""Voxels as the browser draws them: whole HU in anatomical order, and the lungs as bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import BoolArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging.orientation import Canonical
from KernelNormalizationLib.core.volume import CTVolume

# Slices of one answer; larger ones would keep the page from drawing what it has.
MOST_SLICES = 32


def layout(volume: CTVolume) -> dict[str, Any]:
    """Size and spacing in canonical order: slices from feet to head, rows from front to back, columns to the patient's left."""
    frame = Canonical.of(volume.geometry)
    slices, rows, columns = frame.forward(volume.hu).shape
    first = volume.geometry.ijk_to_lps @ (*_stored_index(frame, volume), 1.0)
    return {
        "shape": [slices, rows, columns],
        "spacing_mm": list(frame.spacing),
        "first_slice_z_mm": float(first[2]),
    }


def hu_block(volume: CTVolume, first: int, last: int) -> bytes:
    """Slices ``first`` to ``last`` (exclusive, canonical order), int16 little-endian, each value rounded down to a whole HU.

    A voxel is below a whole-numbered threshold exactly if its rounded-down value is, so the overlay that the browser draws is
    the measured emphysema mask, voxel by voxel.

    Raises:
        InputError: no such slices.
    """
    block = _slices(Canonical.of(volume.geometry).forward(volume.hu), first, last)
    limits = np.iinfo(np.int16)
    rounded: NDArray[np.int16] = np.floor(np.clip(block, limits.min, limits.max)).astype("<i2")
    return rounded.tobytes()


def mask_block(mask: BoolArray, volume: CTVolume, first: int, last: int) -> bytes:
    """Slices of a lung mask (stored order of ``volume``), a bit a voxel, each slice padded to whole bytes.

    Raises:
        InputError: no such slices.
    """
    block = _slices(Canonical.of(volume.geometry).forward(mask), first, last)
    return np.packbits(block.reshape(block.shape[0], -1), axis=1).tobytes()


def _slices(array: Any, first: int, last: int) -> Any:
    if not 0 <= first < last <= array.shape[0] or last - first > MOST_SLICES:
        raise InputError(f"There are no slices {first} to {last}; the volume has {array.shape[0]}, {MOST_SLICES} at a time.")
    return array[first:last]


def _stored_index(frame: Canonical, volume: CTVolume) -> tuple[float, float, float]:
    """(i, j, k) of the first canonical voxel."""
    stored = [0, 0, 0]
    for canonical in frame.flips:
        axis = frame.axes[canonical]
        stored[axis] = volume.shape[axis] - 1
    return float(stored[2]), float(stored[1]), float(stored[0])
