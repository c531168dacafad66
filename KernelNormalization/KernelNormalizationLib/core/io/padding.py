"""Padding outside the field of view: one value or several, declared or not, exact or interpolated with its neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..arrays import AIR_HU, LOWEST_STORED_HU, BoolArray, FloatArray

# Padding is one exact value on many voxels: at least this share of the volume, and this many times the voxels found in
# the 24 HU above it (image noise is continuous; padding of the visible scans has none there).
PADDING_SHARE = 1e-4
PADDING_SPIKE = 10.0
SPIKE_REACH_HU = 24
# Voxels this close to a padding value count as padding: resampling in floating point leaves rounding errors.
SAME_HU = 0.5
# A negative number read as unsigned 16 bit lies above this; the extended HU scale ends at 30,710.
HIGHEST_STORED_HU = 31000.0
# Columns or rows of padding beside the image fill a face of the volume, but for a few damaged voxels.
WHOLE_FACE = 0.98
# Padding this close to air cannot be distinguished from noise where it is interpolated.
BLENDED_BELOW_HU = -1300.0
# Lower than any padding that scanners store (-33,792): what programs write as "no value", such as -1e30.
LOWEST_HU = -100000.0
# Of a voxel lower than any image, at least this share is padding; a rim is at most so wide (a cubic filter reaches 2 voxels).
BLENDED_SHARE, RIM_VOXELS = 0.4, 3
# The field of view is a disc: the area within its bounding circle that it fills at least, and that lies outside it at most; a
# body seen against air without noise, as in simulations, fills 0.7 of its bounding circle. Its box is square within this share.
DISC_FILLED, DISC_BEYOND, DISC_SQUARE = 0.98, 0.01, 0.03
# Of a disc that the border of the image cuts, at least this share of the rim lies so near to one circle, in pixels, and the
# image shows at least so many pixels of the rim, as a multiple of its longer side. The outline of a body, an ellipse, does not.
RIM_ON_CIRCLE, RIM_OFF_PIXELS, RIM_SHOWN = 0.98, 0.75, 0.75
# At least this share of such a rim is tissue (0.35 to 0.53 where it cuts a chest; 0 in a scan whose circle lies in air).
RIM_TISSUE, TISSUE_HU = 0.05, -400.0
# At a floor lie this many times the voxels that are blended to the 24 HU below it.
FLOOR_SPIKE = 3.0


def detect_padding(hu: FloatArray, declared: float | None = None) -> float | None:
    """HU value that marks voxels outside the field of view, ``None`` if there is none; the most frequent of several.

    Args:
        hu: (k, j, i), HU.
        declared: padding value of the header (HU); trusted if it lies below -1024 and occurs.

    A value at or above -1024 is never padding: there it cannot be distinguished from truncated air. A value above
    31,000 HU, beyond any scanner's range, in the corners or on a face of the volume is negative padding that was read as
    unsigned.
    """
    if declared is not None and declared < LOWEST_STORED_HU and bool(np.any(hu == np.float32(declared))):
        return declared
    wrapped = _wrapped_padding(hu)
    if wrapped is not None:
        return wrapped
    lowest = float(hu.min())
    if lowest <= LOWEST_HU:
        return lowest if np.count_nonzero(hu <= LOWEST_HU) >= PADDING_SHARE * hu.size else None
    values, counts = _spikes(hu)
    if not values.size:
        return None
    commonest = float(values[np.argmax(counts)])
    there = hu[np.abs(hu - np.float32(commonest)) <= SAME_HU]
    # the value as it is stored: whole, or with a fraction where the rescale slope has one
    return commonest if (there == np.float32(commonest)).any() else float(np.median(there))


def padding_mask(hu: FloatArray, value: float) -> BoolArray:
    """Voxels outside the field of view, bool (k, j, i).

    These are the voxels with ``value`` or with another padding value, voxels interpolated between padding and image (lower
    than any stored image value), and the neighbours of these.

    Args:
        hu: (k, j, i), HU.
        value: one padding value of the volume, as :func:`detect_padding` gives it.
    """
    if value > HIGHEST_STORED_HU:
        high: BoolArray = hu > HIGHEST_STORED_HU
        return high
    exact: BoolArray = (np.abs(hu - np.float32(value)) <= SAME_HU) | (hu <= LOWEST_HU)
    others, _ = _spikes(hu)
    values = [value, *(float(v) for v in others if abs(v - value) > SAME_HU)]
    for other in values[1:]:
        exact |= np.abs(hu - np.float32(other)) <= SAME_HU
    far = [max(v, LOWEST_HU) for v in values if v < BLENDED_BELOW_HU]
    level = LOWEST_STORED_HU + BLENDED_SHARE * (max(far) - LOWEST_STORED_HU) if far else LOWEST_HU
    low = (hu < level) & ~exact
    if not (far and low.any()):
        return exact
    image_from = _lowest_image_hu(hu, level)
    # where most of what is so low lies beside padding, the rest is a rim too thin to hold an unblended voxel, and no noise
    is_rim = 2 * np.count_nonzero(low & _neighbours(exact)) > np.count_nonzero(low)
    mask = exact | low if is_rim else exact
    for _ in range(RIM_VOXELS):
        mask = mask | (_neighbours(mask) & (hu < image_from))
    # the rim also has voxels with a small share of padding, which look like image
    return mask | _neighbours(mask & ~exact)


def _spikes(hu: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Isolated values below -1024 (whole HU) that many voxels have, with the number of voxels."""
    low = hu[(hu < LOWEST_STORED_HU + SPIKE_REACH_HU) & (hu > LOWEST_HU)]
    if not low.size or float(low.min()) >= LOWEST_STORED_HU - SAME_HU:
        return np.empty(0), np.empty(0, np.intp)
    first = int(np.rint(low.min()))
    counts = np.bincount(np.rint(low).astype(np.int64) - first)
    total = np.concatenate(([0], np.cumsum(counts)))
    ends = np.minimum(np.arange(counts.size) + 1 + SPIKE_REACH_HU, counts.size)
    above = total[ends] - total[1:]
    found = np.flatnonzero((counts >= PADDING_SHARE * hu.size) & (counts >= PADDING_SPIKE * above))
    found = found[found + first < LOWEST_STORED_HU]
    return (found + first).astype(np.float64), counts[found]


