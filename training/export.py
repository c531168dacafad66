"""Export a trained network as a model folder: safetensors, ONNX, and a card with conformance vectors and checksums."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from EmphysemaQuantLib.core.indices.prediction_interval import STRATA_KEY
from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.kernels.radial_filter import apply_gain
from KernelNormalizationLib.core.kernels.transfer import b20f_gain
from KernelNormalizationLib.core.methods.protocol import RESTORATION, RESTORATION_KEY
from KernelNormalizationLib.core.network.model_domain import DOMAIN_KEY, Domain
from KernelNormalizationLib.core.network.model_files import with_own_hash
from KernelNormalizationLib.core.network.model_folder import CARD, CARD_FORMAT, ONNX, WEIGHTS, load_model, sha256_of
from KernelNormalizationLib.core.network.unet import UNet

from .evaluation.report import read_scores
from .running.checkpoint import load_trained
from .running.command_line import ends_with_code
from .running.config import CONFIG
from .running.error_strata import error_strata

logger = logging.getLogger("training.export")

# Names of folders: run and model inside a fold of training.crossval, members inside a model folder.
RUN, MODEL, MEMBERS = "run", "model", "members"
VECTOR_PIXELS = 64
# Default label of a residual network, which corrects a base, and of a direct one.
LABELS = {True: "UNet on the restored linear transfer", False: "as in the paper (direct UNet)"}
OPSET = 17
# Scans covered by the simulated populations (training.simulate.presets) and the tested real scans.
DOMAIN = Domain()


def export(run: Path, folder: Path, description: dict[str, Any], members: Path | None = None) -> Path:
    """Write the model folder ``folder`` from the run folder ``run`` and verify it by reading it back.

    Args:
        run: run folder of ``training.train``.
        folder: model folder to create; its name becomes the identifier of the model. It must not exist.
        description: ``training_data``, ``metrics`` and ``licence`` of the card, and further entries such as another ``label``
            (a short description for the user).
        members: folder of ``training.crossval``; the networks of its folds are exported too, as an ensemble of model folders.

    Returns:
        ``folder``.

    Raises:
        InputError: the folder exists (a model is never overwritten), or there is nothing to export.
        ModelError: the written model does not pass verification.
    """
    if folder.exists():
        raise InputError(f"{folder} exists; give the model a new name.")
    folds = [] if members is None else fold_runs(members)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as temporary:
        made = Path(temporary) / folder.name
        _write_model(run, made, description)
        for fold in folds:
            of_fold = f"{description['training_data']} Ensemble member: {fold.parent.name} of a cross-validation."
            _write_model(fold, made / MEMBERS / fold.parent.name, {**description, "training_data": of_fold, "metrics": {}})
        made.replace(folder)
    return folder


def fold_runs(crossval: Path) -> list[Path]:
    """Run folders of the folds of a cross-validation, sorted.

    Raises:
        InputError: there are no folds, or one is not finished.
    """
    runs = sorted(crossval.glob(f"fold*/{RUN}"))
    unfinished = [run.parent.name for run in runs if not (run.parent / MODEL / CARD).exists()]
    if not runs or unfinished:
        found = f"{', '.join(unfinished)} not finished" if unfinished else "no fold"
        raise InputError(f"{crossval}: {found}; run training.crossval to its end first.")
    return runs


def _write_model(run: Path, folder: Path, description: dict[str, Any]) -> None:
    network, config = load_trained(run), json.loads((run / CONFIG).read_text())
    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, str(folder / WEIGHTS))
    (folder / WEIGHTS).chmod(0o644)
    _write_onnx(network, folder / ONNX)
    card = {
        "format": CARD_FORMAT,
        "id": folder.name,
        "kernel_pair": ["B50f to B80f", "B20f"],
        DOMAIN_KEY: DOMAIN.as_card(),
        "use": RESEARCH_USE,
        "label": LABELS[network.config.residual],
        "architecture": network.config.as_card(),
        "transfer": config["sources"].pop("transfer", None),
        **description,
        "training": _without_places(config),
        "sha256": {name: sha256_of(folder / name) for name in (WEIGHTS, ONNX)},
        "conformance": [conformance_vector(network, seed) for seed in (1, 2)],
    }
    (folder / CARD).write_text(json.dumps(with_own_hash(card), indent=1) + "\n", encoding="utf-8")
    load_model(folder)


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """Configuration of a run with the names of its data but without their paths, because a card is passed on to others."""

    def named(value: Any) -> Any:
        return [Path(path).name for path in value] if isinstance(value, list) else Path(value).name

    sources = {k: named(v) if k in ("simulated", "self_pairs") else v for k, v in config["sources"].items()}
    return {**config, "sources": sources, **{k: named(config[k]) for k in ("validation", "start_from")}}


def conformance_vector(network: UNet, seed: int) -> dict[str, Any]:
    """Test inputs near the HU floor and the output of ``network``, all 64 x 64 pixels, HU rounded to 0.001."""
    sharp, lost = phantom(seed)
    base = np.round(apply_gain((sharp + lost)[None], (0.7, 0.7), b20f_gain(70))[0], 3)
    images = {"sharp": sharp, "base": base, "lost": lost}
    seen = {name: images[name] for name in network.config.inputs}
    with torch.inference_mode():
        expected = network(*(torch.from_numpy(x)[None, None] for x in seen.values()))[0, 0].numpy()
    return {name: _rows(image) for name, image in (*seen.items(), ("expected", expected))}


def phantom(seed: int) -> tuple[FloatArray, FloatArray]:
    """Noisy lung with a hole and a vessel, truncated at -1024 HU, and the HU lost by it: float32 (64, 64), integer HU."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:VECTOR_PIXELS, :VECTOR_PIXELS]
    hu = np.full((VECTOR_PIXELS, VECTOR_PIXELS), -860.0)
    hu[np.hypot(rows - 22, columns - 24) < 12] = -985.0
    hu[np.hypot(rows - 46, columns - 44) < 4] = 20.0
    noisy = np.rint(hu + rng.normal(0.0, 90.0, hu.shape))
    sharp = np.maximum(noisy, -1024.0)
    return sharp.astype(np.float32), (noisy - sharp).astype(np.float32)


