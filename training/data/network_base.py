"""What the network starts from: one function for training, so that it stays what the product computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.kernels.radial_filter import Gain, apply_gain
from KernelNormalizationLib.core.truncation.estimation import estimate_series, known_plan
from KernelNormalizationLib.core.truncation.hu_floor import HUFloor
from KernelNormalizationLib.core.truncation.model import Truncation
from KernelNormalizationLib.core.truncation.restoration import restore_slices
from KernelNormalizationLib.core.truncation.scan_regions import outer_air


def base_image(hu: FloatArray, pixel_mm: float, gain: Gain, floor: HUFloor) -> tuple[FloatArray, FloatArray]:
    """What the network corrects: the transfer of the restored sharp slices, and what truncation took from them.

    Args:
        hu: float32 (k, j, i), HU, padding as air; whole slices, from which the truncation is estimated.
        pixel_mm: in-plane spacing, mm.
        gain: gain from the sharp kernel to B20f against in-plane frequency, lp/cm.
        floor: HU floor of the series.

    Returns:
        Two float32 (k, j, i), HU: base, and estimated true minus stored value (at most 0).
    """
    if floor.kind == "none":
        return apply_gain(hu, (pixel_mm, pixel_mm), gain), np.zeros(hu.shape, np.float32)
    plan = estimate_series(hu, (pixel_mm, pixel_mm), gain, floor.value)
    outside = np.stack([outer_air(image) for image in hu])
    return restore_slices(hu, (pixel_mm, pixel_mm), gain, plan, outside)


def known_base_image(
    hu: FloatArray, pixel_mm: float, gain: Gain, truncation: Truncation | None, noise_factor: float
) -> tuple[FloatArray, FloatArray]:
    """The same for slices or parts of slices whose truncation is known.

    Args:
        hu: float32 (k, j, i), HU, padding as air.
        pixel_mm: in-plane spacing, mm.
        gain: gain from the sharp kernel to B20f against in-plane frequency, lp/cm.
        truncation: how they were truncated, ``None`` for not at all.
        noise_factor: error to make in the noise, since in use it is estimated.
    """
    if truncation is None:
        return apply_gain(hu, (pixel_mm, pixel_mm), gain), np.zeros(hu.shape, np.float32)
    plan = known_plan(hu, (pixel_mm, pixel_mm), gain, truncation)
    return restore_slices(hu, (pixel_mm, pixel_mm), gain, replace(plan, noise_share=plan.noise_share * noise_factor))
