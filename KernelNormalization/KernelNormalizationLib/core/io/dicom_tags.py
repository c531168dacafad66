"""Which header fields of a CT image are read before its pixels."""

from __future__ import annotations

from .dicom_reconstruction import RECONSTRUCTION_OWNERS, RECONSTRUCTION_TAGS

# Tags that say how the image was reconstructed, as numbers: pydicom knows no keywords of private ones.
RECONSTRUCTION_NUMBERS = {tag: int(tag.replace(",", ""), base=16) for tag in (*RECONSTRUCTION_TAGS, *RECONSTRUCTION_OWNERS)}

HEADER_TAGS: list[str | int] = [
    *RECONSTRUCTION_NUMBERS.values(),
    "SOPClassUID",
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "ConvolutionKernel",
    "SliceThickness",
    "KVP",
    "ContrastBolusAgent",
    "BodyPartExamined",
    "ImageType",
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
    "PixelPaddingValue",
    "PixelSpacing",
    "Rows",
    "Columns",
    "InstanceNumber",
    "BitsAllocated",
    "PixelRepresentation",
    "PhotometricInterpretation",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "Exposure",
    "XRayTubeCurrent",
    "AcquisitionNumber",
    "PatientID",
    "PatientName",
    "ImageComments",
    "DerivationDescription",
    "ContributingEquipmentSequence",
]