def _lowest_image_hu(hu: FloatArray, level: float) -> float:
    """HU below which no voxel is image: the scanner's floor where values pile up at it, else the lowest value away from
    whatever lies below ``level``."""
    at_floor = np.count_nonzero(np.abs(hu - np.float32(LOWEST_STORED_HU)) <= SAME_HU)
    below = np.count_nonzero((hu < LOWEST_STORED_HU - SAME_HU) & (hu >= LOWEST_STORED_HU - SPIKE_REACH_HU))
    if at_floor >= PADDING_SHARE * hu.size and at_floor >= FLOOR_SPIKE * below:
        return LOWEST_STORED_HU - SAME_HU
    near = hu < level
    for _ in range(RIM_VOXELS):
        near |= _neighbours(near)
    away = hu[~near]
    return float(away.min()) if away.size else level


def _wrapped_padding(hu: FloatArray) -> float | None:
    """A value beyond the HU scale that fills most corners of the volume or one of its faces, as -2000 read as 63,536 does; else
    ``None``."""
    if hu.max() <= HIGHEST_STORED_HU:
        return None
    corners = hu[np.ix_(*[[0, -1]] * hu.ndim)].reshape(-1)
    faces = (hu.take(end, axis).reshape(-1) for axis in range(hu.ndim) for end in (0, -1))
    for place, least in ((corners, 0.5), *((face, WHOLE_FACE) for face in faces)):
        value = np.median(place)
        if value > HIGHEST_STORED_HU and np.count_nonzero(place == value) > least * place.size:
            return float(value) if np.count_nonzero(hu == value) >= PADDING_SHARE * hu.size else None
    return None


def _neighbours(mask: BoolArray) -> BoolArray:
    """Voxels (k, j, i) that share a face with ``mask``."""
    beside = np.zeros_like(mask)
    for axis in range(mask.ndim):
        target, source = np.swapaxes(beside, 0, axis), np.swapaxes(mask, 0, axis)
        target[1:] |= source[:-1]
        target[:-1] |= source[1:]
    return beside


