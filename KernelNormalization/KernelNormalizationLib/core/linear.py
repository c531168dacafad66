"""Linear kernel transfer: which radial filter turns a volume into its B20f image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .bands import find_band_gain
from .body import BodyRegion, find_body
from .kernels import TARGET_NUMBER, gain_to_b20f, kernel_number
from .owntransfer import OwnTransfer
from .radial import Gain
from .sharpness import SMOOTH_NUMBER, Sharpness, estimate_sharpness
from .volume import CTVolume

Origin = Literal["synthetic", "model", "tag", "smooth noise", "lung spectrum", "noise", "assumed"]
# The paper's sharp kernel, for a volume that says nothing and shows neither lung nor homogeneous tissue.
ASSUMED_NUMBER = 80.0
# Noise below this is no evidence against a tag: normalized chests read 9 to 20 HU, a noise-free B70f phantom 2 HU.
TELLING_NOISE_HU = 5.0


@dataclass(frozen=True)
class SourceTransfer:
    """The radial filter from a volume's kernel to B20f, and how it was found.

    Attributes:
        gain: gain against in-plane frequency (lp/cm).
        origin: ``model`` (measured on the pairs that the model was trained on), ``tag`` (Siemens B kernel in the header),
            ``smooth noise`` (noise as smooth as the reference's neighbours', whatever sharp or other kernel is named: left as
            it is), ``lung spectrum`` (other or unknown kernel: the lungs' band energies against those of B20f lungs),
            ``noise`` (no lung: kernel number of the noise), ``assumed`` (nothing to read), or ``synthetic`` (already
            normalized: nothing to do).
        record: for provenance, JSON-serializable.
    """

    gain: Gain
    origin: Origin
    record: dict[str, Any]

    @property
    def is_identity(self) -> bool:
        """Whether the volume is on the reference kernel, or as smooth, already: it is left as it is."""
        return self.origin in ("synthetic", "smooth noise")


def find_transfer(volume: CTVolume, region: BodyRegion | None = None, sharpness: Sharpness | None = None,
                  own: OwnTransfer | None = None) -> SourceTransfer:  # fmt: skip
    """The transfer to B20f that fits ``volume``.

    Args:
        volume: the scan.
        region: its body, if already found.
        sharpness: its noise colour, if already estimated.
        own: transfer of the model's centre, used for its kernel.
    """
    if volume.synthetic:
        return _by_number(float(TARGET_NUMBER), "synthetic")
    number = kernel_number(volume.acquisition.kernel)
    if number is not None and number <= SMOOTH_NUMBER:
        return _by_number(float(number), "tag")
    sharpness = sharpness or estimate_sharpness(volume)
    # A sharp kernel's tag on smooth noise is on a volume that was filtered or normalized already; of next to no noise the
    # colour tells nothing.
    telling = number is None or (sharpness is not None and sharpness.noise_sd >= TELLING_NOISE_HU)
    if telling and sharpness is not None and sharpness.kernel_number <= SMOOTH_NUMBER:
        return _by_number(float(TARGET_NUMBER), "smooth noise")
    if own is not None and own.fits(volume.acquisition.kernel):
        return SourceTransfer(own.gain, "model", {"source_kernel_from": "model", "source_kernel": own.kernel})
    if number is not None:
        return _by_number(float(number), "tag")
    region = region or find_body(volume)
    if region is not None and region.lungs.any():
        gain, record = find_band_gain(volume, region)
        return SourceTransfer(gain, "lung spectrum", {"source_kernel_from": "lung spectrum", **record})
    if sharpness is not None:
        return _by_number(sharpness.kernel_number, "noise")
    return _by_number(ASSUMED_NUMBER, "assumed")


def b20f_gain(number: float) -> Gain:
    """Gain from kernel ``number`` to B20f as a function of in-plane frequency (lp/cm); none if it is no sharper."""
    if number <= TARGET_NUMBER:
        return np.ones_like
    return lambda frequency: gain_to_b20f(number, frequency)


def _by_number(number: float, origin: Origin) -> SourceTransfer:
    return SourceTransfer(b20f_gain(number), origin, {"source_kernel_from": origin, "source_kernel_number": round(number, 1)})
