"""Reading CT volumes: a DICOM folder, a DICOM file's series, NRRD, NIfTI or MHA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..volume import Acquisition, CTVolume, Geometry
from .dicom_series import find_series, pick_series, read_header, read_series
from .nifti_header import NIFTI_SUFFIXES, check_nifti
from .padding import detect_padding

VOLUME_SUFFIXES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
# Metadata keys that travel in NRRD and MHA files written by this project, so that a kernel survives the way to disk.
KERNEL_KEY = "CTKernelNormalization.kernel"
MANUFACTURER_KEY = "CTKernelNormalization.manufacturer"
SYNTHETIC_KEY = "CTKernelNormalization.synthetic"
NOTES_KEY = "ITK_FileNotes"  # the one free text that NIfTI keeps
SYNTHETIC_NOTE = "SYNTHETIC: computed, not reconstructed"
_COMPLEX = (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)


def read_volume(path: Path | str, series: str | None = None) -> CTVolume:
    """Read and validate a CT volume.

    Args:
        path: DICOM folder, one DICOM file (its series is read), or a ``.nrrd``, ``.nii``, ``.nii.gz``, ``.mha`` file.
        series: series number, kernel or UID when a folder holds several.

    Returns:
        HU float32 (k, j, i) with geometry, acquisition and padding value.

    Raises:
        InputError: anything that keeps the file from being a chest CT volume in HU.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a DICOM folder or a NRRD, NIfTI or MHA file.")
    if path.is_dir():
        return _from_dicom(path, series)
    if path.name.lower().endswith(VOLUME_SUFFIXES):
        return volume_from_image(_read_image(path), name=_stem(path))
    header = read_header(path)
    if header is None:
        raise InputError(f"{path.name} is neither DICOM nor one of {', '.join(VOLUME_SUFFIXES)}.")
    return _from_dicom(path.parent, str(header.get("SeriesInstanceUID", "")) or None)


def volume_from_image(image: sitk.Image, *, name: str, acquisition: Acquisition | None = None,
                      declared_padding: float | None = None) -> CTVolume:  # fmt: skip
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
        raise InputError(f"Each voxel has {image.GetNumberOfComponentsPerPixel()} components (colour or vector); CT has one.")
    if image.GetPixelID() in _COMPLEX:
        raise InputError("The voxels are complex numbers; a CT in Hounsfield units has one real number a voxel.")
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite and is refused as such
        hu = sitk.GetArrayViewFromImage(image).astype(np.float32)
    acquisition = acquisition or _acquisition_from_metadata(image)
    synthetic = _text(image, SYNTHETIC_KEY).lower() == "true" or _text(image, NOTES_KEY).startswith(SYNTHETIC_NOTE)
    padding = detect_padding(hu, declared_padding) if hu.size else None
    return CTVolume(hu, geometry_of(image), acquisition, padding, name, synthetic)


def geometry_of(image: sitk.Image) -> Geometry:
    """Geometry of a three-dimensional SimpleITK image."""
    x, y, z = image.GetSpacing()
    xx, yx, zx, xy, yy, zy, xz, yz, zz = (float(v) for v in image.GetDirection())
    left, posterior, superior = image.GetOrigin()
    return Geometry((z, y, x), (left, posterior, superior), ((xx, yx, zx), (xy, yy, zy), (xz, yz, zz)))


def _from_dicom(folder: Path, series: str | None) -> CTVolume:
    slices = pick_series(find_series(folder), series)
    image, acquisition, padding = read_series(slices)
    name = f"CT {acquisition.kernel}" if acquisition.kernel else "CT"
    return volume_from_image(image, name=name, acquisition=acquisition, declared_padding=padding)


def _read_image(path: Path) -> sitk.Image:
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        check_nifti(path)
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        if "spacing" in str(error).lower():
            raise InputError(f"{path.name} states a spacing that is zero; correct its header, all must be positive.") from error
        raise InputError(f"{path.name} cannot be read; the file is damaged or not the format its name says.") from error


def _acquisition_from_metadata(image: sitk.Image) -> Acquisition:
    return Acquisition(kernel=_text(image, KERNEL_KEY) or None, manufacturer=_text(image, MANUFACTURER_KEY) or None)


def _text(image: sitk.Image, key: str) -> str:
    return image.GetMetaData(key).strip() if image.HasMetaDataKey(key) else ""


def _stem(path: Path) -> str:
    name = path.name
    suffix = next(s for s in sorted(VOLUME_SUFFIXES, key=len, reverse=True) if name.lower().endswith(s))
    return name[: -len(suffix)]
