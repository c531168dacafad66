"""The Emphysema Quantification panel: reads the parameter node, calls the logic, shows and exports the result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from KernelNormalizationLib.background.thread_job import BackgroundJob
from KernelNormalizationLib.core.errors import Cancelled, CTKernelError, InputError, error_in_words
from KernelNormalizationLib.core.progress import Progress, ProgressReport
from KernelNormalizationLib.mrml import provenance
from KernelNormalizationLib.ui.dependencies import Declined, DependencyError, installPackages
from KernelNormalizationLib.ui.dicom_export import DicomExport, ExportLogic
from KernelNormalizationLib.ui.module_panel import ParameterLogic

from ..core.results.measurement import Measurement
from ..logic import Measured, OutputNodes
from ..mrml.numbered_masks import SuppliedMask
from ..mrml.segments import COMPARED_REFERENCE_ROLE, EMPHYSEMA, VOLUME_REFERENCE_ROLE
from .headline import Headline, legend, previewLegend
from .parameters import EmphysemaParameters, LabelChoice, OverlayChoice
from .report_saving import SUFFIXES, reportPath, writeBeside, writtenWithoutPdf
from .review_panel import ReviewPanel, singleShotTimer
from .saved_results import savedHeadline, savedSummary
from .shortcuts import Shortcuts, isModuleOpen
from .summary import Summary

MODULE_NAME = "EmphysemaQuant"
CANCELLED_TEXT = _("Cancelled; nothing was measured.")
CANCELLED_MILLISECONDS = 4000
# Attributes of the table with what the panel says of it, for when its volume is chosen again.
SUMMARY, HEADLINE = "EmphysemaQuant.Summary", "EmphysemaQuant.Headline"


class Logic(ParameterLogic, ExportLogic, Protocol):
    """What the panel needs of the module's logic."""

    def prepare(
        self, volumeNode: Any, comparedNode: Any, maskNode: SuppliedMask | None, thresholdHu: float
    ) -> Callable[[Progress], Measured]: ...
    def show(self, measured: Measured, volumeNode: Any, outputs: OutputNodes) -> OutputNodes: ...
    def partnerOf(self, volumeNode: Any) -> Any | None: ...
    def resultOf(self, volumeNode: Any) -> OutputNodes: ...
    def preferredVolume(self) -> Any | None: ...
    def missingForReport(self) -> list[str]: ...
    def writeReport(self, result: Measurement, folder: Path) -> dict[str, Path]: ...

    @staticmethod
    def whyNoPdf() -> str | None: ...


