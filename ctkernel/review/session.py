"""One reader's session: its scan, its running step, its private folder. No session reaches another's."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import Cancelled, CTKernelError, InputError, system_error_in_words
from KernelNormalizationLib.core.freed_memory import give_back_memory
from KernelNormalizationLib.core.progress import Progress, ProgressReport, ProgressTracker
from KernelNormalizationLib.core.stopping import stoppable

from .steps import Review, measured

logger = logging.getLogger(__name__)

Step = Callable[[Progress], Review]
# The page is told of progress this often, so that a fast step does not flood it.
PROGRESS_SECONDS = 0.15


@dataclass
class RunningStep:
    """A step that is being computed, as the page shows it."""

    name: str
    stage: str = "Starting"
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    told: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return {
            "name": self.name,
            "stage": "Cancelling" if self.cancelled.is_set() else self.stage,
            "done": self.done,
            "total": self.total,
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left),
        }


class Session:
    """What one browser works on.

    Args:
        folder: private folder of this session; made here.
        turn: held while a step computes, so that several sessions do not fight for memory.
    """

    def __init__(self, folder: Path, turn: asyncio.Lock) -> None:
        folder.mkdir()
        self.folder = folder
        self.identifier = secrets.token_urlsafe(24)
        self.review: Review | None = None
        self.version = 0
        self.step: RunningStep | None = None
        self.message = ""
        self.sockets = 0
        self.last_seen = time.monotonic()
        self._threshold_hu: float | None = None
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self.changes = 0
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._folders = 0

    def state(self) -> dict[str, Any]:
        """State sent to the page whenever something changes."""
        return {
            "version": self.version,
            "open": self.review is not None,
            "step": None if self.step is None else self.step.as_json(),
            "message": self.message,
        }

    def new_folder(self) -> Path:
        """An empty folder in the private one."""
        self._folders += 1
        folder = self.folder / f"{self._folders:04d}"
        folder.mkdir()
        return folder

    def require_idle(self) -> None:
        """Raise :class:`InputError` while a step runs."""
        if self.step is not None:
            raise InputError(f"“{self.step.name}” is still running; wait for its end, or cancel it.")

    def require_review(self) -> Review:
        """The open scan; :class:`InputError` if there is none."""
        if self.review is None:
            raise InputError("No scan is open; open one first.")
        return self.review

    def start(self, name: str, step: Step, afterwards: Callable[[], None] | None = None) -> None:
        """Compute ``step`` in a thread; its review becomes the session's if it neither fails nor is cancelled.

        Args:
            name: in words for the user.
            step: called in the thread.
            afterwards: called in any case at the end.

        Raises:
            InputError: another step runs.
        """
        self.require_idle()
        self.step = RunningStep(name)
        self.message = ""
        self._keep(self._run(self.step, step, afterwards))

    def show(self, review: Review) -> None:
        """Let the page draw what a running step has so far; called in the step's thread."""

        def take() -> None:
            self.review = review
            self.version += 1
            self.tell()

        self._loop.call_soon_threadsafe(take)

    def cancel(self) -> None:
        """Ask the running step to stop; nothing happens if none runs."""
        if self.step is not None:
            self.step.cancelled.set()
            self.tell()

    def set_threshold(self, threshold_hu: float) -> None:
        """Measure again at a checked threshold (HU), now or after the running step."""
        self._threshold_hu = threshold_hu
        self._measure_again()

    def tell(self) -> None:
        """Let every page of this session know that something changed; call on the loop's thread."""
        self.changes += 1
        self._keep(self._notify())

    async def changed(self, since: int, seconds: float) -> None:
        """Wait until something changed after the change number ``since``, at most so many seconds.

        A change that came while the last one was being sent is one of those, and must not be waited for.
        """
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.changes != since)
        except TimeoutError:
            return

    async def close(self) -> None:
        """Stop the step and remove the files."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.review = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _keep(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _run(self, running: RunningStep, step: Step, afterwards: Callable[[], None] | None) -> None:
        def report(now: ProgressReport) -> None:
            running.stage, running.done, running.total = now.stage, now.done, now.total
            running.seconds_left = now.seconds_left
            if time.monotonic() - running.told > PROGRESS_SECONDS or now.done == 0:
                running.told = time.monotonic()
                self._loop.call_soon_threadsafe(self.tell)

        def compute() -> Review:
            with stoppable(running.cancelled.is_set):
                try:
                    return step(ProgressTracker(report, running.cancelled.is_set))
                finally:
                    give_back_memory()

        if self._turn.locked():
            running.stage = "Waiting for another page's computation to end"
        self.tell()
        try:
            async with self._turn:
                if running.cancelled.is_set():
                    raise Cancelled("Cancelled before it began.")
                self.review = await asyncio.to_thread(compute)
            self.version += 1
            self.message = self.review.note
        except Cancelled:
            self.message = f"{running.name}: cancelled. Nothing was changed."
        except CTKernelError as error:
            self.message = str(error)
        except MemoryError:
            self.message = "The memory of this machine is used up; close other programs, or use a smaller scan."
        except OSError as error:
            self.message = system_error_in_words(error)
        except Exception:
            # an error of the program; the page must not wait for ever
            logger.exception("%s failed", running.name)
            self.message = f"{running.name} failed for an unforeseen reason; the terminal shows it. Nothing was changed."
        finally:
            self.step = None
            if afterwards is not None:
                afterwards()
            self.tell()
            self._measure_again()

    def _measure_again(self) -> None:
        review, wanted = self.review, self._threshold_hu
        if self.step is not None or review is None or review.measurement is None or wanted is None:
            return
        self._threshold_hu = None
        if wanted != review.measurement.threshold_hu:
            mask = review.measurement.lung_mask
            self.start("Measuring", lambda progress: measured(review, wanted, progress, mask))
