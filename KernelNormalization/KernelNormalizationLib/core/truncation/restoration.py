"""Restores the HU lost at the HU floor, before the kernel transfer.

Truncation removes the lower tail of the noise, so smoothing the stored values gives too dense results where tissue is nearly
air. For every voxel in lung and air, the expected loss for its local mean, local noise and stored value is taken from tables
(:mod:`.loss_table`) and added. The result is filtered, mean and noise are measured again in it, and the step is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..arrays import BoolArray, FloatArray
from ..kernels.radial_filter import Gain
from .interpolated_slices import SliceInterpolation
from .local_means import LocalMeans
from .loss_table import LossTable
from .lung_texture import interpolated_lungs
from .model import AT_FLOOR_HU, Truncation
from .slice_filters import SliceFilters

# Lung and air lie below this after the transfer; denser tissue is not reached by truncation.
PARENCHYMA_HU = -600.0
# No tissue is emptier than air, whose calibration is good to some HU. Air outside the body reads -1000.5 to -1001.4 HU on
# two soft Siemens kernels.
EMPTIEST_HU, AIR_HU = -1006.0, -1001.0
LOWEST_NOISE_HU = 1.0
# Outside the body, the table's shell and clothes lie above this after the transfer.
OUTER_AIR_HU = -900.0
# Foam of table and cushions has lower HU, but is not air. Local means before truncation were estimated as -935 to -919 HU in
# simulated foam of -925 HU, and as -1002 to -959 HU in air, where noise is slightly underestimated (12 patients).
FOAM_HU = -945.0
# The loss in air is scaled so that the mean is that of air, by at most this factor; smaller losses than this, HU, are ignored.
LARGEST_CHANGE, LEAST_LOSS_HU = 1.5, 0.1
AIR_NOISES_HU = np.geomspace(LOWEST_NOISE_HU, 500.0, 200)
# Gaussians (pixels) over which the first mean, the later means and the noise are taken, and how often all are estimated.
FIRST_MEAN_SIGMA, MEAN_SIGMA, NOISE_SIGMA = 4.0, 2.0, 8.0
ESTIMATES = 2
# Values of the high-frequency band beyond this many standard deviations are vessel edges, not noise.
OUTLIER = 5.0
# Detail of the base counts as structure from this many standard deviations of its noise on.
DETAIL = 3.0
# Regularization of the inverse filter from the smooth base to the sharp kernel: detail with a gain below 0.14 is not restored.
BACK_EPSILON = 0.02
# Noise is measured where anatomy is weak: from 5 lp/cm on (two real B70f pairs), or, with large pixels, from 0.65 of the
# highest frequency that the pixels can represent.
NOISE_BAND_LP_PER_CM, NOISE_BAND_SHARE = 5.0, 0.65

BASE, NOISE_BAND, BACK = 0, 1, 2


@dataclass(frozen=True)
class RestorationPlan:
    """How the slices of a series were truncated, as far as this can be estimated.

    Attributes:
        lungs: truncation inside the body.
        air: truncation of the air around the body.
        noise_share: SD of all noise that the transfer removes over the SD of its band of high frequencies.
        evidence: what the choice rests on, JSON-serializable.
        apart: SD of the lungs' noise over that of noise and texture.
        interpolation: of the series' slices after truncation; ``lungs`` and ``air`` are then those of slices before it.
    """

    lungs: Truncation
    air: Truncation
    noise_share: float
    evidence: dict[str, Any] = field(default_factory=dict)
    apart: float = 1.0
    interpolation: SliceInterpolation | None = None

    def of_slice(self, k: int) -> RestorationPlan:
        """The plan for slice ``k`` of the series."""
        if self.interpolation is None:
            return self
        how = self.interpolation.slices[k]
        lungs, factor = interpolated_lungs(self.lungs, self.apart, how)
        return replace(self, lungs=lungs, air=how.of(self.air), noise_share=self.noise_share * factor, interpolation=None)

    def as_record(self) -> dict[str, Any]:
        """For provenance."""
        return {
            "truncation_lungs": self.lungs.as_record(),
            "truncation_air": self.air.as_record(),
            "truncation_noise_share": round(self.noise_share, 3),
            **({"slice_interpolation": self.interpolation.as_record()} if self.interpolation else {}),
            "truncation_evidence": self.evidence,
            "truncation_in_words": self.in_words(),
        }

    def in_words(self) -> str:
        """One sentence for the user."""
        count = self.lungs.images
        how = "" if count == 1 else f" in {count} images that were then averaged"
        told = self.evidence.get("lungs", {}).get("from", "")
        seen = told.startswith("histogram")
        source = "read from the scan" if seen else "assumed, as usual for such scanners; the scan does not tell"
        after = "; the slices were resampled afterwards" if self.interpolation else ""
        return (
            f"The scanner cut off values below {self.lungs.floor_hu:.0f} HU{how} ({source}){after}. "
            "What was lost in lung and air was estimated and put back."
        )


@dataclass(frozen=True)
class LocalState:
    """Estimates for the lung and air of a slice; maps are float32 (rows, columns).

    Attributes:
        base: HU, transfer of the restored slice.
        lost: HU, at most 0.
        mean: HU, expected value of the sharp slice without noise.
        noise: HU, noise SD of the stored slice before truncation.
        sparse: where lung or air is.
        usual: the part of it in which the usual strength of noise and detail is read: not in foam around the body.
    """

    base: FloatArray
    lost: FloatArray
    mean: FloatArray
    noise: FloatArray
    sparse: BoolArray
    usual: BoolArray


class Restorer:
    """Restores slices of one shape.

    Args:
        shape: (rows, columns).
        pixel_mm: (row, column) spacing, mm.
        gain: in-plane gain to the smooth kernel against frequency in lp/cm.
    """

    def __init__(self, shape: tuple[int, int], pixel_mm: tuple[float, float], gain: Gain) -> None:
        cut = noise_band_start(pixel_mm)
        gains = (
            gain,
            lambda f: np.clip(f - cut, 0.0, 1.0),
            lambda f: (1.0 + BACK_EPSILON) * gain(f) / (gain(f) ** 2 + BACK_EPSILON),
        )
        self.filters = SliceFilters(shape, pixel_mm, gains)

    def restore(self, image: FloatArray, plan: RestorationPlan, outside: BoolArray | None = None) -> LocalState:
        """Restore one slice.

        Args:
            image: (rows, columns), HU, as stored.
            plan: how it was truncated.
            outside: (rows, columns), air around the body, whose HU is known; treated as the rest if absent.
        """
        start = self.start(image)
        if outside is None:
            outside = np.zeros(image.shape, dtype=bool)
        air = free_air(start, outside, plan)
        inside = replace(start, sparse=start.sparse & ~air, usual=start.sparse & ~outside)
        state = self.expect(image, inside, plan.lungs, plan.noise_share)
        lost = state.lost + loss_in_air(image, air, plan.air)
        base = self.filters(image + lost, BASE)[0] if lost.any() else start.base
        return replace(state, base=base, lost=lost)

    def start(self, image: FloatArray) -> LocalState:
        """The slice (rows, columns), HU, as if nothing had been lost."""
        base, band = self.filters(image, BASE, NOISE_BAND)
        nothing = np.zeros_like(image)
        sparse = base < PARENCHYMA_HU
        return LocalState(base, nothing, base, band, sparse, sparse)

    def expect(self, image: FloatArray, start: LocalState, truncation: Truncation, noise_share: float) -> LocalState:
        """Mean, noise and loss of one slice (rows, columns), HU; the base is that before the last loss."""
        table = LossTable.of(truncation)
        base, band, sparse, usual = start.base, start.noise, start.sparse, start.usual
        local = LocalMeans(sparse)
        at_floor = (image <= truncation.floor_hu + AT_FLOOR_HU)[sparse]
        state, uncertain = start, np.zeros_like(image)
        for estimate in range(ESTIMATES if at_floor.any() else 0):
            variance = local.mean(_without_outliers(band, usual) * noise_share**2 + uncertain, NOISE_SIGMA)
            sd = np.sqrt(np.maximum(variance, LOWEST_NOISE_HU**2))
            if estimate == 0:
                level = local.mean(base, FIRST_MEAN_SIGMA)
                low, sd = _before_truncation(level, sd, truncation, table)
                # The first base is too dense by the loss of its local mean.
                base = base + np.where(sparse, local.up(low - level), 0.0)
            else:
                low = np.maximum(local.mean(base, MEAN_SIGMA), EMPTIEST_HU)
            mean, noise = self._sharp_mean(base, local.up(low), local, usual), local.up(sd)
            lost, uncertain = np.zeros_like(image), np.zeros_like(image)
            s = noise[sparse] / np.float32(truncation.noise_ratio)
            t, u = (mean[sparse] - truncation.floor_hu) / s, (image[sparse] - truncation.floor_hu) / s
            took, spread = table.look_up(t, u, at_floor)
            took = took * s
            lost[sparse], uncertain[sparse] = np.where(took < -LEAST_LOSS_HU, took, 0.0), spread * s**2
            if estimate + 1 < ESTIMATES:
                base, band = self.filters(image + lost, BASE, NOISE_BAND)
            state = LocalState(base, lost, mean, noise, sparse, usual)
        return state

    def _sharp_mean(self, base: FloatArray, level: FloatArray, local: LocalMeans, usual: BoolArray) -> FloatArray:
        """The sharp slice without its noise: the base with reduced noise, filtered back to the sharp kernel.

        A sharp kernel undershoots beside vessels and the chest wall, often below the floor; the base does not.
        """
        detail = base - level
        variance = local.up(local.mean(_without_outliers(detail, usual, 2.0), NOISE_SIGMA))
        kept = np.clip(1.0 - DETAIL**2 * variance / np.maximum(detail * detail, 1e-3), 0.0, 1.0)
        clean = np.where(local.mask, level + detail * kept, base)
        return self.filters(clean, BACK)[0]


def restore_slices(
    hu: FloatArray, pixel_mm: tuple[float, float], gain: Gain, plan: RestorationPlan, outside: BoolArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Restore slices and bring them to the smooth kernel.

    Args:
        hu: (k, j, i), HU, as stored, padding as air.
        pixel_mm: (row, column) spacing, mm.
        gain: in-plane gain to the smooth kernel against frequency in lp/cm.
        plan: how they were truncated.
        outside: (k, j, i), air around the body.

    Returns:
        The transfer of the restored slices and what was added to the stored ones (at most 0), both float32 (k, j, i), HU.
    """
    restorer = Restorer((hu.shape[1], hu.shape[2]), pixel_mm, gain)
    base, lost = np.empty(hu.shape, np.float32), np.empty(hu.shape, np.float32)
    for k, image in enumerate(hu):
        state = restorer.restore(image, plan.of_slice(k), None if outside is None else outside[k])
        base[k], lost[k] = state.base, state.lost
    return base, lost


