"""Ways to divide the lungs: sides, lobes, thirds, core and rind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import LabelArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging.morphology import bounding_box, to_image
from KernelNormalizationLib.core.imaging.orientation import Canonical
from KernelNormalizationLib.core.imaging.reduced_grid import ReducedGrid
from KernelNormalizationLib.core.stopping import filtered
from KernelNormalizationLib.core.volume import Geometry

from ..lungs.left_right import LEFT, RIGHT
from ..lungs.segmentation import LungMask

LOBE_NAMES: Mapping[int, str] = {
    1: "right upper lobe",
    2: "right middle lobe",
    3: "right lower lobe",
    4: "left upper lobe",
    5: "left lower lobe",
}
SIDE_NAMES: Mapping[int, str] = {RIGHT: "right", LEFT: "left"}
THIRD_NAMES: Mapping[int, str] = {1: "upper third", 2: "middle third", 3: "lower third"}
SHELL_NAMES: Mapping[int, str] = {1: "core", 2: "rind"}
Thirds = Literal["volume", "height"]
# A choice of this project: about one secondary lobule, which is 10 to 25 mm in diameter (Fleischner Society, RadLex RID1361).
RIND_MM = 15.0


@dataclass(frozen=True)
class Partition:
    """A division of the lungs into regions that do not overlap.

    Attributes:
        names: label -> region name.
        labels: uint8 (k, j, i), stored order; 0 outside the lungs (or in no region).
    """

    names: Mapping[int, str]
    labels: LabelArray


def sides(lung_mask: LungMask) -> Partition:
    """Right and left lung."""
    return Partition(SIDE_NAMES, lung_mask.labels)


def lobes(lung_mask: LungMask) -> Partition | None:
    """The lobes, ``None`` if the mask has none."""
    if lung_mask.lobes is None:
        return None
    return Partition(LOBE_NAMES, np.where(lung_mask.mask, lung_mask.lobes, 0).astype(np.uint8))


def thirds(lung_mask: LungMask, geometry: Geometry, by: Thirds = "volume") -> Partition:
    """Upper, middle and lower third of both lungs together, cut between axial slices.

    Args:
        lung_mask: the lungs.
        geometry: of the volume, for the direction of the head.
        by: "volume" for thirds of equal volume (to within half a slice), "height" for equal height.

    Raises:
        InputError: the mask is empty.
    """
    frame = Canonical.of(geometry)
    canonical = frame.forward(lung_mask.mask)
    counts = np.count_nonzero(canonical, axis=(1, 2))
    total = int(counts.sum())
    if not total:
        raise InputError("The lung mask is empty; it has no thirds.")
    if by == "volume":
        middle = np.cumsum(counts) - counts / 2.0
        position = middle / total
    else:
        slices = np.flatnonzero(counts)
        position = (np.arange(counts.size) - slices[0] + 0.5) / (slices[-1] + 1 - slices[0])
    # slice position runs from the base (0) to the apex (1)
    third = (3 - np.clip(np.floor(position * 3.0), 0, 2)).astype(np.uint8)
    labels = np.where(canonical, third[:, None, None], 0).astype(np.uint8)
    return Partition(THIRD_NAMES, frame.backward(labels))


def core_and_rind(lung_mask: LungMask, geometry: Geometry, rind_mm: float = RIND_MM) -> Partition:
    """Rind (voxels within ``rind_mm`` of the surface of their lung) and core (the rest), to about 2 mm.

    Args:
        lung_mask: the lungs.
        geometry: of the volume.
        rind_mm: depth of the rind, mm.

    Raises:
        InputError: the mask is empty.
    """
    frame = Canonical.of(geometry)
    canonical = frame.forward(lung_mask.labels)
    if not canonical.any():
        raise InputError("The lung mask is empty; it has no core.")
    # the reduced grid starts at the lungs, so that the size of the image around them has no effect
    box = bounding_box(canonical > 0)
    near = canonical[box]
    grid = ReducedGrid.near(near.shape, frame.spacing, 2.0)
    right, left = (_depth_mm(grid.mean(near == side, 0.0, 1.0) >= 0.5, grid) for side in (RIGHT, LEFT))
    inner = grid.expand((right > rind_mm) | (left > rind_mm), grid.everywhere)
    labels = np.zeros(canonical.shape, dtype=np.uint8)
    labels[box] = np.where(near > 0, np.where(inner, 1, 2), 0)
    return Partition(SHELL_NAMES, frame.backward(labels))


def _depth_mm(lung: NDArray[np.bool_], grid: ReducedGrid) -> NDArray[np.float32]:
    if not lung.any():
        return np.zeros(lung.shape, dtype=np.float32)
    # a margin of background, so that a lung cut by the volume's edge has its surface there
    padded = np.pad(lung, 1)
    distance = filtered(
        sitk.SignedMaurerDistanceMapImageFilter,
        to_image(padded, grid.spacing),
        InsideIsPositive=True,
        SquaredDistance=False,
        UseImageSpacing=True,
    )
    depth: NDArray[np.float32] = sitk.GetArrayFromImage(distance)[1:-1, 1:-1, 1:-1]
    return depth
