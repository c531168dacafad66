"""Patients as memory-mapped arrays: unpacked once beside the data, read from disk patch by patch."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import AIR_HU, FloatArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.kernels.calibrated_transfer import OwnTransfer
from KernelNormalizationLib.core.kernels.mtf import KERNELS, TARGET_NUMBER, gain_to_b20f, kernel_number
from KernelNormalizationLib.core.kernels.radial_filter import Gain, apply_gain
from KernelNormalizationLib.core.kernels.transfer import b20f_gain, find_transfer
from KernelNormalizationLib.core.methods.protocol import RESTORATION
from KernelNormalizationLib.core.truncation.hu_floor import HUFloor

from ..evaluation.cases import case_of
from ..simulate.kernel_family import simulated_gain
from ..simulate.store import read_patient
from .kernel_pair import KernelPair, PairRecord
from .network_base import base_image
from .variants import Variant, draw_variant

UNPACKED, META = "unpacked", "meta.json"
# Raise when the arrays of an unpacked folder change their meaning.
LAYOUT = 3
ARRAYS = ("sharp", "smooth", "base", "lost", "lung", "centres")
LUNG_STEP, ANYWHERE_STEP = 4, 16


@dataclass(frozen=True)
class UnpackedPatient:
    """A pair on disk; every array is memory-mapped and read-only.

    Attributes:
        name: of the patient file, without suffix.
        sharp, smooth: int16 (k, j, i), HU, padding replaced by air; ``smooth`` is on B20f as far as its kernel is known. With
            variants, the patient's slices once as they are and then once for every variant.
        base: float32 (k, j, i), HU, what the network corrects.
        lost: float16 (k, j, i), HU, at most 0, what truncation took from the sharp image.
        lung: uint8 (k, j, i), 0 outside.
        centres: int32 (n, 3), voxels (k, j, i): every fourth pixel of the lungs, then every sixteenth anywhere.
        floor: HU floor of the sharp series as it is.
        meta: what is known of the pair.
    """

    name: str
    sharp: NDArray[np.int16]
    smooth: NDArray[np.int16]
    base: FloatArray
    lost: NDArray[np.float16]
    lung: NDArray[np.uint8]
    centres: NDArray[np.int32]
    floor: HUFloor
    meta: PairRecord


def patient_files(folder_or_file: Path) -> list[Path]:
    """Patients of a data set folder, sorted by name, or the one file given.

    Raises:
        InputError: there is none.
    """
    if folder_or_file.suffix == ".npz":
        files = [folder_or_file] if folder_or_file.is_file() else []
    else:
        files = sorted((folder_or_file / "patients").glob("*.npz"))
    if not files:
        raise InputError(
            f"{folder_or_file} holds no simulated patient or pair; make some with python -m training.simulate or "
            "python -m training.pairs."
        )
    return files


def open_patient(path: Path, variants: int = 0, transfer: OwnTransfer | None = None) -> UnpackedPatient:
    """The memory-mapped arrays of a patient file, unpacked now if that was not done since the file was written.

    Args:
        path: ``FOLDER/patients/NAME.npz``; the arrays go to ``FOLDER/unpacked/NAME-VARIANTS-TRANSFER-KEY``, where the key
            changes with the file and with the kernels known to the product.
        variants: how many variants to make of a patient that was simulated with its unclipped image; none of others.
        transfer: measured on pairs; what the base starts from for its kernel.

    Raises:
        InputError: the file is damaged, or the folder beside it cannot be written.
    """
    state = path.stat()
    frequency = np.arange(0.0, 12.0, 0.1)
    kernels = np.concatenate([gain_to_b20f(number, frequency) for number in KERNELS]).astype(np.float32)
    facts = f"{LAYOUT} {RESTORATION} {variants} {state.st_size} {state.st_mtime_ns} ".encode()
    key = hashlib.sha256(facts + kernels.tobytes()).hexdigest()[:16]
    of_transfer = "product" if transfer is None else hashlib.sha256(repr(transfer).encode()).hexdigest()[:8]
    folder = path.parent.parent / UNPACKED / f"{path.stem}-{variants}-{of_transfer}-{key}"
    if not folder.is_dir():
        _unpack(path, folder, variants, transfer)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    meta = json.loads((folder / META).read_text())
    return UnpackedPatient(path.stem, **arrays, floor=_floor(meta), meta=meta)


def _unpack(path: Path, folder: Path, variants: int, transfer: OwnTransfer | None) -> None:
    patient = read_patient(path)
    outside = patient.sharp == patient.meta["padding"] if patient.meta["padding"] is not None else None
    sharp, smooth = (x if outside is None else np.where(outside, np.int16(AIR_HU), x) for x in (patient.sharp, patient.smooth))
    pixel = patient.spacing[1]
    blocks = [Variant(sharp, on_b20f(smooth, pixel, patient.meta), _floor(patient.meta), transfer_gain(patient, transfer))]
    if patient.sharp_unclipped is not None:
        exact = simulated_gain(patient.meta["sharp_kernel"])
        key = zlib.crc32(path.stem.encode())
        blocks += [draw_variant(patient, exact, np.random.default_rng([key, n])) for n in range(variants)]
    lung = np.tile(patient.lung, (len(blocks), 1, 1))
    hu = [v.sharp.astype(np.float32) for v in blocks]
    # The truncation of variants was drawn here, and is found again: the network sees the errors that finding it makes in use.
    bases = [base_image(x, pixel, v.gain, v.floor) for x, v in zip(hu, blocks, strict=True)]
    arrays = {
        "sharp": np.concatenate([v.sharp for v in blocks]),
        "smooth": np.concatenate([v.smooth for v in blocks]),
        "base": np.concatenate([base for base, _ in bases]),
        "lost": np.concatenate([lost for _, lost in bases]).astype(np.float16),
        "lung": lung,
        "centres": _centres(lung),
    }
    try:
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            for name, array in arrays.items():
                np.save(made / f"{name}.npy", array)
            (made / META).write_text(json.dumps(patient.meta))
            made.replace(folder)
            for older in folder.parent.glob(f"{folder.name.rpartition('-')[0]}-*"):
                if older != folder:
                    shutil.rmtree(older, ignore_errors=True)
    except OSError as error:
        if not folder.is_dir():  # another process may have been faster
            raise InputError(f"{folder.parent} cannot be written ({error}); copy the data to where it can.") from error


def _centres(lung: NDArray[np.uint8]) -> NDArray[np.int32]:
    # Lung fills a fifth of a slice but decides the index: three patches in four are drawn there.
    inside = np.argwhere(lung[:, ::LUNG_STEP, ::LUNG_STEP] > 0) * [1, LUNG_STEP, LUNG_STEP]
    anywhere = np.argwhere(np.ones_like(lung[:, ::ANYWHERE_STEP, ::ANYWHERE_STEP])) * [1, ANYWHERE_STEP, ANYWHERE_STEP]
    return np.concatenate([inside, anywhere]).astype(np.int32)


def _floor(meta: PairRecord) -> HUFloor:
    return HUFloor("none" if meta["floor"]["kind"] == "none" else "truncated", float(meta["floor"]["value"]))


def transfer_gain(patient: KernelPair, transfer: OwnTransfer | None = None) -> Gain:
    """Gain from the patient's sharp kernel to B20f that the product would find, since it starts from that in use."""
    return find_transfer(case_of("pair", patient).sharp, own=transfer).gain


def on_b20f(smooth: NDArray[np.int16], pixel_mm: float, meta: PairRecord) -> NDArray[np.int16]:
    """The smooth image of a pair on B20f, as far as its kernel is known; int16 (k, j, i), HU."""
    # A partner of a Siemens kernel sharper than B20f (B30f, say) is brought there; it is hardly truncated, so this is exact.
    number = kernel_number(meta["smooth_kernel"]["name"])
    if number is None or number <= TARGET_NUMBER:
        return smooth
    moved = apply_gain(smooth.astype(np.float32), (pixel_mm, pixel_mm), b20f_gain(float(number)))
    return np.rint(np.maximum(moved, float(smooth.min()))).astype(np.int16)
