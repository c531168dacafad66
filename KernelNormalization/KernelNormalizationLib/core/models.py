"""Model folders: weights, the same network as ONNX, and a card; verified before anything is computed with them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from .errors import InputError, ModelError
from .owntransfer import OwnTransfer
from .volume import FloatArray

CARD, WEIGHTS, ONNX = "card.json", "model.safetensors", "model.onnx"
CARD_FORMAT = 1
# What a network starts from; see ``UNetConfig``.
Base = Literal["restored", "linear"]
# The card's promise to every backend: its conformance vectors come out within this many HU.
CONFORMANCE_HU = 0.5
REQUIRED = ("id", "kernel_pair", "architecture", "training_data", "metrics", "licence", "sha256", "conformance")


@dataclass(frozen=True)
class ConformanceVector:
    """An input and the output the network must give for it; images float32 (1, 1, rows, columns), HU."""

    sharp: FloatArray
    base: FloatArray
    floor: float
    expected: FloatArray


@dataclass(frozen=True)
class Model:
    """A verified model folder.

    Attributes:
        folder: where it lies.
        card: the parsed ``card.json``.
    """

    folder: Path
    card: dict[str, Any]

    @property
    def id(self) -> str:
        """Identifier of the model, the folder's name."""
        return str(self.card["id"])

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
        """Whether the network corrects its base only near truncated voxels."""
        return bool(self.card["architecture"]["residual"])

    @property
    def base(self) -> Base:
        """What the network starts from."""
        return base_of(self.card["architecture"])

    @property
    def transfer(self) -> OwnTransfer | None:
        """Kernel transfer of the centre whose pairs the model was trained on, if it was measured."""
        return OwnTransfer.from_card(self.card.get("transfer"))

    def conformance(self) -> list[ConformanceVector]:
        """The card's conformance vectors."""
        return [
            ConformanceVector(_image(v["sharp"]), _image(v["base"]), float(v["floor"]), _image(v["expected"]))
            for v in self.card["conformance"]
        ]


def base_of(architecture: dict[str, Any]) -> Base:
    """The base that a card's ``architecture`` names; ``linear`` if it names none.

    Raises:
        ValueError: an unknown one.
    """
    name = str(architecture.get("base", "linear"))
    for known in get_args(Base):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise ValueError(f"base {name!r} is none of {', '.join(get_args(Base))}")


def models_folder() -> Path:
    """Folder of the models that come with the product, in a Slicer build, a checkout or an installed package."""
    package = Path(__file__).resolve().parents[1]
    beside_module = package.parent / "Resources" / "Models"
    return beside_module if beside_module.is_dir() else package / "models"


def list_models(folder: Path | None = None) -> list[str]:
    """Identifiers of the models in ``folder`` (default: those that come with the product), sorted."""
    folder = folder or models_folder()
    return sorted(card.parent.name for card in folder.glob(f"*/{CARD}"))


def load_model(identifier_or_folder: str | Path | None = None) -> Model:
    """Read and verify a model folder.

    Args:
        identifier_or_folder: name of a model that comes with the product, or a folder; default: the newest of those.

    Raises:
        ModelError: no such model, an incomplete card, or files that are not those the card describes.
    """
    folder = _resolve(identifier_or_folder)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder} holds no {CARD}; choose a folder made by training.export.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder / CARD} is not valid JSON ({error}); copy the model folder again.") from error
    missing = [key for key in REQUIRED if not isinstance(card, dict) or key not in card]
    if missing:
        raise ModelError(f"{folder / CARD} lacks {', '.join(missing)}; choose a folder made by training.export.")
    if card.get("format") != CARD_FORMAT:
        found = card.get("format")
        raise ModelError(f"{folder / CARD} has format {found}, this version reads {CARD_FORMAT}; update one of them.")
    model = Model(folder, card)
    try:
        hashes = {name: card["sha256"].get(name) for name in (WEIGHTS, ONNX)}
        vectors, _ = model.conformance(), (model.residual, model.base, model.transfer)
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise ModelError(f"{folder / CARD} is damaged ({problem}); copy the model folder again.") from error
    if not vectors:
        raise ModelError(f"{folder / CARD} has no conformance vector, so nothing shows that the model computes correctly.")
    for name, expected in hashes.items():
        _verify(folder / name, expected)
    return model


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _resolve(identifier_or_folder: str | Path | None) -> Path:
    if identifier_or_folder is None:
        known = list_models()
        if not known:
            raise ModelError(f"No model is installed in {models_folder()}; reinstall, or give a model folder.")
        return models_folder() / known[-1]
    given = Path(identifier_or_folder)
    if given.is_dir():
        return given
    bundled = models_folder() / given.name
    if given.name == str(identifier_or_folder) and bundled.is_dir():
        return bundled
    raise ModelError(f"There is no model {identifier_or_folder}; installed are: {', '.join(list_models()) or 'none'}.")


def _verify(path: Path, expected: str | None) -> None:
    if not path.is_file():
        raise ModelError(f"{path} is missing; copy the model folder again.")
    actual = sha256_of(path)
    if actual != expected:
        raise ModelError(f"{path} has SHA-256 {actual}, its card says {expected}; the file was damaged or changed.")


def _image(rows: list[str]) -> FloatArray:
    return np.asarray([[float(value) for value in row.split()] for row in rows], np.float32)[None, None]
