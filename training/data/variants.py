"""More training slices from one simulated patient: other truncations, noise levels and calibrations, with exact truth.

An affine change of HU commutes with every kernel, so both reconstructions may be stretched and moved together before they are
truncated; and the truncation may be any scanner's, since the simulator keeps the sharp image before it and the noise in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import AIR_HU
from KernelNormalizationLib.core.kernels.radial_filter import Gain
from KernelNormalizationLib.core.kernels.transfer import b20f_gain
from KernelNormalizationLib.core.truncation.hu_floor import HUFloor

from ..simulate.floors import to_integers
from ..simulate.truncated import draw_truncation, hu_floor, truncated
from .kernel_pair import KernelPair

# Noise and contrast against air are stretched by these factors, and air is moved by so many HU: calibrated scanners agree
# to some HU, and thin and thick slices, small and large patients differ more in noise than the simulated doses do.
STRETCH = (0.6, 1.4)
SHIFT_HU = (-6.0, 6.0)
# In use the transfer is that of the named kernel, not of the scanner's own: in this share of the variants too.
NAMED_KERNEL_SHARE = 0.5


@dataclass(frozen=True)
class Variant:
    """Slices (k, j, i) of one variant: int16, HU, their floor, and the gain that brings them to B20f."""

    sharp: NDArray[np.int16]
    smooth: NDArray[np.int16]
    floor: HUFloor
    gain: Gain


def draw_variant(patient: KernelPair, exact: Gain, rng: np.random.Generator) -> Variant:
    """A variant of a patient that was simulated with its untruncated sharp image and the noise in it.

    Args:
        patient: with ``sharp_unclipped`` and ``sharp_noise``.
        exact: gain from the simulated kernel to B20f.
        rng: source of chance.
    """
    assert patient.sharp_unclipped is not None
    assert patient.sharp_noise is not None
    stretch, shift = np.float32(rng.uniform(*STRETCH)), np.float32(rng.uniform(*SHIFT_HU))
    truncation = draw_truncation(rng)
    noise = patient.sharp_noise.astype(np.float32) * stretch
    sharp, smooth = (
        (image.astype(np.float32) - np.float32(AIR_HU)) * stretch + np.float32(AIR_HU) + shift
        for image in (patient.sharp_unclipped, patient.smooth)
    )
    if patient.meta["padding"] is not None:
        outside = patient.sharp == patient.meta["padding"]
        sharp[outside] = smooth[outside] = np.float32(AIR_HU)
        noise[outside] = 0.0
    number = float(patient.meta["sharp_kernel"]["number"])
    gain = b20f_gain(number) if rng.random() < NAMED_KERNEL_SHARE else exact
    return Variant(
        to_integers(truncated(sharp, noise, truncation, rng)),
        to_integers(np.minimum(smooth, 3071.0)),
        hu_floor(truncation),
        gain,
    )
