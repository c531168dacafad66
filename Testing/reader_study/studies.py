"""Two small folders of volumes, and studies prepared from them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from core.chests import make_chest

from ctkernel.reader_study.prepare import StudyPlan, prepare_study
from ctkernel.reader_study.seal import Seal, open_seal
from ctkernel.reader_study.study import Study
from KernelNormalizationLib.core.io.writing import write_volume
from KernelNormalizationLib.core.progress import ProgressTracker

CASES = 8
# The paper's study: cases, a seed that draws 16 originals and 20 normalized images as there, and right answers of its readers
# (58 % and 75 % of the cases).
PAPER_CASES, PAPER_SEED = 36, 6
PAPER_RIGHT = {"radiologist": 27, "scientist": 21}


@dataclass(frozen=True)
class Folders:
    """Folders of originals and of normalized volumes."""

    originals: Path
    normalized: Path


@dataclass(frozen=True)
class Prepared:
    """A study and where its labels are."""

    study: Study
    seal_path: Path

    @property
    def seal(self) -> Seal:
        return open_seal(self.seal_path, self.study.identifier, self.study.commitment)


def make_folders(root: Path, cases: int, side: int = 64, slices: int = 8) -> Folders:
    """Originals as scanners store them (whole HU, floor, packed); normalized ones as the product writes them (fractions)."""
    folders = Folders(root / "B20f", root / "normalized")
    for folder in (folders.originals, folders.normalized):
        folder.mkdir(parents=True)
    for n in range(cases):
        name = f"Meier_Anna_{n:02d}"
        soft = make_chest(slices=slices, side=side, number=20, noise_hu=12.0, kernel="B20f", padding=-2000.0, seed=n)
        write_volume(soft.volume, folders.originals / f"{name}.nrrd")
        drawn = make_chest(slices=slices, side=side, number=30, noise_hu=14.0, floor=None, padding=-2000.0, seed=n + 500).volume
        hu = np.where(drawn.padding_mask, drawn.hu, drawn.hu + 0.37).astype(np.float32)
        write_volume(dataclasses.replace(drawn, hu=hu, synthetic=True), folders.normalized / f"{name}.mha")
    return folders


def prepare(folders: Folders, root: Path, seed: int = 4, readers: tuple[str, ...] = ("radiologist", "scientist")) -> Prepared:
    """A study in ``root / "study"``."""
    plan = StudyPlan(root / "study", readers=readers, seed=seed)
    return Prepared(prepare_study(folders.originals, folders.normalized, plan, ProgressTracker()), plan.seal_path)
