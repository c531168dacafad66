"""Whether the files of a model folder are those that its card was written for, and the card the one that was written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..plain_text import plain, quoted
from ..provenance.hashes import sha256_of

# Entry of a card with the hash of all its other entries. Cards of other programs may lack it.
CARD_HASH = "card_sha256"
# Endings of files that libraries load beside a network, such as the external data of an ONNX file.
_LOADED = (".onnx", ".data", ".safetensors", ".bin", ".xml", ".pt", ".pth", ".ckpt", ".npz", ".npy")


def card_sha256(card: dict[str, Any]) -> str:
    """SHA-256 of a card's entries without :data:`CARD_HASH`, hexadecimal.

    Hashed is the JSON with sorted keys, without spaces and in ASCII, so that it does not depend on how the file is laid out.
    """
    entries = {key: value for key, value in card.items() if key != CARD_HASH}
    return hashlib.sha256(json.dumps(entries, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()


def with_own_hash(card: dict[str, Any]) -> dict[str, Any]:
    """The card with the hash of its entries, as a model is exported."""
    return card | {CARD_HASH: card_sha256(card)}


def verify_card(card: dict[str, Any], path: Path) -> None:
    """Compare a card's entries with the hash it states of them.

    Raises:
        ModelError: an entry was damaged or changed after the model was exported.
    """
    if CARD_HASH not in card:
        return
    try:
        found = card_sha256(card)
    except RecursionError:
        found = "unknown, nested too deeply"
    if card[CARD_HASH] != found:
        raise ModelError(
            f"{path} was damaged or changed after its model was exported (SHA-256 {found}, it states "
            f"{quoted(card[CARD_HASH], 80)}); copy the model folder again."
        )


def verify_files(folder: Path, hashes: dict[str, Any], required: tuple[str, ...]) -> None:
    """Compare every file that a card names with its hash, whichever of them computes.

    Args:
        folder: the model folder.
        hashes: SHA-256, hexadecimal, by file name, from the card.
        required: files that every model has.

    Raises:
        ModelError: a file is missing, changed or named with a folder, or the folder holds weights that its card does not name.
    """
    for name in dict.fromkeys((*required, *hashes)):
        if Path(name).name != name:
            raise ModelError(f"{folder}: the card names the file {quoted(name)} outside its folder; get the model again.")
        _verify(folder / name, hashes.get(name))
    others = sorted(p.name for p in folder.iterdir() if p.name not in hashes and p.suffix.lower() in _LOADED)
    if others:
        raise ModelError(
            f"{folder} holds {plain(', '.join(others[:5]))}, which its card does not name, so nothing shows what it is; "
            "move it out of the model folder, or copy the folder again."
        )


def _verify(path: Path, expected: object) -> None:
    if not path.is_file():
        raise ModelError(f"{path} is missing; copy the model folder again.")
    actual = sha256_of(path)
    if actual != expected:
        raise ModelError(
            f"{path} has SHA-256 {actual}, its card says {plain(expected)}; the file was damaged or changed. "
            "Copy the model folder again."
        )
