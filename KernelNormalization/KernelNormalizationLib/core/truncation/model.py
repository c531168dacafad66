"""The one floor mechanism: images of the same place, each cut off at the HU floor, then averaged to the stored slice.

A plain clip is one image. A slice that was interpolated between two truncated ones is two with unequal weights. Siemens'
multi-slice reconstruction averages several thinner or tilted images that were cut off before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import LOWEST_STORED_HU, FloatArray
from ..errors import InputError

# Voxels within this distance of the floor count as stored at it: values are rounded to whole HU.
AT_FLOOR_HU = 0.5


@dataclass(frozen=True)
class Truncation:
    """How a stored slice came about from the images that were cut off.

    Attributes:
        floor_hu: value at which each image was cut off, HU.
        weights: share of every image in the stored slice; positive, sum 1.
        correlation: of the images' noise with each other, 0 to below 1.
    """

    floor_hu: float = LOWEST_STORED_HU
    weights: tuple[float, ...] = (1.0,)
    correlation: float = 0.0

    def __post_init__(self) -> None:
        if not self.weights or min(self.weights) <= 0.0 or abs(sum(self.weights) - 1.0) > 1e-6:
            raise InputError(f"The weights of the averaged images are {self.weights}; they must be positive with sum 1.")
        if not 0.0 <= self.correlation < 1.0:
            raise InputError(f"The correlation of the averaged images is {self.correlation}; it must lie in 0 to below 1.")

    @classmethod
    def of_equal_images(cls, count: int, correlation: float = 0.0, floor_hu: float = LOWEST_STORED_HU) -> Truncation:
        """``count`` images of equal weight."""
        return cls(floor_hu, (1.0 / count,) * count, correlation if count > 1 else 0.0)

    @property
    def images(self) -> int:
        """How many images were averaged."""
        return len(self.weights)

    @property
    def noise_ratio(self) -> float:
        """Noise SD of the average relative to that of one image, before truncation."""
        squares = sum(w * w for w in self.weights)
        return math.sqrt(squares + self.correlation * (1.0 - squares))

    def store(self, images: FloatArray) -> FloatArray:
        """The stored slice, float32 (...), of ``images`` (image, ...), HU before truncation; not rounded."""
        cut = np.maximum(images, np.float32(self.floor_hu))
        stored: FloatArray = np.tensordot(np.asarray(self.weights, np.float32), cut, axes=1)
        return stored

    def as_record(self) -> dict[str, Any]:
        """JSON-serializable description."""
        return {"floor_hu": self.floor_hu, "weights": [round(w, 4) for w in self.weights], "correlation": self.correlation}
