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


@pytest.fixture
def logic(scene: Any) -> Any:
    """The emphysema logic with the exact lung mask of the toy chest."""
    from logic.toychest import with_box_mask

    from EmphysemaQuantLib.logic import EmphysemaLogic

    return EmphysemaLogic(with_box_mask)


@pytest.fixture
def chest(scene: Any) -> Any:
    """Two boxes of lung with a block of emphysema, as a volume node."""
    import slicer
    from logic.toychest import chest_hu

    node = slicer.util.addVolumeFromArray(chest_hu(), ijkToRAS=np.diag([-1.0, -1.0, 2.0, 1.0]), name="Chest B70f")
    node.CreateDefaultDisplayNodes()
    return node


@pytest.fixture
def synthetic(chest: Any) -> Any:
    """The partner of the toy chest, with less emphysema."""
    from logic.toychest import chest_hu

    from KernelNormalizationLib.mrml import provenance
    from KernelNormalizationLib.mrml.volumes import addVolumeNode

    hu = chest_hu()
    hu[4:6, 12:22, 8:15] = -900.0
    node = addVolumeNode(hu, chest, "Chest B70f B20f (synthetic)")
    node.SetAttribute(provenance.SYNTHETIC, "true")
    node.SetNodeReferenceID(provenance.INPUT_REFERENCE_ROLE, chest.GetID())
    return node
