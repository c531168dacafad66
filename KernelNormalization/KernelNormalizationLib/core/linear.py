"""Linear kernel transfer: the radial filter that turns one kernel's image into the B20f image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .kernels import TARGET_NUMBER, gain_to_b20f, kernel_number
from .sharpness import Sharpness, estimate_sharpness
from .volume import CTVolume, FloatArray

# Wider than the transfer's point response at every pixel size met, so that nothing reaches round the transform.
EDGE_PIXELS = 32


@dataclass(frozen=True)
class SourceKernel:
    """Which B-family kernel a volume is treated as.

    Attributes:
        number: sharpness number, 10 to 80.
        origin: ``tag`` (header), ``noise`` (estimated) or ``assumed`` (neither was there).
    """

    number: float
    origin: str

    def as_record(self) -> dict[str, Any]:
        """For provenance."""
        return {"source_kernel_number": round(self.number, 2), "source_kernel_from": self.origin}


# The paper's sharp kernel, for a volume that says nothing and shows no homogeneous tissue.
ASSUMED_NUMBER = 80.0


def source_kernel(volume: CTVolume, sharpness: Sharpness | None = None) -> SourceKernel:
    """The kernel of ``volume``: its Siemens tag if there is one, else what its noise says.

    Args:
        volume: the scan.
        sharpness: its noise colour if already estimated.
    """
    number = kernel_number(volume.acquisition.kernel)
    if number is not None and not volume.synthetic:
        return SourceKernel(float(number), "tag")
    sharpness = sharpness or estimate_sharpness(volume)
    if sharpness is None:
        return SourceKernel(ASSUMED_NUMBER, "assumed")
    return SourceKernel(sharpness.kernel_number, "noise")


Gain = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def b20f_gain(number: float) -> Gain:
    """Gain from kernel ``number`` to B20f as a function of in-plane frequency (lp/cm); none if it is no sharper."""
    if number <= TARGET_NUMBER:
        return np.ones_like
    return lambda frequency: gain_to_b20f(number, frequency)


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
    padded_shape = tuple(_fast_size(n + 2 * EDGE_PIXELS) for n in (rows, columns))
    response = _response(padded_shape, pixel_mm, gain)
    before = EDGE_PIXELS
    widths = ((before, padded_shape[0] - rows - before), (before, padded_shape[1] - columns - before))
    out = np.empty(hu.shape, np.float32)
    for k, image in enumerate(hu):
        mirrored = np.pad(image, widths, mode="symmetric")
        filtered = np.fft.irfft2(np.fft.rfft2(mirrored) * response, s=padded_shape)
        out[k] = filtered[before : before + rows, before : before + columns]
    return out


def _response(shape: tuple[int, ...], pixel_mm: tuple[float, float], gain: Gain) -> FloatArray:
    rows = np.fft.fftfreq(shape[0], pixel_mm[0] / 10.0)
    columns = np.fft.rfftfreq(shape[1], pixel_mm[1] / 10.0)
    radius = np.hypot(rows[:, None], columns[None, :])
    # The gain is smooth: a table finer than its samples saves evaluating it on every frequency.
    table = np.linspace(0.0, float(radius.max()), 2048)
    return np.asarray(np.interp(radius, table, gain(table)), np.float32)


def _fast_size(minimum: int) -> int:
    """Smallest size from ``minimum`` whose only prime factors are 2, 3 and 5."""
    size = minimum
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1
