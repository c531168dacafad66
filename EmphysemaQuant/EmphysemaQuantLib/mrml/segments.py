"""Lungs, airways and emphysema as segments: written with colours and terminology, found again by tags rather than names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from KernelNormalizationLib.core.arrays import BoolArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging import appearance

from ..core.results.measurement import Measurement
from ..core.results.quantification import LEFT_LABEL, RIGHT_LABEL, supplied_mask
from .volume_pairs import changeNames, isReversed

if TYPE_CHECKING:
    from ..core.lungs.segmentation import LungMask

ROLE_TAG = "EmphysemaQuant.Role"
# The name that this module gave; a segment that still has it was not renamed by the user.
NAME_TAG = "EmphysemaQuant.Name"
VOLUME_REFERENCE_ROLE = "EmphysemaQuantVolume"
COMPARED_REFERENCE_ROLE = "EmphysemaQuantComparedVolume"
PREVIEW_COLOR = appearance.EMPHYSEMA
_CATEGORY_LIST = "Segmentation category and type - DICOM master list"
_ANATOMY = "SCT^123037004^Anatomical Structure"
_ALTERED = "SCT^49755003^Morphologically Altered Structure"
_LUNG = "SCT^39607008^Lung"
_SIDES = {"right": "SCT^24028007^Right", "left": "SCT^7771000^Left"}
_AIRWAY = "SCT^89187006^Airway structure"
_EMPHYSEMA = "SCT^87433001^Pulmonary emphysema"


@dataclass(frozen=True)
class SegmentStyle:
    """How one segment looks and what it means.

    Attributes:
        role: value of the :data:`ROLE_TAG` tag; stays when the user renames the segment.
        name: name shown.
        color: red, green, blue, each 0 to 1; distinguishable with the common colour-vision deficiencies.
        fill: opacity of the 2D fill, 0 to 1.
        terminology: Slicer's terminology entry.
    """

    role: str
    name: str
    color: tuple[float, float, float]
    fill: float
    terminology: str


def _entry(category: str, kind: str, modifier: str = "^^") -> str:
    return f"{_CATEGORY_LIST}~{category}~{kind}~{modifier}~Anatomic codes - DICOM master list~^^~^^"


RIGHT = SegmentStyle("rightLung", "Right lung", (0.34, 0.71, 0.91), 0.12, _entry(_ANATOMY, _LUNG, _SIDES["right"]))
LEFT = SegmentStyle("leftLung", "Left lung", (0.94, 0.89, 0.26), 0.12, _entry(_ANATOMY, _LUNG, _SIDES["left"]))
AIRWAYS = SegmentStyle("airways", "Airways", (0.0, 0.62, 0.45), 0.35, _entry(_ANATOMY, _AIRWAY))
EMPHYSEMA = SegmentStyle("emphysema", "Emphysema", appearance.EMPHYSEMA, 0.60, _entry(_ALTERED, _EMPHYSEMA))
# The same red: every view draws its own volume's emphysema.
COMPARED = SegmentStyle("comparedEmphysema", "Emphysema (compared)", EMPHYSEMA.color, 0.60, _entry(_ALTERED, _EMPHYSEMA))
REMOVED = SegmentStyle("removed", "Only in the first", appearance.REMOVED, 0.60, _entry(_ALTERED, _EMPHYSEMA))
KEPT = SegmentStyle("kept", "In both", appearance.EMPHYSEMA, 0.60, _entry(_ALTERED, _EMPHYSEMA))
ADDED = SegmentStyle("added", "Only in the second", appearance.ADDED, 0.60, _entry(_ALTERED, _EMPHYSEMA))
STYLES = (RIGHT, LEFT, AIRWAYS, EMPHYSEMA, COMPARED, REMOVED, KEPT, ADDED)
CHANGE = (REMOVED, KEPT, ADDED)


def newSegmentationNode(name: str) -> Any:
    """An empty segmentation node with a display node, in the scene."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", slicer.mrmlScene.GetUniqueNameByString(name))
    node.CreateDefaultDisplayNodes()
    return node


