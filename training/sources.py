"""Build the patch source of a run from folders of simulated pairs and real sharp scans."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.floor import HUFloor
from KernelNormalizationLib.core.kernels import MINIMUM_MTF, KernelModel, kernel_number
from KernelNormalizationLib.core.radial import Gain
from KernelNormalizationLib.core.read import read_volume
from KernelNormalizationLib.core.sharpness import estimate_sharpness
from KernelNormalizationLib.core.volume import AIR_HU, CTVolume

from .patches import MARGIN, MixedSource, Patch, PatchSource, crop_corner, filtered, inner, oriented, patient_files
from .selfpairs import FLOOR_HU, SelfPairs
from .simulate.floors import Floor
from .simulate.kernel_family import SMOOTH_KERNEL, SharpKernel

logger = logging.getLogger(__name__)

# The floors met on real scanners (clipped at -1024 or -1000, folded); the common one twice.
IMPOSED_FLOORS = (
    Floor("clipped", -1024.0),
    Floor("clipped", -1024.0),
    Floor("clipped", -1000.0),
    Floor("folded", -1024.0, 6.0),
)


# As in use: the transfer never amplifies beyond the lift of the soft kernels.
GAIN_LIMIT = 1.1


@dataclass(frozen=True)
class SourceConfig:
    """Where patches come from.

    Attributes:
        simulated: folders made by ``training.simulate``.
        self_pairs: real sharp scans (DICOM folder or volume file).
        simulated_share: share of patches from simulation when both kinds are given.
        without: simulated patients whose object's name contains one of these are left out (leave one scan out).
    """

    simulated: tuple[str, ...] = ()
    self_pairs: tuple[str, ...] = ()
    simulated_share: float = 0.6
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class SimulatedPairs:
    """Patches from one simulated patient, read once.

    Attributes:
        sharp, smooth: int16 (k, j, i), HU.
        centres: (n, 3) voxels (k, j, i), most of them in the lungs.
        pixel_mm: in-plane spacing, mm.
        gain: transfer from the simulated sharp kernel to B20f.
        threshold: HU at or below which a voxel counts as truncated.
    """

    sharp: np.ndarray[tuple[int, int, int], np.dtype[np.int16]]
    smooth: np.ndarray[tuple[int, int, int], np.dtype[np.int16]]
    centres: np.ndarray[tuple[int, int], np.dtype[np.int32]]
    pixel_mm: float
    gain: Gain
    threshold: float

    def sample(self, rng: np.random.Generator, size: int) -> Patch:
        outer = size + 2 * MARGIN
        k, row, column = self.centres[rng.integers(len(self.centres))]
        top, left = crop_corner(rng, (int(row), int(column)), self.sharp.shape[1:], outer)
        window = (int(k), slice(top, top + outer), slice(left, left + outer))
        turn = int(rng.integers(8))
        sharp = oriented(self.sharp[window].astype(np.float32), turn)
        target = oriented(self.smooth[window].astype(np.float32), turn)
        base = filtered(sharp, self.pixel_mm, self.gain)
        ones = np.ones((size, size), np.float32)
        return Patch(inner(sharp), inner(base), np.maximum(inner(target), FLOOR_HU), ones, self.threshold)


def build_source(config: SourceConfig) -> PatchSource:
    """The source a run draws from.

    Raises:
        InputError: nothing was given, or a folder holds no patient.
    """
    simulated = [source for folder in config.simulated for source in load_simulated(Path(folder), config.without)]
    own = [_self_pairs(path) for path in config.self_pairs]
    if not simulated and not own:
        raise InputError("There is nothing to train on; give --simulated FOLDER or --self-pairs SCAN.")
    share = config.simulated_share if simulated and own else 1.0
    shares = [share / max(1, len(simulated))] * len(simulated) + [(1.0 - share or 1.0) / max(1, len(own))] * len(own)
    return MixedSource((*simulated, *own), tuple(shares))


def _self_pairs(path: str) -> SelfPairs:
    volume = read_volume(path)
    return SelfPairs.from_volume(volume, _number_of(volume), IMPOSED_FLOORS)


def load_simulated(folder: Path, without: tuple[str, ...] = ()) -> list[SimulatedPairs]:
    """The patients of a simulated data set, as far as they are finished, but those made from objects named in ``without``.

    Raises:
        InputError: the folder holds no patient.
    """
    files = patient_files(folder)
    if not files:
        raise InputError(f"{folder} holds no simulated patient; make some with python -m training.simulate --out {folder}.")
    patients = [_load_patient(path) for path in files]
    return [patient for name, patient in patients if not any(part in name for part in without)]


def _load_patient(path: Path) -> tuple[str, SimulatedPairs]:
    with np.load(path) as data:
        sharp, smooth, lung, spacing = (data[name] for name in ("sharp", "smooth", "lung", "spacing"))
        meta = json.loads(str(data["meta"]))
    # Lung fills a fifth of a slice but decides the index: three patches in four are drawn there.
    inside = np.argwhere(lung[:, ::4, ::4] > 0)
    anywhere = np.argwhere(np.ones_like(lung[:, ::16, ::16]))
    centres = np.concatenate([inside * [1, 4, 4], anywhere * [1, 16, 16]]).astype(np.int32)
    if meta["padding"] is not None:
        outside = sharp == meta["padding"]
        sharp, smooth = (np.where(outside, np.int16(AIR_HU), image) for image in (sharp, smooth))
    floor = HUFloor(meta["floor"]["kind"], float(meta["floor"]["value"]))
    patient = SimulatedPairs(sharp, smooth, centres, float(spacing[1]), simulated_gain(meta["sharp_kernel"]), floor.threshold)
    return str(meta["object"]), patient


def simulated_gain(kernel: dict[str, Any]) -> Gain:
    """Gain from a simulated sharp kernel (its entry in the patient's meta data) to B20f.

    The network is to learn truncation, not the mismatch of an assumed kernel, so its base uses the kernel simulated.
    """
    model = KernelModel(*(kernel[name] for name in ("number", "f50", "p", "b", "f1")))
    sharp = SharpKernel(str(kernel["name"]), model, float(kernel["lift"]))
    smooth = SMOOTH_KERNEL
    return lambda frequency: np.minimum(smooth.mtf(frequency) / np.maximum(sharp.mtf(frequency), MINIMUM_MTF), GAIN_LIMIT)


def _number_of(volume: CTVolume) -> float:
    number = kernel_number(volume.acquisition.kernel)
    if number is not None:
        return float(number)
    sharpness = estimate_sharpness(volume)
    if sharpness is None:
        raise InputError(f"{volume.name} shows neither a Siemens kernel tag nor flat tissue; its kernel cannot be told.")
    return sharpness.kernel_number
