"""Modulation transfer of reconstruction kernels, and the gain that turns the image of one kernel into that of another.

Images of the same raw data with two kernels of one family differ by a linear radial filter. Two sources are combined: gains
measured between Siemens reconstructions of the same raw data (:mod:`.measured_gains`) and, for kernels that were not measured,
a model of each kernel's transfer that was fitted to published noise spectra.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .measured_gains import MEASURED_GAINS, SAMPLED_FREQUENCIES

Curve = NDArray[np.float64]

# Divisions use at least this transfer; below it, the image of the sharp kernel holds no usable signal.
MINIMUM_MTF = 1e-3


@dataclass(frozen=True)
class KernelModel:
    """Radial transfer of a reconstruction kernel, as estimated from its noise.

    M(f) = exp(-ln2 (f/f50)^p) (1 + b (f/f1)^2 exp(1 - (f/f1)^2)), f in lp/cm in the slice plane.

    Attributes:
        number: sharpness number of the Siemens B family (80 for B80f).
        f50: frequency at which the roll-off alone is 50 %, lp/cm.
        p: steepness of the roll-off.
        b: height of the edge-enhancement peak.
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


# Fits of NPS = a f M^2 to the published noise spectra of a Siemens scanner (normalized, digitised; from the package DICaugment
# of the FDA, MIT licence); root-mean-square error about 1 % of the peak of each spectrum. Because M comes from noise, it does
# not include the blur of detector aperture and focal spot, which affects the object but not the noise. That blur is the same
# for all kernels and cancels in the ratio of two M.
# With a 0.6 mm aperture B30f then passes 50 % of the object at 3.5 and 10 % at 6.0 lp/cm, as published for it. B75f is not
# here: the model does not describe its spectrum (error twice as large, no peak within the range).
KERNELS: dict[int, KernelModel] = {
    10: KernelModel(10, 2.78, 2.25, -0.01, 3.05),
    20: KernelModel(20, 3.23, 2.21, -0.01, 1.50),
    30: KernelModel(30, 4.42, 2.96, -0.27, 5.11),
    40: KernelModel(40, 4.70, 2.64, -0.15, 5.44),
    45: KernelModel(45, 5.63, 3.78, 0.14, 4.16),
    50: KernelModel(50, 7.04, 4.83, 0.25, 4.32),
    60: KernelModel(60, 8.50, 6.29, 0.87, 6.37),
    70: KernelModel(70, 8.03, 6.74, 1.28, 6.73),
    80: KernelModel(80, 7.50, 4.04, 1.27, 5.27),
}
TARGET_NUMBER = 20
# Range of the measured gains in use, lp/cm: from the third measured sample to the end of the signal of B30f in the measured
# pair (gain 0.06, coherence still above 0.9).
FLAT_BELOW = 0.3125
LAST_SIGNAL = 6.0
# Height of the low-frequency excess of the measured over the published gains to B20f: least-squares fit of
# 1 + a (f/0.95)^2 exp(1 - (f/0.95)^2) between 0.3 and 1.2 lp/cm; mean of B50f (0.110) and B70f (0.122).
LIFT_HEIGHT = 0.116
LIFT_FREQUENCY = 0.95  # lp/cm
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

    Between two modelled kernels the logarithm of the transfer is interpolated linearly.

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
    gains = MEASURED_GAINS.get((source, target))
    if gains is None:
        known = ", ".join(f"{a} to {b}" for a, b in MEASURED_GAINS)
        raise InputError(f"No measured gain from {source} to {target}; measured pairs: {known}.")
    f = np.asarray(frequency, dtype=np.float64)
    result: Curve = np.interp(f, np.r_[0.0, SAMPLED_FREQUENCIES], np.r_[1.0, gains], right=0.0)
    return result


def gain_to_b20f(number: float, frequency: ArrayLike, lift: float = 1.0) -> Curve:
    """Gain from the B-family kernel ``number`` (10 to 80) to B20f at ``frequency`` (lp/cm).

    For B70f and B50f it is the mean of the gains measured to B10f and to B30f. For every other kernel it is the ratio of the
    transfers from the published noise spectra, times the correction that was measured on those two
    (:func:`measured_correction`).

    Args:
        number: sharpness number.
        frequency: lp/cm.
        lift: share of the measured low-frequency excess: 1 as measured, 0 none.

    Raises:
        InputError: ``number`` outside 10 .. 80.
    """
    f = np.asarray(frequency, dtype=np.float64)
    modelled = kernel_mtf(TARGET_NUMBER, f) / np.maximum(kernel_mtf(number, f), MINIMUM_MTF)
    result: Curve = np.minimum(modelled * measured_correction(number, f, lift), _SMOOTH_GAIN_LIMIT)
    return result


def measured_correction(number: float, frequency: ArrayLike, lift: float = 1.0) -> Curve:
    """Ratio of the measured to the published gain from kernel ``number`` to B20f, 1 at zero frequency.

    The measured gains from B50f and B70f to B10f and B30f are up to 12 % above the published ratio near 1.2 lp/cm, whereas
    those from B70f to B50f and from B30f to B10f agree with it. So the excess is a difference between sharp and smooth kernels:
    the full correction applies from B50f (that of B70f from number 60), none up to B30f. B40f was not measured; between 30 and
    50 the correction grows with the number.

    Args:
        number: sharpness number.
        frequency: lp/cm.
        lift: share of the measured low-frequency excess: 1 as measured, 0 none.
    """
    f = np.asarray(frequency, dtype=np.float64)
    membership = float(np.clip((number - 30.0) / 20.0, 0.0, 1.0))
    if membership == 0.0:
        return np.ones_like(f)
    share = float(np.clip((number - 50.0) / 10.0, 0.0, 1.0))
    known = np.clip(f, FLAT_BELOW, LAST_SIGNAL)
    measured = _measured_over_published(50, known) ** (1.0 - share) * _measured_over_published(70, known) ** share
    # Below the first samples the ratio follows a parabola: the kink of a straight line at zero frequency would give the filter
    # a point-spread function with tails of centimetres.
    flattened = np.where(f < FLAT_BELOW, 1.0 + (measured - 1.0) * (f / FLAT_BELOW) ** 2, measured)
    result: Curve = (flattened * lift_curve(f, lift) / lift_curve(f, 1.0)) ** membership
    return result


def lift_curve(frequency: ArrayLike, lift: float) -> Curve:
    """Excess of smooth over sharp kernels at low ``frequency`` (lp/cm), as a factor; ``lift`` 1: as measured, 0: none."""
    f = np.asarray(frequency, dtype=np.float64)
    result: Curve = 1.0 + lift * LIFT_HEIGHT * (f / LIFT_FREQUENCY) ** 2 * np.exp(1.0 - (f / LIFT_FREQUENCY) ** 2)
    return result


def _measured_over_published(number: int, f: Curve) -> Curve:
    """For B50f or B70f: mean of the measured gains to B10f and B30f, divided by the published gain to B20f."""
    measured = 0.5 * (measured_gain(f"B{number}f", "B10f", f) + measured_gain(f"B{number}f", "B30f", f))
    ratio: Curve = measured / (KERNELS[TARGET_NUMBER].mtf(f) / KERNELS[number].mtf(f))
    return ratio


# Largest gain: a kernel smoother than B20f is not sharpened, because that would amplify noise into apparent detail.
_SMOOTH_GAIN_LIMIT = 1.08
