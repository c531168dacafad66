"""Titles of the review's slice views; each names the volume that its view shows at that moment."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from ..core.imaging.appearance import ORIGINAL, RGB, SYNTHETIC
from ..core.plain_text import shortened
from ..mrml import provenance

DIFFERENCE_ATTRIBUTE = "CTKernelNormalization.Difference"
DIFFERENCE_COLOR, EMPTY_COLOR = (0.42, 0.35, 0.80), (0.5, 0.5, 0.5)  # violet, grey


def titleOf(volumeNode: Any | None) -> str:
    """Title of a view that shows ``volumeNode``: what kind of volume it is, and its name."""
    if volumeNode is None:
        return "Empty"
    name = str(volumeNode.GetName())
    if isDifference(volumeNode):
        return "Difference (HU)"
    if provenance.isSynthetic(volumeNode):
        shown = name.replace("(synthetic)", "").replace("(synthetic, ", "(").strip()  # the method in brackets stays
        return f"Synthetic: {shortened(shown)}"
    return f"Original: {shortened(name)}"


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

    def follow(self, layoutNames: list[str]) -> None:
        """Title the views with these singleton tags now and at every change; views that do not exist are left out."""
        self.stop()
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if composite.GetLayoutName() in layoutNames:
                tag = composite.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, _event: _title(caller))
                self._observed.append((composite, tag))
                _title(composite)

    def stop(self) -> None:
        """Stop updating."""
        for composite, tag in self._observed:
            composite.RemoveObserver(tag)
        self._observed = []


def _title(composite: Any) -> None:
    sliceNode = slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{composite.GetLayoutName()}")
    volume = slicer.mrmlScene.GetNodeByID(composite.GetBackgroundVolumeID() or "")
    if sliceNode is not None and sliceNode.GetLayoutLabel() != titleOf(volume):
        sliceNode.SetLayoutLabel(titleOf(volume))
        sliceNode.SetLayoutColor(*colorOf(volume))
