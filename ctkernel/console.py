"""Progress, tables and exit codes of the command line."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from KernelNormalizationLib.core.errors import (
    Cancelled,
    CTKernelError,
    InputError,
    LungNotFoundError,
    ModelError,
    error_in_words,
)
from KernelNormalizationLib.core.plain_text import for_terminal
from KernelNormalizationLib.core.progress import ProgressReport, ProgressTracker

OK, FAILURE, BAD_INPUT, CANCELLED = 0, 1, 2, 3
BAR_WIDTH = 30
# Seconds between progress lines on a pipe or in a log.
PLAIN_SECONDS = 1.0
# Work that is asked to stop and has not come to its next step after this time is interrupted where it is.
STEP_SECONDS = 2.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
CANCELLED_TEXT = "Cancelled with Ctrl+C."


class ProgressPrinter:
    """Shows progress on standard error: a bar on a terminal, plain lines elsewhere, nothing when quiet.

    Args:
        quiet: show nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._last_line = 0.0
        self._last_text = ""

    def __call__(self, report: ProgressReport) -> None:
        if self._quiet or report.total == 0:
            return
        finished = report.done >= report.total
        left = "" if report.seconds_left is None or finished else f", {report.seconds_left:.0f} s left"
        text = f"{report.stage}: {report.done} of {report.total}{left}"
        if text == self._last_text:
            return
        self._last_text = text
        if self._terminal:
            filled = BAR_WIDTH * report.done // report.total
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {text:<60}" + ("\n" if finished else ""))
            sys.stderr.flush()
        elif finished or time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._last_line = time.monotonic()
            sys.stderr.write(text + "\n")


class _Stop:
    """What a stop signal does: it interrupts the work at once, or asks it to stop at its next step.

    Args:
        step_seconds: how long to wait for that step before the work is interrupted all the same; ``None`` for at once.
    """

    def __init__(self, step_seconds: float | None = None) -> None:
        self._step_seconds = step_seconds
        self.asked = False
        self._alarm: Any = None

    def signalled(self, *_: Any) -> None:
        """The handler of a stop signal."""
        if self._step_seconds is None:
            self.asked = True
            raise KeyboardInterrupt
        if not self.asked and hasattr(signal, "setitimer"):  # not on Windows
            self._alarm = signal.signal(signal.SIGALRM, self.too_late)
            # again and again, since inside compiled code an exception may be lost
            signal.setitimer(signal.ITIMER_REAL, self._step_seconds, self._step_seconds)
        self.asked = True

    def too_late(self, *_: Any) -> None:
        """The handler of the timer."""
        raise KeyboardInterrupt

    def end_timer(self) -> None:
        """Leave the system's one timer as it was."""
        if self._alarm is not None:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            # an alarm that is on its way to another thread would end a process that does not handle it
            signal.signal(signal.SIGALRM, signal.SIG_IGN if self._alarm == signal.SIG_DFL else self._alarm)


@contextmanager
def _stopping(stop: _Stop) -> Iterator[None]:
    """Handle the stop signals; whatever exception the interrupted work makes of them counts as :class:`Cancelled`."""
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield
        return
    previous = {number: signal.signal(number, stop.signalled) for number in STOP_SIGNALS}
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if stop.asked and not isinstance(error, Cancelled):
            raise Cancelled(CANCELLED_TEXT) from error
        raise
    finally:
        stop.end_timer()
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def cancellable(quiet: bool, step_seconds: float = STEP_SECONDS) -> Iterator[ProgressTracker]:
    """Progress that is cancelled by Ctrl+C or a termination signal.

    Args:
        quiet: show nothing.
        step_seconds: how long the work may take to its next step before it is interrupted where it is.
    """
    stop = _Stop(step_seconds)
    with _stopping(stop):
        yield ProgressTracker(ProgressPrinter(quiet), lambda: stop.asked)


def run_command(command: Callable[[], Any], as_json: bool) -> int:
    """Run ``command``; report its errors on standard error and as exit code.

    Args:
        command: does the work; may return an exit code.
        as_json: print the error as JSON on standard output too, for machines.
    """
    try:
        with _stopping(_Stop()):
            code = command()
    except Cancelled as error:
        return _report(error, "cancelled", CANCELLED, as_json)
    except (InputError, LungNotFoundError, ModelError) as error:
        return _report(error, "bad input", BAD_INPUT, as_json)
    except KeyboardInterrupt:
        return _report(Cancelled(CANCELLED_TEXT), "cancelled", CANCELLED, as_json)
    except (CTKernelError, OSError, MemoryError) as error:
        return _report(error, "failure", FAILURE, as_json)
    return code if isinstance(code, int) else OK


def tell_failure(text: str) -> int:
    """Say on standard error why a command that did all of its work ends with the code of a failure; returns that code."""
    sys.stderr.write(for_terminal(f"ctkernel: {text}", sys.stderr.encoding) + "\n")
    return FAILURE


class PlainFormatter(logging.Formatter):
    """Log lines without control characters from file contents."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with only what the terminal's encoding can show."""
        return for_terminal(super().format(record), sys.stderr.encoding)


def print_json(content: Any) -> None:
    """Write ``content`` to standard output as JSON."""
    sys.stdout.write(json.dumps(content, indent=2, sort_keys=True) + "\n")


def print_lines(lines: Sequence[str]) -> None:
    """Write lines to standard output."""
    sys.stdout.write(for_terminal("\n".join(lines), sys.stdout.encoding) + "\n")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: first column to the left, the others to the right."""
    widths = [max(len(row[n]) for row in (header, *rows)) for n in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        return "  ".join([first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))])

    return [line(header), "  ".join("-" * width for width in widths), *(line(row) for row in rows)]


def _report(error: Exception, kind: str, code: int, as_json: bool) -> int:
    text = error_in_words(error)
    tell_failure(text)
    if as_json:
        print_json({"error": text, "kind": kind, "exit_code": code})
    return code
