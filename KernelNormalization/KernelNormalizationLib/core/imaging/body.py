"""Coarse segmentation of body and lungs, for cropping, for describing a scan and for measuring its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..arrays import BoolArray, FloatArray, Spacing
from ..volume import CTVolume
from .morphology import bounding_box, components, filled_in_slices, morphology
from .orientation import Canonical
from .reduced_grid import ReducedGrid

# Half-way between aerated lung (about -850 HU) or air and soft tissue (about 0 to 50 HU).
TISSUE_BORDER_HU = -400.0
# The upper clip keeps bone and metal from outweighing lung in a block mean; the lower one is the usual HU floor.
CLIP_HU = (-1024.0, 300.0)
COARSE_MM = 2.0
# Opening with 2 x 2 voxels in plane (4 mm) parts the body from the shell of the table and from gowns. A thin chest wall loses
# its corners by it and would no longer close round the lungs: what lies this many voxels from the rest is given back.
RESTORED_VOXELS = 2
# Lung parenchyma, blurred to 2 mm, lies between pure gas and tissue.
PARENCHYMA_HU = (-930.0, -400.0)
# Outside air with gowns, foam and noise cut off at the floor in it: up to 70 % in a test chest; lungs with severe emphysema
# above 35 %, others above 95 %. A lung that is cut has the chest on both sides of 40 % to all of it; foam of none.
PARENCHYMA_SHARE_LIMIT, FLANKED_SHARE_LIMIT, SURE_SHARE = 0.3, 0.3, 0.85
CONTINUES_CM2, CONTINUES_FLANKED_SHARE = 10.0, 0.1
EDGE_LUNG_ML, SMALL_PIECE_ML = 50.0, 2.0
EDGE_EROSION_MM = 4.0
# The lung region is read on blocks of 4 x 4 pixels, whose mean takes most of a sharp kernel's noise away, and keeps one
# block's distance to its border, so that partial volume does not count as lung.
BLOCK, EROSION_BLOCKS = 4, 1
LUNG_HU = -500.0


@dataclass(frozen=True, eq=False, repr=False)
class BodyRegion:
    """Body and coarse lung region of a volume; equal (``==``, ``hash``) only to itself.

    Attributes:
        box: rows and columns that hold the body in any slice, as two slices of the full-resolution image.
        body: boolean (k, j, i), the body with its cavities, to one block of about 2 mm.
        slices_with_body: boolean (k,).
        lungs: boolean (k, j, i), aerated voxels inside the body, borders left out; airways and bowel gas may be included.
    """

    box: tuple[slice, slice]
    body: BoolArray
    slices_with_body: BoolArray
    lungs: BoolArray

    def __repr__(self) -> str:
        rows, columns = self.box
        found = f"{np.count_nonzero(self.slices_with_body)} of {self.slices_with_body.size} slices"
        return f"BodyRegion({found}, rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop})"


def find_body(volume: CTVolume) -> BodyRegion | None:
    """Body region of ``volume``; ``None`` if nothing denser than lung is in the image."""
    body = body_mask(volume)
    if not body.any():
        return None
    rows, columns = (_span(np.asarray(body.any(axis=axes))) for axes in ((0, 2), (0, 1)))
    spacing = volume.geometry.spacing
    grid = ReducedGrid((1, BLOCK, BLOCK), volume.shape, (spacing[0], BLOCK * spacing[1], BLOCK * spacing[2]))
    means = grid.mean(volume.filled(), -np.inf, np.inf)
    inside = _at_blocks(body)
    # the coarse grid joins thin slices, so the slices with body are found one by one
    slices = np.asarray(((means > TISSUE_BORDER_HU) & inside.any(axis=0)).any(axis=(1, 2)))
    lungs = sitk.GetImageFromArray((inside & (means < LUNG_HU)).astype(np.uint8))
    lungs = sitk.BinaryErode(lungs, [EROSION_BLOCKS, EROSION_BLOCKS, 0])
    return BodyRegion((rows, columns), body, slices, grid.expand(sitk.GetArrayFromImage(lungs) > 0, grid.everywhere))


def _span(used: BoolArray) -> slice:
    """From the first to the last index in use, and one block more on either side."""
    where = np.flatnonzero(used)
    return slice(max(0, int(where[0]) - BLOCK), min(used.size, int(where[-1]) + 1 + BLOCK))


def _at_blocks(mask: BoolArray) -> BoolArray:
    """The middle of every block of ``mask`` (k, j, i)."""
    rows, columns = (np.minimum(np.arange(-(-n // BLOCK)) * BLOCK + BLOCK // 2, n - 1) for n in mask.shape[1:])
    middle: BoolArray = mask[:, rows][:, :, columns]
    return middle


def body_mask(volume: CTVolume) -> BoolArray:
    """The body with its cavities at full resolution (to one block of about 2 mm), bool (k, j, i) in stored order."""
    frame = Canonical.of(volume.geometry)
    hu = frame.forward(volume.filled())
    grid = ReducedGrid.near(hu.shape, frame.spacing, COARSE_MM)
    coarse = coarse_body(grid.mean(hu, *CLIP_HU), grid.spacing, padded_blocks(volume, frame, grid))
    full: BoolArray = frame.backward(grid.expand(coarse, grid.everywhere))
    return full


def coarse_body(coarse: FloatArray, spacing: Spacing, outside: BoolArray | None = None) -> BoolArray:
    """The body with its cavities on a reduced grid: largest solid, its holes closed slice by slice.

    Lungs that the field of view cuts open are no holes; air at the border or the padding that looks like lung is added.

    Args:
        coarse: float32 (k, j, i) in canonical order, HU, spacing about 2 mm.
        spacing: mm along (k, j, i).
        outside: bool (k, j, i), blocks with padding (see :func:`padded_blocks`); ``None`` when there is none.
    """
    unseen = np.zeros(coarse.shape, dtype=bool) if outside is None else outside
    solid = (coarse > TISSUE_BORDER_HU) & ~unseen
    labels, sizes = components(_without_thin_parts(solid))
    if not sizes:
        return np.zeros(coarse.shape, dtype=bool)
    body = filled_in_slices(_grown_in_plane(labels == 1, RESTORED_VOXELS) & solid) & ~unseen
    cut = _cut_lung(coarse, body, unseen, spacing)
    # vessels inside a lung that is cut are closed in by it
    return filled_in_slices(body | cut) & ~unseen if cut.any() else body


def padded_blocks(volume: CTVolume, frame: Canonical, grid: ReducedGrid) -> BoolArray | None:
    """Blocks of ``grid`` in canonical order that hold padding, bool (k, j, i); ``None`` for a volume without padding."""
    if not volume.has_padding:
        return None
    padded: BoolArray = grid.mean(frame.forward(volume.padding_mask), 0.0, 1.0) > 0.0
    return padded


def _without_thin_parts(mask: BoolArray) -> BoolArray:
    """Opening of ``mask`` (k, j, i) with 2 x 2 voxels in plane."""
    squares = mask[:, :-1, :-1] & mask[:, 1:, :-1] & mask[:, :-1, 1:] & mask[:, 1:, 1:]
    kept = np.zeros_like(mask)
    for corner in (kept[:, :-1, :-1], kept[:, 1:, :-1], kept[:, :-1, 1:], kept[:, 1:, 1:]):
        corner |= squares
    return kept


def _grown_in_plane(mask: BoolArray, voxels: int) -> BoolArray:
    """``mask`` (k, j, i) grown by a square of ``voxels`` in plane."""
    grown = mask.copy()
    for _ in range(voxels):
        before = grown.copy()
        grown[:, 1:] |= before[:, :-1]
        grown[:, :-1] |= before[:, 1:]
        before = grown.copy()
        grown[:, :, 1:] |= before[:, :, :-1]
        grown[:, :, :-1] |= before[:, :, 1:]
    return grown


def _cut_lung(coarse: FloatArray, body: BoolArray, outside: BoolArray, spacing: Spacing) -> BoolArray:
    """Air beyond ``body`` that the border or padding cuts and that is lung, bool (k, j, i).

    It touches them in plane, holds parenchyma, and has the chest around it or continues lung of a closed slice.
    """
    rim = _grown_in_plane(outside, 1)
    rim[:, [0, -1], :] = True
    rim[:, :, [0, -1]] = True
    flanked = _flanked(body, 1) | _flanked(body, 2)
    beside_lung = _beside_in_k(body & (coarse < TISSUE_BORDER_HU))
    labels, sizes = components((coarse < TISSUE_BORDER_HU) & ~body & ~outside, int(SMALL_PIECE_ML * 1000.0 / np.prod(spacing)))
    found = np.zeros(coarse.shape, dtype=bool)
    for label in range(1, len(sizes) + 1):
        box = bounding_box(labels == label)
        piece = labels[box] == label
        if not (piece & rim[box]).any():
            continue
        evidence = _CutPiece(
            sizes[label - 1] * float(np.prod(spacing)) / 1000.0,
            _parenchyma_share(coarse[box], piece, spacing),
            float(flanked[box][piece].mean()),
            float(np.count_nonzero(beside_lung[box] & piece)) * spacing[1] * spacing[2] / 100.0,
        )
        if evidence.is_lung:
            found[box] |= piece
    return found


@dataclass(frozen=True)
class _CutPiece:
    """Measurements on a piece of air at the border.

    Attributes:
        ml: volume.
        parenchyma: share (0 to 1) of its inner part that has the HU of parenchyma.
        flanked: share (0 to 1) that has the chest on both sides.
        continues_cm2: area over which it continues lung of a closed slice above or below.
    """

    ml: float
    parenchyma: float
    flanked: float
    continues_cm2: float

    @property
    def is_lung(self) -> bool:
        if self.parenchyma < PARENCHYMA_SHARE_LIMIT:
            return False
        if self.continues_cm2 > CONTINUES_CM2 and self.flanked > CONTINUES_FLANKED_SHARE:
            return True
        surest = max(self.parenchyma, self.flanked)
        return self.ml > EDGE_LUNG_ML and self.flanked > FLANKED_SHARE_LIMIT and surest > SURE_SHARE


def _parenchyma_share(coarse: FloatArray, piece: BoolArray, spacing: Spacing) -> float:
    """Share of the inner part of ``piece`` (k, j, i) with the HU of parenchyma."""
    values = coarse[morphology(piece, spacing, EDGE_EROSION_MM, "erode")]
    low, high = PARENCHYMA_HU
    return float(np.mean((values > low) & (values < high))) if values.size else 0.0


def _beside_in_k(mask: BoolArray) -> BoolArray:
    """Voxels (k, j, i) with ``mask`` right above or below."""
    beside = np.zeros_like(mask)
    beside[1:] |= mask[:-1]
    beside[:-1] |= mask[1:]
    return beside


def _flanked(body: BoolArray, axis: int) -> BoolArray:
    """Voxels (k, j, i) with body on both sides along an axis."""
    before = np.logical_or.accumulate(body, axis=axis)
    after = np.flip(np.logical_or.accumulate(np.flip(body, axis), axis=axis), axis)
    flanked: BoolArray = before & after
    return flanked
