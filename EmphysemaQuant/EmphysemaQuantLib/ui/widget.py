"""The Emphysema Quantification panel: reads the parameter node, calls the logic, shows what came back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from KernelNormalizationLib.background.thread_job import BackgroundJob
from KernelNormalizationLib.core.errors import Cancelled, CTKernelError
from KernelNormalizationLib.core.progress import Progress, ProgressReport
from KernelNormalizationLib.core.volume import BoolArray
from KernelNormalizationLib.mrml import provenance
from KernelNormalizationLib.ui.module_panel import ModulePanel, ParameterLogic

from ..core.results.quantification import Quantification
from ..logic import Measured, OutputNodes, sliceOfMost
from ..mrml.segments import EMPHYSEMA, KEPT, REMOVED, VOLUME_REFERENCE_ROLE, SegmentStyle, rasOf, readMask, segmentIds
from .parameters import EmphysemaParameters
from .shortcuts import Shortcuts
from .summary import Summary
from .threshold_preview import ThresholdPreview

PREVIEW_DELAY_MILLISECONDS = 40


class Logic(ParameterLogic, Protocol):
    """What the panel needs of the module's logic."""

    def prepare(
        self, volumeNode: Any, comparedNode: Any, maskNode: Any, thresholdHu: float
    ) -> Callable[[Progress], Measured]: ...
    def show(self, measured: Measured, volumeNode: Any, outputs: OutputNodes) -> OutputNodes: ...
    def partnerOf(self, volumeNode: Any) -> Any | None: ...
    def preferredVolume(self) -> Any | None: ...


