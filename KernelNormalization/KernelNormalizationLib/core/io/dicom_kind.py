"""What kind of image a DICOM header says it is: a slice of the scanner, or something computed from slices or shown of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import InputError
from ..plain_text import quoted
from .dicom_class import is_secondary_capture
from .dicom_values import HeaderValues


def _words(*words: str) -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(words)})\b")


# Projections through a slab, and pictures made from it: each pixel is the highest or lowest of many.
_PROJECTIONS = _words("MIP", "MINIP", "MIN IP", "MAX IP", "VRT", "SSD", "VOLREN", "VOLUME RENDER", "SURFACE RENDER")
# Of the standard's terms for the highest or lowest of several images; in other places these words mean nothing.
_EXTREMES = ("MAXIMUM", "MINIMUM")
# Images whose values are no HU although most are stored as if they were: differences, and maps of spectral (dual-energy) CT.
# The first two rows are defined terms of ImageType, value 4 (PS3.3, C.8.15.2.1.1 and C.8.15.3.10), with blanks for low lines.
_MAPS = _words(
    *("MAT SPECIFIC", "MAT FRACTIONAL", "MAT VALUE BASED", "EFF ATOMIC NUM", "ELECTRON DENSITY"),
    *("SUBTRACTION", "DIVISION", "MULTIPLICATION", "STD DEVIATION"),
    *("EFFECTIVE Z", "EFFECTIVE ATOMIC NUMBER", "Z ?EFF", "Z ?EFFECTIVE", "RHO", "IODINE"),
)
# HU, and yet not those of one tube voltage: noise and contrast are computed.
_VIRTUAL = _words(
    *("VMI", "MONO ?E", "MONO ?ENERGETIC", "MONOCHROMATIC", r"\d+ ?KEV", "VNC", "VIRTUAL NON ?CONTRAST"),
    *("MAT REMOVED", "MAT MODIFIED"),
)
# Means of slices or of phases, and slices cut out of the volume: interpolation takes noise away.
_AVERAGED = _words(
    *("AVERAGE", "AVERAGED", "AVG", "AVGIP", "AIP", "MEAN", "MPR", "CSAMPR", "CSAPARALLEL", "REFORMATTED", "RESAMPLED")
)
_PICTURE = _words("SCREEN SAVE", "SCREEN CAPTURE", "SCREENSHOT", "DOSE REPORT", "DOSE INFO", "DOSE SHEET")


def is_no_scan(images: Sequence[HeaderValues]) -> bool:
    """Whether all images of a series say themselves that they are no transverse CT: another modality, scouts, pictures."""
    modalities = [values.text("Modality") for values in images]
    return all(modality not in (None, "", "CT") for modality in modalities) or all(
        "LOCALIZER" in values.texts("ImageType") or _is_picture(values) for values in images
    )


def require_slice(values: HeaderValues) -> None:
    """Refuse an image that says that it is no slice, or none in HU.

    Raises:
        InputError: a screen save, a projection or a map.
    """
    if _is_picture(values):
        raise InputError(
            f"{values.where} is no slice of a scan but a picture, such as a screen save or a dose sheet; move it out of the "
            "folder, or export the original series."
        )
    projection = _stated(values, _PROJECTIONS, _in_type(values, _EXTREMES))
    if projection is not None:
        raise InputError(
            f"{values.where} states {projection}: a projection through many slices, in which the density of the lung is lost. "
            "Choose the series of single slices."
        )
    if is_map([_shown_type(values)]):
        raise InputError(
            f"{values.where} states the image type {quoted(_shown_type(values), 120)}: its values are not HU but a map made "
            "from them, such as iodine or electron density. Choose the series of CT images."
        )


def is_map(image_type: Sequence[str]) -> bool:
    """Whether the values of an image type tell of a map, whose values are not HU."""
    return bool(_MAPS.search(_in_words(image_type)))


def is_virtual(image_type: Sequence[str]) -> bool:
    """Whether the values of an image type tell of virtual images, computed from two spectra."""
    return bool(_VIRTUAL.search(_in_words(image_type)))


def notes_on_kind(images: Sequence[HeaderValues]) -> list[str]:
    """What is to be said of slices that may be computed from others; nothing of a scanner's own reconstructions."""
    notes = {}
    for values in images:
        # spectral scanners store virtual images as original ones, and name them in words
        named, averaged = _VIRTUAL.search(_description(values)), _stated(values, _AVERAGED)
        virtual = _stated(values, _VIRTUAL) or (f"{quoted(named[0])} in its description" if named else None)
        in_words = _MAPS.search(_description(values)) if "DERIVED" in values.texts("ImageType") else None
        if virtual is not None:
            notes[0] = (
                f"By {virtual} the images are virtual ones, computed from two spectra; their noise, and EI with it, is not "
                "that of an ordinary CT."
            )
        if averaged is not None:
            notes[1] = (
                f"By {averaged} the images are means of slices or were cut out of a volume; that takes noise away, and EI is "
                "lower than in the scanner's slices."
            )
        if in_words is not None:
            notes[2] = (
                f"The description of the computed images names {quoted(in_words[0])}; look whether their values are HU. In a "
                "map of something else EI means nothing."
            )
    return list(notes.values())


def _is_picture(values: HeaderValues) -> bool:
    frames = values.number_if_readable("NumberOfFrames") or 1
    unplaced = frames == 1 and is_secondary_capture(values) and not values.is_there("ImagePositionPatient")
    return unplaced or bool(_PICTURE.search(_image_type(values)))


def _stated(values: HeaderValues, words: re.Pattern[str], found: bool = False) -> str | None:
    """How the header says what ``words`` look for; ``None`` if it does not."""
    if found or words.search(_image_type(values)):
        return f"the image type {quoted(_shown_type(values), 120)}"
    if "DERIVED" not in values.texts("ImageType"):
        return None
    # some workstations name it in words only; free text is not repeated, since it may hold a name
    named = words.search(_description(values))
    return None if named is None else f"{quoted(named[0])} in its description"


def _in_type(values: HeaderValues, words: Sequence[str]) -> bool:
    return any(word in values.texts("ImageType") for word in words)


def _shown_type(values: HeaderValues) -> str:
    technique = values.text("VolumeBasedCalculationTechnique")
    return " ".join([*values.texts("ImageType"), *([technique] if technique not in (None, "NONE") else [])])


def _image_type(values: HeaderValues) -> str:
    return _in_words([_shown_type(values)])


def _in_words(image_type: Sequence[str]) -> str:
    return " ".join(image_type).upper().replace("_", " ")


def _description(values: HeaderValues) -> str:
    return " ".join(values.text(keyword) or "" for keyword in ("SeriesDescription", "DerivationDescription")).upper()
