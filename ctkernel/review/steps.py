"""What the page computes: opening, normalizing, measuring. Each step takes a finished review and gives a new one.

The steps run in a thread and touch nothing but what they are given, so a step that is cancelled leaves the old review standing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from EmphysemaQuantLib.core.indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU, THRESHOLD_RANGE_HU, require_threshold
from KernelNormalizationLib.core.errors import Cancelled, InputError, LungNotFoundError
from KernelNormalizationLib.core.freed_memory import give_back_memory
from KernelNormalizationLib.core.methods.protocol import METHODS, UNCHANGED_KEY, Method
from KernelNormalizationLib.core.progress import Progress

# SimpleITK and scipy take a second to load; the page is to be there before.
if TYPE_CHECKING:
    from EmphysemaQuantLib.core.lungs.segmentation import LungMask
    from EmphysemaQuantLib.core.results.measurement import Measurement
    from KernelNormalizationLib.core.suitability import Suitability
    from KernelNormalizationLib.core.volume import CTVolume

Curve = tuple[tuple[float, float], ...]
_numbers = itertools.count(1)


@dataclass(frozen=True, eq=False)
class Review:
    """One scan with everything that is known of it.

    Attributes:
        original: the scan.
        suitability: whether the normalization knows its kind; ``None`` where that cannot be told, ``note`` says why.
        synthetic: its normalized volume, once there is one.
        record: provenance of ``synthetic``.
        measurement: of the scan, or of both; ``None`` where nothing can be measured.
        curves: for each measured volume the pairs (threshold HU, EI %), for every whole HU of the permitted range.
        note: for the user: what could not be done, and why.
        opened: number of the scan, another for each that is opened.
        drawn: number of what the pictures are drawn from, another whenever a volume or the lung mask is.
    """

    original: CTVolume
    suitability: Suitability | None = None
    synthetic: CTVolume | None = None
    record: dict[str, Any] = field(default_factory=dict)
    measurement: Measurement | None = None
    curves: tuple[Curve, ...] = ()
    note: str = ""
    opened: int = field(default_factory=lambda: next(_numbers))
    drawn: int = field(default_factory=lambda: next(_numbers))

    @property
    def volumes(self) -> list[CTVolume]:
        """The scan, and its normalized volume if there is one."""
        return [self.original] if self.synthetic is None else [self.original, self.synthetic]


@dataclass(frozen=True)
class Source:
    """Where a scan is read from.

    Attributes:
        path: DICOM folder or file, NRRD, NIfTI or MHA.
        series: which series of a DICOM folder.
        kernel: the scan's kernel if the user knows better than the header.
        most_voxels: a packed volume file that holds more is not unpacked; ``None`` for no such limit.
    """

    path: Path
    series: str | None = None
    kernel: str | None = None
    most_voxels: int | None = None


def open_scan(source: Source, show: Callable[[Review], None], progress: Progress) -> Review:
    """Read a scan, judge it and measure it as it is.

    Args:
        source: where it is.
        show: called with what is known so far, so that the pictures need not wait for the numbers.
        progress: told of the steps, asked for cancellation.

    Returns:
        The review; where the scan cannot be measured, or the user stopped it, without numbers and with a note.

    Raises:
        InputError: not a chest CT that can be read.
        Cancelled: the user stopped it before it was read.
    """
    from KernelNormalizationLib.core.io.reading import read_volume
    from KernelNormalizationLib.core.kernels.told_kernel import with_told_kernel
    from KernelNormalizationLib.core.suitability import assess

    progress.start("Reading the scan", 1)
    if source.most_voxels is not None:
        require_at_most(source.path, source.most_voxels)
    volume = with_told_kernel(read_volume(source.path, source.series, "the field “Series”"), source.kernel)
    progress.advance()
    review = Review(volume)
    show(review)
    try:
        progress.start("Judging the scan", 1)
        # two masks as large as the scan that the page does not need
        review = replace(review, suitability=replace(assess(volume), region=None))
        show(review)
        return measured(review, EMPHYSEMA_THRESHOLD_HU, progress)
    except InputError as error:
        return replace(review, note=str(error))
    except Cancelled:
        return replace(review, note="Cancelled: the scan is open, but was not measured.")


def normalized(review: Review, method: str, threshold_hu: float, progress: Progress) -> Review:
    """Make the synthetic smooth volume of a review's scan and measure both on one lung mask.

    Raises:
        InputError: no such method, or the scan cannot be normalized.
        ModelError: the network's model cannot be used.
        Cancelled: the user stopped it.
    """
    from KernelNormalizationLib.core.methods.gate import normalize_gated
    from KernelNormalizationLib.core.methods.registry import create_normalizer

    result = normalize_gated(create_normalizer(known_method(method)), review.original, progress)
    give_back_memory()
    if result.record.get(UNCHANGED_KEY):
        return replace(review, note="The scan is as smooth as the reference kernel already; nothing was done.")
    return measured(replace(review, synthetic=result.volume, record=result.record, note=""), threshold_hu, progress)


def measured(review: Review, threshold_hu: float, progress: Progress, lung_mask: LungMask | None = None) -> Review:
    """A review with its volumes measured; where the lungs cannot be found, with a note instead.

    Args:
        review: the scan, and its normalized volume if there is one.
        threshold_hu: HU.
        progress: told of the steps, asked for cancellation.
        lung_mask: of an earlier measurement of the same volumes; ``None`` segments the lungs.

    Raises:
        InputError: the threshold is out of range.
        Cancelled: the user stopped it.
    """
    from EmphysemaQuantLib.core.lungs.quality_verdict import require_usable
    from EmphysemaQuantLib.core.results.measurement import MeasurementSettings, measure, segment

    settings = MeasurementSettings(whole_threshold(threshold_hu))
    records = {} if review.synthetic is None else {review.synthetic: review.record}
    try:
        mask = lung_mask or segment(review.volumes, progress)
        give_back_memory()
        require_usable(mask.quality)
        measurement = measure(review.volumes, mask, settings, records, progress)
    except (InputError, LungNotFoundError) as error:
        return replace(review, measurement=None, curves=(), note=str(error), drawn=next(_numbers))
    if lung_mask is not None:
        return replace(review, measurement=measurement)
    return replace(review, measurement=measurement, curves=_curves(measurement, progress), drawn=next(_numbers))


def whole_threshold(threshold_hu: float) -> float:
    """The threshold, checked; the page draws what lies below a whole number of HU.

    Raises:
        InputError: no number, not whole, or out of range.
    """
    if not math.isfinite(threshold_hu) or threshold_hu != round(threshold_hu):
        raise InputError(f"The threshold is {threshold_hu:g} HU; choose a whole number.")
    require_threshold(threshold_hu)
    return float(threshold_hu)


def known_method(method: str) -> Method:
    """``method``, checked.

    Raises:
        InputError: no such method.
    """
    for known in METHODS:
        if method == known:
            return known
    raise InputError(f"There is no method {method!r}; choose one of {', '.join(get_args(Method))}.")


def scan_among(files: Sequence[Path], folder: Path) -> Path:
    """What to read of uploaded files: the one volume file, or the folder for DICOM.

    Raises:
        InputError: several volume files.
    """
    from KernelNormalizationLib.core.io.volume_file import VOLUME_SUFFIXES

    volumes = [path for path in files if path.name.endswith(VOLUME_SUFFIXES)]
    if len(volumes) > 1:
        raise InputError(f"{len(volumes)} volumes were sent; send one NRRD or NIfTI file, or the files of one DICOM series.")
    return volumes[0] if volumes else folder


def require_at_most(path: Path, voxels: int) -> None:
    """Refuse a volume file whose header announces too many voxels: a small packed file can hold more than the memory.

    Raises:
        InputError: more than ``voxels``.
    """
    import SimpleITK as sitk

    if not path.is_file():
        return
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return  # whatever is wrong with it is told in words by who reads it
    announced = math.prod(reader.GetSize())
    if announced > voxels:
        raise InputError(
            f"The header states {announced:.3g} voxels; at most {voxels:.2g} can be sent. Give its path on this computer."
        )


def _curves(measurement: Measurement, progress: Progress) -> tuple[Curve, ...]:
    """EI for every threshold that the slider can take, so that it shows the measured number while it moves."""
    from EmphysemaQuantLib.core.indices.distribution import ei_curve

    low, high = THRESHOLD_RANGE_HU
    thresholds = tuple(float(t) for t in range(math.ceil(low), math.floor(high) + 1))
    curves = []
    for volume in measurement.volumes:
        progress.check_cancelled()
        curves.append(ei_curve(volume.ct.hu[measurement.lung_mask.mask], thresholds))
    return tuple(curves)
