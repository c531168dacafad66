"""A panel whose background process is a small script; shared by the tests of the panel."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import slicer

from slicerhost import application

application.start()  # the modules' widgets import qt, which exists from here on

from KernelNormalization import KernelNormalizationLogic  # noqa: E402
from KernelNormalizationLib.background import exchange  # noqa: E402
from KernelNormalizationLib.background.normalization_run import NormalizationRun  # noqa: E402
from KernelNormalizationLib.mrml import provenance  # noqa: E402
from KernelNormalizationLib.selftest.base import waitUntil  # noqa: E402
from KernelNormalizationLib.selftest.normalization import UI_FILE  # noqa: E402
from KernelNormalizationLib.ui.dependencies import Dependencies, Devices  # noqa: E402
from KernelNormalizationLib.ui.widget import NormalizationPanel  # noqa: E402

# Stands in for the computation: reads the stored volume, reports, and raises every voxel by 100 HU.
QUICK = """
import sys, time, numpy as np
from pathlib import Path
sys.path.insert(0, {module!r})
from KernelNormalizationLib.background import exchange  # noqa: E402
from KernelNormalizationLib.core.progress import ProgressReport  # noqa: E402
alive = Path(sys.argv[sys.argv.index('--alive') + 1])
folders = [Path(a) for a in sys.argv[1:sys.argv.index('--method')]]
say = lambda line: print(line, flush=True)
for n, folder in enumerate(folders):
    for done in range(0, {steps} + 1):
        say(exchange.progress_line(n, ProgressReport(done, {steps}, 2.0, 'Network')))
        time.sleep({pause})
        if not alive.exists():
            say(exchange.error_line(n, exchange.Cancelled('stopped'))); sys.exit(3)
    np.save(folder / exchange.OUTPUT_ARRAY, np.load(folder / exchange.INPUT_ARRAY).astype(np.float32) + 100)
    (folder / exchange.OUTPUT_RECORD).write_text('{{"method": "linear"}}')
    say(exchange.finished_line(n))
"""

# The same without importing anything slow, for many runs.
LEAN = """
import json, shutil, sys
folder = sys.argv[1]
shutil.copy(folder + '/input.npy', folder + '/output.npy')
open(folder + '/record.json', 'w').write('{{"method": "linear"}}')
print(json.dumps({{'event': 'finished', 'job': 0}}), flush=True)
"""


def running(script: str, **values: Any) -> Callable[..., NormalizationRun]:
    """A run whose process executes ``script`` instead of the real computation."""
    module = str(UI_FILE.parents[2])

    class ScriptedRun(NormalizationRun):
        def command(self) -> list[str]:
            text = script.format(module=module, **{"steps": 3, "pause": 0.0, **values})
            return [sys.executable, "-c", text, *super().command()[3:]]

    return ScriptedRun


class Ready(Dependencies):
    """Everything is installed."""

    def devices(self) -> Devices:
        return Devices(None, None)

    def missing(self, settings: exchange.Settings) -> list[str]:
        return []


@pytest.fixture
def chest(app: Any) -> Any:
    """A body with two lungs of 0.9 L each, in voxels of 5 x 5 x 10 mm, in air."""
    rng = np.random.default_rng(3)
    hu = np.full((12, 48, 64), -1000, np.int16)
    hu[:, 4:44, 4:60] = 40
    for columns in (slice(8, 29), slice(35, 56)):
        hu[1:11, 10:38, columns] = np.round(rng.normal(-860, 60, (10, 28, 21)))
    node = slicer.util.addVolumeFromArray(hu, ijkToRAS=np.diag([-5.0, -5.0, 10.0, 1.0]), name="Chest")
    node.CreateDefaultDisplayNodes()
    return node


PanelMaker = Callable[..., NormalizationPanel]


@pytest.fixture
def make_panel(app: Any) -> Iterator[PanelMaker]:
    panels = []

    def make(start_run: Any = None, dependencies: Any = None) -> NormalizationPanel:
        start_run = start_run or running(QUICK)
        panel = NormalizationPanel(KernelNormalizationLogic(), str(UI_FILE), dependencies or Ready(), start_run)
        panels.append(panel)
        panel.enter()
        return panel

    yield make
    for panel in panels:
        panel.cleanup()
        panel.widget.deleteLater()


def press_and_wait(panel: NormalizationPanel) -> str:
    panel.ui.normalizeButton.click()
    waitUntil(lambda: panel._process is None, "the end of the run")
    return panel.ui.statusLabel.text


def synthetic() -> list[Any]:
    return [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if provenance.isSynthetic(n)]
