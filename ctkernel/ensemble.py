"""How far the networks of an ensemble disagree about the emphysema index of one scan."""

from __future__ import annotations

from pathlib import Path
from statistics import stdev
from typing import Any

from EmphysemaQuantLib.core.indices.density import compute_indices
from EmphysemaQuantLib.core.indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU
from EmphysemaQuantLib.core.indices.prediction_interval import ENSEMBLE_SD_KEY
from EmphysemaQuantLib.core.lungs.segmentation import segment_lungs
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.methods.unet import UNetNormalizer
from KernelNormalizationLib.core.network.backends import Device
from KernelNormalizationLib.core.network.model_folder import Model, list_models, load_model
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.volume import CTVolume

# Folder beside a model's files, with one model folder per member.
MEMBERS = "members"


def load_members(model: str | Path | None) -> list[Model]:
    """The verified members of a model's ensemble.

    Args:
        model: identifier or folder; default: the model that comes with the product.

    Raises:
        InputError: the model has fewer than two members.
        ModelError: the model or a member cannot be used.
    """
    chosen = load_model(model)
    folder = chosen.folder / MEMBERS
    names = list_models(folder)
    if len(names) < 2:
        raise InputError(
            f"Model {chosen.id} has {len(names)} ensemble members, and two are needed to see how far they differ; leave "
            f"--ensemble out, or choose a model that has them in its folder “{folder.name}”."
        )
    return [load_model(folder / name) for name in names]


def ensemble_spread(volume: CTVolume, members: list[Model], device: Device, progress: Progress) -> dict[str, Any]:
    """Normalize ``volume`` with every member and compare EI on one lung mask.

    Args:
        volume: the scan.
        members: from :func:`load_members`.
        device: where the networks compute.
        progress: receives every step of every member.

    Returns:
        For the provenance record: the members with their hashes, their EI (%) and its standard deviation (divisor n - 1,
        percentage points).

    Raises:
        LungNotFoundError: the scan shows no lung to measure EI in.
        Cancelled: the user stopped the run.
    """
    lung_mask = segment_lungs(volume, progress)
    values = []
    for member in members:
        made = UNetNormalizer(member, device).normalize(volume, progress).volume
        values.append(compute_indices(made, lung_mask)[0].ei_percent)
    return {
        "members": [{"id": m.id, "sha256": m.sha256, "ei_percent": round(e, 4)} for m, e in zip(members, values, strict=True)],
        "threshold_hu": EMPHYSEMA_THRESHOLD_HU,
        ENSEMBLE_SD_KEY: round(stdev(values), 4),
    }
