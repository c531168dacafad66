"""A phantom scan and its smooth partner, which the tests of the report measure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from emphysema.phantom import make

from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.results.measurement import Measurement, MeasurementSettings, measure
from KernelNormalizationLib.core.volume import Acquisition, CTVolume


class Pair(NamedTuple):
    """Original, synthetic partner and the lung mask of both."""

    raw: CTVolume
    smooth: CTVolume
    mask: LungMask


def made_pair() -> Pair:
    """A noisy phantom of kernel B70f and the phantom without noise, called synthetic."""
    phantom = make(noise_hu=60.0)
    labels = phantom.right.astype(np.uint8) + 2 * phantom.left.astype(np.uint8)
    raw = replace(phantom.volume, name="chest 7", acquisition=Acquisition(kernel="B70f", manufacturer="SIEMENS"))
    smooth = replace(make().volume, name="chest 7 B20f (synthetic)", synthetic=True)
    return Pair(raw, smooth, LungMask(labels, phantom.airways, MaskQuality("ok")))


def made(volume: CTVolume, mask: LungMask, partner: CTVolume | None = None, **settings: Any) -> Measurement:
    """The measurement of one volume or of a pair."""
    return measure([volume] if partner is None else [volume, partner], mask, MeasurementSettings(**settings))
