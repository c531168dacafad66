"""Restores the HU lost to truncation and filters to B20f: the default method, and the input of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from ..arrays import FloatArray
from ..imaging.body import BodyRegion
from ..kernels.noise_sharpness import Sharpness
from ..kernels.radial_filter import Gain, apply_gain, in_threads
from ..kernels.transfer import SourceTransfer, find_transfer
from ..progress import Progress
from ..suitability import Suitability
from ..truncation.estimation import estimate_series
from ..truncation.hu_floor import HUFloor
from ..truncation.restoration import RestorationPlan, Restorer
from ..truncation.scan_regions import BODY_MARGIN_PIXELS
from ..volume import CTVolume
from .correction import Restore, restored_volume
from .hypotheses import hypotheses_record
from .protocol import HYPOTHESES_KEY, RESTORATION, RESTORATION_KEY, UNCHANGED_KEY


def restored_linear_transfer(volume: CTVolume, scan: Suitability, progress: Progress) -> tuple[FloatArray, dict[str, Any]]:
    """The linear transfer of the volume after the HU lost by truncation were put back: the input of the network, without it.

    Returns:
        float32 (k, j, i), HU, and the source kernel.
    """
    region = scan.region
    transfer = find_transfer(volume, region, scan.sharpness)
    if transfer.is_identity:
        left_open = hypotheses_record(volume, region, transfer, None, scan.sharpness)
        return volume.hu, {**transfer.record, HYPOTHESES_KEY: left_open, UNCHANGED_KEY: True}
    restored = restoration(volume, region, scan.floor, transfer.gain)
    told = restored.told(volume, region, transfer, scan.sharpness)
    return restored_volume(restored.of, volume.shape, progress), {**transfer.record, **told}


@dataclass(frozen=True)
class Restoration:
    """How a volume's slices are restored and brought to B20f.

    Attributes:
        of: gives the base and what was lost of some slices.
        plan: how they were truncated, with the evidence for it; ``None`` if they were not.
    """

    of: Restore
    plan: RestorationPlan | None = None

    def told(
        self, volume: CTVolume, region: BodyRegion | None, transfer: SourceTransfer, sharpness: Sharpness | None = None
    ) -> dict[str, Any]:
        """For provenance: the plan, and how the index would change under what the scan does not determine."""
        record = {} if self.plan is None else self.plan.as_record()
        left_open = hypotheses_record(volume, region, transfer, self.plan, sharpness)
        return {RESTORATION_KEY: RESTORATION, **record, HYPOTHESES_KEY: left_open}


def restoration(volume: CTVolume, region: BodyRegion | None, floor: HUFloor, gain: Gain) -> Restoration:
    """How slices of ``volume`` are restored and brought to B20f.

    Args:
        volume: the scan.
        region: its body, if there is one.
        floor: its HU floor.
        gain: in-plane gain from its kernel to B20f against frequency in lp/cm.
    """
    hu, pixel_mm = volume.filled(), (volume.geometry.spacing[1], volume.geometry.spacing[2])
    if floor.kind == "none":
        return Restoration(lambda part: (apply_gain(hu[part], pixel_mm, gain), np.zeros_like(hu[part])))
    with_lung = region.lungs.any(axis=(1, 2)) if region is not None else np.zeros(len(hu), bool)
    places = np.flatnonzero(with_lung) if with_lung.any() else None
    plan = estimate_series(hu, pixel_mm, gain, floor.value, volume.acquisition.is_siemens, places)
    restorer = Restorer((hu.shape[1], hu.shape[2]), pixel_mm, gain)

    def one(k: int) -> tuple[FloatArray, FloatArray]:
        outside = None if region is None else ~ndimage.binary_dilation(region.body[k], iterations=BODY_MARGIN_PIXELS)
        state = restorer.restore(hu[k], plan.of_slice(k), outside)
        return state.base, state.lost

    def restore(part: slice) -> tuple[FloatArray, FloatArray]:
        base, lost = (np.stack(images) for images in zip(*in_threads(one, range(part.start, part.stop)), strict=True))
        return base, lost

    return Restoration(restore, plan)
