"""What the network starts from: one function for training, so that it stays what the product computes."""

from __future__ import annotations

from KernelNormalizationLib.core.censoring import restore_slices
from KernelNormalizationLib.core.floor import HUFloor
from KernelNormalizationLib.core.radial import Gain
from KernelNormalizationLib.core.volume import FloatArray

# Part of the key of every stored base: raise it whenever base_image, or the choice of the gain, computes something else.
BASE_VERSION = "restored-5"


def base_image(hu: FloatArray, pixel_mm: float, gain: Gain, floor: HUFloor) -> tuple[FloatArray, FloatArray]:
    """What the network corrects: the transfer of the restored sharp slices, and what truncation took from them.

    Args:
        hu: float32 (k, j, i), HU, padding as air.
        pixel_mm: in-plane spacing, mm.
        gain: gain from the sharp kernel to B20f against in-plane frequency, lp/cm.
        floor: HU floor of the series.

    Returns:
        Two float32 (k, j, i), HU: base, and estimated true minus stored value (at most 0).
    """
    return restore_slices(hu, (pixel_mm, pixel_mm), gain, floor)
