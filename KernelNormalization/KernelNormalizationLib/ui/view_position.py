"""Position of a slice view, copied from one layout to the next so that the same place stays in view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer


@dataclass(frozen=True)
class ViewPosition:
    """What a slice view shows.

    Attributes:
        center: RAS (mm) of the middle of the view; its component along the slice normal is the slice offset.
        shortSideMm: mm that the shorter side of the view spans. Views of another shape get the same, so that a square
            around the centre that was in view stays in view.
    """

    center: tuple[float, float, float]
    shortSideMm: float

    @classmethod
    def of(cls, sliceNode: Any) -> ViewPosition:
        """The position of ``sliceNode``."""
        origin = sliceNode.GetXYZOrigin()
        x, y, z, _one = sliceNode.GetSliceToRAS().MultiplyPoint([*origin, 1.0])
        return cls((x, y, z), min(sliceNode.GetFieldOfView()[:2]))

    def isIn(self, volumeNode: Any) -> bool:
        """Whether the middle of the view lies inside ``volumeNode``."""
        bounds = [0.0] * 6
        volumeNode.GetRASBounds(bounds)
        return all(bounds[2 * axis] <= self.center[axis] <= bounds[2 * axis + 1] for axis in range(3))

    def applyTo(self, sliceNode: Any) -> None:
        """Move ``sliceNode`` to this position; its orientation is kept."""
        width, height = (max(1, size) for size in sliceNode.GetDimensions()[:2])
        millimetresPerPixel = self.shortSideMm / min(width, height)
        wasModified = sliceNode.StartModify()
        sliceNode.SetXYZOrigin(0.0, 0.0, 0.0)
        sliceNode.SetFieldOfView(width * millimetresPerPixel, height * millimetresPerPixel, sliceNode.GetFieldOfView()[2])
        sliceNode.JumpSliceByCentering(*self.center)
        sliceNode.EndModify(wasModified)


def shownPosition(orientation: str, volumeNode: Any, preferred: str = "") -> ViewPosition | None:
    """The position of a view of that orientation on screen, if it lies inside ``volumeNode``.

    Args:
        orientation: ``Axial`` or ``Coronal``.
        volumeNode: the volume to be shown next.
        preferred: singleton tag of the view that is tried first.
    """
    shown = slicer.app.layoutManager().layoutLogic().GetViewNodes()
    views = [shown.GetItemAsObject(n) for n in range(shown.GetNumberOfItems())]
    nodes = [view for view in views if view.IsA("vtkMRMLSliceNode") and view.GetOrientation() == orientation]
    nodes.sort(key=lambda node: node.GetLayoutName() != preferred)
    for node in nodes:
        position = ViewPosition.of(node)
        if _showsVolume(node) and position.isIn(volumeNode):
            return position
    return None


def _showsVolume(sliceNode: Any) -> bool:
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    name = sliceNode.GetLayoutName()
    shown = next((node.GetBackgroundVolumeID() for node in composites if node.GetLayoutName() == name), None)
    return slicer.mrmlScene.GetNodeByID(shown or "") is not None
