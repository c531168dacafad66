"""Area under the ROC curve of ordinal scores, with the interval of DeLong, DeLong and Clarke-Pearson.

The area is the probability that an original gets a higher score than a normalized image, ties counted half: 0.5 is guessing, 1
perfect. Source: DeLong ER, DeLong DM, Clarke-Pearson DL, Biometrics 44 (1988) 837-845.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from .descriptive import CONFIDENCE

Scores = Sequence[int] | NDArray[np.int_]
Z = float(norm.ppf(0.5 + CONFIDENCE / 2.0))


@dataclass(frozen=True)
class RocArea:
    """Area under the ROC curve.

    Attributes:
        area: 0 to 1.
        standard_error: of DeLong; 0 where the groups do not overlap at all.
        low, high: interval at 95 %.
        interval: "DeLong", or "Newcombe" where the DeLong variance is 0 and would give an interval without width.
    """

    area: float
    standard_error: float
    low: float
    high: float
    interval: str


@dataclass(frozen=True)
class AreaDifference:
    """Difference of the areas of two readers of the same images (first minus second), with DeLong's paired interval.

    Attributes:
        difference: of the areas.
        low, high: interval at 95 %.
        p_value: two-sided; 1 where both scored all images alike.
    """

    difference: float
    low: float
    high: float
    p_value: float


def roc_area(originals: Scores, normalized: Scores) -> RocArea | None:
    """Area and interval from the scores of originals and of normalized images; ``None`` with fewer than two of either."""
    if len(originals) < 2 or len(normalized) < 2:
        return None
    (area,), covariance = areas_and_covariance([(originals, normalized)])
    error = float(np.sqrt(covariance[0, 0]))
    if error > 0.0:
        low, high = max(0.0, area - Z * error), min(1.0, area + Z * error)
        return RocArea(float(area), error, float(low), float(high), "DeLong")
    low, high = newcombe_interval(float(area), len(originals), len(normalized))
    return RocArea(float(area), 0.0, low, high, "Newcombe")


def compare_areas(first: tuple[Scores, Scores], second: tuple[Scores, Scores]) -> AreaDifference | None:
    """Compare two readers of the same images.

    Args:
        first: scores of the originals and of the normalized images.
        second: those of the other reader, images in the same order.

    Returns:
        The difference; ``None`` with fewer than two images in a group.
    """
    if min(len(first[0]), len(first[1])) < 2:
        return None
    areas, covariance = areas_and_covariance([first, second])
    difference = float(areas[0] - areas[1])
    error = float(np.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1])))
    if error == 0.0:
        return AreaDifference(difference, difference, difference, 1.0 if difference == 0.0 else 0.0)
    p_value = float(2.0 * norm.sf(abs(difference) / error))
    return AreaDifference(difference, difference - Z * error, difference + Z * error, p_value)


def areas_and_covariance(readers: Sequence[tuple[Scores, Scores]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas of several readers of the same images and their covariance (DeLong, equations 5 and 6).

    Args:
        readers: for each the scores of the originals (m) and of the normalized images (n), images in the same order.

    Returns:
        Areas, and a matrix (readers, readers).
    """
    placements = [_placements(np.asarray(high), np.asarray(low)) for high, low in readers]
    of_originals = np.stack([p[0] for p in placements])
    of_normalized = np.stack([p[1] for p in placements])
    covariance = np.atleast_2d(np.cov(of_originals)) / of_originals.shape[1]
    covariance = covariance + np.atleast_2d(np.cov(of_normalized)) / of_normalized.shape[1]
    return of_originals.mean(axis=1), covariance


def _placements(originals: NDArray[np.int_], normalized: NDArray[np.int_]) -> tuple[NDArray[np.float64], ...]:
    """For each image the share of the other group on its right side of it, ties counted half."""
    above = (originals[:, None] > normalized[None, :]) + 0.5 * (originals[:, None] == normalized[None, :])
    return above.mean(axis=1), above.mean(axis=0)


def roc_points(originals: Scores, normalized: Scores) -> list[tuple[float, float]]:
    """Points of the curve from (0, 0) to (1, 1): false positive and true positive share, an original being positive."""
    high, low = np.asarray(originals), np.asarray(normalized)
    cuts = sorted(set(high.tolist()) | set(low.tolist()), reverse=True)
    return [(0.0, 0.0), *((float(np.mean(low >= cut)), float(np.mean(high >= cut))) for cut in cuts)]


def newcombe_interval(area: float, originals: int, normalized: int) -> tuple[float, float]:
    """Interval that keeps its width at an area of 0 or 1.

    The limits are the areas A for which |A - area| is 1.96 standard errors of Hanley and McNeil at A, with the numbers of both
    groups replaced by their mean in the two correction terms. Source: Newcombe RG, Statistics in Medicine 25 (2006) 559-573,
    method 5.
    """

    def beyond(limit: float) -> float:
        return float((limit - area) ** 2 - Z**2 * hanley_mcneil_variance(limit, originals, normalized, mean_group=True))

    tiny = 1e-12
    low = 0.0 if area <= 0.0 else float(brentq(beyond, tiny, area - tiny))
    high = 1.0 if area >= 1.0 else float(brentq(beyond, area + tiny, 1.0 - tiny))
    return low, high


def hanley_mcneil_variance(area: float, originals: float, normalized: float, mean_group: bool = False) -> float:
    """Variance of an area under exponential score distributions: Hanley JA, McNeil BJ, Radiology 143 (1982) 29-36.

    Args:
        area: 0 to 1.
        originals, normalized: numbers of images.
        mean_group: use the mean of both numbers in the correction terms, as Newcombe does.
    """
    q1, q2 = area / (2.0 - area), 2.0 * area**2 / (1.0 + area)
    m, n = ((originals + normalized) / 2.0,) * 2 if mean_group else (originals, normalized)
    spread = (m - 1.0) * (q1 - area**2) + (n - 1.0) * (q2 - area**2)
    return (area * (1.0 - area) + spread) / (originals * normalized)
