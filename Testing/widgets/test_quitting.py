"""Quitting while threads and processes work: nothing aborts, hangs or is left behind; and stopping inside a SimpleITK step."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from normalizationpanel import QUICK, PanelMaker, chest, make_panel, running

from KernelNormalizationLib.background import quitting
from KernelNormalizationLib.background.gui_thread import Mailbox
from KernelNormalizationLib.background.thread_job import BackgroundJob
from KernelNormalizationLib.core.errors import Cancelled
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.stopping import check_stopped, filtered, stoppable
from KernelNormalizationLib.selftest.base import waitUntil

__all__ = ["chest", "make_panel"]
SCRIPT = Path(__file__).with_name("quit_while_simpleitk_works.py")
QUITS = 8  # two of each kind


def slow_image() -> sitk.Image:
    return sitk.GetImageFromArray(np.random.default_rng(1).normal(0, 60, (80, 256, 256)).astype(np.float32))


def slow_step(image: sitk.Image) -> Any:
    """Long work for one core. It ends as ``Cancelled`` also where it is stopped only at its end, so tests measure its work."""
    return filtered(sitk.MedianImageFilter, image, Radius=[6, 6, 6])


@contextmanager
def little_work() -> Iterator[None]:
    """What happens within takes little processor time of this process: the step was not computed to its end.

    Processor time does not depend on what else the machine does.
    """
    before = time.process_time()
    yield
    assert time.process_time() - before < 10.0


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the applications are forks of one process")
def test_applications_that_quit_at_random_moments_while_simpleitk_works_end_with_0() -> None:
    command = [sys.executable, str(SCRIPT), str(QUITS), "600"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["0"] * QUITS, run.stdout + run.stderr


@pytest.mark.slow
def test_a_long_simpleitk_step_ends_when_its_thread_is_asked_to_stop() -> None:
    image, asked, ended = slow_image(), threading.Event(), []

    def work() -> None:
        with stoppable(asked.is_set):
            try:
                slow_step(image)
            except Cancelled as error:
                ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    assert thread.is_alive(), "the step must be a long one"
    with little_work():
        asked.set()
        thread.join()
    assert len(ended) == 1
    check_stopped()  # asks nothing of threads that never were stoppable


def test_steps_that_nobody_can_stop_give_what_simpleitk_gives() -> None:
    image = slow_image()[:40, :40, :20]
    wanted = sitk.GetArrayFromImage(sitk.Median(image, [1, 1, 1]))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(filtered(sitk.MedianImageFilter, image, Radius=[1, 1, 1])), wanted)
    with stoppable(lambda: False):
        watched = filtered(sitk.MedianImageFilter, image, Radius=[1, 1, 1])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(watched), wanted)


def test_an_error_of_simpleitk_stays_that_error() -> None:
    with stoppable(lambda: False), pytest.raises(RuntimeError, match="Sigma"):
        filtered(sitk.RecursiveGaussianImageFilter, slow_image(), Sigma=-1.0)


def test_progress_of_a_thread_that_is_asked_to_stop_raises() -> None:
    with stoppable(lambda: True), pytest.raises(Cancelled):
        ProgressTracker().start("Slices", 5)
    ProgressTracker().start("Slices", 5)


def test_cancelling_a_measurement_does_not_wait_for_the_long_step_it_is_in(app: Any) -> None:
    image, outcomes = slow_image(), []
    job = BackgroundJob(lambda _: slow_step(image), lambda _: None, lambda *outcome: outcomes.append(outcome))
    job.start()
    time.sleep(0.3)
    with little_work():
        job.cancel()
        waitUntil(lambda: outcomes != [], "the end")
    assert isinstance(outcomes[0][1], Cancelled)


@pytest.mark.slow
def test_quitting_asks_all_threads_to_stop_and_waits_for_them(app: Any) -> None:
    image, seen, mail = slow_image(), [], Mailbox()
    mail.compute(lambda: slow_step(image), lambda *_: seen.append("late"))
    time.sleep(0.3)
    with little_work():
        assert quitting.stopAll(limit=600.0), "a thread is still at work"
    for _ in range(10):
        app.qapplication.processEvents()
    assert seen == []


def test_quitting_does_not_wait_longer_than_its_limit(app: Any) -> None:
    mail, go = Mailbox(), threading.Event()
    mail.wait(go.wait, lambda *_: None)  # for ever, so that waiting for it would be for ever too
    assert not quitting.stopAll(limit=0.2)
    go.set()
    assert quitting.stopAll(limit=600.0)


def test_quitting_ends_a_running_normalization_and_removes_its_files(make_panel: PanelMaker, chest: Any, app: Any) -> None:
    panel = make_panel(running(QUICK, steps=400, pause=0.05))
    panel.ui.normalizeButton.click()
    waitUntil(lambda: "Network" in panel.ui.statusLabel.text, "progress")
    process, folder = panel._process._process, panel._process.run.folder
    app.qapplication.aboutToQuit.emit()
    assert process.wait(600.0) is not None
    assert not folder.exists()
    assert quitting.stopAll(limit=600.0)
