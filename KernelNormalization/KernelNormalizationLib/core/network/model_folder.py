"""Model folders, which hold the weights, the network as ONNX, and a card; they are verified before use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError, ModelError
from ..io.json_file import read_json
from ..kernels.calibrated_transfer import OwnTransfer
from ..plain_text import plain, quoted
from ..provenance.hashes import sha256_of as sha256_of
from .model_domain import Domain, domain_of
from .model_files import verify_card, verify_files

CARD, WEIGHTS, ONNX = "card.json", "model.safetensors", "model.onnx"
# Since format 2, an input of the network is how many HU each voxel lost to truncation; in format 1 it was the HU floor.
CARD_FORMAT = 2
# File beside the model folders that names the default model.
DEFAULT = "default.json"
# Largest deviation (HU) from the expected output of a conformance vector; a backend that deviates more is not used.
CONFORMANCE_HU = 0.5
REQUIRED = ("id", "label", "kernel_pair", "architecture", "training_data", "metrics", "licence", "sha256", "conformance")


@dataclass(frozen=True)
class ConformanceVector:
    """A test input and the output that the network must give for it; images float32 (1, 1, rows, columns), HU.

    Attributes:
        images: input images in the order of :attr:`Model.inputs`.
        expected: expected output.
    """

    images: tuple[FloatArray, ...]
    expected: FloatArray


@dataclass(frozen=True)
class Model:
    """A verified model folder.

    Attributes:
        folder: path of the folder.
        card: the parsed ``card.json``.
    """

    folder: Path
    card: dict[str, Any]

    @property
    def id(self) -> str:
        """Identifier of the model, which is the name of its folder."""
        return str(self.card["id"])

    @property
    def label(self) -> str:
        """Short description for the user."""
        return str(self.card["label"])

    @property
    def weights(self) -> Path:
        """The safetensors file."""
        return self.folder / WEIGHTS

    @property
    def onnx(self) -> Path:
        """The ONNX file."""
        return self.folder / ONNX

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights."""
        return str(self.card["sha256"][WEIGHTS])

    @property
    def residual(self) -> bool:
        """Whether the network corrects the restored linear transfer near truncated voxels; otherwise it predicts the image."""
        return bool(self.card["architecture"]["residual"])

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input images of the network."""
        return input_names(self.residual)

    @property
    def transfer(self) -> OwnTransfer | None:
        """Kernel transfer measured on the pairs that the model was trained on, if it was measured."""
        return OwnTransfer.from_card(self.card.get("transfer"))

    @property
    def domain(self) -> Domain:
        """Scans that the model was made for."""
        return domain_of(self.card)

    def conformance(self) -> list[ConformanceVector]:
        """The card's conformance vectors.

        Raises:
            InputError: an image is no table of numbers, or the images of a vector differ in size.
        """
        vectors = [
            ConformanceVector(tuple(_image(v[name], name) for name in self.inputs), _image(v["expected"], "expected"))
            for v in self.card["conformance"]
        ]
        if any(image.shape != vector.expected.shape for vector in vectors for image in vector.images):
            raise InputError("the images of a conformance vector differ in size")
        return vectors


def input_names(residual: bool) -> tuple[str, ...]:
    """Names of a network's input images: the stored image; for a residual network also the image to correct and the lost HU."""
    return ("sharp", "base", "lost") if residual else ("sharp",)


def models_folder() -> Path:
    """Folder of the supplied models, in a Slicer build, a checkout or an installed package."""
    package = Path(__file__).resolve().parents[2]
    beside_module = package.parent / "Resources" / "Models"
    return beside_module if beside_module.is_dir() else package / "models"


def list_models(folder: Path | None = None) -> list[str]:
    """Identifiers of the models in ``folder`` (default: the supplied models), sorted."""
    folder = folder or models_folder()
    return sorted(card.parent.name for card in folder.glob(f"*/{CARD}"))


def default_model(folder: Path | None = None) -> str:
    """Identifier of the default model in ``folder`` (default: the folder of the supplied models).

    Raises:
        ModelError: ``default.json`` is missing, or names a model that is not there.
    """
    folder = folder or models_folder()
    try:
        name = str(read_json(folder / DEFAULT)["model"])
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise ModelError(f"{folder / DEFAULT} names no default model ({error}); reinstall, or choose a model.") from error
    if name not in list_models(folder):
        known = ", ".join(list_models(folder)) or "none"
        raise ModelError(f"{folder / DEFAULT} names the model {name}; installed are: {known}. Reinstall, or choose a model.")
    return name


