"""DICOM folders: which series they hold, whether one is whole, and its voxels in HU."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError

from ..errors import InputError
from ..volume import MINIMUM_SLICES, Acquisition

logger = logging.getLogger(__name__)

# Relative deviation of a slice distance from the median that is still even spacing: scanners round positions to 0.1 mm.
SPACING_TOLERANCE = 0.15
_TAGS = [
    "SOPClassUID", "Modality", "Manufacturer", "ManufacturerModelName", "ConvolutionKernel", "SliceThickness", "KVP",
    "ContrastBolusAgent", "BodyPartExamined", "ImageType", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber",
    "SeriesDescription", "FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "SamplesPerPixel",
    "NumberOfFrames", "RescaleSlope", "RescaleIntercept", "PixelPaddingValue", "PixelSpacing", "Rows", "Columns",
    "InstanceNumber", "BitsAllocated", "PixelRepresentation",
]  # fmt: skip

_ELEMENT_HEADER = 8  # bytes before the pixels themselves, at least


@dataclass(frozen=True)
class DicomSlice:
    """One image file of a series and its header without pixels.

    Attributes:
        path: the file.
        header: tags the product uses.
        bytes_left: size of the rest of the file, from the pixel element on.
    """

    path: Path
    header: pydicom.Dataset
    bytes_left: int

    @property
    def position(self) -> float:
        """Signed distance along the slice normal, mm."""
        row, column = np.reshape(np.asarray(self.header.ImageOrientationPatient, dtype=float), (2, 3))
        return float(np.dot(np.cross(row, column), np.asarray(self.header.ImagePositionPatient, dtype=float)))


Series = list[DicomSlice]


def find_series(folder: Path) -> dict[str, Series]:
    """All DICOM image series below ``folder`` by series instance UID; files that are not DICOM are passed over.

    Raises:
        InputError: no DICOM image at all.
    """
    series: dict[str, Series] = defaultdict(list)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        item = _read_slice(path)
        if item is not None and "Rows" in item.header:
            series[str(item.header.get("SeriesInstanceUID", ""))].append(item)
    if not series:
        raise InputError(f"No DICOM image was found in {folder}; give the folder that holds the series' files.")
    return dict(series)


def read_header(path: Path) -> pydicom.Dataset | None:
    """The header tags the product uses, or ``None`` if ``path`` is not DICOM."""
    item = _read_slice(path)
    return None if item is None else item.header


def _read_slice(path: Path) -> DicomSlice | None:
    try:
        with path.open("rb") as file:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
            return DicomSlice(path, header, path.stat().st_size - file.tell())
    except (InvalidDicomError, EOFError, NotImplementedError):
        return None


def pick_series(series: dict[str, Series], wanted: str | None) -> Series:
    """The one series meant by ``wanted`` (UID, series number or kernel), or the only one there is.

    Raises:
        InputError: several series and no choice, or a choice that fits none or more than one.
    """
    if wanted is None and len(series) == 1:
        return next(iter(series.values()))
    listing = "\n".join("  " + describe_series(uid, slices) for uid, slices in series.items())
    if wanted is None:
        raise InputError(f"The folder holds {len(series)} series; pick one with --series NUMBER, KERNEL or UID:\n{listing}")
    hits = [s for uid, s in series.items() if wanted in _handles(uid, s[0].header)]
    if len(hits) != 1:
        raise InputError(f"--series {wanted} fits {len(hits)} series; choose exactly one of:\n{listing}")
    return hits[0]


def describe_series(uid: str, slices: Series) -> str:
    """One line for a person who has to choose."""
    header = slices[0].header
    return (
        f"number {header.get('SeriesNumber', '?')}, kernel {_kernel(header) or 'unknown'}, {len(slices)} slices, "
        f"modality {header.get('Modality', '?')}, UID {uid}"
    )


def read_series(slices: Series) -> tuple[sitk.Image, Acquisition, float | None]:
    """Voxels (rescaled to HU), acquisition and declared padding value (HU) of a checked series.

    Raises:
        InputError: not CT, colour, no rescale, gantry tilt, missing or doubled slices, mixed sizes.
    """
    _check_headers(slices)
    ordered = sorted(slices, key=lambda s: s.position)
    _check_positions(ordered)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(s.path) for s in ordered])
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(f"The series' pixels cannot be decoded ({_first_line(error)}); export it uncompressed.") from error
    return image, acquisition_of(ordered[0].header), _declared_padding(ordered[0].header)


def acquisition_of(header: pydicom.Dataset) -> Acquisition:
    """What a header says of the acquisition, without anything that identifies the patient."""

    def text(name: str) -> str | None:
        value = header.get(name)
        return str(value).strip() or None if value is not None else None

    def number(name: str) -> float | None:
        value = header.get(name)
        return float(value) if value not in (None, "") else None

    return Acquisition(
        kernel=_kernel(header),
        manufacturer=text("Manufacturer"),
        scanner_model=text("ManufacturerModelName"),
        slice_thickness_mm=number("SliceThickness"),
        tube_voltage_kv=number("KVP"),
        contrast_agent=text("ContrastBolusAgent"),
        body_part=text("BodyPartExamined"),
        modality=text("Modality"),
        image_type=tuple(str(part) for part in header.get("ImageType") or ()),
        study_instance_uid=text("StudyInstanceUID"),
        series_instance_uid=text("SeriesInstanceUID"),
        frame_of_reference_uid=text("FrameOfReferenceUID"),
    )


def _kernel(header: pydicom.Dataset) -> str | None:
    value = header.get("ConvolutionKernel")
    if value is None:
        return None
    parts = [value] if isinstance(value, str) else list(value)
    return "\\".join(str(p) for p in parts).strip() or None


def _handles(uid: str, header: pydicom.Dataset) -> set[str]:
    return {uid, str(header.get("SeriesNumber", "")), _kernel(header) or ""} - {""}


def _declared_padding(header: pydicom.Dataset) -> float | None:
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    return float(value) * float(header.RescaleSlope) + float(header.RescaleIntercept)


def _check_headers(slices: Series) -> None:
    first = slices[0].header
    modality = str(first.get("Modality", ""))
    if modality != "CT":
        raise InputError(f"The series' modality is {modality or 'not stated'}; only CT can be normalized and measured.")
    if int(first.get("NumberOfFrames") or 1) > 1:
        raise InputError("The file is an enhanced (multi-frame) CT; export it as single-frame images or as NRRD.")
    if len(slices) < MINIMUM_SLICES:
        raise InputError(
            f"The series has {len(slices)} slice(s); at least {MINIMUM_SLICES} are needed. "
            "Give the folder of a whole chest series, not of a scout or single images."
        )
    for item in slices:
        _check_values(item)
        _check_place(item)
        _check_same_grid(item, slices[0])


def _check_values(item: DicomSlice) -> None:
    header, where = item.header, item.path.name
    if int(header.get("SamplesPerPixel", 1)) != 1:
        raise InputError(f"{where} has {header.SamplesPerPixel} colour channels; a CT image has one.")
    if not header.get("RescaleSlope") or header.get("RescaleIntercept") is None:
        raise InputError(f"{where} has no rescale slope and intercept, so its values are not HU; export it again.")
    syntax = header.file_meta.get("TransferSyntaxUID")
    expected = int(header.Rows) * int(header.Columns) * int(header.get("BitsAllocated", 16)) // 8
    if syntax is not None and not syntax.is_compressed and item.bytes_left < expected + _ELEMENT_HEADER:
        raise InputError(f"{where} holds {item.bytes_left} bytes of pixels instead of {expected}; copy the series again.")


def _check_place(item: DicomSlice) -> None:
    header, where = item.header, item.path.name
    corner, axes = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    if corner is None or axes is None:
        raise InputError(f"{where} states no position or orientation; export the series with its geometry.")
    if len(corner) != 3 or len(axes) != 6 or not np.allclose(_products(axes), np.eye(2), atol=1e-3):
        raise InputError(
            f"{where} has position {_numbers(corner)} and orientation {_numbers(axes)}, which place no image; "
            "export the series with its geometry."
        )
    spacing = header.get("PixelSpacing")
    if spacing is None or len(spacing) != 2 or not all(float(s) > 0.0 for s in spacing):
        stated = "no pixel spacing" if spacing is None else f"pixel spacing {_numbers(spacing)} mm"
        raise InputError(f"{where} has {stated}; two positive lengths are needed. Export the series again.")


def _numbers(values: Sequence[float]) -> list[float]:
    return [float(v) for v in values]


def _products(axes: Sequence[float]) -> NDArray[np.float64]:
    """Scalar products (2, 2) of the direction cosines of rows and columns; the identity if they are valid."""
    vectors = np.reshape(np.asarray(axes, dtype=float), (2, 3))
    return vectors @ vectors.T


def _check_same_grid(item: DicomSlice, reference: DicomSlice) -> None:
    header, first, where = item.header, reference.header, item.path.name
    if (header.Rows, header.Columns) != (first.Rows, first.Columns):
        raise InputError(
            f"{where} is {header.Rows} x {header.Columns} pixels, the first image {first.Rows} x {first.Columns}; "
            "a series has one size."
        )
    if not np.allclose(header.PixelSpacing, first.PixelSpacing, rtol=0.0, atol=1e-4):
        raise InputError(
            f"{where} has pixel spacing {_numbers(header.PixelSpacing)} mm, the first image "
            f"{_numbers(first.PixelSpacing)}; a series has one spacing."
        )
    if not np.allclose(header.ImageOrientationPatient, first.ImageOrientationPatient, atol=1e-3):
        raise InputError(f"{where} is oriented differently from the first image; remove scouts and reformats.")


def _check_positions(ordered: Series) -> None:
    positions = np.array([s.position for s in ordered])
    gaps = np.diff(positions)
    doubled = list(dict.fromkeys(f"{p:.2f}" for p, g in zip(positions[1:], gaps, strict=True) if g < 1e-3))
    if doubled:
        raise InputError(f"Doubled slices at {', '.join(doubled[:8])} mm along the slice axis; keep one image a position.")
    step = float(np.median(gaps))
    missing = [f"{p + step:.2f}" for p, g in zip(positions, gaps, strict=False) if g > (1.0 + SPACING_TOLERANCE) * step]
    if missing:
        raise InputError(
            f"Missing slices after {step:.2f} mm steps, first at {', '.join(missing[:8])} mm along the slice axis; "
            "export the whole series again."
        )
    uneven = np.abs(gaps / step - 1.0).max()
    if uneven > SPACING_TOLERANCE:
        raise InputError(f"Slice distances run from {gaps.min():.2f} to {gaps.max():.2f} mm; resample to even spacing first.")
    corners = np.array([s.header.ImagePositionPatient for s in ordered], dtype=float)
    row, column = np.reshape(np.asarray(ordered[0].header.ImageOrientationPatient, dtype=float), (2, 3))
    drift = max(abs(float(np.dot(corners[-1] - corners[0], axis))) for axis in (row, column))
    if drift > 1.0:
        raise InputError(
            f"The slices shift by {drift:.1f} mm in their own plane (gantry tilt); correct the tilt by resampling first."
        )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
