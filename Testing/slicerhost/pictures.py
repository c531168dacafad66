"""Draws the slice views of the current layout offscreen, with the real displayable managers."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from .application import Application

MANAGERS = ("vtkMRMLVolumeGlyphSliceDisplayableManager", "vtkMRMLSegmentationsDisplayableManager2D")
Picture = NDArray[np.uint8]


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

    def caption(self) -> str:
        """The view's label and how its volume is shown."""
        display = slicer.mrmlScene.GetNodeByID(self.logic.GetSliceCompositeNode().GetBackgroundVolumeID()).GetDisplayNode()
        low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
        return f"{self.node.GetLayoutLabel()}, {low:.0f} to {high:.0f} HU"

    def sides(self) -> tuple[str, str]:
        """Patient directions (R, L, A, P, S, I) at the left and right border of the picture."""
        matrix = self.node.GetXYToRAS()
        axis = [matrix.GetElement(row, 0) for row in range(3)]
        largest = int(np.argmax(np.abs(axis)))
        names = (("L", "R"), ("P", "A"), ("I", "S"))[largest]
        return names if axis[largest] > 0 else names[::-1]


def side_by_side(app: Application, names: list[list[str]], size: tuple[int, int] = (520, 420)) -> Picture:
    """Rows of views as one picture, each with its label and its patient sides."""
    from PIL import Image, ImageDraw

    width, height = size
    sheet = Image.new("RGB", (width * len(names[0]), height * len(names)))
    draw = ImageDraw.Draw(sheet)
    for row, entries in enumerate(names):
        for column, name in enumerate(entries):
            view = SlicePicture(app, name, size)
            left, top = column * width, row * height
            sheet.paste(Image.fromarray(view.render()), (left, top))
            first, second = view.sides()
            for text, x, y, color in (
                (view.caption(), left + 8, top + 6, "#ffd866"),
                (first, left + 8, top + height // 2, "#ffffff"),
                (second, left + width - 16, top + height // 2, "#ffffff"),
                ("Research use only", left + 8, top + height - 18, "#ff9d80"),
            ):
                draw.text((x, y), text, fill=color, stroke_width=2, stroke_fill="#000000")
    return np.asarray(sheet)
