"""Entry point for Slicer: the module's description, and its Widget, Logic and Test classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleLogic, ScriptedLoadableModuleTest

from KernelNormalizationLib.logic import NormalizationLogic
from KernelNormalizationLib.selftest.normalization import NormalizationSelfTest
from KernelNormalizationLib.ui.module_widget import PanelWidget, describe


class KernelNormalization(ScriptedLoadableModule):
    """Module description shown by Slicer."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        describe(
            self.parent,
            _("Kernel Normalization"),
            _(
                "Turns a chest CT reconstructed with a sharp kernel into a synthetic volume as the smooth kernel (Siemens "
                "B20f) would have shown it, so that the emphysema index can be read with the thresholds of the literature. "
                "Choose the CT, press <b>Normalize</b>, compare side by side, then measure with the <b>Emphysema "
                "Quantification</b> module."
            ),
            _(
                "Frequency bands follow Gallardo-Estrella et al. 2013 and 2016. The network's layout follows the published "
                "B80f to B20f normalization."
            ),
        )
        slicer.app.connect("startupCompleted()", registerSampleData)
        slicer.app.connect("startupCompleted()", registerReviewLayouts)


def registerSampleData() -> None:
    """Offer the simulated chest, made on this computer, in the Sample Data module."""
    from KernelNormalizationLib.mrml.sampledata import registerSimulatedChest

    icon = Path(__file__).parent / "Resources" / "Icons" / "KernelNormalization.png"
    registerSimulatedChest(str(icon))


def registerReviewLayouts() -> None:
    """Let Slicer know the side-by-side layouts before a scene that was saved in one of them is loaded."""
    from KernelNormalizationLib.ui.review_layout import registerLayouts

    registerLayouts()


class KernelNormalizationLogic(NormalizationLogic, ScriptedLoadableModuleLogic):
    """The module's logic with Slicer's parameter node."""


class KernelNormalizationWidget(PanelWidget):
    """The module's panel in Slicer."""

    def makePanel(self) -> Any:
        """The panel of kernel normalization."""
        from KernelNormalizationLib.ui.widget import NormalizationPanel

        return NormalizationPanel(KernelNormalizationLogic(), self.resourcePath("UI/KernelNormalization.ui"))


class KernelNormalizationTest(NormalizationSelfTest, ScriptedLoadableModuleTest):
    """Self test; ``slicer.testing.runUnitTest`` and Reload and Test run it."""
