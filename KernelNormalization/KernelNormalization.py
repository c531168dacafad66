"""What Slicer loads: the module's description, and its Widget, Logic and Test classes by name."""

from __future__ import annotations

from pathlib import Path
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

from KernelNormalizationLib.logic import NormalizationLogic
from KernelNormalizationLib.selftest import NormalizationSelfTest


class KernelNormalization(ScriptedLoadableModule):
    """Module description shown by Slicer."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Kernel Normalization")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Chest")]
        self.parent.dependencies = []
        self.parent.contributors = ["CTKernelNormalization contributors"]
        self.parent.helpText = _(
            "Turns a chest CT reconstructed with a sharp kernel into a synthetic volume as the smooth kernel "
            "(Siemens B20f) would have shown it, so that the emphysema index can be read with the thresholds of the "
            "literature. Choose the CT, press <b>Normalize</b>, compare side by side, then measure with the "
            "<b>Emphysema Quantification</b> module.<br><br><b>Research use only – not for diagnosis or treatment.</b>"
            '<br><br>See the <a href="https://github.com/CTKernelNormalization/CTKernelNormalization#readme">'
            "documentation</a>."
        )
        self.parent.acknowledgementText = _(
            "Frequency bands follow Gallardo-Estrella et al. 2013 and 2016. The network's layout follows the published "
            'B80f to B20f normalization; see the <a href="https://github.com/CTKernelNormalization/'
            'CTKernelNormalization#readme">documentation</a> for data, licences and limits.'
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Offer the simulated chest, made on this computer, in the Sample Data module."""
    from KernelNormalizationLib.sample import registerSimulatedChest

    icon = Path(__file__).parent / "Resources" / "Icons" / "KernelNormalization.png"
    registerSimulatedChest(str(icon))


class KernelNormalizationLogic(NormalizationLogic, ScriptedLoadableModuleLogic):
    """The module's logic with Slicer's parameter node."""


class KernelNormalizationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Puts the panel into Slicer and tells it when the module or the scene opens and closes."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: KernelNormalizationLogic | None = None
        self.panel: Any = None

    def setup(self) -> None:
        """Build the panel; called once, when the module is first opened."""
        ScriptedLoadableModuleWidget.setup(self)
        from KernelNormalizationLib.widget import NormalizationPanel

        self.logic = KernelNormalizationLogic()
        self.panel = NormalizationPanel(self.logic, self.resourcePath("UI/KernelNormalization.ui"))
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


class KernelNormalizationTest(NormalizationSelfTest, ScriptedLoadableModuleTest):
    """Self test; ``slicer.testing.runUnitTest`` and Reload and Test run it."""
