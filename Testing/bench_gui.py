"""How long the panels hold the application up on a 512 x 512 x 300 volume: ``python -m Testing.bench_gui``.

Measured on the Qt stand-in with a timer that beats every 5 ms while the panel normalizes, and around moves of the threshold
slider. On a busy machine the wall time between beats holds other programs' time too; the GUI thread's processor time does not.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / part) for part in ("Testing", "Testing/widgets", "KernelNormalization", "EmphysemaQuant")]

import numpy as np  # noqa: E402
import slicer  # noqa: E402
from normalizationpanel import QUICK, Ready, running, synthetic  # noqa: E402

from KernelNormalizationLib.selftest.base import waitUntil  # noqa: E402
from slicerhost import application  # noqa: E402
from slicerhost.pictures import SlicePicture  # noqa: E402

SHAPE = (300, 512, 512)
BEAT_MILLISECONDS = 5
MOVES = tuple(np.arange(-945.0, -895.0, 5.0).tolist())


class Heart:
    """Beats in the event loop; remembers the longest gaps, and what the panel said when they ended."""

    def __init__(self, status: Callable[[], str]) -> None:
        import qt

        self._status = status
        self.gaps: list[tuple[float, float, str]] = []
        self._wall, self._processor = time.perf_counter(), time.thread_time()
        self._timer = qt.QTimer()
        self._timer.setInterval(BEAT_MILLISECONDS)
        self._timer.connect("timeout()", self._beat)
        self._timer.start()

    def _beat(self) -> None:
        wall, processor = time.perf_counter(), time.thread_time()
        self.gaps.append((wall - self._wall, processor - self._processor, self._status()))
        self._wall, self._processor = wall, processor

    def stop(self) -> None:
        """Stop beating."""
        self._timer.stop()

    def report(self, write: Callable[[str], object]) -> None:
        """The longest gaps by either clock."""
        for clock, name in enumerate(("wall time", "processor time of the GUI thread")):
            longest = sorted(self.gaps, key=lambda gap: gap[clock], reverse=True)[:3]
            text = ", ".join(f"{gap[clock]:.3f} s ({gap[2]})" for gap in longest)
            write(f"  longest blocks, {name}: {text}")


def large_chest() -> Any:
    """A volume node with two boxes of lung, int16."""
    hu = np.full(SHAPE, 40, np.int16)
    hu[:, :60] = -1000
    noise = np.random.default_rng(5).normal(-860.0, 60.0, (260, 300, 160)).astype(np.int16)
    hu[20:280, 100:400, 60:220] = noise
    hu[20:280, 100:400, 300:460] = noise
    node = slicer.util.addVolumeFromArray(hu, ijkToRAS=np.diag([-0.7, -0.7, 1.0, 1.0]), name="Large")
    node.CreateDefaultDisplayNodes()
    return node


def normalization(write: Callable[[str], object]) -> None:
    """Blocks of the GUI thread from pressing Normalize to the side-by-side view with the difference."""
    from KernelNormalization import KernelNormalizationLogic
    from KernelNormalizationLib.selftest.normalization import UI_FILE
    from KernelNormalizationLib.ui.widget import NormalizationPanel

    panel = NormalizationPanel(KernelNormalizationLogic(), str(UI_FILE), Ready(), running(QUICK, steps=20, pause=0.05))
    heart = Heart(lambda: str(panel.ui.statusLabel.text))
    panel.enter()
    panel._parameters.showDifference = True
    waitUntil(lambda: panel.ui.cardLabel.text != "" or "not a" in panel.ui.verdictLabel.text, "the card", 600.0)
    panel.ui.normalizeButton.click()
    waitUntil(lambda: panel._process is None and panel.review.active, "the end", 600.0)
    beats = len(heart.gaps)
    waitUntil(lambda: len(heart.gaps) > beats, "a last beat")
    heart.stop()
    assert len(synthetic()) == 1, panel.ui.statusLabel.text
    write(f"Normalization of a {' x '.join(map(str, SHAPE[::-1]))} volume, {len(heart.gaps)} beats")
    heart.report(write)
    panel.cleanup()


def threshold(write: Callable[[str], object], app: application.Application) -> None:
    """Time from moving the slider to the redrawn view."""
    from EmphysemaQuant import EmphysemaQuantLogic
    from EmphysemaQuantLib.core.results import quantification
    from EmphysemaQuantLib.selftest.quantification import UI_FILE
    from EmphysemaQuantLib.ui.widget import EmphysemaPanel
    from KernelNormalizationLib.ui.review_layout import viewName

    lungs = np.zeros((2, *SHAPE), bool)
    lungs[0, 20:280, 100:400, 60:220] = lungs[1, 20:280, 100:400, 300:460] = True
    mask = quantification.supplied_mask(*lungs)
    logic = EmphysemaQuantLogic(lambda volume, second, _, *rest: quantification.quantify(volume, second, mask, *rest))
    panel = EmphysemaPanel(logic, str(UI_FILE))
    heart = Heart(lambda: str(panel.ui.statusLabel.text))
    panel.enter()
    panel.ui.computeButton.click()
    waitUntil(lambda: panel._job is None, "the measurement", 600.0)
    beats = len(heart.gaps)
    waitUntil(lambda: len(heart.gaps) > beats and panel.preview.built, "the copy for the preview", 600.0)
    assert panel.result is not None, panel.ui.statusLabel.text
    heart.stop()
    write("Measurement of original and partner on a given mask")
    heart.report(write)
    heart = Heart(lambda: str(panel.ui.statusLabel.text))
    started = time.perf_counter()
    panel.ui.show3DCheckBox.checked = True
    waitUntil(lambda: panel.ui.statusLabel.text == "", "the surfaces", 600.0)
    write(f"3D: {time.perf_counter() - started:.1f} s")
    panel.ui.jumpDifferenceButton.click()
    panel.ui.computeButton.click()  # on the segments as they are
    waitUntil(lambda: panel._job is None, "the measurement on the lung segments", 600.0)
    beats = len(heart.gaps)
    waitUntil(lambda: len(heart.gaps) > beats and panel.preview.built, "the copy for the preview", 600.0)
    heart.stop()
    write("3D, a jump, and a second measurement on the lung segments")
    heart.report(write)
    view = SlicePicture(app, viewName(0, 0), (512, 512))
    view.render()
    first = moved(panel, view, -940.0)
    later = np.array([moved(panel, view, value) for value in MOVES])
    for name, times in (("first move", np.array([first])), ("slowest of the next", later.max(axis=0, keepdims=True))):
        panel_wall, panel_processor, view_wall, view_processor = times[0]
        write(
            f"Threshold, {name}: panel {panel_wall:.3f} s ({panel_processor:.3f} s processor), "
            f"redrawing a view {view_wall:.3f} s ({view_processor:.3f} s processor)"
        )
    panel.cleanup()


def reloaded(write: Callable[[str], object]) -> None:
    """Blocks of both panels when a scene with these volumes was loaded.

    Slicer reads the files itself, in one go and before it tells anybody; what is measured is what the panels add to that.
    """
    from EmphysemaQuant import EmphysemaQuantLogic
    from EmphysemaQuantLib.selftest.quantification import UI_FILE as EMPHYSEMA_UI
    from EmphysemaQuantLib.ui.widget import EmphysemaPanel
    from KernelNormalization import KernelNormalizationLogic
    from KernelNormalizationLib.selftest.normalization import UI_FILE
    from KernelNormalizationLib.ui.widget import NormalizationPanel

    for panel in (
        NormalizationPanel(KernelNormalizationLogic(), str(UI_FILE), Ready()),
        EmphysemaPanel(EmphysemaQuantLogic(), str(EMPHYSEMA_UI)),
    ):
        panel.enter()
        heart = Heart(lambda panel=panel: str(panel.ui.statusLabel.text))
        panel.sceneStartImport()
        started = time.perf_counter()
        panel.sceneEndImport()
        seconds = time.perf_counter() - started
        waitUntil(lambda heart=heart: len(heart.gaps) > 50, "fifty beats", 600.0)
        waitUntil(lambda panel=panel: not panel._mail.busy, "the threads", 600.0)
        heart.stop()
        write(f"{panel.title} after a scene was loaded: {seconds:.3f} s to follow it")
        heart.report(write)
        panel.cleanup()


def moved(panel: Any, view: SlicePicture, value: float) -> tuple[float, float, float, float]:
    """Seconds until the preview is at ``value`` HU, and then until a view is drawn: wall and processor time of each."""
    clocks = [(time.perf_counter(), time.process_time())]
    panel.ui.thresholdSlider.value = value
    while not (panel.preview.shown and f"{value:g}" in panel.ui.statusLabel.text):
        slicer.app.processEvents()
        time.sleep(0.001)
    clocks.append((time.perf_counter(), time.process_time()))
    view.render()
    clocks.append((time.perf_counter(), time.process_time()))
    (a, b), (c, d), (e, f) = clocks
    return c - a, d - b, e - c, f - d


def main() -> None:
    """Print all measurements."""
    app = application.start()
    large_chest()
    normalization(_line)
    threshold(_line, app)
    reloaded(_line)


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
