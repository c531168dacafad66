"""Runs a normalization in the background and delivers its events on the GUI thread."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..core.errors import error_in_words
from .exchange import Event
from .gui_thread import Mailbox
from .normalization_run import MODULE_FOLDER, NormalizationRun

KILL_AFTER_MILLISECONDS = 2000
REMEMBERED_LINES = 12
NOT_STARTED, RESULT_LOST = -1, -2  # own exit codes, for runs without an exit code of the process

logger = logging.getLogger(__name__)


class BackgroundProcess:
    """One run; all callbacks are called on the GUI thread.

    Args:
        run: what to run.
        onEvent: called with every :class:`~.exchange.Event`.
        onResult: called with (job number, voxels, record) for every finished volume.
        onEnd: called once with (exit code, last lines of other output); :data:`NOT_STARTED` if the process could not be
            started, :data:`RESULT_LOST` if it succeeded and its result could not be read.
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
        self._mail = Mailbox(onQuit=self.stop)
        self._process: Any = None
        self._exitCode: int | None = None
        self._loading = 0
        self._lines: deque[str] = deque(maxlen=REMEMBERED_LINES)
        self._cancelled = False
        self._ended = False

    def start(self) -> None:
        """Store the volumes in a thread, then start the process; returns at once."""
        self._mail.wait(self._store, self._launch)

    def cancel(self) -> None:
        """Ask the process to stop; it is ended by force if it does not within two seconds."""
        if not self._cancelled:
            self._cancelled = True
            self.run.requestStop()
            qt.QTimer.singleShot(KILL_AFTER_MILLISECONDS, self._kill)

    def stop(self) -> None:
        """End everything now and remove all files; no callback is called afterwards."""
        self._ended = True
        self._mail.close()
        self.run.requestStop()
        if self._process is not None:
            self.run.kill(self._process)
        self.run.cleanUp()

    def _store(self) -> None:
        try:
            self.run.writeInputs()
        finally:
            if self._ended:
                self.run.cleanUp()

    def _launch(self, _stored: None, error: Exception | None) -> None:
        if not self._cancelled and error is None:
            try:
                # Both old and new Slicer return at once with these arguments; the output is read here because only new
                # ones offer callbacks.
                self._process = slicer.util.launchConsoleProcess(
                    self.run.command(), useStartupEnvironment=False, cwd=str(MODULE_FOLDER)
                )
            except OSError as failure:
                error = failure
        if self._process is not None:
            self._mail.wait(self._listen, self._processEnded)
            return
        if error is not None:
            self._lines.append(error_in_words(error))
        self._exitCode = NOT_STARTED
        self._finishIfDone()

    def _listen(self) -> int:
        process = self._process
        try:
            while True:
                try:
                    line = process.stdout.readline()
                except UnicodeDecodeError:
                    continue
                if not line:
                    break
                self._mail.post(lambda line=line: self._handle(line))
            process.stdout.close()
            return int(process.wait())
        finally:
            # On Windows, files that the process has open cannot be removed until it has ended.
            if self._ended:
                self.run.cleanUp()

    def _handle(self, line: str) -> None:
        event = self.run.handleLine(line)
        if event is None:
            self._lines.append(line.rstrip())
            return
        if event.finished and not self._cancelled:
            self._loading += 1
            number = event.job
            self._mail.wait(lambda: self.run.readOutput(number), lambda *outcome: self._loaded(number, *outcome))
        self._onEvent(event)

    def _loaded(self, number: int, output: Any, error: Exception | None) -> None:
        self._loading -= 1
        if error is not None:
            logger.error("The result could not be read", exc_info=error)
            self._lines.append(error_in_words(error))
            self._exitCode = RESULT_LOST
        elif not self._cancelled:
            self._onResult(number, *output)
        self._finishIfDone()

    def _processEnded(self, code: int | None, error: Exception | None) -> None:
        if error is not None:
            self._lines.append(error_in_words(error))
        if self._exitCode is None:
            self._exitCode = NOT_STARTED if code is None else code
        self._process = None
        self._finishIfDone()

    def _kill(self) -> None:
        if self._process is not None and not self._ended:
            self.run.kill(self._process)

    def _finishIfDone(self) -> None:
        if self._ended or self._process is not None or self._loading:
            return
        self._ended = True
        # Hundreds of MB: a thread removes them, and adding the result and showing it become two events.
        self._mail.wait(self.run.cleanUp, self._cleaned)

    def _cleaned(self, _nothing: None, error: Exception | None) -> None:
        if error is not None:
            logger.error("The files of the run could not be removed", exc_info=error)
        self._mail.close()
        logger.info("Background process ended with code %s", self._exitCode)
        self._onEnd(int(self._exitCode or 0), "\n".join(self._lines))


def describeFailure(code: int, lines: str) -> str:
    """Message for the user about a run that ended with ``code`` after ``lines`` of other output."""
    last = (lines.strip().splitlines()[-1:] or [""])[0].rstrip(".")
    if code == NOT_STARTED:
        return _("The normalization could not be started: {line}. Check the free space for temporary files.").format(line=last)
    if code == RESULT_LOST:
        return _("The result could not be read: {line}. Check free space and memory, then normalize again.").format(line=last)
    if code in (-9, 137) or "MemoryError" in lines:
        return _("The computer ran out of memory; Slicer itself is safe. Close other programs, or crop the volume first.")
    return _(
        "The normalization stopped unexpectedly (code {code}: {line}). Nothing was kept. Try the device CPU or another "
        "method; details are in the application log."
    ).format(code=code, line=last)
