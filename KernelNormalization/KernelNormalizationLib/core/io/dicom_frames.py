"""Enhanced (multi-frame) CT: every frame of a file as an image with a header and pixels of its own.

Single-frame CT images keep position, spacing, rescale and kernel in the header; enhanced ones keep them in functional groups,
once for all frames (shared) or once a frame (PS3.3, A.38 and C.7.6.16). Here each frame gets the header that a single-frame
image would have, so that a frame passes the very checks that a file passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.tag import Tag
from pydicom.uid import UID

from ..arrays import FloatArray
from ..errors import InputError
from .dicom_checks import rescale_of
from .dicom_decoding import decoded_frames
from .dicom_pixels import NATIVE, native_pixels, read_packed
from .dicom_tags import ENHANCED_CT
from .dicom_values import HeaderValues

SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
# More frames than any chest CT has slices; a header that states more is damaged.
_MOST_FRAMES = 20_000
_ANATOMY, _REGION = "FrameAnatomySequence", "AnatomicRegionSequence"
_SAME = {name: name for name in ("ConvolutionKernel", "KVP", "Exposure", "XRayTubeCurrent", "AcquisitionNumber")}
# Sequence of a functional group: its attribute -> where a single-frame image has it.
_GROUPS: dict[str, dict[str, str]] = {
    "PlanePositionSequence": {"ImagePositionPatient": "ImagePositionPatient"},
    "PlaneOrientationSequence": {"ImageOrientationPatient": "ImageOrientationPatient"},
    "PixelMeasuresSequence": {name: name for name in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices")},
    "PixelValueTransformationSequence": {name: name for name in ("RescaleSlope", "RescaleIntercept", "RescaleType")},
    "CTReconstructionSequence": {name: name for name in ("ConvolutionKernel", "ReconstructionDiameter")},
    "CTAcquisitionDetailsSequence": {"GantryDetectorTilt": "GantryDetectorTilt"},
    "CardiacSynchronizationSequence": {"NominalPercentageOfCardiacPhase": "NominalPercentageOfCardiacPhase"},
    "CTXRayDetailsSequence": {"KVP": "KVP"},
    "CTExposureSequence": {"ExposureInmAs": "Exposure", "XRayTubeCurrentInmA": "XRayTubeCurrent"},
    "FrameContentSequence": {
        "FrameAcquisitionNumber": "AcquisitionNumber",
        "TemporalPositionIndex": "TemporalPositionIndex",
    },
    "CTImageFrameTypeSequence": {
        "FrameType": "ImageType",
        "VolumeBasedCalculationTechnique": "VolumeBasedCalculationTechnique",
    },
    # what a conversion from single-frame images found no other place for
    "UnassignedSharedConvertedAttributesSequence": _SAME,
    "UnassignedPerFrameConvertedAttributesSequence": _SAME,
}


def is_enhanced(header: pydicom.Dataset) -> bool:
    """Whether a file is of a class whose frames have functional groups."""
    return HeaderValues(header, "").text("SOPClassUID") in ENHANCED_CT


def frame_headers(header: pydicom.Dataset) -> list[pydicom.Dataset]:
    """The header that a single-frame image would have, for each frame of an enhanced CT file, with its ReferencedFrameNumber.

    Args:
        header: with both functional group sequences; not changed.

    Raises:
        InputError: no functional groups, or not one for each frame.
        OSError, ValueError and the rest of :data:`.dicom_values.UNREADABLE`: damaged groups.
    """
    groups = list(header.get(PER_FRAME) or [])
    try:
        stated = HeaderValues(header, "").whole("NumberOfFrames") or 1
    except InputError:
        raise InputError(f"states {HeaderValues(header, '').shown('NumberOfFrames')}, which is no number of frames") from None
    if len(groups) != stated or not 1 <= stated <= _MOST_FRAMES:
        raise InputError(f"states {stated} frame(s) and describes {len(groups)} of them")
    shared = next(iter(header.get(SHARED) or []), pydicom.Dataset())
    common = _without_groups(header)
    frames = [_as_single(common, header, shared, group) for group in groups]
    for number, frame in enumerate(frames, start=1):
        frame.ReferencedFrameNumber = number  # for whoever refers to the frame
    return frames


def _without_groups(header: pydicom.Dataset) -> pydicom.Dataset:
    left_out = {tag_for_keyword(name) for name in (SHARED, PER_FRAME, "NumberOfFrames")}
    common = pydicom.Dataset()
    for tag in header.keys():  # noqa: SIM118 - iterating over a dataset converts its values, and odd ones raise
        if tag not in left_out:
            common[tag] = header.get_item(tag)
    return common


def _as_single(
    common: pydicom.Dataset, header: pydicom.Dataset, shared: pydicom.Dataset, group: pydicom.Dataset
) -> pydicom.Dataset:
    frame = pydicom.Dataset()
    frame.update(common)  # Dataset(common) would share its elements with every other frame
    frame.set_original_encoding(*header.original_encoding)
    frame.file_meta = header.file_meta
    for sequence, attributes in _GROUPS.items():
        items = list(group.get(sequence) or shared.get(sequence) or [])
        # several items tell of several sources at once: then none of them describes the frame
        if len(items) == 1:
            for name, single in attributes.items():
                _copy(items[0], name, frame, single)
    anatomy = list(group.get(_ANATOMY) or shared.get(_ANATOMY) or [])
    region = next((HeaderValues(code, "").text("CodeMeaning") for item in anatomy for code in item.get(_REGION) or []), None)
    if region and "BodyPartExamined" not in frame:
        frame.add_new(tag_for_keyword("BodyPartExamined"), "CS", region.upper()[:16])
    return frame


def _copy(item: pydicom.Dataset, name: str, frame: pydicom.Dataset, single: str) -> None:
    tag = Tag(tag_for_keyword(name) or 0)
    if tag not in item:
        return
    if name == single:
        frame[tag] = item.get_item(tag)  # as it stands, so that what is odd is told where it is used
    else:
        frame.add_new(tag_for_keyword(single), item[tag].VR, item[tag].value)


def read_frames(path: Path, wanted: Mapping[int, HeaderValues]) -> Iterator[tuple[int, FloatArray]]:
    """Frames of one enhanced file, number (from 0) and float32 (j, i), HU; the file is read once.

    Args:
        path: the file.
        wanted: frame number -> header of that frame, as :func:`frame_headers` gives it.

    Raises:
        InputError: unreadable, another number of bytes than the header promises, or a compression that cannot be decoded here;
            then the message names what to install.
    """
    dataset, values, syntax = read_packed(path)
    stored = (
        _native(dataset, values, syntax, list(wanted))
        if syntax in NATIVE
        else decoded_frames(dataset, values, syntax, list(wanted))
    )
    for number, pixels in stored:
        slope, intercept = rescale_of(wanted[number])
        yield number, (pixels * slope + intercept).astype(np.float32)


def _native(
    dataset: pydicom.Dataset, values: HeaderValues, syntax: UID, numbers: list[int]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    frames = values.whole("NumberOfFrames") or 1
    pixels = native_pixels(dataset, values, syntax, frames)
    for number in numbers:
        yield number, pixels(number)
