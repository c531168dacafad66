"""Writing volumes atomically, with synthetic volumes marked as such."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import RESEARCH_USE, CTKernelError, InputError
from ..plain_text import quoted
from ..volume import CTVolume, Geometry
from .dicom_beginning import has_dicom_mark
from .nifti_header import NIFTI_SUFFIXES, check_nifti
from .reading import KERNEL_KEY, MANUFACTURER_KEY, NOTES_KEY, SYNTHETIC_KEY, SYNTHETIC_NOTE, THICKNESS_KEY, VOLUME_SUFFIXES
from .whole_sets import current_umask, finish_interrupted, private_prefix, require_name

WRITABLE_SUFFIXES = tuple(s for s in VOLUME_SUFFIXES if s not in (".nhdr", ".mhd"))


def require_utf8(path: Path) -> None:
    """Refuse a name on which ITK aborts the program, and which other libraries do not write to.

    Raises:
        InputError: ``path`` is no name in UTF-8.
    """
    try:
        str(path.absolute()).encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{quoted(path, 120)} is no name in UTF-8; give the file and its folders another name.") from None


def require_not_input(target: Path, scan: Path, other: str) -> None:
    """Refuse to write over the scan.

    Args:
        target: where to write.
        scan: file or folder that is read.
        other: what the user should give instead: another what.

    Raises:
        InputError: both are one file.
    """
    if scan.is_file() and target.exists() and target.samefile(scan):
        raise InputError(f"{target} is the input itself; an original is never overwritten. Give another {other}.")


def require_writable(path: Path) -> None:
    """Check that a volume can be written to ``path``, before any work is done.

    Raises:
        InputError: unknown suffix, missing folder, or the path is a folder.
    """
    if not path.name.lower().endswith(WRITABLE_SUFFIXES):
        raise InputError(f"{path.name} has no volume suffix; end it with one of {', '.join(WRITABLE_SUFFIXES)}.")
    require_utf8(path)
    require_name(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file name.")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a pipe or a device, which a volume would replace; give another file name.")
    if has_dicom_mark(path):
        raise InputError(f"{path} is a DICOM image; an original is never overwritten. Give another output name.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist; create it first.")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"The folder {path.parent} is not writable; choose another.")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` with the same suffix, renamed over it on success and removed on failure."""
    # Lower case: SimpleITK does not accept .NII.
    suffix = "".join(path.suffixes[-2:] if path.name.lower().endswith((".nii.gz", ".seg.nrrd")) else path.suffixes[-1:]).lower()
    finish_interrupted(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=private_prefix(), suffix=suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~current_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_volume(volume: CTVolume, path: Path, target: Path | None = None) -> None:
    """Write ``volume`` (float32 HU) to a NRRD, NIfTI or MHA file, whole or not at all.

    The metadata of the file say that a volume is synthetic, and that it is for research use only.

    Args:
        volume: what to write.
        path: where.
        target: where the file will be moved, for messages, if that is not ``path``.

    Raises:
        InputError: the path cannot be written.
        CTKernelError: writing failed half-way; nothing is left of it.
    """
    require_writable(path)
    image = image_of(volume.hu, volume.geometry)
    if volume.acquisition.kernel:
        image.SetMetaData(KERNEL_KEY, volume.acquisition.kernel)
    if volume.acquisition.manufacturer:
        image.SetMetaData(MANUFACTURER_KEY, volume.acquisition.manufacturer)
    if volume.acquisition.slice_thickness_mm:
        image.SetMetaData(THICKNESS_KEY, f"{volume.acquisition.slice_thickness_mm:g}")
    image.SetMetaData("CTKernelNormalization.use", RESEARCH_USE)
    if volume.synthetic:
        image.SetMetaData(SYNTHETIC_KEY, "true")
    image.SetMetaData(NOTES_KEY, f"{SYNTHETIC_NOTE}. {RESEARCH_USE}" if volume.synthetic else RESEARCH_USE)
    with atomic_path(path) as temporary:
        try:
            # Integer voxels of a scanner compress well; computed ones hardly do, and compression takes 5 s a chest.
            compressed = not volume.synthetic or path.name.lower().endswith(".gz")
            sitk.WriteImage(image, str(temporary), useCompression=compressed)
            if path.name.lower().endswith(NIFTI_SUFFIXES):
                check_nifti(temporary)
        except (RuntimeError, InputError) as error:
            shown = target or path
            kept = " The older file was kept." if shown.exists() else ""
            raise CTKernelError(f"{shown} could not be written completely; is the disk full?{kept}") from error


def write_json(content: Any, path: Path) -> None:
    """Write ``content`` as indented JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def image_of(array: np.ndarray[Any, Any], geometry: Geometry) -> sitk.Image:
    """SimpleITK image of an array (k, j, i) placed by ``geometry``."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing[::-1])
    image.SetOrigin(geometry.origin)
    image.SetDirection([float(v) for row in geometry.direction for v in row])
    return image
