"""Whether a scan is smooth already: one answer for the verdict that the user reads and for the methods that act on it."""

from __future__ import annotations

from typing import Literal

from ..volume import CTVolume
from .mtf import kernel_number
from .noise_sharpness import SMOOTH_NUMBER, Sharpness
from .told_kernel import kernel_in_use

SmoothBy = Literal["synthetic", "told by the user", "tag", "smooth noise"]


def smooth_by(volume: CTVolume, sharpness: Sharpness | None) -> SmoothBy | None:
    """What says that ``volume`` needs no normalization; ``None`` where nothing does.

    A normalization drew it; or the user names a Siemens B kernel up to B32f; or the header does; or the noise is that of such a
    kernel. The user is believed against the noise. Noise is believed against the header's sharp kernel where there is enough of
    it to tell: the volume was filtered or normalized already, and leaving it as it is does no harm. A header's smooth kernel on
    noise that is sharp still counts as smooth here, so that no number rests on a guess; the assessment refuses such a scan
    before.

    Args:
        volume: the scan.
        sharpness: its noise colour, if it could be read.
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
