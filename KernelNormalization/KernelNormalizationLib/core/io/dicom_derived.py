"""Header of a synthetic CT image: tags copied from its source, new tags, and recognition of such images."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DA, TM

from ..errors import InputError
from ..methods.protocol import TARGET_KERNEL
from ..provenance.manifest import short_form
from ..volume import CTVolume
from .dicom_values import UNREADABLE

SOFTWARE = "CTKernelNormalization"
SERIES_DESCRIPTION = f"synthetic {TARGET_KERNEL}, research only"
IMAGE_TYPE = ("DERIVED", "SECONDARY", "AXIAL")
# Far above the numbers that scanners use, so that the series comes last in lists.
SERIES_NUMBER_OFFSET = 9000
_LONG_STRING, _SHORT_TEXT = 64, 1024
# Dates and times that objects take over from the scan.
_DATES = {"StudyDate": DA, "PatientBirthDate": DA, "StudyTime": TM}
# Values of PatientSex (PS3.3, C.7.1.1), and what is also met for them.
_SEXES = {"M": "M", "F": "F", "O": "O", "MALE": "M", "FEMALE": "F", "OTHER": "O"}
# Name of UTF-8 in DICOM (PS3.3, C.12.1.1.2).
UTF8 = "ISO_IR 192"
# Private field of the whole provenance record: (0099,xx01), reserved by the private creator SOFTWARE.
_PRIVATE_GROUP, _MANIFEST_ELEMENT = 0x0099, 0x01

# Groups copied whole: patient, clinical trial and de-identification, acquisition. Private tags are never copied.
_COPIED_GROUPS = (0x0010, 0x0012, 0x0018)
_COPIED = (
    "SpecificCharacterSet",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
    "StudyInstanceUID",
    "StudyID",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "AcquisitionNumber",
    "TimezoneOffsetFromUTC",
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "InstitutionName",
    "StationName",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "Laterality",
    "InstanceNumber",
    "PatientOrientation",
    "SliceLocation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "PixelSpacing",
    "WindowCenter",
    "WindowWidth",
    "WindowCenterWidthExplanation",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "ProcedureCodeSequence",
    "PhysiciansOfRecord",
    "ConsultingPhysicianName",
    "AdmittingDiagnosesDescription",
    "AdmissionID",
    "PatientState",
    "RequestingService",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
)
# Type 2 attributes of the CT image: present, if need be empty.
_EMPTY_IF_ABSENT = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "PositionReferenceIndicator",
    "PatientPosition",
    "AcquisitionNumber",
    "KVP",
    "Manufacturer",
    "SliceThickness",
)


@dataclass(frozen=True)
class SyntheticSeries:
    """What the images of one exported series have in common.

    Attributes:
        record: provenance of the normalization.
        series_uid: new series instance UID.
        number: series number.
        made: date and time of the export.
    """

    record: Mapping[str, Any]
    series_uid: str
    number: int
    made: datetime


@contextmanager
def without_quotes() -> Iterator[None]:
    """Suppress warnings of DICOM libraries: they quote header values, such as a patient's name, which must not reach logs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def new_series(record: Mapping[str, Any], source: Dataset) -> SyntheticSeries:
    """A series with a new UID in the study of ``source``."""
    return SyntheticSeries(record, new_uid(), int(source.get("SeriesNumber") or 0) + SERIES_NUMBER_OFFSET, datetime.now())


def new_uid() -> str:
    """A new UID without information about place or person (2.25 and a random number, PS3.5 B.2)."""
    return str(generate_uid(prefix=None))


