"""Worker threads whose results are delivered on the GUI thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import qt

from ..core.stopping import stoppable
from . import quitting

# While threads compute in Python, the GUI thread leaves four fifths of its time to them; while they only wait for files or a
# process, it polls them at a lower rate.
COMPUTING_INTERVAL_MILLISECONDS, COMPUTING_PAUSE_SECONDS = 5, 0.02
WAITING_INTERVAL_MILLISECONDS, WAITING_PAUSE_SECONDS = 50, 0.003

Done = Callable[[Any, Exception | None], None]


class Mailbox:
    """Starts threads and delivers their results on the GUI thread.

    Slicer holds the Python interpreter while it waits for events, so Python threads are blocked until the GUI thread runs
    Python and releases the interpreter. A timer therefore fires while a thread is at work and sleeps briefly each time.

    Args:
        onQuit: called on the GUI thread when the application quits while a thread is at work, to end what that waits for.
    """

    def __init__(self, onQuit: Callable[[], None] | None = None) -> None:
        self._onQuit = onQuit
        self._stopAsked = threading.Event()
        self._messages: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._computing, self._waiting = 0, 0
        self._timer: Any = qt.QTimer()
        self._timer.connect("timeout()", self._poll)

    @property
    def busy(self) -> bool:
        """Whether a thread is at work or its result is not yet delivered."""
        return bool(self._computing or self._waiting)

    def compute(self, work: Callable[[], Any], done: Done) -> None:
        """Run ``work`` in a thread that needs the interpreter.

        Args:
            work: touches no node and no widget.
            done: called on the GUI thread with (result, ``None``) or (``None``, what went wrong).
        """
        self._computing += 1
        self._start(work, lambda *outcome: self._computed(done, *outcome))

    def wait(self, work: Callable[[], Any], done: Done) -> None:
        """Like :meth:`compute`, for ``work`` that mostly waits for files or a process."""
        self._waiting += 1
        self._start(work, lambda *outcome: self._waited(done, *outcome))

    def post(self, message: Callable[[], None]) -> None:
        """Call ``message`` on the GUI thread; used by threads that this mailbox started."""
        self._messages.put(message)

    def askToStop(self) -> None:
        """Ask the threads to end at their next step, also within long SimpleITK steps; their result is :class:`Cancelled`."""
        self._stopAsked.set()

    def quit(self) -> None:
        """The application quits: end the running work and deliver nothing more."""
        self.askToStop()
        if self._onQuit is not None:
            self._onQuit()
        self.close()

    def close(self) -> None:
        """Deliver nothing more; running threads finish and their results are dropped."""
        if self._timer is not None:
            self._timer.stop()
            # The connected slot would keep this object alive as long as the timer exists.
            self._timer.deleteLater()
            self._timer = None

    def _start(self, work: Callable[[], Any], done: Done) -> None:
        def body() -> None:
            try:
                with stoppable(lambda: self._stopAsked.is_set() or quitting.begun()):
                    result, error = work(), None
            except Exception as caught:  # noqa: BLE001 - every failure is delivered and shown
                result, error = None, caught
            self._messages.put(lambda: done(result, error))

        self._pace()
        quitting.start(body, self)

    def _computed(self, done: Done, result: Any, error: Exception | None) -> None:
        self._computing -= 1
        done(result, error)

    def _waited(self, done: Done, result: Any, error: Exception | None) -> None:
        self._waiting -= 1
        done(result, error)

    def _pace(self) -> None:
        if self._timer is None:
            return
        if not self.busy:
            self._timer.stop()
            return
        self._timer.setInterval(COMPUTING_INTERVAL_MILLISECONDS if self._computing else WAITING_INTERVAL_MILLISECONDS)
        if not self._timer.isActive():
            self._timer.start()

    def _poll(self) -> None:
        time.sleep(COMPUTING_PAUSE_SECONDS if self._computing else WAITING_PAUSE_SECONDS)
        while self._timer is not None:
            try:
                message = self._messages.get_nowait()
            except queue.Empty:
                break
            # One at a time, so that a message that raises does not prevent the others.
            message()
        self._pace()
