"""The checks of slices against their neighbours for volumes that come as a whole, from a file or from Slicer."""

from __future__ import annotations

from dataclasses import replace

from ..errors import InputError
from ..imaging.reconstruction_plane import in_reconstruction_plane, require_square_pixels
from ..volume import CTVolume
from .slice_checks import notes_on_slices, require_one_kernel, require_pictures, require_whole_slices


def with_checked_slices(volume: CTVolume) -> CTVolume:
    """``volume`` with notes on slices that do not fit together.

    What was not copied lies together in the stored order, what a kernel did in the plane of reconstruction.

    Raises:
        InputError: slices without an image, slices of which a part is missing, slices of two kernels, or lost directions.
    """
    require_pictures(volume.hu)
    require_whole_slices(volume.hu, _names(len(volume.hu)))
    require_square_pixels(volume)
    try:
        flat = in_reconstruction_plane(volume).volume
    except InputError:  # oblique: it is refused where the plane is needed
        return volume
    names = _names(len(flat.hu))
    notes = (*notes_on_slices(flat.hu, names, flat.geometry.spacing[0]), *require_one_kernel(flat.filled(), names))
    if not notes:
        return volume
    told = volume.acquisition.reading_notes
    return replace(volume, acquisition=replace(volume.acquisition, reading_notes=(*told, *notes)))


def _names(count: int) -> list[str]:
    return [f"slice {k + 1} of {count}" for k in range(count)]
