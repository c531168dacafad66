"""From loading a scan to measuring it: what the Kernel Normalization panel chooses, allows, says and opens by itself."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import slicer
from normalizationpanel import QUICK, PanelMaker, chest, make_panel, press_and_wait, running, synthetic
from PySide6 import QtWidgets

from KernelNormalizationLib.mrml.sampledata import addSimulatedChest
from KernelNormalizationLib.selftest.base import waitUntil
from KernelNormalizationLib.ui.parameters import KernelChoice
from KernelNormalizationLib.ui.scan_card import ScanCard
from slicerhost.strict import unwrapped

KEPT: list[Any] = []  # PySide takes a widget for deleted with what once held it, and the panel is closed after the test

__all__ = ["chest", "make_panel"]


def test_ct_without_lungs_is_said_once_not_to_be_a_chest_and_cannot_be_normalized(make_panel: PanelMaker, chest: Any) -> None:
    slicer.util.arrayFromVolume(chest)[:, 4:44, 4:60] = 40
    panel = make_panel()
    waitUntil(lambda: "refuse" in panel.ui.verdictLabel.text, "the card")
    assert not panel.ui.normalizeButton.enabled
    labels = (panel.ui.verdictLabel, panel.ui.cardLabel, panel.ui.statusLabel)
    assert sum(label.text.count("chest CT") for label in labels) == 1


def test_a_refused_scan_is_normalized_only_when_the_user_checks_the_box_and_that_goes_to_the_run(
    make_panel: PanelMaker, chest: Any
) -> None:
    slicer.util.arrayFromVolume(chest)[:, 4:44, 4:60] = 40
    panel = make_panel()
    assert unwrapped(panel.ui.overrideCheckBox).isHidden()
    waitUntil(lambda: "refuse" in panel.ui.verdictLabel.text, "the card")
    assert not unwrapped(panel.ui.overrideCheckBox).isHidden()
    assert not panel.settings().override_gate
    panel.ui.overrideCheckBox.click()
    assert panel.ui.normalizeButton.enabled
    assert panel.settings().override_gate
    panel.ui.overrideCheckBox.click()
    assert not panel.ui.normalizeButton.enabled


@pytest.mark.slow
def test_an_override_does_not_outlive_the_scan_that_it_was_given_for(make_panel: PanelMaker, chest: Any) -> None:
    slicer.util.arrayFromVolume(chest)[:, 4:44, 4:60] = 40
    panel = make_panel()
    waitUntil(lambda: "refuse" in panel.ui.verdictLabel.text, "the card")
    panel.ui.overrideCheckBox.click()
    (other,) = addSimulatedChest()
    panel.ui.inputSelector.setCurrentNode(other)
    waitUntil(lambda: "kernel B80f" in panel.ui.cardLabel.text, "the card")
    assert unwrapped(panel.ui.overrideCheckBox).isHidden()
    assert not panel.settings().override_gate


@pytest.mark.slow
def test_ct_that_is_loaded_while_the_panel_is_open_is_chosen_and_described(make_panel: PanelMaker) -> None:
    panel = make_panel()
    assert panel.ui.inputSelector.currentNode() is None
    (chest,) = addSimulatedChest()
    waitUntil(lambda: panel.ui.inputSelector.currentNode() is chest, "the selector to follow")
    waitUntil(lambda: "kernel B80f" in panel.ui.cardLabel.text, "the card")
    assert panel.ui.normalizeButton.enabled
    slicer.util.addVolumeFromArray(slicer.util.arrayFromVolume(chest), name="Later")
    for _ in range(20):
        slicer.app.processEvents()
    assert panel.ui.inputSelector.currentNode() is chest, "what is chosen stays chosen"


def test_cancelled_is_said_for_a_moment_only(make_panel: PanelMaker, chest: Any) -> None:
    panel = make_panel(running(QUICK, steps=400, pause=0.05))
    panel._passingTimer.setInterval(300)
    panel.ui.normalizeButton.click()
    waitUntil(lambda: "left" in panel.ui.statusLabel.text, "progress")
    assert "Cancelled" in press_and_wait(panel)
    waitUntil(lambda: panel.ui.statusLabel.text == "", "the text to go")
    panel.setPassingStatus("Cancelled.")
    panel.setStatus("Done.")
    panel.passed()
    assert panel.ui.statusLabel.text == "Done.", "what came later stays"


def test_chest_without_a_window_is_shown_in_the_lung_window(make_panel: PanelMaker, chest: Any) -> None:
    assert chest.GetDisplayNode().GetAutoWindowLevel()
    panel = make_panel()
    display = chest.GetDisplayNode()
    waitUntil(lambda: (display.GetWindow(), display.GetLevel()) == (1500.0, -600.0), "the window")
    display.SetWindowLevel(400.0, 40.0)
    panel._parameters.kernel = KernelChoice.B50f
    waitUntil(lambda: "B50f" in panel.ui.cardLabel.text, "the new card")
    assert (display.GetWindow(), display.GetLevel()) == (400.0, 40.0), "the user's window stays"


def test_chest_that_was_never_shown_gets_the_lung_window_too(make_panel: PanelMaker, chest: Any) -> None:
    slicer.mrmlScene.RemoveNode(chest.GetDisplayNode())
    make_panel()
    waitUntil(lambda: chest.GetDisplayNode() is not None, "a display node")
    assert (chest.GetDisplayNode().GetWindow(), chest.GetDisplayNode().GetLevel()) == (1500.0, -600.0)


@pytest.mark.slow
def test_measure_emphysema_opens_the_other_module_with_both_volumes(
    make_panel: PanelMaker, chest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from EmphysemaQuant import EmphysemaQuantLogic
    from EmphysemaQuantLib.selftest.quantification import UI_FILE
    from EmphysemaQuantLib.ui.widget import EmphysemaPanel

    panel, other = make_panel(), EmphysemaPanel(EmphysemaQuantLogic(), str(UI_FILE))
    assert not panel.ui.measureButton.enabled
    press_and_wait(panel)
    press_and_wait(panel)
    (older, _) = synthetic()
    panel._parameters.resultVolume = older
    monkeypatch.setattr(slicer.util, "getModuleWidget", lambda name: SimpleNamespace(panel={"EmphysemaQuant": other}[name]))
    monkeypatch.setattr(slicer.util, "selectModule", lambda name: (panel.exit(), other.enter()))
    panel.ui.measureButton.click()
    assert other._parameters.volume is chest
    assert other._parameters.comparedVolume is older
    assert other.ui.computeButton.enabled
    other.cleanup()
    other.widget.deleteLater()


def test_measure_emphysema_without_the_other_module_says_so(make_panel: PanelMaker, chest: Any) -> None:
    panel = make_panel()
    press_and_wait(panel)
    panel.ui.measureButton.click()
    assert "The module Emphysema Quantification could not be opened" in panel.ui.statusLabel.text


def test_volume_that_is_no_ct_gets_a_red_light(make_panel: PanelMaker) -> None:
    slicer.util.addVolumeFromArray(np.full((10, 20, 20), 3000, np.int16), name="MR")
    panel = make_panel()
    waitUntil(lambda: "cannot be used" in panel.ui.verdictLabel.text, "the card")
    assert not panel.ui.normalizeButton.enabled


def test_transformed_volume_is_refused_before_anything_starts(make_panel: PanelMaker, chest: Any) -> None:
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Shift")
    chest.SetAndObserveTransformNodeID(transform.GetID())
    panel = make_panel()
    panel._parameters.inputVolume = chest
    assert "under the transform “Shift”" in panel.ui.verdictLabel.text
    assert not panel.ui.normalizeButton.enabled
    chest.HardenTransform()
    assert panel.ui.normalizeButton.enabled


# What the panel says of a real scan (Siemens B70f), and of its floor.
REAL_SCAN = ScanCard(
    "kernel B70f (very sharp, filtered back-projection) · SIEMENS · 3 mm slices every 3 mm, pixels 0.564 mm · 0.2 % of lung at "
    "the HU floor · noise as sharp as B72f",
    "in domain",
    ("The slices are 3.0 mm thick; the usual limits of EI are for thin ones (up to 1.5 mm).",),
)
REAL_FLOOR = (
    "The scanner cut off values below -1024 HU in 4 images that were then averaged (read from the scan). What was lost in lung "
    "and air was estimated and put back."
)


def test_a_finished_run_fits_a_small_screen_with_the_network_collapsed(make_panel: PanelMaker, chest: Any, app: Any) -> None:
    panel = make_panel()
    waitUntil(lambda: panel.ui.cardLabel.text != "", "the card")
    panel.showCard(REAL_SCAN)
    panel._onResult = lambda *_: setattr(panel, "_truncation", REAL_FLOOR)
    assert press_and_wait(panel) == f"Done. {REAL_FLOOR}"
    assert panel.ui.networkCollapsibleButton.collapsed
    widget = unwrapped(panel.widget)
    widget.resize(460, 768)
    widget.show()
    for _ in range(5):
        app.qapplication.processEvents()
    # Slicer itself takes about 170 of 768 pixels, and some 30 more for the data probe must be left.
    assert widget.layout().totalHeightForWidth(460) <= 568


def test_a_long_verdict_is_shown_in_full_in_a_narrow_module_column(make_panel: PanelMaker, chest: Any, app: Any) -> None:
    panel = make_panel()
    waitUntil(lambda: "kernel" in panel.ui.cardLabel.text, "the card")
    column = QtWidgets.QScrollArea()  # as in Slicer
    column.setWidgetResizable(True)
    column.setWidget(unwrapped(panel.widget))
    column.resize(380, 600)
    column.show()
    app.qapplication.processEvents()
    sentences = tuple(f"Reason {n}: the kernel of this file is unknown and was estimated from its noise." for n in range(8))
    panel.showCard(ScanCard("kernel unknown · manufacturer unknown · 1.25 mm slices", "untested", sentences))
    for _ in range(5):
        app.qapplication.processEvents()
    label = panel.ui.verdictLabel
    assert label.minimumHeight >= label.heightForWidth(label.width) > 8 * 14
    assert label.height >= label.minimumHeight
    panel.showCard(ScanCard("", "in domain", ()))
    for _ in range(5):
        app.qapplication.processEvents()
    assert label.minimumHeight < 40, "a short text takes no more room than it needs"
    column.takeWidget()
    KEPT.append(column)


def test_hundreds_of_megabytes_of_a_run_are_not_removed_while_the_window_waits(make_panel: PanelMaker, chest: Any) -> None:
    where, folders = [], []

    class Recording(running(QUICK)):  # type: ignore[misc]
        def cleanUp(self) -> None:
            where.append(threading.current_thread())
            folders.append(self.folder)
            super().cleanUp()

    assert "Done" in press_and_wait(make_panel(Recording))
    assert where
    assert threading.main_thread() not in where
    assert not folders[0].exists()
