"""Where the body and, roughly, the lungs are: enough to crop, to describe a scan and to measure noise energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .volume import AIR_HU, BoolArray, CTVolume

# The search runs on blocks of 4 x 4 pixels, whose mean takes most of a sharp kernel's noise away.
BLOCK = 4
TISSUE_HU = -400.0
LUNG_HU = -500.0
# Lung keeps this distance to its border here, so that partial volume does not count as lung.
EROSION_BLOCKS = 1
RESTORED_BLOCKS = 2


@dataclass(frozen=True)
class BodyRegion:
    """Body and coarse lung region of a volume.

    Attributes:
        box: rows and columns that hold the body in any slice, as two slices of the full-resolution image.
        slices_with_body: boolean (k,).
        lungs: boolean (k, j, i), aerated voxels inside the body, borders left out; airways and bowel gas may be included.
    """

    box: tuple[slice, slice]
    slices_with_body: BoolArray
    lungs: BoolArray


def find_body(volume: CTVolume) -> BodyRegion | None:
    """Body region of ``volume``; ``None`` if nothing denser than lung is in the image."""
    _, rows, columns = volume.shape
    blocks = _block_means(volume)
    body = _largest_component(blocks > TISSUE_HU)
    if not body.any():
        return None
    filled = np.stack([_filled(image) for image in body])
    lungs: BoolArray = filled & (blocks < LUNG_HU)
    for _ in range(EROSION_BLOCKS):
        lungs = sitk.GetArrayFromImage(sitk.BinaryErode(sitk.GetImageFromArray(lungs.astype(np.uint8)), [1, 1, 0])) > 0
    used_rows, used_columns = (np.flatnonzero(filled.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    box = (
        slice(int(used_rows[0]) * BLOCK, min(rows, (int(used_rows[-1]) + 1) * BLOCK)),
        slice(int(used_columns[0]) * BLOCK, min(columns, (int(used_columns[-1]) + 1) * BLOCK)),
    )
    full = np.repeat(np.repeat(lungs, BLOCK, axis=1), BLOCK, axis=2)[:, :rows, :columns]
    return BodyRegion(box, np.asarray(filled.any(axis=(1, 2))), full)


def _block_means(volume: CTVolume) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    hu = volume.filled()
    k, rows, columns = hu.shape
    padded_rows, padded_columns = -rows % BLOCK, -columns % BLOCK
    if padded_rows or padded_columns:
        hu = np.pad(hu, ((0, 0), (0, padded_rows), (0, padded_columns)), constant_values=AIR_HU)
    shape = (k, hu.shape[1] // BLOCK, BLOCK, hu.shape[2] // BLOCK, BLOCK)
    means: np.ndarray[tuple[int, int, int], np.dtype[np.float32]] = hu.reshape(shape).mean(axis=(2, 4))
    return means


def _largest_component(mask: BoolArray) -> BoolArray:
    # Opening parts the table from the back; its shell is thinner than two blocks.
    image = sitk.GetImageFromArray(_without_thin_parts(mask).astype(np.uint8))
    labels = sitk.RelabelComponent(sitk.ConnectedComponent(image, True), sortByObjectSize=True)
    # A thin chest wall loses its corners in the opening and would no longer close round the lungs: they are given back.
    corners = sitk.BinaryDilate(labels == 1, [RESTORED_BLOCKS, RESTORED_BLOCKS, 0])
    largest: BoolArray = (sitk.GetArrayFromImage(corners) > 0) & mask
    return largest


def _without_thin_parts(mask: BoolArray) -> BoolArray:
    """Opening of ``mask`` (k, j, i) with 2 x 2 pixels in plane: what no such square covers is gone."""
    squares = mask[:, :-1, :-1] & mask[:, 1:, :-1] & mask[:, :-1, 1:] & mask[:, 1:, 1:]
    kept = np.zeros_like(mask)
    for corner in (kept[:, :-1, :-1], kept[:, 1:, :-1], kept[:, :-1, 1:], kept[:, 1:, 1:]):
        corner |= squares
    return kept


def _filled(image: BoolArray) -> BoolArray:
    closed = sitk.BinaryMorphologicalClosing(sitk.GetImageFromArray(image.astype(np.uint8)), [1, 1])
    result: BoolArray = sitk.GetArrayFromImage(sitk.BinaryFillhole(closed)) > 0
    return result
