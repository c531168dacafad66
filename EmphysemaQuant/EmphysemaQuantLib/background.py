"""One computation in a thread, its progress and outcome brought to the GUI thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import qt

from KernelNormalizationLib.core.progress import Progress, ProgressReport, ProgressTracker
from KernelNormalizationLib.run import inThread

POLL_MILLISECONDS = 50


class BackgroundJob:
    """All callbacks come on the GUI thread.

    Args:
        work: the computation; touches no node.
        onProgress: called with progress reports.
        onEnd: called once with (result, ``None``) or (``None``, what went wrong).
    """

    def __init__(
        self,
        work: Callable[[Progress], Any],
        onProgress: Callable[[ProgressReport], None],
        onEnd: Callable[[Any, Exception | None], None],
    ) -> None:
        self._work, self._onProgress, self._onEnd = work, onProgress, onEnd
        self._reports: queue.SimpleQueue[ProgressReport] = queue.SimpleQueue()
        self._outcome: tuple[Any, Exception | None] | None = None
        self._cancelled = threading.Event()
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.connect("timeout()", self._poll)

    def start(self) -> None:
        """Begin; returns at once."""
        tracker = ProgressTracker(self._reports.put, self._cancelled.is_set)
        self._timer.start()
        inThread(lambda: self._work(tracker), lambda *outcome: setattr(self, "_outcome", outcome))

    def cancel(self) -> None:
        """Ask the computation to stop at its next step; it ends with :class:`Cancelled`."""
        self._cancelled.set()

    def stop(self) -> None:
        """Cancel, and let no callback come any more."""
        self._cancelled.set()
        self._timer.stop()

    def _poll(self) -> None:
        report = None
        while not self._reports.empty():
            report = self._reports.get()
        if report is not None:
            self._onProgress(report)
        if self._outcome is not None:
            self._timer.stop()
            self._onEnd(*self._outcome)
