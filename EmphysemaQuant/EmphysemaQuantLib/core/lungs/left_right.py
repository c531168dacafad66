"""Right and left lung: selected from the air in the body, separated where they touch, and named by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import BoolArray, FloatArray, LabelArray, Spacing
from KernelNormalizationLib.core.imaging.body import PARENCHYMA_HU, TISSUE_BORDER_HU
from KernelNormalizationLib.core.imaging.morphology import components, morphology, to_image
from KernelNormalizationLib.core.stopping import filtered

RIGHT, LEFT = 1, 2
# Bowel gas and a pneumothorax are pure gas: away from their surface nearly every voxel is below the range of parenchyma.
PARENCHYMA_SHARE = 0.10
MINIMUM_COMPONENT_ML = 20.0
# A piece of lung cut off by a fissure, consolidation or effusion still has parenchyma; below 20 mL it does not matter.
SPLIT_SHARE = 0.15
SPLIT_DISTANCE_MM = 60.0
# One lung reaches over the midline in front of the heart and, after loss of volume on the other side, further.
CROSSING_SHARE = 0.12
# A junction line stands out from lung by more than this (its noise and emphysema do not); and a millimetre of depth
# outweighs so much HU that a line of 100 HU contrast is followed even 10 mm off the thinnest place.
JUNCTION_ABOVE_LUNG_HU = 30.0
JUNCTION_HU_PER_MM = 10.0
SPLIT_STEP_MM = 1.0
SPLIT_MAXIMUM_MM = 20.0


@dataclass(frozen=True)
class LungPieces:
    """Lungs on the coarse grid before they are closed.

    Attributes:
        labels: uint8 (k, j, i): 1 right, 2 left.
        was_split: whether the lungs touched and were parted along the junction.
        left_out: bool (k, j, i), gas inside the body that holds no parenchyma (bowel, pneumothorax).
    """

    labels: LabelArray
    was_split: bool
    left_out: BoolArray


def find_lungs(hu: FloatArray, air: BoolArray, body: BoolArray, spacing: Spacing) -> LungPieces | None:
    """Choose the lungs among the air inside the body and separate right from left.

    Args:
        hu: float32 (k, j, i), canonical order, grid of about 2 mm, HU.
        air: bool (k, j, i), air inside the body, airways already taken out.
        body: bool (k, j, i), the body with its cavities.
        spacing: mm along (k, j, i).

    Returns:
        ``None`` when no component looks like lung.
    """
    voxel_ml = float(np.prod(spacing)) / 1000
    labels, sizes = components(air, int(MINIMUM_COMPONENT_ML / voxel_ml))
    kept: list[int] = []
    for label in range(1, len(sizes) + 1):
        if _is_parenchyma(hu, labels == label, spacing):
            kept.append(label)
    if not kept:
        return None
    columns = np.arange(hu.shape[2])
    midline = float((body.sum(axis=(0, 1)) * columns).sum() / max(1, body.sum()))
    sides = np.zeros(hu.shape, dtype=np.uint8)
    was_split = False
    for label in kept:
        piece = labels == label
        halves = _part(hu, piece, spacing) if _crosses(piece, midline) else None
        if halves is None:
            sides[piece] = RIGHT if np.nonzero(piece)[2].mean() < midline else LEFT
        else:
            was_split = True
            sides[piece] = halves[piece]
    return LungPieces(sides, was_split, (labels > 0) & (sides == 0))


def part_binary(hu: FloatArray, mask: BoolArray, spacing: Spacing, midline: float) -> LabelArray:
    """Right and left of a mask that does not distinguish them, uint8 (k, j, i).

    Components are named by the side of the body's midline on which they lie; one that holds both lungs is parted.

    Args:
        hu: float32 (k, j, i), canonical order, HU.
        mask: bool (k, j, i), both lungs.
        spacing: mm along (k, j, i).
        midline: canonical column of the body's middle.
    """
    labels, sizes = components(mask)
    if not sizes:
        return np.zeros(mask.shape, dtype=np.uint8)
    # a mask of scattered voxels has a hundred thousand pieces: only those that may hold both lungs are looked at one by one
    columns = np.nonzero(labels)[2].astype(np.float64)
    of_voxel = labels[labels > 0]
    middle = np.bincount(of_voxel, columns, len(sizes) + 1) / np.maximum(1, np.bincount(of_voxel, minlength=len(sizes) + 1))
    side_of = np.where(middle < midline, RIGHT, LEFT).astype(np.uint8)
    side_of[0] = 0
    sides = side_of[labels]
    voxel_ml = float(np.prod(spacing)) / 1000
    for label, size in enumerate(sizes, 1):
        if size * voxel_ml < MINIMUM_COMPONENT_ML:
            continue
        piece = labels == label
        halves = _part(hu, piece, spacing) if _crosses(piece, midline) else None
        if halves is not None:
            sides[piece] = halves[piece]
    return sides


def _is_parenchyma(hu: FloatArray, piece: BoolArray, spacing: Spacing) -> bool:
    # the blur of noisy block means spreads tissue some millimetres into gas
    depths = (morphology(piece, spacing, depth, "erode") for depth in (6.0, 3.0))
    inside = next((core for core in depths if core.any()), piece)
    values = hu[inside]
    low, high = PARENCHYMA_HU
    return bool(np.mean((values > low) & (values < high)) >= PARENCHYMA_SHARE)


def _crosses(piece: BoolArray, midline: float) -> bool:
    """Whether a good part of the piece lies on either side of the midline, so that it may hold both lungs."""
    share = float(np.count_nonzero(piece[:, :, : round(midline)])) / max(1, int(np.count_nonzero(piece)))
    return CROSSING_SHARE < share < 1.0 - CROSSING_SHARE


def _part(hu: FloatArray, piece: BoolArray, spacing: Spacing) -> LabelArray | None:
    """Right and left half of a component that holds both lungs, or ``None`` when it is one lung."""
    inside = filtered(
        sitk.SignedMaurerDistanceMapImageFilter,
        to_image(piece, spacing),
        InsideIsPositive=True,
        SquaredDistance=False,
        UseImageSpacing=True,
    )
    depth: NDArray[np.float32] = sitk.GetArrayFromImage(inside)
    markers = _two_cores(depth, spacing)
    if markers is None:
        return None
    # The pleurae meet in a bright line at the neck between the lungs: flooding from both cores meets there. Depth decides
    # where the line is too thin to be seen; HU below normal lung (emphysema, noise) say nothing about the line.
    low = float(np.median(hu[piece])) + JUNCTION_ABOVE_LUNG_HU
    relief = np.clip(hu, min(low, TISSUE_BORDER_HU), TISSUE_BORDER_HU) - JUNCTION_HU_PER_MM * depth
    relief = np.where(piece, relief, np.float32(1000.0)).astype(np.float32)
    flooded = filtered(
        sitk.MorphologicalWatershedFromMarkersImageFilter,
        to_image(relief, spacing),
        to_image(markers, spacing),
        MarkWatershedLine=False,
        FullyConnected=False,
    )
    halves: LabelArray = sitk.GetArrayFromImage(flooded).astype(np.uint8)
    halves[~piece] = 0
    return halves


def _two_cores(depth: NDArray[np.float32], spacing: Spacing) -> LabelArray | None:
    """Markers right = 1 and left = 2: what remains of both lungs after the thinnest erosion that separates them.

    Args:
        depth: float32 (k, j, i), mm to the surface of the component, negative outside.
        spacing: mm along (k, j, i).
    """
    for radius in np.arange(0.0, SPLIT_MAXIMUM_MM, SPLIT_STEP_MM):
        core = depth > radius
        labels, sizes = components(core, 8)
        if len(sizes) < 2 or sizes[1] < SPLIT_SHARE * sizes[0]:
            continue
        first, second = labels == 1, labels == 2
        x = [float(np.nonzero(m)[2].mean()) * spacing[2] for m in (first, second)]
        if abs(x[0] - x[1]) >= SPLIT_DISTANCE_MM:
            markers = np.zeros(depth.shape, dtype=np.uint8)
            markers[first] = RIGHT if x[0] < x[1] else LEFT
            markers[second] = LEFT if x[0] < x[1] else RIGHT
            return markers
    return None
