"""What Slicer loads: the module's description, and its Widget, Logic and Test classes by name."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from EmphysemaQuantLib.logic import EmphysemaLogic
from EmphysemaQuantLib.selftest import EmphysemaSelfTest


class EmphysemaQuant(ScriptedLoadableModule):
    """Module description shown by Slicer."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Emphysema Quantification")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Chest")]
        self.parent.dependencies = ["KernelNormalization"]
        self.parent.contributors = ["CTKernelNormalization contributors"]
        self.parent.helpText = _(
            "Segments the lungs of a chest CT and measures emphysema: index (EI, LAA-950), emphysema and lung volume, "
            "Perc15 and mean density of both lungs and of each. With a second volume, such as the synthetic partner of a "
            "sharp-kernel scan, it shows which emphysema the normalization removed and which it kept.<br><br>"
            "<b>Research use only – not for diagnosis or treatment.</b><br><br>See the "
            '<a href="https://github.com/CTKernelNormalization/CTKernelNormalization#readme">documentation</a>.'
        )
        self.parent.acknowledgementText = _(
            "The threshold of -950 HU follows Gevenois et al. 1996, the 15th percentile Dirksen et al. 1999; see the "
            '<a href="https://github.com/CTKernelNormalization/CTKernelNormalization#readme">documentation</a>.'
        )


class EmphysemaQuantLogic(EmphysemaLogic, ScriptedLoadableModuleLogic):
    """The module's logic with Slicer's parameter node."""


class EmphysemaQuantWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Puts the panel into Slicer and tells it when the module or the scene opens and closes."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: EmphysemaQuantLogic | None = None
        self.panel: Any = None

    def setup(self) -> None:
        """Build the panel; called once, when the module is first opened."""
        ScriptedLoadableModuleWidget.setup(self)
        from EmphysemaQuantLib.widget import EmphysemaPanel

        self.logic = EmphysemaQuantLogic()
        self.panel = EmphysemaPanel(self.logic, self.resourcePath("UI/EmphysemaQuant.ui"))
        self.layout.addWidget(self.panel.widget)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)

    def enter(self) -> None:
        """The user opens the module."""
        self.panel.enter()

    def exit(self) -> None:
        """The user leaves the module."""
        self.panel.exit()

    def cleanup(self) -> None:
        """The module is unloaded."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.cleanup()

    def onSceneStartClose(self, _caller: Any, _event: Any) -> None:
        """The scene is about to be closed."""
        self.panel.sceneStartClose()

    def onSceneEndClose(self, _caller: Any, _event: Any) -> None:
        """The scene is empty."""
        self.panel.sceneEndClose()

    def onSceneEndImport(self, _caller: Any, _event: Any) -> None:
        """A scene was loaded."""
        self.panel.sceneEndImport()


class EmphysemaQuantTest(EmphysemaSelfTest, ScriptedLoadableModuleTest):
    """Self test; ``slicer.testing.runUnitTest`` and Reload and Test run it."""
