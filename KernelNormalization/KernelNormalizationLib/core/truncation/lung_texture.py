"""Separates the texture of the lungs from their noise.

Noise is measured in a band of high frequencies, which in lungs also contains fine texture and vessels: in 12 simulated patients
it was 1.0 to 1.4 times as strong as the noise alone. Texture is the same in all averaged images, noise is not. Texture that is
mistaken for noise would therefore restore too much wherever several images were averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..kernels.radial_filter import in_threads
from .model import Truncation
from .scan_regions import Sample

# Lung noise over the noise expected from the rays and from soft tissue, 12 simulated B80f patients: 1.01 with an SD of 0.03
# (0.05 with weaker kernels and other doses). It is seldom stronger than in the high-frequency band.
NOISE_OVER_RAYS, RAYS_ERROR = 1.01, 0.08
TYPICAL_APART, APART = 0.9, (0.6, 1.05)
ROUNDS = 2
# Half of the variance of texture is used: much of it comes from vessels and edges, which seldom lie near the floor. Error of
# EI on simulated lungs of 1, 2, 3 (unequal) and 4 images: with all of it 0.19, 0.24, 0.53, 0.40 points; with half 0.18, 0.19,
# 0.38, 0.38.
KAPPA = 0.5
# Correlations are rounded, so that few tables have to be made.
CORRELATION_STEP = 0.02


def noise_apart(samples: Sequence[Sample], air: Truncation, share: float) -> float:
    """Ratio of lung noise estimated from the rays to lung noise measured in the high-frequency band, which includes texture."""
    apart = TYPICAL_APART
    for _ in range(ROUNDS):
        truncation, factor = with_texture(air, apart)
        ratio = _mean_square_ratio(samples, truncation, share * factor)
        apart = float(np.clip(NOISE_OVER_RAYS * factor * np.sqrt(ratio), *APART))
    return apart


def with_texture(truncation: Truncation, apart: float) -> tuple[Truncation, float]:
    """Truncation for lungs with texture, and the factor to apply to the noise measured in their high-frequency band.

    Texture is the same in all averaged images. With the share ``apart`` of the SD being noise, the images have the noise
    s = apart / k each, and with a texture of tau^2 = KAPPA (1 - apart^2) the correlation (tau^2 + r s^2) / (tau^2 + s^2).

    Args:
        truncation: of noise alone.
        apart: SD of the noise over that of noise and texture.
    """
    texture = KAPPA * max(1.0 - apart**2, 0.0)
    factor = float(np.sqrt(apart**2 + texture))
    single = (apart / truncation.noise_ratio) ** 2
    together = (texture + truncation.correlation * single) / (texture + single) if truncation.images > 1 else 0.0
    return replace(truncation, correlation=round(together / CORRELATION_STEP) * CORRELATION_STEP), factor


def _mean_square_ratio(samples: Sequence[Sample], truncation: Truncation, share: float) -> float:
    def sums(sample: Sample) -> tuple[float, float]:
        state = sample.restorer.expect(sample.image, sample.start, truncation, share)
        region = sample.lungs & state.sparse
        assert sample.expected is not None
        return float(np.sum(sample.expected[region] ** 2)), float(np.sum(state.noise[region] ** 2))

    expected, found = np.sum(list(in_threads(sums, samples)), axis=0)
    return float(expected / max(found, 1.0))
