"""Keeps the lanes busy until every case has its result or its reason."""

from __future__ import annotations

import logging
import queue
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from KernelNormalizationLib.core.errors import Cancelled, CTKernelError

from .case import Case, Failure, Outcome
from .lanes import Future, Lane, Lanes, Step, WorkerLostError
from .settings import CohortSettings
from .steps import Job

logger = logging.getLogger(__name__)

# Bytes a voxel that a step may hold, a process without any volume, and a network with its buffers. Measured on 512 x 512 x 300
# voxels: 2.23 GB for the linear method, 2.78 GB with the network.
BYTES_PER_VOXEL: dict[Step, float] = {"read": 9.0, "compute": 25.0, "write": 11.0}
BASE_BYTES, NETWORK_BYTES = 0.35e9, 0.5e9
# A case whose headers do not tell: 512 x 512 x 300.
UNKNOWN_VOXELS = 78_643_200
# On disk a case takes four bytes a voxel and some pages.
DISK_BYTES_PER_VOXEL, DISK_BYTES = 4.5, 50e6
LOOK_SECONDS = 1.0
# A case that was merely waiting in a worker that died is no suspect, unless that happens to it again and again.
MOST_DEATHS = 3


def base_bytes(settings: CohortSettings) -> float:
    """What a worker takes before it holds any volume."""
    return BASE_BYTES + (NETWORK_BYTES if settings.method == "unet" else 0.0)


@dataclass(frozen=True)
class Update:
    """How far a run is.

    Attributes:
        done: cases that have a result or a reason.
        total: of all.
        computed: done now, not kept from an earlier run.
        failed: without a result.
        seconds: since the start.
    """

    done: int
    total: int
    computed: int
    failed: int
    seconds: float


@dataclass
class _Place:
    """What one lane is doing."""

    lane: Lane
    running: dict[Step, tuple[Case, Future]] = field(default_factory=dict)
    read: Case | None = None
    computed: Case | None = None

    @property
    def cases(self) -> list[Case]:
        """The cases that are in the lane."""
        waiting = [case for case in (self.read, self.computed) if case is not None]
        return [*(case for case, _ in self.running.values()), *waiting]


@dataclass(frozen=True)
class _Ended:
    place: _Place
    step: Step
    case: Case
    future: Any


