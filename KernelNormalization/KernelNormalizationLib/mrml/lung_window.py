"""The lung window for volumes whose file has no display window, such as NRRD and NIfTI files."""

from __future__ import annotations

from typing import Any

from .volumes import LUNG_WINDOW, displayLike


def useLungWindow(node: Any) -> bool:
    """Show a chest CT in the lung window, W 1500 L -600 HU, unless a header or the user chose a window.

    Args:
        node: vtkMRMLScalarVolumeNode; only how it is displayed changes.

    Returns:
        Whether the window was set.
    """
    display = node.GetDisplayNode()
    if display is None:
        node.SetAndObserveDisplayNodeID(displayLike(node).GetID())
        return True
    # A window of the header or of the user switches the automatic one off.
    if not display.IsA("vtkMRMLScalarVolumeDisplayNode") or not display.GetAutoWindowLevel():
        return False
    display.SetAutoWindowLevel(0)
    display.SetWindowLevel(*LUNG_WINDOW)
    return True
