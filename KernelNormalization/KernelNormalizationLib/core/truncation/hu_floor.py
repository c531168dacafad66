"""The value below which a scanner stored no HU, found in the volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..arrays import BoolArray, FloatArray
from .model import AT_FLOOR_HU

# The noise's lower tail is stored at the floor: more voxels than at each of the next HU values (2 to 400 times if clipped;
# where clipped images were averaged 7 to 8 times), or at least a pile of voxels in the lowest 11 HU (2e-2 and more of the
# volume), where an untruncated tail thins out (1e-6).
FLOOR_SPIKE, EDGE_SHARE = 2.0, 1e-4
MINIMUM_FLOOR_SHARE = 1e-5
NEVER_HU = -1e6

FloorKind = Literal["truncated", "none"]


@dataclass(frozen=True)
class HUFloor:
    """Whether, and where, a series was cut off from below.

    Attributes:
        kind: ``truncated`` or ``none``.
        value: the floor, HU; the lowest value present for ``none``.
        noisy: whether values go on just above it, as where noise was cut off; not so in a phantom without noise.
    """

    kind: FloorKind
    value: float
    noisy: bool = True

    @property
    def threshold(self) -> float:
        """HU at or below which a voxel counts as stored at the floor; far below any HU when there is none."""
        return NEVER_HU if self.kind == "none" else self.value + AT_FLOOR_HU

    def cut_off_all_below(self, hu: float) -> bool:
        """Whether every value below ``hu`` (HU) was cut off, so that nothing can be measured there."""
        return self.kind == "truncated" and self.value >= hu


def detect_floor(hu: FloatArray, padding: BoolArray) -> HUFloor:
    """HU floor of a volume (k, j, i), padding voxels left out."""
    values = hu[~padding] if padding.any() else hu.reshape(-1)
    lowest = float(values.min())
    at_floor = int(np.count_nonzero(values < lowest + 1.0))
    near = int(np.count_nonzero(values < lowest + 11.0)) - at_floor
    spike = at_floor >= MINIMUM_FLOOR_SHARE * values.size and at_floor >= FLOOR_SPIKE * max(near / 10.0, 1.0)
    truncated = spike or at_floor + near >= EDGE_SHARE * values.size
    return HUFloor("truncated" if truncated else "none", lowest, noisy=near > 0)


def floor_mask(hu: FloatArray, floor: HUFloor) -> BoolArray:
    """Voxels (k, j, i) stored at the floor; all false when there is no floor."""
    if floor.kind == "none":
        return np.zeros(hu.shape, dtype=bool)
    mask: BoolArray = hu == np.float32(floor.value)  # only padding is below it
    return mask


def floor_share(hu: FloatArray, floor: HUFloor, region: BoolArray) -> float:
    """Share (0 to 1) of the voxels of ``region`` (k, j, i) stored at the floor; 0 for an empty region."""
    count = int(np.count_nonzero(region))
    return float(np.count_nonzero(floor_mask(hu, floor) & region)) / count if count else 0.0
