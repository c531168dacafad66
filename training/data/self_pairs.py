"""Exact training pairs from one real sharp scan: real noise and anatomy, known truth.

Where no voxel nearby is truncated, the smooth image is the linear transfer of the sharp one. An affine change of HU
commutes with the transfer, so untruncated tissue is moved down to lung or air density, truncated there, and the transfer
of the untruncated version is the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from KernelNormalizationLib.core.arrays import BoolArray, FloatArray
from KernelNormalizationLib.core.imaging.filters import smoothed
from KernelNormalizationLib.core.kernels.mtf import KERNELS
from KernelNormalizationLib.core.kernels.transfer import b20f_gain
from KernelNormalizationLib.core.truncation.hu_floor import detect_floor, floor_mask
from KernelNormalizationLib.core.truncation.model import Truncation
from KernelNormalizationLib.core.volume import CTVolume

from ..simulate.floors import to_integers
from ..simulate.truncated import draw_truncation, truncated
from .network_base import known_base_image
from .patches import MARGIN, Patch, crop_corner, filtered, inner, oriented

# In use the noise that was truncated is estimated, within some 8 % of that of simulated patients.
NOISE_FACTOR_SPREAD = 0.08
# A truncated voxel spoils the truth within the reach of the transfer, about 8 pixels.
REACH_PIXELS = 8
# Tissue is moved so that its local mean lands here: from below air, through emphysema, to dense lung.
LANDING_HU = (-1020.0, -780.0)
SCALE = (0.35, 1.25)
MINIMUM_KNOWN_SHARE = 0.35
FLOOR_HU = np.float32(-1024.0)
# Nothing in a patient is emptier than air; air itself is calibrated to within some HU.
AIR_HU = (-1008.0, -992.0)
AIR_SIGMA = 3.0
# Noise seldom exceeds this many of its robust standard deviations.
NOISE_LIMIT = 4.0


@dataclass(frozen=True)
class SelfPairs:
    """Patches from one real sharp volume.

    Attributes:
        hu: (k, j, i), HU, padding filled with air.
        known: (k, j, i), no truncated voxel within reach.
        centres: (n, 3) voxels (k, j, i) around which patches are drawn.
        pixel_mm: in-plane spacing, mm.
        number: kernel number of the scan.
        truncations: to impose, one drawn for each patch; empty for any that a scanner may have.
    """

    hu: FloatArray
    known: BoolArray
    centres: np.ndarray[tuple[int, int], np.dtype[np.int32]]
    pixel_mm: float
    number: float
    truncations: tuple[Truncation | None, ...] = ()

    @classmethod
    def from_volume(cls, volume: CTVolume, number: float, truncations: tuple[Truncation | None, ...] = ()) -> SelfPairs:
        """Prepare a scan whose kernel has the given number.

        Args:
            volume: a real sharp reconstruction.
            number: its kernel number, 10 to 80; the transfer need not be exact, since truth and base share it.
            truncations: to impose; empty for any that a scanner may have.
        """
        hu = volume.filled()
        truncated = floor_mask(hu, detect_floor(volume.hu, volume.padding_mask)) | volume.padding_mask
        radius = [REACH_PIXELS, REACH_PIXELS, 0]
        reached = sitk.GetArrayFromImage(sitk.BinaryDilate(sitk.GetImageFromArray(truncated.astype(np.uint8)), radius))
        known = reached == 0
        local = smoothed(hu, 3.0)
        body = known & (local > -980.0) & (local < 300.0)
        centres = np.argwhere(body[:, ::4, ::4]).astype(np.int32) * np.array([1, 4, 4], np.int32)
        return cls(hu, known, centres, volume.geometry.spacing[1], number, truncations)

    def sample(self, rng: np.random.Generator, size: int) -> Patch:
        outer = size + 2 * MARGIN
        for _ in range(20):
            k, row, column = self.centres[rng.integers(len(self.centres))]
            top, left = crop_corner(rng, (int(row), int(column)), self.hu.shape[1:], outer)
            window = (int(k), slice(top, top + outer), slice(left, left + outer))
            if self.known[window].mean() >= MINIMUM_KNOWN_SHARE:
                break
        turn = int(rng.integers(8))
        image, known = oriented(self.hu[window], turn), oriented(self.known[window].astype(np.float32), turn)
        moved = self._moved(image, known, rng)
        drawn = self.truncations[int(rng.integers(len(self.truncations)))] if self.truncations else draw_truncation(rng)
        gain = b20f_gain(float(np.clip(self.number + rng.uniform(-10, 10), min(KERNELS), max(KERNELS))))
        target = filtered(moved, self.pixel_mm, gain)
        # What the transfer takes away stands for the noise; edges in it are held to what noise reaches.
        noise = moved - target
        limit = np.float32(NOISE_LIMIT * 1.4826 * np.median(np.abs(noise)))
        stored = truncated(moved[None], np.clip(noise, -limit, limit)[None], drawn, rng)[0]
        sharp = to_integers(stored).astype(np.float32)
        error = float(np.exp(rng.normal(0.0, NOISE_FACTOR_SPREAD)))
        base, lost = (x[0] for x in known_base_image(sharp[None], self.pixel_mm, gain, drawn, error))
        return Patch(inner(sharp), inner(base), inner(lost), np.maximum(inner(target), FLOOR_HU), inner(known))

    def _moved(self, image: FloatArray, known: FloatArray, rng: np.random.Generator) -> FloatArray:
        values = image[known > 0]
        anchor = float(rng.choice(values)) if values.size else float(image.mean())
        near = values[np.abs(values - anchor) < 150.0] if values.size else image.reshape(-1)
        scale = rng.uniform(*SCALE)
        moved: FloatArray = ((image - near.mean()) * scale + rng.uniform(*LANDING_HU)).astype(np.float32)
        # Tissue moved below air becomes air that keeps its noise; truth is computed from the same image, so it stays exact.
        local = smoothed(moved[None], AIR_SIGMA)[0]
        return np.asarray(moved + np.maximum(np.float32(rng.uniform(*AIR_HU)) - local, 0.0), dtype=np.float32)
