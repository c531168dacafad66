"""The Kernel Normalization panel: reads the parameter node, starts runs, shows what came back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from ..background.exchange import Event, Settings
from ..background.normalization_run import NormalizationRun, describeProgress
from ..background.process import BackgroundProcess, describeFailure
from ..core.errors import CTKernelError
from ..core.volume import CTVolume
from ..mrml import provenance
from ..mrml.lung_window import useLungWindow
from ..mrml.volume_watch import VolumeWatch
from .dependencies import Declined, Dependencies, Devices
from .dicom_export import DicomExport, ExportLogic
from .gate_override import GateOverride
from .measure_emphysema import openEmphysemaQuantification
from .model_choice import ModelChoice
from .module_panel import ModulePanel, ParameterLogic, hideNodes
from .parameters import MethodChoice, NormalizationParameters
from .review_layout import addDifference, existingDifference, voxelDifference
from .scan_card import ScanCard, describeScan, errorCard
from .wrapped_labels import WrappedLabels

_FIXED_WHILE_RUNNING = ("inputSelector", "moreSelector", "kernelComboBox", "methodComboBox", "importModelButton")


class Logic(ParameterLogic, ExportLogic, Protocol):
    """What the panel needs of the module's logic."""

    def deferredVolume(self, node: Any) -> Callable[[], CTVolume]: ...
    def newestCandidate(self) -> Any | None: ...
    def syntheticPartner(self, node: Any) -> Any | None: ...
    def markExported(self) -> None: ...


class DependencyCheck(Protocol):
    """What the panel needs to know of installed packages."""

    def devices(self) -> Devices: ...
    def missing(self, settings: Settings) -> list[str]: ...
    def install(self, missing: list[str], requirementsFile: Path) -> None: ...


StartRun = Callable[[list[Any], Settings], NormalizationRun]


