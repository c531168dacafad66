"""MRML scalar volume nodes in, validated CT volumes out, and the way back; never changes an input node."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util import numpy_support

from ..core.errors import InputError
from ..core.io.dicom_reconstruction import RECONSTRUCTION_OWNERS, RECONSTRUCTION_TAGS, reconstruction_text
from ..core.io.padding import detect_padding
from ..core.methods.protocol import TARGET_KERNEL, UNCHANGED_KEY, NormalizationResult, synthetic_name
from ..core.volume import Acquisition, CTVolume, Geometry
from . import provenance

TagReader = Callable[[str, str], str]
"""(SOP instance UID, tag as ``gggg,eeee``) -> value, empty when the header does not have it."""

LUNG_WINDOW = (1500.0, -600.0)  # HU: width, centre
METHOD_NAMES = {"unet": "UNet"}  # of the methods whose name in the core is no word
MAXIMUM_SHEAR = 1e-3  # cosine between index axes; 0.06 degrees, below what scanners round directions to
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TAGS = {
    "kernel": "0018,1210",
    "manufacturer": "0008,0070",
    "scanner_model": "0008,1090",
    "slice_thickness_mm": "0018,0050",
    "tube_voltage_kv": "0018,0060",
    "contrast_agent": "0018,0010",
    "body_part": "0018,0015",
    "modality": "0008,0060",
    "study_instance_uid": "0020,000D",
    "series_instance_uid": "0020,000E",
    "frame_of_reference_uid": "0020,0052",
}
_NUMBERS = {"slice_thickness_mm", "tube_voltage_kv"}
_IMAGE_TYPE = "0008,0008"
_ORIGIN_TAGS = {"SeriesDescription": "0008,103E", "ImageComments": "0020,4000", "DerivationDescription": "0008,2111"}


def databaseTagReader() -> TagReader | None:
    """Reads tags from the application's DICOM database; ``None`` where there is none."""
    database = getattr(slicer, "dicomDatabase", None)
    return database.instanceValue if database is not None else None


def whyNotCt(node: Any) -> str | None:
    """Why ``node`` cannot be a chest CT volume, in words for the user; ``None`` if it can be. Reads no voxels."""
    if node is None:
        return "No volume is selected. Load a chest CT and choose it as the input volume."
    name = node.GetName()
    if not node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLLabelMapVolumeNode"):
        return f"“{name}” is not a scalar volume (labels and segmentations hold no HU). Choose a CT volume."
    image = node.GetImageData()
    if image is None or not image.GetPointData().GetScalars():
        return f"“{name}” holds no voxels. Load the volume again."
    if image.GetNumberOfScalarComponents() != 1:
        return f"“{name}” has {image.GetNumberOfScalarComponents()} components a voxel (colour or vector); CT has one."
    if node.GetParentTransformNode() is not None:
        return (
            f"“{name}” is under the transform “{node.GetParentTransformNode().GetName()}”. Harden the transform "
            "(right-click the volume in the Data module, “Harden transform”) or remove it."
        )
    return None


def geometryFromNode(node: Any) -> Geometry:
    """Geometry of a volume node, RAS turned into LPS.

    Raises:
        InputError: the index axes are not perpendicular.
    """
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    ijkToLps = _RAS_TO_LPS @ slicer.util.arrayFromVTKMatrix(matrix)
    spacing = np.linalg.norm(ijkToLps[:3, :3], axis=0)
    if not np.all(spacing > 0):
        raise InputError(f"“{node.GetName()}” has the spacing {tuple(spacing[::-1])} mm; all three must be positive.")
    directions = ijkToLps[:3, :3] / spacing
    shear = float(np.abs(directions.T @ directions - np.eye(3)).max())
    if shear > MAXIMUM_SHEAR:
        raise InputError(
            f"The slices of “{node.GetName()}” are not perpendicular to their stacking direction (cosine {shear:.3f}); "
            "resample the volume to straight axes first (Resample Scalar Volume)."
        )
    return Geometry(
        spacing=tuple(float(s) for s in spacing[::-1]),  # type: ignore[arg-type]
        origin=tuple(float(v) for v in ijkToLps[:3, 3]),  # type: ignore[arg-type]
        direction=tuple(tuple(float(v) for v in row) for row in directions),
    )


def acquisitionFromNode(node: Any, readTag: TagReader | None) -> Acquisition:
    """What is known of how the series was made; absent tags stay ``None``.

    Args:
        node: volume node; tags are looked up only if it names its DICOM instances.
        readTag: how to read a tag, or ``None`` without a DICOM database.

    Node attributes fill what DICOM does not say. A synthetic series that this project exported is marked as synthetic.
    """
    values: dict[str, Any] = {}
    instances = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    if instances and readTag is not None:
        for field, tag in _TAGS.items():
            values[field] = _converted(field, readTag(instances[0], tag))
        imageType = readTag(instances[0], _IMAGE_TYPE) or ""
        values["image_type"] = tuple(part for part in imageType.split("\\") if part)
        told = (*RECONSTRUCTION_TAGS, *RECONSTRUCTION_OWNERS)
        values["reconstruction"] = reconstruction_text({tag: readTag(instances[0], tag) or "" for tag in told})
        if _exportedByThisProject(instances[0], readTag):
            # Selectors, titles and tables go by the attribute.
            node.SetAttribute(provenance.SYNTHETIC, "true")
            values["kernel"] = f"{TARGET_KERNEL} (synthetic)"
    keys = _fileKeys()
    values["kernel"] = values.get("kernel") or _attribute(node, provenance.KERNEL, keys.kernel)
    values["manufacturer"] = values.get("manufacturer") or _attribute(node, provenance.MANUFACTURER, keys.manufacturer)
    return Acquisition(**values)


