"""The Emphysema Quantification panel: what a user does and sees, every error path's message included."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from emphysemapanel import EmphysemaPanel, chest, compute, masks, panel, partner

from EmphysemaQuantLib.core.results.table import MEANINGS
from EmphysemaQuantLib.mrml.segments import rasOf, segmentIds
from EmphysemaQuantLib.ui.summary import Summary
from KernelNormalizationLib.background import quitting
from KernelNormalizationLib.core.errors import LungNotFoundError
from KernelNormalizationLib.mrml import provenance
from KernelNormalizationLib.mrml.volumes import addVolumeNode
from KernelNormalizationLib.selftest.base import waitUntil
from KernelNormalizationLib.ui.review_layout import compositeNode, viewName
from slicerhost.pictures import SlicePicture
from slicerhost.strict import unwrapped

__all__ = ["chest", "panel", "partner"]


def test_nothing_can_be_pressed_without_a_volume(panel: EmphysemaPanel) -> None:
    panel.enter()
    for name in ("computeButton", "copyButton", "saveReportButton", "jumpEmphysemaButton", "sideBySideButton"):
        assert not getattr(panel.ui, name).enabled, name


@pytest.mark.slow
def test_pair_is_preselected_and_compared(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    assert "Done" in compute(panel)
    assert panel._parameters.volume is chest
    assert panel._parameters.comparedVolume is partner
    share = 100.0 * 3 * 64 / (2 * 10 * 32 * 22)
    assert f"EI {share:.1f} %" in panel.ui.indexLabel.text
    assert f"EI {share * 2 / 3:.1f} %" in panel.ui.indexLabel.text
    assert "Research use only" in panel.ui.detailsLabel.text
    assert panel.ui.tableView.mrmlTableNode() is panel._parameters.table
    assert panel.ui.jumpDifferenceButton.enabled


def test_failure_is_shown_and_leaves_the_scene_as_it_was(panel: EmphysemaPanel, chest: Any) -> None:
    def no_lung(*_: Any) -> Any:
        raise LungNotFoundError("No lung was found in “Chest”.")

    panel.logic._compute = no_lung
    panel.enter()
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    assert compute(panel) == "No lung was found in “Chest”."
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert panel.result is None


def test_defect_is_shown_too(panel: EmphysemaPanel, chest: Any) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("division by zero")

    panel.logic._compute = broken
    assert "The measurement failed: division by zero" in compute(panel)


def test_result_that_cannot_be_shown_is_said(panel: EmphysemaPanel, chest: Any, monkeypatch: Any) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("no memory for the segments")

    monkeypatch.setattr("EmphysemaQuantLib.logic.writeSegments", fails)
    assert "could not be shown: no memory for the segments" in compute(panel)
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []


def test_segmentation_without_lungs_is_refused(panel: EmphysemaPanel, chest: Any) -> None:
    panel.enter()
    panel._parameters.maskSegmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Heart")
    assert "no segment that is recognizably a lung" in compute(panel)


@pytest.mark.slow
def test_another_volume_starts_results_of_its_own(panel: EmphysemaPanel, chest: Any) -> None:
    compute(panel)
    first = panel._parameters.segmentation
    panel._parameters.volume = addVolumeNode(slicer.util.arrayFromVolume(chest), chest, "Other")
    assert (panel._parameters.segmentation, panel._parameters.maskSegmentation) == (None, None)
    assert panel.ui.indexLabel.text == ""
    compute(panel)
    assert panel._parameters.segmentation is not first
    assert slicer.mrmlScene.IsNodePresent(first)


def test_volume_changed_while_measuring_drops_the_result(panel: EmphysemaPanel, chest: Any) -> None:
    panel.enter()
    other = addVolumeNode(slicer.util.arrayFromVolume(chest), chest, "Other")
    panel.ui.computeButton.click()
    panel._parameters.volume = other
    waitUntil(lambda: panel._job is None, "the measurement")
    assert "Another volume was chosen" in panel.ui.statusLabel.text
    assert panel._parameters.segmentation is None


@pytest.mark.slow
def test_scene_closed_while_measuring_adds_nothing(panel: EmphysemaPanel, chest: Any, app: Any) -> None:
    panel.enter()
    panel.ui.computeButton.click()
    panel.sceneStartClose()
    slicer.mrmlScene.Clear(0)
    panel.sceneEndClose()
    waitUntil(lambda: not quitting._running, "the end of the thread")
    for _ in range(20):
        app.qapplication.processEvents()
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []
    assert panel.ui.computeButton.text == "Compute"


def test_threshold_preview_shows_exactly_the_voxels_below(panel: EmphysemaPanel, chest: Any, app: Any) -> None:
    compute(panel)
    panel.review.show(chest, chest)
    panel.ui.thresholdSlider.value = -900.0
    waitUntil(lambda: panel.preview.shown, "the preview")
    composite = compositeNode(viewName(0, 0))
    preview = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
    upper = preview.GetDisplayNode().GetUpperThreshold()
    shown = slicer.util.arrayFromVolume(preview) <= upper
    assert shown.sum() == 3 * 8 * 8
    panel.ui.thresholdSlider.value = -860.0
    panel._showPreview()
    assert (slicer.util.arrayFromVolume(preview) <= preview.GetDisplayNode().GetUpperThreshold()).sum() == shown.sum()
    panel.ui.thresholdSlider.value = -859.0
    panel._showPreview()
    below = slicer.util.arrayFromVolume(preview) <= preview.GetDisplayNode().GetUpperThreshold()
    assert below.sum() == sum(mask.sum() for mask in masks())
    display = panel._parameters.segmentation.GetDisplayNode()
    (emphysema,) = segmentIds(panel._parameters.segmentation, "emphysema")
    assert not display.GetSegmentVisibility(emphysema)
    panel.ui.thresholdSlider.value = -950.0
    panel._showPreview()
    assert composite.GetForegroundVolumeID() != preview.GetID()
    assert display.GetSegmentVisibility(emphysema)


def test_preview_works_again_after_leaving_the_module(panel: EmphysemaPanel, chest: Any) -> None:
    compute(panel)
    panel.exit()
    panel.enter()
    panel.ui.thresholdSlider.value = -900.0
    waitUntil(lambda: panel.preview.shown, "the preview")


@pytest.mark.slow
def test_overlay_is_aligned_to_the_voxel_and_left_is_left(panel: EmphysemaPanel, chest: Any, app: Any) -> None:
    compute(panel)
    panel.review.show(chest, chest)
    view = SlicePicture(app, viewName(0, 0), (512, 400))
    x, y, z = rasOf(chest, (11.0, 15.0, 4.0))
    view.logic.SetSliceOffset(z)
    picture = view.render().astype(int)
    assert view.sides() == ("R", "L")
    row, column = view.pixel_of((x, y, z))
    assert column < 256, "the right lung must be on the left of the screen"
    red, green, _blue = picture[row, column]
    assert red > green + 60
    for i, j, inside in ((8, 15, True), (7, 15, False), (15, 15, True), (16, 15, False), (11, 12, True), (11, 11, False)):
        # One pixel inside the voxel's centre: the outline is drawn on the border.
        row, column = view.pixel_of(rasOf(chest, (float(i), float(j), 4.0)))
        red, green, _blue = picture[row, column]
        assert (red > green + 60) == inside, f"voxel ({i}, {j}) is drawn {picture[row, column]}"


def test_overlay_controls_change_the_segmentation_display(panel: EmphysemaPanel, chest: Any) -> None:
    compute(panel)
    display = panel._parameters.segmentation.GetDisplayNode()
    panel.ui.overlayCheckBox.checked = False
    assert not display.GetVisibility2D()
    panel.onToggleOverlay()
    assert display.GetVisibility2D()
    panel.ui.opacitySlider.value = 0.4
    assert display.GetOpacity2DFill() == pytest.approx(0.4)


@pytest.mark.slow
def test_jumps_go_to_the_fullest_slice(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    compute(panel)
    panel.ui.jumpDifferenceButton.click()
    assert panel.ui.statusLabel.text == "Slice 4 of 12."
    red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    assert red.GetSliceOffset() == pytest.approx(3 * 4.0)
    panel.ui.jumpEmphysemaButton.click()
    assert panel.ui.statusLabel.text == "Slice 4 of 12."
    panel._parameters.thresholdHu = -1000.0
    compute(panel)
    panel.ui.jumpEmphysemaButton.click()
    assert "no emphysema at this threshold" in panel.ui.statusLabel.text


@pytest.mark.slow
def test_swap_exchanges_the_sides(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    compute(panel)
    panel.ui.sideBySideButton.click()
    assert compositeNode(viewName(0, 0)).GetBackgroundVolumeID() == chest.GetID()
    panel.ui.swapButton.click()
    assert compositeNode(viewName(0, 0)).GetBackgroundVolumeID() == partner.GetID()
    assert compositeNode(viewName(1, 0)).GetBackgroundVolumeID() == chest.GetID()


def test_report_is_copied_and_saved(panel: EmphysemaPanel, chest: Any, app: Any, tmp_path: Path) -> None:
    compute(panel)
    panel.ui.copyButton.click()
    assert "whole" in app.qapplication.clipboard().text()
    assert "Research use only" in app.qapplication.clipboard().text()
    app.chosen_file = str(tmp_path / "report.csv")
    panel.ui.saveReportButton.click()
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) == set(MEANINGS)
    assert next((row["volume"], row["region"], row["EI [%]"]) for row in rows) == ("Chest", "whole", "1.3636")
    table = panel._parameters.table.GetTable()
    assert [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())] == list(rows[0])
    assert [table.GetValue(n, 2).ToDouble() for n in range(3)] == [float(row["EI [%]"]) for row in rows[:3]]
    panel.saveReport(str(tmp_path / "missing" / "report.txt"))
    assert "not written" in panel.ui.statusLabel.text


@pytest.mark.slow
def test_the_command_lines_report_is_saved_as_page_and_pdf(panel: EmphysemaPanel, chest: Any, app: Any, tmp_path: Path) -> None:
    compute(panel)
    app.chosen_file = str(tmp_path / "study 4.html")
    panel.ui.saveReportButton.click()
    waitUntil(lambda: "Writing" not in panel.ui.statusLabel.text, "the report")
    assert panel.ui.statusLabel.text == "Report written to study 4.html and study 4.pdf."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study 4.html", "study 4.pdf"]
    assert "EI 1.4 %" in (tmp_path / "study 4.html").read_text(encoding="utf-8")
    assert (tmp_path / "study 4.pdf").read_bytes().startswith(b"%PDF")
    panel.saveReport(str(tmp_path / "missing" / "report.html"))
    waitUntil(lambda: "Writing" not in panel.ui.statusLabel.text, "the refusal")
    assert "not written: The folder" in panel.ui.statusLabel.text


@pytest.mark.slow
def test_without_weasyprint_the_page_is_saved_and_the_panel_says_why(
    panel: EmphysemaPanel, chest: Any, app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    compute(panel)
    (tmp_path / "study.pdf").write_text("older")
    panel.saveReport(str(tmp_path / "study.html"))
    waitUntil(lambda: "Writing" not in panel.ui.statusLabel.text, "the report")
    assert panel.ui.statusLabel.text.startswith("Report written to study.html. No PDF was written because the Python package")
    assert panel.ui.statusLabel.text.endswith("The older study.pdf was not replaced and shows an earlier result.")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.html", "study.pdf"]


def test_histogram_is_shown_in_a_plot_view_until_the_module_is_left(panel: EmphysemaPanel, chest: Any, app: Any) -> None:
    users = app.layout_manager.layout
    compute(panel)
    panel.ui.histogramButton.click()
    selected = app.host.application_logic.GetSelectionNode().GetActivePlotChartID()
    assert selected == panel._parameters.chart.GetID()
    assert "vtkMRMLPlotViewNode" in app.layout_manager.description
    panel.exit()
    assert app.layout_manager.layout == users


def test_shortcuts_are_back_after_the_open_module_is_reloaded(panel: EmphysemaPanel, chest: Any, app: Any) -> None:
    app.selected_module = "EmphysemaQuant"
    try:
        panel.connectToScene()  # all that Slicer does after a reload
        assert len(panel.shortcuts.bound) == 2
        panel.exit()
        app.selected_module = "Welcome"
        panel.connectToScene()  # built, but not on screen
        assert panel.shortcuts.bound == []
    finally:
        app.selected_module = "Welcome"


def test_cancelled_does_not_stay(panel: EmphysemaPanel, chest: Any, monkeypatch: Any) -> None:
    panel._forgetTimer.setInterval(100)
    panel.enter()
    panel.ui.computeButton.click()
    panel.ui.computeButton.click()
    waitUntil(lambda: panel._job is None, "the end of the measurement")
    assert panel.ui.statusLabel.text == "Cancelled; nothing was measured."
    waitUntil(lambda: panel.ui.statusLabel.text == "", "the status to be forgotten")


def test_scan_loaded_and_partner_made_while_the_panel_is_open_are_chosen(panel: EmphysemaPanel, app: Any) -> None:
    panel.enter()
    assert panel._parameters.volume is None
    scan = slicer.util.addVolumeFromArray(np.full((12, 48, 64), -860, np.int16), name="Chest")
    waitUntil(lambda: panel._parameters.volume is scan, "the scan to be chosen")
    made = addVolumeNode(slicer.util.arrayFromVolume(scan), scan, "Chest B20f (synthetic)")
    made.SetAttribute(provenance.SYNTHETIC, "true")
    made.SetNodeReferenceID(provenance.INPUT_REFERENCE_ROLE, scan.GetID())
    waitUntil(lambda: panel._parameters.comparedVolume is made, "the partner to be chosen")
    panel._parameters.comparedVolume = None
    addVolumeNode(slicer.util.arrayFromVolume(scan), scan, "Another")
    app.qapplication.processEvents()
    panel.exit()
    panel.enter()
    assert panel._parameters.comparedVolume is None, "the user's “Nothing” stands"


def test_shortcuts_live_only_while_the_module_is_open(panel: EmphysemaPanel, chest: Any) -> None:
    panel.enter()
    panel.enter()
    assert len(panel.shortcuts.bound) == 2
    panel.exit()
    assert panel.shortcuts.bound == []


@pytest.mark.slow
def test_renamed_segments_are_found_again(panel: EmphysemaPanel, chest: Any) -> None:
    compute(panel)
    segmentation = panel._parameters.segmentation
    for role in ("rightLung", "leftLung", "emphysema"):
        segmentation.GetSegmentation().GetSegment(segmentIds(segmentation, role)[0]).SetName("x")
    assert "Done" in compute(panel)
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 3


@pytest.mark.slow
def test_everything_is_back_after_saving_and_loading_the_scene(
    panel: EmphysemaPanel, chest: Any, partner: Any, app: Any, tmp_path: Path
) -> None:
    compute(panel)
    figures = panel.ui.indexLabel.text
    report = Summary.of(panel.result).text
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    panel.sceneStartClose()
    slicer.mrmlScene.Clear(0)
    panel.sceneEndClose()
    assert panel.ui.indexLabel.text == ""
    panel.sceneStartImport()
    slicer.util.loadScene(path)
    panel.sceneEndImport()
    assert panel.ui.indexLabel.text == figures
    assert panel._parameters.comparedVolume.GetName() == "Chest B20f (synthetic)"
    assert panel.ui.tableView.mrmlTableNode().GetNumberOfRows() == 6
    panel.ui.copyButton.click()
    assert app.qapplication.clipboard().text() == report
    panel.ui.jumpEmphysemaButton.click()
    assert panel.ui.statusLabel.text == "Slice 4 of 12."
    panel.ui.jumpDifferenceButton.click()
    assert panel.ui.statusLabel.text == "Slice 4 of 12."
    panel.ui.histogramButton.click()
    assert app.host.application_logic.GetSelectionNode().GetActivePlotChartID() == panel._parameters.chart.GetID()
    assert "Done" in compute(panel)


def test_measurement_that_ends_in_another_module_is_shown_on_coming_back(panel: EmphysemaPanel, chest: Any) -> None:
    panel.enter()
    panel.ui.computeButton.click()
    panel.exit()
    waitUntil(lambda: panel._job is None, "the measurement")
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []
    panel.enter()
    assert "EI 1.4 %" in panel.ui.indexLabel.text
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1


@pytest.mark.slow
def test_table_and_plot_nodes_deleted_by_the_user_are_made_again(panel: EmphysemaPanel, chest: Any) -> None:
    compute(panel)
    for node in (panel._parameters.segmentation, panel._parameters.table, panel._parameters.chart):
        slicer.mrmlScene.RemoveNode(node)
    panel.update()  # the module widget does this when a node is removed
    assert not panel.ui.jumpEmphysemaButton.enabled
    assert not panel.ui.histogramButton.enabled
    panel.ui.computeButton.click()
    waitUntil(lambda: panel._job is None, "the measurement")
    assert slicer.mrmlScene.IsNodePresent(panel._parameters.segmentation)
    assert slicer.mrmlScene.IsNodePresent(panel._parameters.table)
    assert segmentIds(panel._parameters.segmentation, "emphysema")


@pytest.mark.slow
def test_keys_toggle_the_overlay_and_swap_the_sides(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    compute(panel)
    keys = {unwrapped(key).key().toString(): key for key in panel.shortcuts.bound}
    assert set(keys) == {"Ctrl+Alt+O", "Ctrl+Alt+S"}
    unwrapped(keys["Ctrl+Alt+O"]).activated.emit()
    assert not panel._parameters.showOverlay
    panel.ui.sideBySideButton.click()
    unwrapped(keys["Ctrl+Alt+S"]).activated.emit()
    assert compositeNode(viewName(0, 0)).GetBackgroundVolumeID() == partner.GetID()


def test_table_is_headed_by_titles_with_their_unit_once(panel: EmphysemaPanel, chest: Any) -> None:
    compute(panel)
    view = unwrapped(panel.ui.tableView)
    headers = [view.horizontalHeaderItem(n).text() for n in range(view.columnCount())]
    assert headers[:3] == ["volume", "region", "EI [%]"]
    assert set(headers) == set(MEANINGS)
    assert view.rowCount() == 3
