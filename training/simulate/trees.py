"""Tubular anatomy as capsules: vessel trees, bronchi and ribs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import FloatArray

from .chest import Chest

# Murray's law: the cube of a parent's radius is the sum of its children's; pulmonary arteries follow 2.7 to 3.
MURRAY_EXPONENT = 2.9
LEAF_RADIUS = (0.20, 0.32)  # mm, just below what a thin slice still shows
# Bronchi run beside arteries and have about the same outer diameter; the wall takes a sixth of it on either side.
BRONCHUS_MINIMUM_RADIUS = 1.3  # mm, smaller ones vanish in a thin slice
WALL_PART = 0.30


@dataclass(frozen=True)
class Tubes:
    """Capsules: ``ends`` float32 (n, 2, 3) as (z, y, x) mm and ``radii`` float32 (n,) mm."""

    ends: FloatArray
    radii: FloatArray

    def near(self, z_low: float, z_high: float) -> Tubes:
        """The tubes that reach into the slab between two heights (mm)."""
        low = self.ends[:, :, 0].min(axis=1) - self.radii
        high = self.ends[:, :, 0].max(axis=1) + self.radii
        keep = (high >= z_low - 1.0) & (low <= z_high + 1.0)
        return Tubes(self.ends[keep], self.radii[keep])

    def scaled(self, factor: float) -> Tubes:
        """The same axes with radii times ``factor``."""
        return Tubes(self.ends, self.radii * np.float32(factor))


def _connect(points: FloatArray, parents: NDArray[np.int64]) -> None:
    for n in range(1, parents.size):
        best, choice = 1e18, 0
        for m in range(n):
            dz = points[n, 0] - points[m, 0]
            dy = points[n, 1] - points[m, 1]
            dx = points[n, 2] - points[m, 2]
            # Joining a node nearer to the root lets branches run away from the root.
            oz, oy, ox = points[m, 0] - points[0, 0], points[m, 1] - points[0, 1], points[m, 2] - points[0, 2]
            forward = dz * oz + dy * oy + dx * ox
            cost = dz * dz + dy * dy + dx * dx
            if forward < 0.0:
                cost *= 3.0
            if cost < best:
                best, choice = cost, m
        parents[n] = choice


_connect_compiled: Callable[..., None] = numba.njit(cache=True, fastmath=True)(_connect)


def grow_tree(root: FloatArray, targets: FloatArray, rng: np.random.Generator) -> Tubes:
    """Grow a branching tree from ``root`` to every target; radii follow Murray's law.

    Each target is joined, in the given order, to the nearest point of the tree grown so far. Long branches get a bend.

    Args:
        root: float32 (3,), (z, y, x) mm.
        targets: float32 (n, 3), coarse ones first.
        rng: random generator.

    Returns:
        the tubes of the tree.
    """
    points = np.concatenate([root[None], targets]).astype(np.float32)
    parents = np.zeros(points.shape[0], np.int64)
    _connect_compiled(points, parents)
    flow = np.full(points.shape[0], rng.uniform(*LEAF_RADIUS) ** MURRAY_EXPONENT)
    for n in range(points.shape[0] - 1, 0, -1):
        flow[parents[n]] += flow[n]
    radii = flow ** (1.0 / MURRAY_EXPONENT)
    start, end = points[parents[1:]], points[1:]
    length = np.linalg.norm(end - start, axis=1, keepdims=True)
    bend = 0.5 * (start + end) + 0.10 * length * rng.standard_normal(start.shape)
    ends = np.concatenate([np.stack([start, bend], axis=1), np.stack([bend, end], axis=1)])
    return Tubes(ends.astype(np.float32), np.concatenate([radii[1:], radii[1:]]).astype(np.float32))


def _lung_points(
    chest: Chest, side: int, count: int, z_range: tuple[float, float], rng: np.random.Generator, depth: float
) -> FloatArray:
    s = chest.shape
    kept: list[FloatArray] = []
    total = 0
    for _ in range(40):
        z = rng.uniform(*z_range, size=24)
        for height in z:
            y = rng.uniform(-1.05, 1.05, 160).astype(np.float32) * np.float32(s.cage_y)
            x = np.float32(side) * rng.uniform(0.03, 1.05, 160).astype(np.float32) * np.float32(s.cage_x)
            inside = chest.lungs(float(height), y, x) > depth
            found = np.stack([np.full(inside.sum(), height, np.float32), y[inside], x[inside]], axis=1)
            kept.append(found[:20])
            total += found[:20].shape[0]
        if total >= count:
            break
    points = np.concatenate(kept) if kept else np.zeros((0, 3), np.float32)
    return points[rng.permutation(points.shape[0])[:count]]


def lung_trees(chest: Chest, z_range: tuple[float, float], rng: np.random.Generator) -> list[tuple[int, Tubes]]:
    """Arteries and veins of both lungs, finely branched near the slab ``z_range`` only.

    Returns:
        (side, tree) with side -1 for the right lung and 1 for the left; arteries first in each lung.
    """
    s = chest.shape
    trees = []
    slab = (z_range[0] - 10.0, z_range[1] + 10.0)
    for side in (-1, 1):
        for hilum_y in (0.02, -0.12):
            root = np.array([0.52 * s.height, hilum_y * s.cage_y, side * 0.24 * s.cage_x], np.float32)
            trunk = _lung_points(chest, side, 420, (0.05 * s.height, 0.98 * s.height), rng, 6.0)
            fine = _lung_points(chest, side, 900, slab, rng, 1.5)
            trees.append((side, grow_tree(root, np.concatenate([trunk, fine]), rng)))
    return trees


def bronchi(artery: Tubes, rng: np.random.Generator) -> Tubes:
    """Bronchi beside the thicker branches of an arterial tree, displaced by one diameter; with their outer radii."""
    keep = artery.radii > BRONCHUS_MINIMUM_RADIUS
    radii = np.minimum(artery.radii[keep] * np.float32(rng.uniform(0.75, 1.05)), np.float32(5.5))
    direction = rng.standard_normal(3)
    direction[0] *= 0.3
    shift = (direction / np.linalg.norm(direction)).astype(np.float32)
    offset = (artery.radii[keep] + radii)[:, None, None] * shift[None, None, :]
    return Tubes(artery.ends[keep] + offset, radii)


def central_airways(chest: Chest) -> Tubes:
    """Trachea and main bronchi, with their inner radii."""
    s = chest.shape
    carina = np.array([0.63 * s.height, 0.16 * s.cage_y, 0.0])
    top = np.array([1.25 * s.height, -0.05 * s.cage_y, 2.0])
    right = np.array([0.53 * s.height, 0.10 * s.cage_y, -0.26 * s.cage_x])
    left = np.array([0.53 * s.height, 0.14 * s.cage_y, 0.32 * s.cage_x])
    ends = np.array([[top, carina], [carina, right], [carina, left]], np.float32)
    return Tubes(ends, np.array([8.5, 6.5, 5.8], np.float32))


def ribs(chest: Chest, rng: np.random.Generator) -> Tubes:
    """Twelve pairs of ribs: from the spine around the cage, falling toward the front."""
    s = chest.shape
    ends, radii = [], []
    for number in range(12):
        head = s.height * (1.02 - 0.083 * number)
        fall = float(rng.uniform(50.0, 75.0)) * (0.5 + 0.5 * np.sin(np.pi * (number + 2) / 14))
        reach = 0.86 if number < 9 else 0.86 - 0.16 * (number - 8)
        angles = np.linspace(0.12, reach * np.pi, 26)
        for side in (-1, 1):
            z = head - fall * (angles / np.pi) ** 1.2
            axes = np.array([chest.cage_axes(float(h)) for h in z])
            y = (axes[:, 0] + 6.0) * np.cos(angles)
            x = side * (axes[:, 1] + 6.5) * np.sin(angles)
            path = np.stack([z, y, x], axis=1)
            ends.append(np.stack([path[:-1], path[1:]], axis=1))
            radii.append(np.full(path.shape[0] - 1, rng.uniform(4.6, 5.8)))
    return Tubes(np.concatenate(ends).astype(np.float32), np.concatenate(radii).astype(np.float32))


def shoulder_bones(chest: Chest) -> Tubes:
    """Clavicles, scapulae and humeral heads."""
    s = chest.shape
    width = s.cage_x + s.muscle
    ends, radii = [], []
    for side in (-1, 1):
        head = [1.0 * s.height, 10.0, side * (width + 30.0)]
        parts = [
            ([0.99 * s.height, -0.55 * s.cage_y, side * 18.0], [1.06 * s.height, -15.0, side * (width + 5.0)], 5.5),
            (
                [1.0 * s.height, 0.75 * s.cage_y, side * (width + 2.0)],
                [0.62 * s.height, 1.02 * s.cage_y + 9.0, side * 0.62 * s.cage_x],
                3.8,
            ),
            (
                [1.0 * s.height, 0.75 * s.cage_y, side * (width + 2.0)],
                [0.85 * s.height, 1.0 * s.cage_y + 12.0, side * 0.45 * s.cage_x],
                3.2,
            ),
            (head, [0.93 * s.height if s.arms_down else 1.2 * s.height, 12.0, side * (width + 38.0)], 21.0),
        ]
        for a, b, radius in parts:
            ends.append([a, b])
            radii.append(radius)
    return Tubes(np.array(ends, np.float32), np.array(radii, np.float32))
