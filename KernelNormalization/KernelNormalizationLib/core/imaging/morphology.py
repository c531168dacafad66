"""Connected components, binary morphology and bounding boxes of masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..arrays import BoolArray, Spacing
from ..stopping import check_stopped, execute, filtered


def to_image(array: NDArray[Any], spacing: Spacing) -> sitk.Image:
    """SimpleITK image of a (k, j, i) array; booleans become uint8."""
    image = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
    image.SetSpacing([float(s) for s in spacing[::-1]])
    return image


def components(mask: BoolArray, minimum_voxels: int = 1) -> tuple[NDArray[np.uint32], list[int]]:
    """Face-connected components, numbered from 1 in order of decreasing size.

    Args:
        mask: bool, 2D or 3D.
        minimum_voxels: smaller components are left out.

    Returns:
        Label array with the shape of the mask, and the sizes in voxels, largest first.
    """
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).astype(np.uint8))
    connect, relabel = sitk.ConnectedComponentImageFilter(), sitk.RelabelComponentImageFilter()
    if mask.ndim == 2:
        # starting threads takes longer than they save on a single slice, above all when the cores are busy
        connect.SetNumberOfThreads(1)
        relabel.SetNumberOfThreads(1)
    relabel.SetMinimumObjectSize(max(1, minimum_voxels))
    check_stopped()
    # labelling a single slice is too short to be worth interrupting
    found = relabel.Execute(connect.Execute(image)) if mask.ndim == 2 else execute(relabel, execute(connect, image))
    labels = sitk.GetArrayFromImage(found)
    return labels.astype(np.uint32, copy=False), [int(s) for s in relabel.GetSizeOfObjectsInPixels()]


def ball_radius(radius_mm: float, spacing: Spacing) -> list[int]:
    """Radius in voxels in SimpleITK's order (i, j, k); 0 along an axis whose spacing is more than twice the radius."""
    return [int(radius_mm / s + 0.5) for s in spacing[::-1]]


def morphology(mask: BoolArray, spacing: Spacing, radius_mm: float, operation: str) -> BoolArray:
    """Binary morphology with an ellipsoid of ``radius_mm``.

    Args:
        mask: bool (k, j, i).
        spacing: mm along (k, j, i).
        radius_mm: radius, mm; nothing changes along axes whose spacing is more than twice as large.
        operation: "dilate", "erode", "open" or "close".
    """
    filters = {
        "dilate": sitk.BinaryDilateImageFilter,
        "erode": sitk.BinaryErodeImageFilter,
        "open": sitk.BinaryMorphologicalOpeningImageFilter,
        "close": sitk.BinaryMorphologicalClosingImageFilter,
    }
    radius = ball_radius(radius_mm, spacing)
    result = np.zeros_like(mask)
    if not mask.any():
        return result
    # only voxels within one radius of the mask can change, so only the mask's bounding box is processed
    box = bounding_box(mask, margin=max(radius) + 1)
    changed = filtered(filters[operation], to_image(mask[box], spacing), KernelRadius=radius, KernelType=sitk.sitkBall)
    result[box] = sitk.GetArrayViewFromImage(changed) > 0
    return result


def filled_in_slices(mask: BoolArray) -> BoolArray:
    """``mask`` (k, j, i) with the holes in every axial slice filled; a gap that reaches the edge of the slice is no hole."""
    filled = np.zeros_like(mask)
    fill = sitk.BinaryFillholeImageFilter()
    fill.SetNumberOfThreads(1)
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        check_stopped()
        rows, columns = np.flatnonzero(mask[k].any(axis=1)), np.flatnonzero(mask[k].any(axis=0))
        box = (int(k), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        plane = fill.Execute(sitk.GetImageFromArray(mask[box].astype(np.uint8)))
        filled[box] = sitk.GetArrayViewFromImage(plane) > 0
    return filled


def bounding_box(mask: BoolArray, margin: int = 0) -> tuple[slice, slice, slice]:
    """Smallest box around the true voxels of a non-empty mask, enlarged by ``margin`` voxels within the array."""
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        where = np.flatnonzero(mask.any(axis=others))
        box.append(slice(max(0, int(where[0]) - margin), min(mask.shape[axis], int(where[-1]) + 1 + margin)))
    return box[0], box[1], box[2]
