"""The simulated chest of the core as a volume node, for trying the modules without patient data or downloads."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ..core.simulated_chest import SamplePair, make_sample

NAME = "Simulated chest B80f"
# Coarser than the sample of the core, so that it takes a few seconds; the lungs have the same size.
SHAPE = (40, 272, 344)
SPACING_MM = (6.0, 0.9, 0.9)


@lru_cache(maxsize=1)
def simulatedChest() -> SamplePair:
    """The simulated chest, the same at every call: sharp and smooth reconstruction, exact lungs, noise-free emphysema index."""
    return make_sample(shape=SHAPE, spacing=SPACING_MM)


def addSimulatedChest() -> list[Any]:
    """Put the sharp reconstruction of the simulated chest into the scene."""
    import slicer

    from . import provenance
    from .volumes import LUNG_WINDOW

    pair = simulatedChest()
    sharp = pair.sharp
    ijkToRas = np.diag([-1.0, -1.0, 1.0, 1.0]) @ sharp.geometry.ijk_to_lps
    node = slicer.util.addVolumeFromArray(sharp.hu.astype(np.int16), ijkToRAS=ijkToRas, name=NAME)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAutoWindowLevel(0)
    node.GetDisplayNode().SetWindowLevel(*LUNG_WINDOW)
    node.SetAttribute(provenance.KERNEL, sharp.acquisition.kernel)
    node.SetAttribute(provenance.MANUFACTURER, sharp.acquisition.manufacturer)
    node.SetDescription(f"Simulated, not a patient. Emphysema index without noise and blur: {pair.true_ei_percent:.1f} %.")
    return [node]


def openSimulatedChest(_source: Any = None) -> list[Any]:
    """Put the simulated chest into the scene and into the slice views, as Slicer's own sample data do."""
    import slicer

    with slicer.util.WaitCursor():
        (node,) = addSimulatedChest()
    slicer.util.setSliceViewerLayers(background=node, fit=True)
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
        customDownloader=openSimulatedChest,
        thumbnailFileName=thumbnail,
    )
