"""Part of the Emphysema Quantification panel that shows a result: views, overlay, threshold preview, 3D, jumps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from KernelNormalizationLib.core.arrays import BoolArray
from KernelNormalizationLib.ui.module_panel import ModulePanel
from KernelNormalizationLib.ui.view_position import ViewPosition

from ..logic import sliceOfMost
from ..mrml.segments import (
    ADDED,
    COMPARED,
    COMPARED_REFERENCE_ROLE,
    EMPHYSEMA,
    LEFT,
    REMOVED,
    RIGHT,
    VOLUME_REFERENCE_ROLE,
    SegmentStyle,
    deferredUnion,
    rasOf,
    segmentIds,
)
from ..mrml.surfaces import Surfaces, deferredSurfaces, hideSurfaces, showSurfaces
from ..mrml.table_and_plot_nodes import THRESHOLD_ATTRIBUTE
from ..mrml.view_overlay import OVERLAY_ATTRIBUTE, ViewWatch, drawInViews, drawSegments, followVolumes, results
from ..mrml.volume_pairs import inReadingOrder
from .parameters import OverlayChoice
from .threshold_preview import ThresholdPreviews

PREVIEW_DELAY_MILLISECONDS = 40


class ReviewPanel(ModulePanel):
    """Shows the segmentation, table and chart that the parameter node names; measures nothing."""

    def __init__(self, logic: Any, uiPath: str) -> None:
        super().__init__(logic, uiPath)
        self.preview = ThresholdPreviews(self._mail, self._previewBuilt)
        self._swapped = False
        self._meshed: Any = None  # segmentation whose surfaces exist or are being made
        self._previewTimer = singleShotTimer(PREVIEW_DELAY_MILLISECONDS, self._showPreview)
        self._watch = ViewWatch(self._viewsChanged)
        for name, slot in {
            "histogramButton": self.onShowHistogram,
            "sideBySideButton": self.onShowSideBySide,
            "swapButton": self.onSwap,
            "jumpEmphysemaButton": self.onJumpToMostEmphysema,
            "jumpDifferenceButton": self.onJumpToLargestDifference,
        }.items():
            getattr(self.ui, name).connect("clicked()", slot)
        self.ui.thresholdSlider.connect("valueChanged(double)", self.onThresholdMoved)

    def cleanup(self) -> None:
        """The module is unloaded."""
        super().cleanup()
        self._watch.stop()
        self._previewTimer.deleteLater()

    def showLegend(self) -> None:
        """Show the legend of the views; implemented by the panel."""
        raise NotImplementedError

    # ---- overlay

    def _viewsChanged(self) -> None:
        """A slice view shows another volume: every result follows its own volume, also while another module is open."""
        followVolumes()
        self.preview.redraw()

    def showSegmentation(self) -> None:
        """Draw the chosen result as the user wants it."""
        node = self.chosen("segmentation")
        if node is None or node.GetDisplayNode() is None or node.GetNodeReference(VOLUME_REFERENCE_ROLE) is None:
            return
        parameters = self._parameters
        drawSegments(node, parameters.overlay is OverlayChoice.change, not self.preview.shown)
        for number in range(node.GetNumberOfDisplayNodes()):
            display = node.GetNthDisplayNode(number)
            display.SetVisibility(True)
            display.SetOpacity2DFill(parameters.overlayOpacity)
            display.SetOpacity2DOutline(parameters.overlayOpacity)
        wanted = "true" if parameters.showOverlay else "false"
        if node.GetAttribute(OVERLAY_ATTRIBUTE) != wanted:
            node.SetAttribute(OVERLAY_ATTRIBUTE, wanted)
        drawInViews(node, parameters.showOverlay)
        self.preview.useOverlay(parameters.showOverlay)
        self._show3D(node)

    def hideOtherResults(self) -> None:
        """Two results over the same image could not be distinguished: draw only the chosen one."""
        for node in results():
            if node is not self.chosen("segmentation"):
                for number in range(node.GetNumberOfDisplayNodes()):
                    node.GetNthDisplayNode(number).SetVisibility(False)
                hideSurfaces(node)

    def _show3D(self, node: Any) -> None:
        if not self._parameters.show3D:
            hideSurfaces(node)
            self._meshed = None
            return
        if self._meshed is node:
            return
        self._meshed = node
        volume = node.GetNodeReference(VOLUME_REFERENCE_ROLE)
        self.setStatus(_("Making the surfaces…"))
        self._mail.compute(deferredSurfaces(node, volume), lambda *outcome: self._takeSurfaces(node, *outcome))

    def _takeSurfaces(self, node: Any, surfaces: Surfaces | None, error: Exception | None) -> None:
        self.setStatus("")
        if error is not None:
            logging.getLogger(__name__).error("No surfaces", exc_info=error)
            self.setStatus(_("The surfaces could not be made: {error}").format(error=error), error=True)
        elif surfaces is not None and self._meshed is node and slicer.mrmlScene.IsNodePresent(node):
            with slicer.util.WaitCursor():
                showSurfaces(node, surfaces)

    def onToggleOverlay(self) -> None:
        """Show or hide the overlay."""
        self.ui.overlayCheckBox.checked = not self.ui.overlayCheckBox.checked

    # ---- threshold preview

    def onThresholdMoved(self, _value: float) -> None:
        """The slider moves: update at a rate that the views can follow."""
        if self._measuredThreshold() is not None and not self._previewTimer.isActive():
            self._previewTimer.start()

    def _measuredThreshold(self) -> float | None:
        """HU at which the shown result was measured, also of a result that came with a scene; ``None`` without one."""
        table, segmentation = self.chosen("table"), self.chosen("segmentation")
        if table is None or segmentation is None or not table.GetAttribute(THRESHOLD_ATTRIBUTE):
            return None
        return float(table.GetAttribute(THRESHOLD_ATTRIBUTE))

    def beginPreview(self, lungs: Callable[[], BoolArray] | None = None) -> None:
        """Copy the lungs for the preview; ``lungs`` gives those just measured, in a thread, else the segments are read."""
        node = self.chosen("segmentation")
        roles = (VOLUME_REFERENCE_ROLE, COMPARED_REFERENCE_ROLE)
        volumes = [volume for role in roles if (volume := node.GetNodeReference(role)) is not None]
        ids = [segmentId for style in (RIGHT, LEFT) for segmentId in segmentIds(node, style.role)]
        if volumes:
            read = deferredUnion(node, ids, volumes[0])
            self.preview.begin(lungs or read, volumes)

    def _showPreview(self) -> None:
        measured = self._measuredThreshold()
        if self._parameters is None or measured is None:
            return
        if self.ui.thresholdSlider.value == measured:
            if self.preview.shown:
                self.hidePreview()
                self.setStatus("")
            return
        if self.preview.idle:
            self.beginPreview()
        self.preview.prepare()
        if not self.preview.ready:
            return
        self.preview.setThreshold(self.ui.thresholdSlider.value)
        if not self.preview.shown:
            self.preview.show()
            self.showSegmentation()
        self.showLegend()
        self.setStatus(
            _("Preview at {threshold:g} HU; press Compute for the numbers.").format(threshold=self.ui.thresholdSlider.value)
        )

    def _previewBuilt(self) -> None:
        if self._measuredThreshold() not in (None, self.ui.thresholdSlider.value):
            self._showPreview()

    def hidePreview(self) -> None:
        """Back to the computed segments."""
        self.preview.hide()
        if self._parameters is not None:
            self.showSegmentation()
            self.showLegend()

    def stopPreview(self) -> None:
        """Remove the preview."""
        self._previewTimer.stop()
        if self.preview.shown:
            self.hidePreview()
        self.preview.remove()

    # ---- views

    def onShowHistogram(self) -> None:
        """Show the histogram in a plot view."""
        chart = self.chosen("chart")
        self.review.showOther(lambda: slicer.modules.plots.logic().ShowChartInLayout(chart))

    def onShowSideBySide(self) -> None:
        """Both volumes next to each other, the scan left, each with its own emphysema."""
        pair = (self.chosen("volume"), self.chosen("comparedVolume"))
        if None in pair:
            return
        left, right = inReadingOrder(*pair)
        self.review.show(*((right, left) if self._swapped else (left, right)))
        self.preview.redraw()  # the views were emptied, also those that show the same volume again
        self.fitViewsSoon()

    def showMeasured(self) -> None:
        """Show the measured volumes in the views: a result must not be drawn over another volume's image."""
        if self.chosen("comparedVolume") is not None:
            self.onShowSideBySide()
            return
        volume = self.chosen("volume")
        if volume is None:  # the module was left, or the scene closed, in the meantime
            return
        if self.review.active:
            self.review.restore()
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if composite.GetBackgroundVolumeID() != volume.GetID():
                wasEmpty = composite.GetBackgroundVolumeID() is None
                composite.SetForegroundVolumeID(None)
                composite.SetBackgroundVolumeID(volume.GetID())
                self._bringIntoView(volume, composite.GetLayoutName(), wasEmpty)

    def _bringIntoView(self, volume: Any, layoutName: str, wasEmpty: bool) -> None:
        """Show the whole slice where the view was empty, or looks at a place that another scan has and this one has not."""
        sliceNode = slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{layoutName}")
        sliceLogic = slicer.app.applicationLogic().GetSliceLogic(sliceNode) if sliceNode is not None else None
        if sliceLogic is not None and (wasEmpty or not ViewPosition.of(sliceNode).isIn(volume)):
            sliceLogic.FitSliceToAll()

    def onSwap(self) -> None:
        """Exchange left and right."""
        self._swapped = not self._swapped
        if self.review.active:
            self.onShowSideBySide()

    def segmentOf(self, style: SegmentStyle) -> str | None:
        """ID of the result's segment of this style."""
        node = self.chosen("segmentation")
        return next(iter(segmentIds(node, style.role)), None) if node is not None else None

    def onJumpToMostEmphysema(self) -> None:
        """Go to the axial slice with most emphysema."""
        self._jump(self._voxels(EMPHYSEMA), _("There is no emphysema at this threshold."))

    def onJumpToLargestDifference(self) -> None:
        """Go to the axial slice where most emphysema voxels differ."""
        self._jump(self._voxels(REMOVED, ADDED), _("The two volumes do not differ in emphysema."))

    def _voxels(self, *styles: SegmentStyle) -> BoolArray:
        ids = [str(self.segmentOf(style)) for style in styles]
        return deferredUnion(self._parameters.segmentation, ids, self._parameters.volume)()

    def _jump(self, mask: BoolArray, nothing: str) -> None:
        index = sliceOfMost(mask)
        if index is None:
            self.setStatus(nothing)
            return
        row, column = np.argwhere(mask[index]).mean(axis=0)
        position = rasOf(self._parameters.volume, (column, row, index))
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *position, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
        self.setStatus(_("Slice {number} of {total}.").format(number=index + 1, total=mask.shape[0]))

    @property
    def hasChange(self) -> bool:
        """Whether the result compares two volumes."""
        return self.segmentOf(COMPARED) is not None


def singleShotTimer(milliseconds: int, slot: Callable[[], None]) -> Any:
    """A timer that calls ``slot`` once, some time after it is started."""
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.connect("timeout()", slot)
    return timer
