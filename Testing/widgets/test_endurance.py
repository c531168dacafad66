"""What many runs leave behind, and how long the application is held up by a large volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import slicer
import vtk
from normalizationpanel import LEAN, PanelMaker, chest, make_panel, press_and_wait, running, synthetic

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
