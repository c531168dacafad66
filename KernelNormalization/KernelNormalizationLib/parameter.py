"""What the panel remembers; saved and restored with the scene."""

from __future__ import annotations

import enum

from slicer import vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import parameterNodeWrapper


class MethodChoice(enum.Enum):
    """Normalization method; the member's name is the method's name in the core."""

    unet = "UNet (recommended)"
    restored = "Restored linear transfer"
    linear = "Linear kernel transfer"
    bands = "Frequency bands"
    heuristic = "Heuristic filter"

    def label(self) -> str:
        """Text shown to the user."""
        return self.value


class DeviceChoice(enum.Enum):
    """Where the network computes; the member's name is the device's name in the core."""

    auto = "Automatic"
    cuda = "NVIDIA GPU (CUDA)"
    mps = "Apple GPU (MPS)"
    cpu = "CPU"

    def label(self) -> str:
        """Text shown to the user."""
        return self.value


@parameterNodeWrapper
class NormalizationParameters:
    """Choices of the Kernel Normalization panel.

    Attributes:
        inputVolume: the volume to normalize.
        resultVolume: the newest synthetic volume made from it in this panel.
        method: how to normalize.
        device: where to compute.
        model: identifier or folder of the model; empty for the default one.
        showDifference: whether the side-by-side layout has the difference as a third view.
        twoRows: whether the layout shows coronal views below the axial ones.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    resultVolume: vtkMRMLScalarVolumeNode
    method: MethodChoice = MethodChoice.unet
    device: DeviceChoice = DeviceChoice.auto
    model: str = ""
    showDifference: bool = False
    twoRows: bool = False
