"""What decides a training run, and the two named recipes."""

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
    """Everything that decides a run; stored with the checkpoint.

    Attributes:
        sources: where patches come from.
        validation: patient files or data set folders that choose the weights; none of them may be trained on.
        features: feature maps per level.
        residual: correction of the base (ours), or prediction from the sharp image alone (paper).
        steps: optimizer steps, when ``epochs`` is 0.
        epochs: passes over a fixed set of patches (paper); 0 draws patches anew in every step (ours).
        patches_per_patient: size of that set.
        batch: patches a step and process.
        patch: rows and columns of a patch.
        learning_rate: of Adam; with the cosine schedule its peak.
        schedule: ``cosine`` (warm-up, then one cosine) or ``constant``.
        regional: weight of the L1 of regional means beside the pixels'.
        emphysema: HU that an error of 1 in the share below -950 HU counts beside them.
        average: decay of the exponential moving average of the weights that is exported; 0 for the weights themselves.
        validate_every: steps between validations; 0 for every epoch, or every twentieth of a run without epochs.
        patience: validations without improvement after which the run ends; 0 to go on to the end.
        compiled: compile the training step first (half a minute): on two CPU cores 1.6 times the steps a second.
        seed: of weights and patches.
        start_from: run folder whose trained weights this run starts with; empty for fresh weights.
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
        """Shape of the network."""
        return UNetConfig(self.features, self.residual)

    def learning_rate_at(self, step: int, total: int) -> float:
        """Constant, or linear warm-up over 5 % of the ``total`` steps and then a cosine down to 1 % of the peak."""
        if self.schedule == "constant":
            return self.learning_rate
        warm = max(1, total // 20)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        phase = (step - warm) / max(1, total - warm)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * phase)))


# "paper": section 2.2 of the B80f to B20f study. It gives the network, L1, 100 epochs, and the same number of random patches
# that do not overlap from every patient; size and number of patches, batch, optimizer and its rate are ours.
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
    """Shape of the network of a run folder.

    Raises:
        InputError: the folder holds no run.
    """
    try:
        stored = json.loads((out / CONFIG).read_text())
    except FileNotFoundError:
        raise InputError(f"{out} holds no {CONFIG}; give a folder made by training.train.") from None
    return UNetConfig(tuple(stored["features"]), bool(stored["residual"]))
