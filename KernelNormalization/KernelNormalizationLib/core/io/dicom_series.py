"""DICOM folders: the series in them, whether a series is complete, and its voxels in HU."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

from ..arrays import FloatArray
from ..errors import InputError
from ..plain_text import plain, quoted
from ..volume import Acquisition, Geometry
from .dicom_checks import check_series, rescale_of, size_of
from .dicom_compression import compression_ratios
from .dicom_copies import without_copies
from .dicom_directory import listed_images, missing_images
from .dicom_frames import read_frames
from .dicom_kind import is_no_scan, notes_on_kind
from .dicom_pixels import NATIVE, read_pixels, transfer_syntax
from .dicom_positions import check_positions, notes_on_places
from .dicom_reconstruction import reconstruction_text
from .dicom_slice import DicomSlice, faulty_file, read_images
from .dicom_slice import Series as Series
from .dicom_slice import read_header as read_header
from .dicom_strays import NO_DICOM, named_like
from .dicom_tags import RECONSTRUCTION_NUMBERS
from .dicom_values import HeaderValues
from .slice_checks import (
    note_on_rescale,
    notes_on_slices,
    require_fitting_rescale,
    require_one_kernel,
    require_pictures,
    require_whole_slices,
)
from .volume_file import VOLUME_SUFFIXES, is_archive
from .whole_sets import PRIVATE_PREFIX

logger = logging.getLogger(__name__)

# Highest ratio (16-bit bytes over compressed bytes) that is read. JPEG 2000 on two sharp chests, B70f (EI 11.2 %) and Philips L
# (13.4 %), changed noise and EI of scan / restored volume by (python -m Testing.emphysema.lossy):
#   ratio        2:1           3:1           4:1           5:1          10:1
#   B70f  noise  0.0 %         0.0 %         +0.1 %        +0.4 %       -4.1 %
#         EI     .00 / -.03    +.01 / -.03   +.01 / .00    +.03 / -.02  -1.28 / +.01 points
#   L     noise  0.0 %         0.0 %         0.0 %         0.0 %        -0.1 %
#         EI     .00 / .00     +.01 / +.01   +.02 / +.01   +.05 / .00   +.17 / -.01 points
# Lossless compression reaches 1.9 and 2.2. At 20:1 the EI of the B70f scan was 5.8 %.
LOSSY_RATIO_LIMIT = 5.0


def find_series(folder: Path) -> dict[str, Series]:
    """All DICOM image series below ``folder`` by series instance UID; other files are ignored.

    A file that cannot be read, or that the folder's DICOMDIR lists and that is not there, stands, with its fault, at the end of
    every series that it may belong to. Each frame of an enhanced CT is a slice.

    Raises:
        InputError: no DICOM image at all.
    """
    return _series_of(_files_below(folder), missing_images(folder), str(folder))


def series_of_files(files: Iterable[Path], folder: Path) -> dict[str, Series]:
    """The series among ``files`` of ``folder``, sorted as :func:`find_series` does; no DICOMDIR is asked.

    Raises:
        InputError: no DICOM image at all.
    """
    return _series_of(files, {}, str(folder))


def listed_series(directory: Path) -> dict[str, Series]:
    """The series that a DICOMDIR lists, and no other file; what is not there stands as a fault, as in :func:`find_series`.

    Raises:
        InputError: the DICOMDIR is damaged, or none of its files is there.
    """
    listed = listed_images(directory)
    there = sorted(path for paths in listed.values() for path in paths if path.is_file())
    absent = {uid: [path for path in paths if not path.is_file()] for uid, paths in listed.items()}
    return _series_of(there, absent, f"what {quoted(directory.name)} lists")


def _series_of(paths: Iterable[Path], absent: Mapping[str, Iterable[Path]], where: str) -> dict[str, Series]:
    series: dict[str, Series] = defaultdict(list)
    strays: list[Path] = []
    faulty: Series = []
    for path in paths:
        # a link that leads nowhere, or a pipe, which is never opened, counts by its name alone
        items = read_images(path) if path.is_file() else None
        if items is None:
            strays.append(path)
        elif items[0].fault is not None:
            faulty += items
        elif "Rows" in items[0].header or "Columns" in items[0].header:
            series[items[0].values.text("SeriesInstanceUID") or ""] += items
    images = [item.path for slices in series.values() for item in slices]
    faulty += [faulty_file(path, NO_DICOM) for path in named_like(images, strays)]
    if not series:
        shown = faulty[0].fault if len(faulty) == 1 else None
        reason = f" ({shown or f'{len(faulty)} files are damaged, such as {quoted(faulty[0].path.name)}'})" if faulty else ""
        raise InputError(f"No DICOM image was found in {where}{reason}; {_instead(strays)}.")
    for item in faulty:
        for slices in _may_belong(item, series):
            slices.append(item)
    for uid, gone in absent.items():
        if uid in series:
            series[uid] += [faulty_file(path, "stands in the DICOMDIR and is not there") for path in gone]
    return {uid: without_copies(slices) for uid, slices in series.items()}


def _instead(others: Iterable[Path]) -> str:
    """What to give instead of a folder that holds no DICOM image but ``others``."""
    for path in others:
        if is_archive(path.name):
            return f"{quoted(path.name)} is a packed archive: unpack it, and give the folder in it"
        if path.name.lower().endswith(VOLUME_SUFFIXES):
            return f"give the volume file itself, such as {quoted(path.name)}"
    return "give the folder that holds the series' files"


def _files_below(folder: Path) -> list[Path]:
    """All below ``folder`` but folders: files, links that lead to nothing, pipes and devices."""
    try:
        found = (path for path in folder.rglob("*") if not path.is_dir())
        return sorted(path for path in found if not _is_unfinished(path.relative_to(folder)))
    except OSError as error:
        raise InputError(f"{folder} cannot be listed ({error.strerror}); check the drive and your permission.") from error


def _is_unfinished(path: Path) -> bool:
    """Whether a file lies in what a killed run left half-written."""
    return any(part.startswith(PRIVATE_PREFIX) for part in path.parts)


def _may_belong(item: DicomSlice, series: dict[str, Series]) -> list[Series]:
    stated = item.values.text("SeriesInstanceUID")
    if stated in series:
        return [series[stated]]
    # the UID itself may be cut off
    return [slices for slices in series.values() if any(s.path.parent == item.path.parent for s in slices)]


def pick_series(series: dict[str, Series], wanted: str | None, option: str = "--series") -> Series:
    """The one series meant by ``wanted`` (UID, series number or kernel), or the only one there is.

    Args:
        series: of :func:`find_series`.
        wanted: the choice; ``None`` if there is nothing to choose.
        option: how the user makes the choice, for messages.

    Raises:
        InputError: several series and no choice, or a choice that fits none or more than one.
    """
    if wanted is None:
        # exports hold dose sheets and scouts beside the scan; among these there is nothing to choose
        scans = [slices for slices in series.values() if not is_no_scan([item.values for item in slices])]
        candidates = scans or list(series.values())
        if len(candidates) == 1:
            return candidates[0]
    listing = "\n".join("  " + describe_series(uid, slices) for uid, slices in series.items())
    if wanted is None:
        raise InputError(f"The folder holds {len(series)} series; pick one with {option} NUMBER, KERNEL or UID:\n{listing}")
    told = wanted.strip().casefold()
    exact = [s for uid, s in series.items() if wanted in _handles(uid, s[0])]
    hits = exact or [s for uid, s in series.items() if told in {handle.casefold() for handle in _handles(uid, s[0])}]
    if len(hits) != 1:
        raise InputError(f"{option} {plain(wanted)} fits {len(hits)} series; choose exactly one of:\n{listing}")
    return hits[0]


def describe_series(uid: str, slices: Series) -> str:
    """One line that describes a series to choose from."""
    values = slices[0].values
    return plain(
        f"number {values.text('SeriesNumber') or _number(values, 'SeriesNumber') or '?'}, "
        f"kernel {values.text('ConvolutionKernel') or 'unknown'}, {len(slices)} {'slice' if len(slices) == 1 else 'slices'}, "
        f"modality {values.text('Modality') or '?'}, UID {uid}"
    )


def _number(values: HeaderValues, keyword: str) -> str | None:
    found = values.number_if_readable(keyword)
    return None if found is None else f"{found:g}"


def checked_series(slices: Series) -> tuple[Series, tuple[str, ...]]:
    """The images of a series by position, whose headers form one volume, and notes for the user on how they were made.

    Raises:
        InputError: not CT, colour, no rescale, gantry tilt, missing, doubled or unreadable slices, mixed sizes or kernels,
            files that are cut off, or a lossy compression that has changed the noise.
    """
    for item in slices:
        if item.fault is not None:
            raise InputError(item.fault)
    check_series(slices)
    ordered = sorted(slices, key=lambda s: s.position)
    check_positions(ordered)
    notes = _notes(ordered)
    rows, columns = size_of(ordered[0].values)
    for item in ordered:
        _check_bytes_left(item, rows * columns)
    return ordered, notes


def read_series(slices: Series) -> tuple[sitk.Image, Acquisition, float | None]:
    """Voxels (rescaled to HU), acquisition and declared padding value (HU) of a checked series.

    Raises:
        InputError: not CT, colour, no rescale, gantry tilt, missing, doubled or damaged slices, mixed sizes or kernels.
    """
    ordered, notes = checked_series(slices)
    rows, columns = size_of(ordered[0].values)
    voxels = np.empty((len(ordered), rows, columns), np.float32)
    for k, hu in pixels_of(ordered):
        voxels[k] = hu
    names = names_of(ordered)
    require_pictures(voxels, names)
    require_whole_slices(voxels, names)
    require_fitting_rescale(voxels, [rescale_of(item.values) for item in ordered], names)
    image = _placed(voxels, ordered)
    notes += notes_on_slices(voxels, names, image.GetSpacing()[2], files=True)
    notes += require_one_kernel(voxels, names)
    return image, acquisition_of(ordered[0].header, notes), declared_padding(ordered[0].values)


def pixels_of(ordered: Series) -> Iterator[tuple[int, FloatArray]]:
    """Each image's place in ``ordered`` and its pixels (j, i), HU, one at a time.

    Raises:
        InputError: pixels that are cut off, damaged, or compressed in a way that needs a decoder that is not installed.
    """
    frames: dict[Path, dict[int, int]] = defaultdict(dict)
    for k, item in enumerate(ordered):
        if item.frame is None:
            yield k, read_pixels(item.path)
        else:
            frames[item.path][item.frame] = k
    for path, places in frames.items():
        for number, hu in read_frames(path, {number: ordered[k].values for number, k in places.items()}):
            yield places[number], hu


def is_native(item: DicomSlice) -> bool:
    """Whether the pixels of a file are stored without compression."""
    syntax = transfer_syntax(item.header, item.values.where)
    return syntax in NATIVE and not syntax.is_deflated


def _check_bytes_left(item: DicomSlice, pixels: int) -> None:
    """Check, before memory is allocated, that the file is large enough for its image."""
    if not is_native(item):
        return
    expected = pixels * (item.values.whole("BitsAllocated") or 16) // 8
    # tag, type and length of the element (PS3.5, 7.1.2 and 7.1.3); some files are implicit although they state otherwise
    shortest, usual = (0, 0) if item.frame is not None else (8, 8 if item.header.original_encoding[0] else 12)
    if item.bytes_left - shortest < expected:
        left = max(item.bytes_left - usual, 0)
        raise InputError(
            f"{item.values.where} is cut off: {expected} bytes of pixels are needed and {left} bytes are left in the file; "
            "copy the series again."
        )


def names_of(ordered: Series) -> list[str]:
    """The names of a series' images, for messages."""
    return [item.values.where.rstrip(",") for item in ordered]


