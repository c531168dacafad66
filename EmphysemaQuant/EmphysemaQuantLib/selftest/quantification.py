"""Self test of the Emphysema Quantification module: the whole click-through on a simulated scan with known emphysema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer

from KernelNormalizationLib.mrml import provenance
from KernelNormalizationLib.selftest.base import PanelSelfTest, waitUntil
from KernelNormalizationLib.mrml.sampledata import addSimulatedChest, simulatedChest
from KernelNormalizationLib.mrml.volumes import addVolumeNode

from ..mrml.segments import readMask, segmentIds, writeMask

UI_FILE = Path(__file__).resolve().parents[2] / "Resources" / "UI" / "EmphysemaQuant.ui"


def addSmoothPartner(chest: Any) -> Any:
    """The smooth reconstruction of the simulated chest, as if it were a normalization of ``chest``."""
    node = addVolumeNode(simulatedChest().smooth.hu, chest, f"{chest.GetName()} B20f (synthetic)")
    node.SetAttribute(provenance.SYNTHETIC, "true")
    node.SetNodeReferenceID(provenance.INPUT_REFERENCE_ROLE, chest.GetID())
    return node


def expectedIndex(hu: np.ndarray) -> float:
    """EI (%) of ``hu`` (k, j, i) inside the simulated chest's exact lungs."""
    lungs = simulatedChest().lungs
    return 100.0 * np.count_nonzero(hu[lungs] < -950.0) / np.count_nonzero(lungs)


class EmphysemaSelfTest(PanelSelfTest):
    """Test methods; the module file makes a test case of them."""

    def makePanel(self) -> Any:
        """The module's panel with its own logic."""
        from EmphysemaQuant import EmphysemaQuantLogic
        from EmphysemaQuantLib.ui.widget import EmphysemaPanel

        return EmphysemaPanel(EmphysemaQuantLogic(), str(UI_FILE))

    def openWithChest(self, pair: bool = False) -> Any:
        """Load the simulated chest, with its partner if wanted, and open the panel; returns the volume node."""
        (chest,) = addSimulatedChest()
        if pair:
            addSmoothPartner(chest)
        self.panel.enter()
        return chest

    def compute(self) -> Any:
        """Press Compute; returns the quantification."""
        self.panel.ui.computeButton.click()
        waitUntil(lambda: self.panel._job is None, "the measurement")
        assert self.panel.result is not None, self.panel.ui.statusLabel.text
        return self.panel.result

    def test_computeShowsIndicesSegmentsAndTable(self) -> None:
        chest = self.openWithChest()
        result = self.compute()
        assert abs(result.volume.whole.ei_percent - expectedIndex(simulatedChest().sharp.hu)) < 0.5
        assert f"EI {result.volume.whole.ei_percent:.1f} %" in self.panel.ui.indexLabel.text
        segmentation = self.panel._parameters.segmentation
        (emphysema,) = segmentIds(segmentation, "emphysema")
        assert (readMask(segmentation, emphysema, chest) == result.volume.emphysema).all()
        assert self.panel._parameters.table.GetNumberOfRows() == 3
        assert "Research use only" in self.panel.ui.researchUseLabel.text

    def test_pairIsPreselectedAndNormalizationRemovesNoise(self) -> None:
        chest = self.openWithChest(pair=True)
        parameters = self.panel._parameters
        assert parameters.volume is chest
        assert provenance.isSynthetic(parameters.comparedVolume)
        result = self.compute()
        raw, smooth = (volume.whole.ei_percent for volume in result.results)
        assert abs(smooth - expectedIndex(simulatedChest().smooth.hu)) < 0.5
        assert raw > smooth + 5.0
        assert "ΔEI" in self.panel.ui.indexLabel.text
        assert segmentIds(parameters.segmentation, "removed")

    def test_editedLungsAreUsed(self) -> None:
        chest = self.openWithChest()
        before = self.compute().volume.whole.tlv_ml
        segmentation = self.panel._parameters.segmentation
        (right,) = segmentIds(segmentation, "rightLung")
        half = readMask(segmentation, right, chest)
        half[: len(half) // 2] = False
        writeMask(segmentation, right, chest, half)
        segmentation.GetSegmentation().GetSegment(right).SetName("renamed")
        after = self.compute().volume.whole.tlv_ml
        assert 0.7 * before < after < 0.8 * before

    def test_cancelLeavesNothingBehind(self) -> None:
        self.openWithChest()
        nodes = slicer.mrmlScene.GetNumberOfNodes()
        self.panel.ui.computeButton.click()
        assert self.panel.ui.computeButton.text == "Cancel"
        self.panel.ui.computeButton.click()
        waitUntil(lambda: self.panel._job is None, "the end of the measurement")
        assert "Cancelled" in self.panel.ui.statusLabel.text
        assert slicer.mrmlScene.GetNumberOfNodes() == nodes
        assert self.panel.ui.computeButton.text == "Compute"

    def test_thresholdPreviewFollowsTheSlider(self) -> None:
        self.openWithChest()
        self.compute()
        self.panel.ui.thresholdSlider.value = -900.0
        waitUntil(lambda: self.panel.preview.shown, "the preview")
        assert "-900" in self.panel.ui.statusLabel.text
        nodes = slicer.mrmlScene.GetNumberOfNodes()
        self.panel.exit()
        assert not self.panel.preview.ready
        assert slicer.mrmlScene.GetNumberOfNodes() == nodes - 2

    def test_resultsComeBackWithTheScene(self) -> None:
        self.openWithChest()
        tlv = self.compute().volume.whole.tlv_ml
        figures = self.panel.ui.indexLabel.text
        self.saveAndReloadScene()
        assert self.panel.ui.indexLabel.text == figures
        assert self.panel._parameters.thresholdHu == -950.0
        assert abs(self.compute().volume.whole.tlv_ml - tlv) < 1e-6
