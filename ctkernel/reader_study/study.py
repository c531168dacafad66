"""The folder that readers see: images under random names, and what is known of them to everybody."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.io.json_file import read_json
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.provenance.hashes import sha256_of

from .pairs import STORED
from .seal import canonical_json

FORMAT, VERSION = "ctkernel reader study", 1
STUDY_FILE, AUDIT_FILE, IMAGE_SUFFIX = "study.json", "audit.jsonl", ".i16"
# True of every image, and so tells nothing: none of them may leave the study as an original.
USE = "Blinded images of a reader study: each may be synthetic. " + RESEARCH_USE


@dataclass(frozen=True)
class Case:
    """One image of a study.

    Attributes:
        identifier: random.
        shape: (k, j, i).
        spacing: mm (k, j, i).
        sha256: of the image file.
    """

    identifier: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    sha256: str


@dataclass(frozen=True)
class Study:
    """A prepared study.

    Attributes:
        folder: where it lies.
        identifier: random.
        readers: code names.
        cases: in the order of their identifiers.
        commitment: SHA-256 of the sealed labels.
    """

    folder: Path
    identifier: str
    readers: tuple[str, ...]
    cases: tuple[Case, ...]
    commitment: str

    def voxels(self, case: Case) -> NDArray[np.int16]:
        """Read-only int16 (k, j, i) on disk, HU.

        Raises:
            InputError: the file is missing or has another size.
        """
        path = self.image_path(case)
        expected = math.prod(case.shape) * STORED.itemsize
        if not path.is_file() or path.stat().st_size != expected:
            raise InputError(f"{path.name} is missing or damaged; copy the study folder again.")
        return np.memmap(path, dtype=STORED, mode="r", shape=case.shape)

    def image_path(self, case: Case) -> Path:
        """The file of an image."""
        return self.folder / (case.identifier + IMAGE_SUFFIX)

    def reading_order(self, reader: str) -> list[Case]:
        """The cases in the order that this reader gets them: random, the same at every start, and blind to the groups."""
        return sorted(self.cases, key=lambda case: _order_key(self.identifier, reader, case.identifier))


def _order_key(study: str, reader: str, case: str) -> str:
    return hashlib.sha256(f"{study}\n{reader}\n{case}".encode()).hexdigest()


def study_record(study: Study) -> dict[str, Any]:
    """What ``study.json`` holds."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "use": USE,
        "study": study.identifier,
        "readers": list(study.readers),
        "commitment": study.commitment,
        "cases": [
            {"case": c.identifier, "shape": list(c.shape), "spacing_mm": list(c.spacing), "sha256": c.sha256}
            for c in study.cases
        ],
    }


def record_hash(study: Study) -> str:
    """SHA-256 of what ``study.json`` holds, hexadecimal; the first line of the audit trail has it."""
    return hashlib.sha256(canonical_json(study_record(study))).hexdigest()


def open_study(folder: Path) -> Study:
    """Read a prepared study.

    Raises:
        InputError: no study, of another version, or damaged.
    """
    try:
        record = read_json(folder / STUDY_FILE)
        if record["format"] != FORMAT:
            raise KeyError("format")
        if record["version"] != VERSION:
            raise InputError(f"{folder} was prepared by another version of ctkernel ({record['version']}); use that one.")
        cases = tuple(_case(entry) for entry in record["cases"])
        return Study(folder, str(record["study"]), tuple(map(str, record["readers"])), cases, str(record["commitment"]))
    except FileNotFoundError as error:
        raise InputError(f"{folder} is no reader study; make one with ctkernel reader-study prepare.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / STUDY_FILE} is damaged; copy the study folder again.") from error


def require_unchanged_images(study: Study, progress: Progress) -> None:
    """Compare every image with its hash.

    Args:
        study: whose images.
        progress: told of every image.

    Raises:
        InputError: an image was changed after the study was prepared.
    """
    progress.start("Checking images", len(study.cases))
    for case in study.cases:
        study.voxels(case)
        if sha256_of(study.image_path(case)) != case.sha256:
            raise InputError(f"{study.image_path(case).name} was changed after the study was prepared; copy the folder again.")
        progress.advance()


def _case(entry: dict[str, Any]) -> Case:
    k, j, i = (int(n) for n in entry["shape"])
    z, y, x = (float(mm) for mm in entry["spacing_mm"])
    identifier = str(entry["case"])
    if min(k, j, i) < 1 or not identifier.isalnum():
        raise ValueError(identifier)
    return Case(identifier, (k, j, i), (z, y, x), str(entry["sha256"]))
