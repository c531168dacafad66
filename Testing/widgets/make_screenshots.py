"""Writes the pictures of the README: ``python Testing/widgets/make_screenshots.py FOLDER [--dark]``.

Both panels on the Qt stand-in, and the side-by-side views with the overlay as the real slice pipeline draws them, on the
simulated chest.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT / "KernelNormalization"), str(ROOT / "EmphysemaQuant")]

from slicerhost import application  # noqa: E402
from slicerhost.pictures import side_by_side  # noqa: E402


def main(folder: Path, dark: bool = False) -> None:
    """Write all pictures into ``folder``, the panels in the dark theme if wanted."""
    app = application.start()
    app.use_dark_theme(dark)
    from PIL import Image

    from EmphysemaQuant import EmphysemaQuantLogic
    from EmphysemaQuantLib.selftest.quantification import UI_FILE as EMPHYSEMA_UI
    from EmphysemaQuantLib.ui.widget import EmphysemaPanel
    from KernelNormalization import KernelNormalizationLogic
    from KernelNormalizationLib.ui.review_layout import existingDifference, viewName
    from KernelNormalizationLib.selftest.base import waitUntil
    from KernelNormalizationLib.ui.parameters import DeviceChoice
    from KernelNormalizationLib.mrml.sampledata import addSimulatedChest
    from KernelNormalizationLib.selftest.normalization import UI_FILE
    from KernelNormalizationLib.ui.widget import NormalizationPanel

    folder.mkdir(parents=True, exist_ok=True)
    addSimulatedChest()
    panel = NormalizationPanel(KernelNormalizationLogic(), str(UI_FILE))
    panel.enter()
    panel._parameters.device = DeviceChoice.cpu  # the same pictures on every computer
    panel.ui.normalizeButton.click()
    waitUntil(lambda: panel._process is None, "the normalization")
    waitUntil(lambda: "kernel B80f" in panel.ui.cardLabel.text, "the scan's card")
    panel._parameters.showDifference = True
    waitUntil(lambda: panel._pair() is not None and existingDifference(*panel._pair()) is not None, "the difference")
    panel.onShowSideBySide()
    app.grab(panel.widget, str(folder / "KernelNormalization.png"))
    pair = [[viewName(column, 0) for column in range(3)]]
    Image.fromarray(side_by_side(app, pair)).save(folder / "Difference.png")
    panel.exit()
    quantification = EmphysemaPanel(EmphysemaQuantLogic(), str(EMPHYSEMA_UI))
    quantification.enter()
    quantification.ui.computeButton.click()
    waitUntil(lambda: quantification._job is None, "the measurement")
    quantification.onShowSideBySide()
    quantification.onJumpToMostEmphysema()
    app.grab(quantification.widget, str(folder / "EmphysemaQuant.png"))
    pair = [[viewName(column, 0) for column in range(2)]]
    Image.fromarray(side_by_side(app, pair)).save(folder / "SideBySide.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--dark" in sys.argv)
