"""Cross-validated error of the emphysema index in strata of the index, for the interval that the product shows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from EmphysemaQuantLib.core.indices.prediction_interval import MINIMUM_PATIENTS, ErrorStratum
from KernelNormalizationLib.core.errors import InputError

from ..evaluation.scores import Score, select

# Limits of the strata, %: normal lungs below 1 %, the study's patients with emphysema above 5 %, severe disease above 15 %.
EDGES = (0.0, 1.0, 5.0, 15.0, 100.0)


def error_strata(scores: Sequence[Score], method: str, population: str) -> list[ErrorStratum]:
    """Mean and standard deviation of EI(method) - EI(smooth kernel) in strata of EI(method), the index that a user sees.

    Strata with fewer patients than an interval needs are joined with their neighbour.

    Args:
        scores: scores of an evaluation in which no patient was evaluated by a model that was trained on it.
        method: label of the method.
        population: short description of the patients.

    Raises:
        InputError: the method has too few scores.
    """
    chosen = select(scores, method)
    if len(chosen) < MINIMUM_PATIENTS:
        known = ", ".join(sorted({s.method for s in scores}))
        raise InputError(f"{len(chosen)} scores of method {method}; {MINIMUM_PATIENTS} are needed. Methods there: {known}.")
    ei = np.array([s.ei for s in chosen])
    error = ei - np.array([s.true_ei for s in chosen])
    edges = _joined(ei)
    number = np.clip(np.searchsorted(edges, ei, side="right") - 1, 0, len(edges) - 2)
    strata = []
    for n, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = error[number == n]
        strata.append(
            ErrorStratum(
                low, high, round(float(inside.std(ddof=1)), 4), inside.size, round(float(inside.mean()), 4), population
            )
        )
    return strata


def _joined(ei: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[float]:
    edges = [EDGES[0]]
    for edge in EDGES[1:-1]:
        if np.count_nonzero((ei >= edges[-1]) & (ei < edge)) >= MINIMUM_PATIENTS:
            edges.append(edge)
    while len(edges) > 1 and np.count_nonzero(ei >= edges[-1]) < MINIMUM_PATIENTS:
        edges.pop()
    return [*edges, EDGES[-1]]
