"""Build the patch source of a run from folders of simulated pairs and real sharp scans."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.floor import HUFloor
from KernelNormalizationLib.core.linear import b20f_gain, source_kernel
from KernelNormalizationLib.core.read import read_volume

from .patches import MARGIN, MixedSource, Patch, PatchSource, crop_corner, filtered, inner, oriented, patient_files
from .selfpairs import FLOOR_HU, SelfPairs
from .simulate.floors import Floor

logger = logging.getLogger(__name__)

# The floors met on real scanners (clipped at -1024 or -1000, folded); the common one twice.
IMPOSED_FLOORS = (
    Floor("clipped", -1024.0),
    Floor("clipped", -1024.0),
    Floor("clipped", -1000.0),
    Floor("folded", -1024.0, 6.0),
)


@dataclass(frozen=True)
class SourceConfig:
    """Where patches come from.

    Attributes:
        simulated: folders made by ``training.simulate``.
        self_pairs: real sharp scans (DICOM folder or volume file).
        simulated_share: share of patches from simulation when both kinds are given.
    """

    simulated: tuple[str, ...] = ()
    self_pairs: tuple[str, ...] = ()
    simulated_share: float = 0.6


@dataclass(frozen=True)
class SimulatedPairs:
    """Patches from one simulated patient, read once.

    Attributes:
        sharp, smooth: int16 (k, j, i), HU.
        centres: (n, 3) voxels (k, j, i), most of them in the lungs.
        pixel_mm: in-plane spacing, mm.
        number: nominal number of the sharp kernel.
        threshold: HU at or below which a voxel counts as truncated.
    """

    sharp: np.ndarray[tuple[int, int, int], np.dtype[np.int16]]
    smooth: np.ndarray[tuple[int, int, int], np.dtype[np.int16]]
    centres: np.ndarray[tuple[int, int], np.dtype[np.int32]]
    pixel_mm: float
    number: float
    threshold: float

    def sample(self, rng: np.random.Generator, size: int) -> Patch:
        outer = size + 2 * MARGIN
        k, row, column = self.centres[rng.integers(len(self.centres))]
        top, left = crop_corner(rng, (int(row), int(column)), self.sharp.shape[1:], outer)
        window = (int(k), slice(top, top + outer), slice(left, left + outer))
        turn = int(rng.integers(8))
        sharp = oriented(self.sharp[window].astype(np.float32), turn)
        target = oriented(self.smooth[window].astype(np.float32), turn)
        base = filtered(sharp, self.pixel_mm, b20f_gain(self.number))
        ones = np.ones((size, size), np.float32)
        return Patch(inner(sharp), inner(base), np.maximum(inner(target), FLOOR_HU), ones, self.threshold)


def build_source(config: SourceConfig) -> PatchSource:
    """The source a run draws from.

    Raises:
        InputError: nothing was given, or a folder holds no patient.
    """
    simulated = [source for folder in config.simulated for source in load_simulated(Path(folder))]
    own = [_self_pairs(path) for path in config.self_pairs]
    if not simulated and not own:
        raise InputError("There is nothing to train on; give --simulated FOLDER or --self-pairs SCAN.")
    share = config.simulated_share if simulated and own else 1.0
    shares = [share / max(1, len(simulated))] * len(simulated) + [(1.0 - share or 1.0) / max(1, len(own))] * len(own)
    return MixedSource((*simulated, *own), tuple(shares))


def _self_pairs(path: str) -> SelfPairs:
    volume = read_volume(path)
    return SelfPairs.from_volume(volume, source_kernel(volume).number, IMPOSED_FLOORS)


def load_simulated(folder: Path) -> list[SimulatedPairs]:
    """The patients of a simulated data set, as far as they are finished.

    Raises:
        InputError: the folder holds no patient.
    """
    files = patient_files(folder)
    if not files:
        raise InputError(f"{folder} holds no simulated patient; make some with python -m training.simulate --out {folder}.")
    return [_load_patient(path) for path in files]


def _load_patient(path: Path) -> SimulatedPairs:
    with np.load(path) as data:
        sharp, smooth, lung, spacing = (data[name] for name in ("sharp", "smooth", "lung", "spacing"))
        meta = json.loads(str(data["meta"]))
    # Lung fills a fifth of a slice but decides the index: three patches in four are drawn there.
    inside = np.argwhere(lung[:, ::4, ::4] > 0)
    anywhere = np.argwhere(np.ones_like(lung[:, ::16, ::16]))
    centres = np.concatenate([inside * [1, 4, 4], anywhere * [1, 16, 16]]).astype(np.int32)
    floor = HUFloor(meta["floor"]["kind"], float(meta["floor"]["value"]))
    return SimulatedPairs(sharp, smooth, centres, float(spacing[1]), float(meta["sharp_kernel"]["number"]), floor.threshold)
