"""The measurement: panel, command line, Python API and reports show the result of :func:`measure` and compute nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import BoolArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.progress import Progress, ProgressTracker
from KernelNormalizationLib.core.volume import CTVolume

from ..indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU, emphysema_mask, require_threshold

# These need SimpleITK, which would slow down the start of the application: the functions below import them.
if TYPE_CHECKING:
    from KernelNormalizationLib.core.suitability import Suitability

    from ..indices.agreement import Agreement
    from ..indices.clusters import ClusterIndices
    from ..indices.density import RegionIndices
    from ..indices.distribution import FloorEffect
    from ..indices.prediction_interval import EIInterval
    from ..indices.regions import Thirds
    from ..lungs.segmentation import LungMask
    from .acquisition_sheet import Patient, SheetItem

Kind = Literal["raw", "normalized", "compared"]
Records = Mapping[CTVolume, Mapping[str, Any]]


@dataclass(frozen=True)
class MeasurementSettings:
    """What to measure.

    Attributes:
        threshold_hu: HU of the emphysema index, within :data:`~.emphysema.THRESHOLD_RANGE_HU`.
        thirds_by: thirds of equal "volume" or of equal "height".
        patient: sex, height and weight for the predicted lung volume; ``None`` leaves it out.

    Raises:
        InputError: the threshold is out of range, or the patient is no adult.
    """

    threshold_hu: float = EMPHYSEMA_THRESHOLD_HU
    thirds_by: Thirds = "volume"
    patient: Patient | None = None

    def __post_init__(self) -> None:
        require_threshold(self.threshold_hu)
        if self.patient is not None:
            from .acquisition_sheet import predicted_tlv_ml

            predicted_tlv_ml(self.patient)


@dataclass(frozen=True, eq=False)
class VolumeMeasurement:
    """Everything measured on one volume; equal only to itself.

    Attributes:
        ct: the volume.
        kind: "raw" (as reconstructed) or "normalized"; "compared" for a second volume of the same kind as the first.
        threshold_hu: HU of the emphysema index.
        regions: whole, right, left, lobes (when known), thirds, core and rind.
        emphysema: bool (k, j, i), lung voxels strictly below the threshold.
        histogram: share of the lung voxels (%) in each bin of :data:`~.curve.HISTOGRAM_EDGES_HU`.
        clusters: clusters of emphysema.
        curve: pairs (threshold HU, EI %).
        floor: effect of truncation at the HU floor.
        sheet: acquisition of the scan, with remarks.
        perc15_adjusted_hu: HU, Perc15 of both lungs that the sponge model gives at the predicted TLV; ``None`` when the
            patient is not described.
        airways_ml: mL, airway lumen left out of the lungs; ``None`` if the mask has none.
        provenance: record of the normalization of this volume; empty for an original, and when there is none.
        interval: interval of this volume's EI; ``None`` for an original, and when no error is known.
        suitability: what the normalization's gate says of an original; ``None`` for a synthetic volume, and for one stored
            obliquely.
    """

    ct: CTVolume
    kind: Kind
    threshold_hu: float
    regions: tuple[RegionIndices, ...]
    emphysema: BoolArray
    histogram: NDArray[np.float64]
    clusters: ClusterIndices
    curve: tuple[tuple[float, float], ...]
    floor: FloorEffect
    sheet: tuple[SheetItem, ...]
    perc15_adjusted_hu: float | None = None
    airways_ml: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    interval: EIInterval | None = None
    suitability: Suitability | None = None

    @property
    def name(self) -> str:
        """The volume's name."""
        return self.ct.name

    @property
    def synthetic(self) -> bool:
        """Whether the volume was computed by a normalization."""
        return self.ct.synthetic

    @property
    def whole(self) -> RegionIndices:
        """Indices of both lungs together."""
        return self.regions[0]

    @property
    def indices(self) -> tuple[RegionIndices, ...]:
        """Indices of whole, right and left lung, and of the lobes when they are known."""
        from ..indices.regions import SHELL_NAMES, THIRD_NAMES

        parts = {*THIRD_NAMES.values(), *SHELL_NAMES.values()}
        return tuple(region for region in self.regions if region.region not in parts)


