"""Failures that a user seldom meets: what the panels say, and that they go on working."""

from __future__ import annotations

from typing import Any

import normalizationpanel
import numpy as np
import pytest
import slicer
from emphysemapanel import EmphysemaPanel, chest, compute, panel, partner
from normalizationpanel import PanelMaker, make_panel, press_and_wait

from EmphysemaQuantLib.mrml.segments import readMask, segmentIds, writeMask
from KernelNormalizationLib.selftest.base import waitUntil

__all__ = ["chest", "make_panel", "panel", "partner", "scan"]
scan = normalizationpanel.chest


def out_of_memory(*_: Any) -> Any:
    raise MemoryError("no room for the difference")


def test_difference_that_cannot_be_computed_is_said_and_the_panel_goes_on(
    make_panel: PanelMaker, chest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    normalization = make_panel()
    press_and_wait(normalization)
    monkeypatch.setattr("KernelNormalizationLib.ui.widget.voxelDifference", lambda *_: out_of_memory)
    normalization.ui.differenceCheckBox.checked = True
    waitUntil(lambda: "could not be computed" in normalization.ui.statusLabel.text, "the message")
    assert "no room for the difference" in normalization.ui.statusLabel.text
    normalization.ui.differenceCheckBox.checked = False
    normalization.ui.sideBySideButton.click()
    assert normalization.review.active


def test_lungs_under_a_transform_are_refused(panel: EmphysemaPanel, chest: Any) -> None:
    compute(panel)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Shift")
    panel._parameters.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    assert "is under a transform; harden it or remove it" in compute(panel)


def test_equal_volumes_have_no_largest_difference(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    slicer.util.arrayFromVolume(partner)[:] = slicer.util.arrayFromVolume(chest)
    compute(panel)
    panel.ui.jumpDifferenceButton.click()
    assert panel.ui.statusLabel.text == "The two volumes do not differ in emphysema."


def test_a_lung_that_was_erased_is_said(panel: EmphysemaPanel, chest: Any) -> None:
    compute(panel)
    segmentation = panel._parameters.segmentation
    (left,) = segmentIds(segmentation, "leftLung")
    writeMask(segmentation, left, chest, np.zeros_like(readMask(segmentation, left, chest)))
    compute(panel)
    assert "Lung mask: failed, do not use." in panel.ui.indexLabel.text, "toy lungs are no lungs"
    assert "Lung mask: failed, do not use. The left lung is empty. Only" in panel.ui.detailsLabel.text
    assert [entry.region for entry in panel.result.volume.indices] == ["whole", "right"]


def test_preview_that_cannot_be_built_leaves_the_result_on_screen(
    panel: EmphysemaPanel, chest: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("EmphysemaQuantLib.ui.threshold_preview.voxelImage", out_of_memory)
    assert "Done" in compute(panel)
    waitUntil(lambda: "No threshold preview" in caplog.text, "the failure")
    panel.ui.thresholdSlider.value = -900.0
    assert not panel.preview.shown
    (emphysema,) = segmentIds(panel._parameters.segmentation, "emphysema")
    assert panel._parameters.segmentation.GetDisplayNode().GetSegmentVisibility(emphysema)