def _write_onnx(network: UNet, path: Path) -> None:
    image = torch.zeros(1, 1, 64, 64)
    names = network.config.inputs
    free = {name: {0: "n", 2: "rows", 3: "columns"} for name in (*names, "smooth")}
    with warnings.catch_warnings():
        # The newer exporter of torch is avoided: it writes other operators and needs another package.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (image,) * len(names),
            str(path),
            input_names=list(names),
            output_names=["smooth"],
            dynamic_axes=free,
            opset_version=OPSET,
            dynamo=False,
        )


def _rows(image: FloatArray) -> list[str]:
    return [" ".join(f"{value:.3f}".rstrip("0").rstrip(".") for value in row) for row in image]


@ends_with_code(logger)
def main(arguments: list[str] | None = None) -> int:
    """Command line: ``python -m training.export``; 0 when the model was written, 2 for unusable input."""
    parser = argparse.ArgumentParser("python -m training.export", description="Make a model folder from a training run.")
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--out", type=Path, required=True, help="model folder to make; its name is the model's identifier")
    parser.add_argument("--training-data", required=True, help="sentence on what the model was trained on")
    parser.add_argument("--metrics", type=Path, help="JSON file with measured metrics")
    parser.add_argument("--label", help="what the model is, for the user (default: the kind of network)")
    parser.add_argument("--licence", default="Apache-2.0")
    parser.add_argument("--members", type=Path, metavar="CROSSVAL", help="cross-validation whose networks go along")
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="cross-validated evaluation; the error of its index goes into the card"
    )
    parser.add_argument("--method", default="ours", help="label of this model in --results (default: ours)")
    parser.add_argument("--population", default="simulated patients", help="who the patients of --results are")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    metrics = json.loads(options.metrics.read_text()) if options.metrics else {}
    description = {"training_data": options.training_data, "metrics": metrics, "licence": options.licence}
    if options.label:
        description["label"] = options.label
    if options.results is not None:
        strata = error_strata(read_scores(options.results), options.method, options.population)
        description |= {STRATA_KEY: [asdict(stratum) for stratum in strata], RESTORATION_KEY: RESTORATION}
    logger.info("%s is written", export(options.run, options.out, description, options.members))
    return 0


if __name__ == "__main__":
    sys.exit(main())
