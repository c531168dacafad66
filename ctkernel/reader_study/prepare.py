"""``ctkernel reader-study prepare``: draw one image per case, store it so that nothing tells the group, seal the labels."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.whole_sets import whole_set
from KernelNormalizationLib.core.io.writing import write_json
from KernelNormalizationLib.core.plain_text import quoted
from KernelNormalizationLib.core.progress import Progress

from .audit import AuditTrail
from .pairs import CasePair, match_folders, read_blinded
from .scale import GROUPS, Group
from .seal import Label, Seal, write_seal
from .study import AUDIT_FILE, IMAGE_SUFFIX, STUDY_FILE, Case, Study, study_record

FEWEST_CASES = 4
# Code names of readers stand in addresses, files and tables.
_READER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
DEFAULT_READERS = ("reader-1", "reader-2")
SEAL_SUFFIX = ".seal.json"


@dataclass(frozen=True)
class StudyPlan:
    """What is to be made.

    Attributes:
        out: new folder of the study.
        seal: new file for the labels, outside ``out``; ``None`` puts it beside ``out``.
        readers: code names, at least one.
        seed: of the draw; a random one if ``None``. Whoever knows it and the names of the cases knows the labels.
    """

    out: Path
    seal: Path | None = None
    readers: Sequence[str] = DEFAULT_READERS
    seed: int | None = None

    @property
    def seal_path(self) -> Path:
        """Where the labels go."""
        return self.out.with_name(self.out.name + SEAL_SUFFIX) if self.seal is None else self.seal


def prepare_study(originals: Path, normalized: Path, plan: StudyPlan, progress: Progress) -> Study:
    """Make the study folder and the sealed labels.

    Args:
        originals: folder with the soft-kernel volume of each case.
        normalized: folder with the normalized sharp volume of each, under the same names.
        plan: what is made, and where.
        progress: told of every case.

    Raises:
        InputError: the folders do not fit together, fewer than four cases, or something would be overwritten.
    """
    names = require_readers(plan.readers)
    _require_new(plan.out, plan.seal_path)
    if plan.seed is not None and plan.seed < 0:
        raise InputError(f"The seed {plan.seed} is negative; give 0 or a larger whole number.")
    pairs = match_folders(originals, normalized)
    if len(pairs) < FEWEST_CASES:
        raise InputError(f"{len(pairs)} case(s) are too few for a reader study; at least {FEWEST_CASES} are needed.")
    seed = secrets.randbits(63) if plan.seed is None else plan.seed
    groups = draw_groups([pair.name for pair in pairs], seed)
    identifiers = _identifiers(len(pairs))
    drawn = sorted(zip(identifiers, pairs, strict=True))
    identifier = secrets.token_hex(6)
    progress.start("Storing images without names", len(pairs))
    with whole_set(plan.out) as private:
        cases = []
        # in the order of the random identifiers, so that neither dates nor places on the disk follow the names
        for case, pair in drawn:
            cases.append(_store(pair, groups[pair.name], case, private))
            progress.advance()
        seal = Seal.new(identifier, seed, tuple(Label(case, pair.name, groups[pair.name]) for case, pair in drawn))
        study = Study(plan.out, identifier, names, tuple(cases), seal.commitment)
        write_json(study_record(study), private / STUDY_FILE)
        AuditTrail.create(private / AUDIT_FILE, study)
        _one_date(private)
        write_seal(seal, plan.seal_path)
    return study


def draw_groups(names: Sequence[str], seed: int) -> dict[str, Group]:
    """One image per case by a fair coin each, as in the paper; drawn again until a quarter of the cases is in each group.

    A reader who counts learns nothing: the coins are independent but for that limit, which keeps the statistics possible.

    Args:
        names: of the cases.
        seed: of the coin.
    """
    rng = np.random.default_rng(seed)
    ordered = sorted(names)
    fewest = max(2, len(ordered) // 4)
    while True:
        coins = rng.integers(0, 2, len(ordered))
        if fewest <= int(coins.sum()) <= len(ordered) - fewest:
            return {name: GROUPS[int(coin)] for name, coin in zip(ordered, coins, strict=True)}


def require_readers(readers: Sequence[str]) -> tuple[str, ...]:
    """The code names, if they are usable.

    Raises:
        InputError: none, one twice, or one that is no code name.
    """
    for name in readers:
        if not _READER.fullmatch(name):
            raise InputError(f"{quoted(name)} is no code name; use up to 32 letters, digits, - and _, such as reader-1.")
    if not readers or len({name.lower() for name in readers}) < len(readers):
        raise InputError("Every reader needs a code name of its own; give --reader once for each.")
    return tuple(readers)


def _require_new(out: Path, seal_path: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not empty; a study is never overwritten. Give a new folder.")
    if seal_path.resolve().is_relative_to(out.resolve()):
        raise InputError(f"{seal_path} lies in the folder that readers see; keep the labels elsewhere.")
    if seal_path.exists():
        raise InputError(f"{seal_path} exists; the labels of another study are never overwritten. Give another place.")
    if not seal_path.absolute().parent.is_dir():
        raise InputError(f"The folder {seal_path.absolute().parent} does not exist; create it first.")


def _identifiers(count: int) -> list[str]:
    found: set[str] = set()
    while len(found) < count:
        found.add(secrets.token_hex(6))
    return list(found)


def _store(pair: CasePair, group: Group, case: str, folder: Path) -> Case:
    image = read_blinded(pair, group, case)
    content = image.hu.tobytes()
    (folder / (case + IMAGE_SUFFIX)).write_bytes(content)
    k, j, i = image.hu.shape
    return Case(case, (k, j, i), image.spacing, hashlib.sha256(content).hexdigest())


def _one_date(folder: Path) -> None:
    """The same date for every file, so that none says when, and after which, it was made."""
    date = (folder / STUDY_FILE).stat().st_mtime
    for path in folder.iterdir():
        os.utime(path, (date, date))
