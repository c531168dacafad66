"""Measurements on a lung mask on which its verdict is based."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import BoolArray, FloatArray, LabelArray, Spacing
from KernelNormalizationLib.core.imaging.body import CLIP_HU, COARSE_MM, TISSUE_BORDER_HU
from KernelNormalizationLib.core.imaging.filters import gaussian
from KernelNormalizationLib.core.imaging.morphology import bounding_box, components, morphology, to_image
from KernelNormalizationLib.core.imaging.orientation import Canonical
from KernelNormalizationLib.core.imaging.reduced_grid import ReducedGrid
from KernelNormalizationLib.core.stopping import filtered
from KernelNormalizationLib.core.volume import CTVolume

from .airways import AirwayGrowth
from .left_right import LEFT, RIGHT, LungPieces
from .quality_verdict import MaskFacts
from .silhouettes import silhouette_gaps_cm2

# Pure gas, blurred to 2 mm: at most this far above the median of the trachea's own air.
GAS_ABOVE_TRACHEA_HU = 15.0
GAS_HU_WITHOUT_TRACHEA = -975.0
GAS_OPENING_MM = 6.0
METAL_HU = 3000.0
# Blur of the padding that gives the direction of its border, and the pixels around the lungs that it needs.
NORMAL_SIGMA_PIXELS, NORMAL_MARGIN = 3.0, 12
SOLID_OPENING_MM = 8.0
# Own choices. Lung at expiration is near -700 HU; the main bronchi are 15 mm wide and meet the lungs with a few cm2.
MISSED_BELOW_HU = -600.0
MISSED_OPENING_MM = 6.0
MISSED_PIECE_ML = 20.0
MISSED_CONTACT_CM2 = 10.0
PURE_GAS_HU = -975.0
# Own choice: a stray piece of a mask is smaller in its slice, a lung is larger in all but its last slices.
LUNG_SLICE_CM2 = 10.0


@dataclass(frozen=True)
class Scene:
    """The volume as used by the segmentation, in canonical order.

    Attributes:
        hu: float32 (k, j, i), full resolution, padding replaced by air.
        coarse: float32 (k, j, i), block means on ``grid``.
        grid: the reduced grid.
        spacing: mm of the full grid along (k, j, i).
        padding: bool (k, j, i), full resolution, what lies outside the field of view.
    """

    hu: NDArray[np.float32]
    coarse: FloatArray
    grid: ReducedGrid
    spacing: Spacing
    padding: BoolArray


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
    return replace(
        _of_labels(scene, labels),
        trachea_found=trachea is not None,
        airways_leaked=growth is not None and growth.leaked,
        gas_pocket_ml=_gas_pocket_ml(scene, pieces, trachea),
        left_out_gas_ml=_left_out_ml(scene, pieces),
        dorsal_gap_mm=(_dorsal_gap_mm(scene, pieces, body, RIGHT), _dorsal_gap_mm(scene, pieces, body, LEFT)),
        contact_cm2=_contact_cm2(pieces.labels, scene.grid.spacing),
    )


def measure_supplied(volume: CTVolume, labels: LabelArray) -> MaskFacts:
    """Measure a mask from another program, or an edited one, without what only the own segmentation measures (gas, trachea).

    Args:
        volume: the CT.
        labels: uint8 (k, j, i) in stored order: 1 right, 2 left.
    """
    frame = Canonical.of(volume.geometry)
    hu, sides = frame.forward(volume.filled()), frame.forward(labels)
    grid = ReducedGrid.near(hu.shape, frame.spacing, COARSE_MM)
    scene = Scene(hu, grid.mean(hu, *CLIP_HU), grid, frame.spacing, frame.forward(volume.padding_mask))
    coarse = _at_centres(sides, grid)
    contact = _contact_cm2(coarse, grid.spacing)
    return replace(
        _of_labels(scene, sides),
        contact_cm2=contact,
        missed_lung_ml=_missed_lung_ml(scene, coarse > 0),
        left_out_slices=_left_out_slices(sides, frame.spacing),
    )


def _of_labels(scene: Scene, labels: LabelArray) -> MaskFacts:
    """Measurements of a mask and the HU under it; ``labels`` in canonical order."""
    voxel_ml = float(np.prod(scene.spacing)) / 1000.0
    # counting each label takes a tenth of the time and memory of a histogram of all voxels
    right, left = (int(np.count_nonzero(labels == side)) for side in (RIGHT, LEFT))
    box = bounding_box(labels > 0) if right or left else (slice(0, 0),) * 3
    inside = scene.hu[box][labels[box] > 0]
    row_mm, column_mm = scene.spacing[1], scene.spacing[2]
    coarse_labels = _at_centres(labels, scene.grid)
    return MaskFacts(
        right_ml=right * voxel_ml,
        left_ml=left * voxel_ml,
        mean_hu=float(np.mean(inside, dtype=np.float64)) if inside.size else 0.0,
        top_cut_cm2=float(np.count_nonzero(labels[-1])) * row_mm * column_mm / 100.0,
        bottom_cut_cm2=float(np.count_nonzero(labels[0])) * row_mm * column_mm / 100.0,
        edge_cm2=cut_surface_cm2(labels > 0, scene.padding, scene.spacing),
        dense_percent=100.0 * float(np.mean(inside > TISSUE_BORDER_HU)) if inside.size else 0.0,
        metal_ml=float(np.count_nonzero(scene.hu[box] >= METAL_HU)) * voxel_ml,
        holes_ml=_holes_ml(coarse_labels > 0, scene.grid.spacing),
        solid_ml=_solid_ml(scene, coarse_labels > 0),
        silhouette_gap_cm2=silhouette_gaps_cm2(coarse_labels, scene.grid.spacing),
    )


def _at_centres(labels: LabelArray, grid: ReducedGrid) -> LabelArray:
    """The labels in the middle of every block of the reduced grid, uint8 (k, j, i)."""
    index = [np.minimum(np.arange(-(-n // f)) * f + f // 2, n - 1) for n, f in zip(labels.shape, grid.factors, strict=True)]
    sampled: LabelArray = labels[np.ix_(*index)]
    return sampled


def _holes_ml(lungs: BoolArray, spacing: Spacing) -> float:
    """Enclosed cavities of the mask, mL."""
    # vessels and bronchi reach the hilum, so only a missed or left-out part is enclosed on all sides
    whole = sitk.GetArrayFromImage(filtered(sitk.BinaryFillholeImageFilter, to_image(lungs, spacing)))
    return float(np.count_nonzero(whole) - np.count_nonzero(lungs)) * float(np.prod(spacing)) / 1000.0


def _missed_lung_ml(scene: Scene, lungs: BoolArray) -> float:
    """Air that looks like lung and lies against the mask, but outside it, mL.

    Left out of account are: the rim that every mask leaves (thinner than the opening), what reaches the edge of the image
    (air around the patient), what meets the mask with a small area (trachea, bowel), and pure gas (taken out on purpose).
    """
    spacing = scene.grid.spacing
    free = morphology((scene.coarse < MISSED_BELOW_HU) & ~lungs, spacing, MISSED_OPENING_MM, "open")
    voxel_ml = float(np.prod(spacing)) / 1000.0
    pieces, sizes = components(free, int(MISSED_PIECE_ML / voxel_ml))
    missed = 0.0
    for number in range(1, len(sizes) + 1):
        piece = pieces == number
        at_edge = any(piece[:, row].any() or piece[:, :, row].any() for row in (0, -1))
        if at_edge or float(np.mean(scene.coarse[piece], dtype=np.float64)) < PURE_GAS_HU:
            continue
        if _contact_cm2(np.where(piece, np.uint8(LEFT), lungs.astype(np.uint8)), spacing) >= MISSED_CONTACT_CM2:
            missed += sizes[number - 1] * voxel_ml
    return missed


def _left_out_slices(labels: LabelArray, spacing: Spacing) -> int:
    """Transverse slices without a lung between two that hold it, as in a mask drawn on every second slice; canonical order.

    The number is that of the lung with more of them.
    """
    most = 0
    for side in (RIGHT, LEFT):
        area_cm2 = np.array([np.count_nonzero(one == side) for one in labels]) * spacing[1] * spacing[2] / 100.0
        held = np.flatnonzero(area_cm2 > LUNG_SLICE_CM2)
        if held.size:
            most = max(most, int(np.count_nonzero(area_cm2[held[0] : held[-1]] == 0.0)))
    return most


def _solid_ml(scene: Scene, lungs: BoolArray) -> float:
    """Largest piece of tissue inside the mask that is at least 16 mm thick, mL; vessels of the lungs are thinner."""
    solid = morphology((scene.coarse > TISSUE_BORDER_HU) & lungs, scene.grid.spacing, SOLID_OPENING_MM, "open")
    _, sizes = components(solid)
    return sizes[0] * float(np.prod(scene.grid.spacing)) / 1000.0 if sizes else 0.0


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


def cut_surface_cm2(lungs: BoolArray, outside: BoolArray, spacing: Spacing) -> float:
    """Surface of the lungs that the border of the image in plane, or padding anywhere, cuts; cm2.

    Each face counts with the component of the surface's normal along it (gradient of the blurred outside), so that a round
    field of view has the area of its cylinder and not that of its steps.

    Args:
        lungs: bool (k, j, i) in canonical order.
        outside: bool (k, j, i), padding.
        spacing: mm along (k, j, i).
    """
    if not lungs.any():
        return 0.0
    box = bounding_box(lungs, margin=NORMAL_MARGIN)
    inner, unseen = lungs[box], outside[box]
    row_end, column_end = spacing[0] * spacing[2], spacing[0] * spacing[1]
    area = row_end * float(np.count_nonzero(lungs[:, 0]) + np.count_nonzero(lungs[:, -1]))
    area += column_end * float(np.count_nonzero(lungs[:, :, 0]) + np.count_nonzero(lungs[:, :, -1]))
    if unseen.any():
        blurred = gaussian(unseen.astype(np.float32), spacing, NORMAL_SIGMA_PIXELS * max(spacing[1:]), (0, 1))
        rows, columns = np.gradient(blurred, spacing[1], axis=1), np.gradient(blurred, spacing[2], axis=2)
        length = np.maximum(np.hypot(rows, columns), 1e-9)
        faces = ((1, np.abs(rows) / length, row_end), (2, np.abs(columns) / length, column_end))
        for axis, cosine, face in faces:
            area += face * float(cosine[_beside(unseen, axis) & inner].sum())
        area += spacing[1] * spacing[2] * float(np.count_nonzero(_beside(unseen, 0) & inner))
    return area / 100.0


def _beside(mask: BoolArray, axis: int) -> BoolArray:
    """Voxels (k, j, i) whose neighbour on either side along ``axis`` is in ``mask``."""
    beside = np.zeros_like(mask)
    after, before, source = (np.swapaxes(array, 0, axis) for array in (beside, beside, mask))
    after[1:] |= source[:-1]
    before[:-1] |= source[1:]
    return beside


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
