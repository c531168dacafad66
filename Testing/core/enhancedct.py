"""Enhanced (multi-frame) CT written by hand, each functional group open to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

Change = Callable[[FileDataset], None]


def item(**values: object) -> Sequence:
    """A sequence of one item with these attributes."""
    inner = Dataset()
    for name, value in values.items():
        setattr(inner, name, value)
    return Sequence([inner])


def write_enhanced(
    path: Path,
    hu: NDArray[np.int16],
    *,
    kernel: str = "B70f",
    uid: str | None = None,
    first: int = 0,
    change: Change | None = None,
) -> str:
    """Write ``hu`` (k, j, i) as one enhanced CT file of 1.25 mm steps and give the series instance UID.

    Args:
        path: of the file; its folder is made if absent.
        hu: voxels, HU.
        kernel: convolution kernel, in the shared groups.
        uid: series instance UID; a new one if absent.
        first: number of the first frame in the series, for its place.
        change: called with the dataset before it is written, to edit it in place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    uid = uid or generate_uid()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "CT", "SIEMENS", "NAEOTOM Alpha"
    ds.PatientName, ds.PatientID = "Doe^Jane", "PID4711"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.3.4", uid, "1.2.3.5"
    ds.SeriesNumber, ds.InstanceNumber, ds.ImageType = 3, 1, ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.NumberOfFrames, ds.Rows, ds.Columns = len(hu), *hu.shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    shared = Dataset()
    shared.PixelMeasuresSequence = item(PixelSpacing=[0.7, 0.6], SliceThickness=1.5)
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    shared.PixelValueTransformationSequence = item(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU")
    shared.CTReconstructionSequence = item(ConvolutionKernel=kernel)
    chest = item(CodeValue="51185008", CodingSchemeDesignator="SCT", CodeMeaning="Chest")
    shared.FrameAnatomySequence = item(FrameLaterality="U", AnatomicRegionSequence=chest)
    shared.CTXRayDetailsSequence = item(KVP=120.0)
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for k in range(len(hu)):
        group = Dataset()
        group.FrameContentSequence = item(StackID="1", InStackPositionNumber=k + 1)
        group.PlanePositionSequence = item(ImagePositionPatient=[-110.0, -95.5, -310.25 + 1.25 * (first + k)])
        group.CTExposureSequence = item(ExposureInmAs=90.5 + k, XRayTubeCurrentInmA=200.0 + k)
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    ds.PixelData = (hu.astype(np.int32) + 1024).astype("<u2").tobytes()
    if change is not None:
        change(ds)
    ds.save_as(path)
    return uid
