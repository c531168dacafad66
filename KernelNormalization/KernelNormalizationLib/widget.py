"""The Kernel Normalization panel: reads the parameter node, starts runs, shows what came back."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from . import attributes
from .card import ScanCard, errorCard, scanCard
from .core.errors import CTKernelError, InputError, ModelError
from .core.volume import CTVolume
from .dependencies import Dependencies, Devices
from .job import Event, Settings
from .layouts import ReviewLayout, differenceNode
from .parameter import NormalizationParameters
from .process import BackgroundProcess
from .run import NormalizationRun, describeProgress, inThread

MODELS_SETTING = "KernelNormalization/ImportedModels"
ASSESS_DELAY_MILLISECONDS = 50


class Logic(Protocol):
    """What the panel needs of the module's logic."""

    def getParameterNode(self) -> Any: ...
    def deferredVolume(self, node: Any) -> Callable[[], CTVolume]: ...
    def newestCandidate(self) -> Any | None: ...
    def syntheticPartner(self, node: Any) -> Any | None: ...


class DependencyCheck(Protocol):
    """What the panel needs to know of installed packages."""

    def devices(self) -> Devices: ...
    def missing(self, settings: Settings) -> list[str]: ...
    def install(self, missing: list[str], requirementsFile: Path) -> None: ...


StartRun = Callable[[list[Any], Settings], NormalizationRun]