@dataclass(frozen=True, eq=False, repr=False)
class Measurement:
    """Emphysema of one volume, or of two on one lung mask; equal only to itself.

    Attributes:
        settings: what was measured.
        lung_mask: the mask that all numbers belong to.
        volumes: one or two. An original comes before a synthetic volume, whatever the order of the arguments.
        agreement: the second volume against the first, if there are two.
        seconds: how long the measuring took, without the segmentation of the lungs; ``None`` where nobody looked.
    """

    settings: MeasurementSettings
    lung_mask: LungMask
    volumes: tuple[VolumeMeasurement, ...]
    agreement: Agreement | None = None
    seconds: float | None = None

    def __repr__(self) -> str:
        found = "; ".join(f"{v.name!r}: EI {v.whole.ei_percent:.1f} %, TLV {v.whole.tlv_ml:.0f} mL" for v in self.volumes)
        return f"Measurement({found}; lung mask {self.lung_mask.quality.verdict})"

    @property
    def threshold_hu(self) -> float:
        """HU of the emphysema index."""
        return self.settings.threshold_hu

    @property
    def results(self) -> tuple[VolumeMeasurement, ...]:
        """The one or two measured volumes."""
        return self.volumes

    @property
    def volume(self) -> VolumeMeasurement:
        """The first volume."""
        return self.volumes[0]

    @property
    def compared(self) -> VolumeMeasurement | None:
        """The second volume, ``None`` when there is one only."""
        return self.volumes[1] if len(self.volumes) == 2 else None

    @property
    def kept(self) -> BoolArray:
        """Emphysema in both volumes, bool (k, j, i)."""
        return self.volume.emphysema & self._second.emphysema

    @property
    def removed(self) -> BoolArray:
        """Emphysema in the first volume only, bool (k, j, i)."""
        return self.volume.emphysema & ~self._second.emphysema

    @property
    def _second(self) -> VolumeMeasurement:
        if self.compared is None:
            raise InputError("Only one volume was measured; choose a second one to compare.")
        return self.compared


def measure(
    volumes: Sequence[CTVolume],
    lung_mask: LungMask | None = None,
    settings: MeasurementSettings | None = None,
    provenance: Records | None = None,
    progress: Progress | None = None,
) -> Measurement:
    """Measure emphysema on one volume, or on two of one scan with one lung mask.

    Args:
        volumes: one volume, or two on the same grid. The order of an original and its synthetic volume does not matter.
        lung_mask: mask to use as it is; ``None`` segments the lungs, as :func:`segment` does.
        settings: threshold, thirds and patient; the defaults if ``None``.
        provenance: volume -> record of its normalization, for the synthetic volumes; it names the model whose errors give the
            interval of that volume's EI.
        progress: told of the steps, asked for cancellation between them.

    Raises:
        InputError: not one or two volumes, grids differ, the mask is empty, or all values below the threshold were cut off.
        LungNotFoundError: no lung for the automatic mask.
        ModelError: the errors in a model's card are damaged.
        Cancelled: the user stopped the run.
    """
    ordered = original_first(volumes)
    chosen = settings if settings is not None else MeasurementSettings()
    tracker: Progress = progress if progress is not None else ProgressTracker()
    mask = lung_mask if lung_mask is not None else segment(ordered, tracker)
    started, pair = time.monotonic(), len(ordered) == 2
    tracker.start("Measuring", 3 if pair else 1)
    if pair:
        from ..indices.agreement import require_same_grid

        require_same_grid(ordered[0], ordered[1], mask)
    measured = []
    for volume, kind in zip(ordered, _kinds(ordered), strict=True):
        measured.append(_measured(volume, kind, mask, chosen))
        tracker.advance()
    agreement = None
    if pair:
        from ..indices.agreement import compare_volumes

        agreement = compare_volumes(ordered[0], ordered[1], mask, chosen.threshold_hu)
        tracker.advance()
    seconds = round(time.monotonic() - started, 2)
    return with_provenance(Measurement(chosen, mask, tuple(measured), agreement, seconds), provenance or {})


def segment(volumes: Sequence[CTVolume], progress: Progress | None = None) -> LungMask:
    """The lungs of a scan, segmented on its original; the airways are followed on the smoothest volume as well.

    Args:
        volumes: one volume, or two of one scan on the same grid, in any order.
        progress: told of the steps, asked for cancellation between them.

    Raises:
        InputError: not one or two volumes, or their grids differ.
        LungNotFoundError: no lung in the original.
        Cancelled: the user stopped the run.
    """
    from ..lungs.segmentation import segment_lungs, smoothest

    original = original_first(volumes)[0]
    smooth = smoothest(volumes)
    return segment_lungs(original, progress, None if smooth is original else smooth)


def original_first(volumes: Sequence[CTVolume]) -> tuple[CTVolume, ...]:
    """One or two volumes, an original before a synthetic one; two of the same kind keep their order.

    Raises:
        InputError: none, more than two, or twice the same, also where one series was read twice.
    """
    if not 1 <= len(volumes) <= 2:
        raise InputError(f"{len(volumes)} volumes were given; measure one, or two on the same grid.")
    if len(volumes) == 2 and (volumes[0] is volumes[1] or _one_series(*volumes)):
        raise InputError("Both volumes are the same; give another second volume, or none.")
    return tuple(sorted(volumes, key=lambda volume: volume.synthetic))


