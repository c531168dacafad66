"""Sharp kernels as the simulator draws them: a modelled B50f to B80f with randomized shape and low-frequency lift."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from KernelNormalizationLib.core.kernels import KERNELS, MINIMUM_MTF, TARGET_NUMBER, KernelModel
from KernelNormalizationLib.core.radial import Gain

Curve = NDArray[np.float64]

# Siemens B70f and B50f against B10f and B30f of the same raw data: the soft kernel is up to 4 % above the sharp one near
# 0.6 lp/cm, which 1 + a (f/0.95)^2 exp(1 - (f/0.95)^2) describes with a = 0.09; an older scanner of the same maker
# shows no such bump. The interval covers both with a margin.
LIFT_FREQUENCY = 0.95  # lp/cm
LIFT_RANGE = (-0.02, 0.10)
# As in use: the transfer never amplifies beyond the lift of the soft kernels.
GAIN_LIMIT = 1.1
SMOOTH_KERNEL: KernelModel = KERNELS[TARGET_NUMBER]


@dataclass(frozen=True)
class SharpKernel:
    """A sharp kernel: a modelled roll-off divided by the lift that soft kernels show against sharp ones.

    Attributes:
        name: family name for tables, such as ``"B70f-like"``.
        model: roll-off and peak.
        lift: ``a`` of the lift, dimensionless.
    """

    name: str
    model: KernelModel
    lift: float = 0.0

    def mtf(self, frequency: ArrayLike) -> Curve:
        """Transfer at ``frequency`` (lp/cm), 1 at zero."""
        f = np.asarray(frequency, dtype=np.float64)
        hump = (f / LIFT_FREQUENCY) ** 2 * np.exp(1.0 - (f / LIFT_FREQUENCY) ** 2)
        result: Curve = self.model.mtf(f) / (1.0 + self.lift * hump)
        return result

    def as_meta(self) -> dict[str, Any]:
        """JSON-serializable description."""
        return {"name": self.name, "lift": self.lift, **asdict(self.model)}


def nominal_kernel(number: int, lift: float = 0.0) -> SharpKernel:
    """The modelled B-family kernel ``number`` (50, 60, 70 or 80) without randomization."""
    return SharpKernel(f"B{number}f", KERNELS[number], lift)


def draw_kernel(rng: np.random.Generator) -> SharpKernel:
    """A kernel of the sharp family with random shape.

    The shape of B80f is not known: f50 8.5 to 10.5 lp/cm, p 3 to 5 and peak 1.0 to 1.55 are drawn. The measured B50f and
    B70f vary less: f50 by 6 %, p by 1, the peak height by 30 %.
    """
    number = int(rng.choice([50, 60, 70, 80], p=[0.2, 0.15, 0.3, 0.35]))
    lift = float(rng.uniform(*LIFT_RANGE))
    base = KERNELS[number]
    if number == 80:
        f1 = float(rng.uniform(4.5, 7.0))
        model = KernelModel(80, float(rng.uniform(8.5, 10.5)), float(rng.uniform(3.0, 5.0)), float(rng.uniform(0, 0.55)), f1)
        return SharpKernel("B80f-like", model, lift)
    f50 = base.f50 * float(rng.uniform(0.94, 1.06))
    p = max(2.2, base.p + float(rng.uniform(-1.0, 1.0)))
    b = base.b * float(rng.uniform(0.7, 1.3)) + float(rng.uniform(-0.03, 0.03))
    model = KernelModel(number, f50, p, b, base.f1 * float(rng.uniform(0.92, 1.08)))
    return SharpKernel(f"B{number}f-like", model, lift)


def simulated_gain(kernel: dict[str, Any]) -> Gain:
    """Exact gain from a simulated sharp kernel (its entry in the patient's meta data) to B20f."""
    model = KernelModel(*(kernel[name] for name in ("number", "f50", "p", "b", "f1")))
    sharp = SharpKernel(str(kernel["name"]), model, float(kernel["lift"]))
    smooth = SMOOTH_KERNEL
    return lambda frequency: np.minimum(smooth.mtf(frequency) / np.maximum(sharp.mtf(frequency), MINIMUM_MTF), GAIN_LIMIT)
