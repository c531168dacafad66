"""An emphysema index with the error that normalization leaves in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from KernelNormalizationLib.core.errors import InputError

# Two-sided 95 % quantile of a normal distribution.
Z95 = 1.96


@dataclass(frozen=True)
class ErrorStratum:
    """Error of a normalization method in cross-validation, for scans of one range of EI.

    Attributes:
        ei_from: %, lower bound of the range (inclusive).
        ei_to: %, upper bound (exclusive).
        error_sd_points: percentage points, SD of EI(normalized) - EI(real smooth kernel).
        patients: number of patients behind it.
    """

    ei_from: float
    ei_to: float
    error_sd_points: float
    patients: int


@dataclass(frozen=True)
class EIInterval:
    """95 % interval of a normalized emphysema index.

    Attributes:
        low: %, at least 0.
        high: %, at most 100.
        basis: what the interval rests on, in words.
    """

    low: float
    high: float
    basis: str


def ei_interval(
    ei_percent: float, strata: Sequence[ErrorStratum] = (), ensemble_sd_points: float | None = None
) -> EIInterval | None:
    """Interval from the cross-validated error of the index's stratum and the spread of an ensemble.

    The two are taken as independent, so their variances add.

    Args:
        ei_percent: %, index on the normalized volume.
        strata: cross-validated errors; the stratum that holds ``ei_percent`` is used.
        ensemble_sd_points: SD of the index between the networks of an ensemble.

    Returns:
        ``None`` when neither is known: no interval is better than an invented one.

    Raises:
        InputError: the index is no percentage.
    """
    if not 0.0 <= ei_percent <= 100.0:
        raise InputError(f"An emphysema index of {ei_percent:g} % is impossible.")
    stratum = next((s for s in strata if s.ei_from <= ei_percent < s.ei_to), None)
    if stratum is None and ensemble_sd_points is None:
        return None
    variance, basis = 0.0, []
    if stratum is not None:
        variance += stratum.error_sd_points**2
        basis.append(f"cross-validated error of {stratum.patients} patients with EI {stratum.ei_from:g} to {stratum.ei_to:g} %")
    if ensemble_sd_points is not None:
        variance += ensemble_sd_points**2
        basis.append(f"ensemble spread {ensemble_sd_points:.2f} points")
    half = Z95 * math.sqrt(variance)
    return EIInterval(max(0.0, ei_percent - half), min(100.0, ei_percent + half), "; ".join(basis))
