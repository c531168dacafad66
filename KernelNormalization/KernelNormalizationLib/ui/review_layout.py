"""Side-by-side layouts of two volumes, such as a scan and its synthetic partner, linked in scroll, zoom and window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk

from ..core.imaging.appearance import DIFFERENCE_HU
from ..mrml.color_tables import Color, colorTable
from ..mrml.volumes import addVolumeNode, voxelImage
from .view_position import ViewPosition, shownPosition
from .view_texts import BACKDROP_OPACITY, ViewTexts
from .view_titles import DIFFERENCE_ATTRIBUTE, LONGEST_TITLE, ViewTitles

VIEW_GROUP = 5600
LAYOUT_IDS = {(2, 1): 5601, (3, 1): 5602, (2, 2): 5603, (3, 2): 5604}
# Places on screen; any volume can be shown in any of them, and the title above the view names it.
COLUMNS = ("Left", "Right", "Third")
ROWS = ("Axial", "Coronal")


def viewName(column: int, row: int) -> str:
    """Singleton tag of a slice view, such as ``LeftAxial``; Slicer's data probe shows it."""
    return f"{COLUMNS[column]}{ROWS[row]}"


def layoutXml(columns: int, rows: int) -> str:
    """Slicer's layout description of a grid of slice views."""
    return '<layout type="vertical">' + "".join(f"<item>{_rowXml(columns, row)}</item>" for row in range(rows)) + "</layout>"


def _rowXml(columns: int, row: int) -> str:
    items = []
    for column in range(columns):
        items.append(
            f'<item><view class="vtkMRMLSliceNode" singletontag="{viewName(column, row)}">'
            f'<property name="orientation" action="default">{ROWS[row]}</property>'
            f'<property name="viewlabel" action="default">{COLUMNS[column]}</property>'
            f'<property name="viewcolor" action="default">#808080</property>'
            f'<property name="viewgroup" action="default">{VIEW_GROUP}</property></view></item>'
        )
    return '<layout type="horizontal">' + "".join(items) + "</layout>"


def registerLayouts() -> None:
    """Describe the layouts of this file to Slicer, which shows no views at all for a layout that it does not know.

    Called when the application has started: a scene that was saved in one of these layouts may be loaded before any panel is
    opened.
    """
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    layoutNode = manager.layoutLogic().GetLayoutNode()
    for (columns, rows), layoutId in LAYOUT_IDS.items():
        if not layoutNode.IsLayoutDescription(layoutId):
            layoutNode.AddLayoutDescription(layoutId, layoutXml(columns, rows))


