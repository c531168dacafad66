"""The network: the paper's UNet, completing what the HU floor took from a kernel transfer.

Imported only where torch is: by the torch backend, by training and by export.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .models import Base, base_of

# The network sees HU relative to air in units of a typical sharp-kernel noise; above -400 HU no voxel can be truncated,
# so larger values are cut and tissue looks the same in every scan. A network that predicts the image itself sees all of it.
AIR_HU = -1000.0
HU_UNIT = 200.0
RESIDUAL_RANGE = (-0.5, 3.0)
DIRECT_RANGE = (-0.5, 20.5)
# Voxels stored at the floor within this window switch the residual on: all of it from two such voxels.
GATE_WINDOW = 9
GATE_FULL_COUNT = 2.0


@dataclass(frozen=True)
class UNetConfig:
    """Shape of the network; goes into the model card.

    Attributes:
        features: feature maps per level, finest first (paper, section 2.2: three skips, 128 maps at the bottom).
        residual: add the base to the output (ours) or predict the smooth image directly (the paper's).
        base: what the network starts from: the linear transfer with truncated voxels estimated (``restored``), or as they
            were stored (``linear``).
    """

    features: tuple[int, ...] = (16, 32, 64, 128)
    residual: bool = True
    base: Base = "restored"

    @classmethod
    def from_card(cls, architecture: dict[str, Any]) -> UNetConfig:
        """From the card's ``architecture`` entry; cards that name no base are of networks on the linear transfer."""
        features = tuple(int(n) for n in architecture["features"])
        return cls(features, bool(architecture["residual"]), base_of(architecture))

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
        self.encoders = nn.ModuleList(
            _double_convolution(previous, current) for previous, current in zip((3, *maps[:-2]), maps[:-1], strict=True)
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

    def forward(self, sharp: Tensor, base: Tensor, floor: Tensor) -> Tensor:
        """Smooth-kernel image in HU.

        Args:
            sharp: (n, 1, rows, columns), HU, as the scanner stored it; sides multiples of 8.
            base: (n, 1, rows, columns), HU, ``sharp`` brought to B20f as ``config.base`` says.
            floor: scalar, HU at or below which a voxel counts as truncated; far below any HU if nothing is.

        Returns:
            (n, 1, rows, columns), HU.
        """
        truncated = (sharp <= floor).to(sharp.dtype)
        limits = RESIDUAL_RANGE if self.config.residual else DIRECT_RANGE
        inputs = torch.cat([_scaled(sharp, limits), _scaled(base, limits), truncated], dim=1)
        residual = self.features(inputs).to(base.dtype) * HU_UNIT
        if not self.config.residual:
            return residual + AIR_HU
        return base + gate(truncated) * residual

    def features(self, inputs: Tensor) -> Tensor:
        """(n, 3, rows, columns) scaled inputs to (n, 1, rows, columns) scaled residual."""
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


def gate(truncated: Tensor) -> Tensor:
    """Weight (0 to 1) of the residual: 0 where no voxel of the 9 x 9 window was truncated, so that tissue stays linear."""
    share = nn.functional.avg_pool2d(truncated, GATE_WINDOW, stride=1, padding=GATE_WINDOW // 2)
    weight = (share * (GATE_WINDOW**2 / GATE_FULL_COUNT)).clamp(max=1.0)
    return nn.functional.avg_pool2d(weight, 5, stride=1, padding=2)


def _scaled(hu: Tensor, limits: tuple[float, float]) -> Tensor:
    return ((hu - AIR_HU) / HU_UNIT).clamp(*limits)


def _double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
    )