class EmphysemaPanel(ReviewPanel):
    """The panel; Slicer's module widget calls it when the module is entered or left and when the scene changes.

    Args:
        logic: the module's logic.
        uiPath: the panel's ``.ui`` file.
    """

    parametersClass = EmphysemaParameters
    title = _("Emphysema Quantification")

    def __init__(self, logic: Logic, uiPath: str) -> None:
        super().__init__(logic, uiPath)
        self.result: Measurement | None = None
        self._measured: Measured | None = None  # what ``result`` belongs to
        self.export = DicomExport(self, lambda: self._measured if self.result is not None else None)
        self._volumeId: str | None = None
        self._comparedId: str | None = None
        self._offered: set[str] = set()  # partners that were suggested once
        self._job: BackgroundJob | None = None
        self._unseen: tuple[Measured, Any] | None = None
        self.shortcuts = Shortcuts({"Ctrl+Alt+O": self.onToggleOverlay, "Ctrl+Alt+S": self.onSwap})
        self._forgetTimer = singleShotTimer(CANCELLED_MILLISECONDS, self._forgetCancelled)
        for name, slot in {
            "computeButton": self.onComputeOrCancel,
            "copyButton": self.onCopy,
            "saveReportButton": self.onSaveReport,
        }.items():
            getattr(self.ui, name).connect("clicked()", slot)
        # A selector must not change while it inserts the volume, and a partner's attributes come after its node.
        self.ui.volumeSelector.connect("nodeAdded(vtkMRMLNode*)", lambda _node: qt.QTimer.singleShot(0, self._volumeAdded))

    # ---- life of the module and the scene

    def preselect(self) -> None:
        """Choose a pair, or the newest scan."""
        if self.chosen("volume") is None:
            self._parameters.volume = self.logic.preferredVolume()

    def connectToScene(self) -> None:
        """Follow the scene's parameter node, and show a result that was measured in the meantime."""
        super().connectToScene()
        self._offerPartner()
        if self._unseen is not None:
            finished, self._unseen = self._unseen, None
            self._take(*finished)
        if isModuleOpen(MODULE_NAME):
            self.shortcuts.add()  # enter() is not called again when an open module is reloaded

    def enter(self) -> None:
        """The module is opened."""
        super().enter()
        self.shortcuts.add()

    def exit(self) -> None:
        """The module is left: restore the user's layout and shortcuts."""
        self.shortcuts.remove()
        self.stopPreview()
        super().exit()

    def cleanup(self) -> None:
        """The module is unloaded."""
        super().cleanup()
        self._forgetTimer.stop()
        self._forgetTimer.deleteLater()

    def stopWork(self) -> None:
        """End a running measurement and the preview."""
        if self._job is not None:
            self._job.stop()
            self._job = None
        self.stopPreview()

    def forgetScene(self) -> None:
        """Forget the result; its nodes are removed."""
        self.stopPreview()
        self.result = self._unseen = self._meshed = None
        self._volumeId = self._comparedId = None
        self._offered = set()
        self.showHeadline(None)
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
        self.showHeadline(self._headline)
        self.ui.copyButton.enabled = self.ui.saveReportButton.enabled = summary is not None
        self.ui.jumpEmphysemaButton.enabled = self.segmentOf(EMPHYSEMA) is not None
        self.ui.jumpDifferenceButton.enabled = self.ui.overlayComboBox.enabled = self.hasChange
        self.ui.histogramButton.enabled = self.chosen("chart") is not None
        self.ui.maskLabelsComboBox.enabled = self.chosen("maskSegmentation") is not None
        self.export.update()
        self.ui.tableView.setMRMLTableNode(self.chosen("table"))
        self.showSegmentation()

    def showHeadline(self, headline: Headline | None) -> None:
        """Show the figures of the result; the section is hidden until there is one."""
        self.ui.resultCollapsibleButton.visible = headline is not None
        self.ui.indexLabel.text = headline.lines if headline is not None else ""
        self.ui.figuresLabel.text = headline.table if headline is not None else ""
        self.ui.detailsLabel.text = headline.details if headline is not None else ""
        self.showLegend()

    def showLegend(self) -> None:
        """Update the legend of the views."""
        node, parameters = self.chosen("segmentation"), self._parameters
        headline = self._headline
        if headline is None or node is None:
            self.ui.legendLabel.text = ""
        elif self.preview.shown:
            self.ui.legendLabel.text = previewLegend(self.ui.thresholdSlider.value)
        else:
            self.ui.legendLabel.text = legend(node, headline, parameters.overlay is OverlayChoice.change)

    def _followVolume(self) -> None:
        """When another volume is chosen, show its own result if it has one, or suggest its partner."""
        parameters, volume = self._parameters, self.chosen("volume")
        volumeId = _idOf(volume)
        comparedId = _idOf(self.chosen("comparedVolume"))
        # Another module may have set both together; then the second volume is kept.
        left, self._comparedId = comparedId == self._comparedId, comparedId
        if volumeId == self._volumeId:
            return
        changed, self._volumeId = self._volumeId is not None, volumeId
        self.stopPreview()
        self._swapped = False
        shown = self.chosen("segmentation")
        foreign = changed if shown is None else shown.GetNodeReference(VOLUME_REFERENCE_ROLE) is not volume
        if foreign:
            self.result = None
            self.setStatus("")
            former = self.logic.resultOf(volume)
            if self.chosen("maskSegmentation") is shown:
                parameters.maskSegmentation, parameters.maskLabels = former.segmentation, LabelChoice.automatic
            if left:
                parameters.comparedVolume = _comparedIn(former.segmentation)
            self._point(former)
            parameters.summary, parameters.headline = (_attribute(former.table, name) for name in (SUMMARY, HEADLINE))
            self.hideOtherResults()
        self._offered = set()
        self._offerPartner()

    def _point(self, outputs: OutputNodes) -> None:
        parameters = self._parameters
        parameters.segmentation, parameters.table, parameters.chart = outputs.segmentation, outputs.table, outputs.chart

    def _offerPartner(self) -> None:
        """Compare with a synthetic volume made in the meantime, unless another is chosen or it was offered before."""
        volume = self.chosen("volume")
        if volume is None or self.chosen("comparedVolume") is not None or provenance.isSynthetic(volume):
            return
        partner = self.logic.partnerOf(volume)
        if partner is not None and partner.GetID() not in self._offered:
            self._offered.add(partner.GetID())
            self._parameters.comparedVolume = partner

    def _volumeAdded(self) -> None:
        if self._parameters is not None:
            self.preselect()
            self._offerPartner()

    @property
    def _summary(self) -> Summary | None:
        if self._parameters is None:
            return None
        return Summary.fromLine(self._parameters.summary) or savedSummary(self.chosen("table"))

    @property
    def _headline(self) -> Headline | None:
        if self._parameters is None:
            return None
        return Headline.fromLine(self._parameters.headline) or savedHeadline(self.chosen("table"))

    # ---- computing

    def onComputeOrCancel(self) -> None:
        """The button: start measuring, or cancel the measurement that runs."""
        if self._job is not None:
            self.ui.computeButton.enabled = False
            self.setStatus(_("Cancelling…"))
            self._job.cancel()
            return
        self.hidePreview()
        self._forgetTimer.stop()
        parameters = self._parameters
        volume = self.chosen("volume")
        maskNode = self.chosen("maskSegmentation")
        mask = None if maskNode is None else SuppliedMask(maskNode, parameters.maskLabels.scheme)
        try:
            work = self.logic.prepare(volume, self.chosen("comparedVolume"), mask, parameters.thresholdHu)
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
        self.update()  # before a message box below blocks this function: the panel must be usable behind it
        if isinstance(error, Cancelled):
            self.setStatus(CANCELLED_TEXT)
            self._forgetTimer.start()
        elif isinstance(error, CTKernelError):
            self.setStatus(str(error), error=True)
        elif error is not None:
            logging.getLogger(__name__).error("Quantification failed", exc_info=error)
            words = error_in_words(error).rstrip(".")
            self.setStatus(_("The measurement failed: {error}. See the log.").format(error=words), error=True)
        elif self._parameters is None and measured is not None:
            self._unseen = (measured, volume)  # shown when the module is opened again
        elif measured is not None:
            self._take(measured, volume)

    def _forgetCancelled(self) -> None:
        """Remove the message of a cancellation after a while."""
        if self.ui.statusLabel.text == CANCELLED_TEXT:
            self.setStatus("")

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
        self.result, self._measured, self._meshed = result, measured, None
        wasModified = parameters.parameterNode.StartModify()
        self._point(outputs)
        # The new lungs are the ones to edit and to use in the next measurement.
        parameters.maskSegmentation, parameters.maskLabels = outputs.segmentation, LabelChoice.automatic
        parameters.summary = Summary.of(result).asLine()
        parameters.headline = Headline.of(result).asLine()
        outputs.table.SetAttribute(SUMMARY, parameters.summary)
        outputs.table.SetAttribute(HEADLINE, parameters.headline)
        parameters.parameterNode.EndModify(wasModified)
        self.hideOtherResults()
        self.beginPreview(lambda: result.lung_mask.mask)
        self.ui.tableView.resizeColumnsToContents()
        self.setStatus(_("Done. The lungs can be edited in the Segment Editor."))
        self.update()
        qt.QTimer.singleShot(0, self.showMeasured)  # an event of its own: making views takes a while

    # ---- export

    def onCopy(self) -> None:
        """Copy the indices to the clipboard."""
        summary = self._summary
        if summary is not None:
            slicer.app.clipboard().setText(summary.text)
        self.setStatus(_("Copied."))

    def onSaveReport(self) -> None:
        """Ask for a file and write the report."""
        path = qt.QFileDialog.getSaveFileName(
            self.widget,
            _("Save report"),
            "emphysema.html",
            "Web page and PDF (*.html);;Text (*.txt);;Comma-separated values (*.csv)",
        )
        if path:
            self.saveReport(str(path))

    def saveReport(self, path: str) -> None:
        """Write the report: ``.csv`` for CSV, ``.txt`` for text, any other name for web page and PDF."""
        summary = self._summary
        try:
            file = reportPath(path)
            if file.suffix.lower() in SUFFIXES:
                self._saveDrawnReport(file)
                return
            if summary is None:
                return
            file.write_text(summary.csv if file.suffix.lower() == ".csv" else summary.text, encoding="utf-8")
        except (InputError, OSError) as error:
            self.setStatus(_("The report was not written: {error}").format(error=error_in_words(error)), error=True)
            return
        self.setStatus(_("Report written to {name}.").format(name=file.name))

    def _saveDrawnReport(self, path: Path) -> None:
        if self.result is None:
            text = _(
                "The images of this result are no longer in memory. Compute again to save its report, or save text or CSV."
            )
            self.setStatus(text, error=True)
            return
        missing = self.logic.missingForReport()
        if missing:
            try:
                installPackages(missing, self.title, _("Text (.txt) and CSV need nothing more."))
            except DependencyError as error:
                self.setStatus(str(error), error=not isinstance(error, Declined))
                return
        self.setStatus(_("Writing the report…"))
        result, write = self.result, self.logic.writeReport
        self._mail.compute(lambda: writeBeside(write, result, path), self._reportWritten)

    def _reportWritten(self, files: tuple[Path, ...] | None, error: BaseException | None) -> None:
        if files is not None:
            written = _("Report written to {names}.").format(names=" and ".join(file.name for file in files))
            self.setStatus(" ".join(part for part in (written, writtenWithoutPdf(files, self.logic.whyNoPdf())) if part))
        else:
            self.setStatus(_("The report was not written: {error}").format(error=error_in_words(error)), error=True)


def _attribute(node: Any | None, name: str) -> str:
    return str(node.GetAttribute(name) or "") if node is not None else ""


def _comparedIn(segmentation: Any | None) -> Any | None:
    return segmentation.GetNodeReference(COMPARED_REFERENCE_ROLE) if segmentation is not None else None


def _idOf(node: Any | None) -> str | None:
    return str(node.GetID()) if node is not None else None
