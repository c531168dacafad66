"""Parallel-beam projection and back-projection of one slice, compiled.

Lengths are millimetres; the isocentre is the origin; ``x`` runs along columns and ``y`` along rows. A ray of view angle
``t`` and offset ``s`` is the line x cos t + y sin t = s.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import FloatArray

ComplexArray = NDArray[np.complex64]


def _forward(image: FloatArray, pixel: float, angles: FloatArray, offsets: FloatArray, out: FloatArray) -> None:
    rows, columns = image.shape
    cy, cx = 0.5 * (rows - 1), 0.5 * (columns - 1)
    steps = math.ceil(math.hypot(rows, columns)) + 1
    for v in range(angles.size):
        c, s = math.cos(angles[v]), math.sin(angles[v])
        for d in range(offsets.size):
            total = 0.0
            for n in range(steps):
                along = (n - 0.5 * (steps - 1)) * pixel
                i = (offsets[d] * c - along * s) / pixel + cx
                j = (offsets[d] * s + along * c) / pixel + cy
                if i < 0.0 or j < 0.0 or i >= columns - 1 or j >= rows - 1:
                    continue
                i0, j0 = int(i), int(j)
                wi, wj = i - i0, j - j0
                upper = image[j0, i0] * (1.0 - wi) + image[j0, i0 + 1] * wi
                lower = image[j0 + 1, i0] * (1.0 - wi) + image[j0 + 1, i0 + 1] * wi
                total += upper * (1.0 - wj) + lower * wj
            out[v, d] = total * pixel


def _backward(
    filtered: ComplexArray,
    angles: FloatArray,
    spacing: float,
    pixel: float,
    centre: tuple[float, float],
    out: ComplexArray,
) -> None:
    centre_y, centre_x = centre
    rows, columns = out.shape
    channels = filtered.shape[1]
    middle = 0.5 * (channels - 1)
    weight = math.pi / angles.size
    for v in range(angles.size):
        c, s = math.cos(angles[v]), math.sin(angles[v])
        step = pixel * c / spacing
        line = filtered[v]
        for j in range(rows):
            y = centre_y + (j - 0.5 * (rows - 1)) * pixel
            start = ((centre_x - 0.5 * (columns - 1) * pixel) * c + y * s) / spacing + middle
            for i in range(columns):
                t = start + i * step
                n = int(t)
                if t < 0.0 or n >= channels - 1:
                    continue
                w = np.float32(t - n)
                out[j, i] += line[n] + (line[n + 1] - line[n]) * w
    for j in range(rows):
        for i in range(columns):
            out[j, i] *= weight


_forward_compiled: Callable[..., None] = numba.njit(cache=True, fastmath=True)(_forward)
_backward_compiled: Callable[..., None] = numba.njit(cache=True, fastmath=True)(_backward)


def forward_project(image: FloatArray, pixel: float, angles: FloatArray, offsets: FloatArray) -> FloatArray:
    """Line integrals of ``image`` (rows, columns; 1/mm) sampled bilinearly at steps of one pixel.

    Args:
        image: float32 (rows, columns), centred on the isocentre, values per mm.
        pixel: mm.
        angles: float32 (views), radians.
        offsets: float32 (channels), mm from the isocentre.

    Returns:
        float32 (views, channels), dimensionless.
    """
    out = np.zeros((angles.size, offsets.size), np.float32)
    _forward_compiled(np.ascontiguousarray(image, np.float32), pixel, angles, offsets, out)
    return out


def back_project(
    filtered: ComplexArray,
    angles: FloatArray,
    spacing: float,
    pixel: float,
    matrix: int,
    centre: tuple[float, float] = (0.0, 0.0),
) -> ComplexArray:
    """Sum of filtered projections over views covering pi, linearly interpolated, for two kernels at once.

    Args:
        filtered: complex64 (views, channels); the real part holds one kernel's projections, the imaginary the other's.
        angles: float32 (views), radians.
        spacing: mm between channels; the isocentre lies between the two middle channels or on the middle one.
        pixel: mm.
        matrix: rows and columns of the image.
        centre: (y, x) of the image centre, mm from the isocentre.

    Returns:
        complex64 (matrix, matrix) in units of ``filtered`` x pi / views summed.
    """
    out = np.zeros((matrix, matrix), np.complex64)
    _backward_compiled(filtered, angles, spacing, pixel, centre, out)
    return out
