"""Anatomically ordered views of a volume, reduced grids and the morphology that the segmentation needs.

Every array here is (k, j, i). *Canonical* order means that k grows towards the head, j towards the back and i towards
the patient's left, as near as the stored axes allow; it is reached by transposing and flipping only, so no voxel value
changes and the way back is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..stopping import check_stopped, execute, filtered
from ..volume import BoolArray, FloatArray, Geometry

LabelArray = NDArray[np.uint8]
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Canonical:
    """The exact way between stored order and canonical order.

    Attributes:
        axes: ``axes[n]`` is the stored array axis that becomes canonical axis n (slice, row, column).
        flips: canonical axes that are reversed after the transposition.
        spacing: mm along the canonical (k, j, i).
    """

    axes: tuple[int, int, int]
    flips: tuple[int, ...]
    spacing: Spacing

    @classmethod
    def of(cls, geometry: Geometry) -> Canonical:
        """Match stored axes to LPS axes so that the sum of |cosines| is largest (oblique volumes get the nearest)."""
        cosines = np.asarray(geometry.direction, dtype=float)
        permutations = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
        # index_axis[n] is the (i, j, k) axis that runs along LPS axis n
        index_axis = max(permutations, key=lambda p: sum(abs(cosines[n, p[n]]) for n in range(3)))
        axes = (2 - index_axis[2], 2 - index_axis[1], 2 - index_axis[0])
        flips = tuple(2 - n for n in (2, 1, 0) if cosines[n, index_axis[n]] < 0)
        spacing = (geometry.spacing[axes[0]], geometry.spacing[axes[1]], geometry.spacing[axes[2]])
        return cls(axes, flips, spacing)

    def forward(self, stored: NDArray[Any]) -> NDArray[Any]:
        """View of a stored (k, j, i) array in canonical order."""
        turned: NDArray[Any] = stored.transpose(self.axes)
        return np.flip(turned, self.flips) if self.flips else turned

    def backward(self, canonical: NDArray[Any]) -> NDArray[Any]:
        """Contiguous array in stored order of a canonical one."""
        unflipped = np.flip(canonical, self.flips) if self.flips else canonical
        inverse = np.argsort(self.axes)
        return np.ascontiguousarray(unflipped.transpose(tuple(int(a) for a in inverse)))


@dataclass(frozen=True)
class ReducedGrid:
    """A grid whose voxels are blocks of full-resolution voxels; the last block of an axis may be smaller.

    Attributes:
        factors: full voxels in a block along (k, j, i).
        full_shape: shape of the full grid.
        spacing: mm of the reduced grid along (k, j, i).
    """

    factors: tuple[int, int, int]
    full_shape: tuple[int, int, int]
    spacing: Spacing

    @classmethod
    def near(cls, shape: tuple[int, ...], spacing: Spacing, target_mm: float) -> ReducedGrid:
        """The grid whose spacing comes nearest to ``target_mm`` by whole factors (never finer than the full grid)."""
        f = [max(1, round(target_mm / s)) for s in spacing]
        reduced = (spacing[0] * f[0], spacing[1] * f[1], spacing[2] * f[2])
        return cls((f[0], f[1], f[2]), (shape[0], shape[1], shape[2]), reduced)

    def mean(self, full: NDArray[Any], low: float, high: float) -> FloatArray:
        """Block means of ``full`` (k, j, i) clipped to [low, high], float32."""
        fk, fj, fi = self.factors
        slabs = []
        for start in range(0, self.full_shape[0], fk):
            slab = np.clip(full[start : start + fk], low, high, dtype=np.float32).mean(axis=0)
            slab = _block_mean(_block_mean(slab, fj, 0), fi, 1)
            slabs.append(slab)
        return np.stack(slabs)

    @property
    def everywhere(self) -> tuple[slice, slice, slice]:
        """The box of the whole full-resolution grid."""
        k, j, i = self.full_shape
        return slice(0, k), slice(0, j), slice(0, i)

    def expand(self, reduced: NDArray[Any], box: tuple[slice, slice, slice]) -> NDArray[Any]:
        """Full-resolution part ``box`` of a reduced array, each voxel repeated over its block."""
        index = [np.arange(s.start, s.stop) // f for s, f in zip(box, self.factors, strict=True)]
        expanded: NDArray[Any] = reduced[np.ix_(*index)]
        return expanded

    def full_box(self, box: tuple[slice, slice, slice]) -> tuple[slice, slice, slice]:
        """The full-resolution voxels that a box of reduced voxels covers."""
        full = [slice(s.start * f, min(s.stop * f, n)) for s, f, n in zip(box, self.factors, self.full_shape, strict=True)]
        return full[0], full[1], full[2]


def _block_mean(plane: FloatArray, factor: int, axis: int) -> FloatArray:
    if factor == 1:
        return plane
    starts = np.arange(0, plane.shape[axis], factor)
    counts = np.diff(np.append(starts, plane.shape[axis])).astype(np.float32)
    shape = [1, 1]
    shape[axis] = counts.size
    return (np.add.reduceat(plane, starts, axis=axis) / counts.reshape(shape)).astype(np.float32, copy=False)


def to_image(array: NDArray[Any], spacing: Spacing) -> sitk.Image:
    """SimpleITK image of a (k, j, i) array; booleans become uint8."""
    image = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
    image.SetSpacing([float(s) for s in spacing[::-1]])
    return image


def components(mask: BoolArray, minimum_voxels: int = 1) -> tuple[NDArray[np.uint32], list[int]]:
    """Face-connected components, numbered from 1 by falling size.

    Args:
        mask: bool, 2D or 3D.
        minimum_voxels: smaller components are dropped.

    Returns:
        Labels of the mask's shape and the sizes in voxels, largest first.
    """
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).astype(np.uint8))
    connect, relabel = sitk.ConnectedComponentImageFilter(), sitk.RelabelComponentImageFilter()
    if mask.ndim == 2:
        # threads cost more than they save on a single slice, above all when other work keeps the cores busy
        connect.SetNumberOfThreads(1)
        relabel.SetNumberOfThreads(1)
    relabel.SetMinimumObjectSize(max(1, minimum_voxels))
    check_stopped()
    # a single slice is done before it could be stopped
    found = relabel.Execute(connect.Execute(image)) if mask.ndim == 2 else execute(relabel, execute(connect, image))
    labels = sitk.GetArrayFromImage(found)
    return labels.astype(np.uint32, copy=False), [int(s) for s in relabel.GetSizeOfObjectsInPixels()]


def ball_radius(radius_mm: float, spacing: Spacing) -> list[int]:
    """Radius in voxels, (i, j, k) order for SimpleITK; 0 along an axis whose spacing is over twice the radius."""
    return [int(radius_mm / s + 0.5) for s in spacing[::-1]]


def morphology(mask: BoolArray, spacing: Spacing, radius_mm: float, operation: str) -> BoolArray:
    """Binary morphology with an ellipsoid of ``radius_mm``.

    Args:
        mask: bool (k, j, i).
        spacing: mm along (k, j, i).
        radius_mm: radius; axes with coarser spacing are left alone.
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
    # nothing changes further than one radius from the mask, so only its box is worked on
    box = bounding_box(mask, margin=max(radius) + 1)
    changed = filtered(filters[operation], to_image(mask[box], spacing), KernelRadius=radius, KernelType=sitk.sitkBall)
    result[box] = sitk.GetArrayViewFromImage(changed) > 0
    return result