class ReviewLayout:
    """Shows a pair of volumes side by side and restores the user's layout afterwards."""

    def __init__(self) -> None:
        self._userLayout: int | None = None
        self._otherLayout: int | None = None
        self._windowLink: WindowLink | None = None
        self._titles = ViewTitles()
        self._positions: dict[int, ViewPosition] = {}  # of each row
        self._sizes: dict[str, tuple[int, ...]] = {}  # pixels of each view when it was fitted
        self._texts = ViewTexts()

    @property
    def active(self) -> bool:
        """Whether one of our layouts is on screen."""
        manager = slicer.app.layoutManager()
        return manager is not None and manager.layout in LAYOUT_IDS.values()

    def show(self, left: Any, right: Any, difference: Any | None = None, twoRows: bool = False) -> bool:
        """Switch to the side-by-side layout; ``False`` if the application has no views (``--no-main-window``).

        Slice position, centre and zoom of the previous views are kept.
        """
        manager = slicer.app.layoutManager()
        if manager is None:
            return False
        columns, rows = (2 if difference is None else 3), (2 if twoRows else 1)
        registerLayouts()
        if not self._onLoan:
            self._userLayout = manager.layout
        looked = {row: shownPosition(ROWS[row], left, viewName(0, row)) for row in range(rows)}
        self._positions = {row: position for row, position in looked.items() if position is not None}
        manager.setLayout(LAYOUT_IDS[columns, rows])
        self._fill([left, right, difference][:columns], rows)
        if difference is not None:
            _addColorLegend(difference)
        self._label(columns)
        self.unlinkWindows()
        self._windowLink = WindowLink(left.GetDisplayNode(), right.GetDisplayNode())
        return True

    def resume(self) -> None:
        """Update titles and texts from now on if this layout is already on screen, as after loading a scene."""
        if self.active:
            shown = slicer.app.layoutManager().layout
            self._label(next(columns for (columns, _rows), layoutId in LAYOUT_IDS.items() if layoutId == shown))

    def _label(self, columns: int) -> None:
        self._titles.follow(_allViewNames(), LONGEST_TITLE[columns])
        self._texts.show(_allViewNames())

    def showOther(self, switch: Callable[[], None]) -> None:
        """Let ``switch`` show another layout, such as one with a plot; the user's layout can be restored from it too."""
        manager = slicer.app.layoutManager()
        before, onLoan = (manager.layout if manager is not None else None), self._onLoan
        switch()
        if manager is not None and manager.layout != before:
            if not onLoan:
                self._userLayout = before
            self._otherLayout = manager.layout

    def restore(self) -> None:
        """Restore the user's layout if a layout of this class is on screen."""
        self.unlinkWindows()
        self._titles.stop()
        self._texts.remove()
        if self._onLoan:
            # A scene saved with this layout on screen does not contain the layout before it.
            usual = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
            slicer.app.layoutManager().setLayout(usual if self._userLayout is None else self._userLayout)
        self._userLayout = self._otherLayout = None

    @property
    def _onLoan(self) -> bool:
        manager = slicer.app.layoutManager()
        return self.active or (manager is not None and manager.layout == self._otherLayout)

    def unlinkWindows(self) -> None:
        """Stop copying window and level from one volume to the other."""
        if self._windowLink is not None:
            self._windowLink.remove()
            self._windowLink = None

    def fit(self) -> None:
        """Show the position of the previous views, or fit the volumes if nothing was shown before."""
        self._fitOnly(_allViewNames())

    def fitResized(self) -> None:
        """Fit the views that were laid out after :meth:`fit`; those that kept their size are left as the user has them now."""
        nodes = {name: slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}") for name in self._sizes}
        resized = [name for name, node in nodes.items() if node is not None and _sizeOf(node) != self._sizes[name]]
        self._fitOnly(resized)

    def _fitOnly(self, names: list[str]) -> None:
        logic = slicer.app.applicationLogic()
        for name in names if self.active else []:
            sliceNode = slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}")
            sliceLogic = logic.GetSliceLogic(sliceNode) if sliceNode is not None else None
            if sliceLogic is not None:
                sliceLogic.FitSliceToAll()
                self._sizes[name] = _sizeOf(sliceNode)
                row = next(row for row, plane in enumerate(ROWS) if name.endswith(plane))
                if row in self._positions:
                    self._positions[row].applyTo(sliceNode)

    def _fill(self, volumes: list[Any], rows: int) -> None:
        shown = {viewName(column, row): volume for row in range(rows) for column, volume in enumerate(volumes)}
        composites = [(compositeNode(name), volume) for name, volume in shown.items()]
        # A linked view would pass its new background on to all others, so views are linked after each has its background.
        for composite, _ in composites:
            if composite is not None:
                composite.SetLinkedControl(False)
        for composite, volume in composites:
            if composite is not None:
                composite.SetForegroundVolumeID(None)
                composite.SetLabelVolumeID(None)
                composite.SetBackgroundVolumeID(volume.GetID())
        self.fit()
        for composite, _ in composites:
            if composite is not None:
                composite.SetLinkedControl(True)
                composite.SetHotLinkedControl(True)


class WindowLink:
    """Keeps window and level of two volume display nodes equal, whichever the user changes."""

    def __init__(self, first: Any, second: Any) -> None:
        self._nodes = [first, second]
        self._tags = [node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._changed) for node in self._nodes if node is not None]

    def remove(self) -> None:
        """Stop observing."""
        for node, tag in zip(self._nodes, self._tags, strict=False):
            if node is not None:
                node.RemoveObserver(tag)
        self._nodes, self._tags = [], []

    def _changed(self, caller: Any, _event: Any) -> None:
        for node in self._nodes:
            if (
                node is not None
                and node is not caller
                and (node.GetWindow(), node.GetLevel())
                != (
                    caller.GetWindow(),
                    caller.GetLevel(),
                )
            ):
                # Both values in one step: a notification after the first would copy the old window back.
                wasModified = node.StartModify()
                node.SetAutoWindowLevel(0)
                node.SetWindowLevel(caller.GetWindow(), caller.GetLevel())
                node.EndModify(wasModified)