def noise_band_start(pixel_mm: tuple[float, float]) -> float:
    """Frequency (lp/cm) from which on noise is read."""
    return min(NOISE_BAND_LP_PER_CM, NOISE_BAND_SHARE * 5.0 / max(pixel_mm))


def free_air(start: LocalState, outside: BoolArray, plan: RestorationPlan) -> BoolArray:
    """Where ``outside`` (rows, columns) of the body is nothing but air, whose HU is known: not in foam.

    Args:
        start: the slice as if nothing had been lost.
        outside: (rows, columns), around the body.
        plan: how it was truncated.
    """
    light = outside & (start.base < OUTER_AIR_HU)
    if not light.any():
        return light
    local, table = LocalMeans(light), LossTable.of(plan.air)
    variance = local.mean(_without_outliers(start.noise, light) * plan.noise_share**2, NOISE_SIGMA)
    sd = np.sqrt(np.maximum(variance, LOWEST_NOISE_HU**2))
    mean, _ = _before_truncation(local.mean(start.base, FIRST_MEAN_SIGMA), sd, plan.air, table)
    return light & (local.up(mean) < FOAM_HU)


def loss_in_air(image: FloatArray, air: BoolArray, truncation: Truncation) -> FloatArray:
    """Expected loss (HU, at most 0) in air, whose mean is known.

    The noise follows from the mean of the stored values: averaging images does not change this mean, so it depends only on the
    mean and the noise of one image.

    Args:
        image: (rows, columns), HU, as stored.
        air: (rows, columns), where to.
        truncation: of the air around the body.
    """
    table = LossTable.of(truncation)
    lost = np.zeros_like(image)
    if not np.any(air & (image <= truncation.floor_hu + AT_FLOOR_HU)):
        return lost
    s = air_noise(image, air, truncation)[air]
    t = np.float32(AIR_HU - truncation.floor_hu) / s
    u = (image[air] - truncation.floor_hu) / s
    lost[air] = table.look_up(t, u, image[air] <= truncation.floor_hu + AT_FLOOR_HU)[0] * s
    # Whatever the error of the truncation, the restored air has the HU of air.
    local = LocalMeans(air)
    wanted = np.minimum(AIR_HU - local.mean(image, NOISE_SIGMA), 0.0)
    share = wanted / np.minimum(local.mean(lost, NOISE_SIGMA), -LEAST_LOSS_HU)
    return lost * np.where(air, local.up(np.clip(share, 0.0, LARGEST_CHANGE)), 0.0).astype(np.float32)


