"""The CT volume type of the product, validated when it is created."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .arrays import AIR_HU, BoolArray, FloatArray, sample_of
from .errors import InputError
from .io.padding import LOWEST_HU, padding_mask, surrounding_mask
from .notebook import as_html

MINIMUM_SLICES = 8
MINIMUM_SIDE = 4
# Air is -1000 HU and the steepest legitimate undershoot of an unclipped sharp kernel stays above -2000 HU; a median
# soft-tissue patient lies within -1200 .. 300 HU. Outside these bounds the numbers are not Hounsfield units of a chest.
HU_MEDIAN_RANGE = (-1500.0, 500.0)
HU_MAXIMUM = 65535.0
# Voxels of a human chest: the smallest field of view over 2048 pixels, and the coarsest survey.
SPACING_RANGE_MM = (0.02, 100.0)
# Longest side of a scan: scanners move the table by some 2000 mm at most. A decimal point lost from the spacing exceeds it.
LONGEST_SIDE_MM = 2500.0
# Directions rounded to three digits deviate by this much from a rotation; shears and scales deviate by more.
DIRECTION_TOLERANCE = 5e-3


@dataclass(frozen=True)
class Geometry:
    """Placement of the voxels in LPS millimetres (the coordinates of DICOM and SimpleITK).

    Attributes:
        spacing: mm between voxel centres along (k, j, i) = (slice, row, column).
        origin: LPS position of voxel (0, 0, 0), mm, (x, y, z).
        direction: 3 x 3, column n is the LPS unit vector of index axis n in the order (i, j, k), as SimpleITK has it.
    """

    spacing: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[tuple[float, float, float], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel, mL."""
        return float(np.prod(self.spacing)) / 1000.0

    @property
    def ijk_to_lps(self) -> NDArray[np.float64]:
        """4 x 4 matrix from voxel index (i, j, k, 1) to LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction) * np.asarray(self.spacing[::-1])[None, :]
        matrix[:3, 3] = self.origin
        return matrix

    def matches(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Whether both place every voxel within ``tolerance_mm`` (compared by their matrices)."""
        return bool(np.allclose(self.ijk_to_lps, other.ijk_to_lps, rtol=0.0, atol=tolerance_mm))


@dataclass(frozen=True)
class Acquisition:
    """Acquisition facts of the series; ``None`` where the source does not state them. Never contains a patient's name.

    ``told_kernel`` is the user's choice instead of the header's ``kernel``: a kernel, or "noise" to estimate it from the noise.
    ``reconstruction`` is what the header says of it beside the kernel, such as "ASiR 40" or "iDose 2".
    ``reading_notes`` are sentences for the user on the origin of the files, such as lossy compression.
    """

    kernel: str | None = None
    manufacturer: str | None = None
    scanner_model: str | None = None
    slice_thickness_mm: float | None = None
    tube_voltage_kv: float | None = None
    contrast_agent: str | None = None
    body_part: str | None = None
    modality: str | None = None
    image_type: tuple[str, ...] = ()
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    frame_of_reference_uid: str | None = None
    reconstruction: str | None = None
    told_kernel: str | None = None
    reading_notes: tuple[str, ...] = ()

    @property
    def is_siemens(self) -> bool | None:
        """Whether a Siemens scanner made it; ``None`` if the manufacturer is unknown."""
        return None if self.manufacturer is None else "siemens" in self.manufacturer.lower()


@dataclass(frozen=True, eq=False, repr=False)
class CTVolume:
    """A chest CT volume in Hounsfield units.

    Two volumes are equal (``==``, ``hash``) when they are the same object: comparing hundreds of millions of voxels is left to
    ``numpy.array_equal(a.hu, b.hu)``. In a notebook a volume is shown as its three middle planes.

    Attributes:
        hu: float32 (k, j, i), HU; padding outside the field of view keeps the value the file had.
        geometry: spacing and placement.
        acquisition: kernel, manufacturer and so on, as far as known.
        padding_value: HU value (below -1024, or beyond 31,000) that marks voxels outside the field of view, or ``None``; the
            mask finds further values and interpolated rims (:mod:`.padding`).
        name: label for messages and outputs, free of patient identity.
        synthetic: whether these voxels were computed by a normalization.

    Raises:
        InputError: wrong dimension, fewer than 8 slices, NaN or infinity, a spacing that no scan has, or values that are no HU.
    """

    hu: FloatArray
    geometry: Geometry
    acquisition: Acquisition = field(default_factory=Acquisition)
    padding_value: float | None = None
    name: str = "CT"
    synthetic: bool = False

    def __post_init__(self) -> None:
        _require_volume_shape(self.hu)
        object.__setattr__(self, "hu", np.ascontiguousarray(self.hu, dtype=np.float32))
        _require_possible_spacing(self.geometry.spacing, self.hu.shape)
        _require_placement(self.geometry)
        _require_finite(self.hu)
        _require_hounsfield(self.hu[~self.padding_mask] if self.padding_value is not None else self.hu)

    @cached_property
    def padding_mask(self) -> BoolArray:
        """Boolean (k, j, i): voxels outside the field of view, all false when there are none.

        These have the padding value or one blended with it, or they fill everything beyond a disc with one ordinary value.
        """
        if self.padding_value is not None:
            return padding_mask(self.hu, self.padding_value)
        beyond = surrounding_mask(self.hu)
        return np.zeros(self.hu.shape, dtype=bool) if beyond is None else np.ascontiguousarray(beyond)

    @cached_property
    def has_padding(self) -> bool:
        """Whether any voxel lies outside the field of view."""
        return bool(self.padding_mask.any())

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        k, j, i = self.hu.shape
        return k, j, i

    def __repr__(self) -> str:
        k, j, i = self.shape
        spacing = " x ".join(f"{mm:.4g}" for mm in self.geometry.spacing)
        kernel = self.acquisition.kernel or "not stated"
        kind = ", synthetic" if self.synthetic else ""
        return f"CTVolume({self.name!r}, {k} x {j} x {i} voxels, {spacing} mm, kernel {kernel}{kind})"

    def _repr_html_(self) -> str:
        return as_html(self.hu, self.geometry.ijk_to_lps, repr(self))

    def filled(self) -> FloatArray:
        """HU (k, j, i) with padding replaced by air (-1000 HU), so that filters see no artificial edge below it."""
        if not self.has_padding:
            return self.hu
        return np.where(self.padding_mask, np.float32(AIR_HU), self.hu)

    def with_hu(self, hu: FloatArray, *, name: str, synthetic: bool, acquisition: Acquisition | None = None) -> CTVolume:
        """A volume with the same geometry and other voxels; padding is restored bit-exactly from this one.

        Args:
            hu: float32 (k, j, i) of the same shape, HU.
            name: label of the new volume.
            synthetic: whether ``hu`` was computed by a normalization.
            acquisition: of the new volume, if other than this one's.
        """
        if hu.shape != self.hu.shape:
            raise InputError(f"The new voxels have shape {hu.shape}, the volume {self.hu.shape}; they must be the same.")
        restored = np.where(self.padding_mask, self.hu, hu) if self.has_padding else hu
        facts = acquisition or self.acquisition
        voxels = restored.astype(np.float32, copy=False)
        made = replace(self, hu=voxels, name=name, synthetic=synthetic, acquisition=facts)
        made.__dict__["padding_mask"] = self.padding_mask  # padding is the same voxels, whatever the new values
        return made


