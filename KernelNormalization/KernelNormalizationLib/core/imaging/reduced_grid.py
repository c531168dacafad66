"""Anatomically ordered views of a volume, reduced grids and the morphology that the segmentation needs.

Every array here is (k, j, i). *Canonical* order means that k grows towards the head, j towards the back and i towards
the patient's left, as nearly as the stored axes allow. Arrays are only transposed and flipped, so no voxel value
changes and the conversion back is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray, Spacing


@dataclass(frozen=True)
class ReducedGrid:
    """A grid whose voxels are blocks of full-resolution voxels; the last block of an axis may be smaller.

    Attributes:
        factors: full voxels in a block along (k, j, i).
        full_shape: shape of the full grid.
        spacing: mm of the reduced grid along (k, j, i).
    """

    factors: tuple[int, int, int]
    full_shape: tuple[int, int, int]
    spacing: Spacing

    @classmethod
    def near(cls, shape: tuple[int, ...], spacing: Spacing, target_mm: float) -> ReducedGrid:
        """The grid whose spacing comes nearest to ``target_mm`` by whole factors (never finer than the full grid)."""
        f = [max(1, round(target_mm / s)) for s in spacing]
        reduced = (spacing[0] * f[0], spacing[1] * f[1], spacing[2] * f[2])
        return cls((f[0], f[1], f[2]), (shape[0], shape[1], shape[2]), reduced)

    def mean(self, full: NDArray[Any], low: float, high: float) -> FloatArray:
        """Block means of ``full`` (k, j, i) clipped to [low, high], float32."""
        fk, fj, fi = self.factors
        slabs = []
        for start in range(0, self.full_shape[0], fk):
            slab = np.clip(full[start : start + fk], low, high, dtype=np.float32).mean(axis=0)
            slab = _block_mean(_block_mean(slab, fj, 0), fi, 1)
            slabs.append(slab)
        return np.stack(slabs)

    @property
    def everywhere(self) -> tuple[slice, slice, slice]:
        """The box of the whole full-resolution grid."""
        k, j, i = self.full_shape
        return slice(0, k), slice(0, j), slice(0, i)

    def expand(self, reduced: NDArray[Any], box: tuple[slice, slice, slice]) -> NDArray[Any]:
        """Full-resolution part ``box`` of a reduced array, each voxel repeated over its block."""
        index = [np.arange(s.start, s.stop) // f for s, f in zip(box, self.factors, strict=True)]
        expanded: NDArray[Any] = reduced[np.ix_(*index)]
        return expanded

    def full_box(self, box: tuple[slice, slice, slice]) -> tuple[slice, slice, slice]:
        """The full-resolution voxels that a box of reduced voxels covers."""
        full = [slice(s.start * f, min(s.stop * f, n)) for s, f, n in zip(box, self.factors, self.full_shape, strict=True)]
        return full[0], full[1], full[2]


def _block_mean(plane: FloatArray, factor: int, axis: int) -> FloatArray:
    if factor == 1:
        return plane
    starts = np.arange(0, plane.shape[axis], factor)
    counts = np.diff(np.append(starts, plane.shape[axis])).astype(np.float32)
    shape = [1, 1]
    shape[axis] = counts.size
    return (np.add.reduceat(plane, starts, axis=axis) / counts.reshape(shape)).astype(np.float32, copy=False)