class NormalizationPanel:
    """The panel; Slicer's module widget tells it of entering, leaving and scene changes.

    Args:
        logic: the module's logic.
        uiPath: the panel's ``.ui`` file, in ``Resources/UI``.
        dependencies: what is installed.
        startRun: prepares a run; replaced by tests that need a process of their own.
    """

    def __init__(
        self,
        logic: Logic,
        uiPath: str,
        dependencies: DependencyCheck | None = None,
        startRun: StartRun = NormalizationRun,
    ) -> None:
        self.logic = logic
        self._uiPath = Path(uiPath)
        self._dependencies = dependencies or Dependencies()
        self._startRun = startRun
        self._process: BackgroundProcess | None = None
        self._errors: list[str] = []
        self._cancelled = False
        self._entered = False
        self._parameters: NormalizationParameters | None = None
        self._guiTag: Any = None
        self._observer: tuple[Any, int] | None = None
        self._assessedId: str | None = None
        self._assessTimer = qt.QTimer()
        self._assessTimer.setSingleShot(True)
        self._assessTimer.setInterval(ASSESS_DELAY_MILLISECONDS)
        self._assessTimer.connect("timeout()", self._assess)
        self._cards: queue.SimpleQueue[tuple[str, ScanCard | None, Exception | None]] = queue.SimpleQueue()
        self._cardTimer = qt.QTimer()
        self._cardTimer.setInterval(ASSESS_DELAY_MILLISECONDS)
        self._cardTimer.connect("timeout()", self._takeCard)
        self.review = ReviewLayout()
        self.widget = slicer.util.loadUI(str(uiPath))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._fillModels()
        self._connect()
        self.ui.deviceInfoLabel.text = self._dependencies.devices().describe()
        self.showCard(None)

    def _connect(self) -> None:
        self.ui.normalizeButton.connect("clicked()", self.onNormalizeOrCancel)
        self.ui.importModelButton.connect("clicked()", self.onImportModel)
        self.ui.modelComboBox.connect("currentIndexChanged(int)", self.onModelChosen)
        self.ui.sideBySideButton.connect("clicked()", self.onShowSideBySide)
        self.ui.restoreLayoutButton.connect("clicked()", self.onRestoreLayout)
        self.ui.differenceCheckBox.connect("toggled(bool)", self.onLayoutOption)
        self.ui.twoRowsCheckBox.connect("toggled(bool)", self.onLayoutOption)

    # ---- life of the module and the scene

    def enter(self) -> None:
        """The module is opened: connect to the scene's parameter node and preselect a scan."""
        self._entered = True
        self._setParameters(NormalizationParameters(self.logic.getParameterNode()))
        if self._parameters.inputVolume is None:
            self._parameters.inputVolume = self.logic.newestCandidate()
        if self._parameters.resultVolume is None and self._parameters.inputVolume is not None:
            self._parameters.resultVolume = self.logic.syntheticPartner(self._parameters.inputVolume)
        self._update()

    def exit(self) -> None:
        """The module is left: give the user's layout back; a running normalization goes on."""
        self._entered = False
        self.review.restore()
        self._setParameters(None)

    def cleanup(self) -> None:
        """The module is unloaded."""
        self._assessTimer.stop()
        self._cardTimer.stop()
        self._stopProcess()
        self.exit()

    def sceneStartClose(self) -> None:
        """The scene is about to be closed: nothing may be added to it any more."""
        if self._process is not None:
            self.setStatus(_("The scene was closed; the normalization was stopped and nothing was kept."))
        self._stopProcess()
        self.review.restore()
        self._setParameters(None)

    def sceneEndClose(self) -> None:
        """The scene is empty."""
        self._reconnect()

    def sceneEndImport(self) -> None:
        """A scene was loaded: take its choices over."""
        self._reconnect()

    def _reconnect(self) -> None:
        self._assessedId = None
        self.showCard(None)
        if self._entered:
            self.enter()

    def _setParameters(self, parameters: NormalizationParameters | None) -> None:
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
            node, tag = self._observer
            node.RemoveObserver(tag)
            self._observer = None
        self._parameters = parameters
        if parameters is not None:
            self._guiTag = parameters.connectGui(self.ui)
            node = parameters.parameterNode
            self._observer = (node, node.AddObserver("ModifiedEvent", lambda *_: self._update()))
            index = self.ui.modelComboBox.findData(parameters.model)
            self.ui.modelComboBox.currentIndex = max(0, index)

    # ---- what is shown

    def _update(self) -> None:
        parameters = self._parameters
        if parameters is None:
            return
        node = parameters.inputVolume
        running = self._process is not None
        self.ui.normalizeButton.enabled = running or node is not None
        self.ui.normalizeButton.text = _("Cancel") if running else _("Normalize")
        for control in (
            self.ui.inputSelector, self.ui.moreSelector, self.ui.methodComboBox, self.ui.modelComboBox,
            self.ui.importModelButton, self.ui.deviceComboBox,
        ):  # fmt: skip
            control.enabled = not running
        isUnet = parameters.method.name == "unet"
        self.ui.modelComboBox.enabled = self.ui.deviceComboBox.enabled = isUnet and not running
        self.ui.sideBySideButton.enabled = self._pair() is not None
        self.ui.restoreLayoutButton.enabled = self.review.active
        nodeId = node.GetID() if node is not None else None
        if nodeId != self._assessedId:
            self._assessedId = nodeId
            self.ui.verdictLabel.text = _("Reading the scan…") if node is not None else ""
            self.ui.cardLabel.text = ""
            self._assessTimer.start()

    def _assess(self) -> None:
        node = self._parameters.inputVolume if self._parameters is not None else None
        if node is None:
            self.showCard(None)
            return
        try:
            volume = self.logic.deferredVolume(node)
        except CTKernelError as error:
            self.showCard(errorCard(str(error)))
            return
        nodeId = node.GetID()
        inThread(lambda: _describe(volume), lambda card, error: self._cards.put((nodeId, card, error)))
        self._cardTimer.start()

    def _takeCard(self) -> None:
        while not self._cards.empty():
            nodeId, card, error = self._cards.get()
            if nodeId == self._assessedId:
                self._cardTimer.stop()
                self.showCard(card if error is None else errorCard(str(error)))

    def showCard(self, card: ScanCard | None) -> None:
        """Show what is known of the input volume."""
        self.ui.cardLabel.text = card.facts if card is not None else ""
        self.ui.verdictLabel.text = card.html if card is not None else ""

    def setStatus(self, text: str, error: bool = False) -> None:
        """Show ``text`` below the button, and in a message box if it is an error."""
        self.ui.statusLabel.text = text
        if error:
            slicer.util.errorDisplay(text, windowTitle=_("Kernel Normalization"))

    # ---- running

    def settings(self) -> Settings:
        """The user's choices."""
        parameters = self._parameters
        return Settings(parameters.method.name, parameters.model or None, parameters.device.name)

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
                self._dependencies.install(missing, self._uiPath.parents[1] / "requirements.txt")
            run = self._startRun(nodes, self.settings())
        except CTKernelError as error:
            self.setStatus(str(error), error=True)
            return
        self._errors, self._cancelled = [], False
        self._process = BackgroundProcess(run, self._onEvent, self._onResult, self._onEnd)
        self.ui.progressBar.value = 0
        self.ui.progressBar.visible = True
        self.ui.statusLabel.text = _("Preparing…")
        self._process.start()
        self._update()

    def _chosenNodes(self) -> list[Any]:
        first = self._parameters.inputVolume
        return [first, *(node for node in self.ui.moreSelector.checkedNodes() if node is not first)]

    def _onEvent(self, event: Event) -> None:
        jobs = self._process.run.jobs
        if event.progress is not None:
            self.ui.progressBar.maximum = max(1, event.progress.total)
            self.ui.progressBar.value = event.progress.done
            self.ui.statusLabel.text = describeProgress(event.progress, event.job, len(jobs), jobs[event.job].name)
        if event.error is not None:
            self._errors.append(str(event.error))
        if event.finished:
            self.ui.statusLabel.text = _("Loading the result…")

    def _onResult(self, number: int, voxels: Any, record: dict[str, Any]) -> None:
        node = self._process.run.addResult(number, voxels, record)
        if node is not None and self._parameters is not None:
            self._parameters.resultVolume = node

    def _onEnd(self, code: int, lines: str) -> None:
        self._process = None
        self.ui.progressBar.visible = False
        self._update()  # a message box below holds this function up, and the panel must be usable behind it
        if self._cancelled:
            self.setStatus(_("Cancelled; nothing was kept of the unfinished volume."))
        elif self._errors:
            self.setStatus("\n".join(self._errors), error=True)
        elif code != 0:
            logging.getLogger(__name__).error("Background process failed with code %s:\n%s", code, lines)
            self.setStatus(_crashMessage(code, lines), error=True)
        else:
            self.setStatus(_("Done. {text}").format(text=attributes.RESEARCH_USE_TEXT))
            self.onShowSideBySide()

    def _stopProcess(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None
            self.ui.progressBar.visible = False
            self._update()

    # ---- models

    def _fillModels(self) -> None:
        from .core.models import list_models

        combo = self.ui.modelComboBox
        wasBlocked = combo.blockSignals(True)
        combo.clear()
        combo.addItem(_("Default"), "")
        for name in list_models():
            combo.addItem(name, name)
        for folder in _importedModels():
            combo.addItem(Path(folder).name, folder)
        combo.blockSignals(wasBlocked)

    def onModelChosen(self, index: int) -> None:
        """Another model is chosen."""
        if self._parameters is not None and index >= 0:
            self._parameters.model = str(self.ui.modelComboBox.itemData(index) or "")

    def onImportModel(self) -> None:
        """Add a model folder after verifying it."""
        folder = qt.QFileDialog.getExistingDirectory(self.widget, _("Model folder"))
        if folder:
            self.importModel(str(folder))

    def importModel(self, folder: str) -> None:
        """Verify the model in ``folder`` and offer it from now on."""
        from .core.models import load_model

        try:
            load_model(folder)
        except (ModelError, InputError) as error:
            self.setStatus(str(error), error=True)
            return
        known = _importedModels()
        if folder not in known:
            qt.QSettings().setValue(MODELS_SETTING, "\n".join([*known, folder]))
        self._fillModels()
        self.ui.modelComboBox.currentIndex = self.ui.modelComboBox.findData(folder)
        self.setStatus(_("Model {name} verified and added.").format(name=Path(folder).name))

    # ---- review

    def _pair(self) -> tuple[Any, Any] | None:
        result = self._parameters.resultVolume if self._parameters is not None else None
        original = attributes.inputOf(result) if result is not None else None
        return (original, result) if original is not None else None

    def onShowSideBySide(self) -> None:
        """Show sharp and synthetic next to each other."""
        pair = self._pair()
        if pair is not None:
            difference = differenceNode(*pair) if self._parameters.showDifference else None
            if self.review.show(*pair, difference, self._parameters.twoRows):
                # The new views know their size only after the next turn of the event loop.
                qt.QTimer.singleShot(0, self.review.fit)
        self._update()

    def onLayoutOption(self, _checked: bool) -> None:
        """Difference or coronal views are switched: follow if the layout is on screen."""
        if self.review.active:
            self.onShowSideBySide()

    def onRestoreLayout(self) -> None:
        """Back to the user's layout."""
        self.review.restore()
        self._update()


def _describe(volume: Callable[[], CTVolume]) -> ScanCard:
    from .core.suitability import assess

    scan = volume()
    return scanCard(scan, assess(scan))


def _importedModels() -> list[str]:
    stored = qt.QSettings().value(MODELS_SETTING)
    return [line for line in str(stored or "").split("\n") if line]


def _crashMessage(code: int, lines: str) -> str:
    last = lines.strip().splitlines()[-1:] or [""]
    if code in (-9, 137) or "MemoryError" in lines:
        return _("The computer ran out of memory; Slicer itself is safe. Close other programs, or crop the volume first.")
    return _(
        "The normalization stopped unexpectedly (code {code}: {line}). Nothing was kept. Try the device CPU or another "
        "method; details are in the application log."
    ).format(code=code, line=last[0])
