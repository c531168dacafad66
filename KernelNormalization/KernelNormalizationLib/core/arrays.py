"""Types of the arrays that the core works on, and fixed points of the HU scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The HU scale is defined by air and water. Most scanners store 12 bits with the intercept -1024.
LOWEST_STORED_HU = -1024.0
AIR_HU = -1000.0

LabelArray = NDArray[np.uint8]
Spacing = tuple[float, float, float]
FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