class Run:
    """One run over the cases.

    Args:
        cases: what to do.
        lanes: who does it.
        job: settings and output folder.
        told: called with every change; may raise :class:`Cancelled`.
    """

    def __init__(self, cases: Sequence[Case], lanes: Lanes, job: Job, told: Callable[[Update], None]) -> None:
        self._waiting, self._alone = deque(cases), deque[Case]()
        self._total, self._job, self._lanes, self._told = len(cases), job, lanes, told
        self._places: dict[str, _Place] = {}
        self._events: queue.SimpleQueue[_Ended] = queue.SimpleQueue()
        self._voxels = {case.id: case.voxels or UNKNOWN_VOXELS for case in cases}
        self._deaths: dict[str, int] = {}
        self._tried_alone: set[str] = set()
        self._started, self._looked = time.monotonic(), 0.0
        self._base = base_bytes(job.settings)
        self._states = Counter[str]()
        self.outcomes: dict[str, Outcome] = {}

    def work(self) -> dict[str, Outcome]:
        """Run to the end.

        Returns:
            Identifier -> outcome, of every case.

        Raises:
            Cancelled: ``told`` asked to stop.
            SchedulerLostError: the scheduler is gone.
            CTKernelError: the disk is full.
        """
        self._tell()
        while len(self.outcomes) < self._total:
            self._look_at_lanes()
            for place in self._places.values():
                self._fill(place)
            try:
                ended = self._events.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                self._tell()
                continue
            self._end(ended)
        return self.outcomes

    def _look_at_lanes(self) -> None:
        """Take new lanes in, and what dead ones held back."""
        if self._places and time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        alive = {lane.name: lane for lane in self._lanes.now()}
        for name in [name for name in self._places if name not in alive]:
            self._lost(self._places.pop(name))
        for name, lane in alive.items():
            if name not in self._places:
                self._places[name] = _Place(lane)

    def _lost(self, place: _Place) -> None:
        """A worker died: what it computed is suspected and tried once more alone, the rest goes back."""
        logger.warning("The worker %s has gone; its cases are tried again.", place.lane.name)
        suspected = {case.id for step, (case, _) in place.running.items() if step == "compute"}
        for _, future in place.running.values():
            future.cancel()
        for case in {case.id: case for case in place.cases}.values():
            if case.id in self.outcomes:
                continue
            self._deaths[case.id] = self._deaths.get(case.id, 0) + 1
            if case.id in self._tried_alone:
                reason = "The worker died while it worked on this case, and again when the case was tried alone."
                self._finish(Outcome(case.id, "failed", Failure(case.id, reason, "worker", "computing")))
            elif case.id in suspected or self._deaths[case.id] >= MOST_DEATHS:
                self._alone.append(case)
            else:
                self._waiting.appendleft(case)

    def _fill(self, place: _Place) -> None:
        """Begin what can begin."""
        if place.computed is not None and "write" not in place.running:
            case, place.computed = place.computed, None
            self._begin(place, "write", case)
        idle = "compute" not in place.running and place.computed is None
        if place.read is not None and idle and self._fits(place, "compute"):
            case, place.read = place.read, None
            self._begin(place, "compute", case)
        if place.read is None and "read" not in place.running:
            case_or_none = self._next(place)
            if case_or_none is not None:
                self._begin(place, "read", case_or_none)

    def _next(self, place: _Place) -> Case | None:
        """The next case for a lane, if it may begin one."""
        if self._waiting:
            case = self._waiting[0]
            needed = self._base + BYTES_PER_VOXEL["compute"] * self._voxels[case.id]
            if case.voxels and needed > self._limit:
                self._waiting.popleft()
                self._finish(self._too_large(case, needed))
                return None
            if place.cases and not self._fits(place, "read", case):
                return None
            self._require_disk(case)
            return self._waiting.popleft()
        others_work = any(other.cases for other in self._places.values())
        if not self._alone or others_work:
            return None
        case = self._alone.popleft()
        self._tried_alone.add(case.id)
        return case

    def _fits(self, place: _Place, step: Step, case: Case | None = None) -> bool:
        """Whether the lane has memory for one more step."""
        held = sum(BYTES_PER_VOXEL[running] * self._voxels[c.id] for running, (c, _) in place.running.items())
        held += sum(BYTES_PER_VOXEL["read"] * self._voxels[c.id] for c in (place.read,) if c is not None and step != "compute")
        held += sum(BYTES_PER_VOXEL["write"] * self._voxels[c.id] for c in (place.computed,) if c is not None)
        new = case if case is not None else place.read
        if new is None or not (place.running or place.computed):
            return True
        return self._base + held + BYTES_PER_VOXEL[step] * self._voxels[new.id] <= self._limit

    @property
    def _limit(self) -> float:
        return self._job.settings.memory_gb * 1e9

    def _begin(self, place: _Place, step: Step, case: Case) -> None:
        future = place.lane.submit(step, case)
        place.running[step] = (case, future)
        future.add_done_callback(lambda done: self._events.put(_Ended(place, step, case, done)))

    def _end(self, ended: _Ended) -> None:
        place, step, case = ended.place, ended.step, ended.case
        if self._places.get(place.lane.name) is not place or place.running.get(step, (None,))[0] is not case:
            return  # of a lane that was given up
        if ended.future.cancelled():
            self._looked = 0.0  # the worker or the scheduler has gone: looking at the lanes will tell
            return
        error = ended.future.exception()
        if isinstance(error, WorkerLostError):
            self._looked = 0.0
            self._places.pop(place.lane.name)
            self._lost(place)
            return
        del place.running[step]
        if isinstance(error, Cancelled):
            raise error
        if error is not None:
            logger.debug("Unexpected failure", exc_info=error)
            reason = f"{type(error).__name__}: {error}"
            self._finish(Outcome(case.id, "failed", Failure(case.id, reason, "unexpected", step)))
            return
        self._take(place, step, case, ended.future.result())

    def _take(self, place: _Place, step: Step, case: Case, outcome: Outcome) -> None:
        if outcome.voxels:
            self._voxels[case.id] = outcome.voxels
        if outcome.state != "ready":
            self._finish(outcome)
            return
        needed = self._base + BYTES_PER_VOXEL["compute"] * self._voxels[case.id]
        if step == "read" and needed > self._limit:
            self._finish(self._too_large(case, needed))
        elif step == "read":
            place.read = case
        else:
            place.computed = case

    def _too_large(self, case: Case, needed: float) -> Outcome:
        reason = f"It needs about {needed / 1e9:.1f} GB and a worker may take {self._limit / 1e9:.1f} GB."
        return Outcome(case.id, "failed", Failure(case.id, reason, "memory", "reading"))

    def _require_disk(self, case: Case) -> None:
        voxels = self._voxels[case.id] if self._job.settings.keep_volumes and case.voxels else 0
        needed = DISK_BYTES + DISK_BYTES_PER_VOXEL * voxels
        free = shutil.disk_usage(self._job.out).free
        if free < needed:
            raise CTKernelError(
                f"The disk of {self._job.out} has {free / 1e9:.2f} GB left and a case needs about {needed / 1e9:.2f} GB. Make "
                "room and run the same command again; it goes on where it stopped."
            )

    def _finish(self, outcome: Outcome) -> None:
        self.outcomes[outcome.case] = outcome
        self._states[outcome.state] += 1
        if outcome.failure is not None:
            logger.info("%s: %s", outcome.case, outcome.failure.reason)
        self._tell()

    def _tell(self) -> None:
        seconds, states = time.monotonic() - self._started, self._states
        self._told(Update(len(self.outcomes), self._total, states["done"], states["failed"], seconds))
