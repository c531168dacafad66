"""All statistics of a study in one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ..scale import GROUPS, Group, Reading
from .agreement import Agreement, agreement_of
from .descriptive import ReaderScores, scores_of_reader
from .power import NextStudy, next_study
from .roc import AreaDifference, RocArea, areas_and_covariance, compare_areas, roc_area

RESAMPLINGS = 2000
_SEED = 20261126


@dataclass(frozen=True)
class MeanOfReaders:
    """Mean of all readers, with intervals at 95 % from cases drawn again (percentile bootstrap, within each group).

    They hold for these readers and other cases of this kind, not for other readers.

    Attributes:
        percent_correct: %, and its interval.
        area: mean of the ROC areas, and its interval; ``None`` with fewer than two images in a group.
    """

    percent_correct: tuple[float, float, float]
    area: tuple[float, float, float] | None


@dataclass(frozen=True)
class StudySummary:
    """Statistics of a study.

    Attributes:
        cases: number of images by group, of all that were prepared.
        readers: one entry each, in the order of the study.
        everyone: all readings together, for the overall distribution.
        areas: ROC area by reader.
        differences: of the areas, by pair of readers.
        agreements: by pair of readers, on the images that both scored.
        mean: of the readers, on the images that all of them scored; ``None`` without any.
        next_study: how many cases the next one needs.
    """

    cases: Mapping[Group, int]
    readers: tuple[ReaderScores, ...]
    everyone: ReaderScores
    areas: Mapping[str, RocArea | None]
    differences: tuple[tuple[tuple[str, str], AreaDifference | None], ...]
    agreements: tuple[Agreement, ...]
    mean: MeanOfReaders | None
    next_study: NextStudy


def summarize(readers: Sequence[str], readings: Sequence[Reading], cases: Mapping[Group, int]) -> StudySummary:
    """All statistics.

    Args:
        readers: code names.
        readings: at most one for each reader and case.
        cases: number of prepared images by group.
    """
    by_reader = {name: {r.case: r for r in readings if r.reader == name} for name in readers}
    described = tuple(scores_of_reader(name, list(by_reader[name].values())) for name in readers)
    pairs = list(combinations(readers, 2))
    shares = [d.correct.percent / 100.0 for d in described if d.correct.percent is not None]
    return StudySummary(
        cases=dict(cases),
        readers=described,
        everyone=scores_of_reader("all readers", readings),
        areas={name: roc_area(*_by_group(list(by_reader[name].values()))) for name in readers},
        differences=tuple((pair, _difference(by_reader[pair[0]], by_reader[pair[1]])) for pair in pairs),
        agreements=tuple(_agreement(pair, by_reader) for pair in pairs),
        mean=_mean_of_readers([by_reader[name] for name in readers]),
        next_study=next_study(sum(cases.values()), shares),
    )


def _common(several: Sequence[Mapping[str, Reading]]) -> list[str]:
    return sorted(set.intersection(*(set(readings) for readings in several))) if several else []


def _by_group(readings: Sequence[Reading]) -> tuple[list[int], list[int]]:
    original, normalized = ([r.score for r in readings if r.group == group] for group in GROUPS)
    return original, normalized


def _difference(first: Mapping[str, Reading], second: Mapping[str, Reading]) -> AreaDifference | None:
    cases = _common([first, second])
    return compare_areas(_by_group([first[c] for c in cases]), _by_group([second[c] for c in cases]))


def _agreement(pair: tuple[str, str], by_reader: Mapping[str, Mapping[str, Reading]]) -> Agreement:
    first, second = by_reader[pair[0]], by_reader[pair[1]]
    cases = _common([first, second])
    return agreement_of(pair, [first[c].score for c in cases], [second[c].score for c in cases])


def _mean_of_readers(several: Sequence[Mapping[str, Reading]]) -> MeanOfReaders | None:
    cases = _common(several)
    if not cases:
        return None
    groups = [[c for c in cases if several[0][c].group == group] for group in GROUPS]
    # (readers, images) for each group
    scores = [np.array([[readings[c].score for c in group] for readings in several]) for group in groups]
    correct = [np.array([[readings[c].correct for c in group] for readings in several], float) for group in groups]
    rng = np.random.default_rng(_SEED)
    drawn = [[rng.integers(0, len(g), len(g)) if g else np.array([], int) for g in groups] for _ in range(RESAMPLINGS)]
    shares = [_percent(correct[0][:, a], correct[1][:, b]) for a, b in drawn]
    percent = (_percent(*correct), *_limits(shares))
    if min(len(group) for group in groups) < 2:
        return MeanOfReaders(percent, None)
    areas = [_mean_area(scores[0][:, a], scores[1][:, b]) for a, b in drawn]
    return MeanOfReaders(percent, (_mean_area(*scores), *_limits(areas)))


def _percent(originals: NDArray[np.float64], normalized: NDArray[np.float64]) -> float:
    return 100.0 * float(np.concatenate([originals, normalized], axis=1).mean())


def _mean_area(originals: NDArray[np.int_], normalized: NDArray[np.int_]) -> float:
    areas, _ = areas_and_covariance(list(zip(originals, normalized, strict=True)))
    return float(areas.mean())


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