def derived_header(source: Dataset, series: SyntheticSeries) -> FileDataset:
    """Header of the image computed from ``source``, without pixels and their encoding.

    Args:
        source: header of the source slice, complete.
        series: what all images share.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, new_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", _copied(source), file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    image.SeriesInstanceUID, image.SeriesNumber = series.series_uid, series.number
    image.ImageType = list(IMAGE_TYPE)
    image.SeriesDescription = SERIES_DESCRIPTION
    image.ImageComments = f"{SERIES_DESCRIPTION}. Computed from the referenced series, not reconstructed by a scanner."
    image.BurnedInAnnotation = "NO"
    _date(image, series.made)
    image.DerivationDescription = derivation_text(series.record, source)
    image.DerivationCodeSequence = [code("113087", "DCM", "Smoothing")]
    image.SourceImageSequence = [_source_reference(source)]
    earlier = list(image.get("ContributingEquipmentSequence") or [])
    image.ContributingEquipmentSequence = [*earlier, equipment(series.record, series.made)]
    block = image.private_block(_PRIVATE_GROUP, SOFTWARE, create=True)
    block.add_new(_MANIFEST_ELEMENT, "UT", json.dumps(dict(series.record), sort_keys=True))
    return image


def manifest_of(header: Dataset) -> dict[str, Any] | None:
    """The whole provenance record in an image that this software exported; ``None`` if there is none, or it was stripped.

    Its hash is that of the volume before its voxels were rounded to what DICOM stores, so the image itself does not match it.
    Archives and de-identification may remove private fields; the model and its hash then still stand in the
    ContributingEquipmentSequence.

    Raises:
        InputError: what stands there is no record.
    """
    try:
        text = header.private_block(_PRIVATE_GROUP, SOFTWARE)[_MANIFEST_ELEMENT].value
    except KeyError:
        return None
    try:
        record = json.loads(text)
    except (TypeError, ValueError) as error:
        raise InputError("The provenance record in the DICOM header is damaged; export the series again.") from error
    return record if isinstance(record, dict) else None


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def equipment(record: Mapping[str, Any], made: datetime | None = None) -> Dataset:
    """Item of the ContributingEquipmentSequence: this software, the model and its SHA-256 (64 hex digits).

    ``SoftwareVersions`` holds the version and, where a network computed the image, the hash of its weights.
    """
    model, sha = record.get("model"), record.get("model_sha256")
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code("109102", "DCM", "Processing Equipment")]
    item.Manufacturer = SOFTWARE
    item.ManufacturerModelName = str(model or f"method {record.get('method', 'not stated')}")[:_LONG_STRING]
    versions = [record.get("version", "not stated"), *([sha] if sha else [])]
    item.SoftwareVersions = [str(text)[:_LONG_STRING] for text in versions]
    if made is not None:
        item.ContributionDateTime = made.strftime("%Y%m%d%H%M%S")
    weights = f", model {model}, SHA-256 {sha}" if model else ""
    short = short_form(record)
    voxels = f"; {short}" if short else ""
    text = f"{SERIES_DESCRIPTION}: method {record.get('method', 'not stated')}{weights}{voxels}"
    item.ContributionDescription = text[:_SHORT_TEXT]
    return item


def derivation_text(record: Mapping[str, Any], source: Dataset) -> str:
    """One paragraph on how the voxels were made, at most 1024 characters (ST)."""
    kernel = " / ".join(_texts(source.get("ConvolutionKernel"))) or "not stated"
    network = f" with network {record['model']}" if record.get("model") else ""
    text = (
        f"{SERIES_DESCRIPTION}. Kernel normalization by {SOFTWARE} {record.get('version', '')}, method "
        f"{record.get('method', 'not stated')}{network}, from a scanner's reconstruction with kernel {kernel}. "
        "ConvolutionKernel names the kernel of that reconstruction. Not for diagnosis."
    )
    return text[:_SHORT_TEXT]


def is_synthetic_header(header: Dataset | Mapping[str, Any]) -> bool:
    """Whether an image was computed by this software, according to its header.

    One of the following is sufficient, since archives rewrite some of them: ContributingEquipmentSequence,
    SeriesDescription, ImageComments or DerivationDescription. ``header`` needs to hold no more than these four,
    and may be a mapping from these keywords.
    """
    equipment = _value_of(header, "ContributingEquipmentSequence")
    made_by = [str(_value_of(item, "Manufacturer")) for item in (equipment if isinstance(equipment, Sequence) else [])]
    texts = [str(_value_of(header, name)) for name in ("SeriesDescription", "ImageComments", "DerivationDescription")]
    return SOFTWARE in made_by or any(SERIES_DESCRIPTION in text for text in texts)


def _value_of(header: Any, name: str) -> Any:
    """A value of a header, empty if it is absent or damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return header.get(name) or ""
    except UNREADABLE:
        return ""


