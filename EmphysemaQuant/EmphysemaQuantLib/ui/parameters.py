"""The panel's parameters, saved and restored with the scene."""

from __future__ import annotations

from typing import Annotated

from slicer import (
    vtkMRMLPlotChartNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTableNode,
)
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from KernelNormalizationLib.ui.labelled_choice import LabelledChoice

from ..core.indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU, THRESHOLD_RANGE_HU


class OverlayChoice(LabelledChoice):
    """What the slice views draw."""

    own = "Each view: its own emphysema"
    change = "Change between the volumes"


class LabelChoice(LabelledChoice):
    """Meaning of the numbers of a mask from another program; all but the first are values of ``--mask-labels``."""

    automatic = "Automatic: by name, or by position in the scan"
    lungmask = "lungmask: 1 right, 2 left, 3 airways"
    left_right = "left-right: 1 left, 2 right, 3 airways"
    lungmask_lobes = "lungmask-lobes: 1 LUL, 2 LLL, 3 RUL, 4 RML, 5 RLL"
    lobes_right_first = "lobes-right-first: 1 RUL, 2 RML, 3 RLL, 4 LUL, 5 LLL"
    totalsegmentator = "totalsegmentator: lobes 10 to 14, trachea 16"
    totalsegmentator_v1 = "totalsegmentator-v1: lobes 13 to 17, trachea 43"
    cip = "cip: 2 right, 3 left"
    cip_lobes = "cip-lobes: lobes 4 to 8"
    cip_thirds = "cip-thirds: left thirds 9 to 11, right thirds 12 to 14"
    luna16 = "luna16: 4 right, 3 left, 5 trachea"
    binary = "binary: one number, both lungs"

    @property
    def scheme(self) -> str | None:
        """Name of the numbering; ``None`` for automatic."""
        return None if self is LabelChoice.automatic else self.name.replace("_", "-")


@parameterNodeWrapper
class EmphysemaParameters:
    """Choices and results of the Emphysema Quantification panel.

    Attributes:
        volume: the volume to measure.
        comparedVolume: a second volume on the same grid, if any.
        maskSegmentation: segmentation whose lungs are used; none makes the lung mask automatically.
        maskLabels: what the numbers of that mask mean.
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
    maskLabels: LabelChoice = LabelChoice.automatic
    thresholdHu: Annotated[float, WithinRange(*THRESHOLD_RANGE_HU)] = EMPHYSEMA_THRESHOLD_HU
    showOverlay: bool = True
    overlay: OverlayChoice = OverlayChoice.own
    overlayOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 1.0
    show3D: bool = False
    segmentation: vtkMRMLSegmentationNode
    table: vtkMRMLTableNode
    chart: vtkMRMLPlotChartNode
    summary: str = ""
    headline: str = ""
