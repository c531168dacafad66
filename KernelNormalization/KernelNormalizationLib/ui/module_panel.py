"""Base of both modules' panels: loading the ``.ui`` file, the parameter node, events of module and scene."""

from __future__ import annotations

from typing import Any, Protocol

import qt
import slicer

from ..background.gui_thread import Mailbox
from .dicom_export import DicomExport
from .review_layout import ReviewLayout

PARAMETER_PROPERTY = "SlicerParameterName"
PASSING_MILLISECONDS = 8000
RESIZED_MILLISECONDS = 200  # after a change of layout, Slicer's window has its final sizes


class ParameterLogic(Protocol):
    """What every panel needs of its module's logic."""

    def getParameterNode(self) -> Any: ...


class GuiConnection:
    """Keeps a wrapped parameter node and the widgets named after its parameters equal.

    Slicer's ``connectGui`` does the same, but returns no tag for disconnecting and never removes its observer from the node.

    Args:
        parameters: wrapped parameter node.
        ui: namespace of the panel's widgets.
    """

    def __init__(self, parameters: Any, ui: Any) -> None:
        self._parameters = parameters
        self._observers: list[int] = []
        widgets = {w.property(PARAMETER_PROPERTY): w for w in vars(ui).values() if w.property(PARAMETER_PROPERTY)}
        # The wrapper adds its observer by calling this method on itself, so an instance attribute can record the tag.
        parameters.AddObserver = self._remember
        try:
            self._tag = parameters.connectParametersToGui(widgets)
        finally:
            del parameters.AddObserver

    def remove(self) -> None:
        """Disconnect the widgets from the parameter node."""
        self._parameters.disconnectGui(self._tag)
        for tag in self._observers:
            self._parameters.parameterNode.RemoveObserver(tag)

    def _remember(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        self._observers.append(self._parameters.parameterNode.AddObserver(event, callback, priority))
        return self._observers[-1]


class ModulePanel:
    """A panel; the module widget calls it when the module is entered or left and when the scene changes.

    Subclasses name their parameters and fill in the hooks below.

    Args:
        logic: the module's logic.
        uiPath: the panel's ``.ui`` file, in ``Resources/UI``.
    """

    parametersClass: Any
    title = ""

    def __init__(self, logic: ParameterLogic, uiPath: str) -> None:
        self.logic: Any = logic
        self.review = ReviewLayout()
        self._mail = Mailbox()
        self._parameters: Any = None
        self._connection: GuiConnection | None = None
        self._observer: int | None = None
        self._inUse = False
        self.widget = slicer.util.loadUI(str(uiPath))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.export: DicomExport | None = None  # of panels that export DICOM
        self._passing = ""
        self._passingTimer: Any = qt.QTimer()
        self._passingTimer.setSingleShot(True)
        self._passingTimer.setInterval(PASSING_MILLISECONDS)
        self._passingTimer.connect("timeout()", self.passed)

    # ---- hooks

    def preselect(self) -> None:
        """Choose volumes where none is chosen yet."""
        raise NotImplementedError

    def update(self) -> None:
        """Show the state of the parameter node; called whenever it changes."""
        raise NotImplementedError

    def stopWork(self) -> None:
        """End what runs in the background."""
        raise NotImplementedError

    def forgetScene(self) -> None:
        """Forget nodes that are about to be removed."""
        raise NotImplementedError

    # ---- life of the module and the scene

    def connectToScene(self) -> None:
        """Show the choices of the scene's parameter node and follow its changes."""
        self._inUse = True
        self._disconnect()
        node = self.logic.getParameterNode()
        self._parameters = self.parametersClass(node)
        self._connection = GuiConnection(self._parameters, self.ui)
        self._observer = node.AddObserver("ModifiedEvent", lambda *_: self.update())
        self.preselect()
        self.update()
        self.review.resume()

    def enter(self) -> None:
        """The module is opened."""
        self.connectToScene()

    def exit(self) -> None:
        """The module is left: restore the user's layout."""
        self._inUse = False
        self.passed()
        self.review.restore()
        self._disconnect()

    def cleanup(self) -> None:
        """The module is unloaded."""
        self._stopExport()
        self.stopWork()
        self.exit()
        self._mail.close()
        if self._passingTimer is not None:
            self._passingTimer.stop()
            self._passingTimer.deleteLater()
            self._passingTimer = None

    def sceneStartClose(self) -> None:
        """The scene is about to be closed: add nothing more to it."""
        self._stopExport()
        self.stopWork()
        self.review.restore()
        self._leaveScene()

    def sceneEndClose(self) -> None:
        """The scene is empty."""
        if self._inUse:
            self.connectToScene()

    def sceneStartImport(self) -> None:
        """A scene is about to be loaded: disconnect, so that selectors and parameter node do not see partly loaded nodes."""
        self._leaveScene()

    def sceneEndImport(self) -> None:
        """A scene was loaded: show its choices."""
        if self._inUse:
            self.connectToScene()

    def _stopExport(self) -> None:
        if self.export is not None:
            self.export.stop()

    def _leaveScene(self) -> None:
        self.forgetScene()
        self._disconnect()

    def chosen(self, name: str) -> Any | None:
        """The node of the parameter ``name``, if it is in the scene; the wrapper caches nodes until it is notified."""
        node = getattr(self._parameters, name) if self._parameters is not None else None
        return node if node is not None and slicer.mrmlScene.IsNodePresent(node) else None

    def _disconnect(self) -> None:
        if self._connection is not None and self._observer is not None:
            self._connection.remove()
            self._parameters.parameterNode.RemoveObserver(self._observer)
        self._connection = self._observer = self._parameters = None

    # ---- what is said

    def setStatus(self, text: str, error: bool = False) -> None:
        """Show ``text`` below the button, and in a message box if it is an error."""
        self.ui.statusLabel.text = text
        if error:
            # a message box shows text that looks like markup as markup, and a file may be called anything
            slicer.util.errorDisplay(text.replace("<", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"), windowTitle=self.title)

    def setPassingStatus(self, text: str) -> None:
        """Show ``text`` below the button for a few seconds, for states that soon no longer apply."""
        self.setStatus(text)
        self._passing = text
        if self._passingTimer is not None:
            self._passingTimer.start()

    def passed(self) -> None:
        """Remove the temporary text, unless another one replaced it."""
        if self._passing and self.ui.statusLabel.text == self._passing:
            self.ui.statusLabel.text = ""
        self._passing = ""

    def choose(self, **nodes: Any) -> None:
        """Set parameters that hold nodes, by name; used by other modules that open this one.

        Args:
            nodes: parameter name and node, such as ``volume=node``.
        """
        if self._parameters is None:
            self.connectToScene()
        for name, node in nodes.items():
            setattr(self._parameters, name, node)

    def fitViewsSoon(self) -> None:
        """Fit the review's views; new views know their size in the next event loop iteration, or shortly after."""
        qt.QTimer.singleShot(0, self.review.fit)
        qt.QTimer.singleShot(RESIZED_MILLISECONDS, self.review.fitResized)


def hideNodes(selector: Any, nodeIds: list[str]) -> None:
    """Leave these nodes out of the list of a node selector (``qMRMLNodeComboBox``)."""
    selector.sortFilterProxyModel().hiddenNodeIDs = nodeIds
