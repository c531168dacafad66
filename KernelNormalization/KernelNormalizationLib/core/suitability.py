"""Is this scan one that the normalization was made for? Said before the work, with reasons: the gate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np

from .arrays import EMPHYSEMA_THRESHOLD_HU
from .domain_reasons import FLOOR_SHARE_LIMIT, outside_domain, worth_knowing, worth_knowing_of_smooth
from .errors import InputError
from .imaging.body import BodyRegion, find_body
from .imaging.reconstruction_plane import in_reconstruction_plane
from .kernels.contradiction import kernel_contradiction, lies_smooth
from .kernels.kernel_names import KernelName, kernel_name
from .kernels.noise_sharpness import SMOOTH_NUMBER, Sharpness, estimate_sharpness
from .kernels.smoothness import smooth_by
from .kernels.told_kernel import kernel_in_use
from .network.model_domain import Domain
from .network.model_folder import shipped_domain
from .truncation.hu_floor import HUFloor, detect_floor, floor_share
from .volume import CTVolume

Verdict = Literal["in domain", "untested", "already smooth", "refuse"]
REFUSED: Verdict = "refuse"

# Smallest aerated volume that can be a chest, mL; a collapsed adult lung pair at full expiration holds more.
MINIMUM_LUNG_ML = 400.0
# A short block through the thorax holds less, but shows lung on every slice: mean area, cm2. Real single slices through the
# lungs have 130 to 240; head, phantom and slices through the abdomen 17 to 70.
MINIMUM_LUNG_CM2 = 100.0
# Lungs whose median is lower than this hold air and no tissue: a phantom's cavities, which read -995 HU or less. Simulated
# patients with 40 % emphysema have a median of about -940 HU.
EMPTY_LUNG_HU = -975.0


@dataclass(frozen=True)
class Suitability:
    """What a scan is, and whether the normalization knows its kind.

    Attributes:
        verdict: "in domain": the kind of scan that the model was made for and tested on. "untested": another kind; the result
            may be good or not, nobody has measured it. "already smooth": nothing is to be done, and nothing will be. "refuse":
            a number from this scan would be wrong; it is not normalized unless the user overrides that.
        reasons: sentences for the user, most important first.
        sharpness: noise colour, if it could be read.
        floor: kind and value of the HU floor.
        lung_floor_share: share (0 to 1) of lung voxels stored at the floor.
        lung_ml: volume of the coarse lung region, mL.
        region: the body in the plane of reconstruction; ``None`` if there is none.
        name: what the kernel's name and the header tell.
        contradiction: what to say where noise and name contradict each other.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    sharpness: Sharpness | None
    floor: HUFloor
    lung_floor_share: float
    lung_ml: float
    region: BodyRegion | None = field(default=None, repr=False, compare=False)
    name: KernelName = field(default_factory=KernelName)
    contradiction: str | None = None

    @property
    def refused(self) -> bool:
        """Whether the scan is not normalized unless the user overrides the gate."""
        return self.verdict == REFUSED

    def as_record(self) -> dict[str, Any]:
        """For provenance and ``--json``."""
        sharpness = self.sharpness
        family = None if sharpness is None else sharpness.family
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "kernel_in_words": self.name.in_words(),
            "kernel_sharpness": self.name.sharpness,
            "reconstruction": self.name.reconstruction,
            "kernel_contradicted_by_noise": self.contradiction is not None,
            "floor_kind": self.floor.kind,
            "floor_hu": self.floor.value,
            "lung_voxels_at_floor_percent": round(100.0 * self.lung_floor_share, 3),
            "noise_read_in": None if sharpness is None else sharpness.place,
            "noise_rho1": None if sharpness is None else round(sharpness.rho1, 3),
            "noise_sd_hu": None if sharpness is None else round(sharpness.noise_sd, 1),
            "kernel_number_from_noise": None if sharpness is None else round(sharpness.kernel_number, 1),
            "noise_misfit_to_b_family": None if family is None else round(family.misfit, 2),
        }


@dataclass(frozen=True)
class _Seen:
    """What the voxels of a scan show, whatever its header says and whatever model is asked."""

    region: BodyRegion | None
    sharpness: Sharpness | None
    floor: HUFloor
    lost_share: float
    lung_ml: float
    lung_median: float
    lung_cm2: float

    @property
    def is_block(self) -> bool:
        """Whether it is too short for a chest, and shows lung all the same."""
        return self.lung_ml < MINIMUM_LUNG_ML and self.lung_cm2 >= MINIMUM_LUNG_CM2


# The panel, the gate and the method ask of the same scan, and looking takes seconds.
_SEEN: WeakKeyDictionary[CTVolume, _Seen] = WeakKeyDictionary()


def assess(volume: CTVolume, domain: Domain | None = None) -> Suitability:
    """Judge ``volume``.

    Everything that a method needs to know of the scan is found here, once, in the plane of its reconstruction.

    Args:
        volume: the scan.
        domain: what the model was made for; by default the model's that is used unless another is asked for.

    Raises:
        InputError: the volume is stored obliquely, so that the plane of its reconstruction cannot be known.
    """
    domain = domain or shipped_domain()
    seen = _seen(volume)
    name = kernel_name(volume.acquisition)
    contradiction = kernel_contradiction(volume, seen.sharpness)
    verdict, reasons = _judged(volume, seen, name, domain)
    return Suitability(
        verdict, reasons, seen.sharpness, seen.floor, seen.lost_share, seen.lung_ml, seen.region, name, contradiction
    )


