"""The UNet: predicts the smooth image (as in the paper) or corrects the linear kernel transfer near truncated voxels.

Only the torch backend, training and export import this file, because it needs torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..arrays import AIR_HU
from .model_folder import input_names

# Inputs are HU above air, in units of the typical noise of a sharp kernel. Voxels above -400 HU cannot be truncated, so a
# residual network gets larger values clipped and tissue looks the same in every scan. A network that predicts the image itself
# gets the whole range.
HU_UNIT = 200.0
RESIDUAL_RANGE = (-0.5, 3.0)
DIRECT_RANGE = (-0.5, 20.5)
# Scaling of the HU that a voxel lost to truncation; losses of more than 300 HU are clipped, since they add no information.
LOST_UNIT, LOST_RANGE = 100.0, (-3.0, 0.0)
# The gate applies the correction near truncated voxels only. It is fully open where two voxels in a window of GATE_WINDOW
# pixels lost GATE_FULL_LOSS_HU or more, and is blurred over GATE_BLUR pixels.
GATE_WINDOW, GATE_BLUR = 9, 5
GATE_FULL_LOSS_HU = 5.0
GATE_FULL_COUNT = 2.0
# Largest distance, pixels, between a voxel that lost HU and one whose gate is not 0.
GATE_REACH = GATE_WINDOW // 2 + GATE_BLUR // 2


@dataclass(frozen=True)
class UNetConfig:
    """Architecture of the network; stored in the model card.

    Attributes:
        features: feature maps per level, finest first (paper, section 2.2: three skip connections, 128 maps at the bottom).
        residual: whether the network corrects the linear transfer of the restored image (this project), or predicts the smooth
            image from the sharp one alone (the paper).
    """

    features: tuple[int, ...] = (16, 32, 64, 128)
    residual: bool = True

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input images."""
        return input_names(self.residual)

    @classmethod
    def from_card(cls, architecture: dict[str, Any]) -> UNetConfig:
        """Read the ``architecture`` entry of a card."""
        return cls(tuple(int(n) for n in architecture["features"]), bool(architecture["residual"]))

    def as_card(self) -> dict[str, Any]:
        """The ``architecture`` entry of a card."""
        return {"type": "UNet", **asdict(self), "features": list(self.features)}


class UNet(nn.Module):
    """UNet with max pooling and skip connections. It has no normalization layers, so absolute HU are kept and tiling is exact.

    Args:
        config: architecture.
    """

    def __init__(self, config: UNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or UNetConfig()
        maps = self.config.features
        widths = (len(self.config.inputs), *maps[:-2])
        self.encoders = nn.ModuleList(
            _double_convolution(previous, current) for previous, current in zip(widths, maps[:-1], strict=True)
        )
        self.bottom = _double_convolution(maps[-2], maps[-1])
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(deep, fine, 2, stride=2) for deep, fine in zip(maps[:0:-1], maps[-2::-1], strict=True)
        )
        self.decoders = nn.ModuleList(_double_convolution(2 * fine, fine) for fine in maps[-2::-1])
        self.head = nn.Conv2d(maps[0], 1, 1)
        self.pool = nn.MaxPool2d(2)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, sharp: Tensor, base: Tensor | None = None, lost: Tensor | None = None) -> Tensor:
        """Smooth-kernel image in HU.

        Args:
            sharp: (n, 1, rows, columns), HU, as stored by the scanner; sides are multiples of 8.
            base: (n, 1, rows, columns), HU, the restored image transferred to B20f; only a residual network needs it.
            lost: (n, 1, rows, columns), HU, at most 0: estimated true minus stored value; only a residual network needs it.

        Returns:
            (n, 1, rows, columns), HU.

        Raises:
            ValueError: the network is residual, and ``base`` or ``lost`` is missing.
        """
        if not self.config.residual:
            return self.features(_scaled(sharp, DIRECT_RANGE)).to(sharp.dtype) * HU_UNIT + AIR_HU
        if base is None or lost is None:
            raise ValueError("a residual network needs base and lost")
        scaled_lost = (lost / LOST_UNIT).clamp(*LOST_RANGE)
        inputs = torch.cat([_scaled(sharp, RESIDUAL_RANGE), _scaled(base, RESIDUAL_RANGE), scaled_lost], dim=1)
        return base + gate(lost) * self.features(inputs).to(base.dtype) * HU_UNIT

    def features(self, inputs: Tensor) -> Tensor:
        """The network itself: scaled inputs (n, images, rows, columns) to scaled output (n, 1, rows, columns)."""
        skips = []
        x = inputs
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottom(x)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips), strict=True):
            x = decoder(torch.cat([skip, up(x)], dim=1))
        out: Tensor = self.head(x)
        return out


def gate(lost: Tensor) -> Tensor:
    """Weight (0 to 1) of the correction: exactly 0 far from voxels that lost HU, so that tissue is transferred linearly.

    Args:
        lost: (n, 1, rows, columns), HU, at most 0: estimated true minus stored value.
    """
    took = (-lost / GATE_FULL_LOSS_HU).clamp(0.0, 1.0)
    share = nn.functional.avg_pool2d(took, GATE_WINDOW, stride=1, padding=GATE_WINDOW // 2)
    weight = (share * (GATE_WINDOW**2 / GATE_FULL_COUNT)).clamp(max=1.0)
    return nn.functional.avg_pool2d(weight, GATE_BLUR, stride=1, padding=GATE_BLUR // 2)


def _scaled(hu: Tensor, limits: tuple[float, float]) -> Tensor:
    return ((hu - AIR_HU) / HU_UNIT).clamp(*limits)


def _double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
    )
