"""Finds the kernel that explains a measured noise spectrum: a published one, or one fitted with the free transfer model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .mtf import KERNELS, TARGET_NUMBER, KernelModel, kernel_mtf
from .noise_spectrum import RINGS, Curve, NoiseSpectrum, Transfer, expected_rings, ring_frequencies
from .radial_filter import Gain

# Frequencies that the fit uses, lp/cm: anatomy dominates the spectrum below, and the digitised published spectra end above.
LOWEST_LP_PER_CM, HIGHEST_LP_PER_CM = 1.0, 9.0
# Expected errors, the unit of a misfit: relative to the power (scanners with the same kernel differ by as much), and relative
# to the peak of the spectrum.
RELATIVE_ERROR, PEAK_ERROR = 0.10, 0.03
# Residual anatomy in flat tissue adds low-frequency power with every kernel. It is modelled as a share of the power that has
# the spectrum of B20f; these shares are tried. The real B70f series (3 mm slices) needs 0.1: without it, its plateau at low
# frequency is mistaken for a softer kernel.
SOFT_SHARES = (0.0, 0.05, 0.1, 0.2)
# Interpolation in back-projection lowers the noise power of every kernel of a scanner by exp(-s (f / 10 lp/cm)^2); these values
# of s are tried. Simulated scans need 1.0 (rays of 0.35 mm), the real B70f series 0.5.
SCANNER_ROLLOFFS = (0.0, 0.5, 1.0)
# Up to this misfit, a published kernel counts as describing a spectrum. Measured misfits: B70f chest 0.7, 20 simulated B80f 0.3
# to 1.0, simulated B50f to B70f of randomised shape 0.6 to 1.3; Philips L, which is no B kernel, 2.7.
FAMILY_MISFIT = 1.4
# Scanners offer only the published kernel numbers. So the best published number is taken if its misfit is at most
# NEARLY_RELATIVE times the smallest misfit plus NEARLY_ABSOLUTE.
NEARLY_RELATIVE, NEARLY_ABSOLUTE = 1.15, 0.2
# If even the free model misfits by more than this, no linear kernel made the spectrum.
FREE_MISFIT = 1.4
# Prior of the free model: typical values of log f50, log p, b and log f1, and their spread over the published kernels. Its
# weight is low, so that it decides only what the spectrum leaves open.
_TYPICAL = np.array([np.log(5.0), np.log(3.5), 0.3, np.log(5.0)])
_SPREAD = np.array([1.0, 0.7, 1.0, 0.5])
_PRIOR_WEIGHT = 0.3
# Limits of the free model. A deeper dip, or a peak at a lower frequency than that of any sharp published kernel, would only
# describe residual anatomy at low frequency; for the same reason the free model is fitted above 1.5 lp/cm only. With these
# limits the gains of the Toshiba and Philips head pairs are within .05 of the measured ones; without them, within .15.
FREE_LOWEST_LP_PER_CM = 1.5
_LOWER = np.array([np.log(1.5), np.log(1.2), -0.3, np.log(3.5)])
_UPPER = np.array([np.log(14.0), np.log(12.0), 3.0, np.log(12.0)])
_STARTS = ((4.0, 2.5, 0.0, 4.0), (7.0, 4.0, 0.5, 5.0), (6.0, 5.0, 1.2, 4.0))
# Where the fitted transfer falls below this share of its peak, the scan holds hardly any signal; the gain goes to zero there.
SIGNAL_SHARE = 0.05
# No gain amplifies more than this, as for the published kernels.
LARGEST_GAIN = 1.08
# How far f50, p, b and f1 of one kernel's name lie apart between scanners, logarithms: wide enough for every kernel that a
# scanner may sell under it, and held with this weight, so that noise that agrees with the name leaves the name's kernel.
NEAR_SPREAD, NEAR_WEIGHT = np.array([0.09, 0.22, 0.45, 0.12]), 0.5
# Centre and spread of the scanner's roll-off and of the soft share, fitted along.
_NEAR_NUISANCE, _NUISANCE_SPREAD = np.array([0.7, 0.0]), np.array([0.4, 0.05])
_TABLE_LP_PER_CM = np.linspace(0.0, 40.0, 1601)


@dataclass(frozen=True)
class FamilyFit:
    """The Siemens B kernel whose published noise spectrum is closest to a measured one.

    Attributes:
        number: best-fitting number, 10 to 80.
        misfit: root mean square of the residuals, in units of the expected error.
        published: best published number if it fits nearly as well, else ``number``.
    """

    number: float
    misfit: float
    published: float

    @property
    def is_good(self) -> bool:
        """Whether the family describes the spectrum."""
        return self.misfit <= FAMILY_MISFIT


@dataclass(frozen=True)
class FreeFit:
    """The transfer model fitted to a spectrum.

    Attributes:
        model: the fitted kernel.
        misfit: as in :class:`FamilyFit`.
    """

    model: KernelModel
    misfit: float

    @property
    def is_good(self) -> bool:
        """Whether the model describes the spectrum."""
        return self.misfit <= FREE_MISFIT

    def as_record(self) -> dict[str, Any]:
        """For provenance."""
        model = self.model
        shape = {"f50_lp_per_cm": model.f50, "p": model.p, "b": model.b, "f1_lp_per_cm": model.f1}
        return {name: round(float(value), 3) for name, value in shape.items()}


def fit_family(spectrum: NoiseSpectrum) -> FamilyFit:
    """The Siemens B kernel whose noise spectrum is closest to ``spectrum``."""
    numbers = np.arange(min(KERNELS), max(KERNELS) + 1)
    pixel_mm = round(spectrum.pixel_mm, 3)
    misfits = np.array([_misfits(spectrum, _family_rings(int(n), pixel_mm)).min() for n in numbers])
    best = int(np.argmin(misfits))
    allowed = NEARLY_RELATIVE * misfits[best] + NEARLY_ABSOLUTE
    known = [n for n in KERNELS if misfits[n - numbers[0]] <= allowed]
    published = min(known, key=lambda n: float(misfits[n - numbers[0]]), default=int(numbers[best]))
    return FamilyFit(float(numbers[best]), float(misfits[best]), float(published))


def misfit_of(spectrum: NoiseSpectrum, transfer: Transfer) -> float:
    """Misfit between ``spectrum`` and the noise of a kernel: root mean square in units of the expected error.

    Args:
        spectrum: the measured one.
        transfer: transfer of the kernel as a function of frequency, lp/cm.
    """
    return float(_misfits(spectrum, _candidate_rings(transfer, spectrum.pixel_mm)).min())


def fit_free(spectrum: NoiseSpectrum) -> FreeFit:
    """Fit the transfer model (1 at zero frequency) to ``spectrum``."""
    from scipy.optimize import least_squares  # slow to import, and few scans need it

    power, used, weight = _prepared(spectrum, FREE_LOWEST_LP_PER_CM)

    def residuals(shape: NDArray[np.float64]) -> Curve:
        rings = expected_rings(_model(shape).mtf, spectrum.pixel_mm)[used]
        scale = np.sum(weight**2 * power * rings) / max(float(np.sum(weight**2 * rings**2)), 1e-30)
        prior = _PRIOR_WEIGHT * (shape - _TYPICAL) / _SPREAD
        result: Curve = np.r_[weight * (power - scale * rings), prior]
        return result

    starts = (np.array([np.log(f50), np.log(p), b, np.log(f1)]) for f50, p, b, f1 in _STARTS)
    found = min((least_squares(residuals, s, bounds=(_LOWER, _UPPER)) for s in starts), key=lambda result: float(result.cost))
    left = residuals(found.x)[: len(power)]
    return FreeFit(_model(found.x), float(np.sqrt(np.mean(left**2))))


def fit_near(spectrum: NoiseSpectrum, kernel: KernelModel) -> KernelModel:
    """The kernel as the scanner of ``spectrum`` makes it: near ``kernel``, as far from it as the noise asks for."""
    from scipy.optimize import least_squares  # slow to import, and needed once a scan

    power, used, weight = _prepared(spectrum)
    soft = expected_rings(KERNELS[TARGET_NUMBER].mtf, spectrum.pixel_mm)[used]

    def model(steps: NDArray[np.float64]) -> KernelModel:
        f50, p, b, f1 = np.exp(NEAR_SPREAD * steps[:4]) * (kernel.f50, kernel.p, kernel.b, kernel.f1)
        return KernelModel(kernel.number, float(f50), float(p), float(b), float(f1))

    def residuals(steps: NDArray[np.float64]) -> Curve:
        rolloff, share = _NEAR_NUISANCE + _NUISANCE_SPREAD * steps[4:]
        rings = expected_rings(_rolled_off(model(steps).mtf, float(rolloff)), spectrum.pixel_mm)[used]
        rings = (1.0 - share) * rings / rings.sum() + share * soft / soft.sum()
        scale = np.sum(weight**2 * power * rings) / max(float(np.sum(weight**2 * rings**2)), 1e-30)
        result: Curve = np.r_[weight * (power - scale * rings), NEAR_WEIGHT * steps]
        return result

    bounds = (np.array([-3.0, -3.0, -3.0, -3.0, -1.75, 0.0]), np.array([3.0, 3.0, 3.0, 3.0, 2.0, 6.0]))
    found = least_squares(residuals, np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.4]), bounds=bounds)
    return model(found.x)


def gain_of(kernel: Transfer) -> Gain:
    """Gain from a kernel to B20f: the ratio of the transfers, sqrt(NPS of B20f / NPS of the kernel), 1 at zero frequency.

    Once it has fallen below 1, it does not rise again with frequency; it goes to zero where the kernel passes almost nothing.

    Args:
        kernel: its transfer as a function of frequency, lp/cm.
    """
    f = _TABLE_LP_PER_CM
    transfer = kernel(f)
    signal = transfer**2 / (transfer**2 + (SIGNAL_SHARE * transfer.max()) ** 2)
    ratio = np.minimum(KERNELS[TARGET_NUMBER].mtf(f) / np.maximum(transfer, 1e-9) * signal / signal[0], LARGEST_GAIN)
    falling = np.where(np.minimum.accumulate(ratio) < 1.0, np.minimum.accumulate(ratio), ratio)
    return lambda frequency: np.asarray(np.interp(frequency, f, falling), np.float64)


def _model(shape: NDArray[np.float64]) -> KernelModel:
    f50, p, f1 = np.exp(shape[[0, 1, 3]])
    return KernelModel(0, float(f50), float(p), float(shape[2]), float(f1))


def _prepared(spectrum: NoiseSpectrum, lowest: float = LOWEST_LP_PER_CM) -> tuple[Curve, NDArray[np.bool_], Curve]:
    """Power of the rings in use (peak 1), mask of these rings, and the weight (1 / expected error) of each."""
    used = _used(spectrum.pixel_mm, lowest)
    power = spectrum.power[used] / spectrum.power[used].max()
    sampling = 1.0 / np.sqrt(6.0 * spectrum.patches)
    error = np.hypot(np.hypot(RELATIVE_ERROR, sampling) * power, PEAK_ERROR)
    return power, used, 1.0 / error


def _used(pixel_mm: float, lowest: float = LOWEST_LP_PER_CM) -> NDArray[np.bool_]:
    frequency = ring_frequencies(pixel_mm)
    return (frequency > lowest) & (frequency < HIGHEST_LP_PER_CM) & (np.arange(RINGS) >= 2)


def _misfits(spectrum: NoiseSpectrum, candidates: NDArray[np.float64]) -> Curve:
    power, used, weight = _prepared(spectrum)
    rings = candidates[:, used]
    scale = (rings * power * weight**2).sum(axis=1) / (rings**2 * weight**2).sum(axis=1)
    left: Curve = weight * (power - scale[:, None] * rings)
    return np.asarray(np.sqrt(np.mean(left**2, axis=1)), np.float64)


def _candidate_rings(transfer: Transfer, pixel_mm: float) -> NDArray[np.float64]:
    """(candidates, 21): expected ring powers of a kernel for every scanner roll-off and every share of residual anatomy."""
    used = _used(pixel_mm)
    soft = expected_rings(KERNELS[TARGET_NUMBER].mtf, pixel_mm)
    soft = soft / soft[used].sum()
    rows = []
    for rolloff in SCANNER_ROLLOFFS:
        rings = expected_rings(_rolled_off(transfer, rolloff), pixel_mm)
        rings = rings / rings[used].sum()
        rows += [(1.0 - share) * rings + share * soft for share in SOFT_SHARES]
    return np.array(rows)


def _rolled_off(transfer: Transfer, rolloff: float) -> Transfer:
    return lambda f: transfer(f) * np.exp(-0.5 * rolloff * (f / 10.0) ** 2)


@lru_cache(maxsize=512)
def _family_rings(number: int, pixel_mm: float) -> NDArray[np.float64]:
    return _candidate_rings(lambda f: kernel_mtf(float(number), f), pixel_mm)
