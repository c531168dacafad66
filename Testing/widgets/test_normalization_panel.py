"""The Kernel Normalization panel: what a user does and sees, every error path's message included."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from normalizationpanel import (
    QUICK,
    NormalizationRun,
    PanelMaker,
    Ready,
    chest,
    make_panel,
    press_and_wait,
    running,
    synthetic,
)

from KernelNormalizationLib.background import exchange
from KernelNormalizationLib.core.methods.protocol import METHODS
from KernelNormalizationLib.core.network.model_folder import default_model, list_models, model_label, models_folder
from KernelNormalizationLib.core.suitability import assess
from KernelNormalizationLib.mrml import provenance
from KernelNormalizationLib.mrml.sampledata import addSimulatedChest
from KernelNormalizationLib.selftest.base import waitUntil
from KernelNormalizationLib.ui.dependencies import Declined, Dependencies, DependencyError, Devices
from KernelNormalizationLib.ui.parameters import KernelChoice, MethodChoice, NormalizationParameters
from KernelNormalizationLib.ui.review_layout import LAYOUT_IDS, compositeNode, viewName
from KernelNormalizationLib.ui.scan_card import COLORS

__all__ = ["chest", "make_panel"]


def test_nothing_can_be_pressed_without_a_volume(make_panel: PanelMaker) -> None:
    panel = make_panel()
    assert not panel.ui.normalizeButton.enabled
    assert not panel.ui.sideBySideButton.enabled


def test_label_maps_are_not_offered(make_panel: PanelMaker, chest: Any) -> None:
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    panel = make_panel()
    assert panel.ui.inputSelector.nodeCount() == 1
    assert panel.ui.inputSelector.currentNode() is chest


def test_result_appears_with_its_provenance_and_side_by_side(make_panel: PanelMaker, chest: Any, app: Any) -> None:
    panel = make_panel()
    assert "Done" in press_and_wait(panel)
    (node,) = synthetic()
    np.testing.assert_array_equal(
        slicer.util.arrayFromVolume(node), slicer.util.arrayFromVolume(chest).astype(np.float32) + 100
    )
    assert app.layout_manager.layout == LAYOUT_IDS[2, 1]
    for column, volume in enumerate((chest, node)):
        composite = compositeNode(viewName(column, 0))
        assert composite.GetBackgroundVolumeID() == volume.GetID()
        assert composite.GetLinkedControl()
        assert composite.GetHotLinkedControl()


def test_progress_shows_slices_and_time_left_while_the_button_cancels(make_panel: PanelMaker, chest: Any) -> None:
    panel = make_panel(running(QUICK, steps=400, pause=0.05))
    panel.ui.normalizeButton.click()
    waitUntil(lambda: "left" in panel.ui.statusLabel.text, "progress")
    assert panel.ui.normalizeButton.text == "Cancel"
    assert panel.ui.statusLabel.text.startswith("Network: ")
    assert "of 400, 2 s left" in panel.ui.statusLabel.text
    assert not panel.ui.progressBar.isHidden()
    assert not panel.ui.inputSelector.enabled
    assert "Cancelled" in press_and_wait(panel)
    assert synthetic() == []
    assert panel.ui.inputSelector.enabled


def test_process_that_ignores_the_cancel_is_killed(make_panel: PanelMaker, chest: Any) -> None:
    stubborn = "import time, sys\nprint('started', flush=True)\ntime.sleep(3600)"
    panel = make_panel(running(stubborn))
    panel.ui.normalizeButton.click()
    waitUntil(lambda: panel._process._process is not None, "the process")
    process = panel._process._process
    assert "Cancelled" in press_and_wait(panel)
    assert process.wait(600) != 0, "it must not have come to its own end"


LOST = "import sys; sys.stderr.write('RuntimeError: driver lost'); sys.exit(1)"
KILLED = "import os; os.kill(os.getpid(), 9)"
EXHAUSTED = "import sys; sys.stderr.write('MemoryError'); sys.exit(1)"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (LOST, "stopped unexpectedly (code 1: RuntimeError: driver lost)"),
        (KILLED, "ran out of memory; Slicer itself is safe"),
        (EXHAUSTED, "ran out of memory"),
    ],
    ids=["crash", "killed", "memory"],
)
def test_crash_leaves_no_node_and_says_what_to_do(make_panel: PanelMaker, chest: Any, script: str, words: str) -> None:
    panel = make_panel(running(script))
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    assert words in press_and_wait(panel)
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert panel.ui.normalizeButton.text == "Normalize"


def test_scan_that_cannot_be_stored_is_said_before_anything_starts(
    make_panel: PanelMaker, chest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    class FullDisk(NormalizationRun):
        def writeInputs(self) -> None:
            raise OSError(28, "No space left on device")

    panel = make_panel(FullDisk)
    assert "could not be started: A file: the disk is full; make room and run again. Check" in press_and_wait(panel)
    assert synthetic() == []
    assert list(tmp_path.glob("ctkernel-*")) == []


def test_python_that_is_missing_is_said(make_panel: PanelMaker, chest: Any) -> None:
    class NoPython(NormalizationRun):
        def command(self) -> list[str]:
            return ["/nowhere/PythonSlicer"]

    assert "could not be started" in press_and_wait(make_panel(NoPython))


LOSES_ITS_RESULT = """
import json
print(json.dumps({{'event': 'finished', 'job': 0}}), flush=True)
"""


def test_result_that_cannot_be_read_is_not_called_done(make_panel: PanelMaker, chest: Any) -> None:
    assert "The result could not be read" in press_and_wait(make_panel(running(LOSES_ITS_RESULT)))
    assert synthetic() == []


def test_run_that_ends_in_another_module_is_ready_on_coming_back(make_panel: PanelMaker, chest: Any, app: Any) -> None:
    panel = make_panel()
    users = app.layout_manager.layout
    panel.ui.normalizeButton.click()
    panel.exit()
    waitUntil(lambda: panel._process is None, "the end")
    assert app.layout_manager.layout == users
    panel.enter()
    assert [panel.ui.resultSelector.currentNode()] == synthetic()
    assert panel.ui.normalizeButton.text == "Normalize"
    assert panel.ui.sideBySideButton.enabled


@pytest.mark.slow
def test_bad_input_found_by_the_process_is_shown(make_panel: PanelMaker, app: Any) -> None:
    slicer.util.addVolumeFromArray(np.full((10, 20, 20), 3000, np.int16), name="Not CT")
    panel = make_panel(NormalizationRun)
    panel._parameters.method = MethodChoice.linear
    assert "these are not Hounsfield units" in press_and_wait(panel)
    assert synthetic() == []


def test_every_method_and_model_of_the_core_is_offered_by_name(make_panel: PanelMaker) -> None:
    assert tuple(choice.name for choice in MethodChoice) == METHODS
    panel = make_panel()
    methods, models = panel.ui.methodComboBox, panel.ui.modelComboBox
    assert [methods.itemText(n) for n in range(methods.count)] == [choice.label() for choice in MethodChoice]
    assert models.itemText(0) == f"Default: {model_label(default_model())}"
    assert [models.itemData(n) for n in range(1, models.count)] == list_models()


def test_the_kernel_the_user_names_is_assessed_at_once_and_told_to_the_run(make_panel: PanelMaker, chest: Any) -> None:
    panel = make_panel()
    waitUntil(lambda: "kernel" in panel.ui.cardLabel.text, "the card")
    assert panel.settings().kernel == "header"
    panel._parameters.kernel = KernelChoice.B50f
    waitUntil(lambda: "kernel B50f, named by you" in panel.ui.cardLabel.text, "the new card")
    command = NormalizationRun([chest], panel.settings()).command()
    assert command[command.index("--kernel") + 1] == "B50f"
    # another panel on the same scene finds the choice again
    assert NormalizationParameters(panel.logic.getParameterNode()).kernel is KernelChoice.B50f


def test_declined_installation_is_said_without_an_error_box_and_nothing_starts(
    make_panel: PanelMaker, chest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Declines(Ready):
        def missing(self, settings: exchange.Settings) -> list[str]:
            return ["onnxruntime"]

        def install(self, missing: list[str], requirements: Path) -> None:
            assert requirements.is_file()
            raise Declined(f"{missing[0]} was not installed. Press Normalize again to install it.")

    boxes: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: boxes.append(text))
    panel = make_panel(dependencies=Declines())
    assert "onnxruntime was not installed" in press_and_wait(panel)
    assert boxes == [], "declining is no error"


def test_gpu_that_lies_idle_is_said() -> None:
    assert "CPU build" in Devices("NVIDIA RTX A2000", "2.6.0+cpu").describe()
    assert Devices("NVIDIA RTX A2000", "2.6.0+cu124").describe() == "Automatic uses NVIDIA RTX A2000."
    assert "will be offered" in Devices("NVIDIA RTX A2000", None).describe()
    assert "CPU" in Devices(None, None).describe()


def test_only_the_network_needs_packages() -> None:
    assert Dependencies().missing(exchange.Settings("linear")) == []
    assert Dependencies().missing(exchange.Settings("bands", device="cuda")) == []


def test_missing_pytorch_extension_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="extension “PyTorch”"):
        Dependencies().install(["torch"], tmp_path / "requirements.txt")


def test_damaged_model_is_not_added(make_panel: PanelMaker, chest: Any, tmp_path: Path) -> None:
    panel = make_panel()
    before = panel.ui.modelComboBox.count
    panel.importModel(str(tmp_path))
    assert panel.ui.statusLabel.text
    assert panel.ui.modelComboBox.count == before


def test_verified_model_is_offered_chosen_and_remembered(make_panel: PanelMaker, chest: Any, app: Any, tmp_path: Path) -> None:
    shipped = models_folder() / list_models()[-1]
    folder = tmp_path / "my model" / shipped.name
    shutil.copytree(shipped, folder)
    app.chosen_folder = str(folder)
    panel = make_panel()
    panel.ui.importModelButton.click()
    assert "verified and added" in panel.ui.statusLabel.text
    assert panel.settings().model == str(folder)
    panel._parameters.method = MethodChoice.linear
    assert panel.settings().model is None
    again = make_panel()
    assert again.ui.modelComboBox.findData(str(folder)) > 0
    (folder / "model.safetensors").write_bytes(b"spoilt")
    panel.importModel(str(folder))
    assert "damaged or changed" in panel.ui.statusLabel.text


def test_model_of_a_loaded_scene_that_is_not_here_is_replaced_and_said(make_panel: PanelMaker, chest: Any) -> None:
    panel = make_panel()
    panel._parameters.model = "/elsewhere/unet-of-somebody"
    panel.exit()
    panel.enter()
    assert "“unet-of-somebody” of this scene is not on this computer" in panel.ui.statusLabel.text
    assert panel.settings().model is None
    assert panel.ui.modelComboBox.currentText.startswith("Default: ")


def test_lights_are_told_apart_from_light_and_dark_panels() -> None:
    def luminance(color: str) -> float:
        parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    for color in COLORS.values():
        for background in ("#ffffff", "#323232"):
            low, high = sorted((luminance(color), luminance(background)))
            assert (high + 0.05) / (low + 0.05) >= 3.0, f"{color} on {background}"


def test_several_volumes_are_normalized_in_one_run(make_panel: PanelMaker, chest: Any) -> None:
    second = slicer.util.addVolumeFromArray(slicer.util.arrayFromVolume(chest), name="Second")
    panel = make_panel(running(QUICK, steps=40, pause=0.05))
    panel._parameters.inputVolume = chest
    panel.ui.moreSelector.setCheckState(second, 2)
    panel.ui.normalizeButton.click()
    waitUntil(lambda: "Second (2 of 2): Network" in panel.ui.statusLabel.text, "the second volume")
    waitUntil(lambda: panel._process is None, "the end")
    assert {provenance.inputOf(node).GetName() for node in synthetic()} == {"Chest", "Second"}


def test_input_removed_meanwhile_drops_its_result(make_panel: PanelMaker, chest: Any) -> None:
    panel = make_panel(running(QUICK, steps=100, pause=0.05))
    panel.ui.normalizeButton.click()
    waitUntil(lambda: "Network" in panel.ui.statusLabel.text, "progress")
    slicer.mrmlScene.RemoveNode(chest)
    waitUntil(lambda: panel._process is None, "the end")
    assert synthetic() == []


def test_layout_of_the_user_comes_back_on_leaving(make_panel: PanelMaker, chest: Any, app: Any) -> None:
    users = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
    app.layout_manager.setLayout(users)
    panel = make_panel()
    press_and_wait(panel)
    assert panel.review.active
    panel.ui.differenceCheckBox.checked = True
    waitUntil(lambda: app.layout_manager.layout == LAYOUT_IDS[3, 1], "the difference")
    panel.ui.twoRowsCheckBox.checked = True
    assert app.layout_manager.layout == LAYOUT_IDS[3, 2]
    assert slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{viewName(0, 1)}").GetOrientation() == "Coronal"
    panel.exit()
    assert app.layout_manager.layout == users


def test_layout_chosen_by_the_user_meanwhile_is_left_alone(make_panel: PanelMaker, chest: Any, app: Any) -> None:
    panel = make_panel()
    press_and_wait(panel)
    chosen = slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    app.layout_manager.setLayout(chosen)
    panel.exit()
    assert app.layout_manager.layout == chosen


def test_window_follows_in_both_volumes_until_the_module_is_left(make_panel: PanelMaker, chest: Any) -> None:
    panel = make_panel()
    chest.GetDisplayNode().SetAutoWindowLevel(0)
    press_and_wait(panel)
    (node,) = synthetic()
    chest.GetDisplayNode().SetWindowLevel(400.0, 40.0)
    assert (node.GetDisplayNode().GetWindow(), node.GetDisplayNode().GetLevel()) == (400.0, 40.0)
    node.GetDisplayNode().SetWindowLevel(1500.0, -600.0)
    assert chest.GetDisplayNode().GetWindow() == 1500.0
    panel.exit()
    chest.GetDisplayNode().SetWindowLevel(100.0, 0.0)
    assert node.GetDisplayNode().GetWindow() == 1500.0


def test_difference_is_synthetic_minus_sharp_and_hidden_from_selectors(make_panel: PanelMaker, chest: Any) -> None:
    panel = make_panel()
    press_and_wait(panel)
    panel.ui.differenceCheckBox.checked = True
    waitUntil(lambda: slicer.app.layoutManager().layout == LAYOUT_IDS[3, 1], "the difference")
    shown = slicer.mrmlScene.GetNodeByID(compositeNode(viewName(2, 0)).GetBackgroundVolumeID())
    assert (slicer.util.arrayFromVolume(shown) == 100.0).all()
    assert (panel.ui.inputSelector.nodeCount(), panel.ui.resultSelector.nodeCount()) == (1, 1)
    display = shown.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (-150.0, 150.0)


def test_scene_closed_while_running_stops_everything(make_panel: PanelMaker, chest: Any) -> None:
    panel = make_panel(running(QUICK, steps=400, pause=0.05))
    panel.ui.normalizeButton.click()
    waitUntil(lambda: "Network" in panel.ui.statusLabel.text, "progress")
    process, folder = panel._process._process, panel._process.run.folder
    panel.sceneStartClose()
    slicer.mrmlScene.Clear(0)
    panel.sceneEndClose()
    waitUntil(lambda: process.poll() is not None and not folder.exists(), "the process and its files to go")
    assert "scene was closed" in panel.ui.statusLabel.text
    assert synthetic() == []


@pytest.mark.slow
def test_unknown_kernel_is_said_to_be_estimated(make_panel: PanelMaker) -> None:
    (chest,) = addSimulatedChest()
    chest.RemoveAttribute(provenance.KERNEL)
    panel = make_panel()
    waitUntil(lambda: panel.ui.cardLabel.text != "", "the card")
    assert "kernel unknown: estimated from noise" in panel.ui.cardLabel.text
    assert "untested" in panel.ui.verdictLabel.text
    assert assess(panel.logic.volumeFromNode(chest)).verdict == "untested"


def test_sample_data_source_is_accepted_by_slicers_checks(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer refuses a source whose locations, file and node names differ in number, made locally or not."""
    import sys
    from types import ModuleType, SimpleNamespace

    from KernelNormalization import registerSampleData

    registered: list[Any] = []

    def register(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
    ) -> None:
        as_lists = [[value] if isinstance(value, str) else value for value in (uris, fileNames, nodeNames)]
        assert len({len(values) for values in as_lists}) == 1
        assert thumbnailFileName is not None
        assert Path(thumbnailFileName).is_file()
        registered.append(customDownloader)

    module = ModuleType("SampleData")
    module.SampleDataLogic = SimpleNamespace(registerCustomSampleDataSource=register)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "SampleData", module)
    registerSampleData()
    (node,) = registered[0](object())
    assert node.GetName() == "Simulated chest B80f"
    for color in ("Red", "Yellow", "Green"):
        assert compositeNode(color).GetBackgroundVolumeID() == node.GetID()
    assert "Simulated, not a patient" in node.GetDescription()
