"""What reconstruction kernels do to spatial frequencies, and how one kernel's image becomes another's.

Kernels of one reconstruction family are radial linear filters of each other. Two sources are combined: gains measured
between Siemens reconstructions of the same raw data (:mod:`.measured_gains`), and a model of each kernel's modulation
transfer function for the kernels that were not measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .measured_gains import FIRST_FREQUENCY, FREQUENCY_STEP, MEASURED_GAINS

Curve = NDArray[np.float64]

# Smallest modelled transfer that is divided by; below it the sharp kernel carries no signal worth restoring.
MINIMUM_MTF = 1e-3


@dataclass(frozen=True)
class KernelModel:
    """Radial modulation transfer function of a reconstruction kernel.

    M(f) = exp(-ln2 (f/f50)^p) (1 + b (f/f1)^2 exp(1 - (f/f1)^2)), f in lp/cm in the slice plane.

    Attributes:
        number: sharpness number of the Siemens B family (80 for B80f).
        f50: frequency at which the roll-off alone is 50 %, lp/cm.
        p: steepness of the roll-off.
        b: height of the edge-enhancing peak.
        f1: frequency of that peak, lp/cm.
    """

    number: int
    f50: float
    p: float
    b: float = 0.0
    f1: float = 1.0

    def mtf(self, frequency: ArrayLike) -> Curve:
        """Transfer at ``frequency`` (lp/cm), 1 at zero."""
        f = np.asarray(frequency, dtype=np.float64)
        hump = (f / self.f1) ** 2 * np.exp(1.0 - (f / self.f1) ** 2)
        result: Curve = np.exp(-np.log(2.0) * (f / self.f50) ** self.p) * (1.0 + self.b * hump)
        return result


# B10f, B50f, B70f were fitted to measured series; B30f reproduces published 50 % and 10 % points (3.5 and 5.9 lp/cm);
# B20f is placed between B10f and B30f; B40f, B60f and B80f are assumptions and are randomized in training. Of the shapes
# that B80f may have (f50 8.5 to 10.5 lp/cm, p 3 to 5, peak 1 to 1.55), this one has the known noise of about 9 times B20f and a
# peak like the measured B70f's. A flatter one (f50 9.3, p 4.2, peak 1.09) aliases so much at 0.7 mm pixels that even the
# transfer of the unclipped image leaves 10 HU to B20f, more than the paper's network (9.7 HU) left on real pairs.
KERNELS: dict[int, KernelModel] = {
    10: KernelModel(10, 2.706, 2.329),
    20: KernelModel(20, 2.95, 2.2),
    30: KernelModel(30, 3.5, 2.30),
    40: KernelModel(40, 4.2, 2.3),
    50: KernelModel(50, 6.176, 5.0, -0.021, 2.5),
    60: KernelModel(60, 6.9, 3.0, 0.15, 4.0),
    70: KernelModel(70, 7.07, 5.0, 0.885, 7.0),
    80: KernelModel(80, 8.5, 5.0, 0.55, 6.0),
}
TARGET_NUMBER = 20
# Third measured sample, and where B30f ends in the measured pair (gain 0.06, coherence still above 0.9), lp/cm.
FLAT_BELOW = FIRST_FREQUENCY + 2 * FREQUENCY_STEP
LAST_SIGNAL = 6.0
_TAG = re.compile(r"^\s*B(\d{2})[a-z]?\s*$", re.IGNORECASE)


def kernel_number(tag: str | None) -> int | None:
    """Sharpness number of a Siemens B-family kernel tag (``"B70f"`` gives 70), ``None`` for every other kernel."""
    match = _TAG.match(tag) if tag else None
    if match is None:
        return None
    number = int(match.group(1))
    return number if min(KERNELS) <= number <= max(KERNELS) else None


def kernel_mtf(number: float, frequency: ArrayLike) -> Curve:
    """Modelled transfer of the B-family kernel ``number`` (10 to 80) at ``frequency`` (lp/cm).

    Between the modelled kernels the logarithms of the two neighbours are interpolated.

    Raises:
        InputError: ``number`` outside 10 .. 80.
    """
    numbers = sorted(KERNELS)
    if not numbers[0] <= number <= numbers[-1]:
        raise InputError(f"Kernel number {number} is outside {numbers[0]} to {numbers[-1]} (B10f to B80f).")
    upper = next(n for n in numbers if n >= number)
    lower = max(n for n in numbers if n <= number)
    if upper == lower:
        return KERNELS[lower].mtf(frequency)
    weight = (number - lower) / (upper - lower)
    low, high = KERNELS[lower].mtf(frequency), KERNELS[upper].mtf(frequency)
    blended: Curve = np.maximum(low, 1e-12) ** (1.0 - weight) * np.maximum(high, 1e-12) ** weight
    return blended


def measured_gain(source: str, target: str, frequency: ArrayLike) -> Curve:
    """Measured gain from kernel ``source`` to ``target`` (names such as ``"B70f"``) at ``frequency`` (lp/cm).

    Linear between samples, 1 at zero frequency, 0 beyond the last sample (7.2 lp/cm).

    Raises:
        InputError: the pair was not measured.
    """
    try:
        gains = np.asarray(MEASURED_GAINS[(source, target)])
    except KeyError:
        known = ", ".join(f"{a} to {b}" for a, b in MEASURED_GAINS)
        raise InputError(f"No measured gain from {source} to {target}; measured pairs: {known}.") from None
    samples = FIRST_FREQUENCY + FREQUENCY_STEP * np.arange(gains.size)
    f = np.asarray(frequency, dtype=np.float64)
    result: Curve = np.interp(f, np.r_[0.0, samples], np.r_[1.0, gains], right=0.0)
    return result


def gain_to_b20f(number: float, frequency: ArrayLike) -> Curve:
    """Gain from the B-family kernel ``number`` (10 to 80) to B20f at ``frequency`` (lp/cm).

    The modelled ratio of the two kernels, corrected by what was measured: brought to B30f, B70f differs from its model, above
    all by a lift of the soft kernel of up to 8 % near 1 lp/cm. That is a fact of the sharp kernel, so B20f, which was not
    measured, stays what its model says. The correction is whole from B50f on (measured B50f and B70f share it) and absent up to
    B30f (measured B30f to B10f: within 1.5 %); between them it grows with the number.
    """
    f = np.asarray(frequency, dtype=np.float64)
    modelled = _modelled_gain(number, f)
    weight = float(np.clip((number - 30.0) / 20.0, 0.0, 1.0))
    if weight > 0.0:
        modelled = modelled * _measured_b70_correction(f) ** weight
    result: Curve = np.minimum(modelled, _SMOOTH_GAIN_LIMIT)
    return result


def _modelled_gain(number: float, f: Curve) -> Curve:
    gain: Curve = kernel_mtf(TARGET_NUMBER, f) / np.maximum(kernel_mtf(number, f), MINIMUM_MTF)
    return gain


def _measured_b70_correction(f: Curve) -> Curve:
    """Measured over modelled gain from B70f to B30f; to B10f it is the same up to 4 lp/cm, beyond which B10f has no signal."""
    known = np.clip(f, FLAT_BELOW, LAST_SIGNAL)
    modelled = kernel_mtf(30, known) / kernel_mtf(70, known)
    ratio = measured_gain("B70f", "B30f", known) / modelled
    # Below the first samples a parabola: a straight line's kink at zero would give the filter tails of centimetres.
    flattened: Curve = np.where(f < FLAT_BELOW, 1.0 + (ratio - 1.0) * (f / FLAT_BELOW) ** 2, ratio)
    return flattened


# A kernel smoother than B20f is not sharpened: amplifying its noise would invent detail.
_SMOOTH_GAIN_LIMIT = 1.08
