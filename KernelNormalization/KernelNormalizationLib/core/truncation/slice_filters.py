"""Several radial filters of one slice from one forward transform, in single precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft

from ..arrays import FloatArray
from ..kernels.radial_filter import EDGE_PIXELS, Gain

# The gains are smooth, so they are read from a fine table instead of being evaluated at every frequency.
TABLE_SAMPLES = 2048


class SliceFilters:
    """Filters for slices of one shape; edges are mirrored.

    Args:
        shape: (rows, columns).
        pixel_mm: (row, column) spacing, mm.
        gains: gain against in-plane frequency (lp/cm), one a filter.
    """

    def __init__(self, shape: tuple[int, int], pixel_mm: tuple[float, float], gains: Sequence[Gain]) -> None:
        self._shape = shape
        self._padded = tuple(fft.next_fast_len(n + 2 * EDGE_PIXELS, real=True) for n in shape)
        rows = np.fft.fftfreq(self._padded[0], pixel_mm[0] / 10.0)
        columns = np.fft.rfftfreq(self._padded[1], pixel_mm[1] / 10.0)
        radius = np.hypot(rows[:, None], columns[None, :])
        table = np.linspace(0.0, float(radius.max()), TABLE_SAMPLES)
        self._responses = [np.interp(radius, table, gain(table)).astype(np.float32) for gain in gains]

    def __call__(self, image: FloatArray, *which: int) -> list[FloatArray]:
        """``image`` (rows, columns) through the filters of these numbers, float32."""
        widths = [(EDGE_PIXELS, padded - size - EDGE_PIXELS) for size, padded in zip(self._shape, self._padded, strict=True)]
        spectrum = fft.rfft2(np.pad(np.asarray(image, np.float32), widths, mode="symmetric"))
        inside = tuple(slice(EDGE_PIXELS, EDGE_PIXELS + size) for size in self._shape)
        return [fft.irfft2(spectrum * self._responses[n], s=self._padded)[inside] for n in which]
