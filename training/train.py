"""Train the network: simulated pairs and self-pairs in, checkpoint out."""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.unet import HU_UNIT, UNet, UNetConfig

from .patches import Batch, PatchSource, draw_batch
from .sources import SourceConfig, build_source

logger = logging.getLogger(__name__)

CHECKPOINT = "last.ckpt"
LOG = "training.csv"


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run; stored with the checkpoint.

    Attributes:
        sources: where patches come from.
        features: feature maps per level.
        residual: residual on the linear transfer (ours) or direct prediction (paper).
        steps: optimizer steps.
        batch: patches a step and process.
        patch: rows and columns of a patch.
        learning_rate: peak of the one-cycle cosine schedule.
        average: decay of the exponential moving average of the weights that is exported.
        seed: of weights and patches.
        start_from: run folder whose averaged weights this run starts with; empty for fresh weights.
    """

    sources: SourceConfig = field(default_factory=SourceConfig)
    features: tuple[int, ...] = (16, 32, 64, 128)
    residual: bool = True
    steps: int = 6000
    batch: int = 12
    patch: int = 128
    learning_rate: float = 1.5e-3
    average: float = 0.998
    seed: int = 1
    start_from: str = ""

    @property
    def network(self) -> UNetConfig:
        """Shape of the network."""
        return UNetConfig(self.features, self.residual)


@dataclass
class State:
    """What a checkpoint holds."""

    network: UNet
    average: UNet
    optimizer: torch.optim.Optimizer
    step: int = 0


def loss_of(network: torch.nn.Module, batch: Batch) -> Tensor:
    """Weighted mean absolute error (L1, as in the paper, section 2.2), HU."""
    error = (network(batch.sharp, batch.base, batch.floor) - batch.target).abs() * batch.weight
    mean: Tensor = error.sum() / batch.weight.sum().clamp(min=1.0)
    return mean


def learning_rate_at(config: TrainConfig, step: int) -> float:
    """Linear warm-up over 5 % of the steps, then a cosine down to 1 % of the peak."""
    warm = max(1, config.steps // 20)
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    phase = (step - warm) / max(1, config.steps - warm)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * phase)))


def train(config: TrainConfig, out: Path, source: PatchSource | None = None, fabric: Fabric | None = None,
          checkpoint_every: int = 250) -> State:  # fmt: skip
    """Train to ``config.steps``, resuming from ``out`` if it holds a checkpoint.

    Args:
        config: the run.
        out: folder for ``last.ckpt``, ``config.json`` and ``training.csv``.
        source: patches; built from ``config.sources`` if absent.
        fabric: devices and precision; one CPU or GPU process if absent.
        checkpoint_every: steps between checkpoints.
    """
    fabric = fabric or Fabric(accelerator="auto", devices=1)
    torch.manual_seed(config.seed)
    source = source or build_source(config.sources)
    network = UNet(config.network)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.start_from:
        network.load_state_dict(load_average(Path(config.start_from)).state_dict())
    average = UNet(config.network)
    average.load_state_dict(network.state_dict())
    fabric.to_device(average)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    wrapped, optimizer = fabric.setup(network, optimizer)
    state = State(network, average, optimizer)
    out.mkdir(parents=True, exist_ok=True)
    _resume(state, config, out, fabric)
    window: list[float] = []
    while state.step < config.steps:
        window.append(_step(state, wrapped, config, source, fabric))
        if state.step % 50 == 0:
            _log(out, state.step, sum(window) / len(window), fabric)
            window.clear()
        if state.step % checkpoint_every == 0 or state.step == config.steps:
            _save(state, config, out, fabric)
    return state


def _step(state: State, wrapped: Any, config: TrainConfig, source: PatchSource, fabric: Fabric) -> float:
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate_at(config, state.step)
    batch = draw_batch(source, config.seed, state.step, fabric.global_rank, config.patch, config.batch)
    batch = Batch(*(fabric.to_device(getattr(batch, name)) for name in Batch.__dataclass_fields__))
    loss = loss_of(wrapped, batch)
    fabric.backward(loss / HU_UNIT)
    fabric.clip_gradients(wrapped, state.optimizer, max_norm=1.0)
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.step += 1
    decay = min(config.average, state.step / (state.step + 10.0))
    with torch.no_grad():
        for averaged, current in zip(state.average.parameters(), state.network.parameters(), strict=True):
            averaged.lerp_(current, 1.0 - decay)
    return float(loss.detach())


def _save(state: State, config: TrainConfig, out: Path, fabric: Fabric) -> None:
    if not fabric.is_global_zero:
        return
    content = {
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
    }
    temporary = out / (CHECKPOINT + ".partial")
    torch.save(content, temporary)
    temporary.replace(out / CHECKPOINT)
    (out / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")


def _resume(state: State, config: TrainConfig, out: Path, fabric: Fabric) -> None:
    path = out / CHECKPOINT
    if not path.exists():
        return
    stored = json.loads((out / "config.json").read_text())
    if stored != json.loads(json.dumps(asdict(config))):
        raise InputError(f"{out} holds a run with another configuration; choose another --out or delete it.")
    content = torch.load(path, map_location=fabric.device, weights_only=True)
    state.network.load_state_dict(content["network"])
    state.average.load_state_dict(content["average"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.step = int(content["step"])
    logger.info("resuming at step %d", state.step)


def _log(out: Path, step: int, loss: float, fabric: Fabric) -> None:
    if not fabric.is_global_zero:
        return
    logger.info("step %d: L1 %.2f HU", step, loss)
    with (out / LOG).open("a", newline="") as file:
        csv.writer(file).writerow([step, f"{loss:.4f}"])


def load_average(out: Path) -> UNet:
    """The averaged network of a run folder, ready for inference."""
    stored = json.loads((out / "config.json").read_text())
    network = UNet(UNetConfig(tuple(stored["features"]), bool(stored["residual"])))
    content = torch.load(out / CHECKPOINT, map_location="cpu", weights_only=True)
    network.load_state_dict(content["average"])
    return network.eval()


def main(arguments: list[str] | None = None) -> None:
    """Command line: ``python -m training.train``."""
    parser = argparse.ArgumentParser(description="Train the UNet that normalizes sharp-kernel CT.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an unfinished run there is resumed")
    parser.add_argument("--simulated", type=Path, action="append", default=[], help="folder made by training.simulate")
    parser.add_argument("--self-pairs", action="append", default=[], metavar="PATH",
                        help="real sharp scan (DICOM folder or file) to make self-pairs from")  # fmt: skip
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="TEXT",
        help="leave out simulated patients whose object's name contains TEXT",
    )
    parser.add_argument("--steps", type=int, default=TrainConfig.steps)
    parser.add_argument("--batch", type=int, default=TrainConfig.batch)
    parser.add_argument("--patch", type=int, default=TrainConfig.patch)
    parser.add_argument("--seed", type=int, default=TrainConfig.seed)
    parser.add_argument("--learning-rate", type=float, default=TrainConfig.learning_rate)
    parser.add_argument("--start-from", default="", metavar="RUN", help="run folder whose averaged weights to start with")
    parser.add_argument("--smoke", action="store_true", help="a few tiny steps, to see that everything runs")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    sources = SourceConfig(tuple(str(p) for p in options.simulated), tuple(options.self_pairs), without=tuple(options.without))
    config = TrainConfig(
        sources=sources,
        steps=options.steps,
        batch=options.batch,
        patch=options.patch,
        learning_rate=options.learning_rate,
        seed=options.seed,
        start_from=options.start_from,
    )
    if options.smoke:
        config = replace(config, steps=4, batch=2, patch=64)
    train(config, options.out)


if __name__ == "__main__":
    main()
