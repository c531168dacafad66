"""Lung segmentation: on a reduced grid, refined at full resolution, with a quality verdict."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from KernelNormalizationLib.core.arrays import BoolArray, FloatArray, LabelArray, Spacing
from KernelNormalizationLib.core.errors import InputError, LungNotFoundError
from KernelNormalizationLib.core.imaging.body import (
    CLIP_HU,
    COARSE_MM,
    PARENCHYMA_HU,
    TISSUE_BORDER_HU,
    coarse_body,
    padded_blocks,
)
from KernelNormalizationLib.core.imaging.filters import gaussian, noise_sd
from KernelNormalizationLib.core.imaging.morphology import bounding_box, filled_in_slices, morphology
from KernelNormalizationLib.core.imaging.orientation import Canonical
from KernelNormalizationLib.core.imaging.reduced_grid import ReducedGrid
from KernelNormalizationLib.core.progress import Progress, ProgressTracker
from KernelNormalizationLib.core.volume import CTVolume

from .airways import AirwayGrowth, find_trachea, grow_airways
from .bronchi import follow_bronchi, without_leaks
from .left_right import LEFT, RIGHT, LungPieces, find_lungs
from .quality_measurements import Scene, measure
from .quality_verdict import MaskQuality, judge

logger = logging.getLogger(__name__)

AIRWAY_GRID_MM = 1.4
# Vessels of up to about 10 mm inside the lung belong to it; the hilum beyond does not.
VESSEL_CLOSING_MM = 5.0
# Solid parts thicker than 12 mm are not vessels of the lung but the dome of the diaphragm, a mass or consolidation.
SOLID_OPENING_MM = 6.0
AIRWAY_WALL_MM = 1.5
BORDER_SIGMA_MM = 0.8
# Block means of the noisiest test chest (tissue SD 66 HU) have an SD of 11 HU; from about 40 HU on, air inside the body
# starts to fall apart at the -400 HU border.
COARSE_NOISE_HU = 40.0
# Above this (own choice: a quarter of the contrast between lung and air) noise breaks wall and lumen up, so that nothing is
# followed; blurring the B70f chest first found nothing more either.
BRONCHI_NOISE_HU = 25.0
# Half way between air and the wall of trachea and main bronchi, so that partial volume leaves the calibre right.
CENTRAL_LUMEN_HU = -500.0


@dataclass(frozen=True, eq=False, repr=False)
class LungMask:
    """Right and left lung of a volume; equal (``==``, ``hash``) only to itself.

    Attributes:
        labels: uint8 (k, j, i) in the volume's stored order: 0 background, 1 right lung, 2 left lung.
        airways: bool (k, j, i), lumen of trachea and bronchi as far as they could be followed; excluded from ``labels``, as
            are the walls of trachea and main bronchi.
        quality: whether the mask can be trusted, and why not.
        lobes: uint8 (k, j, i) when a lobe mask was supplied: 1 right upper, 2 right middle, 3 right lower, 4 left
            upper, 5 left lower; ``None`` otherwise.
        notes: what the user should know of how the mask came about, without doubt about it.
    """

    labels: LabelArray
    airways: BoolArray
    quality: MaskQuality
    lobes: LabelArray | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        right, left = (int(np.count_nonzero(self.labels == label)) for label in (RIGHT, LEFT))
        lobes = ", with lobes" if self.lobes is not None else ""
        return f"LungMask({right} voxels right, {left} left{lobes}, quality {self.quality.verdict})"

    @property
    def mask(self) -> BoolArray:
        """Both lungs, bool (k, j, i)."""
        both: BoolArray = self.labels > 0
        return both

    def airways_ml(self, voxel_ml: float) -> float | None:
        """Volume of the airways' lumen, mL, for voxels of ``voxel_ml``; ``None`` if the mask has none."""
        voxels = int(np.count_nonzero(self.airways))
        return voxels * voxel_ml if voxels else None


def smoothest(volumes: Sequence[CTVolume]) -> CTVolume:
    """The volume of a scan on which airways are followed best: a normalized one, else the one with least noise.

    Args:
        volumes: at least one; reconstructions of one scan on one grid.
    """
    synthetic = [volume for volume in volumes if volume.synthetic]
    if synthetic or len(volumes) == 1:
        return synthetic[0] if synthetic else volumes[0]

    def noise(volume: CTVolume) -> float:
        # every fourth slice is enough to rank reconstructions
        hu = Canonical.of(volume.geometry).forward(volume.hu)[::4]
        return noise_sd(hu, (hu > PARENCHYMA_HU[0]) & (hu < PARENCHYMA_HU[1]))

    return min(volumes, key=noise)


