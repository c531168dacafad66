"""Live overlay of the voxels below a threshold while the slider moves; changing the threshold only changes a display.

Every slice view previews its own volume; views of volumes that were not measured show no preview.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk

from KernelNormalizationLib.background.gui_thread import Mailbox
from KernelNormalizationLib.core.arrays import BoolArray, FloatArray
from KernelNormalizationLib.mrml.color_tables import colorTable
from KernelNormalizationLib.mrml.volumes import voxelImage

from ..mrml.segments import PREVIEW_COLOR
from ..mrml.view_overlay import compositesOf

PREVIEW_ATTRIBUTE = "EmphysemaQuant.Preview"
OUTSIDE_HU = 3071.0
LOWEST_HU = -32768.0
OPACITY = 0.6


class ThresholdPreviews:
    """One preview for each measured volume.

    Args:
        mail: where the copies of the lungs are made.
        onBuilt: called once a copy is there.
    """

    def __init__(self, mail: Mailbox, onBuilt: Callable[[], None]) -> None:
        self._mail, self._onBuilt = mail, onBuilt
        self._previews: list[ThresholdPreview] = []
        self._wanted, self._overlay = False, True

    @property
    def ready(self) -> bool:
        """Whether every volume has something to preview."""
        return bool(self._previews) and all(preview.ready for preview in self._previews)

    @property
    def built(self) -> bool:
        """Whether every volume's copy is finished, so that the next move of the slider is shown immediately."""
        return bool(self._previews) and all(preview.built for preview in self._previews)

    @property
    def idle(self) -> bool:
        """Whether nothing was started since the last :meth:`remove`."""
        return not self._previews

    @property
    def shown(self) -> bool:
        """Whether the slice views show it, or would if the overlay were not switched off."""
        return self._wanted

    def begin(self, lungs: Callable[[], BoolArray], volumeNodes: list[Any]) -> None:
        """Start copying the lungs of every volume in a thread.

        Args:
            lungs: returns the common lung mask, bool (k, j, i); called in the thread.
            volumeNodes: what was measured.
        """
        self.remove()
        for node in volumeNodes:
            preview = ThresholdPreview(self._mail, self._onBuilt)
            preview.begin(slicer.util.arrayFromVolume(node), lungs, node)
            self._previews.append(preview)

    def prepare(self) -> None:
        """Make the hidden volume nodes whose copies are there."""
        for preview in self._previews:
            preview.prepare()

    def setThreshold(self, thresholdHu: float) -> None:
        """Show exactly the voxels strictly below ``thresholdHu``."""
        for preview in self._previews:
            preview.setThreshold(thresholdHu)

    def show(self) -> None:
        """Show every preview over its own volume, in all views that show it."""
        self._wanted = True
        self.redraw()

    def redraw(self) -> None:
        """Show it in the views as they are now; other volumes may have come into them."""
        for preview in self._previews if self._wanted else []:
            if self._overlay:
                preview.show()
            else:
                preview.hide()

    def useOverlay(self, overlay: bool) -> None:
        """Follow the panel's choice to see the images with or without what is drawn over them."""
        if overlay != self._overlay:
            self._overlay = overlay
            self.redraw()

    def hide(self) -> None:
        """Restore the previous foreground of every slice view."""
        self._wanted = False
        for preview in self._previews:
            preview.hide()

    def remove(self) -> None:
        """Hide the previews and remove them from the scene."""
        self.hide()
        for preview in self._previews:
            preview.remove()
        self._previews = []


class ThresholdPreview:
    """A hidden volume holding HU inside the lungs only, shown below the threshold by the display's own thresholding.

    Args:
        mail: where the copy of the lungs is made.
        onBuilt: called once the copy is there.
    """

    def __init__(self, mail: Mailbox, onBuilt: Callable[[], None]) -> None:
        self._mail, self._onBuilt = mail, onBuilt
        self._node: Any = None
        self._begun = 0  # number of copies started, so that an outdated one is recognised
        self._idle = True
        self._built: tuple[Any, tuple[slice, ...]] | None = None
        self._volumeId = ""
        self._shown: list[tuple[Any, str | None, float]] = []

    @property
    def ready(self) -> bool:
        """Whether there is something to preview."""
        return self._node is not None and slicer.mrmlScene.IsNodePresent(self._node)

    @property
    def built(self) -> bool:
        """Whether the copy is finished."""
        return self._built is not None

    def begin(self, hu: FloatArray, lungs: Callable[[], BoolArray], volumeNode: Any) -> None:
        """Start copying the lungs of ``volumeNode`` (HU (k, j, i) and what gives the mask) in a thread, cropped to their box.

        Done right after measuring, so that the first move of the slider finds the copy finished.
        """
        self.remove()
        self._volumeId = volumeNode.GetID()

        def build() -> tuple[Any, tuple[slice, ...]] | None:
            from KernelNormalizationLib.core.imaging.morphology import bounding_box

            mask = lungs()
            if not mask.any():
                return None
            box = bounding_box(mask)
            return voxelImage(np.where(mask[box], hu[box], np.float32(OUTSIDE_HU)).astype(np.float32, copy=False)), box

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
        colors = colorTable("Emphysema preview color", [("emphysema", *PREVIEW_COLOR)] * 2, saveWithScene=False)
        display = slicer.vtkMRMLScalarVolumeDisplayNode()
        display.SetSaveWithScene(False)
        display.SetAutoWindowLevel(0)
        display.SetWindowLevel(1.0, OUTSIDE_HU)
        display.SetAndObserveColorNodeID(colors.GetID())
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
        """Show the preview in the slice views that show its volume only."""
        self.hide()
        if not self.ready:
            return
        for composite in compositesOf(self._volumeId):
            self._shown.append((composite, composite.GetForegroundVolumeID(), composite.GetForegroundOpacity()))
            wasLinked = composite.GetLinkedControl()
            composite.SetLinkedControl(False)  # the views beside it show another volume
            composite.SetForegroundVolumeID(self._node.GetID())
            composite.SetForegroundOpacity(OPACITY)
            composite.SetLinkedControl(wasLinked)

    def hide(self) -> None:
        """Restore the previous foreground of every slice view, unless the user has set another one."""
        for composite, foreground, opacity in self._shown:
            if self._node is not None and composite.GetForegroundVolumeID() == self._node.GetID():
                composite.SetForegroundVolumeID(foreground)
                composite.SetForegroundOpacity(opacity)
        self._shown = []

    def remove(self) -> None:
        """Hide the preview and remove it from the scene."""
        self.hide()
        if self.ready:
            display = self._node.GetDisplayNode()
            slicer.mrmlScene.RemoveNode(self._node)
            # The scene may have removed the display node already; a second removal is logged as an error.
            if display is not None and slicer.mrmlScene.IsNodePresent(display):
                slicer.mrmlScene.RemoveNode(display)
        self._node, self._idle, self._built = None, True, None


def _shiftedMatrix(volumeNode: Any, box: tuple[slice, ...]) -> Any:
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    corner = matrix.MultiplyPoint([box[2].start, box[1].start, box[0].start, 1.0])
    for row in range(3):
        matrix.SetElement(row, 3, corner[row])
    return matrix
