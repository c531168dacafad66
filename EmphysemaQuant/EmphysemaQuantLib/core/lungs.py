"""Lung mask: found on a reduced grid, refined at full resolution, judged before it is handed out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from KernelNormalizationLib.core.body import CLIP_HU, COARSE_MM, PARENCHYMA_HU, TISSUE_BORDER_HU, coarse_body
from KernelNormalizationLib.core.errors import InputError, LungNotFoundError
from KernelNormalizationLib.core.grids import (
    Canonical,
    LabelArray,
    ReducedGrid,
    Spacing,
    bounding_box,
    filled_in_slices,
    gaussian,
    morphology,
    noise_sd,
)
from KernelNormalizationLib.core.progress import Progress, ProgressTracker
from KernelNormalizationLib.core.volume import BoolArray, CTVolume, FloatArray

from .airways import AirwayGrowth, find_trachea, grow_airways
from .bronchi import follow_bronchi, without_leaks
from .facts import Scene, measure
from .quality import MaskQuality, judge
from .split import LEFT, RIGHT, LungPieces, find_lungs

logger = logging.getLogger(__name__)

AIRWAY_GRID_MM = 1.4
# Vessels of up to about 10 mm inside the lung belong to it; the hilum beyond does not.
VESSEL_CLOSING_MM = 5.0
# What is thicker than 12 mm and solid is no vessel of the lung but the dome of the diaphragm, a mass or consolidation.
SOLID_OPENING_MM = 6.0
AIRWAY_WALL_MM = 1.5
BORDER_SIGMA_MM = 0.8
# Block means of the noisiest test chest (tissue SD 66 HU) have an SD of 11 HU; from about 40 HU on, air inside the body
# starts to fall apart at the -400 HU border.
COARSE_NOISE_HU = 40.0
# Noise above this (own choice: a quarter of the contrast between lung and air) opens false paths; the volume is blurred first.
BRONCHI_NOISE_HU = 25.0
# Half way between air and the wall of trachea and main bronchi, so that partial volume leaves the calibre right.
CENTRAL_LUMEN_HU = -500.0


@dataclass(frozen=True)
class LungMask:
    """Right and left lung of a volume.

    Attributes:
        labels: uint8 (k, j, i) in the volume's stored order: 0 background, 1 right lung, 2 left lung.
        airways: bool (k, j, i), lumen of trachea and bronchi as far as they could be followed; excluded from ``labels``, as
            are the walls of trachea and main bronchi.
        quality: whether the mask can be trusted, and why not.
        lobes: uint8 (k, j, i) when a lobe mask was supplied: 1 right upper, 2 right middle, 3 right lower, 4 left
            upper, 5 left lower; ``None`` otherwise.
    """

    labels: LabelArray
    airways: BoolArray
    quality: MaskQuality
    lobes: LabelArray | None = None

    @property
    def mask(self) -> BoolArray:
        """Both lungs, bool (k, j, i)."""
        both: BoolArray = self.labels > 0
        return both

    def airways_ml(self, voxel_ml: float) -> float | None:
        """Volume of the airways' lumen, mL, for voxels of ``voxel_ml``; ``None`` when the mask knows none."""
        voxels = int(np.count_nonzero(self.airways))
        return voxels * voxel_ml if voxels else None


