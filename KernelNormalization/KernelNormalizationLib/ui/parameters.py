"""The panel's parameters, saved and restored with the scene."""

from __future__ import annotations

from slicer import vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import parameterNodeWrapper

from .labelled_choice import LabelledChoice


class MethodChoice(LabelledChoice):
    """Normalization method; the member's name is the method's name in the core."""

    restored = "Restored linear transfer (recommended)"
    unet = "UNet on the restored transfer"
    linear = "Linear kernel transfer"
    bands = "Frequency bands"
    heuristic = "Heuristic filter"


class DeviceChoice(LabelledChoice):
    """Where the network computes; the member's name is the device's name in the core."""

    auto = "Automatic"
    cuda = "NVIDIA GPU (CUDA)"
    mps = "Apple GPU (MPS)"
    cpu = "CPU"


class KernelChoice(LabelledChoice):
    """Kernel of the scan; the member's name is passed to the core."""

    header = "As in the header"
    B50f = "B50f"
    B60f = "B60f"
    B70f = "B70f"
    B75f = "B75f (between B70f and B80f)"
    B80f = "B80f"
    noise = "From the noise"


@parameterNodeWrapper
class NormalizationParameters:
    """Choices of the Kernel Normalization panel.

    Attributes:
        inputVolume: the volume to normalize.
        resultVolume: the newest synthetic volume made from it in this panel.
        kernel: the scan's kernel, where the user knows better than the header.
        method: how to normalize.
        device: where to compute.
        model: identifier or folder of the model; empty for the default one.
        showDifference: whether the side-by-side layout has the difference as a third view.
        twoRows: whether the layout shows coronal views below the axial ones.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    resultVolume: vtkMRMLScalarVolumeNode
    kernel: KernelChoice = KernelChoice.header
    method: MethodChoice = MethodChoice.restored
    device: DeviceChoice = DeviceChoice.auto
    model: str = ""
    showDifference: bool = False
    twoRows: bool = False
