"""Finds the plane of reconstruction, in which kernels act, for any stored order of axes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..volume import CTVolume, Geometry
from .orientation import Canonical

# Largest angle between the normal of a slice and the patient's long axis. A gantry tilts by up to 30 degrees; volumes that are
# rotated further were resampled, and their slices are not the plane in which the kernel acted.
LARGEST_TILT_DEGREES = 35.0
# CT is reconstructed on square pixels. Where those of the transverse plane are not square within this share, and those of
# another plane are, the directions in the file are not those of the scan: programs that lose them write the identity.
SQUARE = 0.02


@dataclass(frozen=True)
class Turned:
    """A volume whose first axis is the slice axis of the reconstruction.

    Attributes:
        volume: HU (k, j, i) = (slice, row, column) of the reconstruction; the given volume itself if no change was needed.
        axes: ``axes[n]`` is the stored axis that became axis n.
    """

    volume: CTVolume
    axes: tuple[int, int, int]

    @property
    def was_turned(self) -> bool:
        """Whether the axes were reordered."""
        return self.axes != (0, 1, 2)

    def back(self, array: NDArray[Any]) -> NDArray[Any]:
        """Bring an array with the shape of the reordered volume back to the stored order."""
        if not self.was_turned:
            return array
        return np.ascontiguousarray(array.transpose([int(n) for n in np.argsort(self.axes)]))


def in_reconstruction_plane(volume: CTVolume) -> Turned:
    """``volume`` with its axes in the order slice, row, column of the reconstruction, found from its direction matrix.

    CT is reconstructed in transverse slices, so the axis closest to the patient's long axis becomes the slice axis. The row
    index then runs along the front-back axis and the column index along the left-right axis, in either direction, as in the
    training data. Axes are only exchanged, never reversed or interpolated; a volume that is stored in transverse slices is
    returned unchanged.

    Raises:
        InputError: no stored axis lies near the patient's long axis, the volume has too few transverse slices, or its
            directions contradict its spacing.
    """
    axes = Canonical.of(volume.geometry).axes
    cosine = abs(float(np.asarray(volume.geometry.direction)[2, 2 - axes[0]]))
    tilt = float(np.degrees(np.arccos(min(1.0, cosine))))
    if tilt > LARGEST_TILT_DEGREES:
        raise InputError(
            f"“{volume.name}” is stored obliquely: its slices are tilted by {tilt:.0f} degrees against the transverse plane, "
            f"in which CT is reconstructed (up to {LARGEST_TILT_DEGREES:.0f} can be a tilted gantry). Load the transverse "
            "series."
        )
    require_square_pixels(volume)
    if axes == (0, 1, 2):
        return Turned(volume, axes)
    given = volume.geometry
    # column n of the direction belongs to index axis (i, j, k)[n], which is array axis 2 - n
    columns = np.asarray(given.direction)[:, [2 - axes[2], 2 - axes[1], 2 - axes[0]]]
    spacing = (given.spacing[axes[0]], given.spacing[axes[1]], given.spacing[axes[2]])
    geometry = Geometry(spacing, given.origin, tuple((float(a), float(b), float(c)) for a, b, c in columns))
    return Turned(replace(volume, hu=volume.hu.transpose(axes), geometry=geometry), axes)


def require_square_pixels(volume: CTVolume) -> None:
    """Refuse a volume whose directions cannot be those of the scan, since they make its pixels oblong.

    Raises:
        InputError: the transverse pixels are not square, and those of another plane are.
    """
    across, row, column = (volume.geometry.spacing[n] for n in Canonical.of(volume.geometry).axes)

    def differ(one: float, other: float) -> bool:
        return abs(one - other) > SQUARE * max(one, other)

    if differ(row, column) and (not differ(across, row) or not differ(across, column)):
        raise InputError(
            f"By its directions, “{volume.name}” has transverse pixels of {row:.3g} x {column:.3g} mm. CT is reconstructed on "
            "square pixels, and those of another plane are square: the directions are not those of the scan, so the plane of "
            "reconstruction is not known, nor right and left. Convert the DICOM series again, keeping its geometry."
        )
