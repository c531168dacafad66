"""How scanners end the HU range below: clipped, folded, or not at all; then integers and padding."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
FloorKind = Literal["clipped", "folded", "none"]
HU_CEILING = 3071.0


@dataclass(frozen=True)
class Floor:
    """The lower end of the HU range.

    Attributes:
        kind: ``clipped`` (Siemens Sensation 10, Philips at -1024; a LIDC series at -1000), ``folded`` (a Siemens series
            whose air tails upward from the floor as if mirrored there), ``none`` (Toshiba).
        value: HU of the floor; ignored for ``none``.
        dead_zone: HU around the floor that a folding scanner sets to the floor. On the series measured, 7 % of outside air
            lies exactly on the floor with a folded standard deviation of 68 HU: 6 HU.
    """

    kind: FloorKind
    value: float = -1024.0
    dead_zone: float = 0.0

    def apply(self, hu: FloatArray) -> FloatArray:
        """``hu`` (any shape, HU) as the scanner stores it before rounding; a new array."""
        if self.kind == "none":
            open_below: FloatArray = np.minimum(hu, np.float32(HU_CEILING))
            return open_below
        if self.kind == "clipped":
            clipped: FloatArray = np.clip(hu, np.float32(self.value), np.float32(HU_CEILING))
            return clipped
        distance = np.abs(hu - np.float32(self.value))
        distance[(distance < self.dead_zone)] = 0.0
        folded: FloatArray = np.minimum(distance + np.float32(self.value), np.float32(HU_CEILING))
        return folded

    def as_meta(self) -> dict[str, Any]:
        """JSON-serializable description."""
        return asdict(self)


def to_integers(hu: FloatArray) -> NDArray[np.int16]:
    """Round to the nearest HU; int16 of the same shape."""
    return np.rint(hu).astype(np.int16)


def outside_circle(matrix: int) -> NDArray[np.bool_]:
    """Boolean (matrix, matrix): pixels outside the circle inscribed in the image, where scanners write padding."""
    offsets = np.arange(matrix) - 0.5 * (matrix - 1)
    outside: NDArray[np.bool_] = np.hypot(offsets[:, None], offsets[None, :]) > 0.5 * matrix
    return outside