def require_accepted(suitability: Suitability, override: bool) -> None:
    """The gate: a scan that is refused goes no further, unless the user overrides that.

    Raises:
        InputError: the scan is refused; the message says why and what to do.
    """
    if suitability.refused and not override:
        raise InputError(
            f"The scan is refused: {' '.join(suitability.reasons)} If you know better, override this (--override-gate "
            "of ctkernel normalize, or “Normalize it anyway” in the panel); record and reports of the result then say so."
        )


def _seen(volume: CTVolume) -> _Seen:
    found = _SEEN.get(volume)
    if found is None:
        found = _SEEN[volume] = _look(in_reconstruction_plane(volume).volume)
    return found


def _look(volume: CTVolume) -> _Seen:
    region = find_body(volume)
    floor = detect_floor(volume.hu, volume.padding_mask)
    lungs = region.lungs if region is not None else np.zeros(volume.shape, bool)
    lung_ml = float(np.count_nonzero(lungs)) * volume.geometry.voxel_volume_ml
    median = float(np.median(volume.hu[lungs])) if lungs.any() else 0.0
    area = lung_ml / (0.1 * volume.shape[0] * volume.geometry.spacing[0])
    return _Seen(region, estimate_sharpness(volume), floor, floor_share(volume.hu, floor, lungs), lung_ml, median, area)


def _judged(volume: CTVolume, seen: _Seen, name: KernelName, domain: Domain) -> tuple[Verdict, tuple[str, ...]]:
    if volume.synthetic:
        return "already smooth", ("The volume is a normalized (synthetic) one already and is left as it is.",)
    refusals = _refusals(volume, seen)
    if refusals:
        return REFUSED, refusals
    flat = in_reconstruction_plane(volume).volume
    other = worth_knowing(flat, seen.floor, domain)
    if seen.is_block:
        other += (f"The volume is a short block with {seen.lung_ml:.0f} mL of lung; its indices are not those of the lungs.",)
    smooth = _smoothness(volume, seen.sharpness)
    if smooth is not None:
        contradiction = kernel_contradiction(volume, seen.sharpness)
        first = (smooth,) if contradiction is None else (contradiction, smooth)
        return "already smooth", (*first, *worth_knowing_of_smooth(flat, name, seen.lost_share, domain), *other)
    outside = outside_domain(flat, name, seen.sharpness, seen.lost_share, domain)
    return ("untested" if outside else "in domain"), (*outside, *other)


def _refusals(volume: CTVolume, seen: _Seen) -> tuple[str, ...]:
    modality = volume.acquisition.modality
    if modality not in (None, "CT"):
        return (f"The series is {modality}, not CT.",)
    if seen.lung_ml < MINIMUM_LUNG_ML and not seen.is_block:
        return (
            f"Only {seen.lung_ml:.0f} mL of aerated lung was found; at least {MINIMUM_LUNG_ML:.0f} mL are needed. This is "
            "not a chest CT, or lung is missing from it.",
        )
    if seen.lung_median < EMPTY_LUNG_HU and seen.lost_share <= FLOOR_SHARE_LIMIT:
        return (
            f"What looks like lungs is only air (median {seen.lung_median:.0f} HU), not lung tissue; this is not a chest CT.",
        )
    if seen.floor.cut_off_all_below(EMPHYSEMA_THRESHOLD_HU):
        return (
            f"All values below {seen.floor.value:.0f} HU were cut off, and with them what emphysema is measured by. Load the "
            "scan as the scanner stored it.",
        )
    if lies_smooth(volume, seen.sharpness):
        return (
            f"{kernel_contradiction(volume, seen.sharpness)} One of them is wrong; measured as smooth, the noise would "
            "count as emphysema. Name the kernel (such as B70f), or “noise” to go by the noise.",
        )
    return ()


def _smoothness(volume: CTVolume, sharpness: Sharpness | None) -> str | None:
    """Why nothing is to be done, for the user; ``None`` if something is."""
    by, kernel = smooth_by(volume, sharpness), kernel_in_use(volume.acquisition)
    read = f"about B{sharpness.kernel_number:.0f}f" if sharpness is not None else ""
    if by == "told by the user":
        return f"The kernel that you named, {kernel}, is smooth; normalization is not needed."
    if by == "tag":
        return f"The header's kernel {kernel} is smooth{_noise_of_smooth(sharpness)}; normalization is not needed."
    if by == "smooth noise":
        return f"The noise is that of a smooth kernel ({read}); normalization is not needed."
    return None


def _noise_of_smooth(sharpness: Sharpness | None) -> str:
    """What the noise says of a kernel that is smooth by its name."""
    if sharpness is None:
        return ""
    read = f"about B{sharpness.kernel_number:.0f}f"
    if sharpness.kernel_number <= SMOOTH_NUMBER:
        return f", and the noise agrees ({read})"
    if not sharpness.is_telling:
        return f", and there is too little noise to tell ({read})"
    return f"; the noise looks a little sharper ({read}), within the error of the estimate"
