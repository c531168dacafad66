"""Live overlay of the voxels below a threshold while the slider moves; changing the threshold only changes a display."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk

from KernelNormalizationLib.background.gui_thread import Mailbox
from KernelNormalizationLib.core.volume import BoolArray, FloatArray
from KernelNormalizationLib.mrml.volumes import voxelImage

PREVIEW_ATTRIBUTE = "EmphysemaQuant.Preview"
OUTSIDE_HU = 3071.0
LOWEST_HU = -32768.0
COLOR = (0.84, 0.15, 0.10)
OPACITY = 0.6


class ThresholdPreview:
    """A hidden volume holding HU inside the lungs only, shown below the threshold by the display's own thresholding.

    Args:
        mail: where the copy of the lungs is made.
        onBuilt: called once the copy is there.
    """

    def __init__(self, mail: Mailbox, onBuilt: Callable[[], None]) -> None:
        self._mail, self._onBuilt = mail, onBuilt
        self._node: Any = None
        self._begun = 0  # counts the copies asked for, so that an outdated one is recognized
        self._idle = True
        self._built: tuple[Any, tuple[slice, ...]] | None = None
        self._volumeId = ""
        self._shown: list[tuple[Any, str | None, float]] = []

    @property
    def ready(self) -> bool:
        """Whether there is something to preview."""
        return self._node is not None and slicer.mrmlScene.IsNodePresent(self._node)

    @property
    def idle(self) -> bool:
        """Whether nothing was begun since the last :meth:`remove`."""
        return self._idle

    @property
    def shown(self) -> bool:
        """Whether slice views show it."""
        return bool(self._shown)

    def begin(self, hu: FloatArray, lungs: BoolArray, volumeNode: Any) -> None:
        """Start copying the lungs of ``volumeNode`` (HU (k, j, i) and mask) in a thread, cropped to their box.

        Done right after measuring, so that the first move of the slider finds the copy finished.
        """
        self.remove()
        self._volumeId = volumeNode.GetID()
        if not lungs.any():
            return

        def build() -> tuple[Any, tuple[slice, ...]]:
            from KernelNormalizationLib.core.imaging.reduced_grid import bounding_box

            box = bounding_box(lungs)
            return voxelImage(np.where(lungs[box], hu[box], np.float32(OUTSIDE_HU)).astype(np.float32, copy=False)), box

        self._idle = False
        self._begun += 1
        number = self._begun
        self._mail.compute(build, lambda *outcome: self._finished(number, *outcome))

    def _finished(self, number: int, built: Any, error: Exception | None) -> None:
        if number != self._begun or self._idle:
            return
        self._built = built
        if error is not None:
            logging.getLogger(__name__).error("No threshold preview: %s", error)
            return
        self._onBuilt()

    def prepare(self) -> None:
        """Make the hidden volume node, if the copy is there."""
        if self.ready:
            return
        volumeNode = slicer.mrmlScene.GetNodeByID(self._volumeId)
        if self._built is None or volumeNode is None:
            return
        image, box = self._built
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName(slicer.mrmlScene.GetUniqueNameByString("Emphysema preview"))
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node.SetAttribute(PREVIEW_ATTRIBUTE, "true")
        node.SetIJKToRASMatrix(_shiftedMatrix(volumeNode, box))
        node.SetAndObserveImageData(image)
        display = slicer.vtkMRMLScalarVolumeDisplayNode()
        display.SetSaveWithScene(False)
        display.SetAutoWindowLevel(0)
        display.SetWindowLevel(1.0, OUTSIDE_HU)
        display.SetAndObserveColorNodeID(_colors().GetID())
        display.SetInterpolate(0)
        display.SetApplyThreshold(1)
        display = slicer.mrmlScene.AddNode(display)
        self._node = slicer.mrmlScene.AddNode(node)
        self._node.SetAndObserveDisplayNodeID(display.GetID())

    def setThreshold(self, thresholdHu: float) -> None:
        """Show exactly the voxels strictly below ``thresholdHu``."""
        if self.ready:
            below = float(np.nextafter(np.float32(thresholdHu), np.float32(LOWEST_HU)))
            self._node.GetDisplayNode().SetThreshold(LOWEST_HU, below)

    def show(self) -> None:
        """Put the preview over the background of every slice view."""
        if not self.ready or self._shown:
            return
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            self._shown.append((composite, composite.GetForegroundVolumeID(), composite.GetForegroundOpacity()))
            composite.SetForegroundVolumeID(self._node.GetID())
            composite.SetForegroundOpacity(OPACITY)

    def hide(self) -> None:
        """Give every slice view its former foreground back."""
        for composite, foreground, opacity in self._shown:
            composite.SetForegroundVolumeID(foreground)
            composite.SetForegroundOpacity(opacity)
        self._shown = []

    def remove(self) -> None:
        """Hide and take the preview out of the scene."""
        self.hide()
        if self.ready:
            display = self._node.GetDisplayNode()
            slicer.mrmlScene.RemoveNode(self._node)
            if display is not None:
                slicer.mrmlScene.RemoveNode(display)
        self._node, self._idle, self._built = None, True, None


def _shiftedMatrix(volumeNode: Any, box: tuple[slice, ...]) -> Any:
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    corner = matrix.MultiplyPoint([box[2].start, box[1].start, box[0].start, 1.0])
    for row in range(3):
        matrix.SetElement(row, 3, corner[row])
    return matrix


def _colors() -> Any:
    name = "Emphysema preview color"
    existing = slicer.util.getFirstNodeByClassByName("vtkMRMLColorTableNode", name)
    if existing is not None:
        return existing
    node = slicer.vtkMRMLColorTableNode()
    node.SetName(name)
    node.SetTypeToUser()
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node.SetNumberOfColors(2)
    for index in range(2):
        node.SetColor(index, "emphysema", *COLOR, 1.0)
    return slicer.mrmlScene.AddNode(node)
