"""Real chest CT volumes as objects of the simulated scanner."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from EmphysemaQuantLib.core.lungs.segmentation import segment_lungs
from KernelNormalizationLib.core.arrays import FloatArray, LabelArray
from KernelNormalizationLib.core.errors import CTKernelError
from KernelNormalizationLib.core.io.reading import VOLUME_SUFFIXES, read_volume
from KernelNormalizationLib.core.kernels.mtf import gain_to_b20f, kernel_number
from KernelNormalizationLib.core.volume import CTVolume, Geometry

from .procedural import Slab
from .sampling import Grid, radial_frequency
from .texture import random_field

logger = logging.getLogger(__name__)

# Slices with a smaller share of lung pixels are not simulated.
LUNG_SHARE = 0.04
# A body that comes this close to the edge of the volume is regarded as cut off there.
EDGE_PIXELS = 8
# Sharp reconstructions have noise of their own. It is reduced to about that of a smooth reconstruction: first by the transfer
# to a smooth kernel, then by smoothing along and across slices. Measured on a B70f series: soft-tissue SD 66 HU before, about
# 12 HU after.
SMOOTHING_SHARP = (0.8, 0.7, 0.7)  # voxels
SHARP_TISSUE_SD = 30.0  # HU


@dataclass(frozen=True)
class RealVolume:
    """A volume prepared as an object.

    Attributes:
        source: its origin, names of folder and series only.
        hu: float32 (k, j, i), HU, k cranial, denoised, at least -1024.
        lung: uint8 (k, j, i), 0 outside, 1 right, 2 left.
        spacing: mm (k, j, i).
        slices: indices of slices with enough lung.
    """

    source: str
    hu: FloatArray
    lung: LabelArray
    spacing: tuple[float, float, float]
    slices: NDArray[np.int64]


class RealChest:
    """One view of a prepared volume: shifted, scaled and with sub-resolution texture, ready to be rendered.

    Args:
        volume: the prepared volume.
        rng: random generator for scale, position and texture.
        native_slices: use slices at the volume's own (thick) distance instead of interpolating to any distance.
    """

    real = True

    def __init__(self, volume: RealVolume, rng: np.random.Generator) -> None:
        self._volume = volume
        self._rng = rng
        self.source = volume.source
        self.scale = float(rng.uniform(0.92, 1.08))
        self._mirror = bool(rng.random() < 0.5)
        body = ndimage.binary_opening(volume.hu[:, ::4, ::4].max(axis=0) > -300, iterations=2)
        rows, columns = (np.flatnonzero(body.any(axis=a)) * 4 for a in (1, 0))
        self._middle = (0.5 * (rows[0] + rows[-1]), 0.5 * (columns[0] + columns[-1]))
        step = volume.spacing
        # A body that reaches the edge of the volume is cut off there; the image must not extend beyond it.
        cut = columns[0] < EDGE_PIXELS or columns[-1] > volume.hu.shape[2] - EDGE_PIXELS
        self.field_mm = volume.hu.shape[2] * step[2] * self.scale if cut else float("inf")
        if cut:
            self._middle = (0.5 * (volume.hu.shape[1] - 1), 0.5 * (volume.hu.shape[2] - 1))
        self.extent = (
            0.5 * (rows[-1] - rows[0]) * step[1] * self.scale,
            0.5 * (columns[-1] - columns[0]) * step[2] * self.scale,
        )

    @property
    def height(self) -> tuple[float, float]:
        """Lowest and highest slice position with enough lung, mm."""
        return float(self._volume.slices[0] * self._volume.spacing[0]), float(self._volume.slices[-1] * self._volume.spacing[0])

    def coarse(self, grid: Grid) -> FloatArray:
        """HU at low resolution: float32 (k, rows, columns), for attenuation."""
        return self._resample(self._volume.hu, grid, 1, -1000.0)

    def fine(self, grid: Grid) -> Slab:
        """The anatomy on ``grid`` with texture finer than the volume resolves."""
        hu = self._resample(self._volume.hu, grid, 3, -1000.0)
        labels = self._resample(self._volume.lung, grid, 0, 0.0).astype(np.uint8)
        if self._mirror:
            labels = np.choose(labels, np.array([0, 2, 1], np.uint8)).astype(np.uint8)
        hu = np.maximum(hu, np.float32(-1003.0))
        texture = random_field(grid, self._rng.uniform(0.5, 1.0), self._rng.uniform(1.5, 2.0), self._rng)
        parenchyma = np.clip((-600.0 - hu) / 150.0, 0.0, 1.0) * (labels > 0)
        hu += parenchyma * (hu + np.float32(1000.0)) * texture * np.float32(self._rng.uniform(0.08, 0.18))
        hu += (hu > -150.0) * np.float32(self._rng.uniform(3.0, 7.0)) * random_field(grid, 1.0, 1.6, self._rng)
        return Slab(hu, labels)

    def _resample(self, array: NDArray[np.generic], grid: Grid, order: int, fill: float) -> FloatArray:
        volume = self._volume
        y, x = grid.axes()
        j = y / (volume.spacing[1] * self.scale) + self._middle[0]
        i = (-x if self._mirror else x) / (volume.spacing[2] * self.scale) + self._middle[1]
        out = np.empty((len(grid.z), grid.matrix, grid.matrix), np.float32)
        where = np.meshgrid(j, i, indexing="ij")
        for k, z in enumerate(grid.z):
            plane = _plane(array, z / volume.spacing[0], nearest=order == 0)
            out[k] = ndimage.map_coordinates(plane, where, order=order, mode="constant", cval=fill)
        return out


def _plane(array: NDArray[Any], position: float, *, nearest: bool) -> FloatArray:
    last = array.shape[0] - 1
    position = min(max(position, 0.0), float(last))
    if nearest:
        whole: FloatArray = array[round(position)].astype(np.float32)
        return whole
    low = min(int(position), max(last - 1, 0))
    part = np.float32(position - low)
    low_plane, high_plane = (array[n].astype(np.float32) for n in (low, min(low + 1, last)))
    plane: FloatArray = low_plane + part * (high_plane - low_plane)
    return plane


def prepare(volume: CTVolume, source: str) -> RealVolume | None:
    """Make an object from a CT volume; ``None``, with a line in the log, if it shows no lung."""
    hu = np.clip(volume.filled(), -1024.0, 3071.0)
    # Slices run cranially, rows posteriorly and columns to the left, whatever the order in the file.
    direction = volume.geometry.direction
    for axis, row in ((0, 2), (1, 1), (2, 0)):
        if direction[row][row] < 0:
            hu = np.flip(hu, axis)
    spacing = volume.geometry.spacing
    hu = _denoise(np.ascontiguousarray(hu), spacing, volume.acquisition.kernel)
    oriented = CTVolume(hu, Geometry(spacing), name=source)
    lung = segment_lungs(oriented).labels
    share = (lung > 0).mean(axis=(1, 2))
    slices = np.flatnonzero(share > LUNG_SHARE)
    if slices.size < 4:
        logger.warning("%s is not used: only %d slice(s) show lung", source, slices.size)
        return None
    return RealVolume(source, hu, lung, spacing, slices)


def tissue_sd(hu: FloatArray) -> float:
    """Noise estimate (HU): standard deviation of in-plane differences in soft tissue, divided by the square root of two."""
    difference = hu[:, :, 2:] - hu[:, :, :-2]
    tissue = np.abs(ndimage.uniform_filter(hu, (1, 5, 5)) - 40.0) < 40.0
    sample = difference[tissue[:, :, 1:-1]]
    return float(1.4826 * np.median(np.abs(sample)) / np.sqrt(2.0)) if sample.size else 0.0


def _denoise(hu: FloatArray, spacing: tuple[float, float, float], kernel: str | None) -> FloatArray:
    if tissue_sd(hu) < SHARP_TISSUE_SD:
        return hu
    number = kernel_number(kernel)
    f = radial_frequency(hu.shape[1], spacing[1]) if hu.shape[1] == hu.shape[2] else None
    if f is not None:
        gain = gain_to_b20f(number if number is not None and number >= 50 else 70, f).astype(np.float32)
        hu = np.stack([fft.irfft2(fft.rfft2(plane) * gain, s=plane.shape) for plane in hu]).astype(np.float32)
    smoothed: FloatArray = ndimage.gaussian_filter(hu, SMOOTHING_SHARP)
    return smoothed


def find_volumes(folders: list[Path]) -> list[RealVolume]:
    """Every usable chest CT below the folders (DICOM series folders and volume files), sharp ones denoised.

    Volumes that cannot be used are logged with the reason.
    """
    found = []
    for top in folders:
        for path in _candidates(top):
            source = f"{path.parent.name}/{path.name}"
            try:
                prepared = prepare(read_volume(path), source)
            except CTKernelError as error:
                logger.warning("%s is not used: %s", source, error)
                continue
            if prepared is not None:
                logger.info("%s is used: %d slices show lung", source, prepared.slices.size)
                found.append(prepared)
    return found


def _candidates(top: Path) -> list[Path]:
    if top.is_file():
        return [top]
    files = sorted(p for p in top.rglob("*") if p.is_file())
    volumes = [p for p in files if p.name.lower().endswith(VOLUME_SUFFIXES)]
    dicom = sorted({p.parent for p in files if p.suffix.lower() in (".dcm", "", ".ima")})
    return volumes + dicom
