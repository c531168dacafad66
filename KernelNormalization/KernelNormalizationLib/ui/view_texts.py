"""Texts inside the review's slice views: patient sides, HU window, research use only, orientation marker."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from .view_titles import isDifference

# Places of vtkCornerAnnotation; the four corners (0 to 3) belong to Slicer's Data Probe.
RIGHT_EDGE, LEFT_EDGE, UPPER_EDGE = 5, 6, 7
SIDES = (("L", "R"), ("P", "A"), ("I", "S"))  # patient side at the (low, high) end of each RAS axis
RED = (1.0, 0.38, 0.33)
BACKDROP_OPACITY = 0.75  # black behind white letters, so that they are readable on a difference image, which is mostly white
RESEARCH_USE_FONT_SIZE = 15
RESEARCH_USE_PLACE = (0.5, 0.012)  # fractions of the view's width and height; the Data Probe leaves its lowest line empty


class ViewTexts:
    """Keeps the texts of slice views up to date until they are removed."""

    def __init__(self) -> None:
        self._views: list[_ViewText] = []

    def show(self, names: list[str]) -> None:
        """Write into the views called ``names`` (singleton tags) only; names without a view are skipped."""
        self.remove()
        manager = slicer.app.layoutManager()
        widgets = [manager.sliceWidget(name) for name in names] if manager is not None else []
        self._views = [_ViewText(widget) for widget in widgets if widget is not None]

    def remove(self) -> None:
        """Remove all texts."""
        for view in self._views:
            view.remove()
        self._views = []


# Keep a reference: Python frees an observer that only its node refers to, and the node would then call freed memory.
_observing: set[_ViewText] = set()


class _ViewText:
    def __init__(self, widget: Any) -> None:
        _observing.add(self)
        self._view = widget.sliceView()
        # Kept beside the view: when the application quits, the view may be gone before these texts are removed.
        self._annotation = self._view.cornerAnnotation()
        self._slice, self._composite = self._view.mrmlSliceNode(), widget.mrmlSliceCompositeNode()
        self._display: Any = None
        self._displayTag = 0
        self._tags = [
            (node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._update()))
            for node in (self._slice, self._composite)
        ]
        self._actor = _researchUse()
        self._bareOpacity = self._backdrop(BACKDROP_OPACITY)
        self._renderer = self._view.renderWindow().GetRenderers().GetFirstRenderer()
        self._renderer.AddViewProp(self._actor)
        self._slice.SetOrientationMarkerSize(slicer.vtkMRMLAbstractViewNode.OrientationMarkerSizeSmall)
        self._update()

    def remove(self) -> None:
        _observing.discard(self)
        for node, tag in self._tags:
            node.RemoveObserver(tag)
        self._follow(None)
        self._tags = []
        for place in (RIGHT_EDGE, LEFT_EDGE, UPPER_EDGE):
            self._annotation.SetText(place, "")
        self._backdrop(self._bareOpacity)
        self._renderer.RemoveViewProp(self._actor)
        self._slice.SetOrientationMarkerType(slicer.vtkMRMLAbstractViewNode.OrientationMarkerTypeNone)

    def _backdrop(self, opacity: float) -> float:
        """Put black of this opacity behind the view's own texts; returns the opacity before."""
        style = self._annotation.GetTextProperty()
        before = float(style.GetBackgroundOpacity())
        style.SetBackgroundColor(0.0, 0.0, 0.0)
        style.SetBackgroundOpacity(opacity)
        return before

    def _update(self) -> None:
        volume = slicer.mrmlScene.GetNodeByID(self._composite.GetBackgroundVolumeID() or "")
        self._follow(volume.GetDisplayNode() if volume is not None else None)
        left, right = patientSides(self._slice.GetXYToRAS()) if volume is not None else ("", "")
        self._write({LEFT_EDGE: left, RIGHT_EDGE: right, UPPER_EDGE: windowText(self._display)})
        # A difference has its colour legend in the marker's corner.
        marked = volume is not None and not isDifference(volume)
        kinds = slicer.vtkMRMLAbstractViewNode
        marker = kinds.OrientationMarkerTypeCube if marked else kinds.OrientationMarkerTypeNone
        if self._slice.GetOrientationMarkerType() != marker:
            self._slice.SetOrientationMarkerType(marker)

    def _follow(self, display: Any) -> None:
        if display is self._display:
            return
        if self._display is not None:
            self._display.RemoveObserver(self._displayTag)
        self._display = display
        if display is not None:
            self._displayTag = display.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._update())

    def _write(self, texts: dict[int, str]) -> None:
        changed = {place: text for place, text in texts.items() if (self._annotation.GetText(place) or "") != text}
        for place, text in changed.items():
            self._annotation.SetText(place, text)
        if changed:
            self._view.scheduleRender()


def patientSides(xyToRas: Any) -> tuple[str, str]:
    """Patient sides (R, L, A, P, S, I) at the left and right edge of a view, from its vtkMatrix4x4 of pixels to RAS."""
    axis = [xyToRas.GetElement(row, 0) for row in range(3)]
    largest = int(np.argmax(np.abs(axis)))
    low, high = SIDES[largest]
    return (low, high) if axis[largest] > 0 else (high, low)


def windowText(display: Any) -> str:
    """HU range from black to white of a scalar volume display node, with width and level; empty without one."""
    if display is None or not display.IsA("vtkMRMLScalarVolumeDisplayNode"):
        return ""
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    return _("{low:.0f} to {high:.0f} HU (W {window:.0f} L {level:.0f})").format(
        low=low, high=high, window=display.GetWindow(), level=display.GetLevel()
    )


def _researchUse() -> Any:
    actor = vtk.vtkTextActor()
    actor.SetInput(_("Research use only"))
    style = actor.GetTextProperty()
    style.SetColor(*RED)
    style.SetFontSize(RESEARCH_USE_FONT_SIZE)
    style.SetJustificationToCentered()
    style.SetVerticalJustificationToBottom()
    style.BoldOn()
    style.SetBackgroundColor(0.0, 0.0, 0.0)
    style.SetBackgroundOpacity(BACKDROP_OPACITY)
    place = actor.GetPositionCoordinate()
    place.SetCoordinateSystemToNormalizedViewport()
    place.SetValue(*RESEARCH_USE_PLACE)
    return actor
