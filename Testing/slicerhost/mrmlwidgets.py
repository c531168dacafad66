"""The ctk and qMRML widgets that the modules use, on PySide6 and a real MRML scene."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Property, QChildEvent, QObject, QSize, Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QGroupBox,
    QHBoxLayout,
    QSlider,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

COLLAPSED_HEIGHT, WIDEST = 24, 16777215


def _stored(name: str, kind: type | str, default: Any) -> Any:
    """A Qt property that only remembers its value."""

    def read(self: Any) -> Any:
        return self.__dict__.get(f"_{name}", default)

    def write(self: Any, value: Any) -> None:
        self.__dict__[f"_{name}"] = value

    return Property(kind, read, write)


class qMRMLWidget(QWidget):
    """Root of a module panel; hands its scene to the connected widgets."""

    mrmlSceneChanged = Signal(object)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene


class ctkCollapsibleButton(QGroupBox):
    """A titled section."""

    contentsCollapsed = Signal(bool)
    text = Property(str, QGroupBox.title, QGroupBox.setTitle)

    def _set_collapsed(self, collapsed: bool) -> None:
        self.__dict__["_collapsed"] = collapsed
        for child in self.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly):
            child.setVisible(not collapsed)
        # What is left is the button itself.
        self.setMaximumHeight(COLLAPSED_HEIGHT if collapsed else WIDEST)
        self.contentsCollapsed.emit(collapsed)

    def sizeHint(self) -> QSize:
        hint = super().sizeHint()
        return QSize(hint.width(), COLLAPSED_HEIGHT) if self.__dict__.get("_collapsed", False) else hint

    def minimumSizeHint(self) -> QSize:
        hint = super().minimumSizeHint()
        return QSize(hint.width(), COLLAPSED_HEIGHT) if self.__dict__.get("_collapsed", False) else hint

    def childEvent(self, event: QChildEvent) -> None:
        """A section that is built collapsed hides what is put into it."""
        child = event.child()
        if event.added() and self.__dict__.get("_collapsed", False) and isinstance(child, QWidget):
            child.setVisible(False)
        super().childEvent(event)

    collapsed = Property(bool, lambda self: self.__dict__.get("_collapsed", False), _set_collapsed)


class ctkSliderWidget(QWidget):
    """Slider and spin box of one number."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._spin, self._slider = QDoubleSpinBox(self), QSlider(Qt.Orientation.Horizontal, self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._spin)
        self._spin.setRange(0.0, 99.0)
        self._spin.valueChanged.connect(self._spin_moved)
        self._slider.setRange(0, 1000)
        self._slider.valueChanged.connect(self._slider_moved)

    def _spin_moved(self, value: float) -> None:
        low, high = self._spin.minimum(), self._spin.maximum()
        self._slider.blockSignals(True)
        self._slider.setValue(round(1000 * (value - low) / max(high - low, 1e-9)))
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    def _slider_moved(self, position: int) -> None:
        low, high = self._spin.minimum(), self._spin.maximum()
        self._spin.setValue(low + (high - low) * position / 1000)

    decimals = Property(int, lambda s: s._spin.decimals(), lambda s, v: s._spin.setDecimals(v))
    singleStep = Property(float, lambda s: s._spin.singleStep(), lambda s, v: s._spin.setSingleStep(v))
    minimum = Property(float, lambda s: s._spin.minimum(), lambda s, v: s._spin.setMinimum(v))
    maximum = Property(float, lambda s: s._spin.maximum(), lambda s, v: s._spin.setMaximum(v))
    value = Property(float, lambda s: s._spin.value(), lambda s, v: s._spin.setValue(v))
    prefix = Property(str, lambda s: s._spin.prefix(), lambda s, v: s._spin.setPrefix(v))
    suffix = Property(str, lambda s: s._spin.suffix(), lambda s, v: s._spin.setSuffix(v))


class qMRMLSortFilterProxyModel(QObject):
    """What a node selector leaves out."""

    def __init__(self, selector: qMRMLNodeComboBox) -> None:
        super().__init__(selector)
        self._selector, self._ids = selector, []

    def _set_hidden(self, ids: Any) -> None:
        if self._ids != [str(i) for i in ids]:
            self._ids = [str(i) for i in ids]
            self._selector._refresh()

    hiddenNodeIDs = Property("QStringList", lambda self: self._ids, _set_hidden)