@lru_cache(maxsize=1)
def shipped_domain() -> Domain:
    """Scans that the default model was made for; if no model is installed, the defaults of :class:`.Domain`."""
    try:
        path = models_folder() / default_model() / CARD
        card = read_json(path)
        if not isinstance(card, dict):
            return Domain()
        verify_card(card, path)
        return domain_of(card)
    except (ModelError, InputError, OSError):  # a missing or damaged model is reported when it is needed
        return Domain()


def model_label(identifier_or_folder: str | Path) -> str:
    """Short description of a model for the user; the name of its folder if the card is missing or has none.

    The model is not verified, so that a list of models appears without delay.
    """
    try:
        return plain(read_json(_resolve(identifier_or_folder) / CARD)["label"])
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return Path(identifier_or_folder).name


def load_model(identifier_or_folder: str | Path | None = None) -> Model:
    """Read and verify a model folder.

    Args:
        identifier_or_folder: name of a supplied model, or a model folder; default: :func:`default_model`.

    Raises:
        InputError: there is no such model.
        ModelError: there is no default model, the card is incomplete or was changed, or a file that it names does not match it.
    """
    folder = _resolve(identifier_or_folder)
    try:
        card = read_json(folder / CARD)
    except FileNotFoundError:
        raise ModelError(f"{folder} holds no {CARD}; choose a model's folder, which holds {CARD} beside the weights.") from None
    except InputError as error:
        raise ModelError(f"{error} The model folder cannot be used.") from error
    found = card.get("format") if isinstance(card, dict) else None
    if found in (1, "1"):
        raise ModelError(
            f"{folder / CARD} has format 1: its network needs the HU floor as an input, which this version no longer gives. "
            f"Export or download the model again in format {CARD_FORMAT}."
        )
    missing = [key for key in REQUIRED if not isinstance(card, dict) or key not in card]
    if missing:
        raise ModelError(f"{folder / CARD} lacks {', '.join(missing)}; get the model again from where it came from.")
    if found != CARD_FORMAT:
        raise ModelError(f"{folder / CARD} has format {found}, this version reads {CARD_FORMAT}; update one of them.")
    _require_kinds(card, folder / CARD)
    model = Model(folder, card)
    try:
        vectors, _ = model.conformance(), (model.label, model.transfer, model.domain)
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        problem = plain(error) if isinstance(error, InputError | ValueError) else "an entry is of another kind than it must be"
        if isinstance(error, KeyError):
            problem = f"the entry {error} is missing"
        raise ModelError(f"{folder / CARD} is damaged ({problem}); copy the model folder again.") from error
    if not vectors:
        raise ModelError(
            f"{folder / CARD} has no conformance vector, so nothing shows that the model computes correctly; export it again."
        )
    verify_card(card, folder / CARD)
    verify_files(folder, card["sha256"], (WEIGHTS, ONNX))
    return model


def _require_kinds(card: dict[str, Any], path: Path) -> None:
    """Refuse a card whose entries do not have the type that the code expects."""
    kinds: dict[str, tuple[type, str]] = {
        "id": (str, "a text"),
        "label": (str, "a text"),
        "architecture": (dict, "named values"),
        "sha256": (dict, "named values"),
        "metrics": (dict, "named values"),
        "conformance": (list, "a list"),
    }
    for key, (kind, words) in kinds.items():
        if not isinstance(card[key], kind):
            shown = quoted(json.dumps(card[key]))
            raise ModelError(f"{path} is damaged: “{key}” is {shown}, not {words}; copy the model folder again.")
    if not all(isinstance(vector, dict) for vector in card["conformance"]):
        raise ModelError(f"{path} is damaged: a conformance vector is no set of images; copy the model folder again.")


def _resolve(identifier_or_folder: str | Path | None) -> Path:
    if identifier_or_folder is None:
        return models_folder() / default_model()
    given = Path(str(identifier_or_folder).replace("\0", "?"))
    if given.is_dir():
        return given
    bundled = models_folder() / given.name
    if given.name == str(identifier_or_folder) and bundled.is_dir():
        return bundled
    raise InputError(f"There is no model {plain(identifier_or_folder)}; installed are: {', '.join(list_models()) or 'none'}.")


def _image(rows: list[str], name: str) -> FloatArray:
    try:
        image = np.asarray([[float(value) for value in row.split()] for row in rows], np.float32)
    except (TypeError, ValueError, AttributeError):
        image = np.empty(0, np.float32)
    if image.ndim != 2 or not image.size:
        raise InputError(f"the conformance image “{name}” is no table of numbers")
    return image[None, None]
