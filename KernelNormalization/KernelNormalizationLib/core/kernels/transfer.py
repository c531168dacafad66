"""Linear kernel transfer: finds the radial filter that turns a volume into its B20f image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..imaging.body import BodyRegion, find_body
from ..volume import Acquisition, CTVolume
from .calibrated_transfer import OwnTransfer
from .ge_kernels import ge_kernel, ge_transfer
from .lung_spectrum import find_band_gain
from .mtf import TARGET_NUMBER, gain_to_b20f, kernel_number
from .noise_fit import FAMILY_MISFIT, LARGEST_GAIN, fit_free, gain_of, misfit_of
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
# Key in the record; its value is true if the volume is smooth already and is left unchanged.
IDENTITY_KEY = "smooth_already"
# Assumed for a volume without a known kernel that shows neither lung nor homogeneous tissue: the paper's sharp kernel.
ASSUMED_NUMBER = 80.0
# The noise above 1 lp/cm shows the shape of a transfer, but not its level relative to zero frequency: Philips L amplifies
# 1.5 lp/cm by 1.6, whereas its extrapolated noise suggests 1.3. So the level is taken from the band energies of the lungs at
# these frequencies. For that real pair, L1 in the lungs is then 4.5 HU, compared with 11.2 from the noise alone, 7.9 from the
# lungs alone, and 4.8 with the gain measured on the pair itself.
LEVEL_LP_PER_CM = np.linspace(1.0, 3.0, 21)
LEVEL_FROM_LP_PER_CM = 0.8
LEVEL_LIMITS = (0.5, 1.25)


@dataclass(frozen=True)
class SourceTransfer:
    """The radial filter from a volume's kernel to B20f, and how it was found.

    Attributes:
        gain: gain as a function of in-plane frequency (lp/cm).
        origin: source of the filter, in this order of precedence:
            ``synthetic`` (already normalized: nothing to do),
            ``told by the user`` (a Siemens B kernel that the user named),
            ``tag`` (smooth Siemens B kernel in the header: left unchanged),
            ``smooth noise`` (the noise is that of a smooth kernel, whatever the header says: left unchanged),
            ``model`` (measured on the pairs that the model was trained on),
            ``tag`` (sharp Siemens B kernel in the header),
            ``published spectrum`` (GE kernel in the header, unless the noise of the scan contradicts its published spectrum),
            ``noise like a B kernel`` (no usable header, and the noise is that of a Siemens B kernel),
            ``noise spectrum`` (other noise, or another maker: square root of the noise power of B20f over that of the scan; if
            there are lungs, their band energies set the level),
            ``lung spectrum`` (too little homogeneous tissue: band energies of the lungs compared with those of B20f lungs),
            ``noise colour`` (no lung either: kernel number that has the autocorrelation of the noise), or
            ``assumed`` (nothing could be measured).
        record: for provenance, JSON-serializable; says what was fitted and how well.
    """

    gain: Gain
    origin: Origin
    record: dict[str, Any]

    @property
    def is_identity(self) -> bool:
        """Whether the volume is as smooth as the reference kernel already and is left unchanged."""
        return bool(self.record.get(IDENTITY_KEY))


def find_transfer(
    volume: CTVolume, region: BodyRegion | None = None, sharpness: Sharpness | None = None, own: OwnTransfer | None = None
) -> SourceTransfer:
    """Find the transfer from the kernel of ``volume`` to B20f.

    Args:
        volume: the scan.
        region: its body region, if already found.
        sharpness: its measured noise, if already measured.
        own: transfer that travels with the model, used for scans with the kernel it was measured for.
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
    """Gain from kernel ``number`` to B20f as a function of in-plane frequency (lp/cm); 1 everywhere up to number 20."""
    if number <= TARGET_NUMBER:
        return np.ones_like
    return lambda frequency: gain_to_b20f(number, frequency)


def _by_number(number: float, origin: Origin, **more: Any) -> SourceTransfer:
    record = {"source_kernel_from": origin, "source_kernel_number": round(number, 1), **more}
    return SourceTransfer(b20f_gain(number), origin, record)


def _published(acquisition: Acquisition, sharpness: Sharpness | None) -> SourceTransfer | None:
    """Transfer of a GE kernel with a published spectrum; ``None`` if there is none or the noise of the scan contradicts it."""
    name = ge_kernel(acquisition) if acquisition.told_kernel is None else None
    if name is None:
        return None
    kernel = ge_transfer(name)
    record: dict[str, Any] = {"source_kernel_from": "published spectrum", "source_kernel": f"GE {name}"}
    if sharpness is not None and sharpness.spectrum is not None:
        misfit = misfit_of(sharpness.spectrum, kernel)
        if misfit > FAMILY_MISFIT:
            return None
        record["noise_misfit"] = round(misfit, 2)
    return SourceTransfer(gain_of(kernel), "published spectrum", record)


def _from_noise(volume: CTVolume, region: BodyRegion | None, sharpness: Sharpness | None) -> SourceTransfer | None:
    """Transfer from the noise spectrum of the scan: that of a Siemens B kernel, or else a fit of the free transfer model."""
    if sharpness is None or sharpness.spectrum is None or sharpness.family is None:
        return None
    seen = {"noise_patches": sharpness.spectrum.patches, "noise_slices_subtracted": sharpness.spectrum.from_differences}
    family = sharpness.family
    # A kernel of another maker may have the noise of a B kernel and yet another transfer at low frequency.
    if family.is_good and volume.acquisition.is_siemens is not False:
        fitted = {"noise_number": round(family.number, 1), "noise_misfit": round(family.misfit, 2)}
        return _by_number(family.published, "noise like a B kernel", **fitted, **seen)
    free = fit_free(sharpness.spectrum)
    if not free.is_good:
        return None
    record = {"source_kernel_from": "noise spectrum", "noise_fit": free.as_record(), "noise_misfit": round(free.misfit, 2)}
    gain = gain_of(free.model.mtf)
    if region is not None and region.lungs.any():
        level = _lung_level(gain, find_band_gain(volume, region)[0])
        gain, record["lung_level"] = with_level(gain, level), round(level, 3)
    return SourceTransfer(gain, "noise spectrum", {**record, **seen})


def _lung_level(gain: Gain, lung_gain: Gain) -> float:
    """Factor by which the band energies of the lungs differ from ``gain`` at the frequencies of the lung texture."""
    ratio = lung_gain(LEVEL_LP_PER_CM) / gain(LEVEL_LP_PER_CM)
    return float(np.clip(np.exp(np.mean(np.log(ratio))), *LEVEL_LIMITS))


def with_level(gain: Gain, level: float) -> Gain:
    """``gain`` times ``level``; the factor fades to 1 towards zero frequency, where the gain must stay 1."""

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
