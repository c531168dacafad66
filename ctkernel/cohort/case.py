"""A case of a cohort: one scan, and what belongs to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# Hexadecimal digits of an identifier made from a UID or path: 64 bits, so that among 100,000 cases two meet with a chance of
# 3 in 10^10.
ID_DIGITS = 16

Kind = Literal["input", "system", "memory", "worker", "unexpected"]
# What a user can do about each kind of failure.
ADVICE: dict[Kind, str] = {
    "input": "Correct the input as the reason says and run the same command again; only what failed is tried again.",
    "system": "Check disk, network and permissions and run the same command again; it goes on where it stopped.",
    "memory": "Give each worker more memory with --memory and run the same command again.",
    "worker": "Look at the scan, or give each worker more memory with --memory, and run the same command again.",
    "unexpected": "Report this with the reason; the scan was left as it is and no numbers were written for it.",
}


@dataclass(frozen=True)
class Scan:
    """One volume on disk.

    Attributes:
        path: folder, DICOM file or volume file.
        series: UID, number or kernel of the series, where the path holds several.
        files: names of the series' files relative to ``path``, where others lie beside them; ``None`` for all there are.
    """

    path: str
    series: str | None = None
    files: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Case:
    """What is normalized and measured together.

    Attributes:
        id: name of the case's folder: given by the user, or made from UID or path; never a patient's name.
        scan: the scan.
        partner: a soft-kernel reconstruction of the same acquisition, if there is one.
        patient: the user's pseudonym, or one made here; ``None`` if unknown.
        date: of the scan, ISO 8601; ``None`` if it is not to be kept.
        mask: lung mask file to use instead of the automatic one.
        kernel: the scan's kernel, where the user knows better than the header.
        build: sex ("male" or "female"), height (cm) and weight (kg), as far as told.
        voxels: of the scan, as far as the headers tell; 0 if they do not.
        described: what a person is told of the scan before it is read.
    """

    id: str
    scan: Scan
    partner: Scan | None = None
    patient: str | None = None
    date: str | None = None
    mask: str | None = None
    kernel: str | None = None
    build: tuple[str | None, float | None, float | None] = (None, None, None)
    voxels: int = 0
    described: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A scan that is not run.

    Attributes:
        what: scan or row, for a person.
        reason: why.
        broken: whether something is wrong with it; false where it was left out by choice, such as a localizer.
    """

    what: str
    reason: str
    broken: bool = False


@dataclass(frozen=True)
class Failure:
    """Why a case has no result.

    Attributes:
        case: its identifier, or what was to become a case.
        reason: sentence for the user.
        kind: what sort of failure; decides the advice.
        step: what was being done.
    """

    case: str
    reason: str
    kind: Kind = "input"
    step: str = "reading"

    @property
    def advice(self) -> str:
        """What to do."""
        return ADVICE[self.kind]


@dataclass(frozen=True)
class Found:
    """The cases of a cohort, and what was left out.

    Attributes:
        cases: by identifier.
        left_out: in the order found.
    """

    cases: tuple[Case, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def broken(self) -> tuple[LeftOut, ...]:
        """What could not become a case."""
        return tuple(item for item in self.left_out if item.broken)


@dataclass(frozen=True)
class Outcome:
    """How a step of a case ended; travels from worker to client.

    Attributes:
        case: identifier.
        state: "ready" for the next step, "done" now, "kept" from an earlier run, or "failed".
        failure: why, if it failed.
        voxels: of the scan, once it was read.
        run: worker, seconds and memory, for ``runs.csv``.
    """

    case: str
    state: Literal["ready", "done", "kept", "failed"]
    failure: Failure | None = None
    voxels: int = 0
    run: dict[str, Any] = field(default_factory=dict)


def made_id(text: str) -> str:
    """An identifier that tells nothing of ``text`` (a UID or path) to who does not have it, the same at every run."""
    return "c-" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:ID_DIGITS]


def relative_to(path: Path, root: Path) -> str:
    """``path`` as seen from ``root``, with forward slashes on every system."""
    return path.relative_to(root).as_posix()
