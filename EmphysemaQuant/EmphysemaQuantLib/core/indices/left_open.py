"""Scanner properties that one sharp scan cannot determine, and how much they could change the emphysema index.

The normalization writes, for each open property, by how many points the index changes under the hypotheses it tried
(:mod:`KernelNormalizationLib.core.methods.hypotheses`). Here they become a spread on either side of the index.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.methods.protocol import HYPOTHESES_KEY

# What is open, in words for the reader of a report.
WORDS = {
    "kernel": "the scanner's own form of the kernel, as estimated from its noise",
    "truncation": "how many images the scanner averaged into a slice",
    "lift": "how strongly the scanner's smooth kernels amplify coarse detail",
    "level": "how much coarse detail the kernel passes, which noise does not show",
}
# A hypothesis counts as exp(-difference of chi2 / 4) against the best, as where the restoration chooses among them: the bins
# err together, so that the chi2 says less than it would of independent ones.
LIKELIHOOD = 4.0
# Of such a fit (KernelNormalizationLib.core.truncation.estimation, which needs scipy).
DEGREES_OF_FREEDOM = 7.0


@dataclass(frozen=True)
class OpenProperty:
    """A property of the scanner that the scan does not determine.

    Attributes:
        words: what it is.
        down: percentage points, at most 0: how far the index could lie below the one shown.
        up: percentage points, at least 0: how far above.
        reason: why this could not be told, instead of ``down`` and ``up``; empty when it could.
    """

    words: str
    down: float = 0.0
    up: float = 0.0
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether it was tried."""
        return not self.reason

    @property
    def basis(self) -> str:
        """In words."""
        return f"{self.words} ({self.reason})" if self.reason else f"{self.words} ({self.down:+.2f} to {self.up:+.2f} points)"


def read_left_open(provenance: Mapping[str, Any]) -> tuple[OpenProperty, ...] | None:
    """The open properties of a provenance record; ``None`` for a record made before they were written down.

    Raises:
        InputError: the record's entry is damaged.
    """
    record = provenance.get(HYPOTHESES_KEY)
    if record is None:
        return None
    try:
        return tuple(_property(WORDS.get(name, name), entry) for name, entry in record["open"].items())
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise InputError(f"{HYPOTHESES_KEY} of the provenance record is damaged ({problem}); normalize again.") from error


def _property(words: str, entry: Mapping[str, Any]) -> OpenProperty:
    if "shifts" not in entry:
        return OpenProperty(words, reason=str(entry["reason"]))
    shifts = entry["shifts"]
    fits = [float(s["chi2"]) for s in shifts if s.get("chi2") is not None]
    best = min(fits, default=0.0)
    reach = [_weighted(float(s["points"]), s.get("chi2"), best) for s in shifts]
    if not all(math.isfinite(r) for r in reach):
        raise ValueError("a shift is no number")
    return OpenProperty(words, min(0.0, *reach), max(0.0, *reach))


def _weighted(points: float, chi2: float | None, best: float) -> float:
    """A shift of a hypothesis that fits the scan worse than the best counts less.

    A second moment weighs the square of a shift by its likelihood relative to the best; so the shift itself by the root of it.
    Where even the best fits poorly, differences count for less, as in the choice of what is open.
    """
    if chi2 is None:
        return points
    return points * math.exp(-0.5 * (float(chi2) - best) / (LIKELIHOOD * max(1.0, best / DEGREES_OF_FREEDOM)))


def open_variances(found: Sequence[OpenProperty]) -> tuple[float, float]:
    """Squared spread (points^2) of the index below and above the one shown, from all open properties together.

    Every value between the hypotheses is taken as equally likely. A shift uniform from 0 to u has the second moment u^2 / 3
    about the index shown; so has one uniform from -u to u. The index shown stays the centre, as the cross-validated bias
    is that of the same choice, and each side has its own moment: where one side only is open, the other gets nothing. Moments
    of independent shifts add, plus twice the product of every two means that point the same way (a shift uniform from d to u
    has the mean (d + u) / 2).
    """
    means = [0.5 * (p.down + p.up) for p in found]
    below = sum(p.down**2 for p in found) / 3.0 + _together([min(m, 0.0) for m in means])
    above = sum(p.up**2 for p in found) / 3.0 + _together([max(m, 0.0) for m in means])
    return below, above


def _together(means: Sequence[float]) -> float:
    """Twice the sum of the products of every two."""
    return sum(means) ** 2 - sum(m * m for m in means)
