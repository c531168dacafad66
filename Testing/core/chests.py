"""A small chest with the noise of a known kernel, for tests that need anatomy but no anatomy in detail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.imaging.filters import smoothed
from KernelNormalizationLib.core.kernels.noise_sharpness import noise_power
from KernelNormalizationLib.core.volume import Acquisition, CTVolume, Geometry

Mask = NDArray[np.bool_]
AIR_HU, TISSUE_HU, LUNG_HU = -1000.0, 40.0, -870.0
TISSUE_NOISE_HU = 60.0


@dataclass(frozen=True)
class Chest:
    """The volume and where its lungs are (k, j, i)."""

    volume: CTVolume
    lungs: Mask
    body: Mask


def coloured_noise(
    number: float, shape: tuple[int, int, int], pixel_mm: float, sd: float, seed: int = 1
) -> NDArray[np.float32]:
    """Noise (k, j, i) with the power spectrum the kernel model gives for kernel ``number`` at ``pixel_mm``, SD ``sd`` HU."""
    side = max(shape[1:])
    amplitude = np.sqrt(noise_power(number, pixel_mm, side))
    generator = np.random.default_rng(seed)
    white = generator.normal(size=(shape[0], side, side))
    noise = np.fft.ifft2(np.fft.fft2(white) * amplitude).real[:, : shape[1], : shape[2]]
    return (noise * (sd / noise.std())).astype(np.float32)


def make_chest(
    *,
    slices: int = 10,
    side: int = 144,
    pixel_mm: float = 0.7,
    slice_mm: float = 1.25,
    number: float = 70.0,
    noise_hu: float = TISSUE_NOISE_HU,
    floor: float | None = -1024.0,
    padding: float | None = None,
    kernel: str | None = "B70f",
    manufacturer: str | None = "SIEMENS",
    seed: int = 1,
    scale: float = 1.0,
    texture_hu: float = 0.0,
) -> Chest:
    """An elliptic body with two lungs; sizes follow the image's side, so that the lungs hold little air in mL.

    Args:
        slices: number of slices.
        side: rows and columns.
        pixel_mm: in-plane spacing.
        slice_mm: distance of slices.
        number: kernel whose noise is added.
        noise_hu: its standard deviation; half of it in the lungs' air, as in patients, is not modelled.
        floor: HU at which values are clipped; ``None`` for no floor.
        padding: HU of the voxels outside the inscribed circle; ``None`` for no padding.
        kernel: tag.
        manufacturer: tag.
        seed: of the noise.
        scale: size of the body relative to the image.
        texture_hu: standard deviation of a coarse lung texture, which no kernel takes away.
    """
    shape = (slices, side, side)
    rows, columns = (np.mgrid[:side, :side] - (side - 1) / 2) / (side / 2) / scale
    body = (rows / 0.74) ** 2 + (columns / 0.9) ** 2 < 1.0
    lungs = ((rows / 0.42) ** 2 + ((np.abs(columns) - 0.4) / 0.24) ** 2 < 1.0) & body
    hu = np.where(body, np.where(lungs, LUNG_HU, TISSUE_HU), AIR_HU)[None].repeat(slices, axis=0)
    if noise_hu:
        hu = hu + coloured_noise(number, shape, pixel_mm, noise_hu, seed)
    if texture_hu:
        texture = smoothed(np.random.default_rng(seed + 100).normal(size=shape).astype(np.float32), 4.0)
        hu = hu + lungs * texture * (texture_hu / texture.std())
    hu = np.rint(hu)
    if floor is not None:
        hu = np.maximum(hu, floor)
    if padding is not None:
        hu[:, np.hypot(rows, columns) * scale > 1.0] = padding
    acquisition = Acquisition(kernel=kernel, manufacturer=manufacturer, slice_thickness_mm=slice_mm, modality="CT")
    geometry = Geometry((slice_mm, pixel_mm, pixel_mm), (-30.0, -40.5, 12.25))
    volume = CTVolume(hu.astype(np.float32), geometry, acquisition, padding, "Chest B70f")
    return Chest(volume, lungs[None].repeat(slices, axis=0), body[None].repeat(slices, axis=0))


def outside_circle(chest: Chest, share: float = 0.8) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: chest.volume.shape[1], : chest.volume.shape[2]] - (chest.volume.shape[1] - 1) / 2
    return np.broadcast_to(np.hypot(rows, columns) > share * chest.volume.shape[1] / 2, chest.volume.shape)
