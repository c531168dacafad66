"""Coarse segmentation of body and lungs, used to crop a scan, to describe it and to measure its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..arrays import BoolArray, FloatArray, Spacing
from ..volume import CTVolume
from .morphology import bounding_box, components, filled_in_slices, morphology
from .orientation import Canonical
from .reduced_grid import ReducedGrid

# About half-way between aerated lung (about -850 HU) and soft tissue (about 0 to 50 HU).
TISSUE_BORDER_HU = -400.0
# HU are clipped before block means are taken: the upper limit keeps bone and metal from outweighing lung, the lower one is the
# usual HU floor.
CLIP_HU = (-1024.0, 300.0)
COARSE_MM = 2.0
# A morphological opening with 2 x 2 voxels in plane (4 mm) separates the body from the table's shell and from gowns. It also
# removes corners of a thin chest wall, which would then no longer enclose the lungs. So solid voxels within this distance of
# the opened body, in voxels, are restored.
RESTORED_VOXELS = 2
# HU of lung parenchyma at a resolution of 2 mm, between pure gas and tissue.
PARENCHYMA_HU = (-930.0, -400.0)
# Limits that separate a lung which the field of view cuts from outside air; :class:`_CutPiece` defines the measures. The share
# with HU of parenchyma is up to 70 % in outside air that holds gowns, foam and truncated noise (in a test chest), above 35 % in
# lungs with severe emphysema and above 95 % in other lungs. Of a cut lung, 40 to 100 % have the chest on both sides; of foam,
# nothing has.
PARENCHYMA_SHARE_LIMIT, FLANKED_SHARE_LIMIT, SURE_SHARE = 0.3, 0.3, 0.85
CONTINUES_CM2, CONTINUES_FLANKED_SHARE = 10.0, 0.1
EDGE_LUNG_ML, SMALL_PIECE_ML = 50.0, 2.0
EDGE_EROSION_MM = 4.0
# The lung region is found on blocks of 4 x 4 pixels, whose mean removes most of the noise of a sharp kernel. It is then eroded
# by one block, so that voxels at the border with partial volume do not count as lung.
BLOCK, EROSION_BLOCKS = 4, 1
LUNG_HU = -500.0


@dataclass(frozen=True, eq=False, repr=False)
class BodyRegion:
    """Body and coarse lung region of a volume; equal (``==``, ``hash``) only to itself.

    Attributes:
        box: range of rows and range of columns that hold the body in any slice, as slices of the full-resolution image.
        body: boolean (k, j, i), the body with its cavities, exact to one block of about 2 mm.
        slices_with_body: boolean (k,), whether a slice shows the body.
        lungs: boolean (k, j, i), aerated voxels inside the body without their border; may include airways and bowel gas.
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
    # the coarse grid merges thin slices, so whether a slice shows the body is decided slice by slice
    slices = np.asarray(((means > TISSUE_BORDER_HU) & inside.any(axis=0)).any(axis=(1, 2)))
    lungs = sitk.GetImageFromArray((inside & (means < LUNG_HU)).astype(np.uint8))
    lungs = sitk.BinaryErode(lungs, [EROSION_BLOCKS, EROSION_BLOCKS, 0])
    return BodyRegion((rows, columns), body, slices, grid.expand(sitk.GetArrayFromImage(lungs) > 0, grid.everywhere))


def _span(used: BoolArray) -> slice:
    """Range from the first to the last true index, enlarged by one block on either side."""
    where = np.flatnonzero(used)
    return slice(max(0, int(where[0]) - BLOCK), min(used.size, int(where[-1]) + 1 + BLOCK))


