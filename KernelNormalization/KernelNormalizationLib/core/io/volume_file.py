"""Reads image files other than DICOM; the suffix selects the reader."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from ..errors import InputError
from .metaimage_file import read_metaimage
from .nifti_header import NIFTI_SUFFIXES, read_nifti
from .nrrd_file import read_nrrd

VOLUME_SUFFIXES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
# Endings of files in which others are packed.
_ARCHIVE_SUFFIXES = (".zip", ".rar", ".7z", ".tar", ".tar.gz", ".tgz", ".gz", ".bz2", ".xz")


def is_archive(name: str) -> bool:
    """Whether a file of this name has others packed in it, and is no volume itself."""
    return name.lower().endswith(_ARCHIVE_SUFFIXES) and not name.lower().endswith(VOLUME_SUFFIXES)


def read_image_file(path: Path) -> sitk.Image:
    """Read a NRRD, NIfTI or MetaImage file, a scan or a mask, whose header and content agree.

    Raises:
        InputError: anything that keeps the file from being a three-dimensional image of one real number a voxel.
    """
    name = path.name.lower()
    try:
        if name.endswith(NIFTI_SUFFIXES):
            return read_nifti(path).to_itk()
        if name.endswith((".nrrd", ".nhdr")):
            return read_nrrd(path).to_itk()
        if name.endswith((".mha", ".mhd")):
            return read_metaimage(path).to_itk()
    except MemoryError as error:
        raise InputError(f"{path.name} needs more memory than this machine has free; close other programs.") from error
    except OSError as error:
        raise InputError(f"{path.name} cannot be read ({error.strerror}); check the drive and copy it again.") from error
    raise InputError(f"{path.name} ends in none of {', '.join(VOLUME_SUFFIXES)}; save it as one of these.")
