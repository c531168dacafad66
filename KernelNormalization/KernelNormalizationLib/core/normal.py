"""The unit normal distribution and its truncated moments, from tables."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
Values = NDArray[np.floating[Any]]

LIMIT = 8.0


def density(t: Values) -> Curve:
    """phi(t)."""
    result: Curve = np.exp(-0.5 * t * t) / math.sqrt(2.0 * math.pi)
    return result


def exact_distribution(t: Values) -> Curve:
    """Phi(t), exact and slow."""
    return np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in t])


def distribution(t: Values) -> Curve:
    """Phi(t) within 1e-5, fast."""
    grid, below = _distribution_table()
    result: Curve = np.interp(t, grid, below)
    return result


def inverse_mills(a: Values) -> Curve:
    """phi(a) / Phi(a): minus the mean of a unit normal below ``a``."""
    grid, below = _distribution_table()
    result: Curve = np.interp(a, grid, density(grid) / below)
    return result


def both_below(a: Values, correlation: float) -> Curve:
    """Probability that two unit normals of that correlation (0 to below 1) are both below ``a``.

    Phi(a)^2 and the integral of the joint density at (a, a) over the correlation (Price's theorem).
    """
    step = np.linspace(0.0, correlation, 33)
    joint = np.exp(-(a[..., None] ** 2) / (1.0 + step)) / (2.0 * math.pi * np.sqrt(1.0 - step**2))
    result: Curve = distribution(a) ** 2 + np.trapezoid(joint, step, axis=-1)
    return result


@lru_cache(maxsize=1)
def _distribution_table() -> tuple[Curve, Curve]:
    grid = np.linspace(-LIMIT, LIMIT, 1601)
    return grid, exact_distribution(grid)
