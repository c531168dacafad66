"""``slicer.app``, its views and the modules ``qt`` and ``ctk``, for running module widgets without Slicer."""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ET
from types import ModuleType, SimpleNamespace
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from . import facts, mrml, mrmlwidgets, parameternodes, scriptedmodule
from .strict import StrictObject, key_sequence, strict_class, unwrapped, wrapped
from .uifiles import UiFile, UiLoader

_application: Application | None = None
WIDGETS = (
    "QCheckBox",
    "QComboBox",
    "QLabel",
    "QProgressBar",
    "QPushButton",
    "QWidget",
    "QLineEdit",
    "QFrame",
    "QVBoxLayout",
    "QFormLayout",
)


class StrictNamespace:
    """An object that has exactly the recorded names, as far as the stand-in implements them."""

    def __init__(self, what: str, allowed: frozenset[str], **members: Any) -> None:
        unknown = set(members) - allowed
        if unknown:
            raise AttributeError(f"{what} has no {', '.join(sorted(unknown))} in Slicer")
        self.__dict__.update(_what=what, _allowed=allowed, **members)

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__["_allowed"]:
            raise NotImplementedError(f"{self._what}.{name} exists in Slicer but not in the stand-in; add it.")
        raise AttributeError(f"'{name}' does not exist on {self._what}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"'{name}' cannot be set on {self._what}")


class SliceView:
    """What a slice view shows beside its slice: a corner annotation, and a renderer for actors of one's own.

    Its window is never drawn; :mod:`.pictures` draws what is in it.
    """

    def __init__(self, logic: Any) -> None:
        self._logic = logic
        self.annotation = vtk.vtkCornerAnnotation()
        self.annotation.SetMaximumLineHeight(0.07)
        self.annotation.GetTextProperty().ShadowOn()
        self.renderer = vtk.vtkRenderer()
        self.destroyed = False  # as when the application quits; the VTK objects above live on with who holds them
        # The class that Slicer's views have; unlike vtkRenderWindow it asks for no OpenGL context of its own (20 ms each).
        self._window = vtk.vtkGenericOpenGLRenderWindow()
        self._window.AddRenderer(self.renderer)
        self.renders_scheduled = 0

    def strict(self) -> StrictNamespace:
        """This view with Slicer's names only."""
        return StrictNamespace(
            "slice view",
            facts.of("slice view Red").names,
            cornerAnnotation=lambda: self._alive().annotation,
            renderWindow=lambda: self._alive()._window,
            scheduleRender=self._schedule,
            mrmlSliceNode=lambda: self._alive()._logic.GetSliceNode(),
        )

    def _alive(self) -> SliceView:
        if self.destroyed:
            raise ValueError("Trying to call a method on a destroyed qMRMLSliceView object")
        return self

    def _schedule(self) -> None:
        self._alive()
        self.renders_scheduled += 1


class LayoutManager:
    """Views of the current layout as real slice nodes and logics; draws nothing."""

    def __init__(self, host: mrml.MrmlHost) -> None:
        self._host = host
        self._logics: dict[str, Any] = {}
        self._views: dict[str, SliceView] = {}
        self._layout_logic = slicer.vtkMRMLLayoutLogic()
        self._layout_logic.SetMRMLScene(host.scene)
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    def setLayout(self, layout_id: int) -> None:
        node = self._layout_logic.GetLayoutNode()
        if not node.IsLayoutDescription(layout_id):
            raise ValueError(f"Layout {layout_id} was never registered with AddLayoutDescription")
        node.SetViewArrangement(layout_id)
        for view in ET.fromstring(node.GetLayoutDescription(layout_id)).iter("view"):
            if view.get("class") == "vtkMRMLSliceNode":
                self._add_slice_view(view)

    def _add_slice_view(self, view: ET.Element) -> None:
        name = view.attrib["singletontag"]
        settings = {p.get("name"): p.text for p in view.iter("property")}
        # The layout logic makes the view nodes; what a slice widget adds is a slice logic of its own.
        node = self._host.scene.GetNodeByID(f"vtkMRMLSliceNode{name}")
        if name not in self._logics:
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(self._host.application_logic)
            logic.SetMRMLScene(self._host.scene)
            self._host.application_logic.GetSliceLogics().AddItem(logic)
            self._logics[name] = logic
        if self._logics[name].GetSliceNode() is not node:
            self._logics[name].SetSliceNode(node)
        node.SetOrientation(settings.get("orientation") or "Axial")
        node.SetLayoutLabel(settings.get("viewlabel") or name)
        node.SetViewGroup(int(settings.get("viewgroup") or 0))

    def slice_logic(self, name: str) -> Any:
        """The slice logic of a view by its singleton tag."""
        return self._logics[name]

    def slice_view(self, name: str) -> SliceView:
        """The view of a slice node by its singleton tag, made on first use."""
        if name not in self._views:
            self._views[name] = SliceView(self._logics[name])
        return self._views[name]

    def sliceWidget(self, name: str) -> Any:
        """A slice widget with Slicer's names only; ``None`` for a view that no layout ever had."""
        if name not in self._logics:
            return None
        return StrictNamespace(
            "slice widget",
            facts.of("slice widget Red").names,
            sliceView=self.slice_view(name).strict,
            mrmlSliceNode=self._logics[name].GetSliceNode,
            mrmlSliceCompositeNode=self._logics[name].GetSliceCompositeNode,
            sliceLogic=lambda: self._logics[name],
        )

    def resetSliceViews(self) -> None:
        for logic in self._logics.values():
            logic.FitSliceToAll()

    @property
    def layout(self) -> int:
        return self._layout_logic.GetLayoutNode().GetViewArrangement()

    @property
    def description(self) -> str:
        """The current layout as XML."""
        return str(self._layout_logic.GetLayoutNode().GetCurrentLayoutDescription())

    def strict(self) -> StrictNamespace:
        """This manager with Slicer's names only."""
        known = facts.of("slicer.app.layoutManager()").names
        manager = self

        class _Strict(StrictNamespace):
            layout = property(lambda _: manager.layout)

        return _Strict(
            "slicer.app.layoutManager()",
            known,
            setLayout=self.setLayout,
            resetSliceViews=self.resetSliceViews,
            layoutLogic=lambda: self._layout_logic,
            sliceWidget=self.sliceWidget,
            mrmlSliceLogics=self._host.application_logic.GetSliceLogics,
        )


class Application:
    """The one application of this process."""

    def __init__(self) -> None:
        self.qapplication = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["slicerhost"])
        self.host = mrml.start()
        self.selected_module = "Welcome"
        self.window = _main_window(self)
        self.window.setObjectName("qSlicerMainWindow")
        self.layout_manager = LayoutManager(self.host)
        self.settings: dict[str, Any] = {}
        self.chosen_folder = ""
        self.chosen_file = ""
        self.at_startup: list[Any] = []
        self._install_modules()
        self._install_slicer()

    def _install_modules(self) -> None:
        qt, ctk = ModuleType("qt"), ModuleType("ctk")
        for name in WIDGETS:
            setattr(qt, name, strict_class(name, getattr(QtWidgets, name)))
        qt.QTimer = strict_class("QTimer", QtCore.QTimer)
        qt.QTimer.singleShot = staticmethod(lambda delay, slot: QtCore.QTimer.singleShot(int(delay), slot))
        qt.QShortcut = strict_class("QShortcut", QtGui.QShortcut)
        qt.QKeySequence = key_sequence
        qt.QFile, qt.QUiLoader = UiFile, UiLoader
        qt.QFileDialog = SimpleNamespace(
            getExistingDirectory=lambda *_: self.chosen_folder, getSaveFileName=lambda *_: self.chosen_file
        )
        qt.QSettings = lambda: SimpleNamespace(value=self.settings.get, setValue=self.settings.__setitem__)
        qt.QIcon = QtGui.QIcon
        qt.QMessageBox = SimpleNamespace(
            Ok=1024,
            Cancel=4194304,
            Yes=16384,
            No=65536,
            Retry=524288,
            Close=2097152,
            Information=1,
            Warning=2,
            Critical=3,
            Question=4,
        )
        qt.QApplication = SimpleNamespace(setOverrideCursor=lambda _: None, restoreOverrideCursor=lambda: None)
        qt.Qt = SimpleNamespace(WaitCursor=int(QtCore.Qt.CursorShape.WaitCursor.value), Checked=2, Unchecked=0)
        ctk.ctkCollapsibleButton = strict_class("ctkCollapsibleButton", mrmlwidgets.ctkCollapsibleButton)
        ctk.ctkSliderWidget = strict_class("ctkSliderWidget", mrmlwidgets.ctkSliderWidget)
        sys.modules["qt"], sys.modules["ctk"] = qt, ctk
        parameter_module = ModuleType("slicer.parameterNodeWrapper")
        parameter_module.parameterNodeWrapper = parameternodes.parameterNodeWrapper
        parameter_module.WithinRange = parameternodes.WithinRange
        i18n = ModuleType("slicer.i18n")
        i18n.tr = lambda text: text
        i18n.translate = lambda _context, text: text
        sys.modules["slicer.parameterNodeWrapper"], sys.modules["slicer.i18n"] = parameter_module, i18n
        sys.modules["slicer.ScriptedLoadableModule"] = scriptedmodule

    def _install_slicer(self) -> None:
        for name in ("qMRMLWidget", "qMRMLNodeComboBox", "qMRMLCheckableNodeComboBox", "qMRMLTableView"):
            setattr(slicer, name, strict_class(name, getattr(mrmlwidgets, name)))
        slicer.app = StrictNamespace(
            "slicer.app",
            facts.of("slicer.app").names,
            mrmlScene=lambda: self.host.scene,
            applicationLogic=lambda: self.host.application_logic,
            layoutManager=self.layout_manager.strict,
            processEvents=self.qapplication.processEvents,
            testingEnabled=lambda: True,
            temporaryPath=QtCore.QDir.tempPath(),
            applicationName="Slicer",
            topLevelWidgets=lambda: [wrapped(self.window)],
            clipboard=lambda: self.qapplication.clipboard(),
            coreIOManager=lambda: self._io(),
            connect=self._connect,
            quit=self.qapplication.quit,
            moduleManager=lambda: SimpleNamespace(
                connect=lambda *_: True, disconnect=lambda *_: True, module=lambda _name: None
            ),
        )

    def _connect(self, signal: str, slot: Any) -> bool:
        _require_signal("slicer.app", signal)
        if signal == "aboutToQuit()":
            self.qapplication.aboutToQuit.connect(lambda: slot())
        elif signal == "startupCompleted()":
            self.at_startup.append(slot)
        return True

    def complete_startup(self) -> None:
        """Tell every module that was described since the last call that the application has started, as Slicer does once."""
        waiting, self.at_startup = self.at_startup, []
        for slot in waiting:
            slot()

    def run_until_quit(self) -> int:
        """The event loop, as the application runs it until the user quits; the exit code."""
        return self.qapplication.exec()

    def _io(self) -> StrictNamespace:
        scene = self.host.scene
        return StrictNamespace(
            "slicer.app.coreIOManager()",
            facts.of("slicer.app.coreIOManager()").names,
            saveNodes=lambda _kind, properties, _messages: scene.WriteToMRB(properties["fileName"], None),
            loadNodes=lambda _kind, properties, *_: scene.ReadFromMRB(properties["fileName"]),
        )

    def delete_pending(self) -> None:
        """Carry out every ``deleteLater`` now, as the event loop of the application would."""
        self.qapplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
        self.qapplication.processEvents()

    def use_dark_theme(self, dark: bool = True) -> None:
        """Colours like those of Slicer's dark style, or the usual ones again."""
        palette, role = QtGui.QPalette(), QtGui.QPalette.ColorRole
        if dark:
            for roles, color in (
                ((role.Window, role.Button), "#323232"),
                ((role.Base, role.AlternateBase, role.ToolTipBase), "#232323"),
                ((role.WindowText, role.Text, role.ButtonText, role.ToolTipText, role.BrightText), "#e6e6e6"),
                ((role.Highlight,), "#2a82da"),
            ):
                for one in roles:
                    palette.setColor(one, QtGui.QColor(color))
            for one in (role.WindowText, role.Text, role.ButtonText):
                palette.setColor(QtGui.QPalette.ColorGroup.Disabled, one, QtGui.QColor("#8c8c8c"))
        self.qapplication.setPalette(palette)

    def grab(self, widget: Any, path: str, width: int = 460) -> None:
        """Save a picture of a panel as it would look in the module column."""
        raw = unwrapped(widget) if isinstance(widget, StrictObject) else widget
        raw.resize(width, raw.sizeHint().height())
        raw.show()
        self.qapplication.processEvents()
        raw.grab().save(path)


def _main_window(app: Application) -> QtWidgets.QMainWindow:
    """The window under the name its facts have; its module selector tells which module is open."""
    members = {"moduleSelector": lambda _: SimpleNamespace(selectedModule=app.selected_module)}
    window: QtWidgets.QMainWindow = type("slicer.util.mainWindow()", (QtWidgets.QMainWindow,), members)()
    return window


def start() -> Application:
    """The application, started on first use; call it before importing a module's widget."""
    global _application
    if _application is None:
        _application = Application()
    return _application


def _require_signal(what: str, signal: str) -> bool:
    if facts.normalized(signal) not in facts.of(what).signals:
        raise AttributeError(f"{what} has no signal {signal}")
    return True
