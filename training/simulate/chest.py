"""Geometry of the procedural chest: body, rib cage, lungs, heart, spine and diaphragm.

Coordinates: x to the patient's left, y to posterior, z cranial with 0 at the lung bases; mm, origin on the isocentre. The
shapes are our own; sizes follow adult anatomy (cage 240 to 300 mm wide, lungs 210 to 260 mm high, vertebral bodies 35 mm).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from KernelNormalizationLib.core.arrays import FloatArray

from .texture import SmoothWarp


@dataclass(frozen=True)
class ChestShape:
    """Sizes of one patient, mm and HU."""

    cage_x: float
    cage_y: float
    height: float
    fat: float
    muscle: float
    heart: float
    arms_down: bool
    blood_hu: float
    lung_hu: float
    gravity_hu: float
    breast: float
    offset_y: float


def draw_shape(rng: np.random.Generator) -> ChestShape:
    """A patient between slim and large; a third with intravenous contrast."""
    size = float(np.clip(rng.normal(1.0, 0.07), 0.84, 1.18))
    contrast = rng.random() < 0.33
    return ChestShape(
        cage_x=132.0 * size * float(rng.uniform(0.95, 1.06)),
        cage_y=91.0 * size * float(rng.uniform(0.92, 1.12)),
        height=235.0 * size,
        fat=float(np.clip(rng.gamma(3.0, 5.5), 4.0, 42.0)),
        muscle=float(rng.uniform(14.0, 26.0)),
        heart=float(rng.uniform(0.88, 1.15)),
        arms_down=bool(rng.random() < 0.2),
        blood_hu=float(rng.uniform(130.0, 320.0)) if contrast else float(rng.uniform(35.0, 50.0)),
        lung_hu=float(rng.uniform(-884.0, -846.0)),
        gravity_hu=float(rng.uniform(12.0, 45.0)),
        breast=float(rng.uniform(15.0, 40.0)) if rng.random() < 0.4 else 0.0,
        offset_y=float(rng.normal(0.0, 12.0)),
    )


def ellipse(y: FloatArray, x: FloatArray, centre: tuple[float, float], axes: tuple[float, float]) -> FloatArray:
    """Approximate depth below the border of an ellipse, mm, positive inside; exact on the border and along the axes."""
    ry, rx = (y - centre[0]) / axes[0], (x - centre[1]) / axes[1]
    rho = np.sqrt(ry * ry + rx * rx) + np.float32(1e-6)
    slope = np.sqrt((ry / axes[0]) ** 2 + (rx / axes[1]) ** 2) / rho + np.float32(1e-6)
    depth: FloatArray = ((1.0 - rho) / slope).astype(np.float32)
    return depth


def soft(depth: FloatArray, pixel: float) -> FloatArray:
    """Share of each voxel that lies inside (partial volume), from its depth below the border (mm): linear over one pixel."""
    inside: FloatArray = np.clip(0.5 + depth / np.float32(pixel), 0.0, 1.0)
    return inside


class Chest:
    """Depth fields of one patient's anatomy.

    Args:
        shape: sizes.
        rng: random generator for the irregularity of the borders.
    """

    def __init__(self, shape: ChestShape, rng: np.random.Generator) -> None:
        self.shape = shape
        self._cage_warp = SmoothWarp(rng, 2.5, (45.0, 140.0))
        self._body_warp = SmoothWarp(rng, 4.0, (90.0, 250.0))
        self._middle_warp = SmoothWarp(rng, 3.0, (25.0, 80.0))
        self._dome_warp = SmoothWarp(rng, 3.0, (50.0, 120.0))
        self.fissure_warp = SmoothWarp(rng, 6.0, (60.0, 150.0))
        self.spine_y = 0.72 * shape.cage_y

    def cage_axes(self, z: float) -> tuple[float, float]:
        """Half axes (y, x) of the inner chest wall at height ``z``: a dome toward the apex."""
        t = z / self.shape.height
        taper = max(0.02, 1.0 - max(0.0, t - 0.35) ** 2.6 / 0.65**2.6) ** 0.5
        narrow = 0.93 + 0.07 * np.cos(np.pi * (t - 0.3))
        return self.shape.cage_y * (0.35 + 0.65 * taper) * narrow, self.shape.cage_x * (0.30 + 0.70 * taper) * narrow

    def cage(self, z: float, y: FloatArray, x: FloatArray) -> FloatArray:
        """Depth inside the inner chest wall, mm."""
        return ellipse(y, x, (0.0, 0.0), self.cage_axes(z)) + self._cage_warp(z, y, x)

    def body(self, z: float, y: FloatArray, x: FloatArray) -> FloatArray:
        """Depth below the skin, mm."""
        s = self.shape
        t = z / s.height
        shoulder = 1.0 / (1.0 + np.exp(-(t - 0.88) / 0.05))
        wall = s.muscle + s.fat
        axes = (s.cage_y + wall * 0.85 - 20.0 * shoulder, s.cage_x + wall + (75.0 if s.arms_down else 55.0) * shoulder)
        depth = ellipse(y, x, (4.0, 0.0), axes) + self._body_warp(z, y, x)
        if s.breast and 0.25 < t < 0.7:
            size = s.breast * float(np.sin(np.pi * (t - 0.25) / 0.45))
            for side in (-1, 1):
                centre = (-axes[0] * 0.88, side * 0.5 * axes[1])
                depth = np.maximum(depth, ellipse(y, x, centre, (size + 6.0, 0.33 * axes[1])))
        return depth

    def mediastinum(self, z: float, y: FloatArray, x: FloatArray) -> FloatArray:
        """Depth inside the soft tissue between the lungs (heart, great vessels, spine), mm."""
        s = self.shape
        t = z / s.height
        cy = self.cage_axes(z)[0]
        column = ellipse(y, x, (0.05 * cy, 0.0), (1.1 * cy, 24.0 + 10.0 * t + 14.0 * max(0.0, t - 0.75) * 4.0))
        spine = ellipse(y, x, (self.spine_y, 0.0), (24.0, 25.0))
        depth = np.maximum(column, spine)
        aorta = ellipse(y, x, (0.42 * s.cage_y, 22.0), (15.0, 15.0))
        depth = np.maximum(depth, aorta) if t < 0.72 else depth
        heart = self.heart(z, y, x)
        depth = depth if heart is None else np.maximum(depth, heart)
        return depth + self._middle_warp(z, y, x)

    def heart(self, z: float, y: FloatArray, x: FloatArray) -> FloatArray | None:
        """Depth inside the heart, mm; ``None`` where the slice misses it."""
        s = self.shape
        u = (z / s.height - 0.30) / 0.29
        if abs(u) >= 1.0:
            return None
        shrink = float(np.sqrt(1.0 - u * u)) * s.heart
        centre = (-0.30 * s.cage_y, 22.0 - 14.0 * u)
        return ellipse(y + 0.35 * x, x - 0.25 * y, centre, (0.50 * s.cage_y * shrink, 58.0 * shrink))

    def above_diaphragm(self, z: float, y: FloatArray, x: FloatArray) -> FloatArray:
        """Height above the diaphragm's domes, mm."""
        s = self.shape
        side = np.where(x < 0, np.float32(-1.0), np.float32(1.0))
        ry, rx = (y + 0.1 * s.cage_y) / (0.95 * s.cage_y), (x - side * 0.52 * s.cage_x) / (0.62 * s.cage_x)
        top = np.where(x < 0, np.float32(62.0), np.float32(50.0)) * (1.0 - 0.9 * (ry * ry + rx * rx))
        height: FloatArray = (np.float32(z) - top - self._dome_warp(0.0, y, x)).astype(np.float32)
        return height

    def lungs(self, z: float, y: FloatArray, x: FloatArray) -> FloatArray:
        """Depth inside either lung, mm."""
        inside = np.minimum(self.cage(z, y, x), -self.mediastinum(z, y, x))
        result: FloatArray = np.minimum(inside, 0.6 * self.above_diaphragm(z, y, x))
        return result

    def fissure(self, z: float, y: FloatArray, x: FloatArray) -> FloatArray:
        """Distance (mm, signed) from the major fissures: oblique planes from high posterior to low anterior."""
        s = self.shape
        plane = (y - 0.55 * s.cage_y) - 0.62 * (z - 0.72 * s.height)
        result: FloatArray = (plane * 0.85 + self.fissure_warp(z, y, x)).astype(np.float32)
        return result
