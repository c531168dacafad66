"""Padding outside the field of view, and the floor below which the scanner stored no HU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .volume import BoolArray, FloatArray

LOWEST_STORED_HU = -1024.0
# Padding is one exact value on many voxels: at least this share of the volume, and this many times the voxels found in
# the 24 HU above it (image noise is continuous; padding of the visible scans has none there).
PADDING_SHARE = 1e-4
PADDING_SPIKE = 10.0
# A clipped floor collects the whole lower tail in one value: more than the next HU values hold each by this factor
# (measured: 58 and 400 on clipped Philips series; 8 on a Siemens series whose tail is mirrored or averaged after clipping).
CLIP_SPIKE = 15.0
# Little noise leaves a lower spike (clipped Gaussian of SD 15 to 20 HU about -1000: 5 to 9), but above it the counts then rise
# steeply; above a mirrored floor they are level (measured: 1.00) and there is hardly a spike.
LOW_NOISE_SPIKE, LOW_NOISE_RISE = 2.0, 0.9
# Share of all voxels in the lowest 11 HU: an untruncated tail thins out (measured 1e-6), a floor piles up (2e-2 and more).
EDGE_SHARE = 1e-4
MINIMUM_FLOOR_SHARE = 1e-5

# A folded floor spreads its values upwards; this near to it a voxel was more likely truncated than not.
FOLDED_BAND = 8.0
NEVER_HU = -1e6

FloorKind = Literal["clipped", "folded", "none"]


@dataclass(frozen=True)
class HUFloor:
    """How a series treats values below its lowest stored HU.

    Attributes:
        kind: ``clipped`` (set to the floor), ``folded`` (piled up above it, as by mirroring) or ``none``.
        value: the floor, HU; the lowest value present for ``none``.
    """

    kind: FloorKind
    value: float

    @property
    def threshold(self) -> float:
        """HU at or below which a voxel counts as truncated; far below any HU when nothing is."""
        if self.kind == "none":
            return NEVER_HU
        return self.value + (FOLDED_BAND if self.kind == "folded" else 0.5)


def detect_padding(hu: FloatArray, declared: float | None = None) -> float | None:
    """HU value that marks voxels outside the field of view, ``None`` if there is none.

    Args:
        hu: (k, j, i), HU.
        declared: padding value of the header (HU); trusted if it lies below -1024 and occurs.

    A value at or above -1024 is never padding: there it cannot be told from truncated air.
    """
    if declared is not None and declared < LOWEST_STORED_HU and bool(np.any(hu == np.float32(declared))):
        return declared
    lowest = float(hu.min())
    if lowest >= LOWEST_STORED_HU:
        return None
    spike = int(np.count_nonzero(hu == np.float32(lowest)))
    above = int(np.count_nonzero((hu > lowest) & (hu <= lowest + 24.0)))
    return lowest if spike >= PADDING_SHARE * hu.size and spike >= PADDING_SPIKE * above else None


def detect_floor(hu: FloatArray, padding: BoolArray) -> HUFloor:
    """Kind and value of the HU floor of a volume (k, j, i), padding voxels left out."""
    values = hu[~padding] if padding.any() else hu.reshape(-1)
    lowest = float(values.min())
    at_floor = int(np.count_nonzero(values < lowest + 1.0))
    near = int(np.count_nonzero(values < lowest + 11.0)) - at_floor
    further = int(np.count_nonzero(values < lowest + 21.0)) - at_floor - near
    spike = CLIP_SPIKE if near >= LOW_NOISE_RISE * further else LOW_NOISE_SPIKE
    if at_floor >= MINIMUM_FLOOR_SHARE * values.size and at_floor >= spike * max(near / 10.0, 1.0):
        return HUFloor("clipped", lowest)
    return HUFloor("folded" if at_floor + near >= EDGE_SHARE * values.size else "none", lowest)


def floor_mask(hu: FloatArray, floor: HUFloor) -> BoolArray:
    """Voxels (k, j, i) stored at the floor; all false when there is no floor."""
    if floor.kind == "none":
        return np.zeros(hu.shape, dtype=bool)
    mask: BoolArray = hu == np.float32(floor.value)  # below it lies padding only
    return mask


def floor_share(hu: FloatArray, floor: HUFloor, region: BoolArray) -> float:
    """Share (0 to 1) of the voxels of ``region`` (k, j, i) stored at the floor; 0 for an empty region."""
    count = int(np.count_nonzero(region))
    return float(np.count_nonzero(floor_mask(hu, floor) & region)) / count if count else 0.0
