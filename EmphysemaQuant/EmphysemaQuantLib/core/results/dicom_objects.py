"""Masks and numbers of a measurement as DICOM objects: a segmentation (SEG) and a measurement report (SR, TID 1500).

highdicom, the extra ``dicom``, is imported when an object is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from KernelNormalizationLib.core.arrays import BoolArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.dicom_derived import SOFTWARE, equipment, is_synthetic_header, new_uid, without_quotes
from KernelNormalizationLib.core.methods.protocol import TARGET_KERNEL

from ..indices.density import RegionIndices
from ..indices.regions import LOBE_NAMES
from ..lungs.left_right import LEFT, RIGHT
from ..lungs.segmentation import LungMask, MaskOrigin

# Codes that DICOM and SNOMED lack; a scheme that starts with 99 is private (PS3.16, 8.2).
PRIVATE_SCHEME = "99CTKN"
RESEARCH_ONLY = "research only"
RIGHT_LUNG, LEFT_LUNG, AIRWAYS, EMPHYSEMA = "Right lung", "Left lung", "Airways", "Emphysema"

_Code = tuple[str, str, str]
_LUNG: _Code = ("39607008", "SCT", "Lung")
_RIGHT: _Code = ("24028007", "SCT", "Right")
_LEFT: _Code = ("7771000", "SCT", "Left")
_BOTH: _Code = ("51440002", "SCT", "Right and left")
_ANATOMY: _Code = ("91723000", "SCT", "Anatomical Structure")
_ABNORMAL: _Code = ("49755003", "SCT", "Morphologically Abnormal Structure")
_PULMONARY_EMPHYSEMA: _Code = ("87433001", "SCT", "Pulmonary emphysema")
_AIRWAY: _Code = ("89187006", "SCT", "Airway structure")
_VOLUME: _Code = ("118565006", "SCT", "Volume")
_MEAN: _Code = ("112181", "DCM", "Mean Attenuation Coefficient")
_EI: _Code = ("EI", PRIVATE_SCHEME, "Emphysema index, share of voxels below the threshold")
_EV: _Code = ("EV", PRIVATE_SCHEME, "Emphysema volume, voxels below the threshold")
_PERC15: _Code = ("PERC15", PRIVATE_SCHEME, "15th percentile of lung density")
_PERCENT: _Code = ("%", "UCUM", "Percent")
_ML: _Code = ("mL", "UCUM", "milliliter")
_HU: _Code = ("[hnsf'U]", "UCUM", "Hounsfield unit")
# Field of the indices, what it is and in which unit.
MEASUREMENTS: tuple[tuple[str, _Code, _Code], ...] = (
    ("ei_percent", _EI, _PERCENT),
    ("ev_ml", _EV, _ML),
    ("tlv_ml", _VOLUME, _ML),
    ("perc15_hu", _PERC15, _HU),
    ("mld_hu", _MEAN, _HU),
)
_UPPER: _Code = ("45653009", "SCT", "Upper lobe of lung")
_LOWER: _Code = ("90572001", "SCT", "Lower lobe of lung")
_SITES: dict[str, tuple[_Code, _Code | None]] = {
    "whole": (_LUNG, _BOTH),
    "right": (_LUNG, _RIGHT),
    "left": (_LUNG, _LEFT),
    LOBE_NAMES[1]: (_UPPER, _RIGHT),
    LOBE_NAMES[2]: (("72481006", "SCT", "Middle lobe of right lung"), None),
    LOBE_NAMES[3]: (_LOWER, _RIGHT),
    LOBE_NAMES[4]: (_UPPER, _LEFT),
    LOBE_NAMES[5]: (_LOWER, _LEFT),
}
_SEGMENT_OF_REGION = {"right": RIGHT_LUNG, "left": LEFT_LUNG}


@dataclass(frozen=True)
class Maker:
    """Origin of the masks.

    Attributes:
        version: of this software.
        lungs: "automatic", or "supplied" for a lung mask from another program.
        record: provenance of the normalization, so that SEG and SR name the model and its hash.
    """

    version: str
    lungs: MaskOrigin = "automatic"
    record: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _SegmentKind:
    name: str
    category: _Code
    kind: _Code
    modifier: _Code | None
    rgb: tuple[int, int, int]


# Colours of the Slicer segmentation.
_KINDS = (
    _SegmentKind(RIGHT_LUNG, _ANATOMY, _LUNG, _RIGHT, (158, 199, 240)),
    _SegmentKind(LEFT_LUNG, _ANATOMY, _LUNG, _LEFT, (191, 224, 181)),
    _SegmentKind(AIRWAYS, _ANATOMY, _AIRWAY, None, (181, 227, 255)),
    _SegmentKind(EMPHYSEMA, _ABNORMAL, _PULMONARY_EMPHYSEMA, None, (219, 20, 61)),
)


@without_quotes()
def segmentation_object(
    images: Sequence[Dataset],
    lung_mask: LungMask,
    emphysema: BoolArray,
    threshold_hu: float,
    maker: Maker,
    enhanced: Dataset | None = None,
) -> Dataset:
    """Lungs, airways and emphysema as a binary DICOM segmentation of ``images``; empty ones are left out.

    Args:
        images: headers of the CT images that were measured, one a slice, in the order of the masks' slices.
        lung_mask: labels (k, j, i) and airways.
        emphysema: bool (k, j, i), voxels of the lungs below the threshold.
        threshold_hu: HU, for the description.
        maker: software and origin of the lung mask.
        enhanced: complete header of the enhanced (multi-frame) CT of which ``images`` are the frames, if they are.

    Returns:
        The dataset, to be saved with ``save_as``.

    Raises:
        InputError: highdicom is not installed, or masks and images do not fit.
    """
    hd = require_highdicom()
    _require_fit(images, lung_mask.labels.shape, emphysema.shape)
    arrays = {
        RIGHT_LUNG: lung_mask.labels == RIGHT,
        LEFT_LUNG: lung_mask.labels == LEFT,
        AIRWAYS: lung_mask.airways,
        EMPHYSEMA: emphysema,
    }
    kinds = [kind for kind in _KINDS if arrays[kind.name].any()]
    if not kinds:
        raise InputError("The lung mask is empty; there is nothing to export as a segmentation.")
    stacked: NDArray[np.uint8] = np.stack([arrays[kind.name].astype(np.uint8) for kind in kinds], axis=-1)
    if enhanced is not None:
        # highdicom takes the planes of a multi-frame image in the order of its frames
        stacked = stacked[np.argsort([int(image.ReferencedFrameNumber) for image in images])]
    segmentation: Dataset = hd.seg.Segmentation(
        source_images=list(images) if enhanced is None else [enhanced],
        pixel_array=stacked,
        segmentation_type="BINARY",
        segment_descriptions=[_described(hd, kind, n, threshold_hu, maker) for n, kind in enumerate(kinds, start=1)],
        series_instance_uid=new_uid(),
        series_number=_number(images, 1),
        sop_instance_uid=new_uid(),
        instance_number=1,
        manufacturer=SOFTWARE,
        manufacturer_model_name="EmphysemaQuant",
        software_versions=maker.version,
        device_serial_number="none",
        content_label="EMPHYSEMA",
        content_description=_description(images, "lungs and emphysema"),
        series_description=_description(images, "lungs and emphysema"),
    )
    _name_model(segmentation, maker)
    return segmentation


@without_quotes()
def report_object(
    images: Sequence[Dataset],
    segmentation: Dataset,
    regions: Sequence[RegionIndices],
    maker: Maker,
    enhanced: Dataset | None = None,
) -> Dataset:
    """EI, EV, TLV, Perc15 and MLD of lungs and lobes as a structured report (TID 1500); right and left name their segment.

    Args:
        images: headers of the measured CT images.
        segmentation: made by :func:`segmentation_object` from the same measurement.
        regions: indices; thirds, core and rind have no code and are skipped.
        maker: software.
        enhanced: as for the segmentation.

    Returns:
        A Comprehensive 3D SR, complete but neither final nor verified.

    Raises:
        InputError: highdicom is not installed, or no region can be reported.
    """
    hd = require_highdicom()
    reported = [entry for entry in regions if entry.region in _SITES]
    if not reported:
        raise InputError("The measurement has neither lungs nor lobes; measure the lungs first.")
    numbers = {str(item.SegmentLabel): int(item.SegmentNumber) for item in segmentation.SegmentSequence}
    groups = [_group(hd, entry, segmentation, numbers, maker) for entry in reported]
    whole = next((entry for entry in reported if entry.region == "whole"), None)
    if whole is not None and EMPHYSEMA in numbers:
        groups.append(_emphysema_group(hd, whole, segmentation, numbers[EMPHYSEMA], maker))
    content = _content(hd, groups)
    report: Dataset = hd.sr.Comprehensive3DSR(
        evidence=[*(images if enhanced is None else [enhanced]), segmentation],
        content=content[0],
        series_instance_uid=new_uid(),
        series_number=_number(images, 2),
        sop_instance_uid=new_uid(),
        instance_number=1,
        manufacturer=SOFTWARE,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=_description(images, "emphysema indices"),
    )
    report.CodingSchemeIdentificationSequence = [_private_scheme()]
    _name_model(report, maker)
    return report


def _name_model(made: Dataset, maker: Maker) -> None:
    """Add what normalized the measured volume: method, model and hash (SOP common module, PS3.3 C.12.1)."""
    if maker.record is not None:
        earlier = list(made.get("ContributingEquipmentSequence") or [])
        made.ContributingEquipmentSequence = [*earlier, equipment(maker.record)]


def _content(hd: Any, groups: Sequence[Any]) -> Any:
    """The report around the measurement groups: this software observed them; a CT was the procedure."""
    attributes = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=new_uid(), name=SOFTWARE, manufacturer_name=SOFTWARE, model_name="EmphysemaQuant"
    )
    observer = hd.sr.ObserverContext(_code(hd, ("121007", "DCM", "Device")), attributes)
    return hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=_code(hd, ("25045-6", "LN", "CT unspecified body region")),
        imaging_measurements=list(groups),
        title=_code(hd, ("126000", "DCM", "Imaging Measurement Report")),
    )


def _described(hd: Any, kind: _SegmentKind, number: int, threshold_hu: float, maker: Maker) -> Any:
    is_emphysema = kind.name == EMPHYSEMA
    supplied = maker.lungs == "supplied" and not is_emphysema
    how = f"emphysema below {threshold_hu:g} HU" if is_emphysema else "lung mask of the user" if supplied else "lung mask"
    algorithm = hd.AlgorithmIdentificationSequence(
        name=f"{SOFTWARE} {how}",
        family=_code(hd, ("123109", "DCM", "Manual Processing") if supplied else ("123105", "DCM", "Histogram Analysis")),
        version=maker.version,
    )
    described = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=kind.name,
        segmented_property_category=_code(hd, kind.category),
        segmented_property_type=_code(hd, kind.kind),
        algorithm_type="SEMIAUTOMATIC" if supplied else "AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=new_uid(),
        tracking_id=kind.name,
        display_color=hd.color.CIELabColor.from_rgb(*kind.rgb),
    )
    if kind.modifier is not None:
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [_code(hd, kind.modifier)]
    return described


def _group(hd: Any, entry: RegionIndices, segmentation: Dataset, numbers: dict[str, int], maker: Maker) -> Any:
    site, laterality = _SITES[entry.region]
    shared = {
        "tracking_identifier": hd.sr.TrackingIdentifier(new_uid(), entry.region),
        "finding_type": _code(hd, site),
        "finding_sites": [hd.sr.FindingSite(_code(hd, site), None if laterality is None else _code(hd, laterality))],
        "measurements": [
            hd.sr.Measurement(
                _code(hd, name), float(getattr(entry, field)), _code(hd, unit), algorithm_id=_algorithm(hd, entry, maker)
            )
            for field, name, unit in MEASUREMENTS
        ],
    }
    number = numbers.get(_SEGMENT_OF_REGION.get(entry.region, ""))
    if number is None:
        return hd.sr.MeasurementsAndQualitativeEvaluations(**shared)
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=_reference(hd, segmentation, number), **shared
    )


def _emphysema_group(hd: Any, whole: RegionIndices, segmentation: Dataset, number: int, maker: Maker) -> Any:
    """The volume of the emphysema segment itself, in codes that every reader knows."""
    volume = hd.sr.Measurement(
        _code(hd, _VOLUME), float(whole.ev_ml), _code(hd, _ML), algorithm_id=_algorithm(hd, whole, maker)
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(new_uid(), "emphysema"),
        referenced_segment=_reference(hd, segmentation, number),
        finding_type=_code(hd, _PULMONARY_EMPHYSEMA),
        finding_sites=[hd.sr.FindingSite(_code(hd, _LUNG), _code(hd, _BOTH))],
        measurements=[volume],
    )


def _reference(hd: Any, segmentation: Dataset, number: int) -> Any:
    series = segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
    return hd.sr.ReferencedSegment(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        number,
        source_series=hd.sr.SourceSeriesForSegmentation(series),
    )


def _algorithm(hd: Any, entry: RegionIndices, maker: Maker) -> Any:
    return hd.sr.AlgorithmIdentification(
        name=SOFTWARE, version=maker.version, parameters=[f"emphysema: below {entry.threshold_hu:g} HU", RESEARCH_ONLY]
    )


def _description(images: Sequence[Dataset], what: str) -> str:
    kind = f"synthetic {TARGET_KERNEL}: " if is_synthetic_header(images[0]) else ""
    return f"{kind}{what}, {RESEARCH_ONLY}"


def _number(images: Sequence[Dataset], offset: int) -> int:
    """Series number that stands behind the images': times ten, so that SEG and SR of two series never share one."""
    return int(images[0].get("SeriesNumber") or 0) * 10 + offset


def _private_scheme() -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator, item.CodingSchemeName = PRIVATE_SCHEME, SOFTWARE
    item.CodingSchemeResponsibleOrganization = SOFTWARE
    return item


def _code(hd: Any, code: _Code) -> Any:
    value, scheme, meaning = code
    return hd.sr.CodedConcept(value, scheme, meaning)


def _require_fit(images: Sequence[Dataset], *shapes: tuple[int, ...]) -> None:
    expected = (len(images), int(images[0].Rows), int(images[0].Columns)) if images else (0, 0, 0)
    for shape in shapes:
        if shape != expected:
            raise InputError(f"The mask has shape {shape}, the images {expected}; both must be of one series.")


def require_highdicom() -> Any:
    """The module highdicom.

    Raises:
        InputError: it is not installed.
    """
    try:
        import highdicom
    except ImportError as error:
        raise InputError(
            "Segmentation and report as DICOM need highdicom; install it with: pip install 'ctkernelnormalization[dicom]'"
        ) from error
    return highdicom
