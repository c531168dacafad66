"""The makers of DICOM cases, in the shares in which they are drawn."""

from __future__ import annotations

from .case import Maker
from .dicom_cases import (
    bad_number_needed,
    bad_number_not_needed,
    bad_place,
    cut_file,
    damaged_start,
    flipped_bytes,
    hostile_text,
    missing_fact,
    missing_tag,
    mixture,
    modulated_current,
    moved_slice,
    odd_files_beside,
    rescale_varies,
    step_changes,
    tiny,
    valid,
    wrong_type,
)
from .dicom_pixel_cases import lossy, other_size, packed, packed_and_cut, photometric, pixel_length, syntax

MAKERS: tuple[Maker, ...] = (
    bad_number_needed,
    bad_number_not_needed,
    bad_place,
    missing_tag,
    missing_fact,
    wrong_type,
    rescale_varies,
    cut_file,
    damaged_start,
    flipped_bytes,
    pixel_length,
    other_size,
    photometric,
    moved_slice,
    step_changes,
    mixture,
    modulated_current,
    lossy,
    packed,
    packed_and_cut,
    syntax,
    odd_files_beside,
    hostile_text,
    tiny,
    valid,
    cut_file,
    flipped_bytes,
)
