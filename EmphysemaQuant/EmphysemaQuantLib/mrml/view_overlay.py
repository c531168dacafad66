"""Which mask is drawn in which slice view: every view shows the emphysema of its own volume only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk

from .segments import ADDED, COMPARED, COMPARED_REFERENCE_ROLE, EMPHYSEMA, KEPT, REMOVED, VOLUME_REFERENCE_ROLE, segmentIds

EMPHYSEMA_STYLES = (EMPHYSEMA, COMPARED, REMOVED, KEPT, ADDED)
COMPARED_DISPLAY = "EmphysemaQuant.ComparedDisplay"
# Whether a result is drawn in slice views; stored at the result, since views can change while another module is open.
OVERLAY_ATTRIBUTE = "EmphysemaQuant.Overlay"


def results() -> list[Any]:
    """The segmentation nodes that a measurement wrote."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node for node in nodes if node.GetNodeReference(VOLUME_REFERENCE_ROLE) is not None]


def displays(segmentation: Any) -> list[tuple[Any, Any]]:
    """Pairs of a measured volume and the display node that draws its emphysema; created where it is missing."""
    shown = [(segmentation.GetNodeReference(VOLUME_REFERENCE_ROLE), segmentation.GetDisplayNode())]
    compared = segmentation.GetNodeReference(COMPARED_REFERENCE_ROLE)
    second = _comparedDisplay(segmentation)
    if compared is not None:
        shown.append((compared, second if second is not None else _addComparedDisplay(segmentation)))
    elif second is not None:
        second.SetVisibility(False)
    return shown


def drawSegments(segmentation: Any, change: bool, visible: bool = True) -> None:
    """Choose the emphysema segments that the views draw.

    Args:
        segmentation: segmentation of :func:`segments.writeSegments`.
        change: removed, kept and added in all views, instead of every volume's own emphysema.
        visible: ``False`` hides all of them while a threshold preview is shown.
    """
    for number, (_volume, display) in enumerate(displays(segmentation)):
        own = (EMPHYSEMA, COMPARED)[number]
        wanted = (REMOVED, KEPT, ADDED) if change and segmentIds(segmentation, REMOVED.role) else (own,)
        for style in EMPHYSEMA_STYLES:
            for segmentId in segmentIds(segmentation, style.role):
                shown = visible and style in wanted
                if bool(display.GetSegmentVisibility(segmentId)) != shown:
                    display.SetSegmentVisibility(segmentId, shown)


def drawInViews(segmentation: Any, visible: bool) -> None:
    """Draw every measured volume's segments in the slice views that show this volume only."""
    for number, (volume, display) in enumerate(displays(segmentation)):
        views = [f"vtkMRMLSliceNode{name}" for name, shown in _backgrounds() if shown == volume.GetID()]
        if display.GetVisibility2D() != bool(visible and views):
            display.SetVisibility2D(bool(visible and views))
        # An empty list would mean all views. Surfaces that the user asks for elsewhere are drawn once.
        views += [node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLViewNode")] if number == 0 else []
        if set(display.GetViewNodeIDs()) != set(views):
            wasModified = display.StartModify()
            display.RemoveAllViewNodeIDs()
            for view in views:
                display.AddViewNodeID(view)
            display.EndModify(wasModified)


def compositesOf(volumeId: str) -> list[Any]:
    """Composite nodes of the slice views that show the volume with this ID."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return [node for node in nodes if node.GetBackgroundVolumeID() == volumeId]


def followVolumes() -> None:
    """Draw every result of the scene in the views that show its volumes now."""
    if slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsImporting():
        return
    for node in results():
        if node.GetDisplayNode() is not None:
            drawInViews(node, node.GetAttribute(OVERLAY_ATTRIBUTE) != "false")


def watchViews() -> ViewWatch:
    """Follow the volumes as long as the application runs, also for results of a loaded scene while the panel is not open."""
    return ViewWatch(followVolumes)


class ViewWatch:
    """Reports when a slice view shows another volume.

    Args:
        changed: called then.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._observed: list[tuple[Any, int]] = []
        self._known: list[tuple[str, str | None]] = []
        scene = slicer.mrmlScene
        self._tags = [
            scene.AddObserver(scene.NodeAddedEvent, lambda *_: self._observeNew()),
            scene.AddObserver(scene.EndImportEvent, lambda *_: self._changed()),
        ]
        self._observeNew()

    def stop(self) -> None:
        """Stop observing."""
        for tag in self._tags:
            slicer.mrmlScene.RemoveObserver(tag)
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed = []

    def _observeNew(self) -> None:
        self._observed = [(node, tag) for node, tag in self._observed if slicer.mrmlScene.IsNodePresent(node)]
        observed = [node for node, _tag in self._observed]
        if slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode") == len(observed):
            return
        for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if node not in observed:
                tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._look())
                self._observed.append((node, tag))

    def _look(self) -> None:
        shown = _backgrounds()
        if shown != self._known:
            self._known = shown
            self._changed()


def _backgrounds() -> list[tuple[str, str | None]]:
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return [(node.GetLayoutName(), node.GetBackgroundVolumeID()) for node in nodes]


def _comparedDisplay(segmentation: Any) -> Any | None:
    nodes = [segmentation.GetNthDisplayNode(n) for n in range(segmentation.GetNumberOfDisplayNodes())]
    return next((node for node in nodes if node is not None and node.GetAttribute(COMPARED_DISPLAY) == "true"), None)


def _addComparedDisplay(segmentation: Any) -> Any:
    """A second display of the same segments, with the same colours and fill."""
    display = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationDisplayNode")
    display.CopyContent(segmentation.GetDisplayNode())
    display.SetAttribute(COMPARED_DISPLAY, "true")
    display.SetVisibility3D(False)
    segmentation.AddAndObserveDisplayNodeID(display.GetID())
    return display
