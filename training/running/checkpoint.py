"""Checkpoints: everything that a resumed run needs to give the same result as an uninterrupted one."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.writing import atomic_path
from KernelNormalizationLib.core.network.unet import UNet

from .config import read_network_config

logger = logging.getLogger(__name__)

CHECKPOINT = "last.ckpt"
BEST = "best.safetensors"


@dataclass
class State:
    """Content of a checkpoint.

    Attributes:
        network: the network being trained.
        average: moving average of its weights.
        optimizer: optimizer with its moments.
        step: number of finished steps.
        window: losses (HU) since the last line of the log.
        best: best (smallest) merit of a validation so far; infinite before the first.
        stale: number of validations since the best one.
    """

    network: UNet
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    window: list[float] = field(default_factory=list)
    best: float = math.inf
    stale: int = 0

    @property
    def averaged(self) -> UNet:
        """The network with its averaged weights."""
        return cast(UNet, self.average.module)


def moving_average(network: UNet, decay: float) -> AveragedModel:
    """Exponential moving average of the weights of ``network``; with a ``decay`` of 0 the weights themselves.

    During the first steps the decay is smaller, n / (n + 10) after n steps, so that the initial weights are soon forgotten.
    """

    # All weights at once: on a GPU reading the number of steps waits for it, so it is read once a step.
    def averaged(averages: Sequence[Tensor], currents: Sequence[Tensor], steps: Tensor | int) -> None:
        kept = min(decay, float(steps) / (float(steps) + 10.0))
        for average, current in zip(averages, currents, strict=True):
            average.copy_(torch.lerp(current, average, kept))

    return AveragedModel(network, multi_avg_fn=averaged)


def save_state(state: State, out: Path, fabric: Fabric) -> None:
    """Write the checkpoint of a run folder (tensors and numbers only); an interrupted write keeps the previous one."""
    content = {
        "network": state.network.state_dict(),
        "average": state.averaged.state_dict(),
        "averaged_steps": int(state.average.n_averaged),
        "optimizer": state.optimizer.state_dict(),
        "precision": fabric.strategy.precision.state_dict(),
        "step": state.step,
        "window": state.window,
        "best": state.best,
        "stale": state.stale,
    }
    with atomic_path(out / CHECKPOINT) as temporary:
        torch.save(content, temporary)


def restore_state(state: State, out: Path, fabric: Fabric) -> bool:
    """Continue from the checkpoint of a run folder; false if there is none."""
    path = out / CHECKPOINT
    if not path.exists():
        return False
    content = torch.load(path, map_location=fabric.device, weights_only=True)
    state.network.load_state_dict(content["network"])
    state.averaged.load_state_dict(content["average"])
    state.average.n_averaged.fill_(content["averaged_steps"])
    state.optimizer.load_state_dict(content["optimizer"])
    if content["precision"]:
        fabric.strategy.precision.load_state_dict(content["precision"])
    state.step, state.stale, state.best = int(content["step"]), int(content["stale"]), float(content["best"])
    state.window = list(content["window"])
    logger.info("resuming at step %d", state.step)
    return True


def save_best(network: UNet, out: Path) -> None:
    """Store the weights of ``network`` as the result of the run."""
    with atomic_path(out / BEST) as temporary:
        save_file({name: value.contiguous().cpu() for name, value in network.state_dict().items()}, str(temporary))


def load_trained(out: Path) -> UNet:
    """The result of a run folder, ready for inference: the best weights in validation, or the last average without validation.

    Raises:
        InputError: the folder holds no run, or no weights yet.
    """
    network = UNet(read_network_config(out))
    if (out / BEST).exists():
        network.load_state_dict(load_file(str(out / BEST)))
    elif (out / CHECKPOINT).exists():
        network.load_state_dict(torch.load(out / CHECKPOINT, map_location="cpu", weights_only=True)["average"])
    else:
        raise InputError(f"{out} holds no weights yet; let training.train reach its first checkpoint.")
    return network.eval()
