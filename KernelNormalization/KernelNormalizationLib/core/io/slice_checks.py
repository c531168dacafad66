"""Checks of slices against their neighbours: images that hold nothing or only a part, or belong to another scan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..arrays import LOWEST_STORED_HU, BoolArray, FloatArray, sample_of
from ..errors import InputError
from ..kernels.mixed_kernels import find_mixture
from ..plain_text import quoted
from .padding import HIGHEST_STORED_HU

# A slice of one value at or below this may be padding or air at the ends of a volume; anything above is no part of a scan.
EMPTY_HU = -900.0
# An intercept that was lost on the way is 0 instead of -1024 or so, a damaged one any number. Smaller differences than these do
# not show; larger ones are right where the HU of the two slices fit together.
LOST_INTERCEPT_HU = 50.0
# Neighbouring slices whose HU differ by this many times what their stored values differ by are scaled wrongly.
JUMP_FACTOR = 2.0
# A rescale that one slice has alone is a fault unless its HU fit better with it than with its neighbour's: this leaves a margin
# for rescales so alike that both fit. Of chests with 18 mm between slices none with its right values exceeded it.
LONE_FACTOR = 1.1
# A slope is doubted where one slice, or this share of them, has another than the others; where more have, each has its own, as
# some programs write it.
ODD_SLOPES = 0.1
# Programs that scale each slice by itself make as many rescales as slices; fewer than this are those of joined parts.
FEW_RESCALES = 3
# A row of one value shows nothing where this share of the same row is tissue in the slices before and after it. Rows are lost
# in blocks: a single row may be flat by chance.
TISSUE_HU, TISSUE_SHARE, BLANK_ROWS = -500.0, 0.1, 2
# No scanner stores HU beyond these (16 bits that were misread do), and padding lies at the same place in the next slice.
POSSIBLE_HU = (-8192.0, HIGHEST_STORED_HU)
# HU of air to bone, to compare slices by: padding and metal are no measure.
AIR_TO_BONE_HU = 1024.0
# A region (so many pixels a side, every second pixel taken) that differs from both neighbours by this many times what these
# differ from each other, and by more than so many HU: 1.6 times at most in a sharp chest of 3 mm (B70f), noise included.
REGION_SIDE, ODD_FACTOR, ODD_HU = 16, 3.0, 30.0
# With more between slices, mm, neighbours differ that much by themselves: of real chests with 3 and 5 mm none was odd, with
# every second of their slices left out four were.
COMPARABLE_STEP_MM = 5.0

# EI counts the voxels below one HU value, so steps between the stored values beyond this move it. They are looked for where
# emphysema and its threshold lie, with enough voxels that every whole number occurs.
COARSE_STEP_HU, STEPS_IN_HU, VOXELS_FOR_STEPS = 1.5, (-1000.0, -850.0), 5000

# Soft tissue, and what lies between it and lung. Real chests have 39 to 50 % of the first, also when cut to one lung; values
# that were divided for a network had 0.7 % of it and half of all between.
SOFT_HU, BETWEEN_HU = (-200.0, 200.0), (-700.0, -200.0)
SMALLEST_SOFT_SHARE, LARGEST_SHARE_BETWEEN = 0.01, 0.3
# Bone, contrast agent and metal. Real chests have at most 0.13 times as many of these voxels as of soft tissue, head phantoms
# 1.2 times; a chest with a slope of 1.5 or 2 instead of 1 has 13 times as many or more.
BONE_HU, LARGEST_BONE_TO_SOFT = (200.0, 31000.0), 2.0


def require_pictures(hu: FloatArray, names: Sequence[str] | None = None) -> None:
    """Refuse slices of a single value, which a transfer that broke off leaves behind.

    Padding or air at the first and last slices is allowed: cut and resampled volumes have it.

    Args:
        hu: (k, j, i), HU.
        names: of the slices' files, if each has its own.

    Raises:
        InputError: such slices; the message names them.
    """
    low, high = hu.min(axis=(1, 2)), hu.max(axis=(1, 2))
    pictures = np.flatnonzero(low != high)
    if not pictures.size:
        raise InputError("Every slice holds a single value; there is no image. Export the scan again.")
    k = np.arange(len(hu))
    inside = (k > pictures[0]) & (k < pictures[-1])
    padding = (low <= EMPTY_HU) | (low > HIGHEST_STORED_HU)
    empty = np.flatnonzero((low == high) & (inside | ~padding))
    if not empty.size:
        return
    first = names[int(empty[0])] if names is not None else f"slice {int(empty[0]) + 1} of {len(hu)}"
    raise InputError(
        f"{empty.size} slice(s) hold the single value {low[empty[0]]:g} HU and no image, first {first}; the scan was not "
        "copied completely. Export the series again, or cut off slices that hold nothing."
    )


def require_whole_slices(hu: FloatArray, names: Sequence[str]) -> None:
    """Refuse slices of which a part is blank or was misread, while the slices before and after them show something there.

    Args:
        hu: (k, j, i), HU, as stored.
        names: of the slices.

    Raises:
        InputError: such slices; the message names the first.
    """
    blank, tissue = _rows(hu)
    low, high = POSSIBLE_HU
    beyond = [(image < low) | (image > high) if image.min() < low or image.max() > high else None for image in hu]
    for k in range(1, len(hu) - 1):
        lost = blank[k] & tissue[k - 1] & tissue[k + 1] & ~blank[k - 1] & ~blank[k + 1]
        if np.count_nonzero(lost) >= BLANK_ROWS:
            raise InputError(
                f"{names[k]} shows nothing in {np.count_nonzero(lost)} of {lost.size} rows of its image, where the slices "
                "before and after it show the body; it was not copied completely. Export the series again."
            )
        misread = beyond[k]
        if misread is None:
            continue
        for other in (beyond[k - 1], beyond[k + 1]):
            misread = misread if other is None else misread & ~other
        if misread.any():
            value = float(hu[k][misread][0])
            raise InputError(
                f"{names[k]} holds {np.count_nonzero(misread)} pixel(s) that no CT has, such as {value:g} HU, where the slices "
                "before and after it show usual ones; its pixels are damaged. Export the series again."
            )


def notes_on_slices(hu: FloatArray, names: Sequence[str], step_mm: float, files: bool = False) -> tuple[str, ...]:
    """What the user should look at: slices that fit no neighbour, and a scan that ends within a slice.

    Args:
        hu: (k, j, i), HU, as stored.
        names: of the slices.
        step_mm: between slices.
        files: whether each slice came as a file of its own; volumes often end with empty slices, which need no word.
    """
    notes, cut = [*_note_on_scale(hu), *_note_on_steps(hu), *_note_on_repeats(hu, names)], _cut_ends(hu)
    odd = odd_slices(hu) if step_mm <= COMPARABLE_STEP_MM else []
    if odd:
        worst, by = max(odd, key=lambda item: item[1])
        notes.append(
            f"{len(odd)} slice(s) differ from the slices before and after them by up to {by:.0f} HU in one region, most "
            f"{quoted(names[worst])}; look whether they are damaged."
        )
    notes += [
        f"{quoted(names[k])}, the {which} with an image, shows nothing in {rows} of {hu.shape[1]} rows, where the slice beside "
        "it shows the body; look whether the scan was copied completely."
        for which, k, rows in cut
    ]
    if files and not cut:
        notes += _note_on_empty_ends(hu, names)
    return tuple(notes)


def _note_on_scale(hu: FloatArray) -> list[str]:
    sample = sample_of(hu)
    soft, between, bone = (
        float(np.mean((sample > lowest) & (sample < highest))) for lowest, highest in (SOFT_HU, BETWEEN_HU, BONE_HU)
    )
    if bone > LARGEST_BONE_TO_SOFT * soft:
        return [
            f"{100 * bone:.0f} % of the values lie above {BONE_HU[0]:g} HU, where a chest has bone and contrast agent only, "
            f"and {100 * soft:.0f} % near 0, where soft tissue is: look whether the rescale slope is wrong, which makes EI "
            "wrong too."
        ]
    if soft >= SMALLEST_SOFT_SHARE or between <= LARGEST_SHARE_BETWEEN:
        return []
    return [
        f"{100 * between:.0f} % of the values lie between {BETWEEN_HU[0]:g} and {BETWEEN_HU[1]:g} HU, where a chest has "
        "little, and almost none near 0, where soft tissue is: look whether the values were scaled, for example for a network."
    ]


def _note_on_empty_ends(hu: FloatArray, names: Sequence[str]) -> list[str]:
    """Slices of one value before the first or after the last image: no scanner makes them, programs that resample do."""
    pictures = np.flatnonzero(hu.min(axis=(1, 2)) != hu.max(axis=(1, 2)))
    first, last = int(pictures[0]), int(pictures[-1])
    # below -1024 HU it is padding
    empty = [k for k in (*range(first), *range(last + 1, len(hu))) if hu[k, 0, 0] >= LOWEST_STORED_HU]
    if not empty:
        return []
    return [
        f"{len(empty)} slice(s) at the ends hold one value and no image, first {quoted(names[empty[0]])}; look whether the "
        "scan was copied completely."
    ]


def _note_on_steps(hu: FloatArray) -> list[str]:
    sample = sample_of(hu)
    near = sample[(sample > STEPS_IN_HU[0]) & (sample < STEPS_IN_HU[1])]
    values = np.unique(near)
    if near.size < VOXELS_FOR_STEPS or values.size < 2 or float(np.diff(values).min()) < COARSE_STEP_HU:
        return []
    step = float(np.diff(values).min())
    return [
        f"Near emphysema the values lie {step:.1f} HU apart, as after storage in few grey levels; EI depends on where these "
        "steps fall."
    ]


def _note_on_repeats(hu: FloatArray, names: Sequence[str]) -> list[str]:
    """Slices that equal another one: the noise of a scanner makes no two equal images, a faulty export does."""
    repeats = repeated_slices(hu)
    if not repeats:
        return []
    (again, first), *_ = repeats
    return [
        f"{len(repeats)} slice(s) equal another one in every voxel, first {quoted(names[again])} and {quoted(names[first])}: a "
        "slice stands in the place of one that was lost, or slices were multiplied. Its lung is counted twice."
    ]


def repeated_slices(hu: FloatArray) -> list[tuple[int, int]]:
    """Slices with an image that equal an earlier one, and the first of those.

    Args:
        hu: (k, j, i), HU.
    """
    found: list[tuple[int, int]] = []
    seen: dict[int, list[int]] = {}
    for k, image in enumerate(hu):
        if image.min() == image.max():
            continue
        # few rows tell apart what differs, all of them are compared where these do not
        alike = seen.setdefault(hash(image[:: max(len(image) // 16, 1)].tobytes()), [])
        first = next((n for n in alike if np.array_equal(hu[n], image)), None)
        if first is None:
            alike.append(k)
        else:
            found.append((k, first))
    return found


def _cut_ends(hu: FloatArray) -> list[tuple[str, int, int]]:
    """The first and last slice with an image, if it ends within the body: which, its number, and its rows without an image."""
    blank, tissue = _rows(hu)
    pictures = np.flatnonzero(~blank.all(axis=1))
    found: list[tuple[str, int, int]] = []
    if not pictures.size:  # images of one column
        return found
    for which, k, beside in (("first", pictures[0], pictures[0] + 1), ("last", pictures[-1], pictures[-1] - 1)):
        if not 0 <= beside < len(hu):
            continue
        # below -1024 HU it is padding, which a volume that was turned has there
        lost = blank[k] & (hu[k, :, 0] >= LOWEST_STORED_HU) & tissue[beside] & ~blank[beside]
        # the rest of a copied file ends at a row that still shows the body; a body that ends by itself does so in air
        body = tissue[k] & ~blank[k]
        # the row in which the copy broke off shows little of the body
        above, below = body.copy(), body.copy()
        above[1:] |= body[:-1] & ~blank[k][1:]
        below[:-1] |= body[1:] & ~blank[k][:-1]
        at_its_end = (lost[1:] & above[:-1]).any() or (lost[:-1] & below[1:]).any()
        if at_its_end and np.count_nonzero(lost) >= BLANK_ROWS:
            found.append((which, int(k), int(np.count_nonzero(lost))))
    return found


def _rows(hu: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Rows of a single value, and rows that show the body, (k, j)."""
    blank = np.stack([(image == image[:, :1]).all(axis=1) for image in hu])
    return blank, np.stack([(image > TISSUE_HU).mean(axis=1) > TISSUE_SHARE for image in hu])


