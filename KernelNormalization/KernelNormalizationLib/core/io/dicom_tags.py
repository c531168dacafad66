"""Header fields of a CT image that are read before its pixels."""

from __future__ import annotations

from .dicom_reconstruction import RECONSTRUCTION_OWNERS, RECONSTRUCTION_TAGS

# SOP class of single CT images, and classes of enhanced CT and of legacy converted enhanced CT.
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
CT_CLASSES = (CT_IMAGE, *ENHANCED_CT)
# Tags that say how the image was reconstructed, as numbers: pydicom knows no keywords of private ones.
RECONSTRUCTION_NUMBERS = {tag: int(tag.replace(",", ""), base=16) for tag in (*RECONSTRUCTION_TAGS, *RECONSTRUCTION_OWNERS)}

HEADER_TAGS: list[str | int] = [
    *RECONSTRUCTION_NUMBERS.values(),
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "ConvolutionKernel",
    "SliceThickness",
    "KVP",
    "ContrastBolusAgent",
    "ContrastBolusAgentSequence",
    "ContrastBolusIngredient",
    "ContrastBolusVolume",
    "BodyPartExamined",
    "ImageType",
    "VolumeBasedCalculationTechnique",
    "StudyDate",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "FrameOfReferenceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SamplesPerPixel",
    "NumberOfFrames",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "PixelPaddingValue",
    "PixelSpacing",
    "Rows",
    "Columns",
    "InstanceNumber",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PhotometricInterpretation",
    "LossyImageCompression",
    "LossyImageCompressionMethod",
    "LossyImageCompressionRatio",
    "Exposure",
    "XRayTubeCurrent",
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "GantryDetectorTilt",
    "ReconstructionDiameter",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "AcquisitionDate",
    "AcquisitionTime",
    "SpacingBetweenSlices",
    "SliceLocation",
    "ImageComments",
    "DerivationDescription",
    "DerivationCodeSequence",
    "ContributingEquipmentSequence",
    # enhanced CT keeps what differs between its frames, and what does not, in these
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
