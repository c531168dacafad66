"""The body in a CT volume: largest solid with its cavities, without table, gown and outside air."""

from __future__ import annotations

import numpy as np

from KernelNormalizationLib.core.volume import BoolArray, CTVolume, FloatArray

from .grids import Canonical, ReducedGrid, Spacing, components, filled_in_slices, morphology

# Half-way between aerated lung (about -850 HU) or air and soft tissue (about 0 to 50 HU).
TISSUE_BORDER_HU = -400.0
# The upper clip keeps bone and metal from outweighing lung in a block mean; the lower one is the usual HU floor.
CLIP_HU = (-1024.0, 300.0)
COARSE_MM = 2.0
# Opening by 3 mm parts the body from the shell of the table and from gowns; chest walls are thicker.
TABLE_OPENING_MM = 3.0
# Lung parenchyma, blurred to 2 mm, lies between pure gas and tissue.
PARENCHYMA_HU = (-930.0, -400.0)
# Outside air with gowns and foam in it stays under 10 %, lungs with severe emphysema above 35 %.
EDGE_PARENCHYMA_SHARE = 0.3
EDGE_LUNG_ML = 50.0
EDGE_EROSION_MM = 4.0


def coarse_body(coarse: FloatArray, spacing: Spacing) -> BoolArray:
    """The body with its cavities on a reduced grid: largest solid, its holes closed slice by slice.

    Lungs that the field of view cuts open are no holes; air on the lateral edges that looks like lung is added.

    Args:
        coarse: float32 (k, j, i) in canonical order, HU, spacing about 2 mm.
        spacing: mm along (k, j, i).
    """
    solid = morphology(coarse > TISSUE_BORDER_HU, spacing, TABLE_OPENING_MM, "open")
    labels, sizes = components(solid)
    if not sizes:
        return np.zeros(coarse.shape, dtype=bool)
    body = filled_in_slices(labels == 1)
    # foam of the table looks like lung too, but has the body on one side of it only
    between = (coarse < TISSUE_BORDER_HU) & ~body & (_flanked(body, 1) | _flanked(body, 2))
    return body | _lung_on_the_edge(between, coarse, spacing)


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


def body_mask(volume: CTVolume) -> BoolArray:
    """The body with its cavities at full resolution (to one block of about 2 mm), bool (k, j, i) in stored order."""
    frame = Canonical.of(volume.geometry)
    hu = frame.forward(volume.filled())
    grid = ReducedGrid.near(hu.shape, frame.spacing, COARSE_MM)
    coarse = coarse_body(grid.mean(hu, *CLIP_HU), grid.spacing)
    full: BoolArray = frame.backward(grid.expand(coarse, grid.everywhere))
    return full
