"""The check box with which a user overrides the gate for a scan that it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .scan_card import ScanCard


class GateOverride:
    """Shown for a refused scan only, and unchecked for every new card: nobody overrides for a scan that was not seen refused.

    Args:
        checkBox: QCheckBox.
        changed: called when the user checks or unchecks it.
    """

    def __init__(self, checkBox: Any, changed: Callable[[], None]) -> None:
        self._checkBox = checkBox
        self.show(None)
        checkBox.connect("toggled(bool)", lambda _checked: changed())

    def show(self, card: ScanCard | None) -> None:
        """Offer the override where ``card`` says that the scan is refused."""
        wasBlocked = self._checkBox.blockSignals(True)
        self._checkBox.checked = False
        self._checkBox.visible = card is not None and card.refused
        self._checkBox.blockSignals(wasBlocked)

    @property
    def granted(self) -> bool:
        """Whether the user wants the refused scan normalized all the same."""
        return bool(self._checkBox.checked)
