"""One computation in a thread; progress and result are delivered on the GUI thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from KernelNormalizationLib.background.gui_thread import Mailbox
from KernelNormalizationLib.core.progress import Progress, ProgressReport, ProgressTracker


class BackgroundJob:
    """All callbacks are called on the GUI thread.

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
        self._mail = Mailbox()
        self._cancelled = threading.Event()

    def start(self) -> None:
        """Begin; returns at once."""
        tracker = ProgressTracker(self._report, self._cancelled.is_set)
        self._mail.compute(lambda: self._work(tracker), self._ended)

    def cancel(self) -> None:
        """Ask the computation to stop, also within a long step; it ends with :class:`Cancelled`."""
        self._cancelled.set()
        self._mail.askToStop()

    def stop(self) -> None:
        """Cancel; no callback is called afterwards."""
        self.cancel()
        self._mail.close()

    def _report(self, report: ProgressReport) -> None:
        self._mail.post(lambda: self._onProgress(report))

    def _ended(self, result: Any, error: Exception | None) -> None:
        self._mail.close()
        self._onEnd(result, error)