def labelmaps(result: Measurement, ijkToRas: Any) -> dict[str, Any]:
    """Role -> vtkOrientedImageData of every segment that ``result`` has.

    Does not access the scene, so it may run in a thread: on a large scan it takes seconds.

    Args:
        result: what was measured.
        ijkToRas: vtkMatrix4x4 of the measured volume.
    """
    labels = result.lung_mask.labels
    masks = {RIGHT: labels == RIGHT_LABEL, LEFT: labels == LEFT_LABEL, EMPHYSEMA: result.volume.emphysema}
    if result.lung_mask.airways.any():
        masks[AIRWAYS] = result.lung_mask.airways
    if result.compared is not None:
        own, other = result.volume.emphysema, result.compared.emphysema
        reverse = isReversed(result.volume.synthetic, result.compared.synthetic)
        first, second = (other, own) if reverse else (own, other)
        masks |= {COMPARED: other, REMOVED: first & ~second, KEPT: first & second, ADDED: second & ~first}
    return {style.role: labelmap(mask, ijkToRas) for style, mask in masks.items()}


def writeSegments(node: Any, volumeNode: Any, maps: dict[str, Any], comparedNode: Any | None = None) -> None:
    """Write the result of :func:`labelmaps` into the segmentation ``node``, with the geometry of ``volumeNode``.

    Segments of an earlier run are replaced, with the name and colour that the user gave them; other segments are kept.
    """
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.SetNodeReferenceID(VOLUME_REFERENCE_ROLE, volumeNode.GetID())
    node.SetNodeReferenceID(COMPARED_REFERENCE_ROLE, comparedNode.GetID() if comparedNode is not None else None)
    node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), volumeNode.GetID())
    # Surfaces of hundreds of thousands of noise voxels would block the application for seconds.
    node.GetSegmentation().RemoveRepresentation(_surface())
    names = _names(volumeNode, comparedNode)
    for style in STYLES:
        if style.role in maps:
            _writeSegment(node, style, names.get(style.role, style.name), maps[style.role])
        elif segmentIds(node, style.role):
            node.GetSegmentation().RemoveSegment(segmentIds(node, style.role)[0])


def _names(volumeNode: Any, comparedNode: Any | None) -> dict[str, str]:
    if comparedNode is None:
        return {}
    change = dict(zip((style.role for style in CHANGE), changeNames(volumeNode, comparedNode), strict=True))
    own = {EMPHYSEMA.role: volumeNode, COMPARED.role: comparedNode}
    return change | {role: f"Emphysema in {node.GetName()}" for role, node in own.items()}


def segmentIds(node: Any, role: str) -> list[str]:
    """IDs of the segments with this role."""
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    return [i for i in ids if _tag(segmentation.GetSegment(i), ROLE_TAG) == role]


def deferredLungMask(node: Any, volumeNode: Any) -> Callable[[], LungMask]:
    """The lung mask that the segments of ``node`` describe, on the grid of ``volumeNode``, with the airways if it has them.

    The segments are found now; the returned function reads their voxels and may run in a thread.

    Raises:
        InputError: no segment is recognizably a right or left lung; from the function, they are empty.
    """
    if node.GetParentTransformNode() is not None:
        raise InputError(f"“{node.GetName()}” is under a transform; harden it or remove it before using its lungs.")
    right, left = lungSegmentIds(node, "right"), lungSegmentIds(node, "left")
    if not right and not left:
        raise InputError(
            f"“{node.GetName()}” has no segment that is recognizably a lung. Name two segments “Right lung” and "
            "“Left lung”, or set their terminology to Lung, Right and Lung, Left."
        )
    parts = [deferredUnion(node, ids, volumeNode) for ids in (right, left, segmentIds(node, AIRWAYS.role))]
    return lambda: supplied_mask(*(part() for part in parts))


