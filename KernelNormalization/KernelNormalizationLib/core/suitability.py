"""Is this scan one that the normalization was made for? Said before the work, with reasons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .imaging.body import BodyRegion, find_body
from .imaging.reconstruction_plane import in_reconstruction_plane
from .kernels.mtf import kernel_number
from .kernels.noise_sharpness import SMOOTH_NUMBER, Sharpness, estimate_sharpness
from .kernels.told_kernel import kernel_in_use
from .truncation.hu_floor import HUFloor, detect_floor, floor_share
from .volume import CTVolume

Verdict = Literal["in domain", "untested kernel", "already smooth", "not a chest CT"]

# A tag and the noise that disagree by more kernel numbers than this contradict each other. Where the noise spectrum fits the
# B family, real B70f read 72, simulated B80f 78 to 80, and simulated B50f to B70f of randomised shape up to 6 beside their tag.
# The noise's autocorrelation alone cannot tell B60f from B80f.
TAG_TOLERANCE, TAG_TOLERANCE_WITHOUT_SPECTRUM = 15.0, 20.0
PIXEL_RANGE_MM = (0.5, 0.95)
THICK_SLICE_MM = 1.5
FLOOR_SHARE_LIMIT = 0.35
# Smallest aerated volume that can be a chest, mL; a collapsed adult lung pair at full expiration holds more.
MINIMUM_LUNG_ML = 400.0
ITERATIVE_MARKS = ("SAFIRE", "ADMIRE", "ASIR", "IDOSE", "AIDR", "DLIR", "TRUEFIDELITY")


@dataclass(frozen=True)
class Suitability:
    """What a scan is, and whether the normalization knows its kind.

    Attributes:
        verdict: traffic light in words.
        reasons: sentences for the user, most important first.
        sharpness: noise colour, if it could be read.
        floor: kind and value of the HU floor.
        lung_floor_share: share (0 to 1) of lung voxels stored at the floor.
        lung_ml: volume of the coarse lung region, mL.
        region: the body in the plane of reconstruction; ``None`` if there is none.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    sharpness: Sharpness | None
    floor: HUFloor
    lung_floor_share: float
    lung_ml: float
    region: BodyRegion | None = field(default=None, repr=False, compare=False)

    def as_record(self) -> dict[str, Any]:
        """For provenance and ``--json``."""
        sharpness = self.sharpness
        family = None if sharpness is None else sharpness.family
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "floor_kind": self.floor.kind,
            "floor_hu": self.floor.value,
            "lung_voxels_at_floor_percent": round(100.0 * self.lung_floor_share, 3),
            "noise_rho1": None if sharpness is None else round(sharpness.rho1, 3),
            "noise_sd_hu": None if sharpness is None else round(sharpness.noise_sd, 1),
            "kernel_number_from_noise": None if sharpness is None else round(sharpness.kernel_number, 1),
            "noise_misfit_to_b_family": None if family is None else round(family.misfit, 2),
        }


def assess(volume: CTVolume) -> Suitability:
    """Judge ``volume``.

    Everything that a method needs to know of the scan is found here, once, in the plane of its reconstruction.

    Raises:
        InputError: the volume is stored obliquely, so that the plane of its reconstruction cannot be known.
    """
    volume = in_reconstruction_plane(volume).volume
    region = find_body(volume)
    sharpness = estimate_sharpness(volume)
    floor = detect_floor(volume.hu, volume.padding_mask)
    lungs = region.lungs if region is not None else np.zeros(volume.shape, bool)
    share = floor_share(volume.hu, floor, lungs)
    lung_ml = float(np.count_nonzero(lungs)) * volume.geometry.voxel_volume_ml
    if lung_ml < MINIMUM_LUNG_ML:
        reason = f"Only {lung_ml:.0f} mL of aerated lung was found; at least {MINIMUM_LUNG_ML:.0f} mL are needed."
        return Suitability("not a chest CT", (reason,), sharpness, floor, share, lung_ml, region)
    smooth, smooth_reasons = _smoothness(volume, sharpness)
    kernel_reasons = _kernel_reasons(volume, sharpness)
    other = _geometry_reasons(volume) + _floor_reasons(floor, share)
    verdict: Verdict = "already smooth" if smooth else "untested kernel" if kernel_reasons else "in domain"
    return Suitability(verdict, (*smooth_reasons, *kernel_reasons, *other), sharpness, floor, share, lung_ml, region)


