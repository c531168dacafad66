"""What the panel remembers; saved and restored with the scene."""

from __future__ import annotations

import enum
from typing import Annotated

from slicer import (
    vtkMRMLPlotChartNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTableNode,
)
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


class OverlayChoice(enum.Enum):
    """What the slice views draw."""

    own = "Each view: its own emphysema"
    change = "Change between the volumes"

    def label(self) -> str:
        """Text shown to the user."""
        return self.value


@parameterNodeWrapper
class EmphysemaParameters:
    """Choices and results of the Emphysema Quantification panel.

    Attributes:
        volume: the volume to measure.
        comparedVolume: a second volume on the same grid, if any.
        maskSegmentation: segmentation whose lungs are used; none makes the lung mask automatically.
        thresholdHu: HU below which a lung voxel counts as emphysema.
        showOverlay: whether lungs and emphysema are drawn in slice views.
        overlay: whose emphysema is drawn.
        overlayOpacity: 0 to 1.
        show3D: whether the surfaces are shown in 3D views.
        segmentation: where the masks were written.
        table: where the indices were written.
        chart: where the histogram was written.
        summary: report of the newest measurement, one line of text.
        headline: figures and legend of the newest measurement, one line of text.
    """

    volume: vtkMRMLScalarVolumeNode
    comparedVolume: vtkMRMLScalarVolumeNode
    maskSegmentation: vtkMRMLSegmentationNode
    thresholdHu: Annotated[float, WithinRange(-1000.0, -800.0)] = -950.0
    showOverlay: bool = True
    overlay: OverlayChoice = OverlayChoice.own
    overlayOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 1.0
    show3D: bool = False
    segmentation: vtkMRMLSegmentationNode
    table: vtkMRMLTableNode
    chart: vtkMRMLPlotChartNode
    summary: str = ""
    headline: str = ""
