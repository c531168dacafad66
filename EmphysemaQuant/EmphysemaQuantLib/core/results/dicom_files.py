"""A measurement as DICOM files: segmentation and report of each volume, and the synthetic volume as a series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from KernelNormalizationLib.core.arrays import BoolArray
from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.io.dicom_derived import (
    is_synthetic_header,
    manifest_of,
    with_empty_fields,
    without_quotes,
)
from KernelNormalizationLib.core.io.dicom_export import export_series, matched_headers, staged_folder
from KernelNormalizationLib.core.io.dicom_written import WrittenDicom
from KernelNormalizationLib.core.progress import Progress, ProgressTracker
from KernelNormalizationLib.core.version import VERSION

from ..indices.density import RegionIndices
from ..lungs.quality_verdict import require_usable
from ..lungs.segmentation import LungMask
from .dicom_objects import Maker, report_object, require_highdicom, segmentation_object
from .measurement import Measurement, VolumeMeasurement

CT_FOLDER, SEGMENTATION, REPORT = "ct", "segmentation.dcm", "report.dcm"
# Beside the synthetic volume's, the objects of the scan have names of their own.
OF_SCAN = "scan_"


@dataclass(frozen=True)
class MeasuredLungs:
    """What segmentation and report of one volume show.

    Attributes:
        lung_mask: labels (k, j, i) and airways.
        emphysema: bool (k, j, i), lung voxels below the threshold.
        regions: indices of lungs and lobes; others have no code and are passed over.
        threshold_hu: HU.
    """

    lung_mask: LungMask
    emphysema: BoolArray
    regions: Sequence[RegionIndices]
    threshold_hu: float


def write_objects(
    images: Sequence[Dataset],
    lungs: MeasuredLungs,
    maker: Maker,
    folder: Path,
    prefix: str = "",
    enhanced: Dataset | None = None,
) -> tuple[Dataset, Dataset]:
    """Write segmentation (SEG) and report (SR) of one measured volume into ``folder``; nothing is computed again.

    Args:
        images: headers of the images that were measured, one a slice, in the order of the volume's slices.
        lungs: masks and numbers of the volume.
        maker: software and origin of the lung mask.
        folder: existing folder.
        prefix: of both file names.
        enhanced: header of the multi-frame file whose frames the images are, if they are.

    Returns:
        Both objects as written.

    Raises:
        InputError: highdicom is not installed, the images do not fit the mask, or their headers hold damaged values.
    """
    try:
        segmentation = segmentation_object(images, lungs.lung_mask, lungs.emphysema, lungs.threshold_hu, maker, enhanced)
        report = report_object(images, segmentation, lungs.regions, maker, enhanced)
    except (ValueError, TypeError, AttributeError) as error:
        # highdicom's own words may quote the patient's name
        raise InputError(
            "The headers of the scan hold a value that a segmentation or report cannot take over, such as a damaged number or "
            "identifier; correct the series, or export without a lung mask."
        ) from error
    segmentation.save_as(folder / f"{prefix}{SEGMENTATION}")
    report.save_as(folder / f"{prefix}{REPORT}")
    return segmentation, report


@without_quotes()
def export_measurement(
    measurement: Measurement,
    sources: Sequence[Sequence[Path]],
    folder: Path,
    progress: Progress | None = None,
) -> WrittenDicom:
    """Write a measurement as DICOM into a new folder, whole or not at all.

    Args:
        measurement: of one volume or two.
        sources: for each volume the DICOM files that it was loaded from or, for a synthetic one that never was DICOM, those of
            the scan that it was made from; then it is exported as a series first, and its objects refer to that.
        folder: new or empty folder. Gets ``ct``, ``segmentation.dcm`` and ``report.dcm`` as ``ctkernel export`` writes them;
            the objects of an original are called ``scan_segmentation.dcm`` and ``scan_report.dcm``.
        progress: told of the steps, asked for cancellation between them.

    Raises:
        InputError: highdicom is not installed, a volume does not lie where its files lie, two volumes of one kind, or files
            that cannot be a source.
        LungNotFoundError: the mask's verdict is "failed".
        Cancelled: the user stopped; nothing is kept.
    """
    require_highdicom()
    require_usable(measurement.lung_mask.quality)
    if len({volume.synthetic for volume in measurement.volumes}) != len(measurement.volumes):
        raise InputError("Both volumes are of one kind, so their files could not be told apart; measure and export one by one.")
    tracker: Progress = progress if progress is not None else ProgressTracker()
    series: dict[str, int] = {}
    told: list[str] = []
    with staged_folder(folder) as staged:
        for volume, files in zip(measurement.volumes, sources, strict=True):
            images, enhanced = _images_of(volume, files)
            if volume.synthetic and not is_synthetic_header(images[0]):
                written = export_series(volume.ct, files, volume.provenance, staged / CT_FOLDER, tracker)
                images, series[written.series_uid] = list(written.headers), len(written.headers)
                enhanced = None  # the exported series has one image a slice
                told.append(written.in_words())
            tracker.start("Writing segmentation and report", 1)
            prefix = "" if volume.synthetic else OF_SCAN
            maker = Maker(VERSION, measurement.lung_mask.origin, manifest_of(images[0]))
            measured = MeasuredLungs(measurement.lung_mask, volume.emphysema, volume.regions, volume.threshold_hu)
            made = write_objects(images, measured, maker, staged, prefix, enhanced)
            series |= {str(one.SeriesInstanceUID): 1 for one in made}
            of = "the synthetic volume" if volume.synthetic else "the scan"
            told.append(f"Wrote segmentation (SEG) and report (SR) of {of}.")
            tracker.advance()
    return WrittenDicom(series, " ".join([*told, RESEARCH_USE]))


def _images_of(volume: VolumeMeasurement, files: Sequence[Path]) -> tuple[list[Dataset], Dataset | None]:
    """The header of each slice, and of the multi-frame file whose frames they are, if they are."""
    images = [with_empty_fields(header) for header in matched_headers(volume.ct, files)]
    if is_synthetic_header(images[0]) and not volume.synthetic:
        raise InputError(f"The files of {volume.name} are marked as synthetic and the volume is not; load the series again.")
    if volume.synthetic or "ReferencedFrameNumber" not in images[0]:
        return images, None
    if len(files) > 1:
        raise InputError(
            f"{volume.name} is an enhanced (multi-frame) CT. Segmentation and report are written for single-frame images, and "
            f"for a scan in one multi-frame file; this one has {len(files)} files. Choose the synthetic volume alone, or load "
            "the scan as one file or as single-frame images."
        )
    return images, with_empty_fields(dcmread(files[0], stop_before_pixels=True))