def _one_series(first: CTVolume, second: CTVolume) -> bool:
    """Whether both are the same DICOM series, whose difference of 0 would look like a result."""
    uid = first.acquisition.series_instance_uid
    same = uid is not None and uid == second.acquisition.series_instance_uid and first.synthetic == second.synthetic
    return same and np.array_equal(first.hu, second.hu)


def with_provenance(measurement: Measurement, records: Records) -> Measurement:
    """``measurement`` with the record of each synthetic volume's normalization, and the interval that follows from it.

    Args:
        measurement: of one volume or two.
        records: volume -> record; volumes without one keep what they have.

    Raises:
        InputError: a record describes other voxels than its volume has.
        ModelError: the errors in a model's card are damaged.
    """
    from KernelNormalizationLib.core.provenance.manifest import require_record_of

    from ..indices.prediction_interval import interval_of_normalized
    from .acquisition_sheet import gate_item

    def known(volume: VolumeMeasurement) -> VolumeMeasurement:
        record = records.get(volume.ct)
        if record is None or not volume.synthetic:
            return volume
        require_record_of(volume.ct, record)
        interval = interval_of_normalized(volume.whole.ei_percent, record, volume.threshold_hu)
        gate = gate_item(None, record)
        sheet = tuple(gate if item.name == gate.name else item for item in volume.sheet)
        return replace(volume, provenance=dict(record), interval=interval, sheet=sheet)

    return replace(measurement, volumes=tuple(known(volume) for volume in measurement.volumes))


def _kinds(volumes: Sequence[CTVolume]) -> list[Kind]:
    kinds: list[Kind] = ["normalized" if volume.synthetic else "raw" for volume in volumes]
    return [kind if kind not in kinds[:number] else "compared" for number, kind in enumerate(kinds)]


def _measured(volume: CTVolume, kind: Kind, lung_mask: LungMask, settings: MeasurementSettings) -> VolumeMeasurement:
    from ..indices.clusters import analyse_clusters
    from ..indices.density import floor_below, partition_indices, require_mask_of
    from ..indices.distribution import density_histogram, ei_curve, floor_effect
    from ..indices.regions import core_and_rind, lobes, sides, thirds
    from .acquisition_sheet import acquisition_sheet

    require_mask_of(volume, lung_mask)
    floor = floor_below(volume, settings.threshold_hu)
    geometry, lungs, threshold = volume.geometry, lung_mask.mask, settings.threshold_hu
    by_height_or_volume = thirds(lung_mask, geometry, settings.thirds_by)
    partitions = [sides(lung_mask), lobes(lung_mask), by_height_or_volume, core_and_rind(lung_mask, geometry)]
    regions = partition_indices(volume, partitions, threshold, with_whole=True)
    lung_hu = volume.hu[lungs]
    emphysema = emphysema_mask(volume.hu, lungs, threshold)
    suitability = _judged(volume)
    return VolumeMeasurement(
        ct=volume,
        kind=kind,
        threshold_hu=float(threshold),
        regions=tuple(regions),
        emphysema=emphysema,
        histogram=density_histogram(lung_hu),
        clusters=analyse_clusters(emphysema, lung_hu.size, geometry.spacing),
        curve=ei_curve(lung_hu),
        floor=floor_effect(lung_hu, None if floor.kind == "none" else floor.value, threshold),
        sheet=acquisition_sheet(volume, regions[0], lung_mask.quality, settings.patient, suitability),
        perc15_adjusted_hu=_at_predicted_tlv(regions[0], settings.patient),
        airways_ml=lung_mask.airways_ml(geometry.voxel_volume_ml),
        suitability=suitability,
    )


def _judged(volume: CTVolume) -> Suitability | None:
    """The gate's verdict on an original, without the body region that takes as much memory as a mask."""
    from KernelNormalizationLib.core.suitability import assess

    if volume.synthetic:
        return None
    try:
        return replace(assess(volume), region=None)
    except InputError:  # stored obliquely
        return None


def _at_predicted_tlv(whole: RegionIndices, patient: Patient | None) -> float | None:
    from ..indices.longitudinal import volume_adjusted_perc15
    from .acquisition_sheet import predicted_tlv_ml

    if patient is None:
        return None
    return volume_adjusted_perc15(whole.perc15_hu, whole.tlv_ml, predicted_tlv_ml(patient))
