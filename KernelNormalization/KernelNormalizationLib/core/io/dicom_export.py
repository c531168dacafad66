"""A synthetic CT volume as a derived DICOM series of the series it was made from."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from ..arrays import FloatArray
from ..errors import CTKernelError, InputError
from ..progress import Progress, ProgressTracker
from ..provenance.manifest import require_record_of
from ..volume import CTVolume, Geometry
from .dicom_beginning import read_dataset
from .dicom_derived import (
    SERIES_DESCRIPTION,
    derived_header,
    is_synthetic_header,
    marked_by_header,
    new_series,
    require_original,
    without_quotes,
)
from .dicom_encoding import Encoding, choose_encoding
from .dicom_frames import frame_headers, is_enhanced
from .dicom_values import UNREADABLE
from .whole_sets import finish_interrupted, private_prefix

__all__ = ["ExportedSeries", "export_series", "is_synthetic_header", "marked_by_header", "staged_folder", "stored_hu"]

# Largest distance of a slice from its expected position, as a fraction of the slice distance: scanners round positions.
_PLACE_SHARE = 0.25
_IN_PLANE_MM = 0.01
_DIRECTION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ExportedSeries:
    """What was written.

    Attributes:
        folder: holds one file a slice.
        headers: header of each image without pixels, in the order of the volume's slices.
        encoding: how HU are stored.
        largest_rounding_hu: HU by which a stored voxel differs most from the volume's.
    """

    folder: Path
    headers: tuple[pydicom.Dataset, ...]
    encoding: Encoding
    largest_rounding_hu: float

    @property
    def series_uid(self) -> str:
        """Series instance UID."""
        return str(self.headers[0].SeriesInstanceUID)

    def in_words(self) -> str:
        """What was written and how voxels were rounded, for the user."""
        return f"Wrote {len(self.headers)} images ({SERIES_DESCRIPTION}). {self.encoding.in_words()}"


class _IncompleteError(CTKernelError):
    """A folder could not be written; one around it says so with its own name."""


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """A private folder beside ``folder``, renamed to it on success and removed on failure.

    Raises:
        InputError: ``folder`` holds something already, or cannot be made.
        CTKernelError: writing failed half-way; nothing is left of it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder; give a new one, nothing is overwritten.")
    if not folder.parent.is_dir():
        raise InputError(f"The folder {folder.parent} does not exist; create it first.")
    try:
        finish_interrupted(folder.parent)
        private = Path(tempfile.mkdtemp(dir=folder.parent, prefix=private_prefix()))
    except OSError as error:
        raise InputError(f"The folder {folder.parent} is not writable; choose another.") from error
    # The private folder is readable by its owner only; after renaming it gets the permissions of a new folder.
    inside = private / "content"
    try:
        inside.mkdir()
        yield inside
        if folder.exists():
            folder.rmdir()
        inside.rename(folder)
    except (OSError, _IncompleteError) as error:
        told = f"{folder} could not be written completely; is the disk full? Nothing of it was kept."
        raise _IncompleteError(told) from error
    finally:
        shutil.rmtree(private, ignore_errors=True)


@without_quotes()
def export_series(
    volume: CTVolume, source: Sequence[Path], record: Mapping[str, Any], folder: Path, progress: Progress | None = None
) -> ExportedSeries:
    """Write ``volume`` as a derived CT series in the study and frame of reference of ``source``, whole or not at all.

    Args:
        volume: synthetic volume, HU (k, j, i), on the grid of ``source``.
        source: files of the scanner's series it was made from, in any order; a multi-frame file may be named once for each of
            its frames.
        record: provenance of the normalization.
        folder: new or empty folder; gets ``ct_0001.dcm`` and so on, in the order of the volume's slices.
        progress: receives every written slice.

    Each image has its source's position, patient and study; voxels are rounded to the stored step (1 HU as a rule).

    Raises:
        InputError: the volume is not synthetic, was made from another series or lies on another grid, cannot be stored, or
            the record describes other voxels.
        CTKernelError: writing failed; nothing is kept.
        Cancelled: the user stopped; nothing is kept.
    """
    if not volume.synthetic:
        raise InputError("The volume is not synthetic; only a normalized volume is exported as a derived series.")
    headers = matched_headers(volume, source)
    require_original(headers[0])
    require_record_of(volume, record)
    _require_source_of(record, headers[0])
    encoding = choose_encoding(volume, headers)
    series = new_series(record, headers[0])
    tracker: Progress = progress if progress is not None else ProgressTracker()
    tracker.start("Writing DICOM", len(headers))
    written: list[pydicom.Dataset] = []
    rounding = 0.0
    with staged_folder(folder) as staged:
        for k, header in enumerate(headers):
            image = derived_header(header, series)
            _set_encoding(image, header, encoding, volume.padding_value)
            image.PixelData = encoding.pixels(volume.hu[k])
            image.save_as(staged / f"ct_{k + 1:04d}.dcm", enforce_file_format=True)
            rounding = max(rounding, float(np.abs(stored_hu(volume.hu[k], encoding) - volume.hu[k]).max()))
            del image.PixelData
            written.append(image)
            tracker.advance()
    return ExportedSeries(folder, tuple(written), encoding, rounding)


