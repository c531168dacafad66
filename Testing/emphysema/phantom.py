"""A chest made of ellipsoids whose lungs, airways and emphysema are known to the voxel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from KernelNormalizationLib.core.imaging.filters import gaussian
from KernelNormalizationLib.core.imaging.morphology import bounding_box, to_image
from KernelNormalizationLib.core.volume import CTVolume, Geometry

Mask = NDArray[np.bool_]
LUNG_HU, TISSUE_HU, GAS_HU = -860.0, 30.0, -1000.0


@dataclass(frozen=True)
class Plan:
    """What to draw; lengths in mm, canonical axes (head up, back behind, patient's left at larger columns)."""

    shape: tuple[int, int, int] = (72, 150, 190)
    spacing: tuple[float, float, float] = (4.0, 2.2, 2.2)
    noise_hu: float = 0.0
    seed: int = 1
    touching: bool = False
    right_lung: bool = True
    left_lung: bool = True
    trachea: bool = True
    bowel_gas: bool = True
    table: bool = True
    vessels: bool = True
    bulla_mm: float = 0.0
    scale: float = 1.0
    pattern: str = "none"
    lung_hu: float = LUNG_HU
    blur_mm: float = 0.0


@dataclass(frozen=True)
class Phantom:
    """The volume and its truth, all (k, j, i)."""

    volume: CTVolume
    right: Mask
    left: Mask
    airways: Mask

    @property
    def lungs(self) -> Mask:
        return self.right | self.left


def _grid(plan: Plan) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """z, y, x in mm from the middle of the volume."""
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(plan.shape, plan.spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return z, y, x


def _ellipsoid(grid, centre, radii) -> Mask:
    total = sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radii, strict=True))
    return total <= 1.0