def lungSegmentIds(node: Any, side: str) -> list[str]:
    """Segments that make up the lung of ``side`` ("right" or "left"): by our tag, by terminology, else by name."""
    tagged = segmentIds(node, f"{side}Lung")
    if tagged:
        return tagged
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    coded = [i for i in ids if _isLungBy(_tag(segmentation.GetSegment(i), _terminologyTag()), side)]
    return coded or [i for i in ids if _isLungName(segmentation.GetSegment(i).GetName(), side)]


def _isLungBy(terminology: str, side: str) -> bool:
    return _LUNG.rsplit("^", 1)[0] in terminology and _SIDES[side].rsplit("^", 1)[0] in terminology


def _isLungName(name: str, side: str) -> bool:
    words = name.lower().replace("_", " ").split()
    return side in words and bool({"lung", "lungs", "lobe"} & set(words))


def _writeSegment(node: Any, style: SegmentStyle, name: str, image: Any) -> None:
    existing = segmentIds(node, style.role)
    if existing:
        _replaceLabelmap(node, existing[0], image)
        held = node.GetSegmentation().GetSegment(existing[0])
        if held.GetName() == _tag(held, NAME_TAG):
            held.SetName(name)
            held.SetTag(NAME_TAG, name)
        return
    segmentation, segment = node.GetSegmentation(), slicer.vtkSegment()
    segment.SetName(name)
    segment.SetTag(NAME_TAG, name)
    segment.SetColor(*style.color)
    segment.SetTag(ROLE_TAG, style.role)
    segment.SetTag(_terminologyTag(), style.terminology)
    segment.AddRepresentation(_binary(), image)
    segmentId = segmentation.GenerateUniqueSegmentID(style.role)
    if not segmentation.AddSegment(segment, segmentId):
        raise RuntimeError(f"The segment “{style.name}” could not be added to “{node.GetName()}”.")
    for number in range(node.GetNumberOfDisplayNodes()):
        node.GetNthDisplayNode(number).SetSegmentOpacity2DFill(segmentId, style.fill)
        node.GetNthDisplayNode(number).SetSegmentOpacity2DOutline(segmentId, 1.0)


def _replaceLabelmap(node: Any, segmentId: str, image: Any) -> None:
    """Slicer's own function for this reads all voxels several times, which on a large scan blocks the application."""
    segmentation = node.GetSegmentation()
    # The Segment Editor may have put several segments into one labelmap.
    segmentation.SeparateSegmentLabelmap(segmentId)
    segment = segmentation.GetSegment(segmentId)
    held = segment.GetRepresentation(_binary())
    if held is None:
        if not slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, node, segmentId):
            raise RuntimeError(f"The segment {segmentId} of “{node.GetName()}” could not be written.")
        return
    segment.SetLabelValue(1)
    held.ShallowCopy(image)
    held.Modified()


def labelmap(mask: BoolArray, ijkToRas: Any) -> Any:
    """``mask``, bool (k, j, i), as vtkOrientedImageData with the matrix ``ijkToRas``; only the box that holds it."""
    from KernelNormalizationLib.core.imaging.morphology import bounding_box

    box = bounding_box(mask) if mask.any() else (slice(0, 1),) * 3
    image = slicer.vtkOrientedImageData()
    image.SetExtent([edge for axis in reversed(box) for edge in (axis.start, axis.stop - 1)])
    voxels = np.ascontiguousarray(mask[box], dtype=np.uint8).reshape(-1)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(voxels, deep=True))
    image.SetImageToWorldMatrix(ijkToRas)
    return image


def writeMask(node: Any, segmentId: str, volumeNode: Any, mask: BoolArray) -> None:
    """Make ``mask``, bool (k, j, i) on the grid of ``volumeNode``, the voxels of a segment."""
    _replaceLabelmap(node, segmentId, labelmap(mask, ijkToRasOf(volumeNode)))


