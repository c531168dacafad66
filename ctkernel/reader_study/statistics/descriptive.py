"""Scores of one reader as the paper reports them: mean and SD by group, distribution, share of correct answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from ..scale import CERTAIN_SCORES, GROUPS, SCORES, Group, Reading

CONFIDENCE = 0.95


@dataclass(frozen=True)
class GroupScores:
    """Scores of one group of images by one reader (or by all).

    Attributes:
        group: original or normalized.
        count: images.
        mean: of the scores; ``None`` without images.
        sd: standard deviation with n - 1; ``None`` with fewer than two images.
        distribution: how many images got the score 0, 1, ... 5.
        median_seconds: median time per image, s.
    """

    group: Group
    count: int
    mean: float | None
    sd: float | None
    distribution: tuple[int, ...]
    median_seconds: float | None


@dataclass(frozen=True)
class Share:
    """A share of cases with its exact interval.

    Attributes:
        hits: cases that count.
        total: cases.
        percent: hits / total, %; ``None`` without cases.
        low, high: Clopper-Pearson interval at 95 %, %.
    """

    hits: int
    total: int
    percent: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ReaderScores:
    """What one reader did.

    Attributes:
        reader: code name.
        groups: originals first, normalized images second.
        correct: images put into the right group.
        synthetic_found: normalized images taken for synthetic.
        originals_found: originals taken for original.
        p_guessing: two-sided exact binomial test of ``correct`` against guessing (1/2).
        certain: answers with the score 0 or 5.
        changed: images whose score the reader changed.
    """

    reader: str
    groups: tuple[GroupScores, ...]
    correct: Share
    synthetic_found: Share
    originals_found: Share
    p_guessing: float | None
    certain: int
    changed: int


def scores_of_reader(reader: str, readings: Sequence[Reading]) -> ReaderScores:
    """Describe the readings of one reader.

    Args:
        reader: code name.
        readings: of this reader, at most one a case.
    """
    correct = _share([reading.correct for reading in readings])
    found = {group: _share([r.correct for r in readings if r.group == group]) for group in GROUPS}
    return ReaderScores(
        reader=reader,
        groups=tuple(group_scores(group, readings) for group in GROUPS),
        correct=correct,
        synthetic_found=found["normalized"],
        originals_found=found["original"],
        p_guessing=float(binomtest(correct.hits, correct.total, 0.5).pvalue) if correct.total else None,
        certain=sum(reading.score in CERTAIN_SCORES for reading in readings),
        changed=sum(reading.changes > 0 for reading in readings),
    )


def group_scores(group: Group, readings: Sequence[Reading]) -> GroupScores:
    """Mean, SD and distribution of the scores that images of ``group`` got."""
    scores = np.array([reading.score for reading in readings if reading.group == group], dtype=int)
    seconds = [reading.seconds for reading in readings if reading.group == group]
    return GroupScores(
        group=group,
        count=int(scores.size),
        mean=float(scores.mean()) if scores.size else None,
        sd=float(scores.std(ddof=1)) if scores.size > 1 else None,
        distribution=tuple(int(n) for n in np.bincount(scores, minlength=len(SCORES))),
        median_seconds=float(np.median(seconds)) if seconds else None,
    )


def _share(hits: Sequence[bool]) -> Share:
    if not hits:
        return Share(0, 0, None, None, None)
    interval = binomtest(sum(hits), len(hits)).proportion_ci(CONFIDENCE, method="exact")
    return Share(sum(hits), len(hits), 100.0 * sum(hits) / len(hits), 100.0 * interval.low, 100.0 * interval.high)
