"""What is written into the review's slice views, and that it is true, kept up to date and taken away again."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from normalizationpanel import PanelMaker, chest, make_panel, press_and_wait
from observers import observers

from KernelNormalizationLib.ui.review_layout import ReviewLayout, addDifference, viewName
from KernelNormalizationLib.ui.view_texts import LEFT_EDGE, RIGHT_EDGE, UPPER_EDGE
from slicerhost.pictures import SlicePicture

__all__ = ["chest", "make_panel"]


def texts(app: Any, name: str) -> tuple[str, ...]:
    annotation = app.layout_manager.slice_view(name).annotation
    return tuple(annotation.GetText(place) or "" for place in (LEFT_EDGE, RIGHT_EDGE, UPPER_EDGE))


def own_actors(app: Any, name: str) -> list[str]:
    return [prop.GetInput() for prop in app.layout_manager.slice_view(name).renderer.GetViewProps()]


def test_views_tell_patient_sides_window_and_research_use(make_panel: PanelMaker, chest: Any, app: Any) -> None:
    panel = make_panel()
    press_and_wait(panel)
    panel.ui.twoRowsCheckBox.checked = True
    chest.GetDisplayNode().SetAutoWindowLevel(0)
    chest.GetDisplayNode().SetWindowLevel(1500.0, -600.0)
    for column in range(2):
        assert texts(app, viewName(column, 0)) == ("R", "L", "-1350 to 150 HU (W 1500 L -600)")
        assert texts(app, viewName(column, 1))[:2] == ("R", "L")
        assert own_actors(app, viewName(column, 0)) == ["Research use only"]


def test_texts_follow_window_orientation_and_volume(chest: Any, app: Any) -> None:
    other = slicer.util.addVolumeFromArray(slicer.util.arrayFromVolume(chest), name="Other")
    other.CreateDefaultDisplayNodes()
    review = ReviewLayout()
    review.show(chest, other)
    node = app.layout_manager.slice_logic(viewName(0, 0)).GetSliceNode()
    chest.GetDisplayNode().SetAutoWindowLevel(0)
    chest.GetDisplayNode().SetWindowLevel(400.0, 40.0)
    assert texts(app, viewName(0, 0))[2] == "-160 to 240 HU (W 400 L 40)"
    node.SetOrientation("Sagittal")
    assert texts(app, viewName(0, 0))[:2] == ("A", "P")
    node.SetOrientation("Axial")
    composite = app.layout_manager.slice_logic(viewName(0, 0)).GetSliceCompositeNode()
    composite.SetLinkedControl(False)
    composite.SetBackgroundVolumeID(None)
    assert texts(app, viewName(0, 0)) == ("", "", "")
    review.restore()


def test_texts_and_their_observers_go_with_the_layout(chest: Any, app: Any) -> None:
    other = slicer.util.addVolumeFromArray(slicer.util.arrayFromVolume(chest), name="Other")
    other.CreateDefaultDisplayNodes()
    review = ReviewLayout()
    review.show(chest, other)
    review.restore()
    before = observers()
    for _ in range(3):
        review.show(chest, other)
        review.restore()
    assert observers() == before
    assert texts(app, viewName(0, 0)) == ("", "", "")
    assert own_actors(app, viewName(0, 0)) == []


def test_texts_can_be_removed_after_the_window_is_gone(chest: Any, app: Any) -> None:
    """When Slicer quits, the views go before the module is unloaded."""
    other = slicer.util.addVolumeFromArray(slicer.util.arrayFromVolume(chest), name="Other")
    other.CreateDefaultDisplayNodes()
    review = ReviewLayout()
    review.show(chest, other)
    views = [app.layout_manager.slice_view(viewName(column, 0)) for column in range(2)]
    for view in views:
        view.destroyed = True
    try:
        review.restore()
    finally:
        for view in views:
            view.destroyed = False
    assert own_actors(app, viewName(0, 0)) == []


def test_pictures_show_what_is_in_the_view_and_nothing_else(chest: Any, app: Any) -> None:
    other = slicer.util.addVolumeFromArray(slicer.util.arrayFromVolume(chest), name="Other")
    other.CreateDefaultDisplayNodes()
    review = ReviewLayout()
    review.show(chest, other)
    with_texts = SlicePicture(app, viewName(0, 0), (400, 300)).render().astype(int)
    red = (with_texts[..., 0] - with_texts[..., 1] > 80) & (with_texts[..., 0] > 150)
    assert red[-40:].sum() > 50, "the red line stands at the lower edge"
    review._texts.remove()
    without = SlicePicture(app, viewName(0, 0), (400, 300)).render().astype(int)
    assert not ((without[..., 0] - without[..., 1] > 80) & (without[..., 0] > 150)).any()
    changed = np.abs(with_texts - without).max(axis=2) > 60
    for rows, columns in ((slice(0, 40), slice(100, 300)), (slice(100, 200), slice(0, 40)), (slice(100, 200), slice(360, 400))):
        assert changed[rows, columns].any(), "window line above, patient sides left and right"
    review.restore()


def test_the_cube_leaves_its_corner_to_the_legend_of_a_difference(chest: Any, app: Any) -> None:
    other = slicer.util.addVolumeFromArray(slicer.util.arrayFromVolume(chest), name="Other")
    other.CreateDefaultDisplayNodes()
    review = ReviewLayout()
    review.show(chest, other, addDifference(np.zeros((12, 48, 64), np.float32), chest, other))
    markers = [app.layout_manager.slice_logic(viewName(n, 0)).GetSliceNode().GetOrientationMarkerType() for n in range(3)]
    kinds = slicer.vtkMRMLAbstractViewNode
    assert markers == [kinds.OrientationMarkerTypeCube, kinds.OrientationMarkerTypeCube, kinds.OrientationMarkerTypeNone]
    review.restore()


def test_texts_are_read_on_a_white_picture_too(chest: Any, app: Any) -> None:
    slicer.util.arrayFromVolume(chest)[:] = 3000
    other = slicer.util.addVolumeFromArray(slicer.util.arrayFromVolume(chest), name="Other")
    other.CreateDefaultDisplayNodes()
    review = ReviewLayout()
    for node in (chest, other):
        node.GetDisplayNode().SetAutoWindowLevel(0)
        node.GetDisplayNode().SetWindowLevel(1500.0, -600.0)
    review.show(chest, other)
    picture = SlicePicture(app, viewName(0, 0), (400, 300)).render().astype(int)
    review.restore()
    around_the_letter = picture[135:165, :25]
    assert around_the_letter.min() < 140 < 240 < around_the_letter.max(), "a light letter on a dark ground"
