"""Drawing the procedural chest on a grid, in HU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from KernelNormalizationLib.core.arrays import FloatArray, LabelArray

from .chest import Chest, draw_shape, soft
from .paint import paint_tubes
from .sampling import Grid
from .texture import random_field
from .trees import WALL_PART, Tubes, bronchi, central_airways, lung_trees, ribs, shoulder_bones

# Hounsfield units of tissues at 120 kVp, textbook mid-values.
AIR, FAT, MUSCLE, LIVER, CORTEX, MARROW = -1000.0, -100.0, 55.0, 58.0, 650.0, 180.0
BRONCHUS_AIR, FISSURE = -985.0, -640.0
# Vessels thicker than this (hilar, mm) do not count as lung, as in lung segmentations by HU thresholds.
HILAR_RADIUS = 3.0


@dataclass(frozen=True)
class Slab:
    """A block of an object on a grid.

    Attributes:
        hu: float32 (k, rows, columns), HU.
        lung: uint8 the same shape, 0 outside, 1 right lung, 2 left lung.
    """

    hu: FloatArray
    lung: LabelArray


class ProceduralChest:
    """A procedural chest; every seed gives a different one.

    Args:
        rng: random generator from which the whole anatomy is drawn.
    """

    source = "procedural"
    real = False
    field_mm = float("inf")

    def __init__(self, rng: np.random.Generator) -> None:
        self.shape = draw_shape(rng)
        self.chest = Chest(self.shape, rng)
        self._ribs = ribs(self.chest, rng)
        self._rng = rng

    @property
    def height(self) -> tuple[float, float]:
        """Lowest and highest slice position that shows enough lung, mm."""
        return 0.16 * self.shape.height, 0.95 * self.shape.height

    @property
    def extent(self) -> tuple[float, float]:
        """Half widths (y, x) of the body in mid-chest, mm."""
        wall = self.shape.muscle + self.shape.fat
        return self.shape.cage_y + 0.85 * wall, self.shape.cage_x + wall

    def coarse(self, grid: Grid) -> FloatArray:
        """HU without lung structure and texture: float32 (k, rows, columns), for attenuation."""
        hu = np.stack([self._tissues(z, grid)[0] for z in grid.z])
        self._bones(hu, grid)
        return hu

    def fine(self, grid: Grid) -> Slab:
        """The whole anatomy on ``grid``."""
        slices = [self._tissues(z, grid) for z in grid.z]
        hu = np.stack([s[0] for s in slices])
        lung = np.stack([s[1] for s in slices])
        texture = random_field(grid, self._rng.uniform(0.8, 2.0), self._rng.uniform(1.6, 2.2), self._rng)
        inside = np.clip((-700.0 - hu) / 100.0, 0.0, 1.0) * (lung > 0)
        hu += inside * (hu + 1000.0) * texture * np.float32(self._rng.uniform(0.10, 0.20))
        soft_tissue = (hu > -150.0).astype(np.float32)
        hu += soft_tissue * np.float32(self._rng.uniform(4.0, 9.0)) * random_field(grid, 1.5, 1.8, self._rng)
        self._bones(hu, grid)
        lung[hu > 150.0] = 0
        self._lung_structures(hu, lung, grid)
        return Slab(hu, lung)

    def _tissues(self, z: float, grid: Grid) -> tuple[FloatArray, LabelArray]:
        y, x = (a for a in grid.axes())
        y, x = y[:, None] - np.float32(self.shape.offset_y), x[None, :]
        s, chest, p = self.shape, self.chest, grid.pixel
        hu = np.full((y.shape[0], x.shape[1]), np.float32(AIR))
        body, cage, lungs = chest.body(z, y, x), chest.cage(z, y, x), chest.lungs(z, y, x)
        _blend(hu, soft(np.minimum(body, 2.0 - body), p), 20.0)
        _blend(hu, soft(body - 1.5, p), FAT)
        shoulder = 1.0 / (1.0 + np.exp(-(z / s.height - 0.93) / 0.04))
        muscle: FloatArray = np.minimum(cage + s.muscle + 45.0 * shoulder, body - s.fat * 0.8 - 1.0).astype(np.float32)
        _blend(hu, soft(muscle, p), MUSCLE)
        heart = chest.heart(z, y, x)
        middle = chest.mediastinum(z, y, x)
        _blend(hu, soft(cage, p), FAT + 20.0)
        _blend(hu, soft(np.minimum(cage, middle - 2.0), p), MUSCLE - 15.0)
        if heart is not None:
            _blend(hu, soft(np.minimum(heart - 4.0, cage), p), FAT)
            _blend(hu, soft(np.minimum(heart - 7.0, cage), p), 0.7 * s.blood_hu + 15.0)
        _blend(hu, soft(np.minimum(cage, -chest.above_diaphragm(z, y, x)), p), LIVER)
        self._great_vessels(hu, z, y, x, p)
        gravity = s.gravity_hu * y / s.cage_y - 12.0 * (z / s.height - 0.5)
        _blend(hu, soft(lungs, p), s.lung_hu + gravity)
        label = np.where(lungs > 0, np.where(x < 0, 1, 2), 0).astype(np.uint8)
        self._table(hu, y, x, p)
        return hu, label

    def _great_vessels(self, hu: FloatArray, z: float, y: FloatArray, x: FloatArray, pixel: float) -> None:
        s, t = self.shape, z / self.shape.height
        circles = [(0.42 * s.cage_y, 22.0, 11.5)] if t < 0.74 else []
        if 0.45 < t < 0.74:
            circles += [(-0.28 * s.cage_y, -14.0, 14.0), (-0.30 * s.cage_y, -36.0, 9.0), (-0.2 * s.cage_y, 10.0, 12.0)]
        if t >= 0.74:
            circles += [(-0.2 * s.cage_y, -18.0, 6.5), (-0.15 * s.cage_y, 14.0, 4.5), (-0.3 * s.cage_y, -30.0, 7.5)]
        for cy, cx, radius in circles:
            depth = radius - np.hypot(y - np.float32(cy), x - np.float32(cx))
            _blend(hu, soft(depth, pixel), s.blood_hu)
        sternum = 7.0 - np.hypot(1.6 * (y + np.float32(self.chest.cage_axes(z)[0] + 9.0)), 0.42 * x)
        if 0.3 < t < 0.9:
            _blend(hu, soft(sternum, pixel), CORTEX * 0.6)
            _blend(hu, soft(sternum - 1.8, pixel), MARROW * 0.7)

    def _bones(self, hu: FloatArray, grid: Grid) -> None:
        low, high = grid.z[0], grid.z[-1]
        y, x = grid.axes()
        y, x = y[:, None] - np.float32(self.shape.offset_y), x[None, :]
        spine = np.maximum(
            17.0 - np.hypot(1.15 * (y - np.float32(self.chest.spine_y)), x),
            np.minimum(5.0 - np.abs(x), 21.0 - np.abs(y - np.float32(self.chest.spine_y + 38.0))),
        )
        canal = 8.0 - np.hypot(y - np.float32(self.chest.spine_y + 23.0), x)
        for k, z in enumerate(grid.z):
            spine = np.minimum(spine, self.chest.body(z, y, x) - 3.0)
            _blend(hu[k], soft(spine, grid.pixel), CORTEX * 0.75)
            _blend(hu[k], soft(spine - 1.6, grid.pixel), MARROW)
            _blend(hu[k], soft(canal, grid.pixel), 30.0)
        for tubes in (self._ribs.near(low, high), shoulder_bones(self.chest).near(low, high)):
            moved = self._moved(tubes)
            _blend(hu, paint_tubes(grid, moved.ends, moved.radii), CORTEX)
            _blend(hu, paint_tubes(grid, moved.ends, np.maximum(moved.radii - 1.5, 0.4)), MARROW)

    def _lung_structures(self, hu: FloatArray, lung: LabelArray, grid: Grid) -> None:
        low, high = grid.z[0], grid.z[-1]
        y, x = grid.axes()
        y, x = y[:, None] - np.float32(self.shape.offset_y), x[None, :]
        for k, z in enumerate(grid.z):
            fissure = soft(np.float32(0.35) - np.abs(self.chest.fissure(z, y, x)), grid.pixel) * (lung[k] > 0)
            _blend(hu[k], 0.8 * fissure, FISSURE)
        trees = lung_trees(self.chest, (low, high), self._rng)
        blood = max(self.shape.blood_hu, 40.0)
        for number, (_, tree) in enumerate(trees):
            near = self._moved(tree.near(low, high))
            cover = paint_tubes(grid, near.ends, np.minimum(near.radii, 9.0))
            _blend(hu, cover * (hu < blood), blood)
            hilar = near.radii > HILAR_RADIUS
            lung[paint_tubes(grid, near.ends[hilar], near.radii[hilar]) > 0.5] = 0
            if number % 2 == 0:
                tubes = self._moved(bronchi(tree, self._rng).near(low, high))
                _blend(hu, paint_tubes(grid, tubes.ends, tubes.radii) * (lung > 0), 0.0)
                lumen = paint_tubes(grid, tubes.ends, tubes.radii * np.float32(1.0 - WALL_PART))
                _blend(hu, lumen, BRONCHUS_AIR)
                lung[(lumen > 0.5) & (lung > 0)] = 0
        airways = self._moved(central_airways(self.chest).near(low, high))
        _blend(hu, paint_tubes(grid, airways.ends, airways.radii + 1.4), MUSCLE - 10.0)
        lumen = paint_tubes(grid, airways.ends, airways.radii)
        _blend(hu, lumen, AIR + 5.0)
        lung[lumen > 0.2] = 0

    def _moved(self, tubes: Tubes) -> Tubes:
        shift = np.array([0.0, self.shape.offset_y, 0.0], np.float32)
        return Tubes(tubes.ends + shift, tubes.radii)

    def _table(self, hu: FloatArray, y: FloatArray, x: FloatArray, pixel: float) -> None:
        surface = self.extent[0] + 16.0 - (x / 60.0) ** 2
        shell = soft(np.minimum(1.0 - np.abs(y - surface), 215.0 - np.abs(x)), pixel)
        core = soft(np.minimum(np.minimum(y - surface, surface + 30.0 - y), 215.0 - np.abs(x)), pixel)
        outside = (hu < -990.0).astype(np.float32)
        _blend(hu, core * outside, -930.0)
        _blend(hu, shell * outside, -350.0)


def _blend(hu: FloatArray, part: FloatArray, value: float | FloatArray) -> None:
    hu += part * (np.asarray(value, np.float32) - hu)
