"""Who reads what now: every reader has an order of cases, one open browser, and goes on where the scores end."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.errors import InputError

from .audit import OPENED, SCORED, AuditTrail, Event, receipt_of
from .scale import SCORES, Group, Reading, require_score
from .seal import Seal
from .study import Case, Study


class TakenOverError(InputError):
    """The reader opened the study in another browser, which goes on instead."""


class NotYetError(InputError):
    """The case comes later in this reader's order."""


@dataclass
class Sitting:
    """An open browser of one reader.

    Attributes:
        identifier: random; every request carries it.
        opened: seconds of the monotonic clock at which each position was opened, or last scored.
    """

    identifier: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    opened: dict[int, float] = field(default_factory=dict)


class ReadingRoom:
    """The study as its readers use it. Positions count from 0 in the order of the reader.

    Args:
        study: what is read.
        audit: gets every score.

    Raises:
        InputError: the labels were opened already.
    """

    def __init__(self, study: Study, audit: AuditTrail) -> None:
        if audit.is_unsealed:
            raise InputError("The labels of this study were opened; it is closed, and no more scores can be given.")
        self._study, self._audit = study, audit
        self._orders = {reader: study.reading_order(reader) for reader in study.readers}
        self._voxels = {case.identifier: study.voxels(case) for case in study.cases}
        self._sittings: dict[str, Sitting] = {}

    def open(self, reader: str) -> str:
        """Begin a sitting; one that was open ends. Returns its identifier."""
        sitting = Sitting()
        self._sittings[reader] = sitting
        self._audit.add(OPENED, {"reader": reader})
        return sitting.identifier

    def require_open(self, reader: str, sitting: str) -> Sitting:
        """The reader's sitting, if it is the one named.

        Raises:
            TakenOverError: another one was opened since, or none is.
        """
        current = self._sittings.get(reader)
        if current is None or not secrets.compare_digest(current.identifier.encode(), sitting.encode("utf-8", "replace")):
            raise TakenOverError("This reading was opened in another window; it goes on there.")
        return current

    def state(self, reader: str) -> dict[str, Any]:
        """Where the reader is: number of cases, how many are scored, the next position, and the receipt once all are."""
        scores = self._scores(reader)
        order = self._orders[reader]
        upcoming = next((n for n, case in enumerate(order) if case.identifier not in scores), len(order))
        finished = upcoming == len(order)
        return {
            "reader": reader,
            "total": len(order),
            "scored": len(scores),
            "next": upcoming,
            "finished": finished,
            "receipt": receipt_of(self._last_score(reader)) if finished else "",
        }

    def open_case(self, reader: str, sitting: Sitting, position: int) -> dict[str, Any]:
        """Size and spacing of the image at a position, and the score it has (-1 for none); starts its clock."""
        case = self._case(reader, position)
        sitting.opened[position] = time.monotonic()
        event = self._scores(reader).get(case.identifier)
        return {
            "shape": list(case.shape),
            "spacing_mm": [round(mm, 6) for mm in case.spacing],
            "score": -1 if event is None else event["score"],
        }

    def slice_of(self, reader: str, position: int, k: int) -> NDArray[np.int16]:
        """One slice, int16 (j, i), HU.

        Raises:
            NotYetError: the case comes later.
            InputError: no such slice.
        """
        case = self._case(reader, position)
        if not 0 <= k < case.shape[0]:
            raise InputError(f"There is no slice {k}; this image has {case.shape[0]}.")
        image: NDArray[np.int16] = self._voxels[case.identifier][k]
        return image

    def score(self, reader: str, sitting: Sitting, position: int, value: object) -> None:
        """Write a score into the audit trail; the same score again changes nothing.

        Raises:
            NotYetError: the case comes later.
            InputError: no score, or a case that this sitting did not open.
        """
        given = require_score(value)
        case = self._case(reader, position)
        if position not in sitting.opened:
            raise InputError("This case was not opened; look at the image before scoring it.")
        before = self._scores(reader).get(case.identifier)
        if before is not None and before["score"] == given:
            return
        now = time.monotonic()
        seconds, sitting.opened[position] = round(now - sitting.opened[position], 1), now
        self._audit.add(SCORED, {"reader": reader, "case": case.identifier, "score": given, "seconds": seconds})

    def _case(self, reader: str, position: int) -> Case:
        if not 0 <= position < len(self._orders[reader]):
            raise InputError(f"There is no case {position + 1}; the study has {len(self._orders[reader])}.")
        if position > self.state(reader)["next"]:
            raise NotYetError("This case comes later; score the one before it first.")
        return self._orders[reader][position]

    def _scores(self, reader: str) -> dict[str, Event]:
        return {event["case"]: event for event in score_events(self._audit, reader)}

    def _last_score(self, reader: str) -> Event:
        return score_events(self._audit, reader)[-1]


def score_events(audit: AuditTrail, reader: str) -> list[Event]:
    """Every score that a reader gave, in order; the last one of a case counts."""
    return [event for event in audit.events if event["event"] == SCORED and event["reader"] == reader]


def _is_of(event: Event, study: Study, groups: Mapping[str, Group]) -> bool:
    known = event.get("reader") in study.readers and event.get("case") in groups
    return known and event.get("score") in SCORES and isinstance(event.get("seconds"), int | float)


def readings_of(study: Study, audit: AuditTrail, seal: Seal) -> list[Reading]:
    """What counts of every reader, with the group of each image.

    Raises:
        InputError: the trail holds a score of a case or reader that the study does not have, or that is none.
    """
    groups = seal.groups
    readings = []
    for event in audit.events:
        if event["event"] == SCORED and not _is_of(event, study, groups):
            raise InputError(f"Line {event['n'] + 1} of the audit file is no score of a reader and case of this study.")
    for reader in study.readers:
        given: dict[str, list[Event]] = {}
        for event in score_events(audit, reader):
            given.setdefault(event["case"], []).append(event)
        for case, events in given.items():
            last = events[-1]
            seconds = float(sum(event["seconds"] for event in events))
            readings.append(Reading(reader, case, groups[case], last["score"], seconds, len(events) - 1))
    return readings
