"""Reading CT volumes: a DICOM folder, a DICOM file's series, NRRD, NIfTI or MHA."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..plain_text import plain
from ..volume import SPACING_RANGE_MM, Acquisition, CTVolume, Geometry
from .dicom_beginning import has_dicom_mark
from .dicom_derived import marked_by_header
from .dicom_directory import is_directory_file
from .dicom_series import (
    Series,
    describe_series,
    find_series,
    listed_series,
    pick_series,
    read_header,
    read_series,
    series_of_files,
)
from .dicom_values import HeaderValues
from .input_files import require_regular_file
from .padding import detect_padding
from .stored_image import ORIENTATION_KEY
from .volume_checks import with_checked_slices
from .volume_file import VOLUME_SUFFIXES as VOLUME_SUFFIXES
from .volume_file import is_archive, read_image_file

# Metadata keys in NRRD and MHA files written by this project, which keep with the volume what the gate asks for.
KERNEL_KEY = "CTKernelNormalization.kernel"
MANUFACTURER_KEY = "CTKernelNormalization.manufacturer"
THICKNESS_KEY = "CTKernelNormalization.slice_thickness_mm"
SYNTHETIC_KEY = "CTKernelNormalization.synthetic"
NOTES_KEY = "ITK_FileNotes"  # the only free text of NIfTI
SYNTHETIC_NOTE = "SYNTHETIC: computed, not reconstructed"
ORIENTATION_NOTE = (
    "The file does not state the patient's left and right; it was read as LPS, as other programs do. Check the sides before "
    "you use the numbers of each lung."
)
_COMPLEX = (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)


def read_volume(path: Path | str, series: str | None = None, option: str = "--series") -> CTVolume:
    """Read and validate a CT volume.

    Args:
        path: DICOM folder, a DICOMDIR, one DICOM file (its series is read), or a ``.nrrd``, ``.nii``, ``.nii.gz`` or ``.mha``
            file.
        series: series number, kernel or UID when a folder holds several.
        option: name of the user's option for ``series``, for messages.

    Returns:
        HU float32 (k, j, i) with geometry, acquisition and padding value.

    Raises:
        InputError: anything that keeps the file from being a chest CT volume in HU.
    """
    path = Path(path)
    if not _exists(path):
        raise InputError(f"{path} does not exist; give a DICOM folder or a NRRD, NIfTI or MHA file.")
    if path.is_dir():
        return _from_dicom(path, series, option)
    require_regular_file(path)
    if path.name.lower().endswith(VOLUME_SUFFIXES):
        if series is not None:
            raise InputError(
                f"{path.name} is one volume, so there is no series to choose with {option} {plain(series)}; leave it out, "
                "or give the DICOM folder."
            )
        return with_checked_slices(volume_from_image(read_image_file(path), name=_stem(path)))
    header = read_header(path)
    if header is None and has_dicom_mark(path):
        raise InputError(f"{plain(path.name)} is a DICOM file that is cut off or damaged; copy the series again.")
    if header is None and is_archive(path.name):
        raise InputError(f"{plain(path.name)} is a packed archive; unpack it, and give the folder or the volume file in it.")
    if header is None and path.name.lower().endswith((".hdr", ".img")):
        raise InputError(f"{plain(path.name)} belongs to a pair of files (.hdr, .img); save the scan again as one .nii file.")
    if header is None:
        raise InputError(f"{path.name} is neither DICOM nor one of {', '.join(VOLUME_SUFFIXES)}; give one of these.")
    if is_directory_file(path):
        return _volume_of(pick_series(listed_series(path), series, option))
    found, uid = find_series(path.parent), HeaderValues(header, path.name).text("SeriesInstanceUID")
    slices = pick_series(found, uid, option)
    if series is not None and pick_series(found, series, option) is not slices:
        raise InputError(
            f"{plain(path.name)} is of another series ({describe_series(uid or '', slices)}) than {option} {plain(series)} "
            "names; leave it out, or give the folder."
        )
    return _volume_of(slices)


def read_dicom_files(files: Sequence[Path], series: str | None = None) -> CTVolume:
    """Read the series that ``files`` hold, wherever they lie; other files beside them are not looked at.

    Args:
        files: DICOM files.
        series: number, kernel or UID, when they hold several series.

    Raises:
        InputError: as :func:`read_volume`.
    """
    if not files:
        raise InputError("No file was given; give the files of one DICOM series.")
    return _volume_of(pick_series(series_of_files(files, files[0].parent), series))


def read_second_volume(path: Path, series: str | None, first: Path, first_series: str | None) -> CTVolume:
    """Read the volume that ``first`` is compared with; in a folder with exactly two series it is the other one.

    Args:
        path: as for :func:`read_volume`.
        series: which series of ``path``, if given.
        first: where the first volume was read from.
        first_series: which series of ``first``, if given.

    Raises:
        InputError: as :func:`read_volume`, or both are one and the same series.
    """
    option = "--compare-series"
    if path.is_file() and first.is_file() and path.samefile(first) and series == first_series:
        raise InputError(f"{path} would be compared with itself; give another second volume, or none.")
    if series is None and first_series is not None and path.is_dir() and first.is_dir() and path.samefile(first):
        found = find_series(path)
        chosen = pick_series(found, first_series)
        others = {uid: slices for uid, slices in found.items() if slices is not chosen}
        if not others:
            raise InputError(f"{path} holds one series only; there is no second one to compare it with.")
        return _volume_of(pick_series(others, None, option))
    return read_volume(path, series, option)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name longer than the system allows, or with a zero byte
        return False


def volume_from_image(
    image: sitk.Image, *, name: str, acquisition: Acquisition | None = None, declared_padding: float | None = None
) -> CTVolume:
    """A validated volume from a SimpleITK image whose values are HU.

    Raises:
        InputError: not three-dimensional, colour or complex voxels, or values that are not HU.
    """
    if image.GetDimension() != 3:
        raise InputError(
            f"The image has {image.GetDimension()} dimensions; a chest CT volume has 3. "
            "Load the whole series (its DICOM folder) as one volume."
        )
    if image.GetNumberOfComponentsPerPixel() != 1:
        components = image.GetNumberOfComponentsPerPixel()
        raise InputError(f"Each voxel has {components} components (colour or vector); CT has one. Load a CT volume.")
    if image.GetPixelID() in _COMPLEX:
        raise InputError("The voxels are complex numbers; a CT in Hounsfield units has one real number a voxel.")
    with np.errstate(over="ignore"):  # values too large for float32 become infinite and are refused
        hu = sitk.GetArrayViewFromImage(image).astype(np.float32)
    acquisition = acquisition or _acquisition_from_metadata(image, name)
    synthetic = _text(image, SYNTHETIC_KEY).lower() == "true" or _text(image, NOTES_KEY).startswith(SYNTHETIC_NOTE)
    padding = detect_padding(hu, declared_padding) if hu.size else None
    return CTVolume(hu, geometry_of(image), acquisition, padding, name, synthetic)


def geometry_of(image: sitk.Image) -> Geometry:
    """Geometry of a three-dimensional SimpleITK image."""
    x, y, z = image.GetSpacing()
    xx, yx, zx, xy, yy, zy, xz, yz, zz = (float(v) for v in image.GetDirection())
    left, posterior, superior = image.GetOrigin()
    return Geometry((z, y, x), (left, posterior, superior), ((xx, yx, zx), (xy, yy, zy), (xz, yz, zz)))


def _from_dicom(folder: Path, series: str | None, option: str) -> CTVolume:
    return _volume_of(pick_series(find_series(folder), series, option))


def _volume_of(slices: Series) -> CTVolume:
    image, acquisition, padding = read_series(slices)
    name = f"CT {acquisition.kernel}" if acquisition.kernel else "CT"
    volume = volume_from_image(image, name=name, acquisition=acquisition, declared_padding=padding)
    return marked_by_header(volume, slices[0].header)


def _acquisition_from_metadata(image: sitk.Image, name: str) -> Acquisition:
    return Acquisition(
        kernel=_text(image, KERNEL_KEY) or None,
        manufacturer=_text(image, MANUFACTURER_KEY) or None,
        slice_thickness_mm=_thickness(_text(image, THICKNESS_KEY), name),
        reading_notes=(ORIENTATION_NOTE,) if image.HasMetaDataKey(ORIENTATION_KEY) else (),
    )


def _thickness(text: str, name: str) -> float | None:
    if not text:
        return None
    low, high = SPACING_RANGE_MM
    try:
        thickness = float(text)
    except ValueError:
        thickness = math.nan
    if not low <= thickness <= high:
        raise InputError(f"{name} states the slice thickness “{text}”; correct {THICKNESS_KEY} (mm) or take it out.")
    return thickness


def _text(image: sitk.Image, key: str) -> str:
    return plain(image.GetMetaData(key)) if image.HasMetaDataKey(key) else ""


def _stem(path: Path) -> str:
    name = path.name
    suffix = next(s for s in sorted(VOLUME_SUFFIXES, key=len, reverse=True) if name.lower().endswith(s))
    return plain(name[: -len(suffix)]) or "CT"
