"""Lung masks from files: label maps and Slicer's segmentations."""

from __future__ import annotations

from pathlib import Path

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.dicom_beginning import has_dicom_mark
from KernelNormalizationLib.core.io.input_files import require_regular_file
from KernelNormalizationLib.core.io.volume_file import VOLUME_SUFFIXES, read_image_file
from KernelNormalizationLib.core.volume import CTVolume

from .label_schemes import OPTION, Numbering, Scheme
from .segmentation import LungMask
from .supplied_mask import mask_from_labels, on_grid_of


def read_mask(volume: CTVolume, path: Path | str, scheme: Scheme | Numbering | None = None) -> LungMask:
    """Read a label file (NRRD, NIfTI, MHA or a Slicer ``.seg.nrrd``) as lung mask of ``volume``.

    The file may store its axes in another order; otherwise its grid must be the volume's.

    Raises:
        InputError: unreadable, another grid, unknown numbering or empty.
    """
    path = Path(path)
    require_regular_file(path)
    if path.name.lower().endswith(".seg.nrrd"):
        from .slicer_segmentation import read_segmentation

        if scheme is not None:
            raise InputError(f"The segments of {path.name} have names, not numbers; leave {OPTION} out.")

        return read_segmentation(volume, path)
    if not path.name.lower().endswith(VOLUME_SUFFIXES) and has_dicom_mark(path):
        raise InputError(
            f"{path.name} is a DICOM file; a lung mask is read from a NRRD, NIfTI or MHA file. Load it in 3D Slicer and save "
            "it as .seg.nrrd."
        )
    image = read_image_file(path)
    return mask_from_labels(volume, on_grid_of(volume, image, path.name), scheme)
