"""Keyboard shortcuts that work in the whole window while the module is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer


def isModuleOpen(name: str) -> bool:
    """Whether the module ``name`` is the one on screen; ``False`` without a main window."""
    return slicer.util.mainWindow() is not None and slicer.util.selectedModule() == name


class Shortcuts:
    """Shortcuts that are active while the module is open.

    Args:
        slots: key sequence, such as ``Ctrl+Alt+O`` -> what to call.
    """

    def __init__(self, slots: dict[str, Callable[[], None]]) -> None:
        self._slots = slots
        self.bound: list[Any] = []

    def add(self) -> None:
        """Bind the keys; does nothing if they are bound or there is no window."""
        window = slicer.util.mainWindow()
        if window is None or self.bound:
            return
        for keys, slot in self._slots.items():
            shortcut = qt.QShortcut(qt.QKeySequence(keys), window)
            shortcut.connect("activated()", slot)
            self.bound.append(shortcut)

    def remove(self) -> None:
        """Remove the shortcuts."""
        for shortcut in self.bound:
            shortcut.setKey(qt.QKeySequence())
            shortcut.deleteLater()
        self.bound = []