def _tube(grid, start, end, radius) -> Mask:
    """A straight tube between two points (z, y, x)."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    along = end - start
    length2 = float(along @ along)
    t = sum((axis - s) * a for axis, s, a in zip(grid, start, along, strict=True)) / length2
    t = np.clip(t, 0.0, 1.0)
    distance2 = sum((axis - (s + t * a)) ** 2 for axis, s, a in zip(grid, start, along, strict=True))
    return distance2 <= radius**2


def _airways(grid, s: float) -> tuple[Mask, Mask]:
    """Lumen, and lumen with wall, of trachea and main bronchi."""
    top, carina = (200 * s, 10 * s, 0.0), (30 * s, 15 * s, 0.0)
    ends = ((-5 * s, 25 * s, -45 * s), (-12 * s, 25 * s, 50 * s))
    lumen = _tube(grid, top, carina, 9 * s)
    whole = _tube(grid, top, carina, 12 * s)
    for end in ends:
        lumen |= _tube(grid, carina, end, 6 * s)
        whole |= _tube(grid, carina, end, 9 * s)
    return lumen, whole


def _lungs(grid, plan: Plan) -> tuple[Mask, Mask]:
    s = plan.scale
    z, _, x = grid
    offset = 62 * s if plan.touching else 72 * s
    right = _ellipsoid(grid, (0, 0, -offset), (120 * s, 88 * s, 62 * s))
    left = _ellipsoid(grid, (0, 0, offset), (120 * s, 88 * s, 60 * s))
    if plan.touching:
        # a contact sheet in front of the heart, a quarter of a millimetre of pleura being far below resolution
        bridge = _ellipsoid(grid, (20 * s, -45 * s, 0), (40 * s, 22 * s, 30 * s))
        right |= bridge & (x < 0)
        left |= bridge & (x >= 0)
    diaphragm = z < -95 * s
    heart = _ellipsoid(grid, (-35 * s, -25 * s, 18 * s), (55 * s, 50 * s, 55 * s))
    return right & ~diaphragm & ~heart, left & ~diaphragm & ~heart


PATTERNS = ("none", "centrilobular", "panlobular", "paraseptal", "bullous")


def _diseased(hu: NDArray[np.float32], grid, lungs: Mask, plan: Plan, rng: np.random.Generator) -> NDArray[np.float32]:
    """Emphysema of a pattern drawn into the lungs."""
    z, _, _ = grid
    s = plan.scale
    if plan.pattern == "panlobular":
        share = np.clip((40 * s - z) / (120 * s), 0, 1)
        return np.where(lungs, hu - 90.0 * share, hu).astype(np.float32)
    count, low, high = {"centrilobular": (220, 3, 7), "bullous": (14, 10, 22)}.get(plan.pattern, (0, 0, 0))
    for _ in range(count):
        centre = (rng.uniform(-20, 110) * s, rng.uniform(-80, 80) * s, rng.choice([-1, 1]) * rng.uniform(25, 120) * s)
        hole = _ellipsoid(grid, centre, (rng.uniform(low, high),) * 3) & lungs
        hu[hole] = -985.0
    if plan.pattern == "paraseptal":
        # the distance is needed in the upper lungs only, and to a border no further away than 8 mm
        upper = lungs & (z > 20 * s)
        box = bounding_box(upper, margin=int(8.0 / min(plan.spacing)) + 2)
        image = sitk.SignedMaurerDistanceMap(
            to_image(lungs[box], plan.spacing), insideIsPositive=True, squaredDistance=False, useImageSpacing=True
        )
        hu[box][upper[box] & (sitk.GetArrayFromImage(image) < 8.0)] = -985.0
    return hu


def patient(number: int) -> tuple[str, Phantom]:
    """Simulated patient of a running number: pattern, size, noise, touching lungs and slice distance vary."""
    rng = np.random.default_rng(1000 + number)
    pattern = PATTERNS[number % len(PATTERNS)]
    touching = number % 3 == 2
    slice_mm = float(rng.choice([1.5, 3.0, 5.0]))
    pixel_mm = float(rng.uniform(1.2, 1.8))
    scale = float(rng.uniform(0.82, 1.08))
    shape = (round(290 * scale / slice_mm), round(330 * scale / pixel_mm), round(370 * scale / pixel_mm))
    plan = Plan(
        shape=shape,
        spacing=(slice_mm, pixel_mm, pixel_mm),
        noise_hu=float(rng.choice([10.0, 40.0, 90.0])),
        seed=number,
        touching=touching,
        scale=scale,
        pattern=pattern,
        lung_hu=float(rng.uniform(-890, -800)),
        blur_mm=float(rng.uniform(0.5, 1.0)),
    )
    name = f"{pattern}{', touching' if touching else ''}, {slice_mm:g} mm, noise {plan.noise_hu:g} HU"
    return name, make(plan)


def make(plan: Plan | None = None, **changes) -> Phantom:
    """Draw a plan; keyword arguments change fields of the default one."""
    plan = replace(plan or Plan(), **changes)
    grid = _grid(plan)
    z, y, x = grid
    s = plan.scale
    rng = np.random.default_rng(plan.seed)
    hu = np.full(plan.shape, GAS_HU, dtype=np.float32)
    body = ((y / (118 * s)) ** 2 + (x / (168 * s)) ** 2 <= 1.0) & (z < 1e9)
    body &= (np.abs(x) < 60 * s) | (z < 135 * s)
    hu[body] = TISSUE_HU
    if plan.table:
        hu[(np.abs(y - 135 * s) < 2.3) & (np.abs(x) < 180 * s) & (z > -1e9)] = 150.0
        hu[(np.abs(y - 150 * s) < 2.3) & (np.abs(x) < 180 * s) & (z > -1e9)] = 150.0
    spine = ((y - 88 * s) / (22 * s)) ** 2 + (x / (22 * s)) ** 2 <= 1.0
    hu[spine & (z > -1e9)] = 400.0
    right, left = _lungs(grid, plan)
    lumen, whole = _airways(grid, s) if plan.trachea else (np.zeros(plan.shape, bool), np.zeros(plan.shape, bool))
    right &= ~whole & plan.right_lung
    left &= ~whole & plan.left_lung
    lungs = right | left
    hu[lungs] = plan.lung_hu + rng.normal(0.0, 12.0, size=plan.shape).astype(np.float32)[lungs]
    if plan.vessels:
        for _ in range(40):
            start = (rng.uniform(-70, 70) * s, rng.uniform(-50, 60) * s, rng.choice([-1, 1]) * rng.uniform(40, 60) * s)
            end = tuple(c + rng.uniform(-40, 40) * s for c in start)
            hu[_tube(grid, start, end, 2.5 * s) & lungs] = 40.0
    hu = _diseased(hu, grid, lungs, plan, rng)
    if plan.bulla_mm:
        hu[_ellipsoid(grid, (50 * s, 10 * s, -75 * s), (plan.bulla_mm,) * 3) & lungs] = GAS_HU
    hu[whole & ~lumen] = TISSUE_HU
    hu[lumen] = GAS_HU
    if plan.bowel_gas:
        hu[_ellipsoid(grid, (-115 * s, -50 * s, 60 * s), (14 * s, 30 * s, 45 * s))] = GAS_HU
    if plan.blur_mm:
        hu = gaussian(hu, plan.spacing, plan.blur_mm, directions=(0, 1))
    if plan.noise_hu:
        hu += rng.normal(0.0, plan.noise_hu, size=plan.shape).astype(np.float32)
    volume = CTVolume(np.clip(np.rint(hu), -1024, 3071), Geometry(plan.spacing), name="phantom")
    return Phantom(volume, right, left, lumen)


def dice(a: Mask, b: Mask) -> float:
    return 2.0 * float(np.count_nonzero(a & b)) / max(1, int(np.count_nonzero(a)) + int(np.count_nonzero(b)))
