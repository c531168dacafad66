"""The network: the paper's UNet, by itself or completing what truncation took from a kernel transfer.

Imported only where torch is: by the torch backend, by training and by export.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .model_folder import input_names

# The network sees HU relative to air in units of a typical sharp-kernel noise; above -400 HU no voxel can be truncated,
# so larger values are cut and tissue looks the same in every scan. A network that predicts the image itself sees all of it.
AIR_HU = -1000.0
HU_UNIT = 200.0
RESIDUAL_RANGE = (-0.5, 3.0)
DIRECT_RANGE = (-0.5, 20.5)
# What truncation took from a voxel, in units of the noise it took it from; more than 300 HU says no more than 300 HU.
LOST_UNIT, LOST_RANGE = 100.0, (-3.0, 0.0)
# Truncated voxels within this window switch the residual on: all of it from two voxels that lost 5 HU or more.
GATE_WINDOW, GATE_BLUR = 9, 5
GATE_FULL_LOSS_HU = 5.0
GATE_FULL_COUNT = 2.0
# Pixels from the last voxel that lost something to the last one whose gate is not 0.
GATE_REACH = GATE_WINDOW // 2 + GATE_BLUR // 2


@dataclass(frozen=True)
class UNetConfig:
    """Shape of the network; goes into the model card.

    Attributes:
        features: feature maps per level, finest first (paper, section 2.2: three skips, 128 maps at the bottom).
        residual: correct the linear transfer of the restored image (ours), or predict the smooth image from the sharp one
            alone (the paper's).
    """

    features: tuple[int, ...] = (16, 32, 64, 128)
    residual: bool = True

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the images that the network sees."""
        return input_names(self.residual)

    @classmethod
    def from_card(cls, architecture: dict[str, Any]) -> UNetConfig:
        """From the card's ``architecture`` entry."""
        return cls(tuple(int(n) for n in architecture["features"]), bool(architecture["residual"]))

    def as_card(self) -> dict[str, Any]:
        """For the card's ``architecture`` entry."""
        return {"type": "UNet", **asdict(self), "features": list(self.features)}


class UNet(nn.Module):
    """UNet with max pooling and skip connections, no normalization layer (absolute HU and exact tiling are kept).

    Args:
        config: feature maps and output form.
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
            sharp: (n, 1, rows, columns), HU, as the scanner stored it; sides multiples of 8.
            base: (n, 1, rows, columns), HU, the restored image brought to B20f; unused by a direct network.
            lost: (n, 1, rows, columns), HU, at most 0, estimated true minus stored value; unused by a direct network.

        Returns:
            (n, 1, rows, columns), HU.

        Raises:
            ValueError: a residual network without ``base`` or ``lost``.
        """
        if not self.config.residual:
            return self.features(_scaled(sharp, DIRECT_RANGE)).to(sharp.dtype) * HU_UNIT + AIR_HU
        if base is None or lost is None:
            raise ValueError("a residual network needs base and lost")
        scaled_lost = (lost / LOST_UNIT).clamp(*LOST_RANGE)
        inputs = torch.cat([_scaled(sharp, RESIDUAL_RANGE), _scaled(base, RESIDUAL_RANGE), scaled_lost], dim=1)
        return base + gate(lost) * self.features(inputs).to(base.dtype) * HU_UNIT

    def features(self, inputs: Tensor) -> Tensor:
        """(n, images, rows, columns) scaled inputs to (n, 1, rows, columns) scaled output."""
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
    """Weight (0 to 1) of the residual: exactly 0 where nothing within reach was lost, so that tissue stays linear.

    Args:
        lost: (n, 1, rows, columns), HU, at most 0.
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
