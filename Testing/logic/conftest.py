"""Real MRML for the logic tests: a clean scene a test, and small CT volumes with known voxels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from slicerhost import mrml


@pytest.fixture
def scene() -> Iterator[Any]:
    """The empty MRML scene."""
    host = mrml.start()
    host.clear()
    yield host.scene
    host.clear()


@pytest.fixture
def ct_node(scene: Any) -> Any:
    """A 12-slice oblique CT node, int16, with DICOM-like window and a voxel pattern that no flip leaves alike."""
    import slicer

    generator = np.random.default_rng(7)
    hu = generator.normal(-850.0, 60.0, (12, 20, 24))
    hu[:, :3] = 40.0
    hu[2, 5, 7] = 700.0
    angle = np.deg2rad(10.0)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    ijk_to_ras = np.eye(4)
    ijk_to_ras[:3, :3] = rotation @ np.diag([-0.7, -0.7, 1.25])
    ijk_to_ras[:3, 3] = (101.5, 88.25, -310.0)
    node = slicer.util.addVolumeFromArray(np.round(hu).astype(np.int16), ijkToRAS=ijk_to_ras, name="Chest B70f")
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(0)
    display.SetWindowLevel(1400.0, -500.0)
    return node
