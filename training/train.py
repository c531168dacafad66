"""Train the network: pairs and self-pairs in, checkpoint out."""

from __future__ import annotations

import argparse
import atexit
import gc
import logging
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from KernelNormalizationLib.core.errors import CTKernelError, InputError
from KernelNormalizationLib.core.network.unet import HU_UNIT, UNet
from KernelNormalizationLib.core.progress import ProgressTracker

from .data.calibrate_transfer import measure_transfer
from .data.patches import Batch, BatchStream, PatchSource, RandomBatches
from .data.prefetch import batches
from .data.sources import SourceConfig, build_epochs, build_source, unpack_patients
from .data.unpacked import patient_files
from .running.checkpoint import State, load_trained, moving_average, restore_state, save_best, save_state
from .running.command_line import ends_with_code
from .running.config import RECIPES, SCHEDULES, TrainConfig, write_config
from .running.logbook import TRAINING, VALIDATION, Logbook, ProgressLine
from .running.smoke import make_tiny_pairs, tiny
from .running.validation import Validator
from .simulate.patient import THRESHOLD

logger = logging.getLogger("training.train")

REGION = 16
# Shares of emphysema are compared in 64 x 64 pixels, large enough that chance makes no share; a voxel counts as a logistic
# function of its distance from -950 HU, steep enough that noise of 10 HU does not blur it.
EMPHYSEMA_REGION, EMPHYSEMA_WIDTH_HU = 64, 3.0
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


@dataclass(frozen=True)
class Rhythm:
    """The pace of a run; none of it changes the result.

    Attributes:
        log: steps between lines of the log.
        checkpoint: steps between checkpoints.
        workers: processes that unpack patients and prepare batches ahead; 0 for none.
    """

    log: int = 50
    checkpoint: int = 250
    workers: int = 0


def loss_of(network: torch.nn.Module, batch: Batch, weight: Tensor, regional: float = 0.0, emphysema: float = 0.0) -> Tensor:
    """Weighted mean absolute error (L1, as in the paper, section 2.2), HU.

    Args:
        network: what is trained.
        batch: patches; sides multiples of 16 if ``regional`` is not zero.
        weight: sum of the batch's weights.
        regional: weight of the mean absolute error of 16 x 16 pixel means beside that of the pixels. Noise of 12 HU hides a
            bias of some HU from the pixels' L1, but not from the emphysema index.
        emphysema: weight of the mean absolute error of the share below -950 HU; air outside has it in both. L1 pulls what is
            uncertain towards lung, of which there is more.
    """
    made = network(batch.sharp, batch.base, batch.lost)
    error = (made - batch.target) * batch.weight
    loss: Tensor = error.abs().sum() / weight.clamp(min=1.0)
    if regional:
        means = torch.nn.functional.avg_pool2d(error, REGION)
        loss = loss + regional * means.abs().sum() * REGION**2 / weight.clamp(min=1.0)
    if emphysema:
        below = torch.sigmoid((THRESHOLD - made) / EMPHYSEMA_WIDTH_HU) - (batch.target < THRESHOLD).to(made.dtype)
        side = min(EMPHYSEMA_REGION, made.shape[-1])
        shares = torch.nn.functional.avg_pool2d(below * batch.weight, side)
        loss = loss + emphysema * shares.abs().sum() * side**2 / weight.clamp(min=1.0)
    return loss


