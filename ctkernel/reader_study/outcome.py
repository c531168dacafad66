"""What a finished study is reported from."""

from __future__ import annotations

from dataclasses import dataclass

from .scale import Reading
from .statistics.summary import StudySummary
from .study import Study


@dataclass(frozen=True)
class ReaderTrace:
    """What the audit trail says of one reader.

    Attributes:
        reader: code name.
        scored: images that have a score.
        sittings: how often the page was opened.
        receipt: of the last score; empty without scores.
    """

    reader: str
    scored: int
    sittings: int
    receipt: str


@dataclass(frozen=True)
class StudyReport:
    """Everything that a report is written from.

    Attributes:
        study: what was read.
        summary: statistics.
        readings: scores that count.
        traces: one for each reader.
        prepared, unsealed: times, UTC.
        lines: of the audit trail.
        unfinished: whether the labels were opened before all readers had scored all images.
    """

    study: Study
    summary: StudySummary
    readings: tuple[Reading, ...]
    traces: tuple[ReaderTrace, ...]
    prepared: str
    unsealed: str
    lines: int
    unfinished: bool
