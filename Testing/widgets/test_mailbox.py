"""Threads and the GUI thread: what is handed over, when, and that nothing comes too late."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import slicer

from slicerhost import application

application.start()  # the modules' widgets import qt, which exists from here on

from KernelNormalizationLib.background.gui_thread import Mailbox  # noqa: E402
from KernelNormalizationLib.selftest.base import waitUntil  # noqa: E402


def test_outcome_and_failure_come_on_the_gui_thread(app: Any) -> None:
    mail, seen = Mailbox(), []

    def take(result: Any, error: Exception | None) -> None:
        seen.append((result, error, threading.current_thread() is threading.main_thread()))

    failure = ValueError("no")

    def fails() -> None:
        raise failure

    mail.compute(lambda: threading.current_thread() is threading.main_thread(), take)
    waitUntil(lambda: len(seen) == 1, "the result")
    mail.wait(fails, take)
    waitUntil(lambda: len(seen) == 2, "the failure")
    assert seen == [(False, None, True), (None, failure, True)]
    assert not mail.busy
    mail.close()


def test_messages_of_a_thread_come_in_order_and_before_its_end(app: Any) -> None:
    mail, seen = Mailbox(), []

    def work() -> None:
        for number in range(5):
            mail.post(lambda number=number: seen.append(number))

    mail.wait(work, lambda *_: seen.append("end"))
    waitUntil(lambda: "end" in seen, "the end")
    assert seen == [0, 1, 2, 3, 4, "end"]
    mail.close()


def test_nothing_comes_after_closing(app: Any) -> None:
    mail, seen, go, gone = Mailbox(), [], threading.Event(), threading.Event()

    def work() -> None:
        go.wait()
        gone.set()

    mail.compute(work, lambda *_: seen.append("late"))
    mail.close()
    go.set()
    waitUntil(gone.is_set, "the thread")
    for _ in range(20):
        slicer.app.processEvents()
    assert seen == []


@pytest.fixture
def never_forced_to_let_go() -> Iterator[None]:
    """The interpreter changes hands only where the holder lets go, as while an application waits for events in C++."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(100.0)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("never_forced_to_let_go")
@pytest.mark.parametrize("how", ["compute", "wait"])
def test_threads_go_on_although_the_application_idles_with_the_interpreter(app: Any, how: str) -> None:
    # Where other programs keep the cores busy a thread may get none of them for so many turns, hence up to ten tries.
    turns = []
    while len(turns) < 10 and not (turns and turns[-1] < 100):
        turns.append(_turns_until_done(how))
    assert turns[-1] < 100, f"not done after {turns} turns of the event loop"


def _turns_until_done(how: str) -> int:
    """Turns of the event loop, 300 at the most, until work that needs the interpreter 200 times is done."""
    idle = ctypes.PyDLL(None).usleep  # keeps the interpreter, as Slicer does between events
    mail, done = Mailbox(), []

    def work() -> int:
        for _ in range(200):
            time.sleep(0)  # needs the interpreter back each time, as every long array operation does
        return 200

    getattr(mail, how)(work, lambda *outcome: done.append(outcome))
    turns = 0
    while not done and turns < 300:
        slicer.app.processEvents()
        idle(5000)
        turns += 1
    mail.close()
    assert done in ([], [(200, None)])
    return turns
