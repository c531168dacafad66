"""How scanners store HU: rounded to integers, limited at the upper end, with padding outside the field of view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import FloatArray

HU_CEILING = 3071.0


def to_integers(hu: FloatArray) -> NDArray[np.int16]:
    """Round to the nearest HU; int16 of the same shape."""
    return np.rint(hu).astype(np.int16)


def outside_circle(matrix: int) -> NDArray[np.bool_]:
    """Boolean (matrix, matrix): pixels outside the circle inscribed in the image, where scanners write padding."""
    offsets = np.arange(matrix) - 0.5 * (matrix - 1)
    outside: NDArray[np.bool_] = np.hypot(offsets[:, None], offsets[None, :]) > 0.5 * matrix
    return outside
