"""A DICOM series that another program has read, as Slicer does: what the headers of its files say of its voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..arrays import FloatArray
from ..volume import CTVolume, Geometry
from .dicom_checks import rescale_of, size_of
from .dicom_copies import without_copies
from .dicom_series import Series, checked_series, declared_padding, geometry_of_series, is_native, names_of, pixels_of
from .dicom_slice import faulty_file, read_images
from .padding import SAME_HU, detect_padding
from .slice_checks import require_fitting_rescale
from .volume_checks import with_checked_slices

# Spacing of a volume and of its files differ by rounding only, less than this share, unless the volume was resampled.
SAME_SPACING = 0.01


def checked_as_loaded(volume: CTVolume, files: Sequence[Path]) -> CTVolume:
    """``volume`` with notes for the user on its slices and on the files that it was loaded from.

    Args:
        volume: as the other program loaded it.
        files: the DICOM files that it was loaded from, in any order; empty if they are not known. Nothing is said of files that
            are not there any more.

    Raises:
        InputError: what :func:`dicom_series.read_series` finds in headers: mixed kernels or patients, a lossy compression that
            has changed the noise, missing slices, a wrong rescale and the like; or what :func:`with_checked_slices` finds.
    """
    if files and all(file.is_file() for file in files):
        volume = _checked_by_files(volume, files)
    return with_checked_slices(volume)


def _checked_by_files(volume: CTVolume, files: Sequence[Path]) -> CTVolume:
    ordered, notes = checked_series(without_copies([item for path in files for item in _images(path)]))
    place = geometry_of_series(ordered)
    resampled = _resampled(volume, place)
    if resampled or volume.shape != (len(ordered), *size_of(ordered[0].values)):
        notes += resampled
    else:
        upwards = np.dot(*(np.array(geometry.direction)[:, 2] for geometry in (place, volume.geometry))) > 0.0
        notes += _compared(volume.hu[:: 1 if upwards else -1], ordered)
    padding, declared = volume.padding_value, declared_padding(ordered[0].values)
    if declared is not None:
        padding = detect_padding(volume.hu, declared)
    if not notes and padding == volume.padding_value:
        return volume
    told = volume.acquisition.reading_notes
    facts = replace(volume.acquisition, reading_notes=(*told, *notes))
    return replace(volume, padding_value=padding, acquisition=facts)


def _images(path: Path) -> Series:
    return read_images(path) or [faulty_file(path, "is no longer a DICOM file")]


def _compared(hu: FloatArray, ordered: Series) -> tuple[str, ...]:
    """Compare the voxels (k, j, i) in the order of the files with what the files hold."""
    require_fitting_rescale(hu, [rescale_of(item.values) for item in ordered], names_of(ordered))
    if not all(map(is_native, ordered)):
        return ()  # what the other program has unpacked may need a decoder that is not installed here
    changed, largest = 0, 0.0
    for k, stored in pixels_of(ordered):
        difference = np.abs(hu[k] - stored)
        changed += int(np.count_nonzero(difference > SAME_HU))
        largest = max(largest, float(difference.max()))
    if not changed:
        return ()
    return (
        f"{changed} voxels differ from the DICOM files, by up to {largest:.0f} HU: the volume was changed after loading, for "
        "example masked or filtered, or it was not loaded correctly. Load the series again, and choose it unchanged.",
    )


def _resampled(volume: CTVolume, place: Geometry) -> tuple[str, ...]:
    if np.allclose(sorted(volume.geometry.spacing), sorted(place.spacing), rtol=SAME_SPACING):
        return ()
    now, then = (" x ".join(f"{mm:.2f}" for mm in spacing) for spacing in (volume.geometry.spacing, place.spacing))
    return (
        f"The voxels are {now} mm, those of the DICOM files {then} mm: the volume was resampled, which takes noise away and "
        "makes EI too low. Choose the volume as it was loaded.",
    )
