"""Methods that are one filter from the volume's kernel to B20f."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..arrays import FloatArray
from ..imaging.reconstruction_plane import in_reconstruction_plane
from ..kernels.radial_filter import filter_slices
from ..kernels.transfer import find_transfer
from ..progress import Progress
from ..suitability import Suitability, assess
from ..volume import CTVolume
from .protocol import UNCHANGED_KEY, Method, NormalizationResult
from .result import build_result


@dataclass(frozen=True)
class FilterNormalizer:
    """A method without a network.

    Attributes:
        method: its name.
        compute: gives float32 (k, j, i), HU, and a record of parameters, from the volume and its assessment.
    """

    method: Method
    compute: Callable[[CTVolume, Suitability, Progress], tuple[FloatArray, dict[str, Any]]]

    def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
        started = time.monotonic()
        turned = in_reconstruction_plane(volume)
        suitability = assess(turned.volume)
        hu, record = self.compute(turned.volume, suitability, progress)
        record["seconds"] = round(time.monotonic() - started, 2)
        return build_result(volume, turned.back(hu), self.method, suitability, record)


def linear_transfer(volume: CTVolume, scan: Suitability, progress: Progress) -> tuple[FloatArray, dict[str, Any]]:
    """Radial filter from the volume's kernel to B20f, slice by slice.

    Returns:
        float32 (k, j, i), HU, and the source kernel.
    """
    transfer = find_transfer(volume, scan.region, scan.sharpness)
    if transfer.is_identity:
        return volume.hu, {**transfer.record, UNCHANGED_KEY: True}
    return filter_slices(volume, transfer.gain, "Linear transfer", progress), transfer.record
