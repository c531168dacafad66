"""The module widgets as Slicer drives them: opened, left, reloaded, and told of scenes by the scene itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import slicer
from observers import observers_of

from slicerhost import application

application.start()  # the modules' widgets import qt, which exists from here on

import EmphysemaQuant  # noqa: E402
import KernelNormalization  # noqa: E402
from KernelNormalizationLib.selftest.base import PanelSelfTest, waitUntil  # noqa: E402
from KernelNormalizationLib.ui.review_layout import LAYOUT_IDS  # noqa: E402

WIDGETS = {
    "KernelNormalization": KernelNormalization.KernelNormalizationWidget,
    "EmphysemaQuant": EmphysemaQuant.EmphysemaQuantWidget,
}
BUTTONS = {"KernelNormalization": "normalizeButton", "EmphysemaQuant": "computeButton"}
SELECTORS = {"KernelNormalization": "inputSelector", "EmphysemaQuant": "volumeSelector"}


def add_chest(name: str = "Chest") -> Any:
    node = slicer.util.addVolumeFromArray(np.full((10, 20, 20), -860, np.int16), name=name)
    node.CreateDefaultDisplayNodes()
    return node


@pytest.fixture(params=list(WIDGETS))
def module(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def widget(app: Any, module: str) -> Iterator[Any]:
    made = WIDGETS[module]()
    made.setup()
    yield made
    made.cleanup()
    made.parent.deleteLater()


def test_descriptions_name_research_use_and_link_the_documentation(app: Any, module: str) -> None:
    described = getattr({"KernelNormalization": KernelNormalization, "EmphysemaQuant": EmphysemaQuant}[module], module)
    parent = described(SimpleNamespace()).parent
    assert parent.title in ("Kernel Normalization", "Emphysema Quantification")
    assert "Research use only – not for diagnosis or treatment." in parent.helpText
    for text in (parent.helpText, parent.acknowledgementText):
        assert '<a href="https://github.com/' in text
    assert parent.dependencies == ([] if module == "KernelNormalization" else ["KernelNormalization"])


def test_started_application_knows_sample_layouts_and_results(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any panel is opened, as when a saved scene is the first thing that is loaded."""
    layouts = app.layout_manager.strict().layoutLogic().GetLayoutNode()
    for layoutId in LAYOUT_IDS.values():
        layouts.SetLayoutDescription(layoutId, "")  # forgotten, as in a new session
    offered: list[str] = []
    samples = ModuleType("SampleData")
    register = lambda **source: offered.append(source["sampleName"])  # noqa: E731
    samples.SampleDataLogic = SimpleNamespace(registerCustomSampleDataSource=register)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "SampleData", samples)
    described = [KernelNormalization.KernelNormalization(SimpleNamespace()), EmphysemaQuant.EmphysemaQuant(SimpleNamespace())]
    app.complete_startup()
    assert offered == ["Simulated chest B80f"]
    assert all(layouts.IsLayoutDescription(layoutId) for layoutId in LAYOUT_IDS.values())
    described[1]._watch.stop()


def test_opened_module_offers_the_scan_and_can_be_pressed(widget: Any, module: str) -> None:
    chest = add_chest()
    widget.enter()
    assert getattr(widget.panel.ui, SELECTORS[module]).currentNode() is chest
    assert getattr(widget.panel.ui, BUTTONS[module]).enabled


def test_reloaded_module_works_although_slicer_does_not_announce_it(widget: Any, module: str) -> None:
    chest = add_chest()
    widget.enter()
    widget.cleanup()
    widget.setup()
    assert getattr(widget.panel.ui, SELECTORS[module]).currentNode() is chest
    assert getattr(widget.panel.ui, BUTTONS[module]).enabled


def test_closing_the_scene_empties_the_panel_and_the_next_scan_is_offered(widget: Any, module: str) -> None:
    add_chest()
    widget.enter()
    slicer.mrmlScene.Clear(0)
    assert getattr(widget.panel.ui, SELECTORS[module]).currentNode() is None
    assert not getattr(widget.panel.ui, BUTTONS[module]).enabled
    second = add_chest("Second")
    widget.exit()
    widget.enter()
    assert getattr(widget.panel.ui, SELECTORS[module]).currentNode() is second


def test_loaded_scene_brings_its_choices_into_the_open_panel(widget: Any, module: str, tmp_path: Path) -> None:
    add_chest()
    second = add_chest("Second")
    widget.enter()
    getattr(widget.panel.ui, SELECTORS[module]).setCurrentNode(second)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    assert getattr(widget.panel.ui, SELECTORS[module]).currentNode().GetName() == "Second"


def test_choices_made_in_a_closed_scene_do_not_live_on(app: Any) -> None:
    widget = WIDGETS["EmphysemaQuant"]()
    widget.setup()
    widget.enter()
    widget.panel.ui.thresholdSlider.value = -900.0
    assert widget.panel._parameters.thresholdHu == -900.0
    slicer.mrmlScene.Clear(0)
    assert widget.panel._parameters.thresholdHu == -950.0
    assert widget.panel.ui.thresholdSlider.value == -950.0
    widget.cleanup()
    widget.parent.deleteLater()


def test_opening_and_leaving_adds_no_observers(widget: Any, module: str) -> None:
    add_chest()
    widget.enter()
    node = widget.panel.logic.getParameterNode()
    counted = []
    for _ in range(4):
        widget.exit()
        widget.enter()
        counted.append(observers_of(node))
    assert counted[0] > 0
    assert len(set(counted)) == 1, counted


def test_deleted_scan_is_let_go(widget: Any, module: str) -> None:
    chest = add_chest()
    widget.enter()
    slicer.mrmlScene.RemoveNode(chest)
    assert getattr(widget.panel.ui, SELECTORS[module]).currentNode() is None
    assert not getattr(widget.panel.ui, BUTTONS[module]).enabled


def test_unloaded_module_hears_of_no_scene_any_more(widget: Any, module: str) -> None:
    add_chest()
    widget.enter()
    widget.cleanup()
    slicer.mrmlScene.Clear(0)
    assert widget.panel._parameters is None


def test_users_layout_comes_back_when_the_module_is_left(widget: Any, app: Any) -> None:
    chest = add_chest()
    widget.enter()
    users = app.layout_manager.layout
    widget.panel.review.show(chest, chest)
    assert app.layout_manager.layout == LAYOUT_IDS[2, 1]
    widget.exit()
    assert app.layout_manager.layout == users


def test_devices_are_told_without_holding_the_panel_up(app: Any) -> None:
    widget = WIDGETS["KernelNormalization"]()
    widget.setup()
    waitUntil(lambda: widget.panel.ui.deviceInfoLabel.text != "", "the devices")
    assert "PU" in widget.panel.ui.deviceInfoLabel.text
    widget.cleanup()
    widget.parent.deleteLater()


def test_reload_and_test_runs_every_test_and_fails_if_one_does(app: Any) -> None:
    import unittest

    ran: list[str] = []

    class Sample(PanelSelfTest, unittest.TestCase):
        def setUp(self) -> None:
            ran.append("up")

        def tearDown(self) -> None:
            ran.append("down")

        def test_first(self) -> None:
            ran.append("first")

        def test_second(self) -> None:
            raise AssertionError("second is broken")

    with pytest.raises(AssertionError, match="test_second"):
        Sample().runTest()
    assert ran == ["up", "first", "down", "up", "down"]