def geometry_of_series(ordered: Series) -> Geometry:
    """Where the headers of a series, ordered by position, place its voxels."""
    first = ordered[0].values
    axes = np.reshape(first.numbers("ImageOrientationPatient", 6) or (), (2, 3))
    row = axes[0] / np.linalg.norm(axes[0])
    normal = np.cross(row, axes[1])
    normal /= np.linalg.norm(normal)
    rows, columns = first.numbers("PixelSpacing", 2) or (0.0, 0.0)
    step = (ordered[-1].position - ordered[0].position) / (len(ordered) - 1)
    left, posterior, superior = first.numbers("ImagePositionPatient", 3) or (0.0, 0.0, 0.0)
    x, y, z = np.stack([row, np.cross(normal, row), normal], axis=1).tolist()
    return Geometry((step, rows, columns), (left, posterior, superior), (tuple(x), tuple(y), tuple(z)))


def _placed(voxels: FloatArray, ordered: Series) -> sitk.Image:
    image, place = sitk.GetImageFromArray(voxels), geometry_of_series(ordered)
    image.SetSpacing(place.spacing[::-1])
    image.SetOrigin(place.origin)
    image.SetDirection([value for axis in place.direction for value in axis])
    return image


def _notes(ordered: Series) -> tuple[str, ...]:
    """Notes for the user about compression, unreadable tags and joined acquisitions.

    Raises:
        InputError: lossy compression that has changed the noise.
    """
    notes = []
    ratios = compression_ratios(ordered)
    strongest = max((ratio for ratio in ratios if ratio is not None), default=1.0)
    lossy = sum(ratio != 1.0 for ratio in ratios)
    if strongest > LOSSY_RATIO_LIMIT:
        raise InputError(
            f"{lossy} of {len(ordered)} images were compressed with loss, up to {strongest:.0f}:1 (at most "
            f"{LOSSY_RATIO_LIMIT:.0f}:1 can be used). That removes the noise on which kernel and emphysema index depend. "
            "Fetch the original series from the archive."
        )
    if lossy:
        how = "to an unknown degree" if None in ratios else f"up to {strongest:.1f}:1"
        notes.append(f"{lossy} of {len(ordered)} images were compressed with loss ({how}); noise and EI may be too low.")
    values = ordered[0].values
    for keyword in ("SliceThickness", "KVP", "PixelPaddingValue"):
        if values.unreadable(keyword):
            notes.append(f"{values.shown(keyword)} is no number and is not used.")
    notes += note_on_rescale([rescale_of(item.values) for item in ordered], [item.path.name for item in ordered])
    notes += [*notes_on_kind([item.values for item in ordered]), *notes_on_places(ordered)]
    left_out = {name for item in ordered for name in item.copies}
    if left_out:
        notes.append(f"{len(left_out)} file(s) that equal another one, such as {quoted(min(left_out))}, were left out.")
    return tuple(notes)