def _sizeOf(sliceNode: Any) -> tuple[int, ...]:
    return tuple(sliceNode.GetDimensions()[:2])


def _allViewNames() -> list[str]:
    return [viewName(column, row) for row in range(len(ROWS)) for column in range(len(COLUMNS))]


def compositeNode(layoutName: str) -> Any | None:
    """The slice composite node of a view, if the view exists."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return next((node for node in nodes if node.GetLayoutName() == layoutName), None)


def existingDifference(sharp: Any, synthetic: Any) -> Any | None:
    """The difference volume of this pair, if it exists and both volumes are unchanged."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        pair = (node.GetNodeReference("sharp"), node.GetNodeReference("synthetic"))
        if node.GetAttribute(DIFFERENCE_ATTRIBUTE) == "true" and pair == (sharp, synthetic):
            return node
    return None


def voxelDifference(sharp: Any, synthetic: Any) -> Callable[[], Any]:
    """Reads the references to the voxels now; the returned function subtracts them (HU) and may run in a thread."""
    minuend, subtrahend = slicer.util.arrayFromVolume(synthetic), slicer.util.arrayFromVolume(sharp)
    return lambda: voxelImage(np.subtract(minuend, subtrahend, dtype=np.float32))


def addDifference(voxels: Any, sharp: Any, synthetic: Any) -> Any:
    """The volume synthetic minus sharp (HU) in diverging colours, hidden from selectors.

    Args:
        voxels: what the function of :func:`voxelDifference` gave.
        sharp: original volume node.
        synthetic: its synthetic partner.
    """
    node = addVolumeNode(voxels, sharp, f"{synthetic.GetName()} minus {sharp.GetName()} (HU)")
    node.SetAttribute(DIFFERENCE_ATTRIBUTE, "true")
    node.SetNodeReferenceID("sharp", sharp.GetID())
    node.SetNodeReferenceID("synthetic", synthetic.GetID())
    node.SetHideFromEditors(True)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(colorTable("HU difference", _divergingColors()).GetID())
    display.SetWindowLevelMinMax(-DIFFERENCE_HU, DIFFERENCE_HU)
    return node


def _addColorLegend(difference: Any) -> None:
    """A bar in the views that show ``difference``: which colour means how many HU.

    Views only notice legends that are added while the views exist, so the legend is created again for new views.
    """
    colors = slicer.modules.colors.logic()
    former = colors.GetColorLegendDisplayNode(difference)
    if former is not None:
        slicer.mrmlScene.RemoveNode(former)
    legend = colors.AddDefaultColorLegendDisplayNode(difference)
    legend.SetTitleText("HU")
    legend.SetLabelFormat("%+.0f")
    legend.SetUseColorNamesForLabels(False)
    legend.SetNumberOfLabels(5)
    legend.SetMaxNumberOfColors(256)
    legend.SetSize(0.12, 0.34)  # below the letter of the patient side
    legend.SetPosition(0.95, 0.08)
    for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
        # readable on unchanged HU, which are white, and beside the image, where the view is black
        text.SetColor(1.0, 1.0, 1.0)
        text.SetBackgroundColor(0.0, 0.0, 0.0)
        text.SetBackgroundOpacity(BACKDROP_OPACITY)
        text.SetFontSize(14)
        text.ShadowOff()
        text.BoldOn()


def _divergingColors() -> list[Color]:
    """Blue for lowered, white for equal, red for raised HU."""
    colors: list[Color] = []
    for index in range(256):
        share = (index - 127.5) / 127.5
        fade = 1.0 - abs(share)
        red, green, blue = (1.0, fade, fade) if share > 0 else (fade, fade, 1.0)
        colors.append((f"{share * DIFFERENCE_HU:.0f} HU", red, green, blue))
    return colors
