"""An image as stored in a file, checked against its header; common to all formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..errors import InputError
from ..plain_text import quoted
from ..volume import DIRECTION_TOLERANCE

# Text of an image whose file does not say which side of the patient is right.
ORIENTATION_KEY = "CTKernelNormalization.orientation_assumed"


@dataclass(frozen=True)
class StoredImage:
    """Voxels and placement of one file.

    Attributes:
        voxels: (k, j, i) in the file's own number type; (k, j, i, layer) of a segmentation in layers.
        spacing: mm along (i, j, k).
        origin: LPS position of the first voxel, mm.
        direction: 3 x 3, column n is the LPS unit vector of index axis n in the order (i, j, k).
        texts: free texts of the header by their key.
    """

    voxels: NDArray[Any]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: NDArray[np.float64]
    texts: Mapping[str, str] = field(default_factory=dict)

    def to_itk(self) -> sitk.Image:
        """The same as a SimpleITK image."""
        voxels = self.voxels
        if voxels.dtype == np.float16:
            voxels = voxels.astype(np.float32)
        image = sitk.GetImageFromArray(voxels.astype(voxels.dtype.newbyteorder("="), copy=False))
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection([float(v) for v in self.direction.ravel()])
        for key, text in self.texts.items():
            image.SetMetaData(key, text.encode("utf-8", "replace").decode())
        return image


def require_three_dimensions(sizes: Sequence[int], components: int) -> None:
    """Refuse images that are not three-dimensional, and colour or vector voxels.

    Raises:
        InputError: not three axes, or more than one number a voxel.
    """
    if components != 1:
        raise InputError(f"Each voxel has {components} components (colour or vector); CT has one. Load a CT volume.")
    if len(sizes) != 3:
        raise InputError(
            f"The image has {len(sizes)} dimensions; a chest CT volume has 3. "
            "Load the whole series (its DICOM folder) as one volume."
        )


def require_once(fields: Mapping[str, str], field: str, value: str, name: str) -> None:
    """Refuse a header field that was stated before, in ``fields``, with another value.

    Raises:
        InputError: programs differ in which of both they take, so neither is trusted.
    """
    if fields.get(field, value) != value:
        raise InputError(
            f"{name} states “{field}” twice, with different values ({quoted(fields[field], 40)} and {quoted(value, 40)}); its "
            "header is damaged, save it again."
        )


def require_spacing(spacing: Sequence[float], name: str) -> tuple[float, float, float]:
    """Three positive lengths in mm, along (i, j, k).

    Raises:
        InputError: another number of them, or one that is no length.
    """
    shown = ", ".join(f"{v:g}" for v in spacing)
    if len(spacing) != 3 or not all(np.isfinite(v) and 0.0 < v < 1e4 for v in spacing):
        raise InputError(f"{name} states the spacing ({shown}) mm; all three must be positive lengths. Correct its header.")
    return float(spacing[0]), float(spacing[1]), float(spacing[2])


def require_origin(origin: Sequence[float], name: str) -> tuple[float, float, float]:
    """Three finite coordinates, mm.

    Raises:
        InputError: another number of them, or one that is not finite.
    """
    if len(origin) != 3 or not all(np.isfinite(v) and abs(v) < 1e6 for v in origin):
        shown = ", ".join(f"{v:g}" for v in origin)
        raise InputError(f"{name} states the origin ({shown}) mm; three finite coordinates are needed. Correct its header.")
    return float(origin[0]), float(origin[1]), float(origin[2])


def require_rotation(direction: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """The rotation (or reflection) nearest to ``direction``, which may differ from it by rounding only.

    Args:
        direction: 3 x 3, columns are unit vectors of the index axes.
        name: of the file.

    Raises:
        InputError: not finite, sheared, or axes that are no unit vectors.
    """
    if direction.shape == (3, 3) and bool(np.isfinite(direction).all()):
        deviation = float(np.abs(direction.T @ direction - np.eye(3)).max())
        if deviation <= DIRECTION_TOLERANCE:
            if deviation < 1e-12:
                return direction
            left, _, right = np.linalg.svd(direction)
            nearest: NDArray[np.float64] = left @ right
            return nearest
    raise InputError(
        f"{name} states axes that are not at right angles or not of length one ({_rows(direction)}); the volume is sheared "
        "or its header damaged. Save it again from its source; straightening by resampling lowers the emphysema index."
    )


def _rows(matrix: NDArray[np.float64]) -> str:
    return "; ".join(" ".join(f"{v:.4g}" for v in np.atleast_1d(row)) for row in np.atleast_2d(matrix))
