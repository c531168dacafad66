"""What was exported as DICOM, compared with the volume that was made again: images, segmentation (SEG) and report (SR)."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from EmphysemaQuantLib.core.indices.density import compute_indices
from EmphysemaQuantLib.core.indices.emphysema_mask import emphysema_mask
from EmphysemaQuantLib.core.lungs.left_right import LEFT, RIGHT
from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.results.dicom_files import CT_FOLDER, REPORT, SEGMENTATION
from EmphysemaQuantLib.core.results.dicom_objects import (
    EMPHYSEMA,
    LEFT_LUNG,
    MEASUREMENTS,
    RIGHT_LUNG,
    require_highdicom,
)
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.dicom_derived import without_quotes
from KernelNormalizationLib.core.io.dicom_encoding import Encoding
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.volume import CTVolume

from .findings import Verification

_VALUES = "MeasuredValueSequence"
# Rounding of a number to the 16 characters of a DICOM text (DS, PS3.5 6.2).
_SAME_NUMBER = 1e-9
_THRESHOLD = re.compile(r"emphysema: below (-?[\d.]+) HU")


def image_of_export(path: Path) -> Path | None:
    """The first exported image of a folder that ``ctkernel export`` wrote, of its ``ct``, or of the folder of one of its files.

    ``None`` if there is none.
    """
    folders = (path / CT_FOLDER, path) if path.is_dir() else (path.parent / CT_FOLDER,)
    return next((image for folder in folders for image in sorted(folder.glob("*.dcm"))), None)


@without_quotes()
def compare_exported(image: Path, again: CTVolume, same: bool, limit_hu: float, found: Verification) -> None:
    """Compare the series of an exported image, and segmentation and report beside it, with the volume made again.

    Args:
        image: any image of the series.
        again: the normalized volume, made again, HU.
        same: whether it is the recorded one to the last bit. Only then masks and numbers are compared.
        limit_hu: by how many HU it may be off otherwise.
        found: gets the findings.
    """
    try:
        series = read_volume(image)
    except InputError as error:
        found.differs("images", f"The exported series cannot be read any more: {error}")
        return
    if series.shape != again.shape or not series.geometry.matches(again.geometry, 0.01):
        found.differs("images", "The number, shape or position of the exported images differs from the volume computed again.")
        return
    header = pydicom.dcmread(image, stop_before_pixels=True)
    encoding = Encoding(float(header.RescaleSlope), float(header.RescaleIntercept), bool(header.PixelRepresentation), 16, True)
    off = np.abs(series.hu - (encoding.hu_of(encoding.stored(again.hu)) if same else again.hu))
    allowed = 0.0 if same else 0.5 * encoding.slope + limit_hu
    changed = int(np.count_nonzero(off > allowed))
    texts = (
        f"The {series.shape[0]} exported images contain the voxels computed again, rounded to {encoding.slope:g} HU.",
        f"{changed} voxel(s) of the exported images are not those computed again, by up to {float(off.max()):.3g} HU: the "
        "images were changed after the export.",
    )
    found.check("images", changed == 0, texts)
    objects = image.parent.parent / SEGMENTATION, image.parent.parent / REPORT
    if image.parent.name == CT_FOLDER and all(path.is_file() for path in objects):
        _compare_objects(*objects, again, same, found)


def _compare_objects(segmentation: Path, report: Path, again: CTVolume, same: bool, found: Verification) -> None:
    if not same:
        found.note(
            "SEG and SR", "Not compared: masks and numbers can be compared only if every voxel was computed again exactly."
        )
        return
    try:
        require_highdicom()
    except InputError as error:
        found.note("SEG and SR", f"Not compared. {error}")
        return
    try:
        contradicting = _numbers_stated_twice(report)
        threshold, numbers = _reported(report)
        segments = _segments(segmentation, again)
    except Exception as error:  # noqa: BLE001 - a changed byte can raise anything in a DICOM library
        found.differs("SEG and SR", f"Segmentation or report cannot be read: {type(error).__name__}.")
        return
    nothing = np.zeros(again.shape, bool)
    labels = np.zeros(again.shape, np.uint8)
    labels[segments.get(RIGHT_LUNG, nothing)], labels[segments.get(LEFT_LUNG, nothing)] = RIGHT, LEFT
    below = emphysema_mask(again.hu, labels > 0, threshold)
    other = int(np.count_nonzero(below != segments.get(EMPHYSEMA, nothing)))
    texts = (
        f"The emphysema segment is the lung below {threshold:g} HU, voxel by voxel.",
        f"{other} voxel(s) of the emphysema segment do not follow from the lungs and {threshold:g} HU.",
    )
    found.check("SEG", other == 0, texts)
    measured = _measured(again, LungMask(labels, nothing, MaskQuality("ok")), threshold)
    places = [
        f"{code} of {region}"
        for (region, code), told in numbers.items()
        if (region, code) in measured and not _equal(told, measured[region, code])
    ]
    texts = (
        "The report's numbers are those of the segmented lungs in the volume computed again.",
        f"{len(places) + len(contradicting)} number(s) of the report do not follow from segmentation and volume: "
        f"{'; '.join([*contradicting, *places][:3])}.",
    )
    found.check("SR", bool(numbers) and not places and not contradicting, texts)


def _measured(volume: CTVolume, lungs: LungMask, threshold_hu: float) -> dict[tuple[str, str], float]:
    """(region, code value) -> number, measured now."""
    measured = {
        (region.region, name[0]): float(getattr(region, field))
        for region in compute_indices(volume, lungs, threshold_hu)
        for field, name, _ in MEASUREMENTS
    }
    code = {field: name[0] for field, name, _ in MEASUREMENTS}
    measured["emphysema", code["tlv_ml"]] = measured["whole", code["ev_ml"]]  # the volume of the emphysema segment
    return measured


def _equal(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_SAME_NUMBER, abs_tol=_SAME_NUMBER)


def _reported(report: Path) -> tuple[float, dict[tuple[str, str], float]]:
    """Threshold of the emphysema, HU, and (region, code value) -> number."""
    hd = require_highdicom()
    document = hd.sr.srread(str(report))
    content = document.content
    groups = [*content.get_volumetric_roi_measurement_groups(), *content.get_image_measurement_groups()]
    numbers = {
        (str(group.tracking_identifier), str(item.name.value)): float(item.value)
        for group in groups
        for item in group.get_measurements()
    }
    texts = [str(element.value) for element in document.iterall() if element.keyword == "TextValue"]
    (threshold,) = {match.group(1) for text in texts if (match := _THRESHOLD.fullmatch(text))}
    return float(threshold), numbers


def _numbers_stated_twice(report: Path) -> list[str]:
    """What a report states in binary and, differently, as text of up to 16 characters; highdicom reads the binary one only."""
    stated = [item for element in pydicom.dcmread(report).iterall() if element.keyword == _VALUES for item in element.value]
    return [
        f"{item.NumericValue} as text"
        for item in stated
        if not _equal(float(item.NumericValue), float(item.FloatingPointValue))
    ]


def _segments(segmentation: Path, again: CTVolume) -> dict[str, NDArray[np.bool_]]:
    """Name -> mask (k, j, i) of each segment, on the grid of the volume."""
    hd = require_highdicom()
    seg = hd.seg.segread(str(segmentation))
    images = [
        pydicom.dcmread(path, stop_before_pixels=True) for path in sorted((segmentation.parent / CT_FOLDER).glob("*.dcm"))
    ]
    uids = [str(image.SOPInstanceUID) for image in images]
    pixels = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True) > 0
    if pixels.shape[:3] != again.shape:
        raise ValueError("another shape than the volume")
    return {str(item.SegmentLabel): pixels[..., n] for n, item in enumerate(seg.SegmentSequence)}
