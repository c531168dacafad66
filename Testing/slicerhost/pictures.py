"""Draws the slice views of the current layout offscreen, with the real displayable managers."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from .application import Application

MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLColorLegendDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
)
Picture = NDArray[np.uint8]
TITLE_HEIGHT = 18  # pixels


class SlicePicture:
    """One slice view in an offscreen window.

    Args:
        app: the application.
        layout_name: singleton tag of a slice view of the current layout.
        size: width and height, pixels.
    """

    def __init__(self, app: Application, layout_name: str, size: tuple[int, int]) -> None:
        self.logic = app.layout_manager.slice_logic(layout_name)
        self.node = self.logic.GetSliceNode()
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(*size)
        self._renderer = vtk.vtkRenderer()
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(self._actor)
        view = app.layout_manager.slice_view(layout_name)
        # Copies: an actor that is drawn in two windows crashes when the second one goes.
        for prop in (view.annotation, *view.renderer.GetViewProps()):
            self._renderer.AddViewProp(_copy(prop))
        self._group = self._managers(app)
        self.logic.ResizeSliceNode(*size)
        self.logic.FitSliceToAll()

    def _managers(self, app: Application) -> Any:
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(app.host.application_logic)
        for name in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        group = slicer.vtkMRMLDisplayableManagerGroup()
        group.SetRenderer(self._renderer)
        group.Initialize(factory, self._renderer)
        group.SetMRMLDisplayableNode(self.node)
        # A view is drawn long after the legend came, and its manager looks at legends only when they come.
        for legend in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode"):
            slicer.mrmlScene.InvokeEvent(slicer.vtkMRMLScene.NodeAddedEvent, legend)
        return group

    def render(self) -> Picture:
        """The view as uint8 (rows, columns, RGB), top row first."""
        connection = self.logic.GetImageDataConnection()
        self._mapper.SetInputConnection(connection)
        self._actor.SetVisibility(connection is not None)
        self._window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self._window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        image = grabber.GetOutput()
        columns, rows, _ = image.GetDimensions()
        pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)
        return np.ascontiguousarray(pixels[::-1, :, :3])

    def pixel_of(self, ras: tuple[float, float, float]) -> tuple[int, int]:
        """(row, column) of the picture where a RAS position (mm) lies."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), inverse)
        x, y, _, _ = inverse.MultiplyPoint([*ras, 1.0])
        return round(self._window.GetSize()[1] - 1 - y), round(x)

    def sides(self) -> tuple[str, str]:
        """Patient directions (R, L, A, P, S, I) at the left and right border of the picture."""
        matrix = self.node.GetXYToRAS()
        axis = [matrix.GetElement(row, 0) for row in range(3)]
        largest = int(np.argmax(np.abs(axis)))
        names = (("L", "R"), ("P", "A"), ("I", "S"))[largest]
        return names if axis[largest] > 0 else names[::-1]


def _copy(text: Any) -> Any:
    """A corner annotation or text actor like ``text``."""
    copy = text.NewInstance()
    copy.GetTextProperty().ShallowCopy(text.GetTextProperty())
    if copy.IsA("vtkCornerAnnotation"):
        copy.SetMaximumLineHeight(text.GetMaximumLineHeight())
        for place in range(8):
            copy.SetText(place, text.GetText(place) or "")
        return copy
    copy.SetInput(text.GetInput())
    place = text.GetPositionCoordinate()
    copy.GetPositionCoordinate().SetCoordinateSystem(place.GetCoordinateSystem())
    copy.GetPositionCoordinate().SetValue(*place.GetValue())
    return copy


def side_by_side(app: Application, names: list[list[str]], size: tuple[int, int] = (520, 420)) -> Picture:
    """Rows of views as one picture, each with the texts that it has in the application, and no others.

    Above each stands the title of its controller bar, in the bar's colour.
    """
    rows = [np.concatenate([_with_title(SlicePicture(app, name, size)) for name in entries], axis=1) for entries in names]
    return np.concatenate(rows, axis=0)


def _with_title(view: SlicePicture) -> Picture:
    from PIL import Image, ImageDraw

    picture = view.render()
    color = tuple(round(255 * share) for share in view.node.GetLayoutColor())
    bar = Image.new("RGB", (picture.shape[1], TITLE_HEIGHT), color)
    ImageDraw.Draw(bar).text((8, 3), view.node.GetLayoutLabel(), fill="#ffffff", stroke_width=1, stroke_fill="#000000")
    return np.concatenate([np.asarray(bar), picture], axis=0)
