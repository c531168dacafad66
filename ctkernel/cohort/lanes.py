"""Lanes: each works on one case at a time, while it reads the next and writes the last."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal, Protocol

from KernelNormalizationLib.core.errors import CTKernelError

from .case import Case, Outcome
from .steps import Job, compute_case, read_case, stop_session, write_case

Step = Literal["read", "compute", "write"]
STEPS: dict[Step, Callable[[Job, Case], Outcome]] = {"read": read_case, "compute": compute_case, "write": write_case}


class SchedulerLostError(CTKernelError):
    """The Dask scheduler no longer answers."""


class WorkerLostError(CTKernelError):
    """A worker died, or nobody knows any more what became of a step."""


class Future(Protocol):
    """What both kinds of futures have."""

    def add_done_callback(self, fn: Callable[[Any], Any]) -> Any:
        """Call ``fn`` with the future when it is done."""

    def cancel(self) -> Any:
        """Do not begin, if it has not begun."""


class Lane(Protocol):
    """A worker process."""

    @property
    def name(self) -> str:
        """For messages; the same as long as it is the same process."""

    @property
    def host(self) -> str:
        """Machine that it runs on."""

    def submit(self, step: Step, case: Case) -> Future:
        """Begin a step."""


class Lanes(Protocol):
    """The workers there are."""

    def now(self) -> list[Lane]:
        """The lanes that live at this moment.

        Raises:
            SchedulerLostError: nobody can tell.
        """

    def describe(self) -> list[str]:
        """Lines for a person."""

    def close(self, stopped: bool) -> None:
        """End the workers that were started here; ``stopped`` if steps may still be running."""


class ThisProcess:
    """One lane in this process: a thread for each step.

    Args:
        job: of the run; its session is set here.
    """

    name, host = "this process", "here"

    def __init__(self, job: Job) -> None:
        self._job = replace(job, session=uuid.uuid4().hex)
        self._threads: dict[Step, ThreadPoolExecutor] = {s: ThreadPoolExecutor(1, f"ctkernel-{s}") for s in STEPS}

    def submit(self, step: Step, case: Case) -> Future:
        return self._threads[step].submit(STEPS[step], self._job, case)

    def now(self) -> list[Lane]:
        return [self]

    def describe(self) -> list[str]:
        return ["One process, without Dask"]

    def close(self, stopped: bool) -> None:
        if stopped:
            stop_session(self._job.session)
        for thread in self._threads.values():
            thread.shutdown(wait=True, cancel_futures=True)
