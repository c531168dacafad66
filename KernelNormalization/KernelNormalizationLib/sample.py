"""A simulated chest with known emphysema, made on this computer, for trying the modules without patient data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SHAPE = (36, 272, 344)
SPACING_MM = (6.0, 0.9, 0.9)
NAME = "Simulated chest (sharp kernel)"
NOISE_HU = 75.0
FLOOR_HU = -1024.0
LUNG_HU, EMPHYSEMA_HU = -870.0, -985.0
EMPHYSEMA_RADIUS_MM = 9.0
SEED = 20


def simulatedChest(emphysemaShare: float = 0.08, seed: int = SEED) -> tuple[NDArray[np.int16], NDArray[np.bool_], float]:
    """Two ellipsoidal lungs with a trachea and round emphysema, under sharp-kernel noise truncated at -1024 HU.

    Args:
        emphysemaShare: wanted share of lung voxels that are emphysema, 0 to 0.4.
        seed: makes the same chest again.

    Returns:
        HU int16 (k, j, i); lungs bool (k, j, i); the noise-free emphysema index, %.
    """
    dice = np.random.default_rng(seed)
    k, j, i = (np.arange(n) * s for n, s in zip(SHAPE, SPACING_MM, strict=True))
    z, y, x = np.meshgrid(k - k.mean(), j - j.mean(), i - i.mean(), indexing="ij", sparse=True)
    hu = np.where((y / 118.0) ** 2 + (x / 152.0) ** 2 < 1.0, 40.0, -1000.0) + 0.0 * z
    lungs = np.zeros(SHAPE, bool)
    for side in (-1.0, 1.0):
        lungs |= ((x - side * 68.0) / 52.0) ** 2 + (y / 84.0) ** 2 + (z / 100.0) ** 2 < 1.0
    emphysema = np.zeros(SHAPE, bool)
    centres, wanted, reach = np.argwhere(lungs), emphysemaShare * np.count_nonzero(lungs), EMPHYSEMA_RADIUS_MM
    while np.count_nonzero(emphysema) < wanted:
        at = centres[dice.integers(len(centres))]
        box = tuple(slice(max(0, c - int(reach / s)), c + int(reach / s) + 1) for c, s in zip(at, SPACING_MM, strict=True))
        ck, cj, ci = at
        near = (z[box[0]] - z[ck]) ** 2 + (y[:, box[1]] - y[:, cj]) ** 2 + (x[:, :, box[2]] - x[:, :, ci]) ** 2
        emphysema[box] |= (near < reach**2) & lungs[box]
    hu[lungs] = LUNG_HU
    hu[emphysema] = EMPHYSEMA_HU
    trachea = ((x / 9.0) ** 2 + (y / 9.0) ** 2 < 1.0) & (z > 0.0)
    hu[trachea & ~lungs] = -1000.0
    noise = dice.normal(0.0, NOISE_HU, SHAPE)
    sharp = noise - 0.5 * (np.roll(noise, 1, 1) + np.roll(noise, 1, 2)) * 0.5
    truth = 100.0 * np.count_nonzero(emphysema) / np.count_nonzero(lungs)
    return np.round(np.clip(hu + sharp, FLOOR_HU, 3071.0)).astype(np.int16), lungs, truth


def addSimulatedChest(_source: Any = None) -> list[Any]:
    """Put the simulated chest into the scene (feet first in the array, as a CT series is)."""
    import slicer

    from . import attributes

    hu, _, truth = simulatedChest()
    matrix = np.diag([-SPACING_MM[2], -SPACING_MM[1], SPACING_MM[0], 1.0])
    matrix[:3, 3] = [SHAPE[2] * SPACING_MM[2] / 2, SHAPE[1] * SPACING_MM[1] / 2, -SHAPE[0] * SPACING_MM[0] / 2]
    node = slicer.util.addVolumeFromArray(hu, ijkToRAS=matrix, name=NAME)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAutoWindowLevel(0)
    node.GetDisplayNode().SetWindowLevel(1500.0, -600.0)
    node.SetAttribute(attributes.KERNEL, "B70f")
    node.SetAttribute(attributes.MANUFACTURER, "Simulated (Siemens kernel)")
    node.SetDescription(f"Simulated, not a patient. Emphysema index without noise: {truth:.1f} %.")
    return [node]


def registerSimulatedChest(thumbnail: str | None = None) -> None:
    """Offer the simulated chest in the Sample Data module; nothing is downloaded."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="CT Kernel Normalization",
        sampleName=NAME,
        # Slicer compares the lengths of these three even when nothing is downloaded.
        uris="",
        fileNames="",
        nodeNames=NAME,
        customDownloader=addSimulatedChest,
        thumbnailFileName=thumbnail,
    )
