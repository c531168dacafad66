"""Lobar and segmental bronchi, followed voxel by voxel from the main bronchi through lumen that wall encloses.

Emphysema beside a bronchus is as dark as its lumen, so a HU threshold cannot tell them apart. The wall can: in a lumen there
is a plane in which rays in all directions meet wall within a short distance, and that distance shrinks from generation to
generation. The lung around emphysema is not bright enough to count as wall, and a bulla is too wide, so the growth enters
neither, even through a broken wall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import AIR_HU, BoolArray, FloatArray, Spacing
from KernelNormalizationLib.core.imaging.body import PARENCHYMA_HU
from KernelNormalizationLib.core.imaging.morphology import bounding_box, components, morphology

IntArray = NDArray[np.int64]

# All values are our own choice, from emphysema drawn around the bronchi of the B70f test chest after normalization (16
# combinations): worst case 1.6 mL of it taken; with one ray of a plane allowed to miss the wall, 5 to 20 mL.
# A voxel more than half way from lung to air; the limits keep dense and emphysematous lungs usable.
DARK_HU = (-930.0, -850.0)
# Walls of segmental bronchi are 1 to 1.5 mm thick, so that a smooth kernel shows them far above lung and below tissue.
WALL_ABOVE_LUNG_HU = 140.0
WALL_HU = (-740.0, -500.0)
# Rays need to cross a lumen: its diameter is below 16 mm in the main bronchi and about 3 mm in the last ones that stay dark.
REACH_MM = (3.0, 8.0)
# From a voxel at the wall a ray crosses the whole lumen, up to twice the mean distance.
REACH_OF_DISTANCE = 2.0
REACH_MARGIN_MM = 0.5
# Lumen beyond the main and lobar bronchi; more is a leak whatever its walls look like (our own choice).
LIMIT_ML = 40.0
# Across the widest main bronchus wherever a voxel lies in it. In the test chests at most 0.14 mL of lumen fail at this reach;
# of 12.8 mL that leaked into a bulla of the phantom 12.8 mL fail.
LEAK_REACH_MM = 14.0
# The trachea is wider and lies in tissue; around its end nothing is called a leak.
TRACHEA_MARGIN_MM = 8.0
# Smaller unenclosed pieces are forks and thin walls, whose loss would cut off the branches beyond.
LEAK_ML = 0.2


@dataclass(frozen=True)
class Rays:
    """Samples along 26 rays from a voxel, and the planes that the rays lie in.

    Attributes:
        offsets: int64 (26, steps), offsets into the flattened volume.
        distances_mm: float32 (steps,), distance of each sample, mm.
        planes: float32 (26, 13), 1 where a ray lies in a plane.
    """

    offsets: IntArray
    distances_mm: NDArray[np.float32]
    planes: NDArray[np.float32]

    @classmethod
    def on_grid(cls, shape: tuple[int, ...], spacing: Spacing, reach_mm: float) -> Rays:
        """Rays to the faces, edges and corners of a cube, sampled once a voxel of the finest spacing.

        Args:
            shape: of the volume, (k, j, i).
            spacing: mm along (k, j, i).
            reach_mm: length of the rays, mm.
        """
        cube = _neighbours()
        unit = cube / np.linalg.norm(cube, axis=1, keepdims=True)
        distances = np.arange(1, int(reach_mm / min(spacing)) + 1) * min(spacing)
        index = np.rint(unit[:, None, :] * distances[None, :, None] / np.asarray(spacing)).astype(np.int64)
        # opposite directions span the same plane: half of the cube's directions are the normals
        planes = (np.abs(unit @ unit[:13].T) < 1e-6).astype(np.float32)
        return cls(index @ _strides(shape), distances.astype(np.float32), planes)

    def enclosed(self, hu: NDArray[np.int16], at: IntArray, wall_hu: float, reach_mm: FloatArray) -> FloatArray:
        """Mean distance to the wall in the narrowest plane that wall closes on all sides, infinite without one.

        Args:
            hu: int16 (n,), flattened volume, HU.
            at: int64 (m,), positions to judge, further from the volume's border than the rays are long.
            wall_hu: HU from which a sample is wall.
            reach_mm: float32 (m,), mm within which each position must meet the wall.

        Returns:
            float32 (m,), mm.
        """
        distance = np.full((at.size, len(self.offsets)), np.inf, dtype=np.float32)
        for ray, offsets in enumerate(self.offsets):
            wall = hu[at[:, None] + offsets] >= wall_hu
            first = wall.argmax(axis=1)
            distance[:, ray] = np.where(wall[np.arange(at.size), first], self.distances_mm[first], np.inf)
        met = distance <= reach_mm[:, None]
        rays = self.planes.sum(axis=0)
        mean = (np.where(met, distance, 0.0) @ self.planes) / rays
        mean[met.astype(np.float32) @ self.planes < rays] = np.inf
        narrowest: FloatArray = mean.min(axis=1)
        return narrowest


def follow_bronchi(hu: FloatArray, lungs: BoolArray, start: BoolArray, spacing: Spacing) -> BoolArray:
    """Lumen of the bronchi that can be followed from ``start`` into the lungs.

    The front moves one voxel a wave, in all 26 directions. A voxel joins when it is dark and wall encloses it within the
    reach, which starts at 8 mm and never grows again along a branch.

    Args:
        hu: float32 (k, j, i), HU of the smoothest volume of the scan.
        lungs: bool (k, j, i), lungs with their bronchi: the growth stays inside.
        start: bool (k, j, i), lumen of trachea and main bronchi.
        spacing: mm along (k, j, i).

    Returns:
        bool (k, j, i), without ``start``; empty where nothing can be followed, and when more than 40 mL were reached,
        which is no bronchial tree.
    """
    found = np.zeros(hu.shape, dtype=bool)
    if not start.any() or not lungs.any():
        return found
    box = bounding_box(lungs | start)
    margins = _margins(spacing, REACH_MM[1])
    near = _padded(hu[box], margins)
    dark_hu, wall_hu = _levels(hu[box][lungs[box]])
    open_to = np.pad(lungs[box] & ~start[box], margins)
    open_to &= near < dark_hu
    grown = _waves(near, open_to, np.flatnonzero(np.pad(start[box], margins)), (spacing, wall_hu, _voxels(LIMIT_ML, spacing)))
    found[box] = grown[_inside(margins)]
    return found


def without_leaks(hu: FloatArray, lumen: BoolArray, trachea: BoolArray, spacing: Spacing) -> BoolArray:
    """``lumen`` without the parts that a growth reached through a gap in the wall, as a threshold lets it.

    Args:
        hu: float32 (k, j, i), HU.
        lumen: bool (k, j, i), grown from the trachea.
        trachea: bool (k, j, i), where it was grown from.
        spacing: mm along (k, j, i).

    Returns:
        bool (k, j, i), what stays connected with the trachea once unenclosed pieces above 0.2 mL are gone.
    """
    judged = lumen & ~morphology(trachea, spacing, TRACHEA_MARGIN_MM, "dilate")
    if not judged.any():
        return lumen
    box = bounding_box(lumen)
    lung_hu = hu[(hu > PARENCHYMA_HU[0]) & (hu < PARENCHYMA_HU[1])]
    _, wall_hu = _levels(lung_hu if lung_hu.size else hu[lumen])
    margins = _margins(spacing, LEAK_REACH_MM)
    # the wall around the lumen's box counts, so the box is widened within the volume before it is padded
    wide = _widened(box, margins, hu.shape)
    near, where = _padded(hu[wide], margins), np.flatnonzero(np.pad(judged[wide], margins))
    rays = Rays.on_grid(near.shape, spacing, LEAK_REACH_MM)
    reach = np.full(where.size, LEAK_REACH_MM, dtype=np.float32)
    unenclosed = np.zeros(near.size, dtype=bool)
    unenclosed[where] = np.isinf(rays.enclosed(near.reshape(-1), where, wall_hu, reach))
    pieces, _ = components(unenclosed.reshape(near.shape)[_inside(margins)], _voxels(LEAK_ML, spacing))
    if not pieces.any():
        return lumen
    sound = lumen.copy()
    sound[wide] &= pieces == 0
    return _connected(sound, trachea)


def _connected(lumen: BoolArray, trachea: BoolArray) -> BoolArray:
    labels, _ = components(lumen)
    kept = np.unique(labels[trachea & lumen])
    reached: BoolArray = np.isin(labels, kept[kept > 0])
    return reached


def _voxels(millilitres: float, spacing: Spacing) -> int:
    return max(1, int(millilitres * 1000.0 / float(np.prod(spacing))))


def _margins(spacing: Spacing, reach_mm: float) -> list[tuple[int, int]]:
    """As far as a ray reaches and one voxel more, so that flat offsets never leave the padded volume."""
    return [(m, m) for m in (int(np.ceil(reach_mm / s)) + 1 for s in spacing)]


def _padded(hu: FloatArray, margins: list[tuple[int, int]]) -> NDArray[np.int16]:
    # int16 halves the memory that rays jump about in; the border of the scan closes a lumen as wall does
    padded = np.full([n + low + high for n, (low, high) in zip(hu.shape, margins, strict=True)], 300, dtype=np.int16)
    np.clip(hu, -1100, 300, out=padded[_inside(margins)], casting="unsafe")
    return padded


def _inside(margins: list[tuple[int, int]]) -> tuple[slice, ...]:
    return tuple(slice(low, -high) for low, high in margins)


def _widened(
    box: tuple[slice, slice, slice], margins: list[tuple[int, int]], shape: tuple[int, ...]
) -> tuple[slice, slice, slice]:
    k, j, i = (
        slice(max(0, s.start - low), min(n, s.stop + high)) for s, (low, high), n in zip(box, margins, shape, strict=True)
    )
    return k, j, i


def _waves(hu: NDArray[np.int16], open_to: BoolArray, front: IntArray, limits: tuple[Spacing, float, int]) -> BoolArray:
    """The voxels of ``open_to`` that waves from ``front`` reach; ``limits`` are spacing, HU of the wall and most voxels."""
    spacing, wall_hu, most = limits
    rays, around = Rays.on_grid(hu.shape, spacing, REACH_MM[1]), _neighbours() @ _strides(hu.shape)
    flat, free = hu.reshape(-1), open_to.reshape(-1).copy()
    grown = np.zeros(flat.size, dtype=bool)
    reach = np.full(front.size, REACH_MM[1], dtype=np.float32)
    total = 0
    while front.size:
        at, reach = _next(front, reach, around, free)
        distance = rays.enclosed(flat, at, wall_hu, reach)
        free[at] = False
        inside = np.isfinite(distance)
        front, own = at[inside], REACH_OF_DISTANCE * distance[inside] + REACH_MARGIN_MM
        reach = np.minimum(reach[inside], np.maximum(own, REACH_MM[0])).astype(np.float32)
        grown[front] = True
        total += int(front.size)
        if total > most:
            return np.zeros(hu.shape, dtype=bool)
    return grown.reshape(hu.shape)


def _next(front: IntArray, reach: FloatArray, around: IntArray, free: BoolArray) -> tuple[IntArray, FloatArray]:
    """Free neighbours of a front, each once, with the longest reach among the voxels that lead to it."""
    at = (front[:, None] + around).reshape(-1)
    usable = free[at]
    at, reached = at[usable], np.repeat(reach, around.size)[usable]
    order = np.lexsort((-reached, at))
    at, reached = at[order], reached[order]
    first = np.append(True, at[1:] != at[:-1])[: at.size]
    return at[first], reached[first]


def _levels(lung_hu: FloatArray) -> tuple[float, float]:
    """HU below which a voxel may be lumen, and from which it is wall."""
    median = float(np.median(lung_hu[:: max(1, lung_hu.size // 1_000_000)]))
    dark = float(np.clip((AIR_HU + median) / 2.0, *DARK_HU))
    return dark, float(np.clip(median + WALL_ABOVE_LUNG_HU, *WALL_HU))


def _neighbours() -> IntArray:
    """The 26 directions (k, j, i) to a voxel's neighbours, opposite ones at n and 25 - n."""
    cube = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.int64)
    return np.delete(cube, 13, axis=0)


def _strides(shape: tuple[int, ...]) -> IntArray:
    return np.array([shape[1] * shape[2], shape[2], 1], dtype=np.int64)
