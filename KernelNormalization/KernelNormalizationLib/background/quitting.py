"""What happens to threads when the application quits: they are asked to stop and waited for.

A thread that Python ends inside a library's compiled code takes the process with it (exit code 134), so threads are no daemons,
and the interpreter waits for them; asking them to stop keeps that wait short.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

import slicer

JOIN_SECONDS = 3.0  # a user who quits should not wait longer with the window gone; Python waits for the rest


class Quittable(Protocol):
    """Who started a thread."""

    def quit(self) -> None:
        """End what the thread waits for; nothing may come from it any more."""


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
    """Whether the main thread has ended: the application is gone, even where it told nobody that it would quit."""
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
            logging.getLogger(__name__).exception("A thread's owner could not be told to stop")
    end = time.monotonic() + limit
    for thread in running:
        thread.join(max(0.0, end - time.monotonic()))
    return not any(thread.is_alive() for thread in running)
