"""Where the body and, roughly, the lungs are: enough to crop, to describe a scan and to measure noise energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..volume import BoolArray, CTVolume, FloatArray
from .reduced_grid import Canonical, ReducedGrid, Spacing, components, filled_in_slices, morphology

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
# Outside air with gowns and foam in it stays under 10 %, lungs with severe emphysema above 35 %.
EDGE_PARENCHYMA_SHARE = 0.3
EDGE_LUNG_ML = 50.0
EDGE_EROSION_MM = 4.0
# The lung region is read on blocks of 4 x 4 pixels, whose mean takes most of a sharp kernel's noise away, and keeps one
# block's distance to its border, so that partial volume does not count as lung.
BLOCK, EROSION_BLOCKS = 4, 1
LUNG_HU = -500.0


@dataclass(frozen=True)
class BodyRegion:
    """Body and coarse lung region of a volume.

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
    # the coarse grid joins thin slices; which of them hold the body is told slice by slice
    slices = np.asarray(((means > TISSUE_BORDER_HU) & inside.any(axis=0)).any(axis=(1, 2)))
    lungs = sitk.GetImageFromArray((inside & (means < LUNG_HU)).astype(np.uint8))
    lungs = sitk.BinaryErode(lungs, [EROSION_BLOCKS, EROSION_BLOCKS, 0])
    return BodyRegion((rows, columns), body, slices, grid.expand(sitk.GetArrayFromImage(lungs) > 0, grid.everywhere))


def _span(used: BoolArray) -> slice:
    """From the first to the last place in use, and one block more on either side."""
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
    coarse = coarse_body(grid.mean(hu, *CLIP_HU), grid.spacing)
    full: BoolArray = frame.backward(grid.expand(coarse, grid.everywhere))
    return full


def coarse_body(coarse: FloatArray, spacing: Spacing) -> BoolArray:
    """The body with its cavities on a reduced grid: largest solid, its holes closed slice by slice.

    Lungs that the field of view cuts open are no holes; air on the lateral edges that looks like lung is added.

    Args:
        coarse: float32 (k, j, i) in canonical order, HU, spacing about 2 mm.
        spacing: mm along (k, j, i).
    """
    solid = coarse > TISSUE_BORDER_HU
    labels, sizes = components(_without_thin_parts(solid))
    if not sizes:
        return np.zeros(coarse.shape, dtype=bool)
    body = filled_in_slices(_grown_in_plane(labels == 1, RESTORED_VOXELS) & solid)
    # foam of the table looks like lung too, but has the body on one side of it only
    between = (coarse < TISSUE_BORDER_HU) & ~body & (_flanked(body, 1) | _flanked(body, 2))
    return body | _lung_on_the_edge(between, coarse, spacing)


def _without_thin_parts(mask: BoolArray) -> BoolArray:
    """Opening of ``mask`` (k, j, i) with 2 x 2 voxels in plane: what no such square covers is gone."""
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


def _flanked(body: BoolArray, axis: int) -> BoolArray:
    """Voxels (k, j, i) with body on both sides along an axis."""
    before = np.logical_or.accumulate(body, axis=axis)
    after = np.flip(np.logical_or.accumulate(np.flip(body, axis), axis=axis), axis)
    flanked: BoolArray = before & after
    return flanked


def _lung_on_the_edge(air: BoolArray, coarse: FloatArray, spacing: Spacing) -> BoolArray:
    """Components of ``air`` that reach a lateral, front or back edge and hold parenchyma, bool (k, j, i)."""
    found = np.zeros(air.shape, dtype=bool)
    labels, sizes = components(air, int(EDGE_LUNG_ML * 1000.0 / float(np.prod(spacing))))
    rim = np.zeros(air.shape, dtype=bool)
    rim[:, [0, -1], :] = True
    rim[:, :, [0, -1]] = True
    for label in range(1, len(sizes) + 1):
        piece = labels == label
        inner = morphology(piece, spacing, EDGE_EROSION_MM, "erode")
        if not (piece & rim).any() or not inner.any():
            continue
        values = coarse[inner]
        low, high = PARENCHYMA_HU
        if float(np.mean((values > low) & (values < high))) > EDGE_PARENCHYMA_SHARE:
            found |= piece
    return found