@dataclass(frozen=True)
class _Bronchial:
    """What the airways are grown on; canonical order, the same grid.

    Attributes:
        hu: float32 (k, j, i), HU of the scan's volume.
        smooth: float32 (k, j, i), HU of the smoothest volume of the scan; may be ``hu`` itself.
        spacing: mm along (k, j, i).
        grid: reduced grid on which trachea and main bronchi are grown.
    """

    hu: FloatArray
    smooth: FloatArray
    spacing: Spacing
    grid: ReducedGrid


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
    (hilum, consolidation, effusion) does not. ``smooth`` adds airways to those found on ``volume``; it changes nothing else.

    Args:
        volume: chest CT, HU, any stored axis order.
        progress: told of the six steps and asked for cancellation between them.
        smooth: a smoother volume of the same scan on the same grid (the normalized one), or ``None``.

    Returns:
        The mask in the volume's stored order, with its quality verdict.

    Raises:
        InputError: ``smooth`` is not on the volume's grid.
        LungNotFoundError: nothing in the volume looks like lung.
        Cancelled: the user stopped the run.
    """
    tracker: Progress = progress if progress is not None else ProgressTracker()
    tracker.start("Lung mask", 6)
    frame = Canonical.of(volume.geometry)
    hu = frame.forward(volume.filled())
    coarse_grid = ReducedGrid.near(hu.shape, frame.spacing, COARSE_MM)
    coarse = _calm(coarse_grid.mean(hu, *CLIP_HU), coarse_grid.spacing)
    scene = Scene(hu, coarse, coarse_grid, frame.spacing)
    tree = _bronchial(volume, smooth, hu)
    tracker.advance()
    body = coarse_body(coarse, coarse_grid.spacing)
    air = (coarse < TISSUE_BORDER_HU) & body
    tracker.advance()
    trachea = find_trachea(coarse, body, coarse_grid.spacing)
    growth = None if trachea is None else _grow(tree.hu, trachea, coarse_grid, tree.grid)
    tracker.advance()
    if growth is not None:
        air &= ~_on_other_grid(growth.lumen, tree.grid, coarse_grid)
    pieces = find_lungs(coarse, air, body, coarse_grid.spacing)
    if pieces is None:
        raise LungNotFoundError(_nothing_found(air, coarse_grid.spacing, volume.name))
    tracker.advance()
    closed = _closed(pieces, body, coarse > TISSUE_BORDER_HU, coarse_grid.spacing)
    tracker.advance()
    labels = _refined(hu, closed, coarse_grid, frame.spacing)
    airways = np.zeros(hu.shape, dtype=bool)
    if trachea is not None and growth is not None:
        if smooth is not None:
            growth = _both(growth, _grow(tree.smooth, trachea, coarse_grid, tree.grid))
        airways = _without_airways(labels, growth, tree)
    tracker.advance()
    quality = judge(measure(scene, labels, pieces, body, trachea, growth))
    logger.info("Lung mask of %s: %s", volume.name, quality.verdict)
    return LungMask(frame.backward(labels), frame.backward(airways), quality)


def _bronchial(volume: CTVolume, smooth: CTVolume | None, hu: FloatArray) -> _Bronchial:
    frame = Canonical.of(volume.geometry)
    grid = ReducedGrid.near(hu.shape, frame.spacing, AIRWAY_GRID_MM)
    if smooth is None:
        return _Bronchial(hu, hu, frame.spacing, grid)
    if smooth.shape != volume.shape:
        raise InputError(
            f"The smooth volume has shape {smooth.shape}, the scan {volume.shape}; give two volumes on the same grid."
        )
    return _Bronchial(hu, frame.forward(smooth.filled()), frame.spacing, grid)


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


def _both(first: AirwayGrowth, second: AirwayGrowth) -> AirwayGrowth:
    """What two growths of one scan reached together; neither has leaked, or it holds the trachea only."""
    threshold = max(first.threshold_hu, second.threshold_hu)
    return AirwayGrowth(first.lumen | second.lumen, threshold, leaked=first.leaked and second.leaked)


def _without_airways(labels: LabelArray, growth: AirwayGrowth, tree: _Bronchial) -> BoolArray:
    """Take the airways out of ``labels`` in place; returns their lumen, bool (k, j, i) at full resolution."""
    wall = morphology(growth.lumen, tree.grid.spacing, AIRWAY_WALL_MM, "dilate")
    around = tree.grid.expand(wall, tree.grid.everywhere)
    lumen = tree.grid.expand(growth.lumen, tree.grid.everywhere).copy()
    box = bounding_box((labels > 0) | lumen, margin=1)
    calm = tree.smooth[box]
    lungs = labels[box] > 0
    if noise_sd(calm[::4], lungs[::4]) > BRONCHI_NOISE_HU:
        calm = _smoothed(np.array(calm, dtype=np.float32), tree.spacing)
    # beside lung the wall's region may hold lung, so that only what lies in tissue is measured by its HU
    lumen[box] |= around[box] & ~lungs & (calm < CENTRAL_LUMEN_HU)
    bronchi = follow_bronchi(calm, lungs | around[box], lumen[box], tree.spacing)
    lumen[box] |= bronchi
    labels[around | lumen] = 0
    return lumen


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
    dark = _smoothed(np.ascontiguousarray(hu[box]), spacing) < TISSUE_BORDER_HU
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
    np.clip(hu, *CLIP_HU, out=hu)
    return gaussian(hu, spacing, BORDER_SIGMA_MM, directions=(0, 1))


def _calm(coarse: FloatArray, spacing: Spacing) -> FloatArray:
    """Block means, blurred by one voxel when even they are noisy (large pixels, very low dose)."""
    sd = noise_sd(coarse, coarse > TISSUE_BORDER_HU)
    return gaussian(coarse, spacing, max(spacing[1], spacing[2])) if sd > COARSE_NOISE_HU else coarse