def acquisition_of(header: pydicom.Dataset, notes: tuple[str, ...] = ()) -> Acquisition:
    """Acquisition facts of a header, without anything that identifies the patient."""
    values = HeaderValues(header, "the file")

    def text(name: str) -> str | None:
        found = values.text(name)
        return None if found is None else plain(found) or None

    made = reconstruction_text({tag: values.text_of_tag(number) for tag, number in RECONSTRUCTION_NUMBERS.items()})
    return Acquisition(
        kernel=text("ConvolutionKernel"),
        manufacturer=text("Manufacturer"),
        scanner_model=text("ManufacturerModelName"),
        slice_thickness_mm=_positive(values, "SliceThickness"),
        tube_voltage_kv=_positive(values, "KVP"),
        contrast_agent=text("ContrastBolusAgent") or text("ContrastBolusIngredient") or _unnamed_contrast(values),
        body_part=text("BodyPartExamined"),
        modality=text("Modality"),
        image_type=tuple(plain(part) for part in values.texts("ImageType")),
        study_instance_uid=text("StudyInstanceUID"),
        series_instance_uid=text("SeriesInstanceUID"),
        frame_of_reference_uid=text("FrameOfReferenceUID"),
        reconstruction=None if made is None else plain(made) or None,
        reading_notes=notes,
    )


def _unnamed_contrast(values: HeaderValues) -> str | None:
    given = values.is_there("ContrastBolusAgentSequence") or (values.number_if_readable("ContrastBolusVolume") or 0.0) > 0.0
    return "given, not named" if given else None


def _positive(values: HeaderValues, keyword: str) -> float | None:
    found = values.number_if_readable(keyword)
    return found if found is not None and found > 0.0 else None


def _handles(uid: str, item: DicomSlice) -> set[str]:
    values = item.values
    number = values.text("SeriesNumber") or _number(values, "SeriesNumber")
    return {uid, number or "", values.text("ConvolutionKernel") or ""} - {""}


def declared_padding(values: HeaderValues) -> float | None:
    """Padding value of a header in HU, ``None`` if it states none."""
    value = values.number_if_readable("PixelPaddingValue")
    if value is None:
        return None
    # the tag's type follows the pixels', but programs write it either way
    signed, bits = values.whole("PixelRepresentation") == 1, values.whole("BitsAllocated") or 16
    if signed and value >= 1 << (bits - 1):
        value -= 1 << bits
    elif not signed and value < 0:
        value += 1 << bits
    slope, intercept = rescale_of(values)
    return value * slope + intercept