def _require_volume_shape(hu: NDArray[np.generic]) -> None:
    if hu.ndim != 3:
        raise InputError(f"The image has {hu.ndim} dimensions; a chest CT volume has 3 (slices, rows, columns).")
    if hu.size == 0:
        raise InputError(f"The image is empty (shape {hu.shape}); load a volume that holds voxels.")
    if np.issubdtype(hu.dtype, np.complexfloating):
        raise InputError("The voxels are complex numbers; a CT in Hounsfield units has one real number a voxel.")
    if min(hu.shape[1:]) < MINIMUM_SIDE:
        raise InputError(
            f"The images are {hu.shape[1]} x {hu.shape[2]} pixels, which show no chest; at least {MINIMUM_SIDE} of each are "
            "needed. Load the whole images."
        )
    if hu.shape[0] < MINIMUM_SLICES:
        raise InputError(
            f"The volume has {hu.shape[0]} slice(s); at least {MINIMUM_SLICES} are needed. "
            "Load the whole series (its DICOM folder) instead of single images."
        )


def _require_possible_spacing(spacing: tuple[float, float, float], shape: tuple[int, ...]) -> None:
    if not all(np.isfinite(s) and s > 0 for s in spacing):
        raise InputError(
            f"The spacing is {spacing} mm (slice, row, column); all three must be positive. "
            "Correct the file's header or export the series again."
        )
    low, high = SPACING_RANGE_MM
    if not all(low <= s <= high for s in spacing):
        raise InputError(
            f"The spacing is {' x '.join(f'{s:.3g}' for s in spacing)} mm (slice, row, column); a chest CT has {low:g} to "
            f"{high:g} mm. Perhaps the file states other units; correct its header or export the series again."
        )
    longest = max(n * s for n, s in zip(shape, spacing, strict=True))
    if longest > LONGEST_SIDE_MM:
        raise InputError(
            f"The spacing is {' x '.join(f'{s:.3g}' for s in spacing)} mm (slice, row, column), so the scan would be "
            f"{longest:.0f} mm long or wide; none is longer than {LONGEST_SIDE_MM:g} mm. Correct the file's header or export "
            "the series again."
        )


def _require_placement(geometry: Geometry) -> None:
    direction = np.asarray(geometry.direction, dtype=float)
    numbers_are_fine = direction.shape == (3, 3) and bool(np.isfinite(direction).all() and np.isfinite(geometry.origin).all())
    # the same tolerance as files have: rounding to three digits is no shear
    if not numbers_are_fine or float(np.abs(direction.T @ direction - np.eye(3)).max()) > DIRECTION_TOLERANCE:
        raise InputError(
            f"The volume has the origin {geometry.origin} and the axes {geometry.direction}, which are not finite, not at "
            "right angles or not of length one; it is sheared or damaged. Save it again from its source."
        )


def _require_finite(hu: FloatArray) -> None:
    bad = int(np.count_nonzero(~np.isfinite(hu)))
    if bad:
        raise InputError(f"{bad} voxel(s) are NaN or infinite; export the volume again without them.")


def _require_hounsfield(hu: FloatArray) -> None:
    if hu.size == 0:
        raise InputError("Every voxel is padding; there is no image inside the field of view. Load another volume.")
    sample = sample_of(hu)
    low, high, median = float(hu.min()), float(hu.max()), float(np.median(sample))
    if high > HU_MAXIMUM or not LOWEST_HU < low < -200.0 or not HU_MEDIAN_RANGE[0] <= median <= HU_MEDIAN_RANGE[1]:
        raise InputError(
            f"The values run from {low:g} to {high:g} (median {median:g}); these are not Hounsfield units of a chest CT, "
            "in which air is near -1000. Check that the volume is CT (not MR, PET or labels) and that the rescale slope "
            "and intercept were applied."
        )
