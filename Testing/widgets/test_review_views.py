"""The side-by-side views: titled by what they show, and looking where the views before them looked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer

from slicerhost import application

application.start()

from KernelNormalizationLib.core.imaging.appearance import DIFFERENCE_HU, ORIGINAL, SYNTHETIC  # noqa: E402
from KernelNormalizationLib.mrml import provenance  # noqa: E402
from KernelNormalizationLib.mrml.volumes import addVolumeNode  # noqa: E402
from KernelNormalizationLib.ui.review_layout import (  # noqa: E402
    ReviewLayout,
    addDifference,
    compositeNode,
    viewName,
    voxelDifference,
)
from KernelNormalizationLib.ui.view_titles import DIFFERENCE_COLOR  # noqa: E402


@pytest.fixture
def scan(app: Any) -> Any:
    voxels = np.zeros((40, 60, 80), np.float32)
    node = slicer.util.addVolumeFromArray(voxels, ijkToRAS=np.diag([-2, -2, 3, 1]), name="Chest B70f")
    node.CreateDefaultDisplayNodes()
    return node


@pytest.fixture
def partner(scan: Any) -> Any:
    node = addVolumeNode(slicer.util.arrayFromVolume(scan) - 20.0, scan, "Chest B70f B20f (synthetic)")
    node.SetAttribute(provenance.SYNTHETIC, "true")
    node.SetNodeReferenceID(provenance.INPUT_REFERENCE_ROLE, scan.GetID())
    return node


@pytest.fixture
def review(app: Any) -> Any:
    made = ReviewLayout()
    yield made
    made.restore()


def view(name: str) -> Any:
    return slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}")


def titles(columns: int = 2) -> list[str]:
    return [view(viewName(column, 0)).GetLayoutLabel() for column in range(columns)]


def colors(columns: int = 2) -> list[Any]:
    return [pytest.approx(view(viewName(column, 0)).GetLayoutColor(), abs=0.01) for column in range(columns)]


def test_pair_is_titled_by_what_each_view_shows(review: ReviewLayout, scan: Any, partner: Any) -> None:
    review.show(scan, partner)
    assert titles() == ["Original: Chest B70f", "Synthetic: Chest B70f B20f"]
    assert colors() == [ORIGINAL, SYNTHETIC]


def test_reversed_pair_is_titled_in_reverse(review: ReviewLayout, scan: Any, partner: Any) -> None:
    review.show(scan, partner)
    review.show(partner, scan)
    assert titles() == ["Synthetic: Chest B70f B20f", "Original: Chest B70f"]
    assert colors() == [SYNTHETIC, ORIGINAL]


def test_two_real_volumes_are_both_originals(review: ReviewLayout, scan: Any) -> None:
    smooth = addVolumeNode(slicer.util.arrayFromVolume(scan), scan, "Chest B20f")
    review.show(scan, smooth)
    assert titles() == ["Original: Chest B70f", "Original: Chest B20f"]
    assert colors() == [ORIGINAL, ORIGINAL]


def test_title_follows_a_volume_put_there_by_the_user(review: ReviewLayout, scan: Any, partner: Any) -> None:
    review.show(scan, partner)
    compositeNode(viewName(0, 0)).SetLinkedControl(False)
    compositeNode(viewName(0, 0)).SetBackgroundVolumeID(partner.GetID())
    assert titles() == ["Synthetic: Chest B70f B20f"] * 2
    compositeNode(viewName(0, 0)).SetBackgroundVolumeID(None)
    assert titles()[0] == "Empty"


def test_long_names_keep_both_ends(review: ReviewLayout, scan: Any) -> None:
    scan.SetName("5: Thorax native 1.0 mm, inspiration, kernel B70f")
    review.show(scan, scan)
    assert titles()[0] == "Original: 5: Thorax na…kernel B70f"


def test_titles_leave_room_for_all_views_beside_the_panel(review: ReviewLayout, scan: Any, partner: Any) -> None:
    for node in (scan, partner):
        node.SetName(f"5: Thorax native 1.0 mm, inspiration, {node.GetName()}")
    review.show(scan, partner)
    assert max(map(len, titles())) <= 34
    review.show(scan, partner, addDifference(voxelDifference(scan, partner)(), scan, partner))
    assert titles(3) == ["Original", "Synthetic", "Difference (HU)"]
    again = ReviewLayout()  # as after loading a scene
    again.resume()
    assert titles(3) == ["Original", "Synthetic", "Difference (HU)"]
    again.restore()


def test_difference_has_a_title_and_a_colour_legend_in_hu(review: ReviewLayout, scan: Any, partner: Any) -> None:
    difference = addDifference(voxelDifference(scan, partner)(), scan, partner)
    review.show(scan, partner, difference)
    assert titles(3)[2] == "Difference (HU)"
    assert colors(3)[2] == DIFFERENCE_COLOR
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(difference)
    assert (legend.GetTitleText(), legend.GetLabelFormat() % -150.0) == ("HU", "-150")
    assert legend.GetVisibility()
    for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
        assert (text.GetColor(), text.GetBackgroundColor()) == ((1.0,) * 3, (0.0,) * 3), "on the white of 0 HU as on black"
        assert text.GetBackgroundOpacity() > 0.5
    shown = difference.GetDisplayNode()
    assert (shown.GetWindowLevelMin(), shown.GetWindowLevelMax()) == (-DIFFERENCE_HU, DIFFERENCE_HU)


def test_data_probe_reads_a_place_and_not_a_content(review: ReviewLayout, scan: Any, partner: Any) -> None:
    review.show(scan, partner)
    assert [compositeNode(viewName(column, 0)).GetLayoutName() for column in range(2)] == ["LeftAxial", "RightAxial"]


def look(sliceNode: Any, centre: tuple[float, float, float], millimetres: float) -> None:
    width, height = sliceNode.GetDimensions()[:2]
    sliceNode.JumpSliceByCentering(*centre)
    sliceNode.SetFieldOfView(*(millimetres * size / min(width, height) for size in (width, height)), 1.0)


def assert_looks(name: str, centre: tuple[float, float, float], millimetres: float) -> None:
    node = view(name)
    at = node.GetSliceToRAS().MultiplyPoint([*node.GetXYZOrigin(), 1.0])[:3]
    assert at == pytest.approx(centre, abs=0.1), name
    assert node.GetSliceOffset() == pytest.approx(centre[2], abs=0.1)
    assert min(node.GetFieldOfView()[:2]) == pytest.approx(millimetres, abs=0.1)


def test_slice_centre_and_zoom_stay_from_layout_to_layout(review: ReviewLayout, scan: Any, partner: Any) -> None:
    spot = (-100.0, -30.0, 45.0)
    slicer.util.setSliceViewerLayers(background=scan)
    look(view("Red"), spot, 40.0)
    review.show(scan, partner)
    review.fit()
    assert_looks("LeftAxial", spot, 40.0)
    assert_looks("RightAxial", spot, 40.0)
    other = (-60.0, -50.0, 30.0)
    for column in range(2):
        look(view(viewName(column, 0)), other, 25.0)
    review.show(partner, scan)  # swapped
    review.fit()
    assert_looks("LeftAxial", other, 25.0)
    difference = addDifference(voxelDifference(scan, partner)(), scan, partner)
    review.show(scan, partner, difference, twoRows=True)
    review.fit()
    for column in range(3):
        assert_looks(viewName(column, 0), other, 25.0)


def test_views_that_get_their_size_late_keep_the_place_and_others_stay_as_they_are(
    review: ReviewLayout, scan: Any, partner: Any, app: Any
) -> None:
    spot, moved = (-100.0, -30.0, 45.0), (-60.0, -50.0, 30.0)
    slicer.util.setSliceViewerLayers(background=scan)
    look(view("Red"), spot, 40.0)
    review.show(scan, partner)
    review.fit()
    app.layout_manager.slice_logic("LeftAxial").ResizeSliceNode(613, 347)
    look(view("RightAxial"), moved, 25.0)
    review.fitResized()
    assert_looks("LeftAxial", spot, 40.0)
    assert_looks("RightAxial", moved, 25.0)


def test_views_that_showed_nothing_are_not_copied(review: ReviewLayout, scan: Any, partner: Any) -> None:
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(None)
    look(view("Red"), (-100.0, -30.0, 45.0), 40.0)
    review.show(scan, partner)
    review.fit()
    assert min(view("LeftAxial").GetFieldOfView()[:2]) > 100.0


def test_layout_that_came_with_a_scene_is_left_too(review: ReviewLayout, scan: Any, partner: Any, app: Any) -> None:
    review.show(scan, partner)
    again = ReviewLayout()  # of a panel that did not see the switch
    again.resume()
    compositeNode(viewName(0, 0)).SetLinkedControl(False)
    compositeNode(viewName(0, 0)).SetBackgroundVolumeID(partner.GetID())
    assert titles() == ["Synthetic: Chest B70f B20f"] * 2
    again.restore()
    assert app.layout_manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
