"""Writes pictures of both modules as a real Slicer shows them: ``Slicer --python-script Testing/slicer_screenshots.py FOLDER``.

On the simulated chest, with the method that needs no packages; ends Slicer with code 0, or 1 if anything failed.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import slicer


def main(folder: Path) -> None:
    """Normalize, measure, and save the main window after each."""
    from KernelNormalizationLib.mrml.sampledata import openSimulatedChest
    from KernelNormalizationLib.selftest.base import waitUntil
    from KernelNormalizationLib.ui.parameters import MethodChoice

    openSimulatedChest()
    slicer.util.selectModule("KernelNormalization")
    panel = slicer.util.getModuleWidget("KernelNormalization").panel
    panel._parameters.method = MethodChoice.linear
    waitUntil(lambda: panel.ui.cardLabel.text != "", "the scan's card")
    panel.ui.normalizeButton.click()
    waitUntil(lambda: panel._process is None and panel.review.active, "the normalization")
    save(folder / "KernelNormalization.png")
    panel.ui.measureButton.click()
    other = slicer.util.getModuleWidget("EmphysemaQuant").panel
    other.ui.computeButton.click()
    waitUntil(lambda: other._job is None and other.result is not None, "the measurement")
    save(folder / "EmphysemaQuant.png")


def save(path: Path) -> None:
    """The main window as it is now.

    Raises:
        OSError: the picture could not be written.
    """
    for _ in range(20):
        slicer.app.processEvents()
    if not slicer.util.mainWindow().grab().save(str(path)):
        raise OSError(f"{path} could not be written")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
        code = 0
    except Exception:
        logging.getLogger(__name__).exception("No pictures")
        code = 1
    slicer.util.exit(code)
