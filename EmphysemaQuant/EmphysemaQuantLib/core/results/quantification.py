"""One quantification, from volumes to numbers and masks; no scene, so it can run anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.progress import Progress, ProgressTracker
from KernelNormalizationLib.core.volume import BoolArray, CTVolume

from ..indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU, emphysema_mask
from ..lungs.quality_verdict import MaskQuality

# These need SimpleITK, which would slow down the start of the application: the functions below import them.
if TYPE_CHECKING:
    from ..indices.agreement import Agreement
    from ..indices.density import RegionIndices
    from ..indices.prediction_interval import EIInterval
    from ..lungs.segmentation import LungMask

HISTOGRAM_EDGES_HU = np.arange(-1100.0, -395.0, 5.0)
THRESHOLD_RANGE_HU = (-1000.0, -800.0)
RIGHT_LABEL, LEFT_LABEL = 1, 2


@dataclass(frozen=True)
class VolumeResult:
    """What was measured on one volume.

    Attributes:
        name: the volume's name.
        synthetic: whether a normalization drew it.
        indices: one entry a region: whole, right, left.
        emphysema: bool (k, j, i), lung voxels strictly below the threshold.
        histogram: share of lung voxels (%) in each bin of :data:`HISTOGRAM_EDGES_HU`.
        interval: interval of a synthetic volume's EI; ``None`` for an original, and when no error is known.
        airways_ml: mL, airway lumen left out of the lungs; ``None`` when the mask knows none.
    """

    name: str
    synthetic: bool
    indices: tuple[RegionIndices, ...]
    emphysema: BoolArray
    histogram: NDArray[np.float64]
    interval: EIInterval | None = None
    airways_ml: float | None = None

    @property
    def whole(self) -> RegionIndices:
        """Indices of both lungs together."""
        return next(entry for entry in self.indices if entry.region == "whole")


@dataclass(frozen=True)
class Quantification:
    """Emphysema of one volume, or of two on the same lung mask.

    Attributes:
        threshold_hu: HU of the emphysema index.
        lung_mask: the mask all numbers are measured on.
        volume: the first volume.
        compared: the second volume, if there is one.
        agreement: the second volume against the first, if there is one.
    """

    threshold_hu: float
    lung_mask: LungMask
    volume: VolumeResult
    compared: VolumeResult | None = None
    agreement: Agreement | None = None

    @property
    def results(self) -> tuple[VolumeResult, ...]:
        """The one or two measured volumes."""
        return (self.volume,) if self.compared is None else (self.volume, self.compared)

    @property
    def kept(self) -> BoolArray:
        """Emphysema in both volumes, bool (k, j, i)."""
        return self.volume.emphysema & self._second.emphysema

    @property
    def removed(self) -> BoolArray:
        """Emphysema in the first volume only, bool (k, j, i)."""
        return self.volume.emphysema & ~self._second.emphysema

    @property
    def _second(self) -> VolumeResult:
        if self.compared is None:
            raise InputError("Only one volume was measured; choose a second one to compare.")
        return self.compared


def quantify(
    volume: CTVolume,
    compared: CTVolume | None = None,
    lung_mask: LungMask | None = None,
    threshold_hu: float = EMPHYSEMA_THRESHOLD_HU,
    progress: Progress | None = None,
) -> Quantification:
    """Measure emphysema on ``volume`` and, on the same lung mask, on ``compared``.

    The automatic mask is made on the original when one of the two is synthetic, as the command line does; its airways are
    followed on the smoother of the two as well, and left out of both.

    Args:
        volume: chest CT.
        compared: second volume on the same grid, or ``None``.
        lung_mask: mask to use, judged by what its voxels say; made automatically if ``None``.
        threshold_hu: HU, within :data:`THRESHOLD_RANGE_HU`.
        progress: told of the steps, asked for cancellation between them.

    Raises:
        InputError: threshold out of range, grids differ, or the mask is empty.
        LungNotFoundError: no lung for the automatic mask.
        Cancelled: the user stopped the run.
    """
    from ..indices.agreement import compare_volumes, require_same_grid
    from ..lungs.segmentation import segment_lungs, smoothest

    low, high = THRESHOLD_RANGE_HU
    if not low <= threshold_hu <= high:
        raise InputError(f"The threshold is {threshold_hu:g} HU; choose one from {low:g} to {high:g} HU.")
    tracker: Progress = progress if progress is not None else ProgressTracker()
    original = compared if compared is not None and volume.synthetic and not compared.synthetic else volume
    if lung_mask is None:
        smooth = original if compared is None else smoothest([volume, compared])
        lung_mask = segment_lungs(original, tracker, None if smooth is original else smooth)
    else:
        lung_mask = _judged(original, lung_mask)
    tracker.start("Measuring", 1 if compared is None else 3)
    if compared is not None:
        require_same_grid(volume, compared, lung_mask)
    first = _measured(volume, lung_mask, threshold_hu)
    tracker.advance()
    if compared is None:
        return Quantification(threshold_hu, lung_mask, first)
    second = _measured(compared, lung_mask, threshold_hu)
    tracker.advance()
    agreement = compare_volumes(volume, compared, lung_mask, threshold_hu)
    tracker.advance()
    return Quantification(threshold_hu, lung_mask, first, second, agreement)


def with_intervals(result: Quantification, records: Sequence[Mapping[str, Any]]) -> Quantification:
    """``result`` with the interval of each synthetic volume's EI, as the command line finds it.

    Args:
        result: a measurement of one volume or two.
        records: provenance record of each volume, in their order; empty where none is known.

    Raises:
        ModelError: the errors in the model's card are damaged.
    """
    from ..indices.prediction_interval import interval_of_normalized

    def known(volume: VolumeResult, record: Mapping[str, Any]) -> VolumeResult:
        if not volume.synthetic:
            return volume
        return replace(volume, interval=interval_of_normalized(volume.whole.ei_percent, record, result.threshold_hu))

    measured = [known(volume, record) for volume, record in zip(result.results, records, strict=True)]
    return replace(result, volume=measured[0], compared=measured[1] if len(measured) == 2 else None)


def supplied_mask(right: BoolArray, left: BoolArray, airways: BoolArray | None = None) -> LungMask:
    """A lung mask from the user's own right and left lung, bool (k, j, i) each, not yet judged; voxels in both count as right.

    The lungs are taken as they are; ``airways``, bool (k, j, i), are shown and counted where they lie outside them.

    Raises:
        InputError: both are empty.
    """
    from ..lungs.segmentation import LungMask

    labels = np.zeros(right.shape, dtype=np.uint8)
    labels[left] = LEFT_LABEL
    labels[right] = RIGHT_LABEL
    if not labels.any():
        raise InputError("The lung segments are empty; paint the lungs or choose the automatic lung mask.")
    outside = np.zeros(right.shape, dtype=bool) if airways is None else airways & (labels == 0)
    return LungMask(labels, outside, MaskQuality("ok"))


def _judged(volume: CTVolume, lung_mask: LungMask) -> LungMask:
    from ..lungs.label_schemes import judge_supplied

    if lung_mask.labels.shape != volume.shape or not lung_mask.labels.any():
        return lung_mask  # refused where it is measured
    quality = judge_supplied(volume, lung_mask.labels)
    sides = (("right", RIGHT_LABEL), ("left", LEFT_LABEL))
    empty = [f"The {side} lung is empty." for side, label in sides if not np.any(lung_mask.labels == label)]
    verdict = "look" if empty and quality.verdict == "ok" else quality.verdict
    return replace(lung_mask, quality=MaskQuality(verdict, (*empty, *quality.reasons)))


def _measured(volume: CTVolume, lung_mask: LungMask, threshold_hu: float) -> VolumeResult:
    from ..indices.density import compute_indices

    values = volume.hu[lung_mask.mask]
    counts = np.histogram(values, bins=HISTOGRAM_EDGES_HU)[0]
    return VolumeResult(
        name=volume.name,
        synthetic=volume.synthetic,
        indices=tuple(compute_indices(volume, lung_mask, threshold_hu)),
        emphysema=emphysema_mask(volume.hu, lung_mask.mask, threshold_hu),
        histogram=100.0 * counts / max(1, values.size),
        airways_ml=lung_mask.airways_ml(volume.geometry.voxel_volume_ml),
    )
