"""Slices that were interpolated between two others after truncation, as when a 0.7 mm series is resampled to 1 mm.

A slice in the middle between two others is the mean of twice as many truncated images as one that lies on another, and the
variance of its noise is smaller by up to half. Along the series the shares repeat, and so does the noise. The interpolation is
estimated from the noise of homogeneous soft tissue in every slice and from the correlation of this noise between neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray
from ..imaging.fine_noise import fine_noise
from ..kernels.radial_filter import in_threads
from .model import Truncation

Curve = NDArray[np.float64]
Mixed = TypeVar("Mixed", float, Curve)

# Fewer 2 x 2 pixels of soft tissue tell nothing of a slice's noise.
LEAST_TISSUE = 500
# Errors of a slice's noise variance (relative) and of the correlation between neighbours: on 24 simulated patients, half of
# them interpolated, 0.01 to 0.04 and 0.01 to 0.03. Larger where so few pixels are read that their number limits it.
VARIANCE_ERROR, CORRELATION_ERROR = 0.03, 0.03
# Native slices per stored slice, and noise correlation of neighbouring native slices: 0 of thick ones, 0.24 measured of thin.
STEP, PHASE, CORRELATION = 0.01, 0.05, 0.06
STEPS, PHASES = np.arange(0.1, 2.5, STEP), np.arange(0.0, 1.0, PHASE)
CORRELATIONS = np.array([0.0, 0.12, 0.2, 0.26, 0.32, 0.42])
FINER = np.linspace(-0.8, 0.8, 9)
# Most tools that resample keep the first slice. This is assumed here if it raises chi2 by no more than this (2 SD).
ANCHORED = 4.0
# Interpolation is accepted if it lowers chi2 by this much and by at least half, and if the noise that it predicts varies by
# this much (SD of the logarithm of the variance).
LEAST_GAIN, LEAST_VARIATION = 40.0, 0.06
# Fitted together: the noise follows the body, but in so many slices its logarithm is nearly straight.
TOGETHER, FEWEST, FEWEST_SLOPING = 24, 4, 6
# Shares and correlations are rounded, so that few tables have to be made. A small share is never rounded to none: an image with
# the weight 0.025 raises truncated values by some HU, and where it does not, its table restores the same.
SHARE_STEP, CORRELATION_STEP, LARGEST_CORRELATION = 0.025, 0.005, 0.98


@dataclass(frozen=True)
class Interpolated:
    """A stored slice as the weighted mean of two neighbouring ones.

    Attributes:
        share: weight of the lesser one, 0 (the slice is one of them) to 0.5.
        correlation: of the noise of the two.
    """

    share: float = 0.0
    correlation: float = 0.0

    @property
    def noise_ratio(self) -> float:
        """Noise SD relative to that of one of the two."""
        return float(np.sqrt(_variance(self.share, self.correlation)))

    def of(self, truncation: Truncation) -> Truncation:
        """The truncation of the interpolated slice from that of the two: images of both, each with its slice's share.

        Images of different slices are less alike than those of one; all get the correlation that keeps the noise of their mean.
        """
        if self.share == 0.0:
            return truncation
        weights = tuple(share * w for share in (1.0 - self.share, self.share) for w in truncation.weights)
        squares = sum(w * w for w in weights)
        alike = ((truncation.noise_ratio * self.noise_ratio) ** 2 - squares) / (1.0 - squares)
        rounded = round(float(np.clip(alike, 0.0, LARGEST_CORRELATION)) / CORRELATION_STEP) * CORRELATION_STEP
        return Truncation(truncation.floor_hu, weights, round(rounded, 3))


def _variance(share: Mixed, correlation: float) -> Mixed:
    """Noise variance of the mean of two slices, weights ``share`` and 1 - ``share``, relative to that of one of them."""
    return 1.0 - 2.0 * share * (1.0 - share) * (1.0 - correlation)


AS_RECONSTRUCTED = Interpolated()


@dataclass(frozen=True)
class SliceInterpolation:
    """How the slices of a series were interpolated.

    Attributes:
        slices: one for each.
        step: native slices per stored slice.
        chi2: misfit without and with the interpolation, of the slices in the middle.
    """

    slices: tuple[Interpolated, ...]
    step: float
    chi2: tuple[float, float]

    def as_record(self) -> dict[str, Any]:
        """For provenance."""
        return {
            "native_slices_per_slice": round(self.step, 3),
            "noise_correlation_of_native_slices": self.slices[0].correlation,
            "chi2_without_and_with": [round(x, 1) for x in self.chi2],
        }


def find_interpolation(hu: FloatArray) -> SliceInterpolation | None:
    """How the slices of a series were interpolated; ``None`` if they were not, or if it does not show.

    Args:
        hu: (k, j, i), HU, neighbouring slices as stored, padding as air.
    """
    count = len(hu)
    size = min(count, TOGETHER)
    middle = (count - size) // 2
    if size < FEWEST:
        return None
    noise = _noise(hu[middle : middle + size])
    known = _fit(noise, STEPS, first=middle == 0)
    if known is None:
        return None
    if count > size:
        noise = _noise(hu)
    shares = [known.share(k - middle) for k in range(count)]
    near = known.step + STEP * np.arange(-3.0, 4.0)
    for start in (*range(0, count - size, size), count - size) if count > size else ():
        own = _fit(noise.part(start, size), near, first=start == 0)
        if own is not None:
            shares[start:] = [own.share(k - start) for k in range(start, count)]
    slices = tuple(Interpolated(shares[k], known.correlation) for k in noise.origin)
    return SliceInterpolation(slices, known.step, known.chi2)


@dataclass(frozen=True)
class _Noise:
    """The noise of soft tissue, slice by slice.

    Attributes:
        log_variance: (slices,), logarithm of its variance; NaN where it is not known.
        variance_error: (slices,), its standard error.
        together: (slices - 1,), correlation with the next slice; NaN where it is not known.
        together_error: (slices - 1,), its standard error.
        origin: (slices,), which slice each is: its own number, or that of the first of which it is an exact copy. Copies tell
            nothing, NaN.
    """

    log_variance: Curve
    variance_error: Curve
    together: Curve
    together_error: Curve
    origin: NDArray[np.intp]

    def part(self, start: int, size: int) -> _Noise:
        """That of ``size`` slices from ``start``."""
        one, between = slice(start, start + size), slice(start, start + size - 1)
        return _Noise(
            self.log_variance[one],
            self.variance_error[one],
            self.together[between],
            self.together_error[between],
            self.origin[one],
        )


@dataclass(frozen=True)
class _Fit:
    step: float
    phase: float
    correlation: float
    chi2: tuple[float, float]

    def share(self, k: int) -> float:
        within = (self.phase + k * self.step) % 1.0
        return round(max(round(min(within, 1.0 - within) / SHARE_STEP), 1) * SHARE_STEP, 3)


def _fit(noise: _Noise, steps: Curve, *, first: bool) -> _Fit | None:
    """The best interpolation with one of ``steps``; ``None`` if the noise does not ask for one.

    Args:
        noise: of the slices.
        steps: native slices per stored slice that are tried.
        first: whether these are the first slices of the series.
    """
    if np.count_nonzero(np.isfinite(noise.log_variance)) < FEWEST:
        return None
    coarse = _best(noise, (steps, PHASES, CORRELATIONS))
    without, least = coarse.chi2
    if without - least < LEAST_GAIN or least > 0.5 * without:
        return None
    near, alike = coarse.step + FINER * STEP, np.clip(coarse.correlation + FINER * CORRELATION, 0.0, 0.5)
    best = _best(noise, (near, coarse.phase + FINER * PHASE, alike))
    if not first:
        return best
    from_first = _best(noise, (near, np.zeros(1), alike))
    return from_first if from_first.chi2[1] <= best.chi2[1] + ANCHORED else best


def _best(noise: _Noise, tried: tuple[Curve, Curve, Curve]) -> _Fit:
    """The best of all combinations of steps, phases and correlations of neighbouring native slices."""
    seen, pairs = np.isfinite(noise.log_variance), np.isfinite(noise.together)
    error, together_error, together = noise.variance_error[seen], noise.together_error[pairs], noise.together[pairs]
    number = np.arange(len(noise.log_variance))
    trend = np.vander(number[seen] - number.mean(), 2 if np.count_nonzero(seen) >= FEWEST_SLOPING else 1)
    # Weighted by their errors, so that slices with little tissue do not bend the straight line.
    weighted = trend / error[:, None]
    apart = np.diag(1.0 / error) - weighted @ np.linalg.pinv(weighted) / error
    found = apart @ noise.log_variance[seen]
    spread = together - np.average(together, weights=together_error**-2) if pairs.any() else together
    without = float(np.sum(found**2) + np.sum((spread / together_error) ** 2))
    best = _Fit(1.0, 0.0, 0.0, (without, np.inf))
    steps, phases, correlations = tried
    place = phases[:, None] + steps[:, None, None] * number
    for correlation in correlations:
        variance, alike = _expected(place, float(correlation))
        shown = np.log(variance[..., seen]) @ apart.T
        chi2 = np.sum((found - shown) ** 2, axis=-1)
        chi2 += np.sum(((together - alike[..., pairs]) / together_error) ** 2, axis=-1)
        # The turns of a spiral change the noise of thin slices too, but less.
        chi2[(shown * error).std(axis=-1) < LEAST_VARIATION] = np.inf
        s, p = np.unravel_index(int(np.argmin(chi2)), chi2.shape)
        if chi2[s, p] < best.chi2[1]:
            best = _Fit(float(steps[s]), float(phases[p]), float(correlation), (without, float(chi2[s, p])))
    return best


def _expected(place: Curve, correlation: float) -> tuple[Curve, Curve]:
    """Noise variance of slices at ``place`` (..., slices) among native ones; correlation of neighbours (..., slices - 1)."""
    low = np.floor(place)
    f = place - low
    variance = _variance(f, correlation)
    a, b, apart = f[..., :-1], f[..., 1:], np.diff(low, axis=-1)
    same = (1.0 - a) * (1.0 - b) + a * b
    # With neighbours one native slice apart, the first's second is the second's first.
    covariance = np.select(
        [apart == 0, apart == 1, apart == 2],
        [same + correlation * (1.0 - same), a * (1.0 - b) + correlation * same, correlation * a * (1.0 - b)],
    )
    return variance, covariance / np.sqrt(variance[..., :-1] * variance[..., 1:])


def _noise(hu: FloatArray) -> _Noise:
    """The noise of soft tissue in slices (k, j, i), HU."""
    seen = list(in_threads(fine_noise, hu))
    counts = np.array([np.count_nonzero(tissue) for _, tissue in seen])
    enough = counts >= LEAST_TISSUE
    variances = [np.mean(noise[tissue] ** 2) if known else np.nan for (noise, tissue), known in zip(seen, enough, strict=True)]
    log_variance = np.log(np.array(variances, np.float64))
    alike, common = [], []
    for (one, there), (other, here) in pairwise(seen):
        both = there & here
        x, y = one[both], other[both]
        alike.append(float(np.mean(x * y) / np.sqrt(np.mean(x * x) * np.mean(y * y))) if x.size >= LEAST_TISSUE else np.nan)
        common.append(x.size)
    together = np.array(alike, np.float64)
    _, first, which = np.unique(log_variance, return_index=True, return_inverse=True, equal_nan=False)
    origin = first[which]
    copied = origin != np.arange(len(hu))
    log_variance[copied] = np.nan
    together[copied[1:] | copied[:-1]] = np.nan
    # Standard errors of the variance and the correlation of n independent normal deviates: sqrt(2 / n) and 1 / sqrt(n).
    by_count = np.sqrt(2.0 / np.maximum(counts, 1)), 1.0 / np.sqrt(np.maximum(common, 1))
    variance_error, together_error = np.maximum(VARIANCE_ERROR, by_count[0]), np.maximum(CORRELATION_ERROR, by_count[1])
    return _Noise(log_variance, variance_error, together, together_error, origin)
