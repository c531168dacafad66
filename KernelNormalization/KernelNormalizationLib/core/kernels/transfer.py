"""Linear kernel transfer: which radial filter turns a volume into its B20f image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..imaging.body import BodyRegion, find_body
from ..volume import Acquisition, CTVolume
from .calibrated_transfer import OwnTransfer
from .ge_kernels import ge_kernel, ge_kernel_model
from .lung_spectrum import find_band_gain
from .mtf import TARGET_NUMBER, gain_to_b20f, kernel_number
from .noise_fit import FAMILY_MISFIT, LARGEST_GAIN, fit_free, gain_of_model, misfit_of
from .noise_sharpness import SMOOTH_NUMBER, Sharpness, estimate_sharpness
from .radial_filter import Gain
from .smoothness import smooth_by
from .told_kernel import kernel_in_use

Origin = Literal[
    "synthetic",
    "told by the user",
    "model",
    "tag",
    "published spectrum",
    "smooth noise",
    "noise like a B kernel",
    "noise spectrum",
    "lung spectrum",
    "noise colour",
    "assumed",
]
# Key of a record that is true where the volume is smooth already and is left as it is.
IDENTITY_KEY = "smooth_already"
# The paper's sharp kernel, for a volume that says nothing and shows neither lung nor homogeneous tissue.
ASSUMED_NUMBER = 80.0
# Noise above 1 lp/cm tells the shape of a transfer, but not how it reaches 1 at zero frequency: Philips L lifts 1.5 lp/cm by
# 1.6 where its noise, extrapolated, says 1.3. The level comes from the lungs' band energies at these frequencies. For that
# real pair L1 in the lungs is then 4.5 HU; 11.2 by the noise alone, 7.9 by the lungs alone, 4.8 by the gain measured on it.
LEVEL_LP_PER_CM = np.linspace(1.0, 3.0, 21)
LEVEL_FROM_LP_PER_CM = 0.8
LEVEL_LIMITS = (0.5, 1.25)


@dataclass(frozen=True)
class SourceTransfer:
    """The radial filter from a volume's kernel to B20f, and how it was found.

    Attributes:
        gain: gain against in-plane frequency (lp/cm).
        origin: in this order of precedence
            ``synthetic`` (already normalized: nothing to do),
            ``told by the user`` (a Siemens B kernel that the user named),
            ``tag`` of a smooth kernel,
            ``smooth noise`` (noise as smooth as the reference's neighbours', whatever kernel the header names: left as it is),
            ``model`` (measured on the pairs that the model was trained on),
            ``tag`` (Siemens B kernel in the header),
            ``published spectrum`` (GE kernel in the header whose published noise the scan's own agrees with),
            ``noise like a B kernel`` (no usable header: the scan's noise is that of a Siemens B kernel),
            ``noise spectrum`` (no such noise, or another maker's: square root of B20f's noise power over the scan's, its level
            from the lungs' band energies where there are lungs),
            ``lung spectrum`` (too little homogeneous tissue: the lungs' band energies against those of B20f lungs),
            ``noise colour`` (no lung either: kernel number with the noise's autocorrelation), or
            ``assumed`` (nothing to read).
        record: for provenance, JSON-serializable; says what was fitted and how well.
    """

    gain: Gain
    origin: Origin
    record: dict[str, Any]

    @property
    def is_identity(self) -> bool:
        """Whether the volume is on the reference kernel, or as smooth, already: it is left as it is."""
        return bool(self.record.get(IDENTITY_KEY))


def find_transfer(
    volume: CTVolume, region: BodyRegion | None = None, sharpness: Sharpness | None = None, own: OwnTransfer | None = None
) -> SourceTransfer:
    """The transfer to B20f that fits ``volume``.

    Args:
        volume: the scan.
        region: its body, if already found.
        sharpness: its noise colour, if already estimated.
        own: transfer of the model's centre, used for its kernel.
    """
    kernel = kernel_in_use(volume.acquisition)
    number = kernel_number(kernel)
    told = number is not None and volume.acquisition.told_kernel is not None
    if not volume.synthetic and (number is None or number > SMOOTH_NUMBER):
        sharpness = sharpness or estimate_sharpness(volume)
    smooth = smooth_by(volume, sharpness)
    if smooth is not None:
        named = smooth in ("told by the user", "tag")
        return _identity(float(number) if named and number is not None else float(TARGET_NUMBER), smooth)
    if own is not None and own.fits(kernel):
        named_by = {"kernel_told_by_user": kernel} if told else {}
        return SourceTransfer(own.gain, "model", {"source_kernel_from": "model", "source_kernel": own.kernel, **named_by})
    if number is not None:
        return _by_number(float(number), "told by the user" if told else "tag")
    region = region or find_body(volume)
    found = _published(volume.acquisition, sharpness) or _from_noise(volume, region, sharpness)
    return found or _without_spectrum(volume, region, sharpness)


def _identity(number: float, origin: Origin) -> SourceTransfer:
    record = {"source_kernel_from": origin, "source_kernel_number": round(number, 1), IDENTITY_KEY: True}
    return SourceTransfer(np.ones_like, origin, record)


def b20f_gain(number: float) -> Gain:
    """Gain from kernel ``number`` to B20f as a function of in-plane frequency (lp/cm); none if it is no sharper."""
    if number <= TARGET_NUMBER:
        return np.ones_like
    return lambda frequency: gain_to_b20f(number, frequency)


def _by_number(number: float, origin: Origin, **more: Any) -> SourceTransfer:
    record = {"source_kernel_from": origin, "source_kernel_number": round(number, 1), **more}
    return SourceTransfer(b20f_gain(number), origin, record)


def _published(acquisition: Acquisition, sharpness: Sharpness | None) -> SourceTransfer | None:
    """For a GE kernel with a published spectrum, unless the scan's own noise contradicts it."""
    name = ge_kernel(acquisition) if acquisition.told_kernel is None else None
    if name is None:
        return None
    model = ge_kernel_model(name)
    record: dict[str, Any] = {"source_kernel_from": "published spectrum", "source_kernel": f"GE {name}"}
    if sharpness is not None and sharpness.spectrum is not None:
        misfit = misfit_of(sharpness.spectrum, model.mtf)
        if misfit > FAMILY_MISFIT:
            return None
        record["noise_misfit"] = round(misfit, 2)
    return SourceTransfer(gain_of_model(model), "published spectrum", record)


def _from_noise(volume: CTVolume, region: BodyRegion | None, sharpness: Sharpness | None) -> SourceTransfer | None:
    """From the scan's noise spectrum: a Siemens B kernel's, or any that the transfer model describes."""
    if sharpness is None or sharpness.spectrum is None or sharpness.family is None:
        return None
    seen = {"noise_patches": sharpness.spectrum.patches, "noise_slices_subtracted": sharpness.spectrum.from_differences}
    family = sharpness.family
    # Another maker's kernel may look like a B kernel and pass other shares of the low frequencies.
    if family.is_good and volume.acquisition.is_siemens is not False:
        fitted = {"noise_number": round(family.number, 1), "noise_misfit": round(family.misfit, 2)}
        return _by_number(family.published, "noise like a B kernel", **fitted, **seen)
    free = fit_free(sharpness.spectrum)
    if not free.is_good:
        return None
    record = {"source_kernel_from": "noise spectrum", "noise_fit": free.as_record(), "noise_misfit": round(free.misfit, 2)}
    gain = gain_of_model(free.model)
    if region is not None and region.lungs.any():
        level = _lung_level(gain, find_band_gain(volume, region)[0])
        gain, record["lung_level"] = _with_level(gain, level), round(level, 3)
    return SourceTransfer(gain, "noise spectrum", {**record, **seen})


def _lung_level(gain: Gain, lung_gain: Gain) -> float:
    """By how much the lungs' band energies ask for another level of ``gain`` where they hold their texture."""
    ratio = lung_gain(LEVEL_LP_PER_CM) / gain(LEVEL_LP_PER_CM)
    return float(np.clip(np.exp(np.mean(np.log(ratio))), *LEVEL_LIMITS))


def _with_level(gain: Gain, level: float) -> Gain:
    """``gain`` times ``level`` above the frequencies that noise cannot show, and still 1 at zero frequency."""

    def levelled(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        share = 1.0 - np.exp(-((frequency / LEVEL_FROM_LP_PER_CM) ** 2))
        result: NDArray[np.float64] = np.minimum(gain(frequency) * (1.0 + (level - 1.0) * share), LARGEST_GAIN)
        return result

    return levelled


def _without_spectrum(volume: CTVolume, region: BodyRegion | None, sharpness: Sharpness | None) -> SourceTransfer:
    if region is not None and region.lungs.any():
        gain, record = find_band_gain(volume, region)
        return SourceTransfer(gain, "lung spectrum", {"source_kernel_from": "lung spectrum", **record})
    if sharpness is not None:
        return _by_number(sharpness.kernel_number, "noise colour")
    return _by_number(ASSUMED_NUMBER, "assumed")