def train(
    config: TrainConfig,
    out: Path,
    source: PatchSource | None = None,
    fabric: Fabric | None = None,
    rhythm: Rhythm | None = None,
) -> State:
    """Train to the end, resuming from ``out`` if it holds a checkpoint.

    Args:
        config: the run.
        out: folder for checkpoint, weights, ``config.json`` and logs.
        source: random patches; built from ``config.sources`` if absent.
        fabric: devices and precision, launched; one CPU or GPU process if absent.
        rhythm: its pace.

    Raises:
        InputError: unusable data, or ``out`` holds another run.
        CTKernelError: the loss is no number any more.
    """
    fabric = fabric or Fabric(accelerator="auto", devices=1)
    rhythm = rhythm or Rhythm()
    unpack_patients(config.sources, config.validation, rhythm.workers)
    stream = RandomBatches(source, config.seed, config.patch, config.batch) if source else _stream(config, fabric.world_size)
    _keep_apart(config)
    validator = Validator.of(config.validation, config.sources.transfer)
    total = config.epochs * stream.steps_per_epoch or config.steps
    every = config.validate_every or stream.steps_per_epoch or max(1, total // 20)
    out.mkdir(parents=True, exist_ok=True)
    if fabric.is_global_zero:
        write_config(config, out)
    state, wrapped = _start(config, fabric)
    restore_state(state, out, fabric)
    logbook = Logbook(out, state.step) if fabric.is_global_zero else None
    progress = ProgressTracker(ProgressLine() if logbook else None)
    progress.start("Training", total)
    progress.advance(state.step)
    for batch in batches(stream, range(state.step, total), fabric.global_rank, rhythm.workers):
        if config.patience and state.stale >= config.patience:
            break
        _step(state, wrapped, config, config.learning_rate_at(state.step, total), batch, fabric)
        progress.advance()
        if state.step % rhythm.log == 0 or state.step == total:
            if logbook:
                rate = state.optimizer.param_groups[0]["lr"]
                logbook.write(TRAINING, state.step, (sum(state.window) / len(state.window), rate))
            state.window.clear()
        if validator and (state.step % every == 0 or state.step == total):
            _validate(state, validator, out, fabric, logbook)
        if fabric.is_global_zero and (state.step % rhythm.checkpoint == 0 or state.step == total):
            save_state(state, out, fabric)
    if logbook:
        save_state(state, out, fabric)
        logbook.close()
    return state


def _stream(config: TrainConfig, processes: int) -> BatchStream:
    if config.epochs:
        return build_epochs(config.sources, config.patches_per_patient, config.patch, config.batch, config.seed, processes)
    return RandomBatches(build_source(config.sources), config.seed, config.patch, config.batch)


def _keep_apart(config: TrainConfig) -> None:
    trained = {file.resolve() for path in config.sources.simulated for file in patient_files(Path(path))}
    shared = [file for path in config.validation for file in patient_files(Path(path)) if file.resolve() in trained]
    if shared:
        raise InputError(f"{shared[0].name} would be trained on and choose the weights; leave it out of one of the two.")


def _start(config: TrainConfig, fabric: Fabric) -> tuple[State, Any]:
    torch.manual_seed(config.seed)
    network = UNet(config.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.start_from:
        trained = load_trained(Path(config.start_from))
        if trained.config != config.network:
            raise InputError(f"{config.start_from} trained {trained.config}, this run is for {config.network}; they differ.")
        network.load_state_dict(trained.state_dict())
    average = moving_average(network, config.average)
    fabric.to_device(average)
    trained_module: torch.nn.Module = torch.compile(network) if config.compiled else network  # type: ignore[assignment]
    wrapped, optimizer = fabric.setup(trained_module, torch.optim.Adam(network.parameters(), lr=config.learning_rate))
    return State(network, average, optimizer), wrapped


def _step(state: State, wrapped: Any, config: TrainConfig, rate: float, batch: Batch, fabric: Fabric) -> None:
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    batch = Batch(*(fabric.to_device(getattr(batch, name)) for name in Batch.__dataclass_fields__))
    # Processes average their gradients; with the mean of their weights that is the loss over all patches.
    weight: Tensor = fabric.all_reduce(batch.weight.sum(), reduce_op="mean")  # type: ignore[assignment]
    loss = loss_of(wrapped, batch, weight, config.regional, config.emphysema)
    value = float(fabric.all_reduce(loss.detach().clone(), reduce_op="mean"))  # type: ignore[arg-type]
    if not math.isfinite(value):
        raise CTKernelError(f"The loss is {value} in step {state.step + 1}; lower the learning rate, in another --out.")
    fabric.backward(loss / HU_UNIT)
    # In mixed precision a step with infinite gradients is normal: the scaler leaves it out.
    fabric.clip_gradients(wrapped, state.optimizer, max_norm=1.0, error_if_nonfinite=False)
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.step += 1
    state.window.append(value)
    state.average.update_parameters(state.network)


def _validate(state: State, validator: Validator, out: Path, fabric: Fabric, logbook: Logbook | None) -> None:
    score = validator(state.averaged, fabric)
    better = score.merit < state.best
    state.best, state.stale = (score.merit, 0) if better else (state.best, state.stale + 1)
    if logbook:
        logbook.write(VALIDATION, state.step, (score.l1_hu, score.abs_dei_points, score.merit))
        logger.info(
            "step %d, validation: L1 %.2f HU, abs. dEI %.2f points%s",
            state.step,
            score.l1_hu,
            score.abs_dei_points,
            ", the best so far" if better else "",
        )
        if better:
            save_best(state.averaged, out)


def make_fabric(precision: str) -> Fabric:
    """One process on the best device, or this process of several that ``torchrun`` started."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "0"))
    if not local:
        return Fabric(accelerator="auto", devices=1, precision=precision)  # type: ignore[arg-type]
    nodes = int(os.environ["WORLD_SIZE"]) // local
    fabric = Fabric(accelerator="auto", devices=local, num_nodes=nodes, strategy="ddp", precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    atexit.register(_leave_group)
    return fabric


def _leave_group() -> None:
    """Before the interpreter ends: left to C++, gloo's running threads may abort a process that has finished its work."""
    gc.collect()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that training and cross-validation share."""
    parser.add_argument(
        "--recipe",
        choices=sorted(RECIPES),
        default="ours",
        help="paper: direct, epochs over fixed patches; ours (default): residual",
    )
    parser.add_argument(
        "--self-pairs",
        action="append",
        default=[],
        metavar="PATH",
        help="real sharp scan (DICOM folder or file) to make self-pairs from",
    )
    parser.add_argument(
        "--variants",
        type=int,
        default=0,
        metavar="N",
        help="other floors, noise and calibrations of patients simulated with --keep-unclipped",
    )
    parser.add_argument(
        "--own-transfer",
        action="store_true",
        help="measure the kernel transfer on --pairs, the first ones, which are of one kernel; it stays with the model",
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="TEXT", help="leave out patients whose object's name contains TEXT"
    )
    for name, kind, text in (
        ("steps", int, "optimizer steps (recipes without epochs)"),
        ("epochs", int, "passes over the fixed patches (the paper: 100)"),
        ("patches-per-patient", int, "fixed patches from every patient"),
        ("batch", int, "patches a step and process"),
        ("patch", int, "rows and columns of a patch"),
        ("learning-rate", float, "of Adam"),
        ("emphysema", float, "weight (HU) of the error of the share below -950 HU in the loss"),
        ("validate-every", int, "steps between validations (default: an epoch, or a twentieth of the run)"),
        ("patience", int, "end after so many validations without improvement (default: never)"),
        ("seed", int, "of weights, patches and folds"),
        ("start-from", str, "run folder whose trained weights to start with"),
    ):
        parser.add_argument(f"--{name}", type=kind, metavar=kind.__name__.upper(), help=text)
    parser.add_argument("--schedule", choices=SCHEDULES, help="of the learning rate (default: the recipe's)")
    parser.add_argument("--compiled", action="store_true", help="compile the training step first")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="processes that unpack patients and prepare batches; for a GPU 8 or more",
    )
    parser.add_argument("--log-every", type=int, default=Rhythm.log, metavar="N", help="steps between lines of training.csv")
    parser.add_argument(
        "--checkpoint-every", type=int, default=Rhythm.checkpoint, metavar="N", help="steps between checkpoints"
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="32-true", help="mixed ones are for CUDA")
    parser.add_argument("--smoke", action="store_true", help="a few tiny steps on tiny data made on the spot")


def config_from(options: argparse.Namespace, simulated: Sequence[str]) -> TrainConfig:
    """The recipe with what the command line changes, for these data sets and the real scans of the command line."""
    names = (
        "steps",
        "epochs",
        "patches_per_patient",
        "batch",
        "patch",
        "learning_rate",
        "emphysema",
        "validate_every",
        "patience",
        "seed",
        "start_from",
        "schedule",
    )
    changed = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    sources = SourceConfig(
        tuple(simulated), tuple(options.self_pairs), without=tuple(options.without), variants=options.variants
    )
    config = replace(RECIPES[options.recipe], sources=sources, compiled=options.compiled, **changed)
    return tiny(config) if options.smoke else config


def rhythm_from(options: argparse.Namespace) -> Rhythm:
    """The pace that the command line asks for."""
    return Rhythm(max(1, options.log_every), max(1, options.checkpoint_every), max(0, options.workers))


def set_up(options: argparse.Namespace) -> Fabric:
    """Logging, threads and devices of a command."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if options.threads:
        torch.set_num_threads(options.threads)
    return make_fabric(options.precision)


@ends_with_code(logger)
def main(arguments: list[str] | None = None) -> int:
    """Command line: ``python -m training.train``; 0 when trained, 2 for unusable input."""
    parser = argparse.ArgumentParser("python -m training.train", description="Train the UNet that normalizes sharp-kernel CT.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an unfinished run there is resumed")
    parser.add_argument(
        "--simulated",
        "--pairs",
        action="append",
        default=[],
        metavar="PATH",
        dest="simulated",
        help="folder (or one patient file) made by training.simulate or training.pairs",
    )
    parser.add_argument(
        "--validate", action="append", default=[], metavar="PATH", help="folder or patient file that chooses the weights"
    )
    add_recipe_arguments(parser)
    options = parser.parse_args(arguments)
    fabric = set_up(options)
    if options.smoke and not options.simulated:
        files = make_tiny_pairs(options.out.parent / (options.out.name + "-data"), 2)
        options.simulated, options.validate = [str(files[0])], [str(files[1])]
    config = replace(config_from(options, options.simulated), validation=tuple(options.validate))
    if options.own_transfer:
        transfer = measure_transfer([file for path in options.simulated[:1] for file in patient_files(Path(path))])
        config = replace(config, sources=replace(config.sources, transfer=transfer))
    train(config, options.out, fabric=fabric, rhythm=rhythm_from(options))
    fabric.barrier()
    return 0


if __name__ == "__main__":
    sys.exit(main())
