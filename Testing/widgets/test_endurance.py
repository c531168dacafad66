"""What many runs and closed scenes leave behind: nodes, observers, Qt objects, processes, threads, files, memory."""

from __future__ import annotations

import gc
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import slicer
from normalizationpanel import LEAN, UI_FILE, Ready, press_and_wait, running, synthetic
from observers import observers

from KernelNormalization import KernelNormalizationLogic, KernelNormalizationWidget
from KernelNormalizationLib.ui.widget import NormalizationPanel
from slicerhost import strict

MEMORY_TOLERANCE = 30e6  # bytes: what allocators keep, a fiftieth of what the cycles below pass through


class LeanWidget(KernelNormalizationWidget):
    """The module widget with a process that starts fast."""

    def makePanel(self) -> NormalizationPanel:
        return NormalizationPanel(KernelNormalizationLogic(), str(UI_FILE), Ready(), running(LEAN))


@pytest.fixture
def widget(app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeanWidget]:
    # Folders of other programs on this computer are not counted.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = LeanWidget()
    made.setup()
    made.enter()
    yield made
    made.cleanup()
    made.parent.deleteLater()


def leftovers(app: Any) -> dict[str, int]:
    app.delete_pending()
    gc.collect()
    return {
        "nodes": slicer.mrmlScene.GetNumberOfNodes(),
        "observers": observers(),
        "qt objects": len(strict._proxies),
        "processes": len(psutil.Process().children()),
        "threads": threading.active_count(),
        "open files": psutil.Process().num_fds(),
        "folders": len(list(Path(tempfile.gettempdir()).glob("ctkernel-*"))),
    }


def normalize_undo_and_close(widget: LeanWidget) -> None:
    hu = np.random.default_rng(3).normal(-860, 60, (10, 32, 40)).astype(np.int16)
    slicer.util.addVolumeFromArray(hu, name="Chest").CreateDefaultDisplayNodes()
    widget.exit()
    widget.enter()
    assert "Done" in press_and_wait(widget.panel)
    widget.panel.onRestoreLayout()
    for node in synthetic():
        slicer.mrmlScene.RemoveNode(node)
    slicer.mrmlScene.Clear(0)


def test_an_observer_that_stays_is_counted(app: Any) -> None:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    before = observers()
    tag = node.AddObserver("ModifiedEvent", lambda *_: None)
    assert observers() == before + 1
    node.RemoveObserver(tag)
    assert observers() == before


@pytest.mark.slow
def test_fifty_cycles_leave_nothing_behind(widget: LeanWidget, app: Any) -> None:
    for _ in range(3):
        normalize_undo_and_close(widget)
    before, memory = leftovers(app), psutil.Process().memory_info().rss
    for _ in range(50):
        normalize_undo_and_close(widget)
    after = leftovers(app)
    # files that a library opened before, and closed meanwhile, are no leftovers
    assert after.pop("open files") <= before.pop("open files")
    assert after == before
    assert psutil.Process().memory_info().rss - memory < MEMORY_TOLERANCE
