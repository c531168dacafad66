"""What the views show of a measurement: every volume its own emphysema, no volume another's, and which colour is what."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from emphysemapanel import EmphysemaPanel, chest, compute, panel, partner, save_and_load

from EmphysemaQuantLib.mrml.segments import rasOf, segmentIds
from EmphysemaQuantLib.mrml.surfaces import CELL_MM, mesh, surfaceNodes
from EmphysemaQuantLib.mrml.view_overlay import displays, watchViews
from EmphysemaQuantLib.ui.parameters import OverlayChoice
from KernelNormalizationLib.mrml.volumes import addVolumeNode
from KernelNormalizationLib.selftest.base import waitUntil
from KernelNormalizationLib.ui.review_layout import compositeNode, viewName
from KernelNormalizationLib.ui.view_position import ViewPosition
from slicerhost.pictures import SlicePicture
from slicerhost.strict import unwrapped

__all__ = ["chest", "panel", "partner"]


def is_red(app: Any, column: int, voxel: tuple[float, float, float], volume: Any) -> bool:
    """Whether the side-by-side view in this column draws a voxel (i, j, k) in red."""
    view = SlicePicture(app, viewName(column, 0), (512, 400))
    position = rasOf(volume, voxel)
    view.logic.SetSliceOffset(position[2])
    red, green, blue = view.render().astype(int)[view.pixel_of(position)]
    return bool(red > green + 60 and red > blue + 60)


# Emphysema in the scan and not in its partner, and in both.
REMOVED_VOXEL, KEPT_VOXEL = (11.0, 15.0, 3.0), (11.0, 15.0, 4.0)


@pytest.mark.slow
def test_compute_goes_to_the_side_by_side_and_each_view_has_its_own_emphysema(
    panel: EmphysemaPanel, chest: Any, partner: Any, app: Any
) -> None:
    compute(panel)
    assert panel.review.active
    assert compositeNode(viewName(0, 0)).GetBackgroundVolumeID() == chest.GetID()
    drawn = [[is_red(app, column, voxel, chest) for voxel in (REMOVED_VOXEL, KEPT_VOXEL)] for column in range(2)]
    assert drawn == [[True, True], [False, True]]


@pytest.mark.slow
def test_emphysema_moves_with_its_volume(panel: EmphysemaPanel, chest: Any, partner: Any, app: Any) -> None:
    compute(panel)
    panel.ui.swapButton.click()
    assert [is_red(app, column, REMOVED_VOXEL, chest) for column in range(2)] == [False, True]


@pytest.mark.slow
def test_synthetic_chosen_first_still_stands_right_with_its_own_mask(
    panel: EmphysemaPanel, chest: Any, partner: Any, app: Any
) -> None:
    panel.enter()
    panel._parameters.volume, panel._parameters.comparedVolume = partner, chest
    compute(panel)
    labels = [slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{viewName(n, 0)}").GetLayoutLabel() for n in range(2)]
    assert labels == ["Original: Chest", "Synthetic: Chest B20f"]
    assert [is_red(app, column, REMOVED_VOXEL, chest) for column in range(2)] == [True, False]
    first, second = panel.ui.indexLabel.text.split("<br>")[:2]
    assert ("Original: Chest" in first, "Synthetic: Chest" in second) == (True, True)
    assert "ΔEI -0.5 percentage points" in panel.ui.indexLabel.text


@pytest.mark.slow
def test_change_shows_removed_and_kept_in_both_views(panel: EmphysemaPanel, chest: Any, partner: Any, app: Any) -> None:
    compute(panel)
    panel.ui.overlayComboBox.currentIndex = list(OverlayChoice).index(OverlayChoice.change)
    assert [is_red(app, column, KEPT_VOXEL, chest) for column in range(2)] == [True, True]
    assert [is_red(app, column, REMOVED_VOXEL, chest) for column in range(2)] == [False, False]  # orange
    millilitres = 0.016
    assert f"Removed by normalization {64 * millilitres:.0f} mL" in panel.ui.legendLabel.text
    assert f"Kept {128 * millilitres:.0f} mL" in panel.ui.legendLabel.text
    assert "Added by normalization 0 mL" in panel.ui.legendLabel.text


@pytest.mark.slow
def test_legend_has_the_segments_own_colours_and_millilitres(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    compute(panel)
    segmentation = panel._parameters.segmentation.GetSegmentation()
    (lung,) = segmentIds(panel._parameters.segmentation, "rightLung")
    segmentation.GetSegment(lung).SetColor(1.0, 1.0, 0.0)
    panel.update()
    text = panel.ui.legendLabel.text
    assert '<span style="color:#ffff00">■</span> Right lung' in text
    red = '<span style="color:#d6261a">■</span>'
    assert f"Emphysema: {red} original 3 mL &nbsp; {red} synthetic 2 mL" in text


@pytest.mark.slow
def test_measured_volume_is_put_into_the_views_and_the_former_result_leaves(
    panel: EmphysemaPanel, chest: Any, app: Any
) -> None:
    slicer.util.setSliceViewerLayers(background=chest)
    compute(panel)
    first = panel._parameters.segmentation
    other = addVolumeNode(slicer.util.arrayFromVolume(chest), chest, "Other")
    panel._parameters.volume = other
    compute(panel)
    second = panel._parameters.segmentation
    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {view.GetBackgroundVolumeID() for view in views} == {other.GetID()}
    assert not first.GetDisplayNode().GetVisibility()
    slicer.util.setSliceViewerLayers(background=chest)
    assert not second.GetDisplayNode().GetVisibility2D(), "measured on another volume than the views show"
    slicer.util.setSliceViewerLayers(background=other)
    assert second.GetDisplayNode().GetVisibility2D()


@pytest.mark.slow
def test_overlay_follows_the_volume_while_another_module_is_open(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    compute(panel)
    panel.exit()
    (_scan, own), (_other, second) = displays(panel.logic.getParameterNode().GetNodeReference("segmentation"))
    slicer.util.setSliceViewerLayers(background=partner)
    assert (own.GetVisibility2D(), second.GetVisibility2D()) == (0, 1)
    slicer.util.setSliceViewerLayers(background=chest)
    assert (own.GetVisibility2D(), second.GetVisibility2D()) == (1, 0)
    assert "vtkMRMLSliceNodeRed" in own.GetViewNodeIDs()


@pytest.mark.slow
def test_loaded_result_follows_its_volume_before_anyone_opens_the_panel(
    panel: EmphysemaPanel, chest: Any, partner: Any, app: Any, tmp_path: Path
) -> None:
    compute(panel)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    panel.cleanup()
    slicer.mrmlScene.Clear(0)
    watch = watchViews()  # all that runs from the start of the application
    slicer.util.loadScene(path)
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    (_scan, own), (synthetic, second) = displays(segmentation)
    slicer.util.setSliceViewerLayers(background=synthetic)
    assert (own.GetVisibility2D(), second.GetVisibility2D()) == (0, 1)
    watch.stop()


@pytest.mark.slow
def test_each_view_previews_its_own_volume(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    compute(panel)
    panel.ui.thresholdSlider.value = -940.0
    waitUntil(lambda: panel.preview.shown, "the preview")
    counts = []
    for column in range(2):
        node = slicer.mrmlScene.GetNodeByID(compositeNode(viewName(column, 0)).GetForegroundVolumeID())
        counts.append(int((slicer.util.arrayFromVolume(node) <= node.GetDisplayNode().GetUpperThreshold()).sum()))
    assert counts == [3 * 64, 2 * 64]
    assert "Preview: below -940 HU" in panel.ui.legendLabel.text
    assert "mL" not in panel.ui.legendLabel.text, "the millilitres are those of another threshold"
    panel.ui.swapButton.click()
    node = slicer.mrmlScene.GetNodeByID(compositeNode(viewName(0, 0)).GetForegroundVolumeID())
    assert (slicer.util.arrayFromVolume(node) <= node.GetDisplayNode().GetUpperThreshold()).sum() == 2 * 64
    compositeNode(viewName(0, 0)).SetLinkedControl(False)
    third = addVolumeNode(slicer.util.arrayFromVolume(chest), chest, "Third")
    compositeNode(viewName(0, 0)).SetBackgroundVolumeID(third.GetID())
    assert compositeNode(viewName(0, 0)).GetForegroundVolumeID() is None


@pytest.mark.slow
def test_preview_stays_when_the_views_are_filled_again_and_goes_with_the_overlay(
    panel: EmphysemaPanel, chest: Any, partner: Any
) -> None:
    compute(panel)
    panel.ui.thresholdSlider.value = -940.0
    waitUntil(lambda: panel.preview.shown, "the preview")
    shown = compositeNode(viewName(0, 0)).GetForegroundVolumeID()
    assert shown is not None
    panel.ui.sideBySideButton.click()
    assert compositeNode(viewName(0, 0)).GetForegroundVolumeID() == shown, "the panel still says “Preview at -940 HU”"
    panel.onToggleOverlay()
    assert compositeNode(viewName(0, 0)).GetForegroundVolumeID() is None
    panel.ui.swapButton.click()
    assert compositeNode(viewName(0, 0)).GetForegroundVolumeID() is None
    panel.onToggleOverlay()
    assert compositeNode(viewName(1, 0)).GetForegroundVolumeID() == shown


def test_a_scan_that_lies_elsewhere_is_brought_into_view(panel: EmphysemaPanel, chest: Any) -> None:
    slicer.util.setSliceViewerLayers(background=chest, fit=True)
    red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    red.JumpSliceByCentering(*rasOf(chest, (20.0, 20.0, 5.0)))
    other = addVolumeNode(slicer.util.arrayFromVolume(chest), chest, "Other patient")
    other.SetOrigin(300.0, 200.0, -900.0)
    panel.enter()
    panel._parameters.volume = other
    compute(panel)
    assert ViewPosition.of(red).isIn(other)
    red.JumpSliceByCentering(*rasOf(other, (20.0, 20.0, 5.0)))
    there = red.GetSliceOffset()
    same = addVolumeNode(slicer.util.arrayFromVolume(chest), other, "Same place")
    panel._parameters.volume = same
    compute(panel)
    assert red.GetSliceOffset() == pytest.approx(there), "a place that the next volume has too is kept"


@pytest.mark.slow
def test_a_volume_that_is_chosen_again_has_its_own_result(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    compute(panel)
    first, figures, details = panel._parameters.segmentation, panel.ui.indexLabel.text, panel.ui.detailsLabel.text
    other = addVolumeNode(slicer.util.arrayFromVolume(chest), chest, "Other")
    panel._parameters.volume = other
    assert panel.ui.indexLabel.text == ""
    compute(panel)
    second = panel._parameters.segmentation
    assert "ΔEI" not in panel.ui.indexLabel.text
    panel._parameters.volume = chest
    assert (panel._parameters.segmentation, panel._parameters.comparedVolume) == (first, partner)
    assert (panel.ui.indexLabel.text, panel.ui.detailsLabel.text) == (figures, details)
    assert first.GetDisplayNode().GetVisibility()
    assert not second.GetDisplayNode().GetVisibility()
    assert not panel.export.running
    assert not panel.ui.exportFolderButton.enabled, "the arrays in memory are those of the other volume"
    compute(panel)
    assert panel._parameters.segmentation is first, "no second set of nodes for the same volume"


@pytest.mark.slow
def test_slider_works_after_loading_a_scene(panel: EmphysemaPanel, chest: Any, partner: Any, tmp_path: Path) -> None:
    compute(panel)
    save_and_load(panel, str(tmp_path / "scene.mrb"))
    panel.onShowSideBySide()
    panel.ui.thresholdSlider.value = -940.0
    waitUntil(lambda: panel.preview.shown, "the preview")
    assert "Preview at -940 HU" in panel.ui.statusLabel.text
    node = slicer.mrmlScene.GetNodeByID(compositeNode(viewName(0, 0)).GetForegroundVolumeID())
    assert (slicer.util.arrayFromVolume(node) <= node.GetDisplayNode().GetUpperThreshold()).sum() == 3 * 64


@pytest.mark.slow
def test_3d_shows_translucent_lungs_and_only_kept_emphysema(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    compute(panel)
    panel.ui.show3DCheckBox.checked = True
    segmentation = panel._parameters.segmentation
    waitUntil(lambda: len(surfaceNodes(segmentation)) == 6, "the surfaces")
    assert not segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    models = {node.GetName().rsplit(" ", 2)[-2]: node for node in surfaceNodes(segmentation)[1::2]}
    opacities = [node.GetDisplayNode().GetOpacity() for node in surfaceNodes(segmentation)[1::2]]
    assert opacities == [0.2, 0.2, 1.0]
    kept = models["both"] if "both" in models else surfaceNodes(segmentation)[5]
    bounds = [0.0] * 6
    kept.GetRASBounds(bounds)
    assert bounds[4:] == pytest.approx([4 * 4 - 2, 5 * 4 + 2], abs=0.1)  # slices 4 and 5; slice 3 was removed
    panel.ui.show3DCheckBox.checked = False
    assert not any(node.GetDisplayNode().GetVisibility() for node in surfaceNodes(segmentation)[1::2])


def test_3d_of_a_noisy_full_scan_takes_less_than_two_seconds() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((300, 512, 512), bool)
    mask[40:260, 120:400, 60:220] = rng.random((220, 280, 160)) < 0.06  # 590,000 single noise voxels
    mask[100:140, 200:260, 100:160] = True
    matrix = slicer.vtkMRMLScalarVolumeNode()
    matrix.SetSpacing(0.7, 0.7, 1.0)
    import vtk

    ijkToRas = vtk.vtkMatrix4x4()
    matrix.GetIJKToRASMatrix(ijkToRas)
    started = time.process_time()
    surface = mesh(mask, ijkToRas)
    assert time.process_time() - started < 2.0
    assert surface.GetNumberOfPoints() < 20_000
    assert surface.GetBounds() == pytest.approx((70.0, 112.0, 140.0, 182.0, 100.0, 140.0), abs=CELL_MM)


@pytest.mark.slow
def test_result_is_hidden_until_there_is_one_and_reads_at_a_glance(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    panel.enter()
    section = unwrapped(panel.ui.resultCollapsibleButton)
    assert section.isHidden()
    compute(panel)
    assert not section.isHidden()
    assert panel.ui.indexLabel.text.count("x-large") == 2
    figures = panel.ui.figuresLabel.text
    assert "scan | normalized" in figures
    text = re.sub(r"<[^>]*>", " ", figures).replace("&nbsp;", " ")
    for title in ("EI (%)", "EV (mL)", "TLV (mL)", "Perc15 (HU)", "MLD (HU)", "Both lungs", "Right", "Left"):
        assert title in re.sub(" +", " ", text)
    assert "2.7&nbsp;|&nbsp;1.8" in figures, "EI of the right lung, one decimal"
    panel._parameters.volume = addVolumeNode(slicer.util.arrayFromVolume(chest), chest, "Other")
    assert section.isHidden()


@pytest.mark.slow
def test_everything_fits_a_small_screen_with_the_advanced_choices_collapsed(
    panel: EmphysemaPanel, chest: Any, partner: Any, app: Any
) -> None:
    compute(panel)
    for name in ("advancedCollapsibleButton", "detailsCollapsibleButton"):
        assert getattr(panel.ui, name).collapsed, name
    widget = unwrapped(panel.widget)
    width = 460
    widget.resize(width, 768)
    widget.show()
    app.qapplication.processEvents()
    # Slicer's title bar, menu, tool bar, help section, data probe (collapsed) and status bar take about 200 of 768 pixels.
    for choice in range(panel.ui.overlayComboBox.count):
        panel.ui.overlayComboBox.currentIndex = choice
        app.qapplication.processEvents()
        assert widget.layout().totalHeightForWidth(width) <= 568, "with every legend"
    assert widget.minimumSizeHint().width() <= width


@pytest.mark.slow
def test_both_volumes_set_by_another_module_are_taken(panel: EmphysemaPanel, chest: Any, partner: Any) -> None:
    """As the button “Measure emphysema” of the other module does, while this one is closed."""
    compute(panel)
    panel.exit()
    scan = addVolumeNode(slicer.util.arrayFromVolume(chest), chest, "Second scan")
    other = addVolumeNode(slicer.util.arrayFromVolume(chest), chest, "Its smooth reconstruction")
    node = panel.logic.getParameterNode()
    node.SetNodeReferenceID("volume", scan.GetID())
    node.SetNodeReferenceID("comparedVolume", other.GetID())
    panel.enter()
    assert (panel._parameters.volume, panel._parameters.comparedVolume) == (scan, other)
    assert panel._parameters.segmentation is None, "the former scan's result stays with the former scan"
    compute(panel)
    assert panel.ui.legendLabel.text.count("■") == 4
    panel.ui.overlayComboBox.currentIndex = list(OverlayChoice).index(OverlayChoice.change)
    assert "Only in Second scan" in panel.ui.legendLabel.text


@pytest.mark.slow
def test_former_result_can_be_shown_again_over_its_own_volume(panel: EmphysemaPanel, chest: Any) -> None:
    compute(panel)
    first = panel._parameters.segmentation
    panel._parameters.volume = addVolumeNode(slicer.util.arrayFromVolume(chest), chest, "Other")
    compute(panel)
    first.GetDisplayNode().SetVisibility(True)  # the eye in the Data module
    assert not first.GetDisplayNode().GetVisibility2D(), "no view shows its volume"
    slicer.util.setSliceViewerLayers(background=chest)
    assert first.GetDisplayNode().GetVisibility2D()


def test_figures_of_an_unknown_version_are_read_from_the_table_or_left_out(panel: EmphysemaPanel, chest: Any) -> None:
    compute(panel)
    lines = panel.ui.indexLabel.text
    panel._parameters.headline = '{"other": 1}'
    assert not unwrapped(panel.ui.resultCollapsibleButton).isHidden()
    assert panel.ui.indexLabel.text == lines
    panel._parameters.table = None
    assert unwrapped(panel.ui.resultCollapsibleButton).isHidden()


def test_another_threshold_than_the_usual_one_stands_beside_the_figures(panel: EmphysemaPanel, chest: Any) -> None:
    panel.enter()
    panel._parameters.thresholdHu = -900.0
    compute(panel)
    assert "Threshold -900 HU" in panel.ui.indexLabel.text
    panel.ui.thresholdSlider.value = -950.0
    waitUntil(lambda: panel.preview.shown, "the preview")
    panel.ui.thresholdSlider.value = -900.0
    waitUntil(lambda: not panel.preview.shown, "the end of the preview")
    assert "mL" in panel.ui.legendLabel.text
