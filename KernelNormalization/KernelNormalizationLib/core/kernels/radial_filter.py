"""Radial filters of slices: a gain against in-plane frequency, applied by Fourier transform in single precision."""

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
from ..volume import CTVolume

# Wider than the point response of every transfer used, so that nothing reaches round the transform.
EDGE_PIXELS = 32
# Between two looks at the cancel button.
REPORTED_SLICES = 16

Item = TypeVar("Item")
Result = TypeVar("Result")
Gain = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def apply_gain(hu: FloatArray, pixel_mm: tuple[float, float], gain: Gain) -> FloatArray:
    """Filter every slice with a radial gain.

    Args:
        hu: (k, j, i), HU.
        pixel_mm: (row, column) spacing, mm.
        gain: gain against frequency in lp/cm; 1 at zero keeps the mean HU.

    Returns:
        float32 (k, j, i), HU; edges are mirrored.
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
    """Filter every slice of ``volume`` (padding as air), telling ``progress``; float32 (k, j, i), HU."""
    pixel_mm = volume.geometry.spacing[1:]
    return map_slices(volume, lambda hu: apply_gain(hu, pixel_mm, gain), stage, progress)


def in_threads(compute: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None) -> Iterator[Result]:
    """``compute`` of every item in their order, several at a time: most of the work leaves Python, so that threads share it.

    Args:
        compute: called from several threads.
        items: what for.
        threads: how many at a time; one a core if absent.
    """
    with ThreadPoolExecutor(max_workers=threads or usable_cores()) as pool:
        yield from pool.map(compute, items)


def map_slices(volume: CTVolume, compute: Callable[[FloatArray], FloatArray], stage: str, progress: Progress) -> FloatArray:
    """Compute every slice of ``volume`` (padding as air) by itself, several at a time, telling ``progress``.

    Args:
        volume: the scan.
        compute: float32 (1, j, i), HU, of one slice to the same shape; called from several threads.
        stage: name for ``progress``.
        progress: advanced by finished slices.

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


# A volume's slices are filtered one by one, some three times, with the same response.
@lru_cache(maxsize=2)
def _response(shape: tuple[int, ...], pixel_mm: tuple[float, float], gain: Gain) -> FloatArray:
    rows = np.fft.fftfreq(shape[0], pixel_mm[0] / 10.0)
    columns = np.fft.rfftfreq(shape[1], pixel_mm[1] / 10.0)
    radius = np.hypot(rows[:, None], columns[None, :])
    # The gain is smooth: a table finer than its samples saves evaluating it on every frequency.
    table = np.linspace(0.0, float(radius.max()), 2048)
    return np.asarray(np.interp(radius, table, gain(table)), np.float32)
