"""Lobar to subsegmental bronchi with walls, drawn into the phantom chest, with emphysema beside them where asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from emphysema.phantom import GAS_HU, TISSUE_HU, Mask, Phantom, Plan, _grid, make
from numpy.typing import NDArray

from KernelNormalizationLib.core.imaging.filters import gaussian
from KernelNormalizationLib.core.volume import CTVolume

Point = tuple[float, float, float]
EMPHYSEMA_HU = -985.0
# Inner radius and wall of main, lobar, segmental and subsegmental bronchi, mm.
CALIBRES = ((6.0, 3.0), (4.0, 1.5), (2.6, 1.2), (1.8, 1.0))
# Lengths beyond the main bronchus, mm.
LENGTHS = (35.0, 28.0, 20.0)
FINE = Plan(shape=(192, 228, 296), spacing=(1.5, 1.2, 1.2), vessels=False, bowel_gas=False)


@dataclass(frozen=True)
class Branch:
    """A straight piece of a bronchus: ends (z, y, x) and inner radius and wall, mm."""

    start: Point
    end: Point
    radius: float
    wall: float
    generation: int


@dataclass(frozen=True)
class Tree:
    """A chest with its bronchi; masks bool (k, j, i).

    Attributes:
        phantom: volume and truth; its lungs have neither lumen nor wall of the bronchi.
        lumen: of the lobar to subsegmental bronchi.
        segmental: the part of it beyond the lobar bronchi.
        emphysema: drawn beside the bronchi.
    """

    phantom: Phantom
    lumen: Mask
    segmental: Mask
    emphysema: Mask


def branches() -> list[Branch]:
    """Three generations in each lung, forking in turning planes from the ends of the phantom's main bronchi."""
    found = []
    for end, side in (((-5.0, 25.0, -45.0), -1.0), ((-12.0, 25.0, 50.0), 1.0)):
        heads = [(end, np.array([-0.3, 0.1, side]), 0)]
        while heads:
            at, direction, depth = heads.pop()
            if depth == len(LENGTHS):
                continue
            direction = direction / np.linalg.norm(direction)
            across = np.cross(direction, [0.0, 1.0, 0.0] if depth % 2 == 0 else [0.3, 0.0, 1.0])
            across /= np.linalg.norm(across)
            for sign in (-1.0, 1.0):
                turned = direction + 0.75 * sign * across
                turned /= np.linalg.norm(turned)
                tip = tuple(float(c) for c in np.asarray(at) + LENGTHS[depth] * turned)
                radius, wall = CALIBRES[depth + 1]
                found.append(Branch(at, (tip[0], tip[1], tip[2]), radius, wall, depth + 1))
                heads.append((tip, turned, depth + 1))
    return found


def tree(
    noise_hu: float = 0.0,
    emphysema: tuple[tuple[Point, float], ...] = (),
    broken: tuple[Point, float] | None = None,
    blur_mm: float = 0.8,
    plan: Plan = FINE,
) -> Tree:
    """The phantom with bronchi.

    Args:
        noise_hu: standard deviation of white noise, HU.
        emphysema: centres (z, y, x) and radii of balls of emphysema in the lungs, mm.
        broken: centre and radius of a ball in which bronchial wall gave way to emphysema, mm.
        blur_mm: sigma of the in-plane blur, mm; 0.8 is about a smooth kernel.
        plan: of the chest.
    """
    chest = make(replace(plan, noise_hu=0.0, blur_mm=0.0))
    grid, hu = _grid(plan), chest.volume.hu.copy()
    lumen, outer, segmental = (np.zeros(plan.shape, dtype=bool) for _ in range(3))
    for branch in branches():
        _paint(lumen, grid, plan, branch, branch.radius)
        _paint(outer, grid, plan, branch, branch.radius + branch.wall)
        if branch.generation > 1:
            _paint(segmental, grid, plan, branch, branch.radius)
    lungs = chest.lungs
    # the main bronchi of the phantom end in a cap of wall, which their branches pierce
    hu[outer & lungs & ~lumen] = TISSUE_HU
    sick = np.zeros(plan.shape, dtype=bool)
    for centre, radius in emphysema:
        sick |= _ball(grid, centre, radius)
    sick &= lungs & ~outer
    if broken is not None:
        sick |= _ball(grid, *broken) & lungs & ~lumen
    hu[sick] = EMPHYSEMA_HU
    hu[lumen | chest.airways] = GAS_HU
    hu = gaussian(hu, plan.spacing, blur_mm, directions=(0, 1))
    hu += np.random.default_rng(plan.seed).normal(0.0, noise_hu, size=plan.shape).astype(np.float32)
    tissue = outer & ~sick
    volume = CTVolume(np.clip(np.rint(hu), -1024, 3071), chest.volume.geometry, name="bronchi")
    phantom = Phantom(volume, chest.right & ~tissue & ~lumen, chest.left & ~tissue & ~lumen, chest.airways | lumen)
    return Tree(phantom, lumen & ~chest.airways, segmental & ~chest.airways, sick & ~lumen)


def _ball(grid: tuple[NDArray[np.float64], ...], centre: Point, radius: float) -> Mask:
    inside: Mask = sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) <= radius**2
    return inside


def _paint(mask: Mask, grid: tuple[NDArray[np.float64], ...], plan: Plan, branch: Branch, radius: float) -> None:
    """Add a branch to ``mask``, working in its box only."""
    start, end = np.asarray(branch.start), np.asarray(branch.end)
    box = []
    for axis, (values, step) in enumerate(zip(grid, plan.spacing, strict=True)):
        flat = values.reshape(-1)
        low, high = min(start[axis], end[axis]) - radius - step, max(start[axis], end[axis]) + radius + step
        where = np.flatnonzero((flat >= low) & (flat <= high))
        box.append(slice(int(where[0]), int(where[-1]) + 1))
    z, y, x = (values.reshape(-1)[part] for values, part in zip(grid, box, strict=True))
    axes = (z[:, None, None], y[None, :, None], x[None, None, :])
    along = end - start
    t = sum((axis - s) * a for axis, s, a in zip(axes, start, along, strict=True)) / float(along @ along)
    t = np.clip(t, 0.0, 1.0)
    distance2 = sum((axis - (s + t * a)) ** 2 for axis, s, a in zip(axes, start, along, strict=True))
    mask[tuple(box)] |= distance2 <= radius**2
