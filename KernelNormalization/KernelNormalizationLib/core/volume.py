"""The one CT volume type of the product, validated once at the door."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

MINIMUM_SLICES = 8
# Air is -1000 HU and the steepest legitimate undershoot of an unclipped sharp kernel stays above -2000 HU; a median
# soft-tissue patient lies within -1200 .. 300 HU. Outside these bounds the numbers are not Hounsfield units of a chest.
HU_MEDIAN_RANGE = (-1500.0, 500.0)
HU_MAXIMUM = 65535.0
AIR_HU = -1000.0


@dataclass(frozen=True)
class Geometry:
    """Where the voxels are, in LPS millimetres (the DICOM and SimpleITK frame).

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
        """Whether both place every voxel alike to ``tolerance_mm`` (checked at matrix level)."""
        return bool(np.allclose(self.ijk_to_lps, other.ijk_to_lps, rtol=0.0, atol=tolerance_mm))


@dataclass(frozen=True)
class Acquisition:
    """What is known of how the series was made; ``None`` where the source does not say. Never holds a patient name.

    ``told_kernel`` is what the user named instead of ``kernel``, the header's: a kernel, or "noise" for neither.
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
    told_kernel: str | None = None

    @property
    def is_siemens(self) -> bool | None:
        """Whether a Siemens scanner made it; ``None`` if the manufacturer is unknown."""
        return None if self.manufacturer is None else "siemens" in self.manufacturer.lower()


@dataclass(frozen=True)
class CTVolume:
    """A chest CT volume in Hounsfield units.

    Attributes:
        hu: float32 (k, j, i), HU; padding outside the field of view keeps the value the file had.
        geometry: spacing and placement.
        acquisition: kernel, manufacturer and so on, as far as known.
        padding_value: HU value (below -1024) that marks voxels outside the field of view, or ``None``.
        name: label for messages and outputs, free of patient identity.
        synthetic: whether a normalization drew these voxels (never an original reconstruction).

    Raises:
        InputError: wrong dimension, fewer than 8 slices, NaN or infinity, spacing not positive, or values that are not HU.
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
        _require_positive_spacing(self.geometry.spacing)
        _require_finite(self.hu)
        _require_hounsfield(self.hu[~self.padding_mask] if self.padding_value is not None else self.hu)

    @cached_property
    def padding_mask(self) -> BoolArray:
        """Boolean (k, j, i): voxels outside the field of view, all false when there is no padding."""
        if self.padding_value is None:
            return np.zeros(self.hu.shape, dtype=bool)
        mask: BoolArray = self.hu == np.float32(self.padding_value)
        return mask

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        k, j, i = self.hu.shape
        return k, j, i

    def filled(self) -> FloatArray:
        """HU (k, j, i) with padding replaced by air (-1000 HU), so that filters see no artificial edge below it."""
        if self.padding_value is None:
            return self.hu
        return np.where(self.padding_mask, np.float32(AIR_HU), self.hu)

    def with_hu(self, hu: FloatArray, *, name: str, synthetic: bool) -> CTVolume:
        """A volume in the same place with other voxels; padding is restored bit-exactly from this one.

        Args:
            hu: float32 (k, j, i) of the same shape, HU.
            name: label of the new volume.
            synthetic: whether a normalization drew ``hu``.
        """
        if hu.shape != self.hu.shape:
            raise InputError(f"The new voxels have shape {hu.shape}, the volume {self.hu.shape}; they must be the same.")
        restored = np.where(self.padding_mask, self.hu, hu) if self.padding_value is not None else hu
        return replace(self, hu=restored.astype(np.float32, copy=False), name=name, synthetic=synthetic)


def _require_volume_shape(hu: NDArray[np.generic]) -> None:
    if hu.ndim != 3:
        raise InputError(f"The image has {hu.ndim} dimensions; a chest CT volume has 3 (slices, rows, columns).")
    if hu.size == 0:
        raise InputError(f"The image is empty (shape {hu.shape}); load a volume that holds voxels.")
    if np.issubdtype(hu.dtype, np.complexfloating):
        raise InputError("The voxels are complex numbers; a CT in Hounsfield units has one real number a voxel.")
    if hu.shape[0] < MINIMUM_SLICES:
        raise InputError(
            f"The volume has {hu.shape[0]} slice(s); at least {MINIMUM_SLICES} are needed. "
            "Load the whole series (its DICOM folder) instead of single images."
        )


def _require_positive_spacing(spacing: tuple[float, float, float]) -> None:
    if not all(np.isfinite(s) and s > 0 for s in spacing):
        raise InputError(
            f"The spacing is {spacing} mm (slice, row, column); all three must be positive. "
            "Correct the file's header or export the series again."
        )


def _require_finite(hu: FloatArray) -> None:
    bad = int(np.count_nonzero(~np.isfinite(hu)))
    if bad:
        raise InputError(f"{bad} voxel(s) are NaN or infinite; export the volume again without them.")


def _require_hounsfield(hu: FloatArray) -> None:
    if hu.size == 0:
        raise InputError("Every voxel is padding; there is no image inside the field of view.")
    low, high, median = float(hu.min()), float(hu.max()), float(np.median(hu[:: max(1, hu.shape[0] // 32)]))
    if high > HU_MAXIMUM or low >= -200.0 or not HU_MEDIAN_RANGE[0] <= median <= HU_MEDIAN_RANGE[1]:
        raise InputError(
            f"The values run from {low:g} to {high:g} (median {median:g}); these are not Hounsfield units of a chest CT, "
            "in which air is near -1000. Check that the volume is CT (not MR, PET or labels) and that the rescale slope "
            "and intercept were applied."
        )
