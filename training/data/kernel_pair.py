"""Two reconstructions of one acquisition: what simulation and archives give, and training and evaluation take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray


class SharpKernelRecord(TypedDict):
    """The sharp kernel of a pair.

    ``number``, ``f50``, ``p``, ``b``, ``f1`` and ``lift`` are those of :class:`training.simulate.kernel_family.SharpKernel`:
    exact for a simulated pair, of the nearest modelled kernel for a real one, whose ``tag`` is what its header says and whose
    ``estimated`` tells whether the noise had to say it instead.
    """

    name: str
    number: int
    f50: float
    p: float
    b: float
    f1: float
    lift: float
    tag: NotRequired[str | None]
    estimated: NotRequired[bool]


class SmoothKernelRecord(TypedDict):
    """The smooth kernel of a pair; a simulated one has its model too."""

    name: str
    number: NotRequired[int]
    f50: NotRequired[float]
    p: NotRequired[float]
    b: NotRequired[float]
    f1: NotRequired[float]


class FloorRecord(TypedDict):
    """HU floor of the sharp series: ``kind`` "truncated" or "none", ``value`` in HU."""

    kind: str
    value: float


class TruncationRecord(TypedDict):
    """How simulated slices were truncated: images averaged with ``weights``, whose noise has ``correlation``."""

    floor_hu: float
    weights: list[float]
    correlation: float


class DoseRecord(TypedDict):
    """Exposure of a simulated patient, see :class:`training.simulate.noise.Dose`."""

    quanta: float
    modulation: NotRequired[float]
    slice_factor: NotRequired[float]


class SimulationTruth(TypedDict, total=False):
    """What only a simulation knows: EI asked for and without noise (%), holes dug, noise (HU), seed and patient number."""

    asked_ei: float
    holes: int
    noise_free_ei: float
    noise_sd_sharp: float | None
    noise_sd_smooth: float | None
    seed: int
    index: int


class PairRecord(SimulationTruth):
    """What is known of a pair; JSON-serializable.

    ``true_ei`` and ``raw_ei`` are the emphysema indices (%) of the smooth and the sharp volume, ``l1_raw`` their mean absolute
    difference (HU), lengths are in mm, ``padding`` is in HU. What stands behind ``preset`` is known of simulated or of real
    pairs only: where and how the object was simulated, or how well two real series lie on each other.
    """

    object: str
    sharp_kernel: SharpKernelRecord
    smooth_kernel: SmoothKernelRecord
    floor: FloorRecord
    padding: int | None
    dose: DoseRecord | None
    pixel_mm: float
    slice_mm: float
    real_object: bool
    true_ei: float
    raw_ei: NotRequired[float]
    l1_raw: NotRequired[float]
    native_slice_mm: NotRequired[float]
    preset: NotRequired[str]
    truncation: NotRequired[TruncationRecord | None]
    first_slice_mm: NotRequired[float]
    position: NotRequired[float]
    emphysema: NotRequired[dict[str, Any]]
    manufacturer: NotRequired[str | None]
    shift_pixels: NotRequired[list[float]]
    correlation: NotRequired[float]


@dataclass(frozen=True)
class KernelPair:
    """A sharp and a smooth reconstruction of one acquisition, and what is known of them.

    Attributes:
        sharp, smooth: int16 (k, j, i), HU after truncation and rounding.
        lung: uint8 (k, j, i), 0 outside, 1 right, 2 left.
        spacing: mm (k, j, i).
        meta: truth and parameters.
        sharp_unclipped: float32 (k, j, i), HU before truncation, or ``None``.
        sharp_noise: float16 (k, j, i), HU, the noise in it, or ``None``.
    """

    sharp: NDArray[np.int16]
    smooth: NDArray[np.int16]
    lung: NDArray[np.uint8]
    spacing: tuple[float, float, float]
    meta: PairRecord
    sharp_unclipped: NDArray[np.float32] | None = None
    sharp_noise: NDArray[np.float16] | None = None
