"""Titles of the review's slice views; each names the volume that its view shows at that moment."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from ..core.imaging.appearance import ORIGINAL, RGB, SYNTHETIC
from ..core.methods.protocol import name_beside_kind
from ..core.plain_text import shortened
from ..mrml import provenance

DIFFERENCE_ATTRIBUTE = "CTKernelNormalization.Difference"
DIFFERENCE_COLOR, EMPTY_COLOR = (0.42, 0.35, 0.80), (0.5, 0.5, 0.5)  # violet, grey
# Columns -> characters of a title. Slicer never makes a view narrower than its title, slider and buttons; with more
# characters the views and this panel would not fit beside each other on a screen 1366 pixels wide.
LONGEST_TITLE = {2: 34, 3: 15}
SHORTEST_NAME = 8  # characters; less of a name says nothing


def titleOf(volumeNode: Any | None, longest: int = LONGEST_TITLE[2]) -> str:
    """Title of a view that shows ``volumeNode``: what kind of volume it is, and its name where there is room.

    Args:
        volumeNode: vtkMRMLScalarVolumeNode, or ``None`` for an empty view.
        longest: characters of the title.
    """
    if volumeNode is None:
        return "Empty"
    name = str(volumeNode.GetName())
    if isDifference(volumeNode):
        return "Difference (HU)"
    kind = "Original"
    if provenance.isSynthetic(volumeNode):
        kind = "Synthetic"
        name = name_beside_kind(name)
    room = longest - len(f"{kind}: ")
    return f"{kind}: {shortened(name, room)}" if room >= min(len(name), SHORTEST_NAME) else kind


def colorOf(volumeNode: Any | None) -> RGB:
    """Red, green and blue, 0 to 1, of the bar above a view that shows ``volumeNode``."""
    if volumeNode is None:
        return EMPTY_COLOR
    if isDifference(volumeNode):
        return DIFFERENCE_COLOR
    return SYNTHETIC if provenance.isSynthetic(volumeNode) else ORIGINAL


def isDifference(volumeNode: Any) -> bool:
    """Whether the voxels of ``volumeNode`` are one volume minus another."""
    return str(volumeNode.GetAttribute(DIFFERENCE_ATTRIBUTE)).lower() == "true"


class ViewTitles:
    """Updates the titles of slice views when other volumes are shown in them."""

    def __init__(self) -> None:
        self._observed: list[tuple[Any, int]] = []

    def follow(self, layoutNames: list[str], longest: int) -> None:
        """Title the views with these singleton tags now and at every change; views that do not exist are left out.

        Args:
            layoutNames: singleton tags.
            longest: characters of a title.
        """
        self.stop()
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if composite.GetLayoutName() in layoutNames:
                tag = composite.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, _event: _title(caller, longest))
                self._observed.append((composite, tag))
                _title(composite, longest)

    def stop(self) -> None:
        """Stop updating."""
        for composite, tag in self._observed:
            composite.RemoveObserver(tag)
        self._observed = []


def _title(composite: Any, longest: int) -> None:
    sliceNode = slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{composite.GetLayoutName()}")
    volume = slicer.mrmlScene.GetNodeByID(composite.GetBackgroundVolumeID() or "")
    if sliceNode is not None and sliceNode.GetLayoutLabel() != titleOf(volume, longest):
        sliceNode.SetLayoutLabel(titleOf(volume, longest))
        sliceNode.SetLayoutColor(*colorOf(volume))