def segment_lungs(volume: CTVolume, progress: Progress | None = None, smooth: CTVolume | None = None) -> LungMask:
    """Segment both lungs without trachea and bronchi.

    Vessels inside the lungs belong to the mask, as in the masks of lungmask and TotalSegmentator; tissue outside them
    (hilum, consolidation, effusion) does not. On ``smooth`` the bronchi are followed further; it changes nothing else.

    Args:
        volume: chest CT, HU, any stored axis order.
        progress: receives the six steps and is asked for cancellation between them.
        smooth: a smoother volume of the same scan on the same grid (the normalized one), or ``None``.

    Returns:
        The mask in the volume's stored order, with its quality verdict.

    Raises:
        InputError: ``smooth`` is not on the volume's grid.
        LungNotFoundError: nothing in the volume looks like lung.
        Cancelled: the user stopped the run.
    """
    tracker: Progress = progress if progress is not None else ProgressTracker()
    if smooth is not None and smooth.shape != volume.shape:
        raise InputError(
            f"The smooth volume has shape {smooth.shape}, the scan {volume.shape}; give two volumes on the same grid."
        )
    tracker.start("Lung mask", 6)
    frame = Canonical.of(volume.geometry)
    hu = frame.forward(volume.filled())
    coarse_grid = ReducedGrid.near(hu.shape, frame.spacing, COARSE_MM)
    coarse = _calm(coarse_grid.mean(hu, *CLIP_HU), coarse_grid.spacing)
    padding = frame.forward(volume.padding_mask)
    scene = Scene(hu, coarse, coarse_grid, frame.spacing, padding)
    airway_grid = ReducedGrid.near(hu.shape, frame.spacing, AIRWAY_GRID_MM)
    tracker.advance()
    body = coarse_body(coarse, coarse_grid.spacing, padded_blocks(volume, frame, coarse_grid))
    air = (coarse < TISSUE_BORDER_HU) & body
    tracker.advance()
    trachea = find_trachea(coarse, body, coarse_grid.spacing)
    growth = None if trachea is None else _grow(hu, trachea, coarse_grid, airway_grid)
    tracker.advance()
    if growth is not None:
        air &= ~_on_other_grid(growth.lumen, airway_grid, coarse_grid)
    pieces = find_lungs(coarse, air, body, coarse_grid.spacing)
    if pieces is None:
        raise LungNotFoundError(_nothing_found(air, coarse_grid.spacing, volume.name))
    tracker.advance()
    closed = _closed(pieces, body, coarse > TISSUE_BORDER_HU, coarse_grid.spacing)
    tracker.advance()
    labels = _refined(hu, closed, coarse_grid, frame.spacing)
    airways = np.zeros(hu.shape, dtype=bool)
    if growth is not None:
        calm = hu if smooth is None else frame.forward(smooth.filled())
        airways = _without_airways(labels, growth, airway_grid, calm, frame.spacing)
    labels[padding] = 0
    tracker.advance()
    quality = judge(measure(scene, labels, pieces, body, trachea, growth))
    logger.info("Lung mask of %s: %s", volume.name, quality.verdict)
    return LungMask(frame.backward(labels), frame.backward(airways), quality)


def _nothing_found(air: BoolArray, spacing: Spacing, name: str) -> str:
    millilitres = float(air.sum()) * float(np.prod(spacing)) / 1000
    return (
        f"No lung was found in “{name}”: the body holds {millilitres:.0f} mL of air and none of it looks like lung "
        "tissue. Check that this is a chest CT in HU with the lungs in the field of view, or supply a lung mask."
    )


def _grow(hu: FloatArray, trachea: BoolArray, coarse_grid: ReducedGrid, grid: ReducedGrid) -> AirwayGrowth:
    """Airways on the finer ``grid``, grown from the middle of the coarse trachea."""
    core = morphology(trachea, coarse_grid.spacing, 1.0, "erode")
    seeds = _on_other_grid(core if core.any() else trachea, coarse_grid, grid)
    reduced = grid.mean(hu, *CLIP_HU)
    growth = grow_airways(reduced, seeds, grid.spacing)
    return replace(growth, lumen=without_leaks(reduced, growth.lumen, seeds, grid.spacing))


def _without_airways(
    labels: LabelArray, growth: AirwayGrowth, grid: ReducedGrid, smooth: FloatArray, spacing: Spacing
) -> BoolArray:
    """Remove the airways from ``labels`` in place; returns their lumen, bool (k, j, i) at full resolution.

    Args:
        labels: uint8 (k, j, i) at full resolution, canonical order.
        growth: trachea and bronchi on ``grid``.
        grid: the reduced grid of the growth.
        smooth: float32 (k, j, i) at full resolution, HU of the smoothest volume of the scan.
        spacing: mm along (k, j, i).
    """
    wall = morphology(growth.lumen, grid.spacing, AIRWAY_WALL_MM, "dilate")
    airways = np.zeros(labels.shape, dtype=bool)
    box = _common(grid.full_box(bounding_box(wall)), bounding_box(labels > 0, margin=1))
    lungs, hu = labels[box] > 0, smooth[box]
    around, lumen = grid.expand(wall, box), grid.expand(growth.lumen, box)
    # beside lung the wall's region may hold lung, so that only what lies in tissue is measured by its HU
    lumen |= around & ~lungs & (hu < CENTRAL_LUMEN_HU)
    if noise_sd(hu[::4], lungs[::4]) < BRONCHI_NOISE_HU:
        lumen |= follow_bronchi(hu, lungs | around, lumen, spacing)
    labels[box][around | lumen] = 0
    # the rim of a lumen is part wall; one voxel of it stays on this side of any wall
    airways[box] = lumen | (_grown_by_one(lumen) & around & (hu < CENTRAL_LUMEN_HU))
    return airways