def _at_blocks(mask: BoolArray) -> BoolArray:
    """Value of ``mask`` (k, j, i) at the middle of every block."""
    rows, columns = (np.minimum(np.arange(-(-n // BLOCK)) * BLOCK + BLOCK // 2, n - 1) for n in mask.shape[1:])
    middle: BoolArray = mask[:, rows][:, :, columns]
    return middle


def body_mask(volume: CTVolume) -> BoolArray:
    """The body with its cavities, bool (k, j, i) in stored order at full resolution, exact to one block of about 2 mm."""
    frame = Canonical.of(volume.geometry)
    hu = frame.forward(volume.filled())
    grid = ReducedGrid.near(hu.shape, frame.spacing, COARSE_MM)
    coarse = coarse_body(grid.mean(hu, *CLIP_HU), grid.spacing, padded_blocks(volume, frame, grid))
    full: BoolArray = frame.backward(grid.expand(coarse, grid.everywhere))
    return full


def coarse_body(coarse: FloatArray, spacing: Spacing, outside: BoolArray | None = None) -> BoolArray:
    """The body with its cavities on a reduced grid: the largest solid component, with its holes filled slice by slice.

    A lung that the edge of the field of view cuts is not a closed hole. So air at the edge of the image or at the padding is
    added if it looks like lung.

    Args:
        coarse: float32 (k, j, i) in canonical order, HU, spacing about 2 mm.
        spacing: mm along (k, j, i).
        outside: bool (k, j, i), blocks with padding (see :func:`padded_blocks`); ``None`` if there is none.
    """
    unseen = np.zeros(coarse.shape, dtype=bool) if outside is None else outside
    solid = (coarse > TISSUE_BORDER_HU) & ~unseen
    labels, sizes = components(_without_thin_parts(solid))
    if not sizes:
        return np.zeros(coarse.shape, dtype=bool)
    body = filled_in_slices(_grown_in_plane(labels == 1, RESTORED_VOXELS) & solid) & ~unseen
    cut = _cut_lung(coarse, body, unseen, spacing)
    # filling again adds the vessels inside a cut lung
    return filled_in_slices(body | cut) & ~unseen if cut.any() else body


def padded_blocks(volume: CTVolume, frame: Canonical, grid: ReducedGrid) -> BoolArray | None:
    """Blocks of ``grid`` that contain padding, bool (k, j, i) in canonical order; ``None`` for a volume without padding."""
    if not volume.has_padding:
        return None
    padded: BoolArray = grid.mean(frame.forward(volume.padding_mask), 0.0, 1.0) > 0.0
    return padded


def _without_thin_parts(mask: BoolArray) -> BoolArray:
    """Morphological opening of ``mask`` (k, j, i) with 2 x 2 voxels in plane."""
    squares = mask[:, :-1, :-1] & mask[:, 1:, :-1] & mask[:, :-1, 1:] & mask[:, 1:, 1:]
    kept = np.zeros_like(mask)
    for corner in (kept[:, :-1, :-1], kept[:, 1:, :-1], kept[:, :-1, 1:], kept[:, 1:, 1:]):
        corner |= squares
    return kept


def _grown_in_plane(mask: BoolArray, voxels: int) -> BoolArray:
    """``mask`` (k, j, i) dilated in plane by a square, ``voxels`` in every direction."""
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
    """Lung outside ``body`` that the edge of the image or padding cuts, bool (k, j, i).

    It is a piece of air that touches the edge or padding in plane, has HU of parenchyma, and is either flanked by the chest or
    continues the enclosed lung of a neighbouring slice.
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
    """Measurements on a piece of air at the edge of the image or at the padding.

    Attributes:
        ml: volume, mL.
        parenchyma: share (0 to 1) of its inner part that has HU of parenchyma.
        flanked: share (0 to 1) with the chest on both sides.
        continues_cm2: area over which it touches enclosed lung of the slice above or below, cm2.
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
    """Share of the inner (eroded) part of ``piece`` (k, j, i) with HU of parenchyma."""
    values = coarse[morphology(piece, spacing, EDGE_EROSION_MM, "erode")]
    low, high = PARENCHYMA_HU
    return float(np.mean((values > low) & (values < high))) if values.size else 0.0


def _beside_in_k(mask: BoolArray) -> BoolArray:
    """Voxels (k, j, i) whose neighbour in the slice above or below is in ``mask``."""
    beside = np.zeros_like(mask)
    beside[1:] |= mask[:-1]
    beside[:-1] |= mask[1:]
    return beside


def _flanked(body: BoolArray, axis: int) -> BoolArray:
    """Voxels (k, j, i) that have body on both sides along ``axis``."""
    before = np.logical_or.accumulate(body, axis=axis)
    after = np.flip(np.logical_or.accumulate(np.flip(body, axis), axis=axis), axis)
    flanked: BoolArray = before & after
    return flanked
