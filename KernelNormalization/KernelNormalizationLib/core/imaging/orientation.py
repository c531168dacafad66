"""Conversion of arrays between the stored and the canonical (anatomical) order of axes.

In *canonical* order, k increases towards the head, j towards the back and i towards the patient's left, as nearly as the stored
axes allow. Arrays are only transposed and flipped, so no voxel value changes and the conversion back is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import Spacing
from ..volume import Geometry


@dataclass(frozen=True)
class Canonical:
    """The exact conversion between stored and canonical order.

    Attributes:
        axes: ``axes[n]`` is the stored array axis that becomes canonical axis n (slice, row, column).
        flips: canonical axes that are reversed after the transposition.
        spacing: spacing along the canonical (k, j, i), mm.
    """

    axes: tuple[int, int, int]
    flips: tuple[int, ...]
    spacing: Spacing

    @classmethod
    def of(cls, geometry: Geometry) -> Canonical:
        """Match stored axes to the patient's LPS axes: the assignment with the largest sum of |direction cosines|."""
        cosines = np.asarray(geometry.direction, dtype=float)
        permutations = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
        # index_axis[n] is the (i, j, k) axis that runs along LPS axis n
        index_axis = max(permutations, key=lambda p: sum(abs(cosines[n, p[n]]) for n in range(3)))
        axes = (2 - index_axis[2], 2 - index_axis[1], 2 - index_axis[0])
        flips = tuple(2 - n for n in (2, 1, 0) if cosines[n, index_axis[n]] < 0)
        spacing = (geometry.spacing[axes[0]], geometry.spacing[axes[1]], geometry.spacing[axes[2]])
        return cls(axes, flips, spacing)

    def forward(self, stored: NDArray[Any]) -> NDArray[Any]:
        """A stored (k, j, i) array in canonical order, as a view."""
        turned: NDArray[Any] = stored.transpose(self.axes)
        return np.flip(turned, self.flips) if self.flips else turned

    def backward(self, canonical: NDArray[Any]) -> NDArray[Any]:
        """A canonical (k, j, i) array in stored order, as a contiguous copy."""
        unflipped = np.flip(canonical, self.flips) if self.flips else canonical
        inverse = np.argsort(self.axes)
        return np.ascontiguousarray(unflipped.transpose(tuple(int(a) for a in inverse)))
