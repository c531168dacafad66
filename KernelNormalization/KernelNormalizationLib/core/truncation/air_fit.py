"""How the air around the body was truncated: its mean is known, and its noise follows from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..arrays import BoolArray, FloatArray
from ..kernels.radial_filter import in_threads
from .histograms import (
    ALL_WEIGHTS,
    EDGES_HU,
    NEEDED_VOXELS,
    SAMPLED_VOXELS,
    Curve,
    Fit,
    counts_above,
    hypotheses,
    misfit_of,
    predicted_counts,
)
from .interpolated_slices import Interpolated
from .model import AT_FLOOR_HU, Truncation
from .restoration import AIR_HU, air_noise
from .scan_regions import Regions, evenly

# The histogram of air covers this share of its voxels. Air of soft kernels has -1000.5 to -1001.4 HU; if the stored air is less
# than this many HU above that, nothing was cut off.
AIR_SHARE_BINNED, UNCUT_AIR_ERROR_HU = 0.9, 4.0
AIR_CORRELATIONS = (0.0, 0.12, 0.24, 0.36, 0.48, 0.6)
# For the best fits, correlations between the listed ones are tried too. With 12 images, r = 0 and r = 0.12 differ by half in
# the noise of one image; with two images by 6 %, so that no refinement is needed.
AIR_REFINED, AIR_BEST, FEWEST_REFINED = (0.06, 0.03), 4, 3
# A small share of a second slice is determined better by the histogram than by the noise, which gives the share with an error
# of up to SHARE_ERROR. A few hypotheses, from one image to many, are enough.
SMALL_SHARES, SHARE_ERROR = (0.0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15), 0.051
FEW_WEIGHTS, FEW_CORRELATIONS = ((1.0,), (0.8, 0.2), *((1.0 / n,) * n for n in (2, 4, 8, 12))), (0.1, 0.3)


def fit_outer_air(regions: Sequence[Regions], floor_hu: float) -> list[Fit]:
    """Hypotheses against the histogram of the air around the body, best first; empty if there is too little of it.

    Args:
        regions: slices that were interpolated alike.
        floor_hu: value of the floor.
    """
    how = regions[0].how
    air = _Air.of([(r.image, r.outside) for r in regions], floor_hu)
    if air is None:
        return []
    if 0.0 < how.share <= SMALL_SHARES[-1]:
        few = hypotheses(floor_hu, FEW_WEIGHTS, FEW_CORRELATIONS)
        tried = [replace(how, share=share) for share in SMALL_SHARES if abs(share - how.share) <= SHARE_ERROR]
        how = min(tried, key=lambda one: min(air.fit(t, one).chi2 for t in few))
    return air.fit_all(how)


@dataclass(frozen=True)
class _Air:
    """What is stored in the air of some slices.

    Attributes:
        found: counts in the bins of the histogram.
        edges: of its bins, HU above the floor.
        noise: HU, noise SD of one image at some of its voxels, (n,).
        scale: of all its voxels to these.
        floor_hu: value of the floor.
    """

    found: Curve
    edges: Curve
    noise: FloatArray
    scale: float
    floor_hu: float

    @classmethod
    def of(cls, slices: Sequence[tuple[FloatArray, BoolArray]], floor_hu: float) -> _Air | None:
        """Of images (rows, columns), HU, as stored, and where their outer air is; ``None`` if it tells nothing."""
        used = [(image, air) for image, air in slices if np.count_nonzero(air) >= NEEDED_VOXELS]
        if not used:
            return None
        above = np.concatenate([image[air] for image, air in used]) - floor_hu
        edges = _edges_for(above)
        found = counts_above(above, edges)
        # Of many images hardly a voxel lies at the floor; that its mean is not that of air tells that air was cut all the same.
        if found[0] < NEEDED_VOXELS / 10 and float(above.mean()) < AIR_HU - floor_hu + UNCUT_AIR_ERROR_HU:
            return None
        every = np.concatenate([air_noise(image, air, Truncation(floor_hu))[air] for image, air in used])
        noise = every[evenly(every.size, 5 * SAMPLED_VOXELS)]
        return cls(found, edges, noise, every.size / noise.size, floor_hu)

    def fit(self, truncation: Truncation, how: Interpolated) -> Fit:
        height = np.full_like(self.noise, AIR_HU - self.floor_hu)
        predicted = predicted_counts(how.of(truncation), height, self.noise, self.edges)
        return Fit(truncation, misfit_of(self.scale * predicted, self.found))

    def fit_all(self, how: Interpolated) -> list[Fit]:
        fit = partial(self.fit, how=how)
        fits = list(in_threads(fit, hypotheses(self.floor_hu, ALL_WEIGHTS, AIR_CORRELATIONS)))
        for step in AIR_REFINED:
            fits += in_threads(fit, _between(fits, step))
        return sorted(fits, key=lambda fit: fit.chi2)


def _between(fits: Sequence[Fit], step: float) -> list[Truncation]:
    """Correlations ``step`` to either side of the best fits."""
    known = {f.truncation for f in fits}
    best = [f.truncation for f in sorted(fits, key=lambda f: f.chi2)[:AIR_BEST] if f.truncation.images >= FEWEST_REFINED]
    steps = [(t, round(t.correlation + d, 3)) for t in best for d in (-step, step)]
    near = dict.fromkeys(replace(t, correlation=r) for t, r in steps if r >= 0.0)
    return [t for t in near if t not in known]


def _edges_for(above: NDArray[np.floating]) -> Curve:
    """Edges of the histogram of air, HU above the floor (n,): wider for stronger noise, so that they cover most voxels."""
    stretched = EDGES_HU * max(1.0, float(np.quantile(above, AIR_SHARE_BINNED)) / EDGES_HU[-1])
    return np.concatenate([[AT_FLOOR_HU], np.round(stretched[1:]) + 0.5])
