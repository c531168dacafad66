"""The scale of the paper: six scores, three for each answer, none for undecided; and what one reader said of one case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from KernelNormalizationLib.core.errors import InputError

# "normalized" is what the paper also calls synthetic.
Group = Literal["original", "normalized"]
GROUPS: tuple[Group, ...] = get_args(Group)

# Visual assessment of the paper, section 2.3: 0 (certainly synthetic) to 5 (certainly original), without a middle.
SCORE_WORDS = (
    "certainly synthetic",
    "probably synthetic",
    "rather synthetic",
    "rather original",
    "probably original",
    "certainly original",
)
SCORES = range(len(SCORE_WORDS))
# From this score on the reader takes the image for an original.
FIRST_ORIGINAL_SCORE = 3
CERTAIN_SCORES = (SCORES[0], SCORES[-1])


@dataclass(frozen=True)
class Reading:
    """The score that counts of one reader for one case.

    Attributes:
        reader: code name.
        case: random identifier of the image.
        group: what the image was.
        score: 0 to 5.
        seconds: from opening the case to this score, all times that it was opened and scored together.
        changes: how often the reader gave another score before this one.
    """

    reader: str
    case: str
    group: Group
    score: int
    seconds: float = 0.0
    changes: int = 0

    @property
    def answer(self) -> Group:
        """What the reader took the image for."""
        return answer_of(self.score)

    @property
    def correct(self) -> bool:
        """Whether that is what it was."""
        return self.answer == self.group


def answer_of(score: int) -> Group:
    """The answer that lies in a score: normalized (synthetic) up to 2, original from 3."""
    return "original" if score >= FIRST_ORIGINAL_SCORE else "normalized"


def require_score(value: object) -> int:
    """``value`` if it is a score.

    Raises:
        InputError: no whole number from 0 to 5.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value not in SCORES:
        raise InputError(f"{value!r:.40} is no score; give a whole number from {SCORES[0]} to {SCORES[-1]}.")
    return value