def filled_in_slices(mask: BoolArray) -> BoolArray:
    """``mask`` (k, j, i) with the holes of every axial slice closed; holes that reach the edge stay open."""
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
    """Smallest box around the true voxels of a non-empty mask, widened by ``margin`` voxels inside the array."""
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        where = np.flatnonzero(mask.any(axis=others))
        box.append(slice(max(0, int(where[0]) - margin), min(mask.shape[axis], int(where[-1]) + 1 + margin)))
    return box[0], box[1], box[2]


def noise_sd(hu: FloatArray, where: BoolArray) -> float:
    """Standard deviation of the noise in ``where``, HU, from differences of row neighbours (robust to edges)."""
    pairs = where[:, :, 1:] & where[:, :, :-1]
    if not pairs.any():
        return 0.0
    differences = np.abs(hu[:, :, 1:][pairs] - hu[:, :, :-1][pairs])
    return float(np.median(differences)) * 1.4826 / float(np.sqrt(2.0))


def gaussian(hu: FloatArray, spacing: Spacing, sigma_mm: float, directions: tuple[int, ...] = (0, 1, 2)) -> FloatArray:
    """Gaussian blur of ``sigma_mm`` along the given SimpleITK directions (0 = i, 1 = j, 2 = k) of a (k, j, i) array."""
    image = to_image(hu, spacing)
    for direction in directions:
        if image.GetSize()[direction] >= 4:  # the recursive filter needs four samples
            blur = sitk.RecursiveGaussianImageFilter
            image = filtered(blur, image, Sigma=sigma_mm, NormalizeAcrossScale=False, Direction=direction)
    smooth: FloatArray = sitk.GetArrayFromImage(image)
    return smooth
