"""Decides whether a scan is smooth already. The verdict shown to the user and the methods use this same decision."""

from __future__ import annotations

from typing import Literal

from ..volume import CTVolume
from .mtf import kernel_number
from .noise_sharpness import SMOOTH_NUMBER, Sharpness
from .told_kernel import kernel_in_use

SmoothBy = Literal["synthetic", "told by the user", "tag", "smooth noise"]


def smooth_by(volume: CTVolume, sharpness: Sharpness | None) -> SmoothBy | None:
    """The reason why ``volume`` needs no normalization; ``None`` if it needs one.

    Possible reasons: the volume is synthetic (already normalized); the user names a Siemens B kernel up to B32f; the header
    does; or the noise is that of such a kernel. If they disagree, the user counts more than the noise. Smooth noise counts more
    than a sharp kernel in the header, provided there is enough noise: the volume was then filtered or normalized before, and
    leaving it unchanged does no harm. A smooth kernel in the header counts as smooth here even if the noise is sharp, so that
    no result rests on a guess; the assessment refuses such a scan beforehand.

    Args:
        volume: the scan.
        sharpness: its measured noise, if it could be measured.
    """
    if volume.synthetic:
        return "synthetic"
    number = kernel_number(kernel_in_use(volume.acquisition))
    told = number is not None and volume.acquisition.told_kernel is not None
    if number is not None and number <= SMOOTH_NUMBER:
        return "told by the user" if told else "tag"
    if told or sharpness is None or sharpness.kernel_number > SMOOTH_NUMBER:
        return None
    return "smooth noise" if number is None or sharpness.is_telling else None