def odd_slices(hu: FloatArray) -> list[tuple[int, float]]:
    """Slices that differ from both neighbours in some region far more than these differ from each other.

    Args:
        hu: (k, j, i), HU.

    Returns:
        Index of the slice, and mean difference (HU) from the more similar neighbour in its oddest region.
    """
    found: list[tuple[int, float]] = []
    seen = [np.clip(image[::2, ::2], -AIR_TO_BONE_HU, AIR_TO_BONE_HU) for image in hu]
    for k in range(1, len(hu) - 1):
        to_both = np.minimum(_by_region(seen[k] - seen[k - 1]), _by_region(seen[k] - seen[k + 1]))
        odd = to_both > ODD_FACTOR * _by_region(seen[k + 1] - seen[k - 1]) + ODD_HU
        if odd.any():
            found.append((k, float(to_both[odd].max())))
    return found


def _by_region(difference: FloatArray) -> FloatArray:
    """Mean of the absolute difference in each region."""
    rows, columns = (np.linspace(0, n, max(n // REGION_SIDE, 1) + 1).astype(int) for n in difference.shape)
    sums = np.add.reduceat(np.add.reduceat(np.abs(difference), rows[:-1], axis=0), columns[:-1], axis=1)
    return np.asarray(sums / np.outer(np.diff(rows), np.diff(columns)), dtype=np.float32)


def require_one_kernel(hu: FloatArray, names: Sequence[str]) -> tuple[str, ...]:
    """What is to be said of the kernels of the slices, whatever the header tells: nothing, as a rule.

    Args:
        hu: (k, j, i), HU, in the plane of reconstruction.
        names: of the slices.

    Returns:
        A note for the user if two kernels may be mixed.

    Raises:
        InputError: they are.
    """
    found = find_mixture(hu)
    if found is None:
        return ()
    place = f"between {quoted(names[found.before])} and {quoted(names[found.after])}"
    sharp, smooth = found.noise_hu
    if found.is_certain:
        raise InputError(
            f"The slices are of two kernels, whatever the header says: with a step {place}, the fine noise is {sharp:.1f} HU "
            f"in some and {smooth:.1f} HU in others, and of another sharpness. One EI of both would be wrong. Export the "
            "slices of each kernel as a series of their own."
        )
    return (
        f"Strength and sharpness of the noise change at once {place} (fine noise of some slices {sharp:.1f} HU, of others "
        f"{smooth:.1f} HU), as where slices of two kernels are mixed; EI would then be that of neither.",
    )


def _few_differ(counts: Counter[float] | Counter[tuple[float, float]]) -> bool:
    return counts.total() - max(counts.values()) <= max(1.0, ODD_SLOPES * counts.total())


def note_on_rescale(rescales: Sequence[tuple[float, float]], names: Sequence[str]) -> list[str]:
    """What is to be said of few slices whose slope and intercept differ from all others': small faults of them do not show.

    Args:
        rescales: slope and intercept of each slice.
        names: of the slices' files.
    """
    counts = Counter(rescales)
    (usual, _), *others = counts.most_common()
    if 0 < len(others) < FEW_RESCALES and not _few_differ(counts) and len(rescales) > 2 * len(counts):
        shown = "; ".join(
            f"slope {slope:g} and intercept {intercept:g} in {n} from {quoted(names[rescales.index((slope, intercept))])}"
            for (slope, intercept), n in counts.most_common()
        )
        return [f"The slices state {len(counts)} rescales ({shown}); look whether the HU fit where they meet."]
    if not others or not _few_differ(counts):
        return []
    k = next(n for n, rescale in enumerate(rescales) if rescale != usual)
    return [
        f"{counts.total() - counts[usual]} slice(s) state another rescale than all others, first {quoted(names[k])} the slope "
        f"{rescales[k][0]:g} and intercept {rescales[k][1]:g} instead of {usual[0]:g} and {usual[1]:g}; look whether "
        "its HU fit."
    ]


def require_fitting_rescale(hu: FloatArray, rescales: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    """Refuse neighbouring slices of which one states a wrong rescale: their stored values continue each other, their HU do not.

    Args:
        hu: (k, j, i), HU, after the rescale.
        rescales: slope and intercept of each slice.
        names: of the slices' files.

    Raises:
        InputError: such slices.
    """
    one_slope, one_intercept = (_few_differ(Counter(stated)) for stated in zip(*rescales, strict=True))
    for k in range(1, len(hu)):
        (slope, intercept), (before, offset) = rescales[k], rescales[k - 1]
        if (slope == before and abs(intercept - offset) < LOST_INTERCEPT_HU) or (slope != before and not one_slope):
            continue
        as_before = (hu[k] - intercept) * np.float32(before / slope) + offset
        jump = float(np.abs(hu[k] - hu[k - 1]).mean())
        kept = float(np.abs(as_before - hu[k - 1]).mean())
        if jump > (LONE_FACTOR if slope != before or one_intercept else JUMP_FACTOR) * kept:
            raise InputError(
                f"{names[k - 1]} states the rescale slope {before:g} and intercept {offset:g}, the next slice {names[k]} "
                f"{slope:g} and {intercept:g}. With them the HU of the two differ by {jump:.0f} on average, with the same "
                f"slope and intercept for both only by {kept:.0f}. One of the tags is wrong; export the series again."
            )
