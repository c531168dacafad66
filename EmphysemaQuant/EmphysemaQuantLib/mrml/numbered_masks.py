"""Lung masks from other programs whose structures are numbers: label maps, and segmentations without lung names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from numpy.typing import NDArray

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import CTVolume
from KernelNormalizationLib.mrml.volumes import geometryFromNode

from .segments import deferredLungMask, deferredUnion, lungSegmentIds

if TYPE_CHECKING:
    from ..core.lungs.segmentation import LungMask

# The panel's name for the command line's --mask-labels.
CHOICE = "“Mask numbers”"


@dataclass(frozen=True)
class SuppliedMask:
    """A mask from another program and the meaning of its numbers.

    Attributes:
        node: vtkMRMLSegmentationNode or vtkMRMLLabelMapVolumeNode.
        labels: a scheme's name, or numbers such as ``right=1,left=2``; ``None`` uses the segments' names, else the
            position of each number in the scan.
    """

    node: Any
    labels: str | None = None


def deferredSuppliedMask(supplied: SuppliedMask, volumeNode: Any) -> Callable[[CTVolume], LungMask]:
    """Reads the references to the mask's voxels now; the returned function makes the lung mask and may run in a thread.

    Raises:
        InputError: now: neither names nor numbers identify the lungs; from the function: empty, another grid, or numbers that
            fit no scheme or several.
    """
    node = supplied.node
    if node.GetParentTransformNode() is not None:
        raise InputError(f"“{node.GetName()}” is under a transform; harden it or remove it before using its lungs.")
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        return _read(_numbersOfLabelMap(node), supplied.labels)
    named = lungSegmentIds(node, "right") or lungSegmentIds(node, "left")
    if supplied.labels is None and (named or not _hasNumbers(node)):
        mask = deferredLungMask(node, volumeNode)
        return lambda _volume: mask()
    return _read(_numbersOfSegments(node, volumeNode), supplied.labels)


Numbers = Callable[[CTVolume], NDArray[np.integer]]


def _read(numbers: Numbers, labels: str | None) -> Callable[[CTVolume], LungMask]:
    # needs SimpleITK, which would slow down the start of the application
    from ..core.lungs.label_schemes import OPTION, parse_labels
    from ..core.lungs.supplied_mask import mask_from_labels

    scheme = None if labels is None else parse_labels(labels)

    def mask(volume: CTVolume) -> LungMask:
        try:
            return mask_from_labels(volume, numbers(volume), scheme)
        except InputError as error:
            raise InputError(str(error).replace(OPTION, CHOICE)) from error

    return mask


def _numbersOfLabelMap(node: Any) -> Numbers:
    from KernelNormalizationLib.core.io.writing import image_of

    from ..core.lungs.supplied_mask import on_grid_of

    name, geometry, voxels = str(node.GetName()), geometryFromNode(node), slicer.util.arrayFromVolume(node)
    return lambda volume: on_grid_of(volume, image_of(voxels, geometry), f"“{name}”")


def _hasNumbers(node: Any) -> bool:
    """Whether every segment has a number of its own, as after importing a label map."""
    numbers = [number for _, number in _numberedSegments(node)]
    return len(numbers) > 1 and len(set(numbers)) == len(numbers)


def _numberedSegments(node: Any) -> list[tuple[str, int]]:
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    return [(segmentId, int(segmentation.GetSegment(segmentId).GetLabelValue())) for segmentId in ids]


def _numbersOfSegments(node: Any, volumeNode: Any) -> Numbers:
    numbered = _numberedSegments(node)
    if len({number for _, number in numbered}) != len(numbered):
        raise InputError(
            f"The segments of “{node.GetName()}” have no numbers of their own; set {CHOICE} to Automatic and name two segments "
            "“Right lung” and “Left lung”, or load the label map as Segmentation."
        )
    parts = [(number, deferredUnion(node, [segmentId], volumeNode)) for segmentId, number in numbered]

    def numbers(volume: CTVolume) -> NDArray[np.integer]:
        labels = np.zeros(volume.shape, np.int32)
        for number, part in parts:
            labels[part()] = number
        return labels

    return numbers
