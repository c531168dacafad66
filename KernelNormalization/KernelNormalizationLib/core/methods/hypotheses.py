"""By how much the emphysema index would change under properties of the scanner that one sharp scan does not determine.

There are three such properties of a Siemens B kernel: how far this scanner's kernel differs from the usual kernel of that name
(an alternative is estimated from the noise); whether the scanner's smooth kernels amplify coarse detail compared with its sharp
ones (measured on one scanner between B50f, B70f and B10f, B30f; absent on another between B70f and B40f); and how many images
were averaged into a slice after each had been cut off at the HU floor. For other kernels, whose transfer rests on noise alone,
there is a level instead of the first two: noise does not show how much a kernel passes compared with zero frequency. Some
slices are restored again under each of these hypotheses. The change of their share of lung below -950 HU is written to the
provenance record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..arrays import EMPHYSEMA_THRESHOLD_HU, BoolArray, FloatArray
from ..errors import InputError
from ..imaging.body import BodyRegion
from ..kernels.mtf import KERNELS, MINIMUM_MTF, TARGET_NUMBER, gain_to_b20f, kernel_mtf
from ..kernels.noise_fit import fit_near
from ..kernels.noise_sharpness import Sharpness
from ..kernels.radial_filter import Gain
from ..kernels.transfer import SourceTransfer, with_level
from ..truncation.model import Truncation
from ..truncation.restoration import RestorationPlan, Restorer
from ..volume import CTVolume

# Shares of the measured low-frequency lift; the transfer by family number has all of it. It was measured on one scanner;
# others may have more as well as less, up to 1.3 in the simulated scanners outside the training range.
CHOSEN_LIFT, OTHER_LIFTS = 1.0, (1.3, 0.5, 0.0)
# Sources of a transfer that rest on noise or texture alone, and factors on their gains above 1 lp/cm. By noise alone, gains
# from Siemens B50f and B70f were up to 11 % too low, and that of Philips L 19 % too high (kernels/ge_kernels.py, transfer.py).
# From the texture of the lungs the level is known less well: relative to the coarse bands, that of B20f lungs varies by a third
# between patients (kernels/lung_spectrum.py).
OTHER_LEVELS = {"published spectrum": (1.15, 0.87), "noise spectrum": (1.15, 0.87), "lung spectrum": (1.4, 0.7)}
CHOSEN_LEVEL = 1.0
# Frequencies (lp/cm) at which a transfer is compared with that of its kernel number (records round the number to 0.1), and the
# largest difference allowed.
COMPARED_LP_PER_CM, SAME_GAIN = np.linspace(0.0, 7.0, 29), 0.01
# The gain by the scan's own noise never amplifies more than that of a published kernel, either.
LARGEST_RATIO = 1.5
# Left-open truncations that are tried: those that restore least and most.
TRIED_TRUNCATIONS = 4
# At most so many slices, and fewer of large images, so that the time is bounded (README: a few CPU-seconds).
SLICES, PIXELS = 8, 8 * 400 * 320
# Slices with at least this share of the largest lung area are sampled.
FULL_SHARE = 0.5
# Lungs are cut out with this margin, pixels: more than the transfer reaches.
MARGIN_PIXELS = 24
MINIMUM_LUNG_VOXELS = 2000
# The coarse lungs leave out a rim of a third of the lung, where a wrong gain does most: beside the chest wall the index of
# simulated scans moves up to six times as much as in the middle. They are grown back to where the slice, smoothed, is lung.
RIM_PIXELS, RIM_SIGMA, RIM_HU = 12, 2.0, -500.0
# Used where the histogram gives no answer: numbers of images that scanners were found to average (1 to 6), and one step more.
ANY_IMAGES, TYPICAL_CORRELATION = (1, 2, 4, 8), 0.24
# The average of a dozen hardly correlated images has no voxels at the floor, so a scan without an answer may be such a scan.
MANY_IMAGES, MANY_CORRELATION = 12, 0.1


@dataclass(frozen=True)
class LungSample:
    """The lungs' rectangle of some slices.

    Attributes:
        images: float32 (n, rows, columns), HU, as stored, padding as air.
        lungs: bool (n, rows, columns), lung up to the chest wall.
        pixel_mm: (row, column) spacing, mm.
        numbers: which slices they are.
        box: their rows and columns in the volume.
    """

    images: FloatArray
    lungs: BoolArray
    pixel_mm: tuple[float, float]
    numbers: tuple[int, ...]
    box: tuple[slice, slice]

    @classmethod
    def of(cls, volume: CTVolume, region: BodyRegion) -> LungSample | None:
        """Evenly spread slices among those with most lung; ``None`` with too little lung."""
        area = np.count_nonzero(region.lungs, axis=(1, 2))
        if int(area.sum()) < MINIMUM_LUNG_VOXELS:
            return None
        full = np.flatnonzero(area >= FULL_SHARE * area.max())
        box = _box(np.asarray(region.lungs[full].any(axis=0)))
        size = (box[0].stop - box[0].start) * (box[1].stop - box[1].start)
        wanted = int(np.clip(PIXELS // size, 1, min(SLICES, len(full))))
        # The middles of equal parts, so that one slice is the middle one.
        numbers = full[((np.arange(wanted) + 0.5) * len(full) / wanted).astype(np.intp)]
        images = volume.filled()[numbers][:, box[0], box[1]].astype(np.float32)
        lungs = np.stack([_to_the_wall(region.lungs[n], region.body[n], volume.hu[n]) for n in numbers])[:, box[0], box[1]]
        return cls(images, lungs, volume.geometry.spacing[1:], tuple(int(n) for n in numbers), box)

    def index_with(self, restorer: Restorer, plan: RestorationPlan) -> float:
        """Share (%) of the lungs below -950 HU after restoration by ``plan`` and transfer."""
        below = sum(
            int(np.count_nonzero(restorer.restore(image, plan.of_slice(k)).base[lungs] < EMPHYSEMA_THRESHOLD_HU))
            for k, image, lungs in zip(self.numbers, self.images, self.lungs, strict=True)
        )
        return 100.0 * below / int(np.count_nonzero(self.lungs))

    def restorer(self, gain: Gain) -> Restorer:
        """For its slices and ``gain``."""
        rows, columns = self.images.shape[1:]
        return Restorer((rows, columns), self.pixel_mm, gain)


def _to_the_wall(lungs: BoolArray, body: BoolArray, hu: FloatArray) -> BoolArray:
    """Coarse lungs of a slice (rows, columns) grown as far as the slice, HU, is lung, vessels included."""
    aerated = body & (ndimage.gaussian_filter(hu, RIM_SIGMA) < RIM_HU)
    grown = ndimage.binary_dilation(lungs, iterations=RIM_PIXELS, mask=aerated)
    return np.asarray(ndimage.binary_fill_holes(grown))


def hypotheses_record(
    volume: CTVolume,
    region: BodyRegion | None,
    transfer: SourceTransfer,
    plan: RestorationPlan | None,
    sharpness: Sharpness | None = None,
) -> dict[str, Any]:
    """By how much the emphysema index would change under each hypothesis that the scan does not exclude.

    Args:
        volume: the scan.
        region: its body and coarse lungs, ``None`` if it has none.
        transfer: the chosen transfer to B20f.
        plan: the chosen restoration; ``None`` if nothing was restored, as without an HU floor.
        sharpness: the scan's noise, if it could be read.

    Returns:
        JSON-serializable, for the provenance key ``ei_hypotheses``: ``ei_percent`` of the chosen on the sampled slices, and
        ``open``, an entry for the ``kernel``, one for the ``lift`` (or, where the transfer rests on noise alone, one for the
        ``level``) and one for the ``truncation``. Each has either
        ``shifts`` (hypotheses, the chosen first, with ``points``, percentage points of EI against the chosen, and the
        ``chi2`` of a truncation) or the ``reason`` why there is none.
    """
    if transfer.is_identity:
        return no_hypotheses("the scan was smooth already and was left as it is")
    sample = LungSample.of(volume, region) if region is not None else None
    if sample is None:
        return no_hypotheses("too little lung was found to measure an index in")
    kept = plan or RestorationPlan(Truncation(), Truncation(), 1.0)
    restorer = sample.restorer(transfer.gain)
    chosen = sample.index_with(restorer, kept) if plan else _index_without(sample, restorer)
    if transfer.origin in OTHER_LEVELS:
        of_transfer = {"level": _attempt(lambda: _of_levels(sample, transfer, plan, chosen))}
    else:
        of_transfer = {
            "kernel": _attempt(lambda: _of_kernel(sample, transfer, plan, chosen, sharpness)),
            "lift": _attempt(lambda: _of_lifts(sample, transfer, plan, chosen)),
        }
    return {
        "slices": list(sample.numbers),
        "lung_voxels": int(np.count_nonzero(sample.lungs)),
        "ei_percent": round(chosen, 3),
        "open": {
            **of_transfer,
            "truncation": _attempt(lambda: _of_truncations(sample, restorer, plan, chosen)),
        },
    }


def _attempt(compute: Callable[[], list[dict[str, Any]]]) -> dict[str, Any]:
    """The shifts, or why there are none."""
    try:
        return {"shifts": compute()}
    except InputError as error:
        return {"reason": str(error)}


def no_hypotheses(reason: str) -> dict[str, Any]:
    """The record of a volume for which no hypothesis can be tried."""
    return {"open": {"kernel": {"reason": reason}, "lift": {"reason": reason}, "truncation": {"reason": reason}}}


def _of_kernel(
    sample: LungSample,
    transfer: SourceTransfer,
    plan: RestorationPlan | None,
    chosen: float,
    sharpness: Sharpness | None,
) -> list[dict[str, Any]]:
    number = _family_number(transfer)
    if sharpness is None or sharpness.spectrum is None:
        raise InputError("the scan shows too little homogeneous tissue to read its noise in")
    published = KERNELS[min(KERNELS, key=lambda known: abs(known - number))]
    own = fit_near(sharpness.spectrum, published)

    def gain(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        ratio = kernel_mtf(published.number, frequency) / np.maximum(own.mtf(frequency), MINIMUM_MTF)
        changed: NDArray[np.float64] = transfer.gain(frequency) * np.minimum(ratio, LARGEST_RATIO)
        return changed

    restorer = sample.restorer(gain)
    index = sample.index_with(restorer, plan) if plan else _index_without(sample, restorer)
    return [{"kernel": "tag", "points": 0.0}, {"kernel": "noise", "points": round(index - chosen, 3)}]


def _of_lifts(
    sample: LungSample, transfer: SourceTransfer, plan: RestorationPlan | None, chosen: float
) -> list[dict[str, Any]]:
    number = _family_number(transfer)
    shifts = [{"lift": CHOSEN_LIFT, "points": 0.0}]
    for lift in OTHER_LIFTS:
        restorer = sample.restorer(_lifted(number, lift))
        index = sample.index_with(restorer, plan) if plan else _index_without(sample, restorer)
        shifts.append({"lift": lift, "points": round(index - chosen, 3)})
    return shifts


def _of_levels(
    sample: LungSample, transfer: SourceTransfer, plan: RestorationPlan | None, chosen: float
) -> list[dict[str, Any]]:
    shifts = [{"level": CHOSEN_LEVEL, "points": 0.0}]
    for level in OTHER_LEVELS[transfer.origin]:
        restorer = sample.restorer(with_level(transfer.gain, level))
        index = sample.index_with(restorer, plan) if plan else _index_without(sample, restorer)
        shifts.append({"level": level, "points": round(index - chosen, 3)})
    return shifts


def _family_number(transfer: SourceTransfer) -> float:
    """Number of the Siemens kernel whose transfer was taken.

    Raises:
        InputError: the transfer was not chosen by a kernel number, so that the lift is not part of it or cannot be separated.
    """
    number = transfer.record.get("source_kernel_number")
    if not isinstance(number, int | float):
        raise InputError(f"the kernel transfer came from another source ({transfer.origin}) than a Siemens kernel's name")
    if number <= TARGET_NUMBER:
        raise InputError("the kernel is no sharper than B20f")
    chosen = _lifted(number, CHOSEN_LIFT)(COMPARED_LP_PER_CM)
    if np.abs(transfer.gain(COMPARED_LP_PER_CM) - chosen).max() > SAME_GAIN:
        raise InputError(f"the transfer ({transfer.origin}) is not that of the kernel number {number:g}")
    return float(number)


def _lifted(number: float, lift: float) -> Gain:
    return lambda frequency: gain_to_b20f(number, frequency, lift=lift)


def _of_truncations(
    sample: LungSample, restorer: Restorer, plan: RestorationPlan | None, chosen: float
) -> list[dict[str, Any]]:
    if plan is None:
        raise InputError("the scan was not truncated")
    tried = extremes(plan)
    shifts = [{**plan.lungs.as_record(), "chi2": _chi2_of(plan), "points": 0.0}]
    for entry in tried:
        truncation = Truncation(float(entry["floor_hu"]), _normalized(entry["weights"]), float(entry["correlation"]))
        other = replace(plan, lungs=truncation, noise_share=float(entry["noise_share"]))
        points = round(sample.index_with(restorer, other) - chosen, 3)
        shifts.append({**truncation.as_record(), "chi2": entry["chi2"], "points": points})
    return shifts


def _chi2_of(plan: RestorationPlan) -> float | None:
    """Misfit of the chosen truncation; ``None`` if it was chosen for another reason than its fit."""
    chosen = plan.lungs.as_record()
    fits = [float(entry["chi2"]) for entry in plan.evidence["left_open"] if all(entry[key] == chosen[key] for key in chosen)]
    return min(fits, default=None)


def extremes(plan: RestorationPlan) -> list[dict[str, Any]]:
    """Of the truncations that the scan does not exclude, without the chosen one, those that restore least and most.

    Raises:
        InputError: the truncation was given.
    """
    found = plan.evidence.get("left_open")
    if found is None:
        raise InputError("the truncation was given, not read from the scan")
    chosen = plan.lungs.as_record()
    if not found:
        share = {"noise_share": plan.noise_share, "chi2": None}
        floor_hu = plan.lungs.floor_hu
        any_other = [Truncation.of_equal_images(n, TYPICAL_CORRELATION, floor_hu).as_record() for n in ANY_IMAGES]
        any_other.append(Truncation.of_equal_images(MANY_IMAGES, MANY_CORRELATION, floor_hu).as_record())
        return [{**record, **share} for record in any_other if record != chosen]
    chosen["noise_share"] = round(plan.noise_share, 3)
    others = [entry for entry in found if any(entry[key] != chosen[key] for key in chosen)]
    others.sort(key=lambda entry: float(entry["loss_hu"]))
    half = TRIED_TRUNCATIONS // 2
    return others if len(others) <= TRIED_TRUNCATIONS else others[:half] + others[-half:]


def _index_without(sample: LungSample, restorer: Restorer) -> float:
    """Share (%) of the lungs below -950 HU after the transfer alone."""
    bases = (restorer.start(image).base for image in sample.images)
    below = sum(
        int(np.count_nonzero(base[lungs] < EMPHYSEMA_THRESHOLD_HU)) for base, lungs in zip(bases, sample.lungs, strict=True)
    )
    return 100.0 * below / int(np.count_nonzero(sample.lungs))


def _normalized(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights of a record, which are rounded, with sum 1."""
    total = float(sum(weights))
    return tuple(float(w) / total for w in weights)


def _box(mask: BoolArray) -> tuple[slice, slice]:
    """The rectangle that holds ``mask`` (rows, columns), with a margin."""
    spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    rows, columns = (
        slice(max(0, int(s[0]) - MARGIN_PIXELS), min(n, int(s[-1]) + 1 + MARGIN_PIXELS))
        for s, n in zip(spans, mask.shape, strict=True)
    )
    return rows, columns
