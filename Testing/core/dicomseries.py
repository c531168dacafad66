"""DICOM series written file by file, each header field open to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
Change = Callable[[int, FileDataset], None]


def chest_slices(count: int = 10, rows: int = 12, columns: int = 16, seed: int = 5) -> NDArray[np.int16]:
    """HU (k, j, i) between -1024 and 3071 in which every slice, row and column differs from its neighbours."""
    generator = np.random.default_rng(seed)
    hu = generator.integers(-1000, -700, (count, rows, columns))
    hu[:, : rows // 3] = generator.integers(0, 80, (count, rows // 3, columns))
    hu[np.arange(count), 0, 0] = 100 + 10 * np.arange(count)
    return hu.astype(np.int16)


def write_series(
    folder: Path,
    hu: NDArray[np.int16],
    *,
    step: float = 1.25,
    pixel: tuple[float, float] = (0.7, 0.6),
    orientation: tuple[float, ...] = AXIAL,
    start: tuple[float, float, float] = (-110.0, -95.5, -310.25),
    kernel: str | list[str] | None = "B70f",
    number: int = 3,
    uid: str | None = None,
    intercept: int = -1024,
    change: Change | None = None,
    order: NDArray[np.int_] | None = None,
    signed: bool = False,
    implicit: bool = False,
    stem: str = "image",
) -> str:
    """Write ``hu`` (k, j, i) as single-frame CT files and give the series instance UID.

    Args:
        folder: made if absent.
        hu: voxels, HU.
        step: mm between slices along the normal of ``orientation``.
        pixel: (row, column) spacing, mm.
        orientation: direction cosines of rows and columns.
        start: LPS position of the first slice's first pixel, mm.
        kernel: convolution kernel tag; ``None`` leaves it out.
        number: series number.
        uid: series instance UID; a new one if absent.
        intercept: rescale intercept; stored values are ``hu - intercept``.
        change: called with slice index and dataset before each file is written; setting ``ds.Skip`` is not needed, return
            nothing and edit in place.
        order: file number of each slice, so that storage order differs from position order.
        signed: pixel representation.
        implicit: implicit VR transfer syntax.
        stem: beginning of the file names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid or generate_uid()
    study, frame = generate_uid(), generate_uid()
    normal = np.cross(orientation[:3], orientation[3:])
    for k, image in enumerate(hu):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        place = int(order[k]) if order is not None else k
        ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "CT", "SIEMENS", "Sensation 16"
        ds.PatientName, ds.PatientID = "Doe^Jane", "PID4711"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, uid, frame
        ds.SeriesNumber, ds.InstanceNumber = number, place + 1
        if kernel is not None:
            ds.ConvolutionKernel = kernel
        ds.SliceThickness, ds.KVP, ds.BodyPartExamined = 1.5, 120, "CHEST"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.ImageOrientationPatient = [float(v) for v in orientation]
        ds.ImagePositionPatient = [round(float(v), 9) for v in np.asarray(start) + k * step * normal]
        ds.PixelSpacing = list(pixel)
        ds.Rows, ds.Columns = image.shape[:2]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, int(signed)
        ds.RescaleSlope, ds.RescaleIntercept = 1, intercept
        stored = image.astype(np.int32) - intercept
        ds.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
        if change is not None:
            change(k, ds)
        ds.save_as(folder / f"{stem}{place:04d}.dcm")
    return uid
