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
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray
from ..kernels.radial_filter import Gain, in_threads
from .air_fit import fit_outer_air
from .histograms import (
    ALL_WEIGHTS,
    EDGES_HU,
    NEEDED_VOXELS,
    SAMPLED_VOXELS,
    Curve,
    Fit,
    effective_images,
    histogram,
    hypotheses,
    misfit_of,
    predicted_counts,
)
from .interpolated_slices import AS_RECONSTRUCTED, Interpolated, find_interpolation
from .lung_texture import with_texture
from .model import Truncation
from .restoration import RestorationPlan, Restorer
from .scan_regions import SLICES, Regions, Sample, cut_to_lungs, evenly, fullest, noise_share
from .texture_strength import RAYS_ERROR, noise_apart

Kind = TypeVar("Kind", Regions, Sample)

# Error of the noise measured in the high-frequency band, downwards and upwards. Noise in lungs cannot be stronger than there.
# On the real B70f chest the histogram would fit best with 1.2 times the noise, which would restore more than two thin-slice
# pairs support (as much as two images of r 0.24, or four of r 0.5); the noise estimated from the rays is 0.8 to 1.0 of the band
# there. The factor used for the restoration is therefore limited to 1.05.
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
# Number of hypotheses not excluded by the air that are tried on the lungs, from the best fit to the worst.
MOST_ALTERNATIVES = 4
# Histograms are compared in lung below this value; denser lung is not truncated.
SHALLOW_HU = -780.0
COARSE_SLICES, REFINEMENTS = 2, 2
COARSE = ((1.0,), (0.7, 0.3), (0.5, 0.5), (0.25,) * 4, (0.125,) * 8)
COARSE_CORRELATIONS = (0.0, 0.24, 0.5)
# Used if a scan gives no answer: what was measured in the lungs of two thin-slice Siemens pairs; for others a plain clip.
SIEMENS = Truncation.of_equal_images(2, 0.24)


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
        images = np.log(effective_images(truncation.weights) / effective_images(self.centre.weights)) / IMAGES_SPREAD
        apart = truncation.correlation - self.centre.correlation
        # A single image has no correlation with others.
        together = apart / CORRELATION_SPREAD[int(apart > 0.0)] if min(truncation.images, self.centre.images) > 1 else 0.0
        return float((images**2 + together**2) / self.looseness**2)


def estimate_series(
    hu: FloatArray,
    pixel_mm: tuple[float, float],
    gain: Gain,
    floor_hu: float,
    siemens: bool | None = None,
    places: NDArray[np.intp] | None = None,
) -> RestorationPlan:
    """Estimate how a series was truncated, and whether its slices were interpolated afterwards.

    Args:
        hu: (k, j, i), HU, neighbouring slices as stored, padding as air.
        pixel_mm: (row, column) spacing, mm.
        gain: in-plane gain to the smooth kernel against frequency in lp/cm.
        floor_hu: value of the floor.
        siemens: as in :func:`estimate_plan`.
        places: numbers of the slices that tell most, such as those with lung; all if absent.
    """
    chosen = np.arange(len(hu)) if places is None else places
    examined = chosen[examined_slices(chosen.size)]
    found = find_interpolation(hu)
    slices = [found.slices[k] for k in examined] if found else ()
    plan = estimate_plan(hu[examined], pixel_mm, gain, floor_hu, siemens, slices)
    return replace(plan, interpolation=found)


def estimate_plan(
    hu: FloatArray,
    pixel_mm: tuple[float, float],
    gain: Gain,
    floor_hu: float,
    siemens: bool | None = None,
    slices: Sequence[Interpolated] = (),
) -> RestorationPlan:
    """Estimate how the slices were truncated.

    Args:
        hu: (k, j, i), HU, as stored, padding as air.
        pixel_mm: (row, column) spacing, mm.
        gain: in-plane gain to the smooth kernel against frequency in lp/cm.
        floor_hu: value of the floor.
        siemens: whether a Siemens scanner made it; ``None`` if unknown, which counts as Siemens.
        slices: how each of them was interpolated; empty if they were not.
    """
    whole = Restorer((hu.shape[1], hu.shape[2]), pixel_mm, gain)
    how = slices or (AS_RECONSTRUCTED,) * len(hu)
    regions = [Regions.of(hu[k], whole, how[k]) for k in examined_slices(len(hu))]
    share = noise_share(regions)
    default = Truncation(floor_hu) if siemens is False else Truncation(floor_hu, SIEMENS.weights, SIEMENS.correlation)
    air_fits = fit_outer_air(_least_interpolated(regions), floor_hu)
    air = air_fits[0].truncation if _fits_well(air_fits) else None
    prior = Prior(air, 1.0) if air else Prior(default, LOOSER)
    samples = cut_to_lungs(fullest(regions), pixel_mm, gain)
    if air_fits and air_fits[0].chi2 <= AIR_TELLS and samples and samples[0].expected is not None:
        return _as_in_air(air_fits, samples, share)
    lung_fits = _fit_lungs(_least_interpolated(samples), floor_hu, share, prior)
    chosen = in_the_middle(lung_fits) if _fits_well(lung_fits) else None
    lungs, factor = (chosen.truncation, min(chosen.noise_factor, LARGEST_FACTOR)) if chosen else (air or default, 1.0)
    apart = 1.0
    if chosen and samples[0].expected is not None:
        apart = noise_apart(samples, lungs, share)
        lungs, without = with_texture(lungs, apart)
        factor = min(factor, without)
    evidence = {
        "lungs": _told(lung_fits, "lungs", "air" if air else "default"),
        "air": _told(air_fits, "air", "lungs" if chosen else "default"),
        "left_open": [_as_alternative(fit, share) for fit in not_ruled_out(lung_fits)],
    }
    return RestorationPlan(lungs, air or lungs, share * factor, evidence, apart)


