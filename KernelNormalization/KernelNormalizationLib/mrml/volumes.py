"""Conversion of MRML scalar volume nodes to validated CT volumes and back; input nodes are never changed."""

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
from ..core.imaging.appearance import LUNG_WINDOW_CENTRE_HU, LUNG_WINDOW_WIDTH_HU
from ..core.io.dicom_reconstruction import RECONSTRUCTION_OWNERS, RECONSTRUCTION_TAGS, reconstruction_text
from ..core.io.dicom_tags import ENHANCED_CT
from ..core.io.padding import detect_padding
from ..core.methods.protocol import TARGET_KERNEL, UNCHANGED_KEY, NormalizationResult, synthetic_name
from ..core.provenance.manifest import require_known_schema, require_unchanged, sealed
from ..core.volume import Acquisition, CTVolume, Geometry
from . import provenance
from .dicom_database import INSTANCES, TagReader, databaseFiles, dicomDatabase

LUNG_WINDOW = (LUNG_WINDOW_WIDTH_HU, LUNG_WINDOW_CENTRE_HU)
METHOD_NAMES = {"unet": "UNet"}  # methods whose identifier is not how they are written
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
_IMAGE_TYPE, _SOP_CLASS = "0008,0008", "0008,0016"
_ORIGIN_TAGS = {"SeriesDescription": "0008,103E", "ImageComments": "0020,4000", "DerivationDescription": "0008,2111"}


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
        components = image.GetNumberOfScalarComponents()
        return f"“{name}” has {components} components a voxel (colour or vector); CT has one. Load a CT volume."
    transform = node.GetParentTransformNode()
    if transform is not None and not transform.IsLinear():
        # Slicer's DICOM module makes one for such series; hardening it would interpolate between slices
        return (
            f"“{name}” is under the warping transform “{transform.GetName()}”, as a series with tilt or uneven slices is. "
            "Straightening takes noise away as a smooth kernel does, so its numbers would not be comparable. Choose a series "
            "with even, untilted slices."
        )
    if transform is not None:
        return (
            f"“{name}” is under the transform “{transform.GetName()}”. Harden the transform "
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
            "choose a series without tilt. Straightening by resampling lowers the index."
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

    Node attributes supply what the DICOM header lacks. A synthetic series that this project exported is marked as synthetic.
    """
    values: dict[str, Any] = {}
    instances = (node.GetAttribute(INSTANCES) or "").split()
    if instances and readTag is not None:
        for field, tag in _TAGS.items():
            values[field] = _converted(field, readTag(instances[0], tag))
        imageType = readTag(instances[0], _IMAGE_TYPE) or ""
        values["image_type"] = tuple(part for part in imageType.split("\\") if part)
        values |= _ofFirstFrame(instances[0], readTag)
        told = (*RECONSTRUCTION_TAGS, *RECONSTRUCTION_OWNERS)
        values["reconstruction"] = reconstruction_text({tag: readTag(instances[0], tag) or "" for tag in told})
        if markExported(node, readTag):
            values["kernel"] = f"{TARGET_KERNEL} (synthetic)"
    keys = _fileKeys()
    values["kernel"] = values.get("kernel") or _attribute(node, provenance.KERNEL, keys.kernel)
    values["manufacturer"] = values.get("manufacturer") or _attribute(node, provenance.MANUFACTURER, keys.manufacturer)
    return Acquisition(**values)


def _ofFirstFrame(instance: str, readTag: TagReader) -> dict[str, Any]:
    """What an enhanced (multi-frame) CT says in its functional groups, where no tag reader looks; empty for other images."""
    database = dicomDatabase()
    if readTag(instance, _SOP_CLASS) not in ENHANCED_CT or database is None:
        return {}
    from ..core.io.dicom_series import acquisition_of
    from ..core.io.dicom_slice import read_images

    images = read_images(Path(database.fileForInstance(instance) or "")) or []
    if not images or images[0].fault is not None:
        return {}
    stated = acquisition_of(images[0].header)
    return {field: getattr(stated, field) for field in _TAGS if getattr(stated, field) is not None}


def markExported(node: Any, readTag: TagReader) -> bool:
    """Mark a volume node as synthetic if its DICOM header says that this project exported it; whether it does.

    Looks at a few tags only, so that a panel may ask at every change of the scene. Selectors, titles and tables read the mark.
    """
    from ..core.io.dicom_derived import is_synthetic_header

    instances = (node.GetAttribute(INSTANCES) or "").split()
    if not instances or not is_synthetic_header({name: readTag(instances[0], tag) for name, tag in _ORIGIN_TAGS.items()}):
        return False
    node.SetAttribute(provenance.SYNTHETIC, "true")
    return True


def deferredVolume(node: Any, readTag: TagReader | None = None) -> Callable[[], CTVolume]:
    """Reads everything but the voxels of ``node`` now; the returned function copies and validates them.

    The function does not access the scene, so it may run in a thread: on a large volume it takes up to seconds. Where the DICOM
    database knows the files of the volume, it checks their headers as the command line does, since Slicer reads only the first.

    Raises:
        InputError: now: no CT volume, transformed, sheared or another modality; from the function: not HU, too few slices, or
            files that do not belong together.
    """
    reason = whyNotCt(node)
    if reason is not None:
        raise InputError(reason)
    acquisition = acquisitionFromNode(node, readTag)
    if acquisition.modality not in (None, "CT"):
        raise InputError(f"“{node.GetName()}” is {acquisition.modality}, not CT; only CT can be normalized and measured.")
    synthetic = provenance.isSynthetic(node)
    name, geometry, voxels = node.GetName(), geometryFromNode(node), slicer.util.arrayFromVolume(node)
    files = databaseFiles(node)

    def volume() -> CTVolume:
        hu = voxels.astype(np.float32)
        from ..core.io.loaded_series import checked_as_loaded

        return checked_as_loaded(CTVolume(hu, geometry, acquisition, detect_padding(hu), name, synthetic), files)

    return volume


def deferredRecord(node: Any) -> Callable[[], dict[str, Any]]:
    """Finds the provenance record of a synthetic volume node now; the returned function reads it and may run in a thread.

    The record is in the node's attributes, or in a file beside the one that the node was loaded from. It is empty for an
    original and where there is none.

    Raises:
        InputError: from the function: the record is damaged, was changed, or is of a later version of this software.
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
        if not isinstance(found, dict):
            return {}
        where = f"The provenance record of “{name}”"
        require_known_schema(found, where)
        require_unchanged(found, where)
        return found

    return record


def volumeFromNode(node: Any, readTag: TagReader | None = None) -> CTVolume:
    """A validated copy of the node's voxels as HU float32 (k, j, i).

    Raises:
        InputError: not a CT volume in HU, transformed, sheared, fewer than 8 slices, or another modality.
    """
    return deferredVolume(node, readTag)()


def voxelImage(hu: NDArray[np.float32]) -> Any:
    """A vtkImageData with a copy of the voxels ``hu`` (k, j, i) and no geometry.

    Does not access the scene, so it may run in a thread: on a large volume the copy takes up to seconds.
    """
    scalars = vtk.vtkFloatArray()
    scalars.SetNumberOfTuples(hu.size)
    numpy_support.vtk_to_numpy(scalars)[:] = hu.reshape(-1)
    image = vtk.vtkImageData()
    image.SetDimensions(hu.shape[::-1])
    image.GetPointData().SetScalars(scalars)
    return image


def addVolumeNode(voxels: Any, like: Any, name: str) -> Any:
    """A new scalar volume node with the geometry and display settings of ``like``.

    Args:
        voxels: array (k, j, i), or the result of :func:`voxelImage`, which is used without a copy.
        like: volume node with the same grid.
        name: wanted name, made unique.

    The node is added to the scene when it is complete, so that no observer sees an incomplete one.
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

    A scan that needed no normalization gets a node whose description says so; it is not marked as synthetic unless its input
    was.
    """
    if record.get(UNCHANGED_KEY):
        return _addUnchangedNode(voxels, record, inputNode)
    node = addVolumeNode(voxels, inputNode, _syntheticName(inputNode.GetName(), str(record.get("method", ""))))
    keys = _fileKeys()
    for name, value in {
        provenance.SYNTHETIC: "true",
        provenance.RESEARCH_USE_ONLY: "true",
        provenance.INPUT_NODE_ID: inputNode.GetID(),
        provenance.RECORD: json.dumps(sealed(record), ensure_ascii=False, sort_keys=True),
        provenance.KERNEL: acquisition.kernel,
        provenance.MANUFACTURER: acquisition.manufacturer,
        # Slicer writes node attributes into the header of a saved NRRD; files are recognised by these names.
        provenance.SYNTHETIC_IN_FILE: "true",
        keys.kernel: acquisition.kernel,
        keys.manufacturer: acquisition.manufacturer,
    }.items():
        if value is not None:
            node.SetAttribute(name, value)
    node.SetNodeReferenceID(provenance.INPUT_REFERENCE_ROLE, inputNode.GetID())
    node.SetDescription(f"{provenance.RESEARCH_USE_TEXT} Synthetic: computed by kernel normalization, not by a scanner.")
    return node


def _syntheticName(inputName: str, method: str) -> str:
    """Name of a synthetic volume, with its method and, if that method ran before, the number of the run."""
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
    node.SetAttribute(provenance.RECORD, json.dumps(sealed(record), ensure_ascii=False, sort_keys=True))
    node.SetAttribute(provenance.INPUT_NODE_ID, inputNode.GetID())
    node.SetNodeReferenceID(provenance.INPUT_REFERENCE_ROLE, inputNode.GetID())
    node.SetDescription("Not normalized: the scan is already as smooth as the reference kernel.")
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
    """A display node in the scene with the colours and window of ``source``; created explicitly because the default one
    would first compute a window from all voxels, which takes seconds on a large volume."""
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
