"""Measurements on a fresh lung mask from which its verdict is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.body import TISSUE_BORDER_HU
from KernelNormalizationLib.core.grids import LabelArray, ReducedGrid, Spacing, bounding_box, components, gaussian, morphology
from KernelNormalizationLib.core.volume import BoolArray, FloatArray

from .airways import AirwayGrowth
from .quality import MaskFacts
from .split import LEFT, RIGHT, LungPieces

# Pure gas, blurred to 2 mm: at most this far above the median of the trachea's own air.
GAS_ABOVE_TRACHEA_HU = 15.0
GAS_HU_WITHOUT_TRACHEA = -975.0
GAS_OPENING_MM = 6.0
METAL_HU = 3000.0


@dataclass(frozen=True)
class Scene:
    """The volume as the segmentation saw it, canonical order.

    Attributes:
        hu: float32 (k, j, i), full resolution, padding replaced by air.
        coarse: float32 (k, j, i), block means on ``grid``.
        grid: the reduced grid.
        spacing: mm of the full grid along (k, j, i).
    """

    hu: NDArray[np.float32]
    coarse: FloatArray
    grid: ReducedGrid
    spacing: Spacing


def measure(
    scene: Scene,
    labels: LabelArray,
    pieces: LungPieces,
    body: BoolArray,
    trachea: BoolArray | None,
    growth: AirwayGrowth | None,
) -> MaskFacts:
    """Measure what the verdict needs.

    Args:
        scene: the volume.
        labels: uint8 (k, j, i) at full resolution: 1 right, 2 left.
        pieces: the lungs as they were chosen on the coarse grid.
        body: bool (k, j, i) on the coarse grid.
        trachea: bool (k, j, i) on the coarse grid, or ``None``.
        growth: the airways, or ``None``.
    """
    voxel_ml = float(np.prod(scene.spacing)) / 1000.0
    counts = np.bincount(labels.ravel(), minlength=3)
    box = bounding_box(labels > 0) if counts[1:].any() else (slice(0, 0),) * 3
    inside = scene.hu[box][labels[box] > 0]
    row_mm, column_mm = scene.spacing[1], scene.spacing[2]
    return MaskFacts(
        right_ml=float(counts[RIGHT]) * voxel_ml,
        left_ml=float(counts[LEFT]) * voxel_ml,
        mean_hu=float(np.mean(inside, dtype=np.float64)) if inside.size else 0.0,
        top_cut_cm2=float(np.count_nonzero(labels[-1])) * row_mm * column_mm / 100.0,
        bottom_cut_cm2=float(np.count_nonzero(labels[0])) * row_mm * column_mm / 100.0,
        edge_cm2=_edge_area_cm2(labels, scene.spacing),
        dense_percent=100.0 * float(np.mean(inside > TISSUE_BORDER_HU)) if inside.size else 0.0,
        trachea_found=trachea is not None,
        airways_leaked=growth is not None and growth.leaked,
        gas_pocket_ml=_gas_pocket_ml(scene, pieces, trachea),
        left_out_gas_ml=_left_out_ml(scene, pieces),
        metal_ml=float(np.count_nonzero(scene.hu[box] >= METAL_HU)) * voxel_ml,
        dorsal_gap_mm=(_dorsal_gap_mm(scene, pieces, body, RIGHT), _dorsal_gap_mm(scene, pieces, body, LEFT)),
        contact_cm2=_contact_cm2(pieces.labels, scene.grid.spacing),
    )


def _contact_cm2(labels: LabelArray, spacing: Spacing) -> float:
    """Area over which both labels are face neighbours, cm2."""
    area = 0.0
    for axis in range(3):
        first = labels.take(range(labels.shape[axis] - 1), axis)
        second = labels.take(range(1, labels.shape[axis]), axis)
        faces = np.count_nonzero((first != second) & (first > 0) & (second > 0))
        area += float(faces) * float(np.prod(spacing)) / spacing[axis]
    return area / 100.0


def _dorsal_gap_mm(scene: Scene, pieces: LungPieces, body: BoolArray, side: int) -> float:
    """Median tissue thickness between the back of a lung and the skin behind it, mm; 0 without that lung."""
    lung = pieces.labels == side
    area = np.count_nonzero(lung, axis=(1, 2))
    if not area.any():
        return 0.0
    level = area > 0.5 * area.max()
    rows = np.arange(lung.shape[1])[None, :, None]
    last_lung = np.where(lung[level], rows, -1).max(axis=1)
    last_body = np.where(body[level], rows, -1).max(axis=1)
    gaps = (last_body - last_lung)[last_lung >= 0]
    return float(np.median(gaps)) * scene.grid.spacing[1]


def _edge_area_cm2(labels: LabelArray, spacing: Spacing) -> float:
    sides = np.count_nonzero(labels[:, :, 0]) + np.count_nonzero(labels[:, :, -1])
    ends = np.count_nonzero(labels[:, 0]) + np.count_nonzero(labels[:, -1])
    return float(sides * spacing[0] * spacing[1] + ends * spacing[0] * spacing[2]) / 100.0


def _gas_pocket_ml(scene: Scene, pieces: LungPieces, trachea: BoolArray | None) -> float:
    """Largest region of pure gas at least 12 mm thick inside the lungs, mL."""
    limit = GAS_HU_WITHOUT_TRACHEA
    if trachea is not None:
        core = morphology(trachea, scene.grid.spacing, 2.0, "erode")
        limit = float(np.median(scene.coarse[core if core.any() else trachea])) + GAS_ABOVE_TRACHEA_HU
    calm = gaussian(scene.coarse, scene.grid.spacing, max(scene.grid.spacing[1:]))
    gas = (calm < limit) & (pieces.labels > 0)
    _, sizes = components(morphology(gas, scene.grid.spacing, GAS_OPENING_MM, "open"))
    return sizes[0] * float(np.prod(scene.grid.spacing)) / 1000.0 if sizes else 0.0


def _left_out_ml(scene: Scene, pieces: LungPieces) -> float:
    """Gas without parenchyma in the slices that hold a good part of the lungs, mL (bowel lies lower)."""
    area = np.count_nonzero(pieces.labels, axis=(1, 2))
    level = area > 0.5 * area.max()
    return float(np.count_nonzero(pieces.left_out[level])) * float(np.prod(scene.grid.spacing)) / 1000.0