def surrounding_mask(hu: FloatArray) -> BoolArray | None:
    """Voxels beyond a round or rectangular field of view that are filled with a value images hold too, such as -1024 or 0.

    Such a value is no padding by itself. It is where it fills, in every slice, everything outside a disc or rectangle: noise
    leaves no pixel with the very same value in all slices.

    Args:
        hu: (k, j, i), HU, with the slices along any of its axes.

    Returns:
        bool (k, j, i); ``None`` if there is no such region.
    """
    found: BoolArray | None = None
    for axis in range(3):
        slices = np.moveaxis(hu, axis, 0)
        corners = slices[:, [0, 0, -1, -1], [0, -1, 0, -1]]
        for value in {float(corner[0]) for corner in corners.T if (corner == corner[0]).all()}:
            seen = (slices != value).any(axis=0)
            if value < LOWEST_STORED_HU or not _is_view(slices, seen, value):
                continue
            beyond = np.moveaxis(np.broadcast_to(~seen, slices.shape), 0, axis)
            # seen from its side, a disc fills a rectangle: the view that leaves most out is the right one
            if found is None or np.count_nonzero(beyond) > np.count_nonzero(found):
                found = beyond
    return found


def _is_view(slices: FloatArray, seen: BoolArray, value: float) -> bool:
    """Whether ``seen`` (j, i), all that is not filled with ``value``, is a field of view."""
    everywhere = not seen[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    # a rectangle in air without noise may be a simulated body
    if everywhere and (_is_disc(seen) or (value != AIR_HU and _is_rectangle(seen))):
        return True
    if not _is_cut_disc(seen):
        return False
    # a circle in the air around the body cuts nothing
    rows, columns = (places.astype(np.intp) for places in _outline(seen))
    return bool(np.mean(slices[:, rows, columns] > TISSUE_HU) >= RIM_TISSUE)


def _is_rectangle(seen: BoolArray) -> bool:
    """Whether ``seen`` (j, i) is a rectangle along the axes."""
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return bool(rows.size) and bool(seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() >= DISC_FILLED)


def _is_disc(seen: BoolArray) -> bool:
    """Whether ``seen`` (j, i) is a disc, in pixels."""
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not rows.size:
        return False
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    if abs(height - width) > DISC_SQUARE * max(height, width):
        return False
    j, i = np.ogrid[: seen.shape[0], : seen.shape[1]]
    from_middle = np.hypot(j - 0.5 * (rows[0] + rows[-1]), i - 0.5 * (columns[0] + columns[-1]))
    # one pixel of the rim may be counted either way
    inner, outer = (from_middle <= 0.25 * (height + width) + pixels for pixels in (-1.0, 1.0))
    filled = np.count_nonzero(seen & inner) >= DISC_FILLED * np.count_nonzero(inner)
    return bool(filled and np.count_nonzero(seen & ~outer) <= DISC_BEYOND * np.count_nonzero(outer))


def _is_cut_disc(seen: BoolArray) -> bool:
    """Whether ``seen`` (j, i) is a disc, in pixels, that the border of the image cuts."""
    j, i = _outline(seen)
    if j.size < RIM_SHOWN * max(seen.shape):
        return False
    # Kasa's fit of a circle: (j - a)^2 + (i - b)^2 = r^2 is linear in a, b and r^2 - a^2 - b^2
    equations = np.stack([2.0 * j, 2.0 * i, np.ones_like(j)], axis=1)
    (middle_j, middle_i, rest), *_ = np.linalg.lstsq(equations, j * j + i * i, rcond=None)
    radius = np.sqrt(max(0.0, rest + middle_j**2 + middle_i**2))
    off = np.abs(np.hypot(j - middle_j, i - middle_i) - radius)
    rows, columns = np.ogrid[: seen.shape[0], : seen.shape[1]]
    inner, outer = (np.hypot(rows - middle_j, columns - middle_i) <= radius + pixels for pixels in (-1.0, 1.0))
    filled = np.count_nonzero(seen & inner) >= DISC_FILLED * np.count_nonzero(inner)
    within = np.count_nonzero(seen & ~outer) <= DISC_BEYOND * np.count_nonzero(outer)
    return bool(np.mean(off <= RIM_OFF_PIXELS) >= RIM_ON_CIRCLE and filled and within)


def _outline(seen: BoolArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of the outermost pixels of ``seen`` (j, i) along every row and column, without the image's border."""
    found = []
    for turned in (False, True):
        lines = seen.T if turned else seen
        across = np.flatnonzero(lines.any(axis=1))
        first = lines[across].argmax(axis=1)
        last = lines.shape[1] - 1 - lines[across][:, ::-1].argmax(axis=1)
        for end, inside in ((first, first > 0), (last, last < lines.shape[1] - 1)):
            points = np.stack([across[inside], end[inside]])
            found.append(points[::-1] if turned else points)
    rows, columns = np.concatenate(found, axis=1).astype(np.float64)
    return rows, columns