class qMRMLNodeComboBox(QWidget):
    """Chooses a node of the scene; follows nodes that come, go and are renamed."""

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeAdded = Signal(object)

    addEnabled = _stored("addEnabled", bool, True)
    removeEnabled = _stored("removeEnabled", bool, True)
    renameEnabled = _stored("renameEnabled", bool, False)
    editEnabled = _stored("editEnabled", bool, False)
    showHidden = _stored("showHidden", bool, False)
    showChildNodeTypes = _stored("showChildNodeTypes", bool, True)
    noneDisplay = _stored("noneDisplay", str, "None")
    baseName = _stored("baseName", str, "")

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._nodes: list[Any] = []
        self._current: Any = None
        self._tags: list[int] = []
        self._types: list[str] = []
        self._none = False
        self._filter = qMRMLSortFilterProxyModel(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._build(layout)

    def _build(self, layout: QVBoxLayout) -> None:
        self._combo = QComboBox(self)
        layout.addWidget(self._combo)
        self._combo.activated.connect(self._activated)

    def _set_types(self, types: Any) -> None:
        self._types = [str(t) for t in types]
        self._refresh()

    def _set_none(self, enabled: bool) -> None:
        self._none = enabled
        self._refresh()

    nodeTypes = Property("QStringList", lambda self: self._types, _set_types)
    noneEnabled = Property(bool, lambda self: self._none, _set_none)

    def setMRMLScene(self, scene: Any) -> None:
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene = scene
        events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent) if scene else ()
        self._tags = [scene.AddObserver(event, lambda *_: self._refresh()) for event in events]
        self.destroyed.connect(lambda *_, s=scene, tags=tuple(self._tags): [s.RemoveObserver(t) for t in tags])
        self._refresh()

    def mrmlScene(self) -> Any:
        return self._scene

    def currentNode(self) -> Any:
        return self._current

    def sortFilterProxyModel(self) -> Any:
        return self._filter

    def nodeFromIndex(self, index: int) -> Any:
        return self._nodes[index]

    def nodeCount(self) -> int:
        return len(self._nodes)

    def setCurrentNode(self, node: Any) -> None:
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node)
        if node is not None and node not in self._nodes:
            node = None
        if node is None and not self._none and self._nodes:
            node = self._nodes[0]
        changed = node is not self._current
        self._current = node
        self._show()
        if changed:
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def _offered(self, node: Any) -> bool:
        if (node.GetHideFromEditors() and not self.showHidden) or node.GetID() in self._filter._ids:
            return False
        if self.showChildNodeTypes:
            return any(node.IsA(kind) for kind in self._types)
        return node.GetClassName() in self._types

    def _refresh(self) -> None:
        if self._scene is None:
            return
        nodes = [self._scene.GetNthNode(n) for n in range(self._scene.GetNumberOfNodes())]
        before, self._nodes = self._nodes, [node for node in nodes if self._offered(node)]
        self.setCurrentNode(self._current)
        for node in self._nodes:
            if node not in before:
                self.nodeAdded.emit(node)

    def _show(self) -> None:
        self._combo.clear()
        if self._none:
            self._combo.addItem(self.noneDisplay)
        self._combo.addItems([node.GetName() for node in self._nodes])
        offset = 1 if self._none else 0
        self._combo.setCurrentIndex(self._nodes.index(self._current) + offset if self._current in self._nodes else 0)

    def _activated(self, index: int) -> None:
        position = index - (1 if self._none else 0)
        self.setCurrentNode(self._nodes[position] if position >= 0 else None)


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """Chooses several nodes by check marks."""

    checkedNodesChanged = Signal()

    def _build(self, layout: QVBoxLayout) -> None:
        self._checked: list[Any] = []
        self._face = QComboBox()  # the list with the check marks opens below it
        layout.addWidget(self._face)

    def checkedNodes(self) -> list[Any]:
        return [node for node in self._nodes if node in self._checked]

    def setCheckState(self, node: Any, state: Any) -> None:
        self._checked = [n for n in self._checked if n is not node] + ([node] if int(state) == 2 else [])
        self._show()
        self.checkedNodesChanged.emit()

    def _show(self) -> None:
        self._face.clear()
        self._face.addItem(", ".join(node.GetName() for node in self.checkedNodes()))


class qMRMLTableView(QTableWidget):
    """Shows a table node."""

    mrmlSceneChanged = Signal(object)
    _node: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        self.mrmlSceneChanged.emit(scene)

    def mrmlTableNode(self) -> Any:
        return self._node

    def setMRMLTableNode(self, node: Any) -> None:
        self._node = node
        table = node.GetTable() if node is not None else None
        rows, columns = (table.GetNumberOfRows(), table.GetNumberOfColumns()) if table else (0, 0)
        titled = node is not None and node.GetUseColumnTitleAsColumnHeader()
        above = 0 if titled else 1  # the view shows the column names in a first row otherwise
        self.setRowCount(rows + above if table else 0)
        self.setColumnCount(columns)
        for column in range(columns):
            name = table.GetColumnName(column)
            header = _header(node, name) if titled else _letters(column)
            self.setHorizontalHeaderItem(column, QTableWidgetItem(header))
            if not titled:
                self.setItem(0, column, QTableWidgetItem(name))
            for row in range(rows):
                value = table.GetValue(row, column)
                text = f"{value.ToDouble():.6g}" if value.IsNumeric() else value.ToString()
                self.setItem(row + above, column, QTableWidgetItem(text))


def _header(node: Any, name: str) -> str:
    """Slicer's view writes the unit behind the title."""
    title, unit = node.GetColumnTitle(name) or name, node.GetColumnUnitLabel(name)
    return f"{title} [{unit}]" if unit else title


def _letters(column: int) -> str:
    """A, B, C, as in a spreadsheet."""
    return chr(ord("A") + column) if column < 26 else _letters(column // 26 - 1) + chr(ord("A") + column % 26)
