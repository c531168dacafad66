"""Checks that the files of a DICOM series form one volume: header values, positions, and tags that must agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..plain_text import plain, quoted
from ..volume import MINIMUM_SLICES
from .dicom_class import class_of, require_ct_class
from .dicom_kind import require_slice
from .dicom_values import HeaderValues

# The largest CT images have 2048 x 2048 pixels; a header that states more is damaged.
LARGEST_SIDE = 4096
# With tube current modulation every slice has its own exposure; two or three values that differ by this factor are two scans.
EXPOSURE_FACTOR, FEW_EXPOSURES = 1.5, 3
_GREY = ("MONOCHROME1", "MONOCHROME2")
# What RescaleType (0028,1054) says of values that are HU (PS3.3, C.11.1.1.2): US is "unspecified", which scanners write for HU.
# Others are maps of dual-energy CT, such as MGML (iodine, mg/mL), Z_EFF and ED.
_HU_TYPES = ("HU", "HU_MOD", "US", "")
# Scanners scale CT by a slope of 1 (10 where metal is kept) and an intercept of -1024, -8192 or 0.
LARGEST_SLOPE, LARGEST_INTERCEPT = 1e3, 1e5
# Coordinates of a table position are at most some metres.
LARGEST_COORDINATE_MM = 1e5


class SeriesImage(Protocol):
    """What the checks need of one file."""

    @property
    def path(self) -> Path: ...

    @property
    def values(self) -> HeaderValues: ...

    @property
    def position(self) -> float: ...


def check_series(images: Sequence[SeriesImage]) -> None:
    """Check every header by itself and against the others; positions are checked by :func:`.dicom_positions.check_positions`.

    Raises:
        InputError: not CT, colour, no rescale, no placement, mixed sizes, kernels, studies, patients or exposures.
    """
    first = images[0].values
    modality = first.text("Modality")
    if modality != "CT":
        raise InputError(
            f"The series' modality is {plain(modality) if modality else 'not stated'}; only CT can be normalized and measured. "
            "Choose a CT series."
        )
    if (first.whole("NumberOfFrames") or 1) > 1:
        raise InputError(
            f"{first.where} is multi-frame and no enhanced CT, so the places of its frames are not stated; export it as "
            "enhanced CT, as single-frame images or as NRRD."
        )
    if len(images) < MINIMUM_SLICES:
        raise InputError(
            f"The series has {len(images)} slice(s); at least {MINIMUM_SLICES} are needed. "
            "Give the folder of a whole chest series, not of a scout or single images."
        )
    for image in images:
        _check_values(image.values)
        _check_place(image.values)
        _check_same_grid(image.values, first)
    _check_one_of_each(images)
    require_ct_class(first)
    _check_exposure(images)


def rescale_of(values: HeaderValues) -> tuple[float, float]:
    """Rescale slope and intercept of one file.

    Raises:
        InputError: absent, zero, negative, no finite numbers, or a scale of something else than HU.
    """
    slope = values.number_within("RescaleSlope", LARGEST_SLOPE)
    intercept = values.number_within("RescaleIntercept", LARGEST_INTERCEPT)
    if slope is None or intercept is None:
        raise InputError(f"{values.where} has no rescale slope and intercept, so its values are not HU; export it again.")
    if slope <= 0.0:
        effect = "turns air into bone" if slope else "makes all voxels equal"
        raise InputError(
            f"{values.where} states {values.shown('RescaleSlope')}, which {effect}; a CT has a positive slope. "
            "Export the series again."
        )
    kind = values.text("RescaleType") or ""
    if kind.upper() not in _HU_TYPES and not kind.upper().startswith("HOUNSFIELD"):
        raise InputError(
            f"{values.where} states {values.shown('RescaleType')}: its values are not HU but a map made from them, such as "
            "iodine or electron density. Choose the series of CT images."
        )
    return slope, intercept


def bits_stored(values: HeaderValues) -> int:
    """Bits of a stored pixel that count; the lowest ones, since ``HighBit`` is one less (PS3.5, section 8.1.1).

    Raises:
        InputError: none, more than are allocated, or another high bit, so that the place of the pixel is not known.
    """
    allocated, bits, high = (values.whole(keyword) for keyword in ("BitsAllocated", "BitsStored", "HighBit"))
    allocated = allocated or 16
    bits = allocated if bits is None else bits
    if not 1 <= bits <= allocated or high not in (None, bits - 1):
        raise InputError(
            f"{values.where} states {values.shown('BitsAllocated')}, {values.shown('BitsStored')} and "
            f"{values.shown('HighBit')}; they do not fit together. Export the series again."
        )
    return bits


def size_of(values: HeaderValues) -> tuple[int, int]:
    """Rows and columns of one file.

    Raises:
        InputError: absent, or sizes that no CT image has.
    """
    rows, columns = values.whole("Rows"), values.whole("Columns")
    if rows is None or columns is None:
        missing = "Rows" if rows is None else "Columns"
        raise InputError(
            f"{values.where} states {values.shown(missing)}, so the size of its image is not known; export the series again."
        )
    if not (1 <= rows <= LARGEST_SIDE and 1 <= columns <= LARGEST_SIDE):
        raise InputError(
            f"{values.where} states {rows} rows and {columns} columns; a CT image has 1 to {LARGEST_SIDE} of each. "
            "Export the series again."
        )
    return rows, columns


def _check_values(values: HeaderValues) -> None:
    where = values.where
    require_slice(values)
    modality = values.text("Modality")
    if modality != "CT":
        raise InputError(f"{where} has modality {quoted(modality)} in a series of CT; move it out of the folder.")
    samples = values.whole("SamplesPerPixel")
    if samples not in (None, 1):
        raise InputError(f"{where} has {samples} colour channels; a CT image has one. Export the series again.")
    frames = values.whole("NumberOfFrames")
    if frames not in (None, 1):
        raise InputError(f"{where} states {frames} frames among single images; export single-frame images.")
    photometric = values.text("PhotometricInterpretation")
    if photometric is not None and photometric not in _GREY:
        raise InputError(
            f"{where} states the photometric interpretation {quoted(photometric)}; CT is MONOCHROME2. Export the series again."
        )
    size_of(values)
    bits_stored(values)
    rescale_of(values)


def _check_place(values: HeaderValues) -> None:
    where = values.where
    corner, axes = _placed(values, "ImagePositionPatient", 3), _placed(values, "ImageOrientationPatient", 6)
    if corner is None or axes is None:
        raise InputError(f"{where} states no position or orientation; export the series with its geometry.")
    if max(abs(coordinate) for coordinate in corner) > LARGEST_COORDINATE_MM:
        raise InputError(
            f"{where} states {values.shown('ImagePositionPatient')}, a position outside every scanner; export the series with "
            "its geometry."
        )
    if not np.allclose(_products(axes), np.eye(2), atol=1e-3):
        raise InputError(
            f"{where} has position {list(corner)} and orientation {list(axes)}, which do not place the image; "
            "export the series with its geometry."
        )
    spacing = values.numbers("PixelSpacing", 2)
    if spacing is None or not all(0.0 < s < 100.0 for s in spacing):
        stated = "no pixel spacing" if spacing is None else f"pixel spacing {list(spacing)} mm"
        raise InputError(f"{where} has {stated}; two positive lengths are needed. Export the series again.")


def _placed(values: HeaderValues, keyword: str, count: int) -> tuple[float, ...] | None:
    try:
        return values.numbers(keyword, count)
    except InputError:
        raise InputError(
            f"{values.where} states {values.shown(keyword)}; {count} finite numbers are needed to place the image. "
            "Export the series with its geometry."
        ) from None


def _products(axes: Sequence[float]) -> NDArray[np.float64]:
    """Scalar products (2, 2) of the direction cosines of rows and columns; the identity if they are valid."""
    vectors = np.reshape(np.asarray(axes, dtype=float), (2, 3))
    return vectors @ vectors.T


def _check_same_grid(values: HeaderValues, first: HeaderValues) -> None:
    where, size, expected = values.where, size_of(values), size_of(first)
    if size != expected:
        raise InputError(
            f"{where} is {size[0]} x {size[1]} pixels, the first image {expected[0]} x {expected[1]}; a series has one size."
            " Move what does not belong out of the folder."
        )
    spacing, expected_spacing = values.numbers("PixelSpacing", 2) or (), first.numbers("PixelSpacing", 2) or ()
    if not np.allclose(spacing, expected_spacing, rtol=0.0, atol=1e-4):
        raise InputError(
            f"{where} has pixel spacing {list(spacing)} mm, the first image {list(expected_spacing)}; a series has one "
            "spacing. Move what does not belong out of the folder."
        )
    axes, expected_axes = (v.numbers("ImageOrientationPatient", 6) or () for v in (values, first))
    if not np.allclose(axes, expected_axes, rtol=0.0, atol=1e-3):
        raise InputError(f"{where} is oriented differently from the first image; remove scouts and reformats.")


def _check_one_of_each(images: Sequence[SeriesImage]) -> None:
    """Tags that must agree in all files, since a measurement would otherwise mix different scans under one series UID."""

    def text(keyword: str) -> Callable[[HeaderValues], str | None]:
        return lambda values: values.text(keyword)

    def number(keyword: str) -> Callable[[HeaderValues], str | None]:
        def shown(values: HeaderValues) -> str | None:
            found = values.number_if_readable(keyword)
            return None if found is None else f"{found:.3g}" if abs(found) < 1000.0 else f"{found:.0f}"

        return shown

    _require_one(images, [class_of(image.values) for image in images], "kinds of image (SOPClassUID)")
    kernel = [image.values.text("ConvolutionKernel") or "not stated" for image in images]
    _require_one(images, kernel, "kernels (ConvolutionKernel)")
    numbers = (("SliceThickness", "slice thicknesses (mm)"), ("KVP", "tube voltages (kV)"), ("SeriesNumber", "series numbers"))
    for keyword, what in numbers:
        _require_one(images, [number(keyword)(image.values) for image in images], what)
    for keyword, what in (
        ("StudyInstanceUID", "studies (StudyInstanceUID)"),
        ("FrameOfReferenceUID", "frames of reference (FrameOfReferenceUID)"),
        ("PhotometricInterpretation", "photometric interpretations"),
        ("Manufacturer", "manufacturers"),
        ("ManufacturerModelName", "scanners"),
    ):
        _require_one(images, [text(keyword)(image.values) for image in images], what)
    # the first word only: the others, such as AXIAL, vary within series of some makers
    origin = [next(iter(image.values.texts("ImageType")), None) for image in images]
    _require_one(images, origin, "origins (first value of ImageType)")
    _require_one(images, [image.values.text("PatientID") for image in images], "patients", secret=True)
    _require_one(images, [_name(image.values) for image in images], "patients", secret=True)
    _require_one(images, [image.values.text("PatientBirthDate") for image in images], "patients", secret=True)


def _name(values: HeaderValues) -> str | None:
    """The patient's name without what differs between programs: letters' case, and empty components at its end."""
    return (values.text("PatientName") or "").rstrip("^= ").casefold() or None


def _require_one(images: Sequence[SeriesImage], found: Sequence[str | None], what: str, secret: bool = False) -> None:
    groups: dict[str, list[str]] = {}
    for image, value in zip(images, found, strict=True):
        if value is not None:
            groups.setdefault(value, []).append(image.values.where.rstrip(","))
    # programs that complete headers write Siemens and SIEMENS
    if len(groups) < 2 or (not secret and len({value.casefold() for value in groups}) == 1):
        return
    shown = [
        f"{f'patient {n + 1}' if secret else quoted(value, 70)} in {len(names)} image(s) from {quoted(names[0])}"
        for n, (value, names) in enumerate(list(groups.items())[:4])
    ]
    raise InputError(
        f"Under one series UID the files have {len(groups)} different {what}: {'; '.join(shown)}. "
        "Put the files of one group into a folder of their own and read that."
    )


def _check_exposure(images: Sequence[SeriesImage]) -> None:
    for keyword in ("Exposure", "XRayTubeCurrent"):
        stated = [image.values.number_if_readable(keyword) for image in images]
        values = sorted({value for value in stated if value is not None and value > 0.0})
        counts = [stated.count(value) for value in values]
        if 2 <= len(values) <= FEW_EXPOSURES and min(counts) >= 2 and values[-1] >= EXPOSURE_FACTOR * values[0]:
            _require_one(images, [None if v is None else f"{v:g}" for v in stated], f"exposures ({keyword})")
