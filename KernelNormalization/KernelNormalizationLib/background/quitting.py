"""Stops threads when the application quits: they are asked to stop, and the application waits for them.

If Python ends a daemon thread inside compiled library code, the process aborts (exit code 134). So the threads are not
daemons and the interpreter waits for them; asking them to stop keeps that wait short.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

import slicer

JOIN_SECONDS = 3.0  # a longer wait without a window would look like a hang; Python waits for the rest


class Quittable(Protocol):
    """Owner of a thread."""

    def quit(self) -> None:
        """End the operation that the thread waits for; its result is not delivered."""


_running: dict[threading.Thread, Quittable] = {}
_lock = threading.Lock()
_connected = False


def start(body: Callable[[], None], owner: Quittable) -> None:
    """Run ``body`` in a thread that is asked to stop through ``owner`` when the application quits."""
    global _connected
    if not _connected:
        _connected = bool(slicer.app.connect("aboutToQuit()", stopAll))

    def run() -> None:
        try:
            body()
        finally:
            with _lock:
                _running.pop(thread, None)

    thread = threading.Thread(target=run, daemon=False)
    with _lock:
        _running[thread] = owner
    thread.start()


def begun() -> bool:
    """Whether the main thread has ended, also when the application sent no quit signal."""
    return not threading.main_thread().is_alive()


def stopAll(limit: float = JOIN_SECONDS) -> bool:
    """Ask every thread to stop and wait for them, at most ``limit`` seconds in all.

    Returns:
        Whether all have ended.
    """
    with _lock:
        running = dict(_running)
    for owner in {id(owner): owner for owner in running.values()}.values():
        try:
            owner.quit()
        except Exception:
            logging.getLogger(__name__).exception("The owner of a thread could not be asked to stop")
    end = time.monotonic() + limit
    for thread in running:
        thread.join(max(0.0, end - time.monotonic()))
    return not any(thread.is_alive() for thread in running)
