"""Sharp kernels of the simulator: published B50f to B80f with randomized shape and randomized low-frequency excess.

The excess (``lift``) is explained in :func:`KernelNormalizationLib.core.kernels.mtf.measured_correction`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from KernelNormalizationLib.core.kernels.mtf import KERNELS, MINIMUM_MTF, TARGET_NUMBER, KernelModel, measured_correction
from KernelNormalizationLib.core.kernels.radial_filter import Gain

from ..data.kernel_pair import SharpKernelRecord

Curve = NDArray[np.float64]

# Shares of the measured low-frequency excess that are simulated. In the only pairs that were measured, smooth kernels lie up to
# 4 % above sharp ones near 0.6 lp/cm. The B20f of other scanners is unknown, and some sharp kernels show no excess against
# B40f. So kernels are drawn with the whole excess, half of it, and none.
LIFTS = (1.0, 0.5, 0.0)
# Relative half-width of the range from which each parameter of a kernel is drawn, in the order of KernelModel: f50, p, b, f1.
SPREAD = (0.06, 0.15, 0.30, 0.08)
# Kernels outside the training range: every parameter deviates by 1.2 to 1.8 of these half-widths.
OUTSIDE = (1.2, 1.8)
OUTSIDE_LIFTS = (0.0, 0.5, 1.3)
# Largest gain, as in the product: a transfer never amplifies more than the low-frequency excess of the smooth kernels.
GAIN_LIMIT = 1.1
SMOOTH_KERNEL: KernelModel = KERNELS[TARGET_NUMBER]


@dataclass(frozen=True)
class SharpKernel:
    """A sharp kernel: a published transfer with the correction that was measured on pairs with smooth kernels.

    Attributes:
        name: name for tables, such as ``"B70f-like"``.
        model: roll-off and peak.
        lift: share of the measured low-frequency excess of the smooth kernels; 1 as measured.
    """

    name: str
    model: KernelModel
    lift: float = 1.0

    def mtf(self, frequency: ArrayLike) -> Curve:
        """Transfer at ``frequency`` (lp/cm), 1 at zero, without the blur of the detector.

        For the nominal kernels, the transfer of B20f divided by this one is the gain that the product uses
        (:func:`gain_to_b20f`).
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
        """Read a kernel from the metadata of a patient."""
        return cls(meta["name"], KernelModel(meta["number"], meta["f50"], meta["p"], meta["b"], meta["f1"]), meta["lift"])


def nominal_kernel(number: int, lift: float = 1.0) -> SharpKernel:
    """The published B-family kernel ``number`` without randomization."""
    return SharpKernel(f"B{number}f", KERNELS[number], lift)


def draw_kernel(rng: np.random.Generator) -> SharpKernel:
    """Draw a sharp kernel: f50 +-6 %, p +-15 %, peak height +-30 %, peak frequency +-8 %, excess whole, half or none."""
    number = int(rng.choice([50, 60, 70, 80], p=[0.2, 0.15, 0.3, 0.35]))
    changes = rng.uniform(-1.0, 1.0, 4) * SPREAD
    return SharpKernel(f"B{number}f-like", _changed(KERNELS[number], changes), float(rng.choice(LIFTS)))


def draw_outside_kernel(rng: np.random.Generator) -> SharpKernel:
    """Draw a kernel near B70f or B80f that lies outside the range of :func:`draw_kernel`."""
    number = int(rng.choice([70, 80]))
    changes = rng.choice((-1.0, 1.0), 4) * rng.uniform(*OUTSIDE, 4) * SPREAD
    return SharpKernel(f"B{number}f-outside", _changed(KERNELS[number], changes), float(rng.choice(OUTSIDE_LIFTS)))


def _changed(model: KernelModel, changes: NDArray[np.float64]) -> KernelModel:
    f50, p, b, f1 = (float(1.0 + change) for change in changes)
    return replace(model, f50=model.f50 * f50, p=model.p * p, b=model.b * b, f1=model.f1 * f1)


def simulated_gain(kernel: SharpKernelRecord) -> Gain:
    """Exact gain from a simulated sharp kernel (its entry in the patient's metadata) to B20f."""
    sharp, smooth = SharpKernel.from_meta(kernel), SMOOTH_KERNEL
    return lambda frequency: np.minimum(smooth.mtf(frequency) / np.maximum(sharp.mtf(frequency), MINIMUM_MTF), GAIN_LIMIT)
