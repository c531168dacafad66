"""Integer encoding of a synthetic CT in DICOM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pydicom
from numpy.typing import NDArray

from ..arrays import FloatArray
from ..errors import InputError
from ..volume import CTVolume

# Used where the encoding of the source cannot hold the voxels: signed 16 bit from -33792 to 31743 HU.
_SIGNED_SLOPE, _SIGNED_INTERCEPT = 1.0, -1024.0


@dataclass(frozen=True)
class Encoding:
    """Stored integers and what they mean: HU = stored * slope + intercept.

    Attributes:
        slope: HU a stored step.
        intercept: HU of the stored 0.
        signed: whether stored values are signed.
        bits: bits stored, at most 16.
        from_source: whether slope, intercept and sign are the source series' own.
    """

    slope: float
    intercept: float
    signed: bool
    bits: int
    from_source: bool

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest stored value."""
        half = 1 << (self.bits - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)

    def stored(self, hu: FloatArray) -> NDArray[np.float64]:
        """Stored values of ``hu`` (any shape, HU), rounded to the nearest, before they are cast to integers."""
        values: NDArray[np.float64] = np.rint((hu.astype(np.float64) - self.intercept) / self.slope)
        return values

    def hu_of(self, stored: NDArray[np.float64]) -> FloatArray:
        """HU of stored values, float32."""
        return (stored * self.slope + self.intercept).astype(np.float32)

    def pixels(self, hu: FloatArray) -> bytes:
        """Pixel data of one slice, (row, column) HU, little endian."""
        return self.stored(hu).astype("<i2" if self.signed else "<u2").tobytes()

    def holds(self, lowest: float, highest: float) -> bool:
        """Whether HU from ``lowest`` to ``highest`` fit."""
        low, high = self.stored(np.array([lowest, highest], dtype=np.float32))
        return bool(self.limits[0] <= low and high <= self.limits[1])

    def in_words(self) -> str:
        """One sentence for the record."""
        kept = "the source series' own"
        if not self.from_source:
            kept = f"not {kept}, which does not hold the values of all slices"
        return (
            f"Stored as {'signed' if self.signed else 'unsigned'} {self.bits} bit with slope {self.slope:g} and intercept "
            f"{self.intercept:g} HU ({kept}), so each voxel is rounded to {self.slope:g} HU."
        )


def choose_encoding(volume: CTVolume, headers: Sequence[pydicom.Dataset]) -> Encoding:
    """The source's encoding if every voxel fits, else signed 16 bit with slope 1 and intercept -1024 HU.

    Args:
        volume: the voxels to store, HU.
        headers: header of every source slice.

    The source's is kept where all its slices share one slope, at most 1 HU, and one intercept. Its bits grow to 16 where the
    voxels need them.

    Raises:
        InputError: neither holds the voxels, or the padding value is no stored value and would not come back exactly.
    """
    low, high = float(volume.hu.min()), float(volume.hu.max())
    candidates = [*_of_source(headers), Encoding(_SIGNED_SLOPE, _SIGNED_INTERCEPT, True, 16, False)]
    padding = volume.padding_value
    for encoding in candidates:
        if encoding.holds(low, high) and (padding is None or _is_exact(encoding, padding)):
            return encoding
    raise InputError(
        f"The voxels run from {low:g} to {high:g} HU (padding {padding}), which 16-bit DICOM pixels cannot hold; "
        "normalize the series again and export the new volume."
    )


def _of_source(headers: Sequence[pydicom.Dataset]) -> list[Encoding]:
    facts = {(float(h.RescaleSlope), float(h.RescaleIntercept), int(h.get("PixelRepresentation", 0))) for h in headers}
    slope, intercept, signed = next(iter(facts))
    if len(facts) != 1 or not 0.0 < slope <= 1.0:
        return []
    bits = min(int(headers[0].get("BitsStored", 16)), 16)
    return [Encoding(slope, intercept, bool(signed), n, True) for n in (bits, 16)]


def _is_exact(encoding: Encoding, hu: float) -> bool:
    value = np.array([hu], dtype=np.float32)
    return bool(encoding.hu_of(encoding.stored(value))[0] == value[0])