def _grown_by_one(mask: BoolArray) -> BoolArray:
    """``mask``, bool (k, j, i), and all voxels that share a face with it."""
    grown = mask.copy()
    for axis in range(3):
        before, after = np.swapaxes(grown, 0, axis), np.swapaxes(mask, 0, axis)
        before[1:] |= after[:-1]
        before[:-1] |= after[1:]
    return grown


def _common(first: tuple[slice, ...], second: tuple[slice, ...]) -> tuple[slice, slice, slice]:
    """The smallest box around two."""
    k, j, i = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
    return k, j, i


def _on_other_grid(mask: BoolArray, source: ReducedGrid, target: ReducedGrid) -> BoolArray:
    """Nearest-neighbour transfer of a mask between two reduced grids of one volume."""
    index = []
    for axis in range(3):
        blocks = -(-target.full_shape[axis] // target.factors[axis])
        centres = np.arange(blocks) * target.factors[axis] + target.factors[axis] // 2
        index.append(np.minimum(centres, target.full_shape[axis] - 1) // source.factors[axis])
    moved: BoolArray = mask[np.ix_(*index)]
    return moved


def _closed(pieces: LungPieces, body: BoolArray, tissue: BoolArray, spacing: Spacing) -> LabelArray:
    """Labels whose vessels and other small holes are closed, lung by lung, so that the mediastinum is never bridged.

    A slice through the dome of the diaphragm has tissue with lung all round it: such a hole stays open when it is thick.
    """
    closed = np.zeros(pieces.labels.shape, dtype=np.uint8)
    for label in (RIGHT, LEFT):
        lung = pieces.labels == label
        if not lung.any():
            continue
        whole = filled_in_slices(morphology(lung, spacing, VESSEL_CLOSING_MM, "close"))
        solid = morphology(whole & tissue, spacing, SOLID_OPENING_MM, "open")
        closed[whole & ~solid & body & (closed == 0)] = label
    # where the two closed lungs overlap, the air decides
    has_air = pieces.labels > 0
    closed[has_air] = pieces.labels[has_air]
    return closed


def _refined(hu: FloatArray, closed: LabelArray, coarse_grid: ReducedGrid, spacing: Spacing) -> LabelArray:
    """Full-resolution labels (k, j, i), canonical order.

    Well inside the coarse mask everything is lung; in a shell of one coarse voxel the HU decide.
    """
    labels = np.zeros(hu.shape, dtype=np.uint8)
    box = coarse_grid.full_box(bounding_box(closed > 0, margin=2))
    outer, inner = _shell(closed, coarse_grid.spacing)
    dark = _smoothed(hu[box], spacing) < TISSUE_BORDER_HU
    labels[box] = coarse_grid.expand(outer, box) * (coarse_grid.expand(inner, box) | dark)
    return labels


def _shell(closed: LabelArray, spacing: Spacing) -> tuple[LabelArray, BoolArray]:
    """Labels grown by one coarse voxel (uint8), and the voxels at least one voxel inside a lung (bool)."""
    reach = max(spacing[1], spacing[2])
    outer = closed.copy()
    for label in (RIGHT, LEFT):
        grown = morphology(closed == label, spacing, reach, "dilate")
        outer[grown & (outer == 0)] = label
    return outer, morphology(closed > 0, spacing, reach, "erode")


def _smoothed(hu: FloatArray, spacing: Spacing) -> FloatArray:
    """In-plane Gaussian: enough to keep the noise of the sharpest kernel off the border."""
    clipped = np.clip(hu, *CLIP_HU, dtype=np.float32, order="C")
    return gaussian(clipped, spacing, BORDER_SIGMA_MM, directions=(0, 1))


def _calm(coarse: FloatArray, spacing: Spacing) -> FloatArray:
    """Block means, blurred by one voxel when even they are noisy (large pixels, very low dose)."""
    sd = noise_sd(coarse, coarse > TISSUE_BORDER_HU)
    return gaussian(coarse, spacing, max(spacing[1], spacing[2])) if sd > COARSE_NOISE_HU else coarse
