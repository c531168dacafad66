"""Entry point for Slicer: the module's description, and its Widget, Logic and Test classes."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleLogic, ScriptedLoadableModuleTest

from EmphysemaQuantLib.logic import EmphysemaLogic
from EmphysemaQuantLib.selftest.quantification import EmphysemaSelfTest
from KernelNormalizationLib.ui.module_widget import PanelWidget, describe


class EmphysemaQuant(ScriptedLoadableModule):
    """Module description shown by Slicer."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        describe(
            self.parent,
            _("Emphysema Quantification"),
            _(
                "Segments the lungs of a chest CT and measures emphysema: index (EI, LAA-950), emphysema and lung volume, "
                "Perc15 and mean density of both lungs and of each. With a second volume, such as the synthetic partner of "
                "a sharp-kernel scan, it shows which emphysema the normalization removed and which it kept."
            ),
            _("The threshold of -950 HU follows Gevenois et al. 1995, the 15th percentile Parr et al. 2006."),
            dependencies=("KernelNormalization",),
        )
        slicer.app.connect("startupCompleted()", self.watchViews)

    def watchViews(self) -> None:
        """Show every result only over the volume it was measured on, whichever module is open."""
        from EmphysemaQuantLib.mrml.view_overlay import watchViews

        self._watch = watchViews()


class EmphysemaQuantLogic(EmphysemaLogic, ScriptedLoadableModuleLogic):
    """The module's logic with Slicer's parameter node."""


class EmphysemaQuantWidget(PanelWidget):
    """The module's panel in Slicer."""

    def makePanel(self) -> Any:
        """The panel of emphysema quantification."""
        from EmphysemaQuantLib.ui.widget import EmphysemaPanel

        return EmphysemaPanel(EmphysemaQuantLogic(), self.resourcePath("UI/EmphysemaQuant.ui"))


class EmphysemaQuantTest(EmphysemaSelfTest, ScriptedLoadableModuleTest):
    """Self test; ``slicer.testing.runUnitTest`` and Reload and Test run it."""
