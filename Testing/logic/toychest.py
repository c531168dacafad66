"""Two boxes of lung with a block of emphysema: a chest whose indices are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from EmphysemaQuantLib.core.results import quantification
from EmphysemaQuantLib.core.results.measurement import Measurement

SHAPE = (16, 40, 48)
RIGHT_BOX = (slice(2, 14), slice(10, 30), slice(6, 20))
LEFT_BOX = (slice(2, 14), slice(10, 30), slice(28, 42))
HOLES = (slice(4, 8), slice(12, 22), slice(8, 15))
VOXEL_ML = 1.0 * 1.0 * 2.0 / 1000.0
EI_RIGHT = 100.0 * (4 * 10 * 7) / (12 * 20 * 14)


def chest_hu() -> np.ndarray:
    """Two boxes of lung in soft tissue; a block of emphysema in the right one only."""
    hu = np.full(SHAPE, 40.0, dtype=np.float32)
    for box in (RIGHT_BOX, LEFT_BOX):
        hu[box] = -860.0
    hu[HOLES] = -980.0
    hu[:, 0, 0] = 41.0  # a slice of a single value is refused as one that was never copied
    return hu


def lung_boxes() -> tuple[np.ndarray, np.ndarray]:
    right, left = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    right[RIGHT_BOX], left[LEFT_BOX] = True, True
    return right, left


def with_box_mask(volume: Any, compared: Any, mask: Any, threshold: float, progress: Any) -> Measurement:
    """The project's own quantification; only the automatic mask is replaced by the boxes' exact one."""
    return quantification.quantify(volume, compared, mask or quantification.supplied_mask(*lung_boxes()), threshold, progress)