class EmphysemaPanel(ModulePanel):
    """The panel; Slicer's module widget tells it of entering, leaving and scene changes.

    Args:
        logic: the module's logic.
        uiPath: the panel's ``.ui`` file.
    """

    parametersClass = EmphysemaParameters
    title = _("Emphysema Quantification")

    def __init__(self, logic: Logic, uiPath: str) -> None:
        super().__init__(logic, uiPath)
        self.result: Quantification | None = None
        self.preview = ThresholdPreview(self._mail, self._previewBuilt)
        self._volumeId: str | None = None
        self._swapped = False
        self._job: BackgroundJob | None = None
        self._unseen: tuple[Measured, Any] | None = None
        self.shortcuts = Shortcuts({"Ctrl+Alt+O": self.onToggleOverlay, "Ctrl+Alt+S": self.onSwap})
        self._previewTimer = _singleShotTimer(PREVIEW_DELAY_MILLISECONDS, self._showPreview)
        self._connect()

    def _connect(self) -> None:
        for name, slot in {
            "computeButton": self.onComputeOrCancel,
            "histogramButton": self.onShowHistogram,
            "copyButton": self.onCopy,
            "saveReportButton": self.onSaveReport,
            "sideBySideButton": self.onShowSideBySide,
            "swapButton": self.onSwap,
            "jumpEmphysemaButton": self.onJumpToMostEmphysema,
            "jumpDifferenceButton": self.onJumpToLargestDifference,
        }.items():
            getattr(self.ui, name).connect("clicked()", slot)
        self.ui.thresholdSlider.connect("valueChanged(double)", self.onThresholdMoved)

    # ---- life of the module and the scene

    def preselect(self) -> None:
        """Choose a pair, or the newest scan."""
        if self.chosen("volume") is None:
            self._parameters.volume = self.logic.preferredVolume()

    def connectToScene(self) -> None:
        """Follow the scene's parameter node, and show what was measured meanwhile."""
        super().connectToScene()
        if self._unseen is not None:
            finished, self._unseen = self._unseen, None
            self._take(*finished)

    def enter(self) -> None:
        """The module is opened."""
        super().enter()
        self.shortcuts.add()

    def exit(self) -> None:
        """The module is left: give the user's layout and key bindings back."""
        self.shortcuts.remove()
        self._stopPreview()
        super().exit()

    def cleanup(self) -> None:
        """The module is unloaded."""
        super().cleanup()
        self._previewTimer.deleteLater()

    def stopWork(self) -> None:
        """End a running measurement and the preview."""
        if self._job is not None:
            self._job.stop()
            self._job = None
        self._stopPreview()

    def forgetScene(self) -> None:
        """Drop the result; its nodes go."""
        self._stopPreview()
        self.result = self._unseen = None
        self._volumeId = None
        self.ui.indexLabel.text = ""
        self.ui.statusLabel.text = ""

    # ---- what is shown

    def update(self) -> None:
        """Show the state of the parameter node."""
        parameters = self._parameters
        if parameters is None:
            return
        self._followVolume()
        self.ui.computeButton.enabled = self._job is not None or self.chosen("volume") is not None
        self.ui.computeButton.text = _("Compute") if self._job is None else _("Cancel")
        pair = None not in (self.chosen("volume"), self.chosen("comparedVolume"))
        self.ui.sideBySideButton.enabled = self.ui.swapButton.enabled = pair
        summary = self._summary
        self.ui.indexLabel.text = summary.headline if summary is not None else ""
        self.ui.copyButton.enabled = self.ui.saveReportButton.enabled = summary is not None
        self.ui.jumpEmphysemaButton.enabled = self._segment(EMPHYSEMA) is not None
        self.ui.jumpDifferenceButton.enabled = self._segment(REMOVED) is not None
        self.ui.histogramButton.enabled = self.chosen("chart") is not None
        self.ui.tableView.setMRMLTableNode(self.chosen("table"))
        self._showSegmentation()

    def _followVolume(self) -> None:
        """When another volume is chosen, suggest its partner and leave the results of the former one alone."""
        parameters, volume = self._parameters, self.chosen("volume")
        volumeId = volume.GetID() if volume is not None else None
        if volumeId == self._volumeId:
            return
        changed, self._volumeId = self._volumeId is not None, volumeId
        self._stopPreview()
        shown = self.chosen("segmentation")
        foreign = changed if shown is None else shown.GetNodeReference(VOLUME_REFERENCE_ROLE) is not volume
        if foreign:
            self.result = None
            parameters.summary = ""
            if self.chosen("maskSegmentation") is shown:
                parameters.maskSegmentation = None
            parameters.comparedVolume = None
            parameters.segmentation = parameters.table = parameters.chart = None
        if volume is not None and self.chosen("comparedVolume") is None and not provenance.isSynthetic(volume):
            parameters.comparedVolume = self.logic.partnerOf(volume)

    @property
    def _summary(self) -> Summary | None:
        return Summary.fromLine(self._parameters.summary)

    def _segment(self, style: SegmentStyle) -> str | None:
        node = self.chosen("segmentation")
        return next(iter(segmentIds(node, style.role)), None) if node is not None else None

    def _showSegmentation(self) -> None:
        node = self.chosen("segmentation")
        display = node.GetDisplayNode() if node is not None else None
        if display is None:
            return
        display.SetVisibility(True)
        display.SetVisibility2D(self._parameters.showOverlay)
        display.SetOpacity2DFill(self._parameters.overlayOpacity)
        display.SetOpacity2DOutline(self._parameters.overlayOpacity)
        if self._parameters.show3D and not display.GetVisibility3D():
            node.CreateClosedSurfaceRepresentation()
        display.SetVisibility3D(self._parameters.show3D)

    # ---- computing

    def onComputeOrCancel(self) -> None:
        """The button: start measuring, or cancel the measurement that runs."""
        if self._job is not None:
            self.ui.computeButton.enabled = False
            self.setStatus(_("Cancelling…"))
            self._job.cancel()
            return
        self.hidePreview()
        parameters = self._parameters
        volume = self.chosen("volume")
        nodes = (volume, self.chosen("comparedVolume"), self.chosen("maskSegmentation"))
        try:
            work = self.logic.prepare(*nodes, parameters.thresholdHu)
        except CTKernelError as error:
            self.setStatus(str(error), error=True)
            return
        self._job = BackgroundJob(work, self._onProgress, lambda *outcome: self._onEnd(volume, *outcome))
        self.setStatus(_("Measuring…"))
        self._job.start()
        self.update()

    def _onProgress(self, report: ProgressReport) -> None:
        self.setStatus(f"{report.stage}: {report.done} / {report.total}")

    def _onEnd(self, volume: Any, measured: Measured | None, error: Exception | None) -> None:
        self._job = None
        self.update()  # a message box below holds this function up, and the panel must be usable behind it
        if isinstance(error, CTKernelError):
            self.setStatus(str(error), error=not isinstance(error, Cancelled))
        elif error is not None:
            logging.getLogger(__name__).error("Quantification failed", exc_info=error)
            self.setStatus(_("The measurement failed: {error}. See the log.").format(error=error), error=True)
        elif self._parameters is None and measured is not None:
            self._unseen = (measured, volume)  # shown when the user comes back to the module
        elif measured is not None:
            self._take(measured, volume)

    def _take(self, measured: Measured, volume: Any) -> None:
        if self.chosen("volume") is volume:
            self._show(measured, volume)
        else:
            self.setStatus(_("Another volume was chosen meanwhile; press Compute to measure it."))

    def _show(self, measured: Measured, volume: Any) -> None:
        parameters, result = self._parameters, measured.result
        outputs = OutputNodes(self.chosen("segmentation"), self.chosen("table"), self.chosen("chart"))
        try:
            with slicer.util.WaitCursor():
                outputs = self.logic.show(measured, volume, outputs)
        except Exception as error:
            logging.getLogger(__name__).exception("The result could not be shown")
            self.setStatus(_("The result could not be shown: {error}. See the log.").format(error=error), error=True)
            return
        self.result = result
        self.preview.begin(slicer.util.arrayFromVolume(volume), result.lung_mask.mask, volume)
        wasModified = parameters.parameterNode.StartModify()
        parameters.segmentation, parameters.table, parameters.chart = outputs.segmentation, outputs.table, outputs.chart
        # The lungs just made are the ones to edit and to use next time.
        parameters.maskSegmentation = outputs.segmentation
        parameters.summary = Summary.of(result).asLine()
        parameters.parameterNode.EndModify(wasModified)
        self.ui.tableView.resizeColumnsToContents()
        self.setStatus(_("Done. Edit the lungs in the Segment Editor and press Compute again to use them."))
        self.update()

    # ---- threshold preview

    def onThresholdMoved(self, _value: float) -> None:
        """The slider moves: follow it at a rate the views keep up with."""
        if self._parameters is not None and self.result is not None and not self._previewTimer.isActive():
            self._previewTimer.start()

    def _showPreview(self) -> None:
        if self._parameters is None or self.result is None:
            return
        if self.ui.thresholdSlider.value == self.result.threshold_hu:
            if self.preview.shown:
                self.hidePreview()
                self.setStatus("")
            return
        volume = self.chosen("volume")
        if volume is None:
            return
        if self.preview.idle:
            self.preview.begin(slicer.util.arrayFromVolume(volume), self.result.lung_mask.mask, volume)
        self.preview.prepare()
        if not self.preview.ready:
            return
        self._showEmphysemaSegments(False)
        self.preview.setThreshold(self.ui.thresholdSlider.value)
        self.preview.show()
        self.setStatus(_("Preview at {threshold:g} HU; press Compute for the numbers.").format(
            threshold=self.ui.thresholdSlider.value))  # fmt: skip

    def _previewBuilt(self) -> None:
        if self.result is not None and self.ui.thresholdSlider.value != self.result.threshold_hu:
            self._showPreview()

    def hidePreview(self) -> None:
        """Back to the computed segments."""
        self.preview.hide()
        self._showEmphysemaSegments(True)

    def _stopPreview(self) -> None:
        self._previewTimer.stop()
        self.hidePreview()
        self.preview.remove()

    def _showEmphysemaSegments(self, visible: bool) -> None:
        node = self.chosen("segmentation")
        if node is None or node.GetDisplayNode() is None or self.result is None:
            return
        roles = (EMPHYSEMA,) if self.result.compared is None else (KEPT, REMOVED)
        for style in roles:
            for segmentId in segmentIds(node, style.role):
                node.GetDisplayNode().SetSegmentVisibility(segmentId, visible)

    # ---- review and export

    def onShowHistogram(self) -> None:
        """Show the histogram in a plot view."""
        chart = self.chosen("chart")
        self.review.showOther(lambda: slicer.modules.plots.logic().ShowChartInLayout(chart))

    def onCopy(self) -> None:
        """Copy the indices to the clipboard."""
        summary = self._summary
        if summary is not None:
            slicer.app.clipboard().setText(summary.text)
        self.setStatus(_("Copied."))

    def onSaveReport(self) -> None:
        """Ask for a file and write the report."""
        path = qt.QFileDialog.getSaveFileName(
            self.widget, _("Save report"), "emphysema.txt", "Text (*.txt);;Comma-separated values (*.csv)"
        )
        if path:
            self.saveReport(str(path))

    def saveReport(self, path: str) -> None:
        """Write the report; ``.csv`` gives CSV, anything else text."""
        summary = self._summary
        if summary is None:
            return
        text = summary.csv if path.lower().endswith(".csv") else summary.text
        try:
            Path(path).write_text(text, encoding="utf-8")
        except OSError as error:
            self.setStatus(_("The report was not written: {error}").format(error=error), error=True)
            return
        self.setStatus(_("Report written to {name}.").format(name=Path(path).name))

    def onShowSideBySide(self) -> None:
        """Both volumes next to each other, the overlay in both."""
        pair = [self.chosen("volume"), self.chosen("comparedVolume")]
        if None not in pair:
            self.review.show(*(pair[::-1] if self._swapped else pair))
            self.fitViewsSoon()

    def onSwap(self) -> None:
        """Exchange left and right."""
        self._swapped = not self._swapped
        if self.review.active:
            self.onShowSideBySide()

    def onToggleOverlay(self) -> None:
        """Show or hide the overlay."""
        self.ui.overlayCheckBox.checked = not self.ui.overlayCheckBox.checked

    def onJumpToMostEmphysema(self) -> None:
        """Go to the axial slice with most emphysema."""
        self._jump(self._voxels(EMPHYSEMA), _("There is no emphysema at this threshold."))

    def onJumpToLargestDifference(self) -> None:
        """Go to the axial slice where most emphysema voxels differ."""
        if self.result is not None and self.result.compared is not None:
            changed = self.result.volume.emphysema ^ self.result.compared.emphysema
        else:  # a loaded scene holds what was removed; a normalization adds next to nothing
            changed = self._voxels(REMOVED)
        self._jump(changed, _("The two volumes do not differ in emphysema."))

    def _voxels(self, style: SegmentStyle) -> BoolArray:
        return readMask(self._parameters.segmentation, str(self._segment(style)), self._parameters.volume)

    def _jump(self, mask: BoolArray, nothing: str) -> None:
        index = sliceOfMost(mask)
        if index is None:
            self.setStatus(nothing)
            return
        row, column = np.argwhere(mask[index]).mean(axis=0)
        position = rasOf(self._parameters.volume, (column, row, index))
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *position, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
        self.setStatus(_("Slice {number} of {total}.").format(number=index + 1, total=mask.shape[0]))


def _singleShotTimer(milliseconds: int, slot: Callable[[], None]) -> Any:
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.connect("timeout()", slot)
    return timer