def kernel_contradiction(volume: CTVolume, sharpness: Sharpness | None) -> str | None:
    """What to tell the user where the noise contradicts the kernel that the user or the header names; else ``None``.

    Args:
        volume: the scan.
        sharpness: its noise colour, if it could be read.
    """
    kernel = kernel_in_use(volume.acquisition)
    tag = kernel_number(kernel)
    if tag is None or sharpness is None or abs(sharpness.kernel_number - tag) <= _tolerance(sharpness):
        return None
    by = "You named" if volume.acquisition.told_kernel is not None else "The header says"
    return f"{by} {kernel}, but the noise looks like B{sharpness.kernel_number:.0f}f."


def _smoothness(volume: CTVolume, sharpness: Sharpness | None) -> tuple[bool, tuple[str, ...]]:
    if volume.synthetic:
        return True, ("The volume is itself a normalized (synthetic) one; normalizing it again changes nothing of use.",)
    tag = kernel_number(kernel_in_use(volume.acquisition))
    told = tag is not None and volume.acquisition.told_kernel is not None
    number = tag if told or sharpness is None else sharpness.kernel_number
    if number is None or number > SMOOTH_NUMBER:
        return False, ()
    if told:
        return True, (f"The kernel that you named, {volume.acquisition.told_kernel}, is smooth; normalization is not needed.",)
    return True, (f"The noise is that of a smooth kernel (about B{number:.0f}f); normalization is not needed.",)


def _kernel_reasons(volume: CTVolume, sharpness: Sharpness | None) -> tuple[str, ...]:
    facts, reasons = volume.acquisition, []
    kernel = kernel_in_use(facts)
    tag = kernel_number(kernel)
    estimated = f"estimated from noise as sharp as B{sharpness.kernel_number:.0f}f" if sharpness else "not readable from noise"
    if kernel is None:
        left = "left to the noise, as you asked" if facts.told_kernel is not None else "unknown"
        reasons.append(f"Kernel {left}: {estimated}.")
    elif tag is None:
        reasons.append(f"Kernel {kernel} is not of the Siemens B family the method was made for; {estimated}.")
    elif (contradiction := kernel_contradiction(volume, sharpness)) is not None:
        reasons.append(contradiction)
    if facts.told_kernel is not None and facts.kernel is not None and facts.kernel != kernel:
        reasons.append(f"The header's kernel {facts.kernel} is not used.")
    if facts.is_siemens is False:
        reasons.append(f"The scanner is from {facts.manufacturer}; the method was made for Siemens.")
    marks = " ".join((facts.kernel or "", *facts.image_type)).upper()
    if any(mark in marks for mark in ITERATIVE_MARKS) or (facts.kernel or "").upper().startswith("I"):
        reasons.append("The reconstruction is iterative, whose noise is not that of a linear kernel.")
    # whatever happened to the files is outside what the method was tested on
    return (*reasons, *facts.reading_notes)


def _tolerance(sharpness: Sharpness) -> float:
    fits = sharpness.family is not None and sharpness.family.is_good
    return TAG_TOLERANCE if fits else TAG_TOLERANCE_WITHOUT_SPECTRUM


def _geometry_reasons(volume: CTVolume) -> tuple[str, ...]:
    reasons = []
    pixel = float(np.mean(volume.geometry.spacing[1:]))
    if not PIXEL_RANGE_MM[0] <= pixel <= PIXEL_RANGE_MM[1]:
        reasons.append(f"The pixels are {pixel:.2f} mm; {PIXEL_RANGE_MM[0]} to {PIXEL_RANGE_MM[1]} mm were trained.")
    thickness = volume.acquisition.slice_thickness_mm or volume.geometry.spacing[0]
    if thickness > THICK_SLICE_MM:
        reasons.append(f"The slices are {thickness:.1f} mm thick; emphysema indices are made for thin ones (up to 1.5 mm).")
    return tuple(reasons)


def _floor_reasons(floor: HUFloor, share: float) -> tuple[str, ...]:
    reasons = []
    if floor.kind == "none":
        reasons.append(f"The series is not truncated from below (lowest value {floor.value:.0f} HU).")
    elif floor.value != -1024.0:
        reasons.append(f"The HU floor is {floor.value:.0f}, not -1024.")
    if share > FLOOR_SHARE_LIMIT:
        reasons.append(f"{100 * share:.0f} % of the lung is stored at the HU floor; much of its density is lost.")
    return tuple(reasons)