def readMask(node: Any, segmentId: str, volumeNode: Any) -> BoolArray:
    """Voxels of a segment, bool (k, j, i), on the grid of ``volumeNode``."""
    return deferredUnion(node, [segmentId], volumeNode)()


def deferredUnion(node: Any, ids: list[str], volumeNode: Any) -> Callable[[], BoolArray]:
    """Reads the references to the voxels of segments now; the returned function resamples them to the grid of ``volumeNode``.

    The function does not access the scene and may run in a thread; it returns bool (k, j, i) of all segments together.
    """
    shape = slicer.util.arrayFromVolume(volumeNode).shape
    matrix = ijkToRasOf(volumeNode)
    held = [(segmentId, _heldLabelmap(node, segmentId)) for segmentId in ids]
    name = str(node.GetName())

    def union() -> BoolArray:
        mask = np.zeros(shape, dtype=bool)
        for segmentId, (image, value) in held:
            if image is None:
                continue
            if not _sameMatrix(image, matrix):
                image, value = _resampled(image, value, shape, matrix, f"The segment {segmentId} of “{name}”"), 1
            _addVoxels(mask, image, value)
        return mask

    return union


def _heldLabelmap(node: Any, segmentId: str) -> tuple[Any | None, int]:
    """The labelmap that holds a segment, its voxels not copied, and the segment's value in it."""
    segment = node.GetSegmentation().GetSegment(segmentId)
    held = segment.GetRepresentation(_binary()) if segment is not None else None
    if held is None or held.IsEmpty():
        return None, 0
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(held)
    return image, int(segment.GetLabelValue())


def _sameMatrix(image: Any, matrix: Any) -> bool:
    own = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(own)
    return all(abs(own.GetElement(r, c) - matrix.GetElement(r, c)) < 1e-4 for r in range(4) for c in range(4))


def _addVoxels(mask: BoolArray, image: Any, value: int) -> None:
    """Set the voxels of ``mask`` (k, j, i) that have ``value`` in ``image``, which lies on the same lattice."""
    extent = image.GetExtent()
    ranges = [(extent[2 * axis], extent[2 * axis + 1] + 1) for axis in (2, 1, 0)]
    voxels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape([end - start for start, end in ranges])
    inside = [(max(0, start), min(size, end)) for (start, end), size in zip(ranges, mask.shape, strict=True)]
    if all(start < end for start, end in inside):
        there = tuple(slice(start, end) for start, end in inside)
        here = tuple(slice(start - first, end - first) for (start, end), (first, _) in zip(inside, ranges, strict=True))
        mask[there] |= voxels[here] == value


def _resampled(image: Any, value: int, shape: tuple[int, ...], matrix: Any, what: str) -> Any:
    single = slicer.vtkOrientedImageData()
    single.DeepCopy(image)
    voxels = numpy_support.vtk_to_numpy(single.GetPointData().GetScalars())
    voxels[:] = voxels == value
    grid = slicer.vtkOrientedImageData()
    grid.SetDimensions(shape[::-1])
    grid.SetImageToWorldMatrix(matrix)
    resampled = slicer.vtkOrientedImageData()
    if not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(single, grid, resampled):
        raise RuntimeError(f"{what} could not be put on the volume's grid.")
    return resampled


def rasOf(volumeNode: Any, ijk: tuple[float, float, float]) -> tuple[float, float, float]:
    """RAS position (mm) of a voxel index (i, j, k)."""
    x, y, z, _one = ijkToRasOf(volumeNode).MultiplyPoint([*map(float, ijk), 1.0])
    return x, y, z


def ijkToRasOf(volumeNode: Any) -> Any:
    """vtkMatrix4x4 from voxel index (i, j, k) to RAS (mm)."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return matrix


def _tag(segment: Any, name: str) -> str:
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def _terminologyTag() -> str:
    return slicer.vtkSegment.GetTerminologyEntryTagName()


def _binary() -> str:
    return str(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())


def _surface() -> str:
    return str(slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName())