def _exportedByThisProject(instance: str, readTag: TagReader) -> bool:
    from ..core.io.dicom_derived import is_synthetic_header

    return is_synthetic_header({name: readTag(instance, tag) for name, tag in _ORIGIN_TAGS.items()})


def deferredVolume(node: Any, readTag: TagReader | None = None) -> Callable[[], CTVolume]:
    """Reads everything but the voxels of ``node`` now; the returned function copies and validates them.

    The function touches no scene, so a thread may call it: on a large volume that takes longer than a user should wait.

    Raises:
        InputError: now: no CT volume, transformed, sheared or another modality; from the function: not HU, too few slices.
    """
    reason = whyNotCt(node)
    if reason is not None:
        raise InputError(reason)
    acquisition = acquisitionFromNode(node, readTag)
    if acquisition.modality not in (None, "CT"):
        raise InputError(f"“{node.GetName()}” is {acquisition.modality}, not CT; only CT can be normalized and measured.")
    synthetic = provenance.isSynthetic(node)
    name, geometry, voxels = node.GetName(), geometryFromNode(node), slicer.util.arrayFromVolume(node)

    def volume() -> CTVolume:
        hu = voxels.astype(np.float32)
        return CTVolume(hu, geometry, acquisition, detect_padding(hu), name, synthetic)

    return volume


def deferredRecord(node: Any) -> Callable[[], dict[str, Any]]:
    """Finds the provenance record of a synthetic volume node now; the returned function reads it and may run in a thread.

    The record stands in the node's attributes, or beside the file that the node was loaded from. It is empty for an original
    and where neither holds one.

    Raises:
        InputError: from the function: the record is damaged.
    """
    name, text, storage = node.GetName(), node.GetAttribute(provenance.RECORD), node.GetStorageNode()
    file = storage.GetFileName() if storage is not None else None
    synthetic = provenance.isSynthetic(node)

    def record() -> dict[str, Any]:
        from ..core.io.file_conversion import provenance_path

        if not synthetic:
            return {}
        beside = provenance_path(Path(file)) if file else None
        try:
            content = text or (beside.read_text(encoding="utf-8") if beside is not None and beside.is_file() else "{}")
            found = json.loads(content)
        except ValueError as error:
            where = f"of “{name}”" if text or beside is None else str(beside)
            raise InputError(f"The provenance record {where} is not valid JSON ({error}); normalize again.") from error
        return found if isinstance(found, dict) else {}

    return record


def volumeFromNode(node: Any, readTag: TagReader | None = None) -> CTVolume:
    """A validated copy of the node's voxels as HU float32 (k, j, i).

    Raises:
        InputError: not a CT volume in HU, transformed, sheared, fewer than 8 slices, or another modality.
    """
    return deferredVolume(node, readTag)()


def voxelImage(hu: NDArray[np.float32]) -> Any:
    """A vtkImageData with a copy of the voxels ``hu`` (k, j, i) and no geometry.

    Touches no scene, so a thread may do it: on a large volume the copy takes longer than a user should wait.
    """
    scalars = vtk.vtkFloatArray()
    scalars.SetNumberOfTuples(hu.size)
    numpy_support.vtk_to_numpy(scalars)[:] = hu.reshape(-1)
    image = vtk.vtkImageData()
    image.SetDimensions(hu.shape[::-1])
    image.GetPointData().SetScalars(scalars)
    return image


def addVolumeNode(voxels: Any, like: Any, name: str) -> Any:
    """A new scalar volume node in the place of ``like``, shown the same way.

    Args:
        voxels: array (k, j, i) or what :func:`voxelImage` made of it, which is taken over without a copy.
        like: volume node with the same grid.
        name: wanted name, made unique.

    The node joins the scene complete, so that no observer ever sees it half made.
    """
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(slicer.mrmlScene.GetUniqueNameByString(name))
    node.SetAndObserveImageData(voxelImage(voxels) if isinstance(voxels, np.ndarray) else voxels)
    node.CopyOrientation(like)
    display = displayLike(like)
    node = slicer.mrmlScene.AddNode(node)
    node.SetAndObserveDisplayNodeID(display.GetID())
    _joinStudyOf(like, node)
    return node


def addSyntheticVolumeNode(result: NormalizationResult, inputNode: Any) -> Any:
    """The normalized volume as a node next to ``inputNode``, with its provenance in the node attributes."""
    return addSyntheticVolumeNodeFromVoxels(result.volume.hu, result.record, result.volume.acquisition, inputNode)


