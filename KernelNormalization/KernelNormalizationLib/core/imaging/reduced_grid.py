"""Reduced grids: block means of a volume at lower resolution, and the way back to full resolution.

Every array is (k, j, i).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray, Spacing


@dataclass(frozen=True)
class ReducedGrid:
    """A grid whose voxels are blocks of full-resolution voxels; the last block along an axis may be smaller.

    Attributes:
        factors: full-resolution voxels per block along (k, j, i).
        full_shape: shape of the full-resolution grid.
        spacing: spacing of the reduced grid along (k, j, i), mm.
    """

    factors: tuple[int, int, int]
    full_shape: tuple[int, int, int]
    spacing: Spacing

    @classmethod
    def near(cls, shape: tuple[int, ...], spacing: Spacing, target_mm: float) -> ReducedGrid:
        """The grid with whole-numbered factors whose spacing is closest to ``target_mm`` (never finer than the full grid)."""
        f = [max(1, round(target_mm / s)) for s in spacing]
        reduced = (spacing[0] * f[0], spacing[1] * f[1], spacing[2] * f[2])
        return cls((f[0], f[1], f[2]), (shape[0], shape[1], shape[2]), reduced)

    def mean(self, full: NDArray[Any], low: float, high: float) -> FloatArray:
        """Block means, float32, of ``full`` (k, j, i) after clipping it to [low, high]."""
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
        """Bring the part ``box`` (full-resolution indices) of a reduced array to full resolution by repeating voxels."""
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
