"""Word-wrapped labels whose height always fits their text."""

from __future__ import annotations

from typing import Any

import qt


class WrappedLabels:
    """Keeps the height of labels at what their text needs at their width.

    Qt asks a label for a height before it knows its width, and the sections of a module panel do not ask again: a text that
    is set after the panel was laid out would be cut off.

    Args:
        labels: word-wrapped QLabels.
    """

    def __init__(self, *labels: Any) -> None:
        self._labels = labels
        self._timer: Any = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._fit)

    def fitSoon(self) -> None:
        """Fit the heights in the next event loop iteration, when texts and widths are known."""
        if self._timer is not None and not self._timer.isActive():
            self._timer.start()

    def close(self) -> None:
        """The panel is removed."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.deleteLater()
            self._timer = None

    def _fit(self) -> None:
        for label in self._labels:
            label.minimumHeight = 0  # Qt includes it in the height that it reports next
            # A label that was never laid out has no usable width.
            if label.visible and label.text:
                label.minimumHeight = max(0, label.heightForWidth(label.width))
