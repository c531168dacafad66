"""Which image is what, sealed until the report: a file apart from the study, which holds only the seal's hash.

The hash (a commitment) is written when the study is prepared. So nobody can change the labels afterwards without the report
noticing, and nobody can guess them from the hash, because a random salt is hashed with them.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.io.json_file import read_json
from KernelNormalizationLib.core.io.writing import atomic_path

from .scale import GROUPS, Group

FORMAT = "ctkernel reader study: sealed labels"
NOTE = "Keep this file away from the readers. Opening it with ctkernel reader-study report ends the study. " + RESEARCH_USE


@dataclass(frozen=True)
class Label:
    """What one image is.

    Attributes:
        case: random identifier in the study.
        source: name of the case in the two folders.
        group: which of its two volumes is shown.
    """

    case: str
    source: str
    group: Group


@dataclass(frozen=True)
class Seal:
    """The labels of a study.

    Attributes:
        study: identifier of the study.
        seed: of the draw.
        labels: one for each case.
        salt: random, hexadecimal.
    """

    study: str
    seed: int
    labels: tuple[Label, ...]
    salt: str

    @classmethod
    def new(cls, study: str, seed: int, labels: tuple[Label, ...]) -> Seal:
        """A seal with a fresh salt."""
        return cls(study, seed, labels, secrets.token_hex(32))

    @property
    def commitment(self) -> str:
        """SHA-256 of the seal's content, hexadecimal."""
        return hashlib.sha256(canonical_json(asdict(self))).hexdigest()

    @property
    def groups(self) -> dict[str, Group]:
        """Group by case."""
        return {label.case: label.group for label in self.labels}


def canonical_json(content: Any) -> bytes:
    """JSON with one way of writing it, as it is hashed."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def write_seal(seal: Seal, path: Path) -> None:
    """Write the seal, readable by this user only.

    Raises:
        InputError: the file exists.
    """
    if path.exists():
        raise InputError(f"{path} exists; the labels of another study are never overwritten. Give another place with --seal.")
    content = {"format": FORMAT, "note": NOTE, **asdict(seal)}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    path.chmod(0o600)


def open_seal(path: Path, study: str, commitment: str) -> Seal:
    """Read the labels and check them against the study.

    Args:
        path: the sealed file.
        study: identifier of the study.
        commitment: hash that the study holds.

    Raises:
        InputError: no such file, no seal, of another study, or changed since the study was prepared.
    """
    try:
        content = read_json(path)
        if content["format"] != FORMAT:
            raise KeyError("format")
        labels = tuple(Label(str(entry["case"]), str(entry["source"]), entry["group"]) for entry in content["labels"])
        seal = Seal(str(content["study"]), content["seed"], labels, str(content["salt"]))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give the file that prepare wrote with --seal.") from error
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is no seal of a reader study; give the file that prepare wrote.") from error
    if seal.study != study:
        raise InputError(f"{path} belongs to the study {seal.study}, this is {study}; give the seal of this study.")
    if seal.commitment != commitment or any(label.group not in GROUPS for label in seal.labels):
        raise InputError(
            f"{path} was changed after the study was prepared: its hash is {seal.commitment[:16]}…, the study committed to "
            f"{commitment[:16]}…. No report is made from changed labels; use an unchanged copy."
        )
    return seal