class NormalizationPanel(ModulePanel):
    """The panel; Slicer's module widget calls it when the module is entered or left and when the scene changes.

    Args:
        logic: the module's logic.
        uiPath: the panel's ``.ui`` file, in ``Resources/UI``.
        dependencies: what is installed.
        startRun: prepares a run; replaced by tests that need a process of their own.
    """

    parametersClass = NormalizationParameters
    title = _("Kernel Normalization")

    def __init__(
        self,
        logic: Logic,
        uiPath: str,
        dependencies: DependencyCheck | None = None,
        startRun: StartRun = NormalizationRun,
    ) -> None:
        super().__init__(logic, uiPath)
        self._requirements = Path(uiPath).parents[1] / "requirements.txt"
        self._dependencies = dependencies or Dependencies()
        self._startRun = startRun
        self._process: BackgroundProcess | None = None
        self._errors: list[str] = []
        self._truncation = ""
        self._cancelled = False
        self._assessed: tuple[str, str] | None = None  # node ID and kernel choice of the card
        self._subtracting = False
        self._blocked = False  # the chosen volume cannot be normalized, for the reason on the card
        self._watch = VolumeWatch(self._reassess)
        ui = self.ui
        self._wrapped = WrappedLabels(ui.cardLabel, ui.verdictLabel, ui.deviceInfoLabel, ui.statusLabel)
        self.export = DicomExport(self, lambda: self.chosen("resultVolume"))
        self._models = ModelChoice(self.ui.modelComboBox, self.setStatus)
        self._override = GateOverride(self.ui.overrideCheckBox, self.update)
        self._connect()
        self.showCard(None)
        # Queries the graphics driver, which can be slow.
        self._mail.wait(self._dependencies.devices, self._showDevices)

    def _connect(self) -> None:
        self.ui.normalizeButton.connect("clicked()", self.onNormalizeOrCancel)
        self.ui.importModelButton.connect("clicked()", self.onImportModel)
        self.ui.modelComboBox.connect("currentIndexChanged(int)", self.onModelChosen)
        self.ui.networkCollapsibleButton.connect("contentsCollapsed(bool)", lambda _collapsed: self._wrapped.fitSoon())
        self.ui.sideBySideButton.connect("clicked()", self.onShowSideBySide)
        self.ui.measureButton.connect("clicked()", self.onMeasure)
        self.ui.restoreLayoutButton.connect("clicked()", self.onRestoreLayout)
        self.ui.differenceCheckBox.connect("toggled(bool)", self.onLayoutOption)
        self.ui.twoRowsCheckBox.connect("toggled(bool)", self.onLayoutOption)
        # A selector must not change while it inserts the volume, and a file's attributes come after its node.
        self.ui.inputSelector.connect("nodeAdded(vtkMRMLNode*)", lambda _node: qt.QTimer.singleShot(0, self._followLoaded))

    # ---- life of the module and the scene; a running normalization goes on when the module is left

    def connectToScene(self) -> None:
        """Follow the scene's parameter node, first with all volumes offered: hidden IDs of the previous scene may be reused."""
        for selector in (self.ui.inputSelector, self.ui.moreSelector, self.ui.resultSelector):
            hideNodes(selector, [])
        super().connectToScene()

    def preselect(self) -> None:
        """Choose the newest scan, and the newest synthetic volume made from it."""
        parameters = self._parameters
        chosen = self.chosen("inputVolume")
        if chosen is None or provenance.isSynthetic(chosen):  # the selector does not offer synthetic ones
            parameters.inputVolume = self.logic.newestCandidate()
        if self.chosen("resultVolume") is None and parameters.inputVolume is not None:
            parameters.resultVolume = self.logic.syntheticPartner(parameters.inputVolume)
        if not self._models.show(parameters.model):
            parameters.model = ""

    def _followLoaded(self) -> None:
        """A volume was loaded: offer it, and choose it where none is chosen."""
        if self._parameters is not None and self.chosen("inputVolume") is None:
            self.preselect()
        self._offerVolumes()

    def exit(self) -> None:
        """The module is left."""
        self._watch.follow(None)
        super().exit()

    def setStatus(self, text: str, error: bool = False) -> None:
        """Show ``text`` below the button."""
        super().setStatus(text, error)
        self._wrapped.fitSoon()

    def cleanup(self) -> None:
        """The module is unloaded."""
        super().cleanup()
        self._wrapped.close()

    def stopWork(self) -> None:
        """End a running normalization at once."""
        if self._process is None:
            return
        self._process.stop()
        self._process = None
        self.ui.progressBar.visible = False
        self.setStatus(_("The scene was closed; the normalization was stopped and nothing was kept."))
        self.update()

    def forgetScene(self) -> None:
        """Clear the card of a scan that is removed."""
        self._watch.follow(None)
        self._assessed = None
        self.showCard(None)

    # ---- what is shown

    def update(self) -> None:
        """Show the state of the parameter node."""
        parameters = self._parameters
        if parameters is None:
            return
        self._offerVolumes()
        node = self.chosen("inputVolume")
        running = self._process is not None
        self._watch.follow(node)
        self._assess(node)
        self.ui.normalizeButton.enabled = running or (node is not None and self._mayRun())
        self.ui.normalizeButton.text = _("Cancel") if running else _("Normalize")
        for name in (*_FIXED_WHILE_RUNNING, "overrideCheckBox"):
            getattr(self.ui, name).enabled = not running
        self.ui.modelComboBox.enabled = self.ui.deviceComboBox.enabled = parameters.method.name == "unet" and not running
        self.ui.sideBySideButton.enabled = self.ui.measureButton.enabled = self._pair() is not None
        self.ui.restoreLayoutButton.enabled = self.review.active
        self.export.update()

    def _offerVolumes(self) -> None:
        """Offer only originals to normalize, the first of them not twice, and only synthetic volumes to review."""
        if self._parameters is None:
            return
        self.logic.markExported()
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        synthetic = [node.GetID() for node in nodes if provenance.isSynthetic(node)]
        first = self.chosen("inputVolume")
        hideNodes(self.ui.inputSelector, synthetic)
        hideNodes(self.ui.moreSelector, synthetic + ([first.GetID()] if first is not None else []))
        hideNodes(self.ui.resultSelector, [node.GetID() for node in nodes if node.GetID() not in synthetic])

    def _assess(self, node: Any) -> None:
        kernel = self.settings().kernel
        wanted = (node.GetID(), kernel) if node is not None else None
        if wanted == self._assessed:
            return
        self._assessed, self._blocked = wanted, False
        self.passed()
        if node is None:
            self.showCard(None)
            return
        try:
            volume = self.logic.deferredVolume(node)
        except CTKernelError as error:
            self._blocked = True
            self.showCard(errorCard(str(error)))
            return
        self.ui.verdictLabel.text = _("Reading the scan…")
        self.ui.cardLabel.text = ""
        self._mail.compute(lambda: describeScan(volume, kernel), lambda *outcome: self._takeCard(wanted, *outcome))

    def _mayRun(self) -> bool:
        return not self._blocked or self._override.granted

    def _reassess(self) -> None:
        """The chosen volume changed: assess again whether it can be used."""
        node = self.chosen("inputVolume")
        if node is not None and (self._blocked or node.GetParentTransformNode() is not None):
            self._assessed = None
            self.update()

    def _takeCard(self, wanted: tuple[str, str] | None, card: ScanCard | None, error: Exception | None) -> None:
        node = self.chosen("inputVolume")
        if wanted != self._assessed or node is None:
            return
        card = card if card is not None else errorCard(str(error))
        self.showCard(card)
        self._blocked = not card.usable
        if card.usable:
            useLungWindow(node)
        self.update()

    def showCard(self, card: ScanCard | None) -> None:
        """Show what is known of the input volume."""
        self.ui.cardLabel.text = card.facts if card is not None else ""
        self.ui.verdictLabel.text = card.html if card is not None else ""
        self._override.show(card)
        self._wrapped.fitSoon()

    def _showDevices(self, devices: Devices | None, error: Exception | None) -> None:
        self.ui.deviceInfoLabel.text = devices.describe() if devices is not None else str(error)
        self._wrapped.fitSoon()

    # ---- running

    def settings(self) -> Settings:
        """The user's choices."""
        parameters = self._parameters
        # the other methods have no model: their list is disabled, and keeps what was chosen for the network
        model = parameters.model if parameters.method.name == "unet" else ""
        chosen = (parameters.method.name, model or None, parameters.device.name, parameters.kernel.name)
        return Settings(*chosen, self._override.granted)

    def onNormalizeOrCancel(self) -> None:
        """The button: start a run, or cancel the one that runs."""
        if self._process is not None:
            self.ui.normalizeButton.enabled = False
            self.ui.statusLabel.text = _("Cancelling…")
            self._cancelled = True
            self._process.cancel()
            return
        nodes = self._chosenNodes()
        try:
            missing = self._dependencies.missing(self.settings())
            if missing:
                self._dependencies.install(missing, self._requirements)
            run = self._startRun(nodes, self.settings())
        except CTKernelError as error:
            self.setStatus(str(error), error=not isinstance(error, Declined))
            return
        self._errors, self._cancelled = [], False
        self._process = BackgroundProcess(run, self._onEvent, self._onResult, self._onEnd)
        self.ui.progressBar.value = 0
        self.ui.progressBar.visible = True
        self.ui.statusLabel.text = _("Preparing…")
        self._process.start()
        self.update()

    def _chosenNodes(self) -> list[Any]:
        first = self.chosen("inputVolume")
        # A check mark remains when its volume is hidden.
        more = [node for node in self.ui.moreSelector.checkedNodes() if node is not first and not provenance.isSynthetic(node)]
        return [first, *more]

    def _onEvent(self, event: Event) -> None:
        jobs = self._process.run.jobs if self._process is not None else []
        if event.progress is not None and not self._cancelled:
            self.ui.progressBar.maximum = max(1, event.progress.total)
            self.ui.progressBar.value = event.progress.done
            self.ui.statusLabel.text = describeProgress(event.progress, event.job, len(jobs), jobs[event.job].name)
        if event.error is not None:
            self._errors.append(str(event.error))
        if event.finished:
            self.ui.statusLabel.text = _("Loading the result…")

    def _onResult(self, number: int, voxels: Any, record: dict[str, Any]) -> None:
        node = self._process.run.addResult(number, voxels, record) if self._process is not None else None
        self._truncation = str(record.get("truncation_in_words", ""))
        if node is not None:
            parameters = self._parameters or NormalizationParameters(self.logic.getParameterNode())
            parameters.resultVolume = node

    def _onEnd(self, code: int, lines: str) -> None:
        self._process = None
        self.ui.progressBar.visible = False
        self.update()  # before a message box below blocks this function: the panel must be usable behind it
        if self._cancelled:
            self.setPassingStatus(_("Cancelled; nothing was kept of the unfinished volume."))
        elif self._errors:
            self.setStatus("\n".join(self._errors), error=True)
        elif code != 0:
            logging.getLogger(__name__).error("Background process failed with code %s:\n%s", code, lines)
            self.setStatus(describeFailure(code, lines), error=True)
        else:
            self.setStatus(" ".join(part for part in (_("Done."), self._truncation) if part))
            self.onShowSideBySide()

    # ---- models

    def onModelChosen(self, index: int) -> None:
        """Another model is chosen."""
        if self._parameters is not None and index >= 0:
            self._parameters.model = self._models.chosen(index)

    def onImportModel(self) -> None:
        """Add a model folder after verifying it."""
        folder = qt.QFileDialog.getExistingDirectory(self.widget, _("Model folder"))
        if folder:
            self.importModel(str(folder))

    def importModel(self, folder: str) -> None:
        """Verify the model in ``folder``, offer it from now on, and choose the method that uses it."""
        if self._models.importFolder(folder) and self._parameters is not None:
            self._parameters.method = MethodChoice.unet

    # ---- review

    def _pair(self) -> tuple[Any, Any] | None:
        result = self.chosen("resultVolume")
        original = provenance.inputOf(result) if result is not None else None
        return (original, result) if original is not None else None

    def onShowSideBySide(self) -> None:
        """Show sharp and synthetic next to each other."""
        pair = self._pair()
        if pair is None:
            return
        difference = existingDifference(*pair) if self._parameters.showDifference else None
        if self._parameters.showDifference and difference is None:
            self._subtract(*pair)
            return
        if self.review.show(*pair, difference, self._parameters.twoRows):
            self.fitViewsSoon()
        self.update()

    def onMeasure(self) -> None:
        """Open the other module with both volumes chosen."""
        pair = self._pair()
        if pair is None:
            return
        try:
            openEmphysemaQuantification(*pair)
        except CTKernelError as error:
            self.setStatus(str(error), error=True)

    def _subtract(self, sharp: Any, synthetic: Any) -> None:
        if not self._subtracting:
            self._subtracting = True
            status = str(self.ui.statusLabel.text)
            self.setStatus(_("Computing the difference…"))
            work = voxelDifference(sharp, synthetic)
            self._mail.compute(work, lambda *outcome: self._subtracted(sharp, synthetic, status, *outcome))

    def _subtracted(self, sharp: Any, synthetic: Any, status: str, voxels: Any, error: Exception | None) -> None:
        self._subtracting = False
        self.setStatus(status)
        if error is not None:
            self.setStatus(_("The difference could not be computed: {error}").format(error=error), error=True)
        elif self._pair() == (sharp, synthetic):
            addDifference(voxels, sharp, synthetic)
            qt.QTimer.singleShot(0, self.onShowSideBySide)  # an event of its own: making views takes a while

    def onLayoutOption(self, _checked: bool) -> None:
        """Difference or coronal views are switched on or off: update the layout if it is on screen."""
        if self.review.active:
            self.onShowSideBySide()

    def onRestoreLayout(self) -> None:
        """Back to the user's layout."""
        self.review.restore()
        self.update()
