"""Runs as a user starts them: killed and resumed, in two processes, with validation, in epochs, cross-validated."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from KernelNormalizationLib.core.errors import CTKernelError, InputError
from KernelNormalizationLib.core.network.model_folder import list_models, load_model
from KernelNormalizationLib.core.network.unet import UNet, UNetConfig
from training import crossval, evaluate, export
from training.data.sources import SourceConfig, build_epochs, unpack_patients
from training.data.unpacked import UNPACKED
from training.running.checkpoint import BEST, CHECKPOINT, load_trained
from training.running.config import RECIPES, TrainConfig
from training.running.folds import Fold, make_folds
from training.running.logbook import EVENTS, TRAINING, VALIDATION
from training.running.smoke import make_tiny_pairs, tiny
from training.running.validation import Validator
from training.train import Rhythm, main, train

ROOT = Path(__file__).resolve().parents[2]
STEPS = ["--log-every", "2", "--checkpoint-every", "3", "--threads", "1", "--patch", "64", "--batch", "2"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny_pairs(folder, 3)
    return folder


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the cross-validations, and of the chests that they share."""
    return tmp_path_factory.mktemp("crossed")


def config_for(pairs: Path, recipe: str = "ours", **changes: object) -> TrainConfig:
    files = [str(pairs / "patients" / f"sim000{n}.npz") for n in range(3)]
    config = replace(tiny(RECIPES[recipe]), sources=SourceConfig(simulated=tuple(files[:2])), validation=(files[2],))
    return replace(config, **changes)  # type: ignore[arg-type]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def start(*arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_loss_curve_of_an_uninterrupted_one(pairs: Path, tmp_path: Path) -> None:
    files = sorted(str(p) for p in (pairs / "patients").glob("*.npz"))
    data = ["--pairs", files[0], "--validate", files[1]]
    command = [*data, "--steps", "16", *STEPS, "--validate-every", "5", "--out"]
    killed = start("-m", "training.train", *command, str(tmp_path / "killed"))
    deadline = time.monotonic() + 1800.0
    while not (tmp_path / "killed" / CHECKPOINT).exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    reached = torch.load(tmp_path / "killed" / CHECKPOINT, weights_only=True)["step"]
    assert 0 < reached < 16, "the run was not killed on its way"
    assert main([*command, str(tmp_path / "killed")]) == 0
    assert main([*command, str(tmp_path / "whole")]) == 0
    for name in (TRAINING, VALIDATION):
        assert (tmp_path / "killed" / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert len(table(tmp_path / "whole" / TRAINING)) == 8
    assert (tmp_path / "killed" / BEST).read_bytes() == (tmp_path / "whole" / BEST).read_bytes()


@pytest.mark.slow
def test_two_processes_train_the_model_of_one_with_the_doubled_batch(pairs: Path, tmp_path: Path) -> None:
    files = sorted(str(p) for p in (pairs / "patients").glob("*.npz"))
    data = ["--pairs", files[0], "--validate", files[1], "--validate", files[2], "--steps", "6", "--patch", "64"]
    both = start(
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "training.train",
        *data,
        "--batch",
        "2",
        "--out",
        str(tmp_path / "two"),
    )
    assert main([*data, "--batch", "4", "--out", str(tmp_path / "one")]) == 0
    _, messages = both.communicate(timeout=1800)
    assert both.returncode == 0, messages.decode()[-2000:]
    one, two = (torch.load(tmp_path / name / CHECKPOINT, weights_only=True)["network"] for name in ("one", "two"))
    torch.manual_seed(TrainConfig.seed)
    fresh = UNet(UNetConfig()).state_dict()
    # Together, not one by one: Adam makes a step of what rounding leaves of a gradient that is nearly zero (81 of 9216 weights
    # of one layer differ by 1e-4). A batch of 3 instead of 4 takes them apart by four fifths of what they moved.
    moved, apart = (sum(float(((one[n] - other[n]) ** 2).sum()) for n in one) ** 0.5 for other in (fresh, two))
    assert apart < 2e-3 * moved
    first, second = (table(tmp_path / name / VALIDATION)[-1] for name in ("one", "two"))
    assert float(first["l1_hu"]) == pytest.approx(float(second["l1_hu"]), rel=1e-4)
    assert float(first["abs_dei_points"]) == pytest.approx(float(second["abs_dei_points"]), abs=0.01)


@pytest.mark.slow
def test_the_weights_kept_are_the_best_in_validation_by_both_errors(pairs: Path, tmp_path: Path) -> None:
    config = config_for(pairs, steps=24, learning_rate=2e-2, average=0.0, schedule="constant")
    train(config, tmp_path, rhythm=Rhythm(log=4))
    rows = table(tmp_path / VALIDATION)
    merits = [float(row["merit"]) for row in rows]
    assert len(rows) == 12
    assert merits.index(min(merits)) < 11, "the last weights are the best; the test shows nothing"
    validator = Validator.of(config.validation)
    assert validator is not None
    again = validator(load_trained(tmp_path), Fabric(accelerator="cpu", devices=1))
    assert again.merit == pytest.approx(min(merits), rel=1e-4)
    chosen = rows[merits.index(min(merits))]
    assert (again.l1_hu, again.abs_dei_points) == pytest.approx(
        (float(chosen["l1_hu"]), float(chosen["abs_dei_points"])), rel=1e-4
    )


@pytest.mark.slow
def test_a_patient_trained_on_cannot_choose_the_weights(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sim0000\.npz would be trained on and choose the weights"):
        train(config_for(pairs, validation=(str(pairs),)), tmp_path)
    assert crossval.main(["--smoke", "--pairs", str(pairs), "--folds", "3", "--also", str(pairs), "--out", str(tmp_path)]) == 2


@pytest.mark.slow
def test_a_run_without_progress_ends_after_its_patience(pairs: Path, tmp_path: Path) -> None:
    state = train(config_for(pairs, steps=40, learning_rate=0.0, patience=3), tmp_path)
    assert state.step == 2 * (1 + 3)
    assert train(config_for(pairs, steps=40, learning_rate=0.0, patience=3), tmp_path).step == state.step


def test_a_diverging_run_stops_and_says_what_to_do(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(CTKernelError, match="lower the learning rate"):
        train(config_for(pairs, steps=40, learning_rate=1e36, average=0.0, schedule="constant", validation=()), tmp_path)


@pytest.mark.slow
def test_tensorboard_shows_the_numbers_of_the_tables(pairs: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(config_for(pairs), tmp_path, rhythm=Rhythm(log=2))
    events = accumulator.EventAccumulator(str(tmp_path / EVENTS))
    events.Reload()
    for name, column in ((TRAINING, "l1_hu"), (VALIDATION, "abs_dei_points")):
        shown = [(e.step, e.value) for e in events.Scalars(f"{Path(name).stem}/{column}")]
        rows = table(tmp_path / name)
        assert [s for s, _ in shown] == [int(row["step"]) for row in rows] == [2, 4]
        assert [v for _, v in shown] == pytest.approx([float(row[column]) for row in rows], rel=1e-5)


@pytest.mark.slow
def test_training_runs_in_mixed_precision(pairs: Path, tmp_path: Path) -> None:
    state = train(config_for(pairs), tmp_path, fabric=Fabric(accelerator="cpu", devices=1, precision="bf16-mixed"))
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in state.network.parameters())


@pytest.mark.slow
def test_processes_that_prepare_batches_change_nothing(pairs: Path, tmp_path: Path) -> None:
    alone = train(config_for(pairs), tmp_path / "alone")
    before = signal.getsignal(signal.SIGCHLD)
    helped = train(config_for(pairs), tmp_path / "helped", rhythm=Rhythm(workers=2))
    assert signal.getsignal(signal.SIGCHLD) == before
    for name, value in alone.average.state_dict().items():
        assert torch.equal(value, helped.average.state_dict()[name]), name


@pytest.mark.slow
def test_processes_unpack_every_patient_of_a_run(tmp_path: Path) -> None:
    make_tiny_pairs(tmp_path, 3)
    config = config_for(tmp_path)
    unpack_patients(config.sources, config.validation, workers=2)
    made = {folder.name.partition("-")[0]: folder.stat().st_mtime_ns for folder in (tmp_path / UNPACKED).iterdir()}
    assert sorted(made) == ["sim0000", "sim0001", "sim0002"]
    train(replace(config, steps=1), tmp_path / "run")
    assert made == {folder.name.partition("-")[0]: folder.stat().st_mtime_ns for folder in (tmp_path / UNPACKED).iterdir()}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
def test_cuda_trains_as_the_cpu_does(pairs: Path, tmp_path: Path, precision: str) -> None:
    for accelerator in ("cpu", "cuda"):
        fabric = Fabric(accelerator=accelerator, devices=1, precision=precision if accelerator == "cuda" else "32-true")  # type: ignore[arg-type]
        train(config_for(pairs), tmp_path / accelerator, fabric=fabric, rhythm=Rhythm(log=1))
    cpu, cuda = ([float(row["l1_hu"]) for row in table(tmp_path / name / TRAINING)] for name in ("cpu", "cuda"))
    # Later losses of mixed precision differ more: bfloat16 by 2.4 % on a CPU, and float16 leaves out its first steps until the
    # scaler has found a scale that does not overflow.
    assert cuda[0] == pytest.approx(cpu[0], rel=2e-2)
    if precision == "32-true":
        assert cuda == pytest.approx(cpu, rel=1e-2)


def test_an_epoch_of_the_papers_recipe_shows_every_fixed_patch_once(pairs: Path) -> None:
    batches = build_epochs(config_for(pairs).sources, per_patient=4, size=48, count=2, seed=3, processes=2)
    assert batches.steps_per_epoch == 2
    assert np.bincount(batches.places[:, 0]).tolist() == [4, 4]
    covered = np.zeros((2, 6, 128, 128), int)
    for patient, k, top, left in batches.places.tolist():
        covered[patient, k, top : top + 48, left : left + 48] += 1
    assert covered.max() == 1
    assert covered.sum() == 8 * 48 * 48
    epochs = [[batches.draw(2 * epoch + step, rank).sharp for step in range(2) for rank in range(2)] for epoch in range(2)]
    seen = [sorted(float(p.sum()) for batch in epoch for p in batch) for epoch in epochs]
    assert seen[0] == pytest.approx(seen[1])
    assert len(set(seen[0])) == 8
    assert not torch.equal(epochs[0][0], epochs[1][0])


def test_more_patches_than_fit_and_epochs_over_self_pairs_are_refused(pairs: Path) -> None:
    sources = config_for(pairs).sources
    with pytest.raises(InputError, match="holds 24 that do not overlap"):
        build_epochs(sources, 25, 64, 2, 1, 1)
    with pytest.raises(InputError, match="leave out --self-pairs"):
        build_epochs(replace(sources, self_pairs=("x",)), 4, 64, 2, 1, 1)
    with pytest.raises(InputError, match="fill no step"):
        build_epochs(sources, 4, 64, 16, 1, 1)


@pytest.mark.slow
def test_the_papers_network_sees_the_sharp_image_alone_and_all_of_it(pairs: Path, tmp_path: Path) -> None:
    train(config_for(pairs, "paper", learning_rate=1e-2), tmp_path)
    network = load_trained(tmp_path)
    sharp, base = (torch.randn(1, 1, 64, 64) * 100.0 - 900.0 for _ in range(2))
    with torch.no_grad():
        made = network(sharp, base, sharp * 0.0)
        assert made.std() > 0.0
        assert torch.equal(made, network(sharp))
        fat, bone = (network(torch.full((1, 1, 64, 64), hu)) for hu in (-90.0, 600.0))
    assert not torch.equal(fat, bone)


def test_each_patient_of_71_is_tested_once_and_no_fold_mixes_its_sides() -> None:
    names = [f"sim{n:04d}" for n in range(71)]
    folds = make_folds(names, 6, seed=1)
    assert sorted(name for fold in folds for name in fold.test) == names
    for fold in folds:
        assert len(fold.test) in (11, 12)
        assert len(fold.validation) in (11, 12)
        assert not set(fold.train) & set(fold.validation)
        assert not set(fold.test) & (set(fold.train) | set(fold.validation))
        assert len(fold.train) + len(fold.validation) + len(fold.test) == 71
    assert make_folds(names[::-1], 6, seed=1) == folds
    assert make_folds(names, 6, seed=2) != folds
    with pytest.raises(ValueError, match="common patient"):
        Fold(("a", "b"), ("b",), ("c",))
    with pytest.raises(InputError, match="2 folds of 71 patients"):
        make_folds(names, 2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["ours", "paper"])
def test_one_command_cross_validates_and_another_evaluates_every_patient_with_the_model_that_left_it_out(
    recipe: str, crossed: Path, tmp_path: Path
) -> None:
    out = crossed / recipe
    command = ["--smoke", "--recipe", recipe, "--threads", "1", "--variants", "1", "--out", str(out)]
    data = crossed / "ours-data"
    if recipe == "paper":  # on the chests of the other recipe, which need not be made and unpacked again
        make_tiny_pairs(data, crossval.SMOKE_PATIENTS)
        command += ["--pairs", str(data), "--folds", str(crossval.SMOKE_PATIENTS)]
    assert crossval.main([*command, "--only", "2"]) == 0
    assert [p.name for p in sorted(out.glob("fold*"))] == ["fold2", "folds.json"]
    assert json.loads((out / "recipe.json").read_text())["schedule"] == ("constant" if recipe == "paper" else "cosine")
    first = (out / "fold2" / "model" / "card.json").stat().st_mtime_ns
    assert crossval.main(command) == 0
    assert (out / "fold2" / "model" / "card.json").stat().st_mtime_ns == first
    split = json.loads((out / "fold2" / "split.json").read_text())
    trained = json.loads((out / "fold2" / "run" / "config.json").read_text())
    assert [Path(p).stem for p in trained["sources"]["simulated"]] == split["train"]
    assert [Path(p).stem for p in trained["validation"]] == split["validation"]
    assert trained["sources"]["variants"] == 1
    assert crossval.main([*command, "--seed", "2"]) == 2
    assert crossval.main([*command, "--schedule", "cosine" if recipe == "paper" else "constant"]) == 2
    method = f"cv=unet:{out}/fold{{fold}}/model"
    results = tmp_path / "results"
    assert (
        evaluate.main(
            [
                str(data),
                "--methods",
                "linear",
                method,
                "--folds",
                str(out / "folds.json"),
                "--panels",
                "0",
                "--out",
                str(results),
            ]
        )
        == 0
    )
    tested = [row["case"] for row in table(results / "scores.csv") if row["method"] == "cv"]
    assert tested == [f"sim000{n}" for n in range(4)]
    shipped = tmp_path / "unet"
    parts = ["--run", str(out / "fold0" / "run"), "--out", str(shipped), "--training-data", "Chests.", "--members", str(out)]
    assert export.main(parts) == 0
    assert list_models(shipped / "members") == [f"fold{n}" for n in range(4)]
    members = [load_model(shipped / "members" / f"fold{n}") for n in range(4)]
    assert [m.id for m in members] == [f"fold{n}" for n in range(4)]
    assert members[0].sha256 == load_model(shipped).sha256 != members[1].sha256


@pytest.mark.slow
def test_the_smoke_run_needs_no_data_and_unusable_data_is_refused(tmp_path: Path) -> None:
    assert main(["--smoke", "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / BEST).exists()
    assert main(["--out", str(tmp_path / "none")]) == 2
    assert main(["--smoke", "--start-from", str(tmp_path), "--out", str(tmp_path / "other")]) == 2
