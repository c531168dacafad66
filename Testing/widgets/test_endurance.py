"""What many runs leave behind, and how long the application is held up by a large volume."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import slicer
import vtk
from normalizationpanel import LEAN, PanelMaker, chest, make_panel, press_and_wait, running, synthetic

from KernelNormalizationLib.selftest import waitUntil

__all__ = ["chest", "make_panel"]


def test_fifty_cycles_leave_nothing_behind(make_panel: PanelMaker, chest: Any, app: Any) -> None:
    import gc
    import tempfile

    panel = make_panel(running(LEAN))
    process = psutil.Process()

    def leftovers() -> tuple[int, int, int, int]:
        gc.collect()
        folders = len(list(Path(tempfile.gettempdir()).glob("ctkernel-*")))
        observed = sum(chest.HasObserver(e) for e in (vtk.vtkCommand.ModifiedEvent,))
        return slicer.mrmlScene.GetNumberOfNodes(), len(process.children()), folders, observed

    def cycle() -> None:
        assert "Done" in press_and_wait(panel)
        panel.onRestoreLayout()
        for node in synthetic():
            display = node.GetDisplayNode()
            # The volume first: a slice view gives a shown volume without a display node a new one.
            slicer.mrmlScene.RemoveNode(node)
            slicer.mrmlScene.RemoveNode(display)

    for _ in range(3):
        cycle()
    before, memory = leftovers(), process.memory_info().rss
    for _ in range(50):
        cycle()
    assert leftovers() == before
    assert process.memory_info().rss - memory < 30e6


def test_application_stays_responsive_with_a_large_volume(make_panel: PanelMaker, app: Any) -> None:
    import qt

    hu = np.zeros((300, 512, 512), np.int16)
    hu[:] = np.int16(-860)
    hu[:, :100] = 40
    slicer.util.addVolumeFromArray(hu, name="Large")
    panel = make_panel()
    panel._assessTimer.stop()
    gaps, last = [0.0], [time.monotonic()]

    def beat() -> None:
        now = time.monotonic()
        gaps.append(now - last[0])
        last[0] = now

    heart = qt.QTimer()
    heart.setInterval(5)
    heart.connect("timeout()", beat)
    heart.start()
    app.qapplication.processEvents()
    last[0] = time.monotonic()
    panel.ui.normalizeButton.click()
    waitUntil(lambda: panel._process is None, "the end", 120.0)
    beats = len(gaps)
    waitUntil(lambda: len(gaps) > beats, "the heartbeat after the last step", 10.0)
    heart.stop()
    assert len(synthetic()) == 1
    print(f"longest block of the GUI thread: {max(gaps):.3f} s")  # noqa: T201 - shown with -s
    assert max(gaps) < 1.0
