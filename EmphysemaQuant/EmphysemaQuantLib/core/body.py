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


def coarse_body(coarse: FloatArray, spacing: Spacing) -> BoolArray:
    """The body with its cavities on a reduced grid: largest solid, its holes closed slice by slice.

    Args:
        coarse: float32 (k, j, i) in canonical order, HU, spacing about 2 mm.
        spacing: mm along (k, j, i).
    """
    solid = morphology(coarse > TISSUE_BORDER_HU, spacing, TABLE_OPENING_MM, "open")
    labels, sizes = components(solid)
    if not sizes:
        return np.zeros(coarse.shape, dtype=bool)
    return filled_in_slices(labels == 1)


def body_mask(volume: CTVolume) -> BoolArray:
    """The body with its cavities at full resolution (to one block of about 2 mm), bool (k, j, i) in stored order."""
    frame = Canonical.of(volume.geometry)
    hu = frame.forward(volume.filled())
    grid = ReducedGrid.near(hu.shape, frame.spacing, COARSE_MM)
    coarse = coarse_body(grid.mean(hu, *CLIP_HU), grid.spacing)
    full: BoolArray = frame.backward(grid.expand(coarse, grid.everywhere))
    return full
