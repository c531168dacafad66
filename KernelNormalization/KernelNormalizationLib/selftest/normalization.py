"""Self test of the Kernel Normalization module: the whole click-through on a simulated scan, no downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ..mrml import provenance
from ..mrml.sampledata import addSimulatedChest, simulatedChest
from .base import PanelSelfTest, waitUntil

UI_FILE = Path(__file__).resolve().parents[2] / "Resources" / "UI" / "KernelNormalization.ui"


class NormalizationSelfTest(PanelSelfTest):
    """Test methods; the module file turns them into a test case."""

    def makePanel(self) -> Any:
        """The module's panel with its own logic."""
        from KernelNormalization import KernelNormalizationLogic
        from KernelNormalizationLib.ui.widget import NormalizationPanel

        return NormalizationPanel(KernelNormalizationLogic(), str(UI_FILE))

    def openWithChest(self, method: str = "linear") -> Any:
        """Load the simulated chest and open the panel; returns the volume node."""
        (chest,) = addSimulatedChest()
        self.panel.enter()
        from KernelNormalizationLib.ui.parameters import MethodChoice

        self.panel._parameters.method = MethodChoice[method]
        return chest

    def press(self) -> None:
        """Press Normalize or Cancel."""
        self.panel.ui.normalizeButton.click()

    def waitForEnd(self) -> None:
        """Wait until no run is going on."""
        waitUntil(lambda: self.panel._process is None, "the end of the normalization")

    def syntheticVolumes(self) -> list[Any]:
        """Synthetic volumes of the scene."""
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        return [node for node in nodes if provenance.isSynthetic(node)]

    def test_newestCtIsPreselectedAndDescribed(self) -> None:
        chest = self.openWithChest()
        assert self.panel.ui.inputSelector.currentNode() is chest
        waitUntil(lambda: "kernel B80f" in self.panel.ui.cardLabel.text, "the scan's card")
        # the sample's slices are thicker than any that was tested
        assert "<b>untested</b><br>The slices are 6.0 mm thick" in self.panel.ui.verdictLabel.text, (
            self.panel.ui.verdictLabel.text
        )
        assert "Research use only" in self.panel.ui.researchUseLabel.text

    def test_normalizeMakesASyntheticVolumeBesideTheInput(self) -> None:
        chest = self.openWithChest()
        before = slicer.util.arrayFromVolume(chest).copy()
        self.press()
        assert self.panel.ui.normalizeButton.text == "Cancel"
        self.waitForEnd()
        (result,) = self.syntheticVolumes()
        assert result.GetName() == f"{chest.GetName()} B20f (synthetic, linear)"
        assert provenance.inputOf(result) is chest
        assert (slicer.util.arrayFromVolume(chest) == before).all()
        made, truth = slicer.util.arrayFromVolume(result), simulatedChest()
        assert made.shape == before.shape
        error = {name: np.abs(hu - truth.smooth.hu)[truth.lungs].mean() for name, hu in (("raw", before), ("made", made))}
        assert error["made"] < error["raw"] / 2, error
        assert result.GetDisplayNode().GetWindow() == chest.GetDisplayNode().GetWindow()
        assert "Done" in self.panel.ui.statusLabel.text
        assert self.panel.ui.normalizeButton.text == "Normalize"
        assert self.panel._parameters.resultVolume is result

    def test_networkNormalizesToo(self) -> None:
        from KernelNormalizationLib.background.exchange import Settings
        from KernelNormalizationLib.core.network.model_folder import list_models
        from KernelNormalizationLib.ui.dependencies import Dependencies

        if not list_models() or Dependencies().missing(Settings("unet", device="cpu")):
            self.skipTest("No model, or nothing installed that can run it")
        self.openWithChest("unet")
        from KernelNormalizationLib.ui.parameters import DeviceChoice

        self.panel._parameters.device = DeviceChoice.cpu
        self.press()
        self.waitForEnd()
        (result,) = self.syntheticVolumes()
        assert '"method": "unet"' in result.GetAttribute(provenance.RECORD)

    def test_cancelHalfWayLeavesNothingBehind(self) -> None:
        self.openWithChest("heuristic")
        nodes = slicer.mrmlScene.GetNumberOfNodes()
        self.press()
        folder = self.panel._process.run.folder
        self.press()
        self.waitForEnd()
        assert self.syntheticVolumes() == []
        assert slicer.mrmlScene.GetNumberOfNodes() == nodes
        assert not folder.exists()
        assert "Cancelled" in self.panel.ui.statusLabel.text

    def test_sceneCloseWhileRunningStopsTheRun(self) -> None:
        self.openWithChest()
        self.press()
        folder = self.panel._process.run.folder
        self.closeScene()
        assert self.panel._process is None
        assert self.syntheticVolumes() == []
        waitUntil(lambda: not folder.exists(), "the temporary files to go")

    def test_choicesComeBackWithTheScene(self) -> None:
        chest = self.openWithChest("bands")
        name = chest.GetName()
        self.saveAndReloadScene()
        assert self.panel._parameters.method.name == "bands"
        assert self.panel._parameters.inputVolume.GetName() == name
