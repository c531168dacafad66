"""Local means over a region of a slice: slow maps on a coarse grid."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from scipy import sparse

from ..arrays import BoolArray, FloatArray

# Local moments of noise are taken at every fourth pixel and interpolated; they vary slowly.
STEP = 4
# Standard deviations after which a Gaussian ends.
TAIL = 4.5


class LocalMeans:
    """Local means over a region of a slice, at every fourth pixel, and linear interpolation back.

    Args:
        mask: (rows, columns), where values count.
    """

    def __init__(self, mask: BoolArray) -> None:
        self.mask = mask
        self._weight = mask.astype(np.float32)
        self._shares: dict[float, FloatArray] = {}

    def share(self, sigma: float) -> FloatArray:
        """Share (0 to 1) of the region in a Gaussian of ``sigma`` pixels round every fourth pixel."""
        if sigma not in self._shares:
            self._shares[sigma] = self._sampled(self._weight, sigma)
        return self._shares[sigma]

    def mean(self, values: FloatArray, sigma: float) -> FloatArray:
        """Gaussian mean of ``values`` (rows, columns) over the region: coarse grid; zero far from it."""
        return np.asarray(self._sampled(values * self._weight, sigma) / np.maximum(self.share(sigma), 1e-3), np.float32)

    def up(self, coarse: FloatArray) -> FloatArray:
        """(rows, columns) from the coarse grid."""
        down, across = (_interpolation(n) for n in self.mask.shape)
        return _both_ways(down, coarse.astype(np.float32), across, columns_first=True)

    def _sampled(self, values: FloatArray, sigma: float) -> FloatArray:
        down, across = (_sampling(n, sigma) for n in self.mask.shape)
        return _both_ways(down, values, across, columns_first=False)


def _both_ways(down: Any, values: FloatArray, across: Any, *, columns_first: bool) -> FloatArray:
    """down @ values @ across.T.

    Sparse products: dense ones would do ten times the work, and their threads would compete with those over slices.

    Args:
        down: sparse (new rows, rows).
        values: (rows, columns).
        across: sparse (new columns, columns).
        columns_first: which side is less work.
    """
    if columns_first:
        return np.asarray(down @ np.ascontiguousarray((across @ np.ascontiguousarray(values.T)).T))
    return np.ascontiguousarray((across @ np.ascontiguousarray((down @ values).T)).T)


@lru_cache(maxsize=32)
def _sampling(size: int, sigma: float) -> Any:
    """Sparse matrix (coarse, size): Gaussian mean round every fourth pixel."""
    distance = np.arange(0, size + STEP - 1, STEP)[:, None] - np.arange(size)[None, :]
    weight = np.where(np.abs(distance) <= TAIL * sigma, np.exp(-0.5 * (distance / sigma) ** 2), 0.0)
    return sparse.csr_array((weight / weight.sum(axis=1, keepdims=True)).astype(np.float32))


@lru_cache(maxsize=8)
def _interpolation(size: int) -> Any:
    """Sparse matrix (size, coarse): linear between every fourth pixel."""
    nodes = np.arange(0, size + STEP - 1, STEP)
    weight = np.maximum(0.0, 1.0 - np.abs(np.arange(size)[:, None] - nodes[None, :]) / STEP)
    return sparse.csr_array(weight.astype(np.float32))
