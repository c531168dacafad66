"""The combo box of models: those shipped and those that the user imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from ..core.errors import InputError, ModelError

MODELS_SETTING = "KernelNormalization/ImportedModels"


class ModelChoice:
    """Fills a combo box with models and adds folders to it after verifying them.

    Args:
        combo: QComboBox; an item's data is the model's identifier or folder, empty for the default one.
        say: shows a text below the button; with ``error=True`` also in a message box.
    """

    def __init__(self, combo: Any, say: Callable[..., None]) -> None:
        self._combo, self._say = combo, say
        self.fill()

    def fill(self) -> None:
        """Offer every model of this computer."""
        from ..core.network.model_folder import default_model, list_models, model_label

        combo = self._combo
        wasBlocked = combo.blockSignals(True)
        combo.clear()
        try:
            combo.addItem(_("Default: {label}").format(label=model_label(default_model())), "")
        except ModelError:
            combo.addItem(_("Default"), "")
        for name in list_models():
            combo.addItem(f"{model_label(name)}, {name}", name)
        for folder in _importedModels():
            combo.addItem(f"{model_label(folder)}, {Path(folder).name}", folder)
        combo.blockSignals(wasBlocked)

    def show(self, wanted: str) -> bool:
        """Select the model ``wanted``; if it is not on this computer, select the default, say so and return ``False``."""
        index = self._combo.findData(wanted)
        if index < 0:
            self._say(
                _("The model “{name}” of this scene is not on this computer; the default model is chosen instead.").format(
                    name=Path(wanted).name
                )
            )
        self._combo.currentIndex = max(0, index)
        return bool(index >= 0)

    def chosen(self, index: int) -> str:
        """Identifier or folder of the item ``index``; empty for the default model."""
        return str(self._combo.itemData(index) or "")

    def importFolder(self, folder: str) -> bool:
        """Verify the model in ``folder`` and offer it from now on."""
        from ..core.network.model_folder import load_model

        try:
            load_model(folder)
        except (ModelError, InputError) as error:
            self._say(str(error), error=True)
            return False
        known = _importedModels()
        if folder not in known:
            qt.QSettings().setValue(MODELS_SETTING, "\n".join([*known, folder]))
        self.fill()
        self._combo.currentIndex = self._combo.findData(folder)
        self._say(_("Model {name} verified and added.").format(name=Path(folder).name))
        return True


def _importedModels() -> list[str]:
    stored = qt.QSettings().value(MODELS_SETTING)
    return [line for line in str(stored or "").split("\n") if line]
