"""How much of the lungs' high-frequency band is noise and how much is texture, with the noise expected from the rays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kernels.radial_filter import in_threads
from .lung_texture import with_texture
from .model import Truncation
from .scan_regions import Sample

# Lung noise over the noise expected from the rays and from soft tissue, 12 simulated B80f patients: 1.01 with an SD of 0.03
# (0.05 with weaker kernels and other doses). It is seldom stronger than in the high-frequency band.
NOISE_OVER_RAYS, RAYS_ERROR = 1.01, 0.08
TYPICAL_APART, APART = 0.9, (0.6, 1.05)
ROUNDS = 2


def noise_apart(samples: Sequence[Sample], air: Truncation, share: float) -> float:
    """SD of the lungs' noise, expected from the rays, over that of noise and texture, measured in the high-frequency band.

    Of slices that were interpolated: in those before.

    Args:
        samples: slices whose expected noise is known.
        air: truncation without texture, before an interpolation.
        share: SD of all noise over that of its high band.
    """
    apart = TYPICAL_APART
    for _ in range(ROUNDS):
        noise, told = _noise_and_told(samples, air, apart, share)
        # With g the noise left by interpolation and tau the texture, told = g^2 noise^2 + tau^2.
        remaining = float(np.mean([sample.how.noise_ratio**2 for sample in samples]))
        ratio = told / (NOISE_OVER_RAYS**2 * noise) - 1.0
        apart = float(np.clip(1.0 / np.sqrt(max(1.0 + remaining * ratio, 0.1)), *APART))
    return apart


def _noise_and_told(samples: Sequence[Sample], air: Truncation, apart: float, share: float) -> tuple[float, float]:
    """Sums of squares in the lungs: of the noise expected from the rays, and of noise and texture, measured in the band."""
    lungs, factor = with_texture(air, apart)

    def sums(sample: Sample) -> tuple[float, float]:
        truncation, left = sample.lungs_before(lungs, apart)
        state = sample.restorer.expect(sample.image, sample.start, truncation, share * factor * left)
        region = sample.lungs & state.sparse
        assert sample.expected is not None
        told = float(np.sum(state.noise[region] ** 2)) / (factor * left) ** 2
        return float(np.sum(sample.expected[region] ** 2)), told

    noise, told = np.sum(list(in_threads(sums, samples)), axis=0)
    return max(float(noise), 1.0), max(float(told), 1.0)
