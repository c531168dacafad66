"""Choices of a panel, whose values are the texts that the user sees."""

from __future__ import annotations

import enum


class LabelledChoice(enum.Enum):
    """Base of the choices that a parameter node stores; a member's name is stored, its value is shown."""

    def label(self) -> str:
        """Text shown to the user; Slicer's parameter node wrapper looks for this method to fill a combo box."""
        return str(self.value)
