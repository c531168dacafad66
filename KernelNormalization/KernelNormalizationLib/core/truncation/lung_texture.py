"""Texture of the lungs apart from their noise.

The band of high frequencies, which tells the noise, holds the finest texture and vessels of lungs too: in 12 simulated patients
it was 1.0 to 1.4 times as strong as the noise alone. Texture is the same in all images that were averaged, noise is not, so
that taking it for noise restores too much wherever several images were averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..kernels.radial_filter import in_threads
from .model import Truncation
from .scan_regions import Sample

# Noise of the lungs over what their rays and the noise removed from soft tissue let expect, 12 simulated patients of B80f: 1.01
# with an SD of 0.03 (with weaker kernels and other doses 0.05). It is seldom stronger than its band says.
NOISE_OVER_RAYS, RAYS_ERROR = 1.01, 0.08
TYPICAL_APART, APART = 0.9, (0.6, 1.05)
ROUNDS = 2
# Half of the texture's variance counts: vessels and edges make much of it and seldom lie near the floor. Error of the index on
# simulated lungs of 1, 2, 3 (unequal), 4 images with all of it 0.19, 0.24, 0.53, 0.40 points, with half 0.18, 0.19, 0.38, 0.38.
KAPPA = 0.5
# Correlations are rounded, so that few tables have to be made.
CORRELATION_STEP = 0.02


def noise_apart(samples: Sequence[Sample], air: Truncation, share: float) -> float:
    """Noise of the lungs by their rays over what their band of frequencies, with the texture in it, says."""
    apart = TYPICAL_APART
    for _ in range(ROUNDS):
        truncation, factor = with_texture(air, apart)
        ratio = _mean_square_ratio(samples, truncation, share * factor)
        apart = float(np.clip(NOISE_OVER_RAYS * factor * np.sqrt(ratio), *APART))
    return apart


def with_texture(truncation: Truncation, apart: float) -> tuple[Truncation, float]:
    """The truncation of lungs whose noise has texture in it, and the factor on the noise that their band tells.

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
