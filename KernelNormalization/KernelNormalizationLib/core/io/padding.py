"""Padding outside the field of view."""

from __future__ import annotations

import numpy as np

from ..truncation.model import LOWEST_STORED_HU
from ..volume import FloatArray

# Padding is one exact value on many voxels: at least this share of the volume, and this many times the voxels found in
# the 24 HU above it (image noise is continuous; padding of the visible scans has none there).
PADDING_SHARE = 1e-4
PADDING_SPIKE = 10.0


def detect_padding(hu: FloatArray, declared: float | None = None) -> float | None:
    """HU value that marks voxels outside the field of view, ``None`` if there is none.

    Args:
        hu: (k, j, i), HU.
        declared: padding value of the header (HU); trusted if it lies below -1024 and occurs.

    A value at or above -1024 is never padding: there it cannot be told from truncated air.
    """
    if declared is not None and declared < LOWEST_STORED_HU and bool(np.any(hu == np.float32(declared))):
        return declared
    lowest = float(hu.min())
    if lowest >= LOWEST_STORED_HU:
        return None
    spike = int(np.count_nonzero(hu == np.float32(lowest)))
    above = int(np.count_nonzero((hu > lowest) & (hu <= lowest + 24.0)))
    return lowest if spike >= PADDING_SHARE * hu.size and spike >= PADDING_SPIKE * above else None
