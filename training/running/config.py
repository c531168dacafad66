"""Configuration of a training run, and the two named recipes."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.network.unet import UNetConfig

from ..data.sources import SourceConfig

CONFIG = "config.json"
Schedule = Literal["cosine", "constant"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines the result of a run; stored in the run folder.

    Attributes:
        sources: data from which patches are drawn.
        validation: patient files or data set folders used to choose the best weights; the run must not train on them.
        features: feature maps per level.
        residual: whether the network corrects the base (recipe ours) or predicts from the sharp image alone (recipe paper).
        steps: optimizer steps, if ``epochs`` is 0.
        epochs: passes over a fixed set of patches (recipe paper); 0 to draw new patches in every step (recipe ours).
        patches_per_patient: number of patches per patient in the fixed set.
        batch: patches per step and process.
        patch: rows and columns of a patch.
        learning_rate: learning rate of Adam; with the cosine schedule its peak.
        schedule: ``cosine`` (warm-up, then one cosine cycle) or ``constant``.
        regional: weight of the L1 loss of regional means relative to that of pixels.
        emphysema: weight of the error in the share of voxels below -950 HU: HU of L1 that equal an error of 1.
        average: decay of the exponential moving average of the weights that is exported; 0 for the weights themselves.
        validate_every: steps between validations; 0 for one per epoch, or 20 in a run without epochs.
        patience: number of validations without improvement after which the run ends; 0 to run to the end.
        compiled: compile the training step first, which takes half a minute; 1.6 times as many steps per second on two CPU
            cores.
        seed: seed of the initial weights and of the patches.
        start_from: run folder whose trained weights are the initial weights; empty for random weights.
    """

    sources: SourceConfig = field(default_factory=SourceConfig)
    validation: tuple[str, ...] = ()
    features: tuple[int, ...] = (16, 32, 64, 128)
    residual: bool = True
    steps: int = 6000
    epochs: int = 0
    patches_per_patient: int = 0
    batch: int = 12
    patch: int = 128
    learning_rate: float = 1.5e-3
    schedule: Schedule = "cosine"
    regional: float = 1.0
    emphysema: float = 1000.0
    average: float = 0.998
    validate_every: int = 0
    patience: int = 0
    compiled: bool = False
    seed: int = 1
    start_from: str = ""

    @property
    def network(self) -> UNetConfig:
        """Architecture of the network."""
        return UNetConfig(self.features, self.residual)

    def learning_rate_at(self, step: int, total: int) -> float:
        """Learning rate: constant, or a linear warm-up over 5 % of the ``total`` steps and then a cosine to 1 % of the peak."""
        if self.schedule == "constant":
            return self.learning_rate
        warm = max(1, total // 20)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        phase = (step - warm) / max(1, total - warm)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * phase)))


# "paper" follows section 2.2 of the B80f to B20f study, which states the network, the L1 loss, 100 epochs, and the same number
# of random patches without overlap from every patient. Size and number of patches, batch, optimizer and learning rate are not
# stated and were chosen here.
RECIPES: dict[str, TrainConfig] = {
    "ours": TrainConfig(),
    "paper": TrainConfig(
        residual=False,
        epochs=100,
        patches_per_patient=32,
        batch=8,
        learning_rate=1e-3,
        schedule="constant",
        regional=0.0,
        emphysema=0.0,
        average=0.0,
    ),
}


def write_config(config: TrainConfig, out: Path) -> None:
    """Store ``config`` in a run folder.

    Raises:
        InputError: the folder holds a run with another configuration.
    """
    path = out / CONFIG
    content = json.dumps(asdict(config), indent=2) + "\n"
    if not path.exists():
        path.write_text(content)
    elif json.loads(path.read_text()) != json.loads(content):
        raise InputError(f"{out} holds a run with another configuration; choose another --out or delete it.")


def read_network_config(out: Path) -> UNetConfig:
    """Architecture of the network of a run folder.

    Raises:
        InputError: the folder holds no run.
    """
    try:
        stored = json.loads((out / CONFIG).read_text())
    except FileNotFoundError:
        raise InputError(f"{out} holds no {CONFIG}; give a folder made by training.train.") from None
    return UNetConfig(tuple(stored["features"]), bool(stored["residual"]))
