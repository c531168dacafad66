"""What the self tests of both modules share; nothing is downloaded."""

from __future__ import annotations

import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

TIMEOUT_SECONDS = 600.0  # upper limit for a test that hangs


def waitUntil(condition: Callable[[], bool], what: str, timeout: float = TIMEOUT_SECONDS) -> None:
    """Process events until ``condition`` holds.

    Raises:
        AssertionError: it does not within ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"Waited {timeout:.0f} s in vain for {what}")
        slicer.app.processEvents()
        time.sleep(0.01)


class PanelSelfTest:
    """Creates a panel before each test and removes it afterwards; the module file turns it into a test case."""

    panel: Any

    def makePanel(self) -> Any:
        """The panel to test."""
        raise NotImplementedError

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)
        self.panel = self.makePanel()

    def tearDown(self) -> None:
        self.panel.cleanup()
        self.panel.widget.deleteLater()
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        """Every test of the class, as Slicer's Reload and Test expects it.

        Raises:
            AssertionError: a test failed.
        """
        suite = unittest.TestSuite(type(self)(name) for name in unittest.defaultTestLoader.getTestCaseNames(type(self)))  # type: ignore[call-arg,misc,arg-type]
        result = unittest.TextTestRunner(verbosity=2).run(suite)
        if not result.wasSuccessful():
            failed = ", ".join(str(test) for test, _ in [*result.failures, *result.errors])
            raise AssertionError(f"Failed: {failed}")

    def closeScene(self) -> None:
        """Close the scene as the application does, with the events that the panel receives."""
        self.panel.sceneStartClose()
        slicer.mrmlScene.Clear(0)
        self.panel.sceneEndClose()

    def saveAndReloadScene(self) -> None:
        """Save the scene, close it, and load it again."""
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            assert slicer.util.saveScene(path)
            self.closeScene()
            self.panel.sceneStartImport()
            slicer.util.loadScene(path)
            self.panel.sceneEndImport()
