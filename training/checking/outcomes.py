"""What a check found: a measured value, its limit and whether it holds."""

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
        check: which promise is checked.
        case: on what.
        method: label of the method.
        value: measured.
        unit: of value and limit.
        limit: bound of the value.
        rule: ``at most``, ``at least``, or ``within`` (the value without its sign is at most the limit).
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
        """Whether the value keeps the limit; a value that is not a number never does."""
        if self.rule == "at least":
            return self.value >= self.limit
        return (abs(self.value) if self.rule == "within" else self.value) <= self.limit

    @property
    def limit_text(self) -> str:
        """The limit with its sign and unit."""
        return f"{SIGNS[self.rule]} {self.limit:g} {self.unit}".strip()

    @property
    def line(self) -> str:
        """In one line, for a log."""
        verdict = "pass" if self.passed else "FAIL"
        return f"{verdict} {self.method}, {self.check}, {self.case}: {self.value:.3g} ({self.limit_text})"

    def as_record(self) -> dict[str, Any]:
        """JSON-serializable."""
        return {**asdict(self), "passed": self.passed}


@dataclass(frozen=True)
class Skipped:
    """A check, or a case of one, that could not be done, and why."""

    check: str
    reason: str


Findings = Iterator[Outcome | Skipped]


def normalized(normalizer: Normalizer, volume: CTVolume) -> CTVolume:
    """What ``normalizer`` makes of ``volume``.

    Raises:
        InputError: the volume cannot be processed.
    """
    return normalizer.normalize(volume, ProgressTracker()).volume
