"""Nodes that are removed twice are logged as errors by Slicer; the stand-in remembers them."""

from __future__ import annotations

from typing import Any

import pytest
import slicer
from emphysemapanel import EmphysemaPanel, chest, compute, panel
from normalizationpanel import application

from EmphysemaQuantLib.ui.threshold_preview import PREVIEW_ATTRIBUTE
from KernelNormalizationLib.selftest.base import waitUntil

__all__ = ["chest", "panel"]


def test_a_removed_threshold_preview_is_removed_once(panel: EmphysemaPanel, chest: Any, app: application.Application) -> None:
    compute(panel)
    panel.ui.thresholdSlider.value = -900.0
    waitUntil(lambda: panel.preview.shown, "the preview")
    volumes = [v for v in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if v.GetAttribute(PREVIEW_ATTRIBUTE)]
    nodes = [*volumes, *(volume.GetDisplayNode() for volume in volumes)]
    assert nodes
    panel.preview.remove()
    assert not any(slicer.mrmlScene.IsNodePresent(node) for node in nodes)
    assert app.host.complaints == []


def test_the_stand_in_notices_a_display_node_that_is_removed_twice(chest: Any, app: application.Application) -> None:
    display = chest.GetDisplayNode()
    slicer.mrmlScene.RemoveNode(chest)
    assert not slicer.mrmlScene.IsNodePresent(display), "Slicer removes it with its volume"
    slicer.mrmlScene.RemoveNode(display)
    assert len(app.host.complaints) == 1
    assert app.host.complaints[0].startswith("GetSubjectHierarchyNode: Invalid scene given")
    app.host.complaints.clear()


@pytest.fixture(autouse=True)
def _no_complaints_left(app: application.Application) -> None:
    app.host.complaints.clear()