def stored_hu(hu: FloatArray, encoding: Encoding) -> FloatArray:
    """HU, float32, that ``hu`` has after it was stored and read again."""
    return encoding.hu_of(encoding.stored(hu))


def matched_headers(volume: CTVolume, source: Sequence[Path]) -> list[pydicom.Dataset]:
    """Complete header of the source slice of each of the volume's slices; of an enhanced CT, of the source frame.

    Raises:
        InputError: the volume does not lie on the grid of the series.
    """
    if not source:
        raise InputError(
            "There is no source series. A synthetic CT is exported into the study of the scanner's series, never into a new "
            "one without patient and date; give the DICOM folder that the volume was made from."
        )
    # each frame of a multi-frame file comes with the path of that one file
    headers = [header for path in dict.fromkeys(source) for header in _headers_of(path)]
    geometry = volume.geometry
    step = np.asarray(geometry.direction)[:, 2]
    ordered = sorted(headers, key=_along(step))
    first = ordered[0]
    if (len(ordered), int(first.Rows), int(first.Columns)) != volume.shape:
        found = (len(ordered), int(first.Rows), int(first.Columns))
        raise InputError(
            f"The volume has (slices, rows, columns) {volume.shape}, the source series {found}; give the series that it was "
            "made from."
        )
    expected = np.asarray(geometry.origin) + np.arange(len(ordered))[:, None] * geometry.spacing[0] * step
    for header, place in zip(ordered, expected, strict=True):
        _require_place(header, place, geometry)
    if any("ReferencedFrameNumber" in header for header in ordered):
        for number, header in enumerate(ordered, start=1):  # all frames of a file share its instance number
            header.InstanceNumber = number
    return ordered


def _headers_of(path: Path) -> list[pydicom.Dataset]:
    header = read_dataset(path, stop_before_pixels=True)
    try:
        headers: list[pydicom.Dataset] = frame_headers(header) if is_enhanced(header) else [header]
    except (InputError, *UNREADABLE) as error:
        raise InputError(f"The frames of {path.name} are not described completely; import the series again.") from error
    if int(headers[0].get("NumberOfFrames") or 1) > 1 or any("ImagePositionPatient" not in one for one in headers):
        raise InputError(
            "The source series states no positions of its images or frames; export the scan as enhanced CT, or as "
            "single-frame CT images first."
        )
    return headers


def _require_place(header: pydicom.Dataset, place: NDArray[np.float64], geometry: Geometry) -> None:
    """Refuse a source slice whose first pixel is not at ``place`` (LPS, mm) or whose orientation differs."""
    row, column, step = np.asarray(geometry.direction).T
    stated = np.reshape(np.asarray(header.ImageOrientationPatient, dtype=float), (2, 3))
    off = np.asarray(header.ImagePositionPatient, dtype=float) - place
    along = float(off @ step)
    same = (
        np.allclose(stated, (row, column), atol=_DIRECTION_TOLERANCE)
        and np.allclose([float(v) for v in header.PixelSpacing], geometry.spacing[1:], atol=1e-3)
        and abs(along) <= _PLACE_SHARE * geometry.spacing[0]
        and float(np.linalg.norm(off - along * step)) <= _IN_PLANE_MM + _PLACE_SHARE * geometry.spacing[1]
    )
    if not same:
        raise InputError(
            f"The volume does not lie where the source series does (slice {header.get('InstanceNumber', '?')} is "
            f"{float(np.linalg.norm(off)):.2f} mm off or is turned); give the series that it was made from."
        )


def _along(step: Any) -> Any:
    return lambda header: float(np.asarray(header.ImagePositionPatient, dtype=float) @ step)


def _require_source_of(record: Mapping[str, Any], header: pydicom.Dataset) -> None:
    told = (record.get("input") or {}).get("series_instance_uid")
    if told is not None and str(told) != str(header.SeriesInstanceUID):
        raise InputError(
            f"The volume was made from the series {told}, not from {header.SeriesInstanceUID}; give the former as source."
        )


def _set_encoding(image: pydicom.Dataset, source: pydicom.Dataset, encoding: Encoding, padding: float | None) -> None:
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, encoding.bits, encoding.bits - 1
    image.PixelRepresentation = int(encoding.signed)
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = encoding.slope, encoding.intercept, "HU"
    if padding is not None:
        value = int(encoding.stored(np.array([padding], dtype=np.float32))[0])
    elif encoding.from_source and isinstance(source.get("PixelPaddingValue"), int):
        value = int(source.PixelPaddingValue)
    else:
        return
    image.add_new("PixelPaddingValue", "SS" if encoding.signed else "US", value)
