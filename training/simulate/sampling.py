"""Signal chain: an object on a fine grid is blurred by the transfer of a kernel and sampled at the pixel centres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from KernelNormalizationLib.core.arrays import FloatArray

Mtf = Callable[[ArrayLike], NDArray[np.float64]]

# Blur by detector aperture and focal spot at the isocentre, mm; it affects the object, not the noise. The values are not
# published. With these, the transfer fitted to the published noise spectrum gives B30f its published 50 % and 10 % points of
# the object transfer (3.5 and 6.0 lp/cm).
DETECTOR_APERTURE = 0.60
FOCUS_WIDTH = 0.20
# The object is sampled twice as finely as the image. At pixels of 0.5 to 0.95 mm the fine grid holds 10 to 20 lp/cm, more than
# the sharpest kernel passes; so taking every second sample produces the same aliasing as a reconstruction.
OVERSAMPLING = 2
# Blurring by FFT is periodic, so the grid has a margin. Beyond 8 pixels the impulse response of every kernel is below 0.1 %.
MARGIN_PIXELS = 8


@dataclass(frozen=True)
class Grid:
    """Positions of the image pixels.

    Attributes:
        z: slice positions, mm, cranial positive.
        pixel: pixel size, mm.
        matrix: number of rows and of columns.
        centre: (y, x) of the image centre, mm from the isocentre; y runs posteriorly, x to the patient's left.
    """

    z: tuple[float, ...]
    pixel: float
    matrix: int
    centre: tuple[float, float] = (0.0, 0.0)

    def fine(self) -> Grid:
        """The object grid: half the pixel size, with a margin; sample [2 (j + margin), 2 (i + margin)] lies on pixel (j, i)."""
        step = self.pixel / OVERSAMPLING
        size = (self.matrix + 2 * MARGIN_PIXELS) * OVERSAMPLING
        # The centre of an even grid lies between samples; this shift places every second sample on a pixel centre.
        shift = 0.5 * (OVERSAMPLING - 1) * step
        return Grid(self.z, step, size, (self.centre[0] + shift, self.centre[1] + shift))

    def axes(self) -> tuple[FloatArray, FloatArray]:
        """(y, x): float32 coordinates (matrix,) of rows and columns, mm."""
        offsets = (np.arange(self.matrix) - 0.5 * (self.matrix - 1)) * self.pixel
        return (offsets + self.centre[0]).astype(np.float32), (offsets + self.centre[1]).astype(np.float32)


def radial_frequency(size: int, step: float) -> NDArray[np.float64]:
    """In-plane frequency (lp/cm) of each coefficient of ``rfft2`` of a (size, size) image with ``step`` mm pixels."""
    fy = np.fft.fftfreq(size, step / 10.0)
    fx = np.fft.rfftfreq(size, step / 10.0)
    radius: NDArray[np.float64] = np.hypot(fy[:, None], fx[None, :])
    return radius


def detector_blur(frequency: ArrayLike) -> NDArray[np.float64]:
    """Transfer of detector aperture and focal spot at ``frequency`` (lp/cm), 1 at zero, the same for every kernel."""
    f = np.asarray(frequency, dtype=np.float64) / 10.0
    blur: NDArray[np.float64] = np.sinc(DETECTOR_APERTURE * f) * np.sinc(FOCUS_WIDTH * f)
    return blur


def to_pixels(fine: NDArray[Any]) -> NDArray[Any]:
    """Sample an array on the fine grid (..., rows, columns) at the pixel centres, without the margin."""
    m = MARGIN_PIXELS
    coarse = fine[..., ::OVERSAMPLING, ::OVERSAMPLING]
    return coarse[..., m:-m, m:-m]


class SignalChain:
    """Blurs slices on the fine grid with the detector and several kernels, with one forward Fourier transform for all.

    Args:
        grid: the image grid.
        kernels: transfer functions (lp/cm to gain) without the blur of the detector.
    """

    def __init__(self, grid: Grid, kernels: tuple[Mtf, ...]) -> None:
        fine = grid.fine()
        f = radial_frequency(fine.matrix, fine.pixel)
        table = np.linspace(0.0, float(f.max()), 4096)
        self._gains = [np.interp(f, table, mtf(table) * detector_blur(table)).astype(np.float32) for mtf in kernels]

    def __call__(self, fine: FloatArray) -> list[FloatArray]:
        """Reconstruct one noise-free slice.

        Args:
            fine: float32 (rows, columns) on ``grid.fine()``, HU.

        Returns:
            for every kernel one float32 (matrix, matrix), HU.
        """
        spectrum = fft.rfft2(fine + np.float32(1000.0))
        images = []
        for gain in self._gains:
            blurred = fft.irfft2(spectrum * gain, s=fine.shape)
            images.append(np.asarray(to_pixels(blurred) - np.float32(1000.0), dtype=np.float32))
        return images
