"""Measurement for the panel: volumes and a mask from the scene in, one :class:`Measurement` out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from KernelNormalizationLib.core.arrays import BoolArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.volume import CTVolume

from ..indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU
from ..lungs.quality_verdict import MaskQuality
from .measurement import Measurement, MeasurementSettings, measure, original_first

# Needs SimpleITK, which would slow down the start of the application: the functions below import it.
if TYPE_CHECKING:
    from ..lungs.segmentation import LungMask

RIGHT_LABEL, LEFT_LABEL = 1, 2


def quantify(
    volume: CTVolume,
    compared: CTVolume | None = None,
    lung_mask: LungMask | None = None,
    threshold_hu: float = EMPHYSEMA_THRESHOLD_HU,
    progress: Progress | None = None,
) -> Measurement:
    """Measure ``volume`` and, on the same lung mask, ``compared``.

    Args:
        volume: chest CT.
        compared: second volume on the same grid, or ``None``.
        lung_mask: the user's mask, which gets its quality verdict here; made automatically if ``None``.
        threshold_hu: HU of the emphysema index.
        progress: told of the steps, asked for cancellation between them.

    Raises:
        InputError: threshold out of range, grids differ, or the mask is empty.
        LungNotFoundError: no lung for the automatic mask.
        Cancelled: the user stopped the run.
    """
    settings = MeasurementSettings(threshold_hu)
    volumes = [volume] if compared is None else [volume, compared]
    mask = None if lung_mask is None else _judged(original_first(volumes)[0], lung_mask)
    return measure(volumes, mask, settings, progress=progress)


def supplied_mask(right: BoolArray, left: BoolArray, airways: BoolArray | None = None) -> LungMask:
    """A lung mask from the user's own right and left lung, bool (k, j, i) each, not yet judged; voxels in both count as right.

    The lungs are taken as they are; ``airways``, bool (k, j, i), are shown and counted where they lie outside them.

    Raises:
        InputError: both are empty.
    """
    from ..lungs.segmentation import LungMask

    labels = np.zeros(right.shape, dtype=np.uint8)
    labels[left] = LEFT_LABEL
    labels[right] = RIGHT_LABEL
    if not labels.any():
        raise InputError("The lung segments are empty; paint the lungs or choose the automatic lung mask.")
    outside = np.zeros(right.shape, dtype=bool) if airways is None else airways & (labels == 0)
    return LungMask(labels, outside, MaskQuality("ok"), origin="supplied")


def _judged(volume: CTVolume, lung_mask: LungMask) -> LungMask:
    from ..lungs.supplied_mask import judge_supplied

    if lung_mask.notes:
        return lung_mask  # read from label numbers, with its verdict
    if lung_mask.labels.shape != volume.shape or not lung_mask.labels.any():
        return lung_mask  # refused by measure()
    quality = judge_supplied(volume, lung_mask.labels)
    sides = (("right", RIGHT_LABEL), ("left", LEFT_LABEL))
    empty = [f"The {side} lung is empty." for side, label in sides if not np.any(lung_mask.labels == label)]
    verdict = "look" if empty and quality.verdict == "ok" else quality.verdict
    return replace(lung_mask, quality=MaskQuality(verdict, (*empty, *quality.reasons)))
