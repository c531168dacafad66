"""Progress and cancellation, the same for command line, Slicer and training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from .errors import Cancelled
from .stopping import stop_asked


@dataclass(frozen=True)
class ProgressReport:
    """State of a running job.

    Attributes:
        done: finished units (slices, unless ``stage`` says otherwise).
        total: units in the whole job, at least ``done``.
        seconds_left: estimate from the mean rate so far; ``None`` before the first unit is done.
        stage: what is being done, in words for the user.
    """

    done: int
    total: int
    seconds_left: float | None
    stage: str


ProgressCallback = Callable[[ProgressReport], None]
CancelCheck = Callable[[], bool]


class Progress(Protocol):
    """Interface by which a long computation reports and is cancelled."""

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of ``total`` units."""

    def advance(self, units: int = 1) -> None:
        """Report ``units`` more as done; raises :class:`Cancelled` if the user asked to stop."""

    def check_cancelled(self) -> None:
        """Raise :class:`Cancelled` if the user asked to stop."""


@dataclass
class ProgressTracker:
    """Progress that reports to a callback and polls a cancel check; both are optional.

    Args:
        on_report: called after :meth:`start` and after every :meth:`advance`.
        is_cancelled: polled before every report, like the thread's own stop (:mod:`.stopping`); ``True`` makes the next call
            raise :class:`Cancelled`.
    """

    on_report: ProgressCallback | None = None
    is_cancelled: CancelCheck | None = None
    _stage: str = field(default="", init=False)
    _done: int = field(default=0, init=False)
    _total: int = field(default=0, init=False)
    _started: float = field(default=0.0, init=False)

    def start(self, stage: str, total: int) -> None:
        self._stage, self._done, self._total = stage, 0, total
        self._started = time.monotonic()
        self._report()

    def advance(self, units: int = 1) -> None:
        self._done = min(self._done + units, self._total)
        self._report()

    def check_cancelled(self) -> None:
        if stop_asked() or (self.is_cancelled is not None and self.is_cancelled()):
            raise Cancelled(f"Cancelled during “{self._stage}” after {self._done} of {self._total}; nothing was kept.")

    def _report(self) -> None:
        self.check_cancelled()
        if self.on_report is not None:
            self.on_report(ProgressReport(self._done, self._total, self._seconds_left(), self._stage))

    def _seconds_left(self) -> float | None:
        if self._done == 0:
            return None
        return (time.monotonic() - self._started) / self._done * (self._total - self._done)
