"""Agreement of two readers beyond chance: Cohen's kappa of the answers, and weighted kappa of the scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from KernelNormalizationLib.core.errors import InputError

from ..scale import SCORES, answer_of


@dataclass(frozen=True)
class Kappa:
    """Kappa with its interval at 95 %; all ``None`` where chance alone would give full agreement (one answer only)."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Agreement:
    """Agreement of two readers of the same images.

    Attributes:
        readers: code names.
        images: how many both scored.
        same_answer: images that both took for the same.
        answers: Cohen's kappa of original against synthetic.
        scores: kappa of the scores 0 to 5 with quadratic weights.
    """

    readers: tuple[str, str]
    images: int
    same_answer: int
    answers: Kappa
    scores: Kappa


def agreement_of(readers: tuple[str, str], first: Sequence[int], second: Sequence[int]) -> Agreement:
    """Compare the scores that two readers gave the same images, in the same order."""
    answers = [(answer_of(a) == "original", answer_of(b) == "original") for a, b in zip(first, second, strict=True)]
    return Agreement(
        readers=readers,
        images=len(answers),
        same_answer=sum(a == b for a, b in answers),
        answers=_kappa([(int(a), int(b)) for a, b in answers], 2, None),
        scores=_kappa(list(zip(first, second, strict=True)), len(SCORES), "quadratic"),
    )


def _kappa(pairs: Sequence[tuple[int, int]], categories: int, weights: str | None) -> Kappa:
    try:
        from statsmodels.stats.inter_rater import cohens_kappa
    except ImportError as error:
        raise InputError('Kappa needs statsmodels; install it with: pip install "ctkernelnormalization[study]"') from error
    table = np.zeros((categories, categories))
    for pair in pairs:
        table[pair] += 1
    # with all images in one row and column chance alone gives full agreement, and kappa is 0 / 0
    with np.errstate(divide="ignore", invalid="ignore"):
        found = cohens_kappa(table, wt=weights) if pairs else None
    if found is None or not math.isfinite(found.kappa):
        return Kappa(None, None, None)
    low, high = (float(v) if math.isfinite(v) else None for v in (found.kappa_low, found.kappa_upp))
    return Kappa(float(found.kappa), low, None if high is None else min(1.0, high))
