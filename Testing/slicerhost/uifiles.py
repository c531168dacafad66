"""Loads Qt Designer files strictly: unknown classes, properties, signals and slots raise."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from PySide6.QtCore import QBuffer, QByteArray, QIODevice
from PySide6.QtUiTools import QUiLoader
from PySide6.QtWidgets import QWidget

from . import facts, mrmlwidgets
from .strict import wrapped


class UiFile:
    """``qt.QFile``, as far as ``slicer.util.loadUI`` uses it."""

    ReadOnly = 1

    def __init__(self, path: Any) -> None:
        self.path = Path(str(path))

    def exists(self) -> bool:
        return self.path.is_file()

    def open(self, _mode: int) -> bool:
        return True


class UiLoader:
    """``qt.QUiLoader``, as far as ``slicer.util.loadUI`` uses it."""

    def load(self, file: UiFile) -> Any:
        tree = ET.parse(file.path).getroot()
        check(tree)
        connections = [[e.findtext(k) or "" for k in ("sender", "signal", "receiver", "slot")] for e in tree.iter("connection")]
        for name in ("connections", "customwidgets"):
            for element in tree.findall(name):
                tree.remove(element)
        widget = _Builder().build(ET.tostring(tree))
        for sender, signal, receiver, slot in connections:
            source, target = _named(widget, sender), _named(widget, receiver)
            getattr(source, signal.split("(")[0]).connect(getattr(target, slot.split("(")[0]))
        return wrapped(widget)


class _Builder(QUiLoader):
    def build(self, xml: bytes) -> QWidget:
        buffer = QBuffer()
        buffer.setData(QByteArray(xml))
        buffer.open(QIODevice.OpenModeFlag.ReadOnly)
        widget = self.load(buffer)
        if widget is None:
            raise RuntimeError(f"The .ui file could not be loaded: {self.errorString()}")
        return widget

    def createWidget(self, class_name: str, parent: QWidget | None = None, name: str = "") -> QWidget:
        custom = getattr(mrmlwidgets, class_name, None)
        if custom is None:
            return super().createWidget(class_name, parent, name)
        widget = custom(parent)
        widget.setObjectName(name)
        return widget


def check(ui: ET.Element) -> None:
    """Hold every class, property and connection of a ``.ui`` tree against the facts.

    Raises:
        LookupError: a widget class that is not recorded.
        AttributeError: a property, signal, slot or object name that does not exist, or a word-wrapped label in a form layout.
    """
    classes: dict[str, str] = {}
    for widget in ui.iter("widget"):
        class_name, name = widget.attrib["class"], widget.attrib["name"]
        if name in classes:
            raise AttributeError(f"Two widgets are called {name}")
        classes[name] = class_name
        known = facts.of(class_name)
        for entry in widget.findall("property"):
            if entry.get("stdset") != "0" and entry.attrib["name"] not in known.properties:
                raise AttributeError(f"{class_name} has no property {entry.attrib['name']} (widget {name})")
    _check_wrapped_labels(ui)
    for stop in ui.iter("tabstop"):
        if stop.text not in classes:
            raise AttributeError(f"The tab order names {stop.text}, which does not exist")
    for entry in ui.iter("connection"):
        sender, signal, receiver, slot = (entry.findtext(k) or "" for k in ("sender", "signal", "receiver", "slot"))
        if facts.normalized(signal) not in facts.of(classes[sender]).signals:
            raise AttributeError(f"{classes[sender]} has no signal {signal}")
        if facts.normalized(slot) not in facts.of(classes[receiver]).slots:
            raise AttributeError(f"{classes[receiver]} has no slot {slot}")


def _check_wrapped_labels(ui: ET.Element) -> None:
    for form in (layout for layout in ui.iter("layout") if layout.get("class") == "QFormLayout"):
        for label in form.findall("./item/widget"):
            if label.findtext("property[@name='wordWrap']/bool") == "true":
                name = label.get("name")
                raise AttributeError(f"The word-wrapped {name} is cut off in a QFormLayout; put it into a box layout")


def _named(root: QWidget, name: str) -> QWidget:
    return root if root.objectName() == name else root.findChild(QWidget, name)
