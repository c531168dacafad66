"""Runs a normalization in the background and brings its events to the GUI thread."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import qt
import slicer

from .job import Event
from .run import MODULE_FOLDER, NormalizationRun, inThread

POLL_MILLISECONDS = 50
KILL_AFTER_SECONDS = 2.0
REMEMBERED_LINES = 12


class BackgroundProcess:
    """One run; all callbacks come on the GUI thread.

    Args:
        run: what to run.
        onEvent: called with every :class:`~.job.Event`.
        onResult: called with (job number, voxels, record) for every finished volume.
        onEnd: called once with (exit code, last lines of other output); exit code -1 if it could not be started.
    """

    def __init__(
        self,
        run: NormalizationRun,
        onEvent: Callable[[Event], None],
        onResult: Callable[[int, Any, Any], None],
        onEnd: Callable[[int, str], None],
    ) -> None:
        self.run = run
        self._onEvent, self._onResult, self._onEnd = onEvent, onResult, onEnd
        self._messages: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._process: Any = None
        self._exitCode: int | None = None
        self._loading = 0
        self._lines: deque[str] = deque(maxlen=REMEMBERED_LINES)
        self._cancelledAt: float | None = None
        self._ended = False
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.connect("timeout()", self._poll)

    def start(self) -> None:
        """Store the volumes in a thread, then start the process; returns at once."""
        self._timer.start()
        inThread(self.run.writeInputs, lambda _, error: self._post(lambda: self._launch(error)))

    def cancel(self) -> None:
        """Ask the process to stop; it is ended by force if it does not within two seconds."""
        if self._cancelledAt is None:
            self._cancelledAt = time.monotonic()
            self.run.requestStop()
            if self._process is None:
                self._exitCode = -1

    def stop(self) -> None:
        """End everything now and remove all files; no callback comes any more."""
        self._ended = True
        self._timer.stop()
        self.run.requestStop()
        if self._process is not None:
            self.run.kill(self._process)
        self.run.cleanUp()

    def _post(self, message: Callable[[], None]) -> None:
        self._messages.put(message)
        if self._ended:
            self.run.cleanUp()

    def _launch(self, error: Exception | None) -> None:
        if self._cancelledAt is not None:
            return
        if error is not None:
            self._lines.append(str(error))
            self._exitCode = -1
            return
        try:
            # Both old and new Slicer return at once with these arguments; the output is read here because only new
            # ones offer callbacks.
            self._process = slicer.util.launchConsoleProcess(
                self.run.command(), useStartupEnvironment=False, cwd=str(MODULE_FOLDER)
            )
        except OSError as failure:
            self._lines.append(str(failure))
            self._exitCode = -1
            return
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def _read(self, process: Any) -> None:
        while True:
            try:
                line = process.stdout.readline()
            except UnicodeDecodeError:
                continue
            if not line:
                break
            self._post(lambda line=line: self._handle(line))
        process.stdout.close()
        code = process.wait()
        self._post(lambda: setattr(self, "_exitCode", code))

    def _handle(self, line: str) -> None:
        event = self.run.handleLine(line)
        if event is None:
            self._lines.append(line.rstrip())
            return
        if event.finished and self._cancelledAt is None:
            self._loading += 1
            number = event.job
            inThread(
                lambda: self.run.readOutput(number),
                lambda output, error: self._post(lambda: self._loaded(number, output, error)),
            )
        self._onEvent(event)

    def _loaded(self, number: int, output: Any, error: Exception | None) -> None:
        self._loading -= 1
        if error is not None:
            self._lines.append(str(error))
        elif self._cancelledAt is None:
            self._onResult(number, *output)

    def _poll(self) -> None:
        while not self._ended:
            try:
                message = self._messages.get_nowait()
            except queue.Empty:
                break
            message()
        overdue = self._cancelledAt is not None and time.monotonic() - self._cancelledAt > KILL_AFTER_SECONDS
        if overdue and self._process is not None and self._exitCode is None:
            self.run.kill(self._process)
        if self._exitCode is not None and not self._loading and self._messages.empty() and not self._ended:
            self._finish()

    def _finish(self) -> None:
        self._ended = True
        self._timer.stop()
        self.run.cleanUp()
        logging.getLogger(__name__).info("Background process ended with code %s", self._exitCode)
        self._onEnd(int(self._exitCode or 0), "\n".join(self._lines))
