"""Lungs and emphysema in 3D: translucent lungs, solid emphysema, made from 2 mm cells in a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from KernelNormalizationLib.core.arrays import BoolArray

from .segments import EMPHYSEMA, KEPT, LEFT, RIGHT, SegmentStyle, deferredUnion, ijkToRasOf, segmentIds

# Own choice: the lung surface looks the same, and single noise voxels (half a million in a sharp scan) form no cells.
CELL_MM = 2.0
LUNG_OPACITY = 0.2
ROLE = "EmphysemaQuantSurface"
MODEL_ATTRIBUTE = "EmphysemaQuant.Surface"

Surfaces = list[tuple[SegmentStyle, Any]]


def deferredSurfaces(segmentation: Any, volumeNode: Any) -> Callable[[], Surfaces]:
    """Reads the references to the segments now; the returned function meshes them and may run in a thread.

    Meshed are the lungs, and the emphysema that both volumes have (kept), or that of the only one.
    """
    styles = [RIGHT, LEFT, KEPT if segmentIds(segmentation, KEPT.role) else EMPHYSEMA]
    masks = [(style, deferredUnion(segmentation, segmentIds(segmentation, style.role), volumeNode)) for style in styles]
    matrix = ijkToRasOf(volumeNode)
    return lambda: [(style, mesh(mask(), matrix)) for style, mask in masks]


def mesh(mask: BoolArray, ijkToRas: Any) -> Any:
    """vtkPolyData in RAS (mm) around the cells of about 2 mm of which ``mask``, bool (k, j, i), fills at least half."""
    columns = [[ijkToRas.GetElement(row, column) for row in range(3)] for column in range(3)]
    spacing = [float(np.linalg.norm(column)) for column in columns]
    factors = [max(1, round(CELL_MM / size)) for size in spacing]  # along i, j, k
    cells, corner = _cells(mask, factors)
    image = vtk.vtkImageData()
    image.SetDimensions(cells.shape[::-1])
    image.SetSpacing(*map(float, factors))
    image.SetOrigin(*corner)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(cells.reshape(-1), deep=True))
    contour = vtk.vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, 0.5)
    contour.ComputeNormalsOff()
    place = vtk.vtkTransform()
    place.SetMatrix(ijkToRas)
    moved = vtk.vtkTransformPolyDataFilter()
    moved.SetTransform(place)
    moved.SetInputConnection(contour.GetOutputPort())
    moved.Update()
    return moved.GetOutput()


def _cells(mask: BoolArray, factors: list[int]) -> tuple[Any, tuple[float, float, float]]:
    """uint8 (k, j, i) of cells with an empty border, and the voxel index (i, j, k) of the first cell's centre."""
    from KernelNormalizationLib.core.imaging.morphology import bounding_box

    box = bounding_box(mask) if mask.any() else (slice(0, 1),) * 3
    inside = mask[box]
    blocks = factors[::-1]
    padded = np.pad(inside, [(0, -size % block) for size, block in zip(inside.shape, blocks, strict=True)])
    shape = [length for size, block in zip(padded.shape, blocks, strict=True) for length in (size // block, block)]
    share = padded.reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32)
    cells = np.pad((share >= 0.5).astype(np.uint8), 1)
    i, j, k = (start.start + (block - 1) / 2.0 - block for start, block in zip(box[::-1], factors, strict=True))
    return cells, (i, j, k)


def showSurfaces(segmentation: Any, surfaces: Surfaces) -> None:
    """Show the result of :func:`deferredSurfaces` in the segments' colours; models of an earlier result are reused."""
    for style, surface in surfaces:
        model = segmentation.GetNodeReference(f"{ROLE}.{style.role}")
        if model is None:
            model = _newModel(segmentation, style)
        model.SetAndObservePolyData(surface)
        display = model.GetDisplayNode()
        ids = segmentIds(segmentation, style.role)
        segment = segmentation.GetSegmentation().GetSegment(ids[0]) if ids else None
        display.SetColor(*(segment.GetColor() if segment is not None else style.color))
        display.SetOpacity(LUNG_OPACITY if style in (RIGHT, LEFT) else 1.0)
        display.SetVisibility(True)
        display.SetVisibility2D(False)
    # Hide models that are not part of this result.
    for style in {RIGHT, LEFT, KEPT, EMPHYSEMA} - {style for style, _surface in surfaces}:
        _hide(segmentation, style)


def hideSurfaces(segmentation: Any) -> None:
    """Hide the models of this result."""
    for style in (RIGHT, LEFT, KEPT, EMPHYSEMA):
        _hide(segmentation, style)


def surfaceNodes(segmentation: Any) -> list[Any]:
    """Model nodes of this result and their displays, which are removed with it."""
    models = [segmentation.GetNodeReference(f"{ROLE}.{style.role}") for style in (RIGHT, LEFT, KEPT, EMPHYSEMA)]
    present = [model for model in models if model is not None]
    return [node for model in present for node in (model.GetDisplayNode(), model) if node is not None]


def _hide(segmentation: Any, style: SegmentStyle) -> None:
    model = segmentation.GetNodeReference(f"{ROLE}.{style.role}")
    if model is not None and model.GetDisplayNode() is not None:
        model.GetDisplayNode().SetVisibility(False)


def _newModel(segmentation: Any, style: SegmentStyle) -> Any:
    model = slicer.vtkMRMLModelNode()
    model.SetName(slicer.mrmlScene.GetUniqueNameByString(f"{segmentation.GetName()} {style.name} surface"))
    model.SetHideFromEditors(True)
    model.SetSaveWithScene(False)  # quickly made again from the segments
    model.SetAttribute(MODEL_ATTRIBUTE, "true")
    model = slicer.mrmlScene.AddNode(model)
    display = slicer.vtkMRMLModelDisplayNode()
    display.SetSaveWithScene(False)
    display = slicer.mrmlScene.AddNode(display)
    model.SetAndObserveDisplayNodeID(display.GetID())
    segmentation.SetNodeReferenceID(f"{ROLE}.{style.role}", model.GetID())
    return model