def marked_by_header(volume: CTVolume, header: Dataset) -> CTVolume:
    """``volume`` as read from the image with ``header``: marked as synthetic if it is, else the same.

    The kernel becomes "B20f (synthetic)", as in the other files of this project: the tag holds the scanner's kernel.
    """
    if not is_synthetic_header(header):
        return volume
    kernel = f"{TARGET_KERNEL} (synthetic)"
    acquisition = replace(volume.acquisition, kernel=kernel)
    return replace(volume, acquisition=acquisition, synthetic=True, name=f"CT {kernel}")


def require_original(header: Dataset) -> None:
    """Refuse a source that is itself synthetic.

    Raises:
        InputError: it is.
    """
    if is_synthetic_header(header):
        raise InputError("The source series is itself synthetic; give the scanner's series that the volume was made from.")


def _copied(source: Dataset) -> Dataset:
    kept = Dataset()
    keywords = {pydicom.datadict.tag_for_keyword(keyword) for keyword in _COPIED}
    for element in source:
        group = element.tag.group
        if element.tag.element and (element.tag in keywords or (group in _COPIED_GROUPS and not element.tag.is_private)):
            kept.add(_in_single_frame_form(copy.deepcopy(element)))  # a shared element would change with the copy
    kept.remove_private_tags()  # inside copied sequences too
    return with_empty_fields(kept)


def _in_single_frame_form(element: DataElement) -> DataElement:
    """Integers as text: the frames of an enhanced CT state exposure, tube current and acquisition number in binary."""
    is_text = dictionary_has_tag(element.tag) and dictionary_VR(element.tag) == "IS"
    if not is_text or element.VR not in ("US", "FD") or element.VM > 1:
        return element
    return DataElement(element.tag, "IS", round(float(element.value)) if element.VM else None)


def with_empty_fields(header: Dataset) -> Dataset:
    """``header`` itself, in UTF-8, with the fields that DICOM asks for empty where they are missing, no dates or no sex."""
    if header.get("SpecificCharacterSet") not in (None, "", UTF8):
        # libraries refuse to write some of the character sets in use, such as a single ISO 2022 one
        header.decode()
        header.SpecificCharacterSet = UTF8
    for keyword, kind in _DATES.items():
        try:
            kind(str(header.get(keyword) or ""))
        except ValueError:
            setattr(header, keyword, None)
    header.PatientSex = _SEXES.get(str(header.get("PatientSex") or "").strip().upper())
    for keyword in _EMPTY_IF_ABSENT:
        if keyword not in header:
            setattr(header, keyword, None)
    if "BodyPartExamined" not in header and "Laterality" not in header:
        header.Laterality = None  # the body part might be one of a pair (PS3.3, C.7.3.1)
    return header


def _date(image: Dataset, made: datetime) -> None:
    day, hour = made.strftime("%Y%m%d"), made.strftime("%H%M%S")
    image.InstanceCreationDate = image.SeriesDate = image.ContentDate = day
    image.InstanceCreationTime = image.SeriesTime = image.ContentTime = hour


def _source_reference(source: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    if "ReferencedFrameNumber" in source:
        item.ReferencedFrameNumber = source.ReferencedFrameNumber
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = [code("121322", "DCM", "Source image for image processing operation")]
    return item


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(part) for part in value] if isinstance(value, Sequence) else [str(value)]
