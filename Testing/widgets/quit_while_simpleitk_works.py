"""Applications that quit while a thread is inside SimpleITK: ``python quit_while_simpleitk_works.py COUNT SECONDS``.

Each one is a fork of this process, made before Qt and before any thread, so that many cost little; each ends through
Python's own shutdown. Prints the exit code of every one, or "hangs" for one that has not ended after SECONDS.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT / "KernelNormalization"), str(ROOT / "EmphysemaQuant")]

import numpy as np  # noqa: E402
import SimpleITK as sitk  # noqa: E402

from slicerhost import application  # noqa: E402


def work() -> None:
    """Minutes of SimpleITK, one step of which takes seconds, between short steps in Python."""
    from KernelNormalizationLib.core.stopping import filtered

    image = sitk.GetImageFromArray(np.random.default_rng(1).normal(0, 60, (60, 256, 256)).astype(np.float32))
    image.SetSpacing((0.7, 0.7, 1.0))
    for _ in range(300):
        filtered(sitk.RecursiveGaussianImageFilter, image, Sigma=2.0, Direction=0)
        filtered(sitk.MedianImageFilter, image, Radius=[3, 3, 3])


def endless_work() -> None:
    """A thread that would work for minutes."""
    from KernelNormalizationLib.background.gui_thread import Mailbox

    Mailbox().compute(work, lambda *_: None)


def opened_panel() -> None:
    """The Kernel Normalization panel, just opened on a CT: its thread judges the scan."""
    from KernelNormalization import KernelNormalizationLogic
    from KernelNormalizationLib.selftest.normalization import UI_FILE
    from KernelNormalizationLib.ui.widget import NormalizationPanel

    add_chest()
    keep.append(NormalizationPanel(KernelNormalizationLogic(), str(UI_FILE)))
    keep[-1].enter()


def running_measurement() -> None:
    """The Emphysema Quantification panel after pressing Compute."""
    from EmphysemaQuant import EmphysemaQuantLogic
    from EmphysemaQuantLib.selftest.quantification import UI_FILE
    from EmphysemaQuantLib.ui.widget import EmphysemaPanel

    add_chest()
    panel = EmphysemaPanel(EmphysemaQuantLogic(), str(UI_FILE))
    keep.append(panel)
    panel.enter()
    panel.ui.computeButton.click()


def add_chest() -> None:
    """A body with two lungs, large enough to keep the threads busy."""
    import slicer

    hu = np.full((80, 256, 256), -1000, np.int16)
    hu[:, 20:236, 10:246] = 40
    noise = np.random.default_rng(2).normal(-860, 60, (72, 150, 90)).astype(np.int16)
    hu[4:76, 50:200, 30:120] = hu[4:76, 50:200, 136:226] = noise
    slicer.util.addVolumeFromArray(hu, ijkToRAS=np.diag([-1.2, -1.2, 3.0, 1.0]), name="Chest")


def endless_work_without_a_signal() -> None:
    """The same as :func:`endless_work` in an application that ends without telling anyone."""
    endless_work()


SCENARIOS = (endless_work, opened_panel, running_measurement, endless_work_without_a_signal)
keep: list[Any] = []  # what an application holds until it ends


def quit_at_random(seed: int) -> None:
    """Start work of one kind, and end the application within the next second and a half."""
    app = application.start()
    import qt

    scenario = SCENARIOS[seed % len(SCENARIOS)]
    scenario()
    milliseconds = random.Random(seed).randrange(0, 1500)
    if scenario is endless_work_without_a_signal:
        time.sleep(milliseconds / 1000.0)
        return
    qt.QTimer.singleShot(milliseconds, app.qapplication.quit)
    app.run_until_quit()


def main(count: int, limit: float) -> None:
    """Fork, wait, tell."""
    for seed in range(count):
        child = os.fork()
        if child == 0:
            quit_at_random(seed)
            return  # the interpreter shuts down as at the end of an application
        started, status = time.monotonic(), (0, 0)
        while status[0] == 0 and time.monotonic() < started + limit:
            time.sleep(0.02)
            status = os.waitpid(child, os.WNOHANG)
        if status[0] == 0:
            os.kill(child, 9)
            os.waitpid(child, 0)
            sys.stdout.write("hangs\n")
        else:
            sys.stdout.write(f"{os.waitstatus_to_exitcode(status[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
