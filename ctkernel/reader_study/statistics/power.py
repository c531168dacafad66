"""How many cases the next study needs, by exact binomial probabilities, for one reader."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from .roc import Z, hanley_mcneil_variance

POWER, LEVEL = 0.80, 0.05
# Larger studies than this are not planned with two experts.
MOST_CASES = 2000
# A study that shows "cannot be told apart" must exclude accuracies from this one on.
EXCLUDED_ACCURACY = 0.65
# Accuracies for which the table is made, besides those that were observed; 58 % and 75 % are the paper's two readers.
USUAL_ACCURACIES = (0.58, 0.65, 0.70, 0.75, 0.80)
# One of them is left out where an observed one is this near.
_ALIKE = 0.006


@dataclass(frozen=True)
class NeededCases:
    """Cases for a power of 80 %.

    Attributes:
        accuracy: true share of correct answers that is assumed.
        cases: for a two-sided exact binomial test at 5 % against guessing; ``None`` above 2000.
        power_now: power of that test with the cases of this study.
    """

    accuracy: float
    cases: int | None
    power_now: float


@dataclass(frozen=True)
class NextStudy:
    """Plan of the next study.

    Attributes:
        cases_now: of this study.
        detect: to show that a reader does better than guessing.
        excluded_accuracy: see ``cases_to_exclude``.
        cases_to_exclude: to show, if a reader truly guesses, that the accuracy lies below ``excluded_accuracy`` (one-sided
            exact test at 5 %, power 80 %); ``None`` above 2000.
        area_half_width: half the width of the 95 % interval of an ROC area of 0.6, by number of cases, half of each group.
    """

    cases_now: int
    detect: tuple[NeededCases, ...]
    excluded_accuracy: float
    cases_to_exclude: int | None
    area_half_width: tuple[tuple[int, float], ...]


def next_study(cases: int, observed: list[float]) -> NextStudy:
    """Plan the next study.

    Args:
        cases: number of cases of this study.
        observed: share of correct answers (0 to 1) of its readers.
    """
    own = {round(share, 3) for share in observed if share > 0.5}
    usual = {accuracy for accuracy in USUAL_ACCURACIES if all(abs(accuracy - share) > _ALIKE for share in own)}
    accuracies = sorted(own | usual)
    counts = sorted({cases, 36, 72, 100, 150, 200})
    return NextStudy(
        cases_now=cases,
        detect=tuple(NeededCases(a, cases_to_detect(a), power_to_detect(cases, a)) for a in accuracies),
        excluded_accuracy=EXCLUDED_ACCURACY,
        cases_to_exclude=_first_lasting(_powers_to_exclude()),
        area_half_width=tuple((n, Z * math.sqrt(hanley_mcneil_variance(0.6, n / 2, n / 2))) for n in counts),
    )


def power_to_detect(cases: int, accuracy: float) -> float:
    """Probability that ``cases`` answers, each right with probability ``accuracy``, differ from guessing (two-sided, 5 %)."""
    # the most wrong answers with which one side of the test is significant; the distribution at 1/2 is symmetric
    most = _lower_critical(np.array([cases]))[0]
    return float(binom.cdf(most, cases, accuracy) + binom.sf(cases - most - 1, cases, accuracy))


def cases_to_detect(accuracy: float) -> int | None:
    """The fewest cases from which on the power stays at 80 % or more; ``None`` above 2000."""
    counts = np.arange(1, MOST_CASES + 1)
    most = _lower_critical(counts)
    return _first_lasting(binom.cdf(most, counts, accuracy) + binom.sf(counts - most - 1, counts, accuracy))


def _lower_critical(counts: NDArray[np.int_]) -> NDArray[np.int_]:
    quantile = binom.ppf(LEVEL / 2.0, counts, 0.5).astype(int)
    return np.asarray(np.where(binom.cdf(quantile, counts, 0.5) <= LEVEL / 2.0, quantile, quantile - 1))


def _powers_to_exclude() -> NDArray[np.float64]:
    counts = np.arange(1, MOST_CASES + 1)
    quantile = binom.ppf(LEVEL, counts, EXCLUDED_ACCURACY).astype(int)
    most = np.where(binom.cdf(quantile, counts, EXCLUDED_ACCURACY) <= LEVEL, quantile, quantile - 1)
    return np.asarray(binom.cdf(most, counts, 0.5))


def _first_lasting(powers: NDArray[np.float64]) -> int | None:
    """Cases (index + 1) from which on no power is below 80 %: exact tests have a power that zigzags with the cases."""
    below = np.flatnonzero(powers < POWER)
    first = int(below[-1]) + 2 if below.size else 1
    return first if first <= MOST_CASES else None
