"""Build the batches of a run from folders of pairs and real sharp scans."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.kernels.calibrated_transfer import OwnTransfer
from KernelNormalizationLib.core.kernels.mtf import kernel_number
from KernelNormalizationLib.core.kernels.noise_sharpness import estimate_sharpness
from KernelNormalizationLib.core.volume import CTVolume

from .patches import EpochBatches, MixedSource, Patch, PatchSource, choose_places, crop_corner
from .self_pairs import FLOOR_HU, SelfPairs
from .unpacked import UnpackedPatient, open_patient, patient_files

logger = logging.getLogger(__name__)

# A self-pair takes as long to make as to learn from: 1500 patches of 128 x 128 pixels hold 400 MB.
BANK_PATCHES = 1500


@dataclass(frozen=True)
class SourceConfig:
    """Where patches come from.

    Attributes:
        simulated: folders made by ``training.simulate`` or ``training.pairs``, or single patient files of them.
        self_pairs: real sharp scans (DICOM folder or volume file).
        simulated_share: share of patches from pairs when both kinds are given.
        without: patients whose object's name contains one of these are left out (leave one scan out).
        variants: variants made of every patient that was simulated with its unclipped image.
        transfer: measured on the pairs; pairs of its kernel start from it.
    """

    simulated: tuple[str, ...] = ()
    self_pairs: tuple[str, ...] = ()
    simulated_share: float = 0.6
    without: tuple[str, ...] = ()
    variants: int = 0
    transfer: OwnTransfer | None = None


@dataclass(frozen=True)
class PatientPatches:
    """Patches of one patient with both reconstructions."""

    patient: UnpackedPatient

    @property
    def shape(self) -> tuple[int, int, int]:
        """(k, j, i)."""
        k, rows, columns = self.patient.sharp.shape
        return k, rows, columns

    def sample(self, rng: np.random.Generator, size: int) -> Patch:
        k, row, column = self.patient.centres[rng.integers(len(self.patient.centres))]
        top, left = crop_corner(rng, (int(row), int(column)), self.shape[1:], size)
        return self.cut(int(k), top, left, size, int(rng.integers(8)))

    def cut(self, k: int, top: int, left: int, size: int, turn: int = 0) -> Patch:
        window = (k, slice(top, top + size), slice(left, left + size))
        images = (self.patient.sharp, self.patient.base, self.patient.lost, self.patient.smooth)
        sharp, base, lost, target = (image[window].astype(np.float32) for image in images)
        return Patch(sharp, base, lost, np.maximum(target, FLOOR_HU), np.ones_like(sharp)).turned(turn)


@dataclass
class PatchBank:
    """Patches of a source whose patches are slow to make: a fixed set of them, made once, then drawn in any orientation."""

    source: PatchSource
    count: int = BANK_PATCHES
    _patches: list[Patch] = field(default_factory=list)

    def sample(self, rng: np.random.Generator, size: int) -> Patch:
        if not self._patches:
            logger.info("making %d patches of self-pairs", self.count)
            self._patches = [self.source.sample(np.random.default_rng([size, n]), size) for n in range(self.count)]
        return self._patches[int(rng.integers(self.count))].turned(int(rng.integers(8)))


def build_source(config: SourceConfig) -> PatchSource:
    """The source a run with random patches draws from.

    Raises:
        InputError: nothing was given, or a folder holds no patient.
    """
    pairs = load_pairs(config)
    own = [_self_pairs(path) for path in config.self_pairs]
    if not pairs and not own:
        raise InputError("There is nothing to train on; give --simulated FOLDER or --self-pairs SCAN.")
    share = config.simulated_share if pairs and own else 1.0
    shares = [share / max(1, len(pairs))] * len(pairs) + [(1.0 - share or 1.0) / max(1, len(own))] * len(own)
    return MixedSource((*pairs, *own), tuple(shares))


def build_epochs(config: SourceConfig, per_patient: int, size: int, count: int, seed: int, processes: int) -> EpochBatches:
    """The fixed patch set of a run in epochs.

    Args:
        config: the patients; self-pairs have no fixed patches.
        per_patient: patches from every patient.
        size: rows and columns of a patch.
        count: patches a step and process.
        seed: of the places and of the order.
        processes: how many share a step.

    Raises:
        InputError: no patients, self-pairs were given, the patches do not fit, or they fill no step.
    """
    if config.self_pairs:
        raise InputError("Epochs go over a fixed set of patches, which self-pairs do not have; leave out --self-pairs.")
    patients = load_pairs(config)
    if not patients:
        raise InputError("There is nothing to train on; give --simulated FOLDER.")
    places = []
    for number, patient in enumerate(patients):
        chosen = choose_places(patient.shape, size, per_patient, np.random.default_rng([seed, number]))
        places.append(np.column_stack([np.full(len(chosen), number), chosen]))
    batches = EpochBatches(tuple(patients), np.concatenate(places), seed, size, count, processes)
    if batches.steps_per_epoch == 0:
        raise InputError(f"{len(batches.places)} patches fill no step of {count} x {processes}; take more, or a smaller batch.")
    return batches


def unpack_patients(config: SourceConfig, validation: Sequence[str], workers: int) -> None:
    """Unpack the patients of a run side by side, so that opening them later takes no time.

    Args:
        config: the data sets that are trained on.
        validation: patient files or data set folders that choose the weights.
        workers: processes; with 0 or 1 nothing is done, and each patient is unpacked when it is opened.

    Raises:
        InputError: a folder holds no patient, or a file is damaged.
    """
    if workers < 2:
        return
    # Started afresh, since copies of a process that has threads or uses a GPU may hang.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_unpack, file, config.variants, config.transfer) for file in _files(config.simulated)]
        jobs += [pool.submit(_unpack, file, 0, config.transfer) for file in _files(validation)]
        for job in jobs:
            job.result()


def _unpack(file: Path, variants: int, transfer: OwnTransfer | None) -> None:
    open_patient(file, variants, transfer)


def _files(paths: Sequence[str]) -> list[Path]:
    return [file for path in paths for file in patient_files(Path(path))]


def load_pairs(config: SourceConfig) -> list[PatientPatches]:
    """The patients of a configuration's data sets, but those made from objects named in its ``without``.

    Raises:
        InputError: a folder holds no patient.
    """
    files = _files(config.simulated)
    patients = [open_patient(file, config.variants, config.transfer) for file in files]
    kept = [p for p in patients if not any(part in str(p.meta["object"]) for part in config.without)]
    return [PatientPatches(patient) for patient in kept]


def _self_pairs(path: str) -> PatchBank:
    volume = read_volume(path)
    return PatchBank(SelfPairs.from_volume(volume, _number_of(volume)))


def _number_of(volume: CTVolume) -> float:
    number = kernel_number(volume.acquisition.kernel)
    if number is not None:
        return float(number)
    sharpness = estimate_sharpness(volume)
    if sharpness is None:
        raise InputError(f"{volume.name} shows neither a Siemens kernel tag nor flat tissue; its kernel cannot be told.")
    return sharpness.kernel_number