def air_noise(image: FloatArray, air: BoolArray, truncation: Truncation) -> FloatArray:
    """Noise SD (HU) of one of the averaged images in air of known mean, float32 (rows, columns)."""
    local = LocalMeans(air)
    return local.up(noise_of_air(local.mean(image, NOISE_SIGMA), truncation))


def noise_of_air(stored: FloatArray, truncation: Truncation) -> FloatArray:
    """Noise SD (HU) of one of the averaged images, float32 (...), from the mean HU of stored air, (...)."""
    table = LossTable.of(truncation)
    # Mean above the floor grows with the noise of one image, whatever the height of air above (or below) the floor.
    expected = AIR_NOISES_HU * np.interp((AIR_HU - truncation.floor_hu) / AIR_NOISES_HU, table.t, table.mean)
    noise = np.interp(np.maximum(stored - truncation.floor_hu, 0.0), expected, AIR_NOISES_HU)
    return np.asarray(noise, np.float32)


def _before_truncation(
    level: FloatArray, sd: FloatArray, truncation: Truncation, table: LossTable
) -> tuple[FloatArray, FloatArray]:
    """Mean (HU) and noise SD (HU) of the stored slice before truncation, from both after it."""
    above = np.maximum(level - truncation.floor_hu, 0.1).astype(np.float64)
    t = table.t_of(sd / above)
    s = sd / table.sd_of(t)
    mean = truncation.floor_hu + np.maximum(t * s, EMPTIEST_HU - truncation.floor_hu)
    return mean.astype(np.float32), (s * truncation.noise_ratio).astype(np.float32)


def _without_outliers(noise: FloatArray, region: BoolArray, limit: float = OUTLIER) -> FloatArray:
    """Square of ``noise`` (rows, columns), limited to ``limit`` times its robust SD in ``region``."""
    some = np.abs(noise[::2, ::2][region[::2, ::2]])
    highest = limit * 1.4826 * float(np.median(some)) if some.size else np.inf
    squared: FloatArray = np.minimum(np.abs(noise), np.float32(highest)) ** 2
    return squared
