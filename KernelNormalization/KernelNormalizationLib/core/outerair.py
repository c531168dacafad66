"""Air outside the body, where the network does not run, follows what it did to the air around the body.

Truncation raises the linear transfer of air by some 28 HU (simulated B80f: -972 instead of -999 HU), of which a restored base
keeps 3.5. Left as it is, that would show as a frame round the part of the image that the network saw.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from .volume import BoolArray, FloatArray

# What the linear transfer makes of truncated air lies below this; table and clothes lie above.
AIR_LIMIT_HU = -900.0
# As the network's own gate: 9 x 9 pixels, all of the change from two truncated voxels on.
WINDOW_RADIUS, FULL_COUNT = 4, 2.0


class OuterAir:
    """Collects the network's change of air and gives it to the air it did not see.

    Args:
        threshold: HU at or below which a voxel counts as truncated.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._changes: list[float] = []

    def observe(self, sharp: FloatArray, base: FloatArray, result: FloatArray) -> None:
        """Take in slices (n, rows, columns), HU: as stored, linear transfer, and the network's output."""
        for stored, linear, made in zip(sharp, base, result, strict=True):
            air = (stored <= self._threshold) & (linear < AIR_LIMIT_HU)
            if air.any():
                self._changes.append(float(np.median((made - linear)[air])))

    @property
    def change(self) -> float:
        """HU that the network adds to truncated air; 0 if it saw none."""
        return float(np.median(self._changes)) if self._changes else 0.0

    def apply(self, sharp: FloatArray, base: FloatArray) -> FloatArray:
        """The linear transfer of one slice (rows, columns), HU, with its truncated air changed likewise."""
        changed = np.where(base < AIR_LIMIT_HU, self.change * self._gate(sharp <= self._threshold), 0.0)
        return np.asarray(base + changed, dtype=np.float32)

    def _gate(self, truncated: BoolArray) -> FloatArray:
        share = sitk.BoxMean(sitk.GetImageFromArray(truncated.astype(np.float32)), [WINDOW_RADIUS] * 2)
        window = (2 * WINDOW_RADIUS + 1) ** 2
        gate: FloatArray = np.minimum(sitk.GetArrayFromImage(share) * np.float32(window / FULL_COUNT), 1.0)
        return gate
