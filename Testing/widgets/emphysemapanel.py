"""The panel of emphysema quantification on a scan of two boxes; shared by the tests of the panel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import slicer

from slicerhost import application

application.start()  # the modules' widgets import qt, which exists from here on

from EmphysemaQuant import EmphysemaQuantLogic  # noqa: E402
from EmphysemaQuantLib.core.results import quantification  # noqa: E402
from EmphysemaQuantLib.selftest.quantification import UI_FILE  # noqa: E402
from EmphysemaQuantLib.ui.widget import EmphysemaPanel  # noqa: E402
from KernelNormalizationLib.mrml import provenance  # noqa: E402
from KernelNormalizationLib.mrml.volumes import addVolumeNode  # noqa: E402
from KernelNormalizationLib.selftest.base import waitUntil  # noqa: E402

SHAPE = (12, 48, 64)
RIGHT = (slice(1, 11), slice(8, 40), slice(6, 28))
LEFT = (slice(1, 11), slice(8, 40), slice(36, 58))
HOLE = (slice(3, 6), slice(12, 20), slice(8, 16))


def masks() -> tuple[np.ndarray, np.ndarray]:
    right, left = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    right[RIGHT], left[LEFT] = True, True
    return right, left


def with_box_mask(volume: Any, compared: Any, mask: Any, threshold: float, progress: Any = None) -> Any:
    """The real quantification, with the boxes' exact mask in place of the automatic one."""
    return quantification.quantify(volume, compared, mask or quantification.supplied_mask(*masks()), threshold, progress)


class BoxLogic(EmphysemaQuantLogic):
    """The module's logic on boxes."""

    def __init__(self) -> None:
        super().__init__(with_box_mask)
        self.moduleName = "EmphysemaQuant"


@pytest.fixture
def chest(app: Any) -> Any:
    hu = np.full(SHAPE, 40, np.int16)
    hu[RIGHT], hu[LEFT] = -860, -860
    hu[HOLE] = -980
    hu[:, 0, 0] = 41  # a slice of a single value is refused as one that was never copied
    node = slicer.util.addVolumeFromArray(hu, ijkToRAS=np.diag([-2.0, -2.0, 4.0, 1.0]), name="Chest")
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAutoWindowLevel(0)
    node.GetDisplayNode().SetWindowLevel(1500, -600)
    return node


@pytest.fixture
def partner(chest: Any) -> Any:
    hu = slicer.util.arrayFromVolume(chest).astype(np.float32)
    hu[3, 12:20, 8:16] = -900.0
    node = addVolumeNode(hu, chest, "Chest B20f (synthetic)")
    node.SetAttribute(provenance.SYNTHETIC, "true")
    node.SetNodeReferenceID(provenance.INPUT_REFERENCE_ROLE, chest.GetID())
    return node


@pytest.fixture
def panel(app: Any) -> Iterator[EmphysemaPanel]:
    made = EmphysemaPanel(BoxLogic(), str(UI_FILE))
    yield made
    made.cleanup()
    made.widget.deleteLater()


def save_and_load(panel: EmphysemaPanel, path: str) -> None:
    """Save the scene, close it and load it again, as Slicer tells the panel."""
    assert slicer.util.saveScene(path)
    panel.sceneStartClose()
    slicer.mrmlScene.Clear(0)
    panel.sceneEndClose()
    panel.sceneStartImport()
    slicer.util.loadScene(path)
    panel.sceneEndImport()


def compute(panel: EmphysemaPanel) -> str:
    panel.enter()
    panel.ui.computeButton.click()
    waitUntil(lambda: panel._job is None, "the measurement")
    slicer.app.processEvents()  # the measured volumes come into the views one event later
    return panel.ui.statusLabel.text
