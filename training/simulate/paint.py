"""Compiled functions that paint tubes and holes, with partial volume at their borders, into slices on the fine grid."""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np

from KernelNormalizationLib.core.arrays import FloatArray

from .sampling import Grid


def _tubes(
    cover: FloatArray, z: FloatArray, corner: tuple[float, float], pixel: float, ends: FloatArray, radii: FloatArray
) -> None:
    y0, x0 = corner
    slices, rows, columns = cover.shape
    for n in range(radii.size):
        az, ay, ax = ends[n, 0, 0], ends[n, 0, 1], ends[n, 0, 2]
        dz, dy, dx = ends[n, 1, 0] - az, ends[n, 1, 1] - ay, ends[n, 1, 2] - ax
        length2 = dz * dz + dy * dy + dx * dx + 1e-9
        reach = radii[n] + pixel
        j_low = int(max(0.0, (min(ay, ay + dy) - reach - y0) / pixel))
        j_high = int(min(rows - 1.0, (max(ay, ay + dy) + reach - y0) / pixel))
        i_low = int(max(0.0, (min(ax, ax + dx) - reach - x0) / pixel))
        i_high = int(min(columns - 1.0, (max(ax, ax + dx) + reach - x0) / pixel))
        for k in range(slices):
            pz = z[k] - az
            if pz < min(0.0, dz) - reach or pz > max(0.0, dz) + reach:
                continue
            for j in range(j_low, j_high + 1):
                py = y0 + j * pixel - ay
                for i in range(i_low, i_high + 1):
                    px = x0 + i * pixel - ax
                    t = (pz * dz + py * dy + px * dx) / length2
                    t = min(1.0, max(0.0, t))
                    ez, ey, ex = pz - t * dz, py - t * dy, px - t * dx
                    inside = 0.5 + (radii[n] - math.sqrt(ez * ez + ey * ey + ex * ex)) / pixel
                    if inside > cover[k, j, i]:
                        cover[k, j, i] = min(1.0, inside)


def _holes(
    depth: FloatArray,
    z: FloatArray,
    corner: tuple[float, float],
    pixel: float,
    warp: FloatArray,
    balls: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
) -> None:
    y0, x0 = corner
    centres, radii, depths, soft = balls
    slices, rows, columns = depth.shape
    for n in range(radii.size):
        reach = 1.35 * radii[n] + 0.5 * soft[n]
        j_low = int(max(0.0, (centres[n, 1] - reach - y0) / pixel))
        j_high = int(min(rows - 1.0, (centres[n, 1] + reach - y0) / pixel))
        i_low = int(max(0.0, (centres[n, 2] - reach - x0) / pixel))
        i_high = int(min(columns - 1.0, (centres[n, 2] + reach - x0) / pixel))
        for k in range(slices):
            dz = z[k] - centres[n, 0]
            if abs(dz) > reach:
                continue
            for j in range(j_low, j_high + 1):
                dy = y0 + j * pixel - centres[n, 1]
                for i in range(i_low, i_high + 1):
                    dx = x0 + i * pixel - centres[n, 2]
                    radius = radii[n] * (1.0 + 0.35 * warp[k, j, i])
                    edge = 0.5 + (radius - math.sqrt(dz * dz + dy * dy + dx * dx)) / soft[n]
                    value = depths[n] * min(1.0, edge)
                    if value > depth[k, j, i]:
                        depth[k, j, i] = value


_tubes_compiled: Callable[..., None] = numba.njit(cache=True, fastmath=True)(_tubes)
_holes_compiled: Callable[..., None] = numba.njit(cache=True, fastmath=True)(_holes)


def _corner(grid: Grid) -> tuple[FloatArray, tuple[float, float]]:
    y, x = grid.axes()
    return np.asarray(grid.z, np.float32), (float(y[0]), float(x[0]))


def paint_tubes(grid: Grid, ends: FloatArray, radii: FloatArray, cover: FloatArray | None = None) -> FloatArray:
    """Share of each voxel that lies inside any of the tubes (capsules).

    Args:
        grid: grid of the slices.
        ends: float32 (n, 2, 3), both ends of each axis, (z, y, x) mm.
        radii: float32 (n,), mm.
        cover: array to paint into (the larger value is kept), or ``None`` for a new one.

    Returns:
        float32 (k, rows, columns), 0 to 1.
    """
    if cover is None:
        cover = np.zeros((len(grid.z), grid.matrix, grid.matrix), np.float32)
    z, corner = _corner(grid)
    _tubes_compiled(cover, z, corner, grid.pixel, ends.astype(np.float32), radii.astype(np.float32))
    return cover


def paint_holes(
    grid: Grid, warp: FloatArray, centres: FloatArray, radii: FloatArray, depths: FloatArray, soft: FloatArray
) -> FloatArray:
    """Share of tissue that is missing, from balls with an irregular surface.

    Args:
        grid: grid of the slices.
        warp: float32 (k, rows, columns), -1 to 1, relative displacement of the surface (35 % of the radius at 1).
        centres: float32 (n, 3), (z, y, x) mm.
        radii: float32 (n,), mm.
        depths: float32 (n,), 0 to 1, tissue missing in the middle.
        soft: float32 (n,), width of the gradual border, mm.

    Returns:
        float32 (k, rows, columns), 0 to 1; where balls overlap, the largest value counts.
    """
    depth = np.zeros((len(grid.z), grid.matrix, grid.matrix), np.float32)
    z, corner = _corner(grid)
    balls = tuple(np.ascontiguousarray(a, np.float32) for a in (centres, radii, depths, soft))
    _holes_compiled(depth, z, corner, grid.pixel, np.ascontiguousarray(warp, np.float32), balls)
    return depth
