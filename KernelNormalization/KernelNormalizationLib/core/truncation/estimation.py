"""Estimates from a series how its images were truncated at the HU floor.

The histogram just above the floor depends on how many images were averaged and on how strongly their noise was correlated: a
single clipped image has a peak at the floor, several averaged ones have few voxels there and many just above. In the air
around the body the mean HU is known, so the truncation is fitted there first. The lungs are assumed to be truncated in the
same way, apart from the effect of their texture (:mod:`.lung_texture`). If the air gives no clear answer, some lung slices are
restored under every hypothesis, and the histogram predicted by the restored mean and noise is compared with the stored one.
The scale of the noise is fitted too, because lung texture adds to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import BoolArray, FloatArray
from ..kernels.radial_filter import Gain, in_threads
from .loss_table import LossTable
from .lung_texture import RAYS_ERROR, noise_apart, with_texture
from .model import AT_FLOOR_HU, Truncation
from .restoration import AIR_HU, RestorationPlan, Restorer, air_noise
from .scan_regions import SLICES, Regions, Sample, cut_to_lungs, evenly, fullest, noise_share

Curve = NDArray[np.float64]

# Histogram above the floor, HU: finest where the hypotheses differ most.
EDGES_HU = np.array([AT_FLOOR_HU, 5.5, 10.5, 20.5, 30.5, 45.5, 60.5, 80.5, 100.5])
# Simulated scans restored with their true truncation: predicted counts were wrong by 6 % in a bin and by 10 % in all bins
# together; the noise measured in the high-frequency band was 0.82 to 1.07 of the noise that fits the histogram.
BIN_ERROR, LEVEL_ERROR = 0.06, 0.10
# Error of that noise, downwards and upwards. Noise in lungs cannot be stronger than in the high-frequency band. On the real
# B70f chest the histogram would fit best with 1.2 times the noise, which would restore more than two thin-slice pairs support
# (as much as two images of r 0.24, or four of r 0.5); the noise estimated from the rays is 0.8 to 1.0 of the band there. The
# factor used for the restoration is therefore limited to 1.05.
NOISE_ERROR = (0.15, 0.05)
NOISE_FACTORS, LARGEST_FACTOR = np.exp(np.arange(-0.40, 0.21, 0.05)), 1.05
# Hypotheses whose chi2 is at most this much above the best one cannot be excluded by the scan.
LEFT_OPEN = 8.0
# Nine bins plus the errors of level and noise, minus four fitted values: number of images, correlation, level and noise.
DEGREES_OF_FREEDOM = 7.0
# Lungs and air were truncated in the same way, but lung texture is equal in all averaged images, so their noise appears more
# correlated in lungs. Expected spread of the logarithm of the number of images and of the correlation (downwards, upwards)
# around the values of the air. Without a clear result from the air, the typical values are used with a wider spread.
IMAGES_SPREAD, CORRELATION_SPREAD, LOOSER = 0.3, (0.15, 0.4), 2.5
POOR_FIT = 60.0
# Up to this chi2 the fit in air determines the truncation of the lungs without further data: in simulated air the true
# truncation has a chi2 of 1 to 7. The real B70f chest shows little air; its best fit has a chi2 of 40, and its number of
# uncorrelated images would restore the lungs too much.
AIR_TELLS = 20.0
# The histogram of air covers this share of its voxels. Air of soft kernels has -1000.5 to -1001.4 HU; if the stored air is less
# than this many HU above that, nothing was cut off.
AIR_SHARE_BINNED, UNCUT_AIR_ERROR_HU = 0.9, 4.0
# Number of hypotheses not excluded by the air that are tried on the lungs, from the best fit to the worst.
MOST_ALTERNATIVES = 4
# With fewer voxels than this near the floor, nothing can be estimated, and the choice hardly changes any voxel.
NEEDED_VOXELS = 500
SAMPLED_VOXELS = 2500
# Histograms are compared in lung below this value; denser lung is not truncated.
SHALLOW_HU = -780.0
COARSE_SLICES, REFINEMENTS = 2, 2
COARSE = ((1.0,), (0.7, 0.3), (0.5, 0.5), (0.25,) * 4, (0.125,) * 8)
COARSE_CORRELATIONS = (0.0, 0.24, 0.5)
AIR_CORRELATIONS = (0.0, 0.12, 0.24, 0.36, 0.48, 0.6)
# For the best fits, correlations between the listed ones are tried too. With 12 images, r = 0 and r = 0.12 differ by half in
# the noise of one image; with two images by 6 %, so that no refinement is needed.
AIR_REFINED, AIR_BEST, FEWEST_REFINED = (0.06, 0.03), 4, 3
# Used if a scan gives no answer: what was measured in the lungs of two thin-slice Siemens pairs; for others a plain clip.
SIEMENS = Truncation.of_equal_images(2, 0.24)


@dataclass(frozen=True)
class Fit:
    """How well one hypothesis fits the histogram.

    Attributes:
        truncation: the hypothesis.
        chi2: misfit over the bins, with the errors of level and noise.
        noise_factor: by which the noise has to be scaled.
        loss_hu: mean HU that it restores in the region, at most 0.
    """

    truncation: Truncation
    chi2: float
    noise_factor: float = 1.0
    loss_hu: float = 0.0


@dataclass(frozen=True)
class Prior:
    """What is expected of the lungs before their histogram is looked at.

    Attributes:
        centre: the most likely truncation.
        looseness: factor on the spread about it.
    """

    centre: Truncation
    looseness: float

    def misfit(self, truncation: Truncation) -> float:
        """Contribution to chi2."""
        images = np.log(_effective(truncation.weights) / _effective(self.centre.weights)) / IMAGES_SPREAD
        apart = truncation.correlation - self.centre.correlation
        # A single image has no correlation with others.
        together = apart / CORRELATION_SPREAD[int(apart > 0.0)] if min(truncation.images, self.centre.images) > 1 else 0.0
        return float((images**2 + together**2) / self.looseness**2)


def estimate_plan(
    hu: FloatArray, pixel_mm: tuple[float, float], gain: Gain, floor_hu: float, siemens: bool | None = None
) -> RestorationPlan:
    """Estimate how the slices were truncated.

    Args:
        hu: (k, j, i), HU, as stored, padding as air.
        pixel_mm: (row, column) spacing, mm.
        gain: in-plane gain to the smooth kernel against frequency in lp/cm.
        floor_hu: value of the floor.
        siemens: whether a Siemens scanner made it; ``None`` if unknown, which counts as Siemens.
    """
    whole = Restorer((hu.shape[1], hu.shape[2]), pixel_mm, gain)
    regions = [Regions.of(image, whole) for image in hu[examined_slices(len(hu))]]
    share = noise_share(regions)
    default = Truncation(floor_hu) if siemens is False else Truncation(floor_hu, SIEMENS.weights, SIEMENS.correlation)
    air_fits = fit_air([(r.image, r.outside) for r in regions], floor_hu)
    air = air_fits[0].truncation if _fits_well(air_fits) else None
    prior = Prior(air, 1.0) if air else Prior(default, LOOSER)
    samples = cut_to_lungs(fullest(regions), pixel_mm, gain)
    if air_fits and air_fits[0].chi2 <= AIR_TELLS and samples and samples[0].expected is not None:
        return _as_in_air(air_fits, samples, share)
    lung_fits = _fit_lungs(samples, floor_hu, share, prior)
    chosen = in_the_middle(lung_fits) if _fits_well(lung_fits) else None
    lungs, factor = (chosen.truncation, min(chosen.noise_factor, LARGEST_FACTOR)) if chosen else (air or default, 1.0)
    if chosen and samples[0].expected is not None:
        lungs, without = with_texture(lungs, noise_apart(samples, lungs, share))
        factor = min(factor, without)
    evidence = {
        "lungs": _told(lung_fits, "lungs", "air" if air else "default"),
        "air": _told(air_fits, "air", "lungs" if chosen else "default"),
        "left_open": [_as_alternative(fit, share) for fit in not_ruled_out(lung_fits)],
    }
    return RestorationPlan(lungs, air or lungs, share * factor, evidence)


def _as_in_air(air_fits: Sequence[Fit], samples: Sequence[Sample], share: float) -> RestorationPlan:
    """Truncation of the lungs taken from the air, with the share of texture in their noise estimated from the rays."""
    air = air_fits[0].truncation
    apart = noise_apart(samples, air, share)
    others = not_ruled_out(air_fits)[1:]
    tried = [(air_fits[0], apart), *((air_fits[0], apart * (1.0 + d)) for d in (-RAYS_ERROR, RAYS_ERROR))]
    tried += [(others[n], apart) for n in evenly(len(others), MOST_ALTERNATIVES)]

    def fit(one: tuple[Fit, float]) -> Fit:
        truncation, factor = with_texture(one[0].truncation, one[1])
        losses = [_loss(sample, truncation, share * factor) for sample in samples[:COARSE_SLICES]]
        return Fit(truncation, one[0].chi2, factor, float(np.mean(losses)))

    fits = list(in_threads(fit, tried))
    evidence = {
        "lungs": {"from": "histogram of the air", "chi2": round(fits[0].chi2, 1), "noise_without_texture": round(apart, 3)},
        "air": _told(air_fits, "air", "default"),
        "left_open": [_as_alternative(one, share) for one in fits],
    }
    return RestorationPlan(fits[0].truncation, air, share * fits[0].noise_factor, evidence)


def _loss(sample: Sample, truncation: Truncation, share: float) -> float:
    return float(sample.restorer.expect(sample.image, sample.start, truncation, share).lost[sample.lungs].mean())


def examined_slices(count: int) -> NDArray[np.intp]:
    """Which of ``count`` slices :func:`estimate_plan` looks at; given those alone, it finds the same."""
    return evenly(count, 3 * SLICES)


def known_plan(hu: FloatArray, pixel_mm: tuple[float, float], gain: Gain, truncation: Truncation) -> RestorationPlan:
    """The plan for slices (k, j, i), HU, of known truncation; only their noise is measured."""
    whole = Restorer((hu.shape[1], hu.shape[2]), pixel_mm, gain)
    share = noise_share([Regions.of(image, whole) for image in hu[evenly(len(hu), SLICES)]])
    return RestorationPlan(truncation, truncation, share, {"lungs": {"from": "known"}, "air": {"from": "known"}})


def left_open(fits: Sequence[Fit]) -> list[Fit]:
    """The hypotheses whose fit is nearly as good as the best, best first."""
    return [f for f in fits if f.chi2 <= fits[0].chi2 + LEFT_OPEN]


def not_ruled_out(fits: Sequence[Fit]) -> list[Fit]:
    """Like :func:`left_open`, with more hypotheses where even the best one fits poorly.

    The limit is multiplied by the best chi2 over its degrees of freedom: the scale factor of the Particle Data Group for
    measurements that differ by more than their errors explain.
    """
    scale = max(1.0, fits[0].chi2 / DEGREES_OF_FREEDOM) if fits else 1.0
    return [f for f in fits if f.chi2 <= fits[0].chi2 + LEFT_OPEN * scale]


def in_the_middle(fits: Sequence[Fit]) -> Fit:
    """The hypothesis in the middle of those that cannot be excluded, by the loss they restore: the median by likelihood."""
    known = sorted(left_open(fits), key=lambda fit: -fit.loss_hu)
    weight = np.cumsum([np.exp(-(fit.chi2 - fits[0].chi2) / 4.0) for fit in known])
    return known[int(np.searchsorted(weight, 0.5 * weight[-1]))]


def fit_air(slices: Sequence[tuple[FloatArray, BoolArray]], floor_hu: float) -> list[Fit]:
    """Hypotheses against the histogram of the air around the body, best first; empty if there is too little of it.

    Args:
        slices: images (rows, columns), HU, as stored, and where their outer air is.
        floor_hu: value of the floor.
    """
    used = [(image, air) for image, air in slices if np.count_nonzero(air) >= NEEDED_VOXELS]
    if not used:
        return []
    above = np.concatenate([image[air] for image, air in used]) - floor_hu
    edges = _edges_for(above)
    found = _counts(above, edges)
    # Of many images hardly a voxel lies at the floor; that its mean is not that of air tells that air was cut all the same.
    if found[0] < NEEDED_VOXELS / 10 and float(above.mean()) < AIR_HU - floor_hu + UNCUT_AIR_ERROR_HU:
        return []
    mean = [(image, air, air_noise(image, air, Truncation(floor_hu))[air]) for image, air in used]
    height = np.concatenate([np.full(s.size, AIR_HU - floor_hu, np.float32) for _, _, s in mean])
    noise = np.concatenate([s for _, _, s in mean])
    chosen = evenly(noise.size, 5 * SAMPLED_VOXELS)
    scale = noise.size / chosen.size

    def fit(truncation: Truncation) -> Fit:
        return Fit(truncation, _misfit(scale * _predicted(truncation, height[chosen], noise[chosen], edges=edges), found))

    fits = list(in_threads(fit, _hypotheses(floor_hu, _ALL_WEIGHTS, AIR_CORRELATIONS)))
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


_ALL_WEIGHTS = ((1.0,), (0.9, 0.1), (0.8, 0.2), (0.7, 0.3), (0.6, 0.4), *((1.0 / n,) * n for n in (2, 3, 4, 5, 6, 8, 12, 18)))


def _hypotheses(floor_hu: float, weights: Sequence[tuple[float, ...]], correlations: Sequence[float]) -> list[Truncation]:
    several = [Truncation(floor_hu, w, r) for w in weights for r in correlations if len(w) > 1]
    return [Truncation(floor_hu, w) for w in weights if len(w) == 1] + several


def _fit_lungs(samples: Sequence[Sample], floor_hu: float, share: float, prior: Prior) -> list[Fit]:
    near = sum(float(_histogram(s.image[s.lungs], floor_hu)[:5].sum()) for s in samples)
    if near < NEEDED_VOXELS:
        return []
    centre = prior.centre
    if prior.looseness > 1.0:
        hypotheses = _hypotheses(floor_hu, COARSE, COARSE_CORRELATIONS)
        coarse = in_threads(lambda hypothesis: _fit_one(samples[:COARSE_SLICES], hypothesis, share, prior), hypotheses)
        centre = min(coarse, key=lambda fit: fit.chi2).truncation
    best = _fit_one(samples, centre, share, prior)
    known: dict[Truncation, Fit] = {}
    for _ in range(REFINEMENTS):
        around = dict.fromkeys([best.truncation, *_neighbours(best.truncation)])
        new = [hypothesis for hypothesis in around if hypothesis not in known]
        fit = partial(_fit_one, samples, share=share, prior=prior, factor=best.noise_factor)
        known.update(zip(new, in_threads(fit, new), strict=True))
        best = min(known.values(), key=lambda fit: fit.chi2)
    return sorted(known.values(), key=lambda fit: fit.chi2)


def _neighbours(truncation: Truncation) -> list[Truncation]:
    """One step in the number of images or their shares, and one in correlation."""
    place = min(range(len(_ALL_WEIGHTS)), key=lambda n: abs(_effective(_ALL_WEIGHTS[n]) - _effective(truncation.weights)))
    near = _ALL_WEIGHTS[max(0, place - 1) : place + 2]
    steps = sorted({round(float(np.clip(truncation.correlation + d, 0.0, 0.72)), 2) for d in (-0.12, 0.0, 0.12)})
    return _hypotheses(truncation.floor_hu, near, steps)


def _effective(weights: tuple[float, ...]) -> float:
    return 1.0 / sum(w * w for w in weights)


def _fit_one(samples: Sequence[Sample], truncation: Truncation, share: float, prior: Prior, factor: float = 1.0) -> Fit:
    """Restore with the hypothesis, compare the histogram, and scale the noise so that it fits best.

    Args:
        samples: slices.
        truncation: the hypothesis.
        share: of all noise in its high band.
        prior: what the hypothesis is held to.
        factor: by which the noise is scaled to begin with.
    """
    found = np.zeros(len(EDGES_HU))
    height, noise, weight, losses = [], [], [], []
    for sample in samples:
        state = sample.restorer.expect(sample.image, sample.start, truncation, share * factor)
        region = sample.lungs & state.sparse & (state.mean < SHALLOW_HU)
        found += _histogram(sample.image[region], truncation.floor_hu)
        places = np.flatnonzero(region)
        chosen = places[evenly(places.size, SAMPLED_VOXELS)]
        height.append(state.mean.reshape(-1)[chosen] - truncation.floor_hu)
        noise.append(state.noise.reshape(-1)[chosen] / truncation.noise_ratio)
        weight.append(np.full(chosen.size, places.size / max(chosen.size, 1)))
        losses.append(float(state.lost[sample.lungs].mean()))
    t, s, w = np.concatenate(height), np.concatenate(noise), np.concatenate(weight)
    misfits = [_misfit(_predicted(truncation, t, s * f, w), found) + _noise_misfit(f * factor) for f in NOISE_FACTORS]
    scaled = factor * float(NOISE_FACTORS[int(np.argmin(misfits))])
    return Fit(truncation, float(min(misfits)) + prior.misfit(truncation), scaled, float(np.mean(losses)))


def _noise_misfit(factor: float) -> float:
    return float((np.log(factor) / NOISE_ERROR[int(factor > 1.0)]) ** 2)


def _edges_for(above: NDArray[np.floating]) -> Curve:
    """Edges of the histogram of air, HU above the floor (n,): wider for stronger noise, so that they cover most voxels."""
    stretched = EDGES_HU * max(1.0, float(np.quantile(above, AIR_SHARE_BINNED)) / EDGES_HU[-1])
    return np.concatenate([[AT_FLOOR_HU], np.round(stretched[1:]) + 0.5])


def _histogram(values: FloatArray, floor_hu: float) -> Curve:
    return _counts(values - floor_hu, EDGES_HU)


def _counts(above: NDArray[np.floating], edges: Curve) -> Curve:
    return np.array([np.count_nonzero(above <= AT_FLOOR_HU), *np.histogram(above, edges)[0]], np.float64)


def _predicted(
    truncation: Truncation, height: FloatArray, noise: FloatArray, weight: Curve | None = None, edges: Curve = EDGES_HU
) -> Curve:
    """Expected histogram of voxels whose means are ``height`` above the floor, with ``noise`` (HU) of one image."""
    table = LossTable.of(truncation)
    t = np.asarray(height / noise, np.float32)
    below = [np.interp(t, table.t, table.atom)]
    below += [table.probability_below(t, np.asarray(edge / noise, np.float32)).astype(np.float64) for edge in edges[1:]]
    counts = np.array([float(np.sum(b if weight is None else b * weight)) for b in below])
    return np.diff(counts, prepend=0.0)


def _misfit(predicted: Curve, found: Curve) -> float:
    level = predicted.sum() / max(found.sum(), 1.0)
    expected = predicted / level
    error = np.maximum(expected, 1.0) + (BIN_ERROR * expected) ** 2
    return float(np.sum((found - expected) ** 2 / error) + (np.log(level) / LEVEL_ERROR) ** 2)


def _fits_well(fits: Sequence[Fit]) -> bool:
    return bool(fits) and fits[0].chi2 <= POOR_FIT


def _told(fits: Sequence[Fit], where: str, instead: str) -> dict[str, Any]:
    if not fits:
        return {"from": instead, "reason": f"too few voxels of the {where} lie near the floor"}
    told = {"chi2": round(fits[0].chi2, 1), "noise_factor": round(fits[0].noise_factor, 3)}
    if not _fits_well(fits):
        return {"from": instead, "reason": f"no truncation explains the histogram of the {where}", **told}
    return {"from": f"histogram of the {where}", **told}


def _as_alternative(fit: Fit, share: float) -> dict[str, Any]:
    record = {**fit.truncation.as_record(), "noise_share": round(share * fit.noise_factor, 3), "chi2": round(fit.chi2, 1)}
    return {**record, "loss_hu": round(fit.loss_hu, 2)}
