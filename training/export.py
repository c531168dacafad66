"""Checkpoint in, model folder out: safetensors, ONNX, card with conformance vectors and checksums."""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from KernelNormalizationLib.core.linear import b20f_gain
from KernelNormalizationLib.core.models import CARD, CARD_FORMAT, ONNX, WEIGHTS, load_model, sha256_of
from KernelNormalizationLib.core.radial import apply_gain
from KernelNormalizationLib.core.unet import UNet
from KernelNormalizationLib.core.volume import FloatArray
from KernelNormalizationLib.core.write import RESEARCH_USE

from .checkpoint import load_trained

VECTOR_PIXELS = 64
OPSET = 17


def export(run: Path, folder: Path, description: dict[str, Any]) -> Path:
    """Write the model folder ``folder`` from the run folder ``run`` and read it back.

    Args:
        run: folder of ``training.train``.
        folder: model folder to make; its name becomes the model's identifier. Must not exist.
        description: ``training_data``, ``metrics`` and ``licence`` of the card.

    Returns:
        ``folder``.

    Raises:
        FileExistsError: the folder exists; a model is never overwritten.
        ModelError: what was written does not verify.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists; give the model a new name.")
    network = load_trained(run)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as temporary:
        made = Path(temporary) / folder.name
        made.mkdir()
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, str(made / WEIGHTS))
        (made / WEIGHTS).chmod(0o644)
        _write_onnx(network, made / ONNX)
        card = {
            "format": CARD_FORMAT,
            "id": folder.name,
            "kernel_pair": ["B50f to B80f", "B20f"],
            "use": RESEARCH_USE,
            "architecture": network.config.as_card(),
            **description,
            "training": json.loads((run / "config.json").read_text()),
            "sha256": {name: sha256_of(made / name) for name in (WEIGHTS, ONNX)},
            "conformance": [conformance_vector(network, seed) for seed in (1, 2)],
        }
        (made / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        load_model(made)
        made.replace(folder)
    return folder


def conformance_vector(network: UNet, seed: int) -> dict[str, Any]:
    """An input near the HU floor and this network's output, all 64 x 64 pixels, HU rounded to 0.001."""
    sharp = phantom(seed)
    base = np.round(apply_gain(sharp[None], (0.7, 0.7), b20f_gain(70))[0], 3)
    floor = -1023.5
    with torch.inference_mode():
        tensors = (torch.from_numpy(x)[None, None] for x in (sharp, base))
        expected = network(*tensors, torch.tensor(floor))[0, 0].numpy()
    return {"sharp": _rows(sharp), "base": _rows(base), "floor": floor, "expected": _rows(expected)}


def phantom(seed: int) -> FloatArray:
    """Noisy lung with a hole and a vessel, truncated at -1024: float32 (64, 64), integer HU."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:VECTOR_PIXELS, :VECTOR_PIXELS]
    hu = np.full((VECTOR_PIXELS, VECTOR_PIXELS), -860.0)
    hu[np.hypot(rows - 22, columns - 24) < 12] = -985.0
    hu[np.hypot(rows - 46, columns - 44) < 4] = 20.0
    noisy = hu + rng.normal(0.0, 90.0, hu.shape)
    return np.maximum(np.rint(noisy), -1024.0).astype(np.float32)


def _write_onnx(network: UNet, path: Path) -> None:
    image = torch.zeros(1, 1, 64, 64)
    free = {name: {0: "n", 2: "rows", 3: "columns"} for name in ("sharp", "base", "smooth")}
    with warnings.catch_warnings():
        # The graph-capturing exporter writes other operators for a model this plain and needs a further package.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network, (image, image, torch.tensor(-1023.5)), str(path), input_names=["sharp", "base", "floor"],
            output_names=["smooth"], dynamic_axes=free, opset_version=OPSET, dynamo=False,
        )  # fmt: skip


def _rows(image: FloatArray) -> list[str]:
    return [" ".join(f"{value:.3f}".rstrip("0").rstrip(".") for value in row) for row in image]


def main(arguments: list[str] | None = None) -> None:
    """Command line: ``python -m training.export``."""
    parser = argparse.ArgumentParser(description="Make a model folder from a training run.")
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--out", type=Path, required=True, help="model folder to make; its name is the model's identifier")
    parser.add_argument("--training-data", required=True, help="sentence on what the model was trained on")
    parser.add_argument("--metrics", type=Path, help="JSON file with measured metrics")
    parser.add_argument("--licence", default="Apache-2.0")
    options = parser.parse_args(arguments)
    metrics = json.loads(options.metrics.read_text()) if options.metrics else {}
    description = {"training_data": options.training_data, "metrics": metrics, "licence": options.licence}
    export(options.run, options.out, description)


if __name__ == "__main__":
    main()