def _least_interpolated(slices: Sequence[Kind]) -> list[Kind]:
    """The slices that show the truncation best; a single kind of slice also needs but one table for every hypothesis."""
    least = min((s.how.share for s in slices), default=0.0)
    return [s for s in slices if s.how.share == least]


def _as_in_air(air_fits: Sequence[Fit], samples: Sequence[Sample], share: float) -> RestorationPlan:
    """Truncation of the lungs taken from the air, with the share of texture in their noise estimated from the rays."""
    air = air_fits[0].truncation
    apart = noise_apart(samples, air, share)
    others = not_ruled_out(air_fits)[1:]
    tried = [(air_fits[0], apart), *((air_fits[0], apart * (1.0 + d)) for d in (-RAYS_ERROR, RAYS_ERROR))]
    tried += [(others[n], apart) for n in evenly(len(others), MOST_ALTERNATIVES)]

    def fit(one: tuple[Fit, float]) -> Fit:
        truncation, factor = with_texture(one[0].truncation, one[1])
        losses = [_loss(sample, truncation, share * factor, one[1]) for sample in samples[:COARSE_SLICES]]
        return Fit(truncation, one[0].chi2, factor, float(np.mean(losses)))

    fits = list(in_threads(fit, tried))
    evidence = {
        "lungs": {"from": "histogram of the air", "chi2": round(fits[0].chi2, 1), "noise_without_texture": round(apart, 3)},
        "air": _told(air_fits, "air", "default"),
        "left_open": [_as_alternative(one, share) for one in fits],
    }
    return RestorationPlan(fits[0].truncation, air, share * fits[0].noise_factor, evidence, apart)


def _loss(sample: Sample, truncation: Truncation, share: float, apart: float) -> float:
    own, factor = sample.lungs_before(truncation, apart)
    return float(sample.restorer.expect(sample.image, sample.start, own, share * factor).lost[sample.lungs].mean())


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


def _fit_lungs(samples: Sequence[Sample], floor_hu: float, share: float, prior: Prior) -> list[Fit]:
    near = sum(float(histogram(s.image[s.lungs], floor_hu)[:5].sum()) for s in samples)
    if near < NEEDED_VOXELS:
        return []
    centre = prior.centre
    if prior.looseness > 1.0:
        tried = hypotheses(floor_hu, COARSE, COARSE_CORRELATIONS)
        coarse = in_threads(lambda hypothesis: _fit_one(samples[:COARSE_SLICES], hypothesis, share, prior), tried)
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
    place = min(
        range(len(ALL_WEIGHTS)), key=lambda n: abs(effective_images(ALL_WEIGHTS[n]) - effective_images(truncation.weights))
    )
    near = ALL_WEIGHTS[max(0, place - 1) : place + 2]
    steps = sorted({round(float(np.clip(truncation.correlation + d, 0.0, 0.72)), 2) for d in (-0.12, 0.0, 0.12)})
    return hypotheses(truncation.floor_hu, near, steps)


def _fit_one(samples: Sequence[Sample], truncation: Truncation, share: float, prior: Prior, factor: float = 1.0) -> Fit:
    """Restore with the hypothesis, compare the histogram, and scale the noise so that it fits best.

    Args:
        samples: slices.
        truncation: the hypothesis.
        share: of all noise in its high band.
        prior: what is expected of the hypothesis before the histogram is used.
        factor: by which the noise is scaled to begin with.
    """
    found = np.zeros(len(EDGES_HU))
    seen, losses = [], []
    for sample in samples:
        own = sample.how.of(truncation)
        state = sample.restorer.expect(sample.image, sample.start, own, share * factor)
        region = sample.lungs & state.sparse & (state.mean < SHALLOW_HU)
        found += histogram(sample.image[region], truncation.floor_hu)
        places = np.flatnonzero(region)
        chosen = places[evenly(places.size, SAMPLED_VOXELS)]
        height = state.mean.reshape(-1)[chosen] - truncation.floor_hu
        noise = state.noise.reshape(-1)[chosen] / np.float32(own.noise_ratio)
        seen.append((own, height, noise, places.size / max(chosen.size, 1)))
        losses.append(float(state.lost[sample.lungs].mean()))

    def predicted(f: float) -> Curve:
        counts: Curve = np.sum([w * predicted_counts(own, t, s * np.float32(f)) for own, t, s, w in seen], axis=0)
        return counts

    misfits = [misfit_of(predicted(f), found) + _noise_misfit(f * factor) for f in NOISE_FACTORS]
    scaled = factor * float(NOISE_FACTORS[int(np.argmin(misfits))])
    return Fit(truncation, float(min(misfits)) + prior.misfit(truncation), scaled, float(np.mean(losses)))


def _noise_misfit(factor: float) -> float:
    return float((np.log(factor) / NOISE_ERROR[int(factor > 1.0)]) ** 2)


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
