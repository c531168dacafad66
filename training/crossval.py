"""Train one model per fold, so that each patient is tested with a model not trained on it: ``python -m training.crossval``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.writing import write_json

from .data.calibrate_transfer import measure_transfer
from .data.unpacked import patient_files
from .export import MODEL, RUN, export
from .running.command_line import ends_with_code
from .running.config import TrainConfig
from .running.folds import Fold, make_folds
from .running.smoke import make_tiny_pairs
from .train import Rhythm, add_recipe_arguments, config_from, rhythm_from, set_up, train

logger = logging.getLogger("training.crossval")

FOLDS, RECIPE, SPLIT = "folds.json", "recipe.json", "split.json"
SMOKE_PATIENTS = 4


@dataclass(frozen=True)
class CrossValidation:
    """A division of patients into folds, and how the model of each fold is trained.

    Attributes:
        config: recipe, including the seed of the division; ``sources`` may name further data that every fold trains on, which
            must not contain these patients.
        pairs: data set folder.
        folds: number of folds.
        own_transfer: whether to measure the kernel transfer on the training patients of each fold.
    """

    config: TrainConfig
    pairs: Path
    folds: int
    own_transfer: bool = False

    def run(self, out: Path, fabric: Fabric, only: tuple[int, ...] = (), rhythm: Rhythm | None = None) -> list[Path]:
        """Train and export the model of every fold that has none yet.

        Args:
            out: folder for ``folds.json`` (test fold of every patient), ``recipe.json``, ``fold0/{split.json,run,model}`` etc.
            fabric: devices and precision.
            only: numbers of the folds to train now; empty for all.
            rhythm: the pace of each run.

        Returns:
            model folders of the folds that were trained now or before.

        Raises:
            InputError: the division is not possible, or ``out`` holds another division or recipe.
        """
        files = {path.stem: path for path in patient_files(self.pairs)}
        divided = make_folds(list(files), self.folds, self.config.seed)
        wrong = [n for n in only if not 0 <= n < self.folds]
        if wrong:
            raise InputError(f"There is no fold {wrong[0]}; folds are numbered 0 to {self.folds - 1}.")
        out.mkdir(parents=True, exist_ok=True)
        if fabric.is_global_zero:
            _write_once(out / FOLDS, {name: n for n, fold in enumerate(divided) for name in fold.test})
            _write_once(out / RECIPE, {**asdict(self.config), "own_transfer": self.own_transfer})
        fabric.barrier()
        chosen = [(fold, out / f"fold{n}") for n, fold in enumerate(divided) if not only or n in only]
        return [self._run_fold(fold, files, folder, fabric, rhythm) for fold, folder in chosen]

    def _run_fold(self, fold: Fold, files: dict[str, Path], out: Path, fabric: Fabric, rhythm: Rhythm | None) -> Path:
        model = out / MODEL
        if model.is_dir():
            logger.info("%s is finished", out.name)
            return model
        sizes = tuple(map(len, (fold.train, fold.validation, fold.test)))
        logger.info("%s: %d patients train, %d validate, %d test", out.name, *sizes)
        out.mkdir(exist_ok=True)
        if fabric.is_global_zero:
            _write_once(out / SPLIT, asdict(fold))
        training, validation = ([str(files[name]) for name in side] for side in (fold.train, fold.validation))
        transfer = measure_transfer([files[name] for name in fold.train]) if self.own_transfer else None
        sources = self.config.sources
        sources = replace(sources, simulated=(*training, *sources.simulated), transfer=transfer)
        train(replace(self.config, sources=sources, validation=tuple(validation)), out / RUN, fabric=fabric, rhythm=rhythm)
        if fabric.is_global_zero:
            export(out / RUN, model, {"training_data": self._sentence(fold), "metrics": {}, "licence": "Apache-2.0"})
        fabric.barrier()
        return model

    def _sentence(self, fold: Fold) -> str:
        also = (len(self.config.sources.simulated), len(self.config.sources.self_pairs))
        further = f"; with {also[0]} further data sets and {also[1]} real scans" if any(also) else ""
        return f"{len(fold.train)} patients of a cross-validation, weights chosen on {len(fold.validation)} others{further}"


def _write_once(path: Path, content: object) -> None:
    """Write JSON, or make sure that the existing file has the same content.

    Raises:
        InputError: the file has other content.
    """
    if not path.exists():
        write_json(content, path)
    elif json.loads(path.read_text()) != json.loads(json.dumps(content)):
        raise InputError(f"{path} says otherwise; go on as that run began, choose another --out, or delete its folder.")


@ends_with_code(logger)
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when every fold has its model, 2 for unusable input."""
    parser = argparse.ArgumentParser(
        "python -m training.crossval",
        description=(
            "Train and export one model for every fold of patients. An interrupted run goes on when the command is given "
            "again. "
            "Then: python -m training.evaluate PAIRS --methods ours=unet:OUT/fold{fold}/model --folds OUT/folds.json"
        ),
    )
    parser.add_argument("--pairs", type=Path, metavar="DIR", help="data set of training.simulate or training.pairs")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for folds.json and the folds")
    parser.add_argument("--folds", type=int, default=6, metavar="N", help="default: 6, as in the paper")
    parser.add_argument("--only", type=int, nargs="+", default=[], metavar="FOLD", help="train only these, numbered from 0")
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="PATH",
        help="further data set that every fold trains on; it must not hold patients of --pairs",
    )
    add_recipe_arguments(parser)
    options = parser.parse_args(arguments)
    fabric = set_up(options)
    if options.smoke and options.pairs is None:
        options.pairs, options.folds = options.out.parent / (options.out.name + "-data"), SMOKE_PATIENTS
        make_tiny_pairs(options.pairs, SMOKE_PATIENTS)
    if options.pairs is None:
        raise InputError("There is nothing to train on; give --pairs FOLDER.")
    config = config_from(options, options.also)
    validation = CrossValidation(config, options.pairs, options.folds, options.own_transfer)
    validation.run(options.out, fabric, tuple(options.only), rhythm_from(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