def addSyntheticVolumeNodeFromVoxels(voxels: Any, record: dict[str, Any], acquisition: Acquisition, inputNode: Any) -> Any:
    """Like :func:`addSyntheticVolumeNode`, from voxels as :func:`addVolumeNode` takes them and the record alone.

    A scan that was left as it is gets a node that says so and is no more synthetic than its input.
    """
    if record.get(UNCHANGED_KEY):
        return _addUnchangedNode(voxels, record, inputNode)
    node = addVolumeNode(voxels, inputNode, _syntheticName(inputNode.GetName(), str(record.get("method", ""))))
    keys = _fileKeys()
    for name, value in {
        provenance.SYNTHETIC: "true",
        provenance.RESEARCH_USE_ONLY: "true",
        provenance.INPUT_NODE_ID: inputNode.GetID(),
        provenance.RECORD: json.dumps(record, ensure_ascii=False, sort_keys=True),
        provenance.KERNEL: acquisition.kernel,
        provenance.MANUFACTURER: acquisition.manufacturer,
        # Slicer writes node attributes into the header of a saved NRRD: these names are the ones files are read by.
        provenance.SYNTHETIC_IN_FILE: "true",
        keys.kernel: acquisition.kernel,
        keys.manufacturer: acquisition.manufacturer,
    }.items():
        if value is not None:
            node.SetAttribute(name, value)
    node.SetNodeReferenceID(provenance.INPUT_REFERENCE_ROLE, inputNode.GetID())
    node.SetDescription(f"{provenance.RESEARCH_USE_TEXT} Synthetic: drawn by a normalization, not by a scanner.")
    return node


def _syntheticName(inputName: str, method: str) -> str:
    """Name of a synthetic volume: with its method, so that two are told apart, and with the run where one method ran twice."""
    base = synthetic_name(inputName)
    if method:
        base = f"{base.removesuffix(')')}, {METHOD_NAMES.get(method, method)})"
    taken = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")}
    numbered = (f"{base.removesuffix(')')}, run {run})" for run in range(2, len(taken) + 3))
    return next(name for name in (base, *numbered) if name not in taken)


def _addUnchangedNode(voxels: Any, record: dict[str, Any], inputNode: Any) -> Any:
    node = addVolumeNode(voxels, inputNode, f"{inputNode.GetName()} (unchanged)")
    for name in (provenance.SYNTHETIC, provenance.SYNTHETIC_IN_FILE, provenance.KERNEL, *_fileKeys()):
        if inputNode.GetAttribute(name):
            node.SetAttribute(name, inputNode.GetAttribute(name))
    node.SetAttribute(provenance.RECORD, json.dumps(record, ensure_ascii=False, sort_keys=True))
    node.SetAttribute(provenance.INPUT_NODE_ID, inputNode.GetID())
    node.SetNodeReferenceID(provenance.INPUT_REFERENCE_ROLE, inputNode.GetID())
    node.SetDescription("Nothing was done: the scan was as smooth as the reference kernel already.")
    return node


def _converted(field: str, text: str) -> str | float | None:
    text = (text or "").strip()
    if not text or field not in _NUMBERS:
        return text or None
    try:
        return float(text)
    except ValueError:
        logging.getLogger(__name__).warning("Ignoring the DICOM value %r of %s: not a number", text, field)
        return None


class _FileKeys(NamedTuple):
    kernel: str
    manufacturer: str


@cache
def _fileKeys() -> _FileKeys:
    # Imported late: reading files takes SimpleITK, which would slow down the start of the application.
    from ..core.io.reading import KERNEL_KEY, MANUFACTURER_KEY

    return _FileKeys(KERNEL_KEY, MANUFACTURER_KEY)


def _attribute(node: Any, *names: str) -> str | None:
    return next((value for name in names if (value := node.GetAttribute(name))), None)


def displayLike(source: Any) -> Any:
    """A display node in the scene with the colours and window of ``source``; made by hand because a default one would
    first compute a window from all voxels, which takes long on the user's time."""
    display = slicer.vtkMRMLScalarVolumeDisplayNode()
    display.SetAutoWindowLevel(0)
    original = source.GetDisplayNode()
    if original is not None and original.IsA("vtkMRMLScalarVolumeDisplayNode"):
        display.SetWindowLevel(original.GetWindow(), original.GetLevel())
    else:
        display.SetWindowLevel(*LUNG_WINDOW)
    colors = original.GetColorNodeID() if original is not None else None
    display.SetAndObserveColorNodeID(colors or "vtkMRMLColorTableNodeGrey")
    return slicer.mrmlScene.AddNode(display)


def _joinStudyOf(source: Any, target: Any) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    sourceItem = hierarchy.GetItemByDataNode(source) if hierarchy is not None else 0
    if not sourceItem:
        return
    parent = hierarchy.GetItemParent(sourceItem)
    targetItem = hierarchy.GetItemByDataNode(target) or hierarchy.CreateItem(parent, target)
    hierarchy.SetItemParent(targetItem, parent)
