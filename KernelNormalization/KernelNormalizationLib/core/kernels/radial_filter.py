"""Radial filters for slices: a gain that depends on in-plane frequency, applied by Fourier transform in single precision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..arrays import FloatArray
from ..cores import usable_cores
from ..errors import InputError
from ..progress import Progress
from ..stopping import carried
from ..volume import CTVolume

# Mirrored margin. It is wider than the point-spread function of every filter in use, so that the periodic Fourier transform
# does not carry one edge of the image over to the opposite one.
EDGE_PIXELS = 32
# Slices between two reports of progress, and so between two checks for cancellation.
REPORTED_SLICES = 16

Item = TypeVar("Item")
Result = TypeVar("Result")
Gain = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def apply_gain(hu: FloatArray, pixel_mm: tuple[float, float], gain: Gain) -> FloatArray:
    """Filter every slice with a radial gain (the same in every in-plane direction).

    Args:
        hu: (k, j, i), HU.
        pixel_mm: (row, column) spacing, mm.
        gain: gain as a function of frequency in lp/cm; a gain of 1 at zero frequency keeps the mean HU.

    Returns:
        float32 (k, j, i), HU. Slices are continued by mirroring at their edges.
    """
    if hu.ndim != 3:
        raise InputError(f"The filter takes slices (k, j, i), not an array of shape {hu.shape}.")
    rows, columns = hu.shape[1:]
    padded_shape = tuple(fft.next_fast_len(n + 2 * EDGE_PIXELS, real=True) for n in (rows, columns))
    response = _response(padded_shape, pixel_mm, gain)
    before = EDGE_PIXELS
    widths = ((before, padded_shape[0] - rows - before), (before, padded_shape[1] - columns - before))
    out = np.empty(hu.shape, np.float32)
    for k, image in enumerate(hu):
        spectrum = fft.rfft2(np.pad(np.asarray(image, np.float32), widths, mode="symmetric"))
        spectrum *= response
        filtered = fft.irfft2(spectrum, s=padded_shape, overwrite_x=True)
        out[k] = filtered[before : before + rows, before : before + columns]
    return out


def filter_slices(volume: CTVolume, gain: Gain, stage: str, progress: Progress) -> FloatArray:
    """Filter every slice of ``volume``, with padding as air, and report to ``progress``; float32 (k, j, i), HU."""
    pixel_mm = volume.geometry.spacing[1:]
    return map_slices(volume, lambda hu: apply_gain(hu, pixel_mm, gain), stage, progress)


def in_threads(compute: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None) -> Iterator[Result]:
    """Yield ``compute(item)`` for every item, in order, computed by several threads.

    Threads help although Python runs one at a time, because numpy, scipy and SimpleITK release Python's lock while they
    compute.

    Args:
        compute: function of one item; called from several threads.
        items: its arguments.
        threads: number of threads; default: one per core.

    Raises:
        Cancelled: the calling thread is within :func:`~..stopping.stoppable` and was asked to stop.
    """
    with ThreadPoolExecutor(max_workers=threads or usable_cores()) as pool:
        yield from pool.map(carried(compute), items)


def map_slices(volume: CTVolume, compute: Callable[[FloatArray], FloatArray], stage: str, progress: Progress) -> FloatArray:
    """Apply a function to every slice of ``volume``, with padding as air, in several threads, and report to ``progress``.

    Args:
        volume: the scan.
        compute: takes one slice, float32 (1, j, i), HU, and returns the same shape; called from several threads.
        stage: name of the step for ``progress``.
        progress: advanced by the number of finished slices.

    Returns:
        float32 (k, j, i).
    """
    hu = volume.filled()
    out = np.empty_like(hu)
    progress.start(stage, len(hu))
    for first in range(0, len(hu), REPORTED_SLICES):
        part = range(first, min(first + REPORTED_SLICES, len(hu)))
        out[part.start : part.stop] = list(in_threads(lambda k: compute(hu[k : k + 1])[0], part))
        progress.advance(len(part))
    return out


# Cached, because every slice of a volume is filtered with the same response, some up to three times.
@lru_cache(maxsize=2)
def _response(shape: tuple[int, ...], pixel_mm: tuple[float, float], gain: Gain) -> FloatArray:
    rows = np.fft.fftfreq(shape[0], pixel_mm[0] / 10.0)
    columns = np.fft.rfftfreq(shape[1], pixel_mm[1] / 10.0)
    radius = np.hypot(rows[:, None], columns[None, :])
    # The gain is smooth, so interpolating a fine table is exact enough and faster than evaluating it at every frequency.
    table = np.linspace(0.0, float(radius.max()), 2048)
    return np.asarray(np.interp(radius, table, gain(table)), np.float32)
