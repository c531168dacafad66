"""Result of a check: a measured value, its limit, and whether the value keeps the limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from KernelNormalizationLib.core.methods.protocol import Normalizer
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.volume import CTVolume

Rule = Literal["at most", "at least", "within"]
Methods = Mapping[str, Normalizer]
SIGNS: dict[Rule, str] = {"at most": "≤", "at least": "≥", "within": "±"}


@dataclass(frozen=True)
class Outcome:
    """One measured value of one method.

    Attributes:
        check: the requirement that is checked.
        case: the test case.
        method: label of the method.
        value: the measured value.
        unit: unit of value and limit.
        limit: the limit.
        rule: ``at most``, ``at least``, or ``within`` (the absolute value is at most the limit).
    """

    check: str
    case: str
    method: str
    value: float
    unit: str
    limit: float
    rule: Rule = "at most"

    @property
    def passed(self) -> bool:
        """Whether the value keeps the limit; NaN never does."""
        if self.rule == "at least":
            return self.value >= self.limit
        return (abs(self.value) if self.rule == "within" else self.value) <= self.limit

    @property
    def limit_text(self) -> str:
        """The limit with its sign and unit."""
        return f"{SIGNS[self.rule]} {self.limit:g} {self.unit}".strip()

    @property
    def line(self) -> str:
        """The result in one line, for a log."""
        verdict = "pass" if self.passed else "FAIL"
        return f"{verdict} {self.method}, {self.check}, {self.case}: {self.value:.3g} ({self.limit_text})"

    def as_record(self) -> dict[str, Any]:
        """JSON-serializable."""
        return {**asdict(self), "passed": self.passed}


@dataclass(frozen=True)
class Skipped:
    """A check, or a case of one, that could not be carried out, with the reason."""

    check: str
    reason: str


Findings = Iterator[Outcome | Skipped]


def normalized(normalizer: Normalizer, volume: CTVolume) -> CTVolume:
    """``volume`` normalized by ``normalizer``.

    Raises:
        InputError: the volume cannot be processed.
    """
    return normalizer.normalize(volume, ProgressTracker()).volume
