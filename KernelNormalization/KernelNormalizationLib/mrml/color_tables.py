"""Colour tables of the volumes that both modules create (HU difference, threshold preview)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer

# Name of a value, red, green, blue; each 0 to 1.
Color = tuple[str, float, float, float]


def colorTable(name: str, colors: Sequence[Color], saveWithScene: bool = True) -> Any:
    """The hidden vtkMRMLColorTableNode of that name; created once per scene."""
    existing = slicer.util.getFirstNodeByClassByName("vtkMRMLColorTableNode", name)
    if existing is not None:
        return existing
    node = slicer.vtkMRMLColorTableNode()
    node.SetName(name)
    node.SetTypeToUser()
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(saveWithScene)
    node.SetNumberOfColors(len(colors))
    for index, color in enumerate(colors):
        node.SetColor(index, *color, 1.0)
    return slicer.mrmlScene.AddNode(node)
