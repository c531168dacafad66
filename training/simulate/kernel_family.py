"""Sharp kernels as the simulator draws them: a published B50f to B80f with randomized shape and low-frequency lift."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from KernelNormalizationLib.core.kernels.mtf import KERNELS, MINIMUM_MTF, TARGET_NUMBER, KernelModel, measured_correction
from KernelNormalizationLib.core.kernels.radial_filter import Gain

from ..data.kernel_pair import SharpKernelRecord

Curve = NDArray[np.float64]

# Soft kernels lie up to 4 % above sharp ones near 0.6 lp/cm in the only pairs ever measured. Nobody has seen the B20f of other
# scanners, and some sharp kernels lack the lift against B40f: with it as measured, half of it, and without it.
LIFTS = (1.0, 0.5, 0.0)
# Relative half-widths within which a kernel's parameters are drawn, in the order of KernelModel: f50, p, b, f1.
SPREAD = (0.06, 0.15, 0.30, 0.08)
# Outside the training range: every parameter off by 1.2 to 1.8 of those half-widths.
OUTSIDE = (1.2, 1.8)
OUTSIDE_LIFTS = (0.0, 0.5, 1.3)
# As in use: the transfer never amplifies beyond the lift of the soft kernels.
GAIN_LIMIT = 1.1
SMOOTH_KERNEL: KernelModel = KERNELS[TARGET_NUMBER]


@dataclass(frozen=True)
class SharpKernel:
    """A sharp kernel: a published transfer, less what measured pairs show of it against the soft kernels.

    Attributes:
        name: family name for tables, such as ``"B70f-like"``.
        model: roll-off and peak.
        lift: share of the measured low-frequency lift of the soft kernels, 1 as measured.
    """

    name: str
    model: KernelModel
    lift: float = 1.0

    def mtf(self, frequency: ArrayLike) -> Curve:
        """Transfer at ``frequency`` (lp/cm), 1 at zero, without the detector's blur.

        B20f over this transfer is, for the nominal kernels, the gain the product uses (:func:`gain_to_b20f`).
        """
        result: Curve = self.model.mtf(frequency) / measured_correction(self.model.number, frequency, self.lift)
        return result

    def as_meta(self) -> SharpKernelRecord:
        """JSON-serializable description."""
        model = self.model
        return {
            "name": self.name,
            "number": model.number,
            "f50": model.f50,
            "p": model.p,
            "b": model.b,
            "f1": model.f1,
            "lift": self.lift,
        }

    @classmethod
    def from_meta(cls, meta: SharpKernelRecord) -> SharpKernel:
        """The kernel of a patient's meta data."""
        return cls(meta["name"], KernelModel(meta["number"], meta["f50"], meta["p"], meta["b"], meta["f1"]), meta["lift"])


def nominal_kernel(number: int, lift: float = 1.0) -> SharpKernel:
    """The published B-family kernel ``number`` without randomization."""
    return SharpKernel(f"B{number}f", KERNELS[number], lift)


def draw_kernel(rng: np.random.Generator) -> SharpKernel:
    """A kernel of the sharp family: f50 +-6 %, p +-15 %, peak height +-30 %, peak frequency +-8 %, lift whole, half or none."""
    number = int(rng.choice([50, 60, 70, 80], p=[0.2, 0.15, 0.3, 0.35]))
    changes = rng.uniform(-1.0, 1.0, 4) * SPREAD
    return SharpKernel(f"B{number}f-like", _changed(KERNELS[number], changes), float(rng.choice(LIFTS)))


def draw_outside_kernel(rng: np.random.Generator) -> SharpKernel:
    """A B70f or B80f that :func:`draw_kernel` never draws."""
    number = int(rng.choice([70, 80]))
    changes = rng.choice((-1.0, 1.0), 4) * rng.uniform(*OUTSIDE, 4) * SPREAD
    return SharpKernel(f"B{number}f-outside", _changed(KERNELS[number], changes), float(rng.choice(OUTSIDE_LIFTS)))


def _changed(model: KernelModel, changes: NDArray[np.float64]) -> KernelModel:
    f50, p, b, f1 = (float(1.0 + change) for change in changes)
    return replace(model, f50=model.f50 * f50, p=model.p * p, b=model.b * b, f1=model.f1 * f1)


def simulated_gain(kernel: SharpKernelRecord) -> Gain:
    """Exact gain from a simulated sharp kernel (its entry in the patient's meta data) to B20f."""
    sharp, smooth = SharpKernel.from_meta(kernel), SMOOTH_KERNEL
    return lambda frequency: np.minimum(smooth.mtf(frequency) / np.maximum(sharp.mtf(frequency), MINIMUM_MTF), GAIN_LIMIT)
