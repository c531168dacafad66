"""The places of a series' slices: one image at each, even distances, no tilt; and what else the header says of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..plain_text import quoted
from .dicom_checks import SeriesImage, size_of
from .dicom_values import HeaderValues

# Largest relative deviation of a slice distance from the median that counts as even: scanners round positions to 0.1 mm.
SPACING_TOLERANCE = 0.15
# The table does not move sideways and positions are rounded to 0.1 mm; a larger shift is patient motion or another series.
SIDEWAYS_MM = 0.25
TILT_MM = 1.0
# With more than this share of uneven distances a series is irregular, with less it has missing slices.
MOSTLY_EVEN = 0.4
# Images closer than this lie at one position, mm.
SAME_PLACE_MM = 1e-3
# What tells the images of one position apart where several phases or acquisitions share a series UID.
_PHASES = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
)
# Acquisitions that are joined lie one after the other; with more changes of number than this share of slices they alternate.
ALTERNATING = 0.6
# A gantry tilt of less, degrees, changes volumes by less than 0.1 % (1 / cos).
LEAST_TILT = 1.0
# Own choice: with pauses and a second breath a chest takes a minute or two.
LONGEST_SCAN_MINUTES = 15.0
# The pixels of an image span its reconstruction diameter: in 21 real series of three makers within 0.3 %.
DIAMETER_TOLERANCE = 0.05


def check_positions(ordered: Sequence[SeriesImage]) -> None:
    """Check that slices are evenly spaced and not shifted sideways.

    Args:
        ordered: by position along the slice normal.

    Raises:
        InputError: doubled, missing, uneven, tilted or shifted slices; the message names positions or files.
    """
    positions = np.array([image.position for image in ordered])
    gaps = np.diff(positions)
    _require_one_image_each(ordered, positions, gaps)
    _check_change_of_step(ordered, gaps)
    step = float(np.median(gaps))
    # a few distances of all kinds are no regular series with images missing
    if np.mean(np.abs(gaps / step - 1.0) > SPACING_TOLERANCE) > MOSTLY_EVEN:
        raise InputError(
            f"The distances between slices vary from {gaps.min():.2f} to {gaps.max():.2f} mm; one volume needs one distance. "
            "Choose a series with even distances, or export the whole series again if images are missing."
        )
    missing = [f"{p + step:.2f}" for p, g in zip(positions, gaps, strict=False) if g > (1.0 + SPACING_TOLERANCE) * step]
    if missing:
        raise InputError(
            f"Missing slices: the usual distance is {step:.2f} mm, but no slice is at {', '.join(missing[:8])} mm along the "
            "slice axis; export the whole series again."
        )
    if np.abs(gaps / step - 1.0).max() > SPACING_TOLERANCE:
        raise InputError(
            f"The distances between slices vary from {gaps.min():.2f} to {gaps.max():.2f} mm; one volume needs one distance. "
            "Export the whole series again, or choose an even one; resampling takes noise away and lowers the emphysema index."
        )
    _check_straight(ordered, positions)


def _check_change_of_step(ordered: Sequence[SeriesImage], gaps: NDArray[np.float64]) -> None:
    """Report a series of two or three parts with different slice distances, which has no missing slices."""
    starts = [0, *(n for n in range(1, len(gaps)) if abs(gaps[n] / gaps[n - 1] - 1.0) > SPACING_TOLERANCE), len(gaps)]
    runs = list(itertools.pairwise(starts))
    if not 2 <= len(runs) <= 3 or min(b - a for a, b in runs) < 3:
        return
    parts = [f"{b - a + 1} slices every {float(np.median(gaps[a:b])):.2f} mm" for a, b in runs]
    a, b = max(runs, key=lambda run: run[1] - run[0])
    ends = f"{quoted(ordered[a].path.name)} to {quoted(ordered[b].path.name)}"
    raise InputError(
        f"The slice distance changes within the series: {', then '.join(parts)}. Nothing is missing, but one volume needs one "
        f"distance. Put the regular part, the {b - a + 1} files {ends} "
        "along the slice axis, into a folder of its own."
    )


def _check_straight(ordered: Sequence[SeriesImage], positions: NDArray[np.float64]) -> None:
    corners = np.array([image.values.numbers("ImagePositionPatient", 3) for image in ordered], dtype=float)
    axes = np.reshape(ordered[0].values.numbers("ImageOrientationPatient", 6) or (), (2, 3))
    sideways = (corners - corners[0]) @ axes.T
    drift = float(np.abs(sideways[-1]).max())
    if drift > TILT_MM:
        raise InputError(
            f"The slices shift by {drift:.1f} mm in their own plane (gantry tilt). Straightening them means interpolating "
            "between slices, which takes noise away as a smooth kernel does and lowers the emphysema index, so it is not done "
            "here. Choose a series reconstructed without tilt; resampling this one elsewhere leaves its numbers not comparable."
        )
    share = (positions - positions[0]) / (positions[-1] - positions[0])
    off = np.abs(sideways - share[:, None] * sideways[-1]).max(axis=1)
    worst = int(off.argmax())
    if off[worst] > SIDEWAYS_MM:
        raise InputError(
            f"{ordered[worst].path.name} lies {off[worst]:.1f} mm beside the line of the other slices; "
            "the images do not belong together. Export the whole series again."
        )


def _require_one_image_each(ordered: Sequence[SeriesImage], positions: NDArray[np.float64], gaps: NDArray[np.float64]) -> None:
    doubled = list(dict.fromkeys(f"{p:.2f}" for p, g in zip(positions[1:], gaps, strict=True) if g < SAME_PLACE_MM))
    if not doubled:
        return
    if positions[-1] - positions[0] < SAME_PLACE_MM:
        raise InputError(
            f"All {len(ordered)} images state the same position, {positions[0]:.2f} mm along the slice axis: they show one "
            "place, or a program removed their places. Export the series with its geometry."
        )
    raise InputError(f"Doubled slices at {', '.join(doubled[:8])} mm along the slice axis; {_of_doubled(ordered, positions)}.")


def _of_doubled(ordered: Sequence[SeriesImage], positions: NDArray[np.float64]) -> str:
    """What to do about doubled slices: they are copies, unless a tag tells two complete phases apart."""
    for keyword in _PHASES:
        stated = [image.values.number_if_readable(keyword) for image in ordered]
        groups = {value: [n for n, other in enumerate(stated) if other == value] for value in dict.fromkeys(stated)}
        single = all(len(g) > 1 and np.diff(positions[g]).min() >= SAME_PLACE_MM for g in groups.values())
        if len(groups) > 1 and single:
            shown = [
                f"{'none' if value is None else f'{value:g}'} in {len(g)} image(s) from {quoted(ordered[g[0]].path.name)}"
                for value, g in list(groups.items())[:4]
            ]
            return (
                f"the images there differ in {keyword} ({'; '.join(shown)}), as phases or acquisitions under one series UID "
                "do. Put the files of one of them into a folder of their own and read that"
            )
    return "keep one image for each position"


def _note_on_acquisitions(ordered: Sequence[SeriesImage]) -> list[str]:
    numbers = [image.values.number_if_readable("AcquisitionNumber") for image in ordered]
    stated = [number for number in numbers if number is not None]
    several = sorted(set(stated))
    if not 2 <= len(several) < len(ordered) // 2:
        return []
    shown = ", ".join(f"{number:g}" for number in several[:4])
    changes = sum(one != other for one, other in itertools.pairwise(stated))
    if changes > ALTERNATING * len(stated):
        return [
            f"The slices of {len(several)} acquisitions (numbers {shown}) alternate: phases or breaths are mixed slice by "
            "slice, and EI is that of neither. Put the files of one acquisition into a folder of their own."
        ]
    return [f"The series joins {len(several)} acquisitions (numbers {shown}); the patient may have breathed in between."]


def notes_on_places(ordered: Sequence[SeriesImage]) -> list[str]:
    """What the header says of tilt and field of view and the slices' places and pixels contradict: nothing, as a rule.

    Args:
        ordered: images whose places form a straight, even stack.
    """
    notes = _note_on_acquisitions(ordered)
    values = ordered[0].values
    tilt = abs(values.number_if_readable("GantryDetectorTilt") or 0.0)
    if LEAST_TILT <= tilt < 90.0:
        larger = 100.0 * (1.0 / math.cos(math.radians(tilt)) - 1.0)
        notes.append(
            f"The header states a gantry tilt of {tilt:g} degrees, and the places of the slices show none: a program "
            "straightened the slices, which takes noise away and lowers EI, or it lost their places, and volumes are then "
            f"{larger:.1f} % too large."
        )
    diameter = values.number_if_readable("ReconstructionDiameter") or 0.0
    extents = [n * mm for n, mm in zip(size_of(values), values.numbers("PixelSpacing", 2) or (), strict=False)]
    if diameter > 0.0 and extents and abs(max(extents) / diameter - 1.0) > DIAMETER_TOLERANCE:
        factor = (diameter / max(extents)) ** 2
        notes.append(
            f"The header states a reconstruction diameter of {diameter:g} mm, and by the pixel spacing the image is "
            f"{max(extents):.0f} mm wide: it was cropped or enlarged, or the spacing is wrong. If it is wrong, the true "
            f"volumes are {factor:.2g} times those given."
        )
    return [*notes, *_note_on_step(ordered), *_note_on_times(ordered)]


def _note_on_step(ordered: Sequence[SeriesImage]) -> list[str]:
    """What is to be said where the header's distance of slices is another than that of their positions."""
    number, count = ordered[0].values.number_if_readable("SpacingBetweenSlices"), len(ordered) - 1
    ends = [image.values.number_if_readable("SliceLocation") for image in (ordered[0], ordered[-1])]
    located = None if None in ends else abs((ends[1] or 0.0) - (ends[0] or 0.0)) / count
    step = (ordered[-1].position - ordered[0].position) / count
    for keyword, stated in (("SpacingBetweenSlices", abs(number or 0.0)), ("SliceLocation", located or 0.0)):
        if stated > SAME_PLACE_MM and abs(stated / step - 1.0) > SPACING_TOLERANCE:
            return [
                f"By their positions the slices lie {step:.2f} mm apart, by {keyword} {stated:.2f} mm. Either slices between "
                f"them are missing, or one of both is wrong; by {keyword} the volumes would be {stated / step:.2g} times those "
                "given."
            ]
    return []


def _note_on_times(ordered: Sequence[SeriesImage]) -> list[str]:
    """What is to be said where the slices were not acquired in one session."""
    seconds = _seconds([image.values for image in ordered])
    minutes = (max(seconds) - min(seconds)) / 60.0 if seconds else 0.0
    if minutes <= LONGEST_SCAN_MINUTES:
        return []
    return [
        f"By their acquisition times the slices were acquired within {minutes:.0f} minutes, longer than a scan of a chest "
        "lasts: look whether images of several scans were joined under one series UID."
    ]


def _seconds(images: Sequence[HeaderValues]) -> list[float]:
    """Times of acquisition that can be read, seconds from an arbitrary moment; the days count where every image states one."""
    days = [_moment(values.text("AcquisitionDate") or "", "%Y%m%d") for values in images]
    times = [_moment((values.text("AcquisitionTime") or "")[:6], "%H%M%S") for values in images]
    first = None if None in days else min(day for day in days if day is not None)
    return [
        (time - datetime(1900, 1, 1)).total_seconds() + ((day - first).total_seconds() if day and first else 0.0)
        for day, time in zip(days, times, strict=True)
        if time is not None
    ]


def _moment(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None
