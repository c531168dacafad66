"""Truncation inside the reconstruction: several images are cut off at the HU floor, each with noise of its own, then averaged.

Multi-slice scanners of Siemens store a slice that is the weighted mean of thinner or tilted images, each of which was truncated
before. The simulator reconstructs only the noise of this mean, and then draws the deviation of each image from it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from KernelNormalizationLib.core.arrays import LOWEST_STORED_HU, FloatArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.truncation.hu_floor import HUFloor
from KernelNormalizationLib.core.truncation.model import Truncation

from ..data.kernel_pair import PairRecord, TruncationRecord
from .floors import HU_CEILING

# A deviation is the noise of the slice itself, shifted in plane by this many pixels and scaled to the local noise level of its
# new position. So it has the right spectrum, and shifts of 12 pixels or more make it uncorrelated with the noise in place and
# with other deviations.
MOVE_PIXELS = (12.0, 40.0)
# Standard deviation, pixels, of the Gaussian with which the local noise level is measured. Without scaling to this level, the
# shifted noise would be 2 to 9 % too strong in the lungs.
STRENGTH_SIGMA = 12.0
# Half of the truncated scans have one or two images (plain truncation, or a slice interpolated between two), the others up to
# eight.
FEW_SHARE = 0.5
LARGEST_COUNT = 8
LARGEST_CORRELATION = 0.6
# Share of series without truncation (Toshiba), and of series truncated at a higher value (seen in LIDC).
OPEN_SHARE, RAISED_SHARE = 0.15, 0.1
RAISED_FLOOR_HU = -1000.0


def truncated(image: FloatArray, noise: FloatArray, truncation: Truncation | None, rng: np.random.Generator) -> FloatArray:
    """Slices as stored by the scanner, before rounding: truncated, averaged, and limited at the upper end of the HU range.

    The noise of the images is multivariate normal noise conditioned on its weighted mean n. With correlation matrix C, weights
    w, k^2 = w'C w and s = SD(n) / k, the images have the noise (C w / k^2) n plus deviations with the covariance
    s^2 (C - C w w'C / k^2).

    Args:
        image: float32 (k, j, i), HU, object and noise of the averaged slice before any truncation.
        noise: float32 (k, j, i), HU, the noise in it.
        truncation: how it is truncated, or ``None`` for no truncation.
        rng: random generator; with the same seed, sharp and smooth images get the same deviations.

    Returns:
        float32 (k, j, i), HU, a new array.

    Raises:
        InputError: image and noise have different shapes.
    """
    if image.shape != noise.shape or image.ndim != 3:
        raise InputError(f"The noise has shape {noise.shape}; it must be that of the image {image.shape}, slices (k, j, i).")
    if truncation is None:
        return np.minimum(image, np.float32(HU_CEILING))
    stored = np.empty_like(image)
    for k, (plane, own) in enumerate(zip(image, noise, strict=True)):
        stored[k] = truncation.store(_images(plane, own, truncation, rng))
    return np.minimum(stored, np.float32(HU_CEILING))


def _images(plane: FloatArray, noise: FloatArray, truncation: Truncation, rng: np.random.Generator) -> FloatArray:
    """The images (image, j, i) whose weighted mean is ``plane`` (j, i), HU, before truncation."""
    count = truncation.images
    if count == 1:
        return plane[None]
    weights = np.asarray(truncation.weights)
    correlations = np.where(np.eye(count, dtype=bool), 1.0, truncation.correlation)
    shared = correlations @ weights
    variance = float(weights @ shared)
    covariance = correlations - np.outer(shared, shared) / variance
    values, vectors = np.linalg.eigh(covariance)
    # The weighted sum of the deviations is zero, so one eigenvalue is zero and is left out. The others are scaled from the
    # noise of the mean to that of a single image.
    mixing = (vectors[:, 1:] * np.sqrt(np.maximum(values[1:], 0.0) / variance)).astype(np.float32)
    images: FloatArray = plane[None] + (shared / variance - 1.0).astype(np.float32)[:, None, None] * noise[None]
    strength = np.sqrt(ndimage.gaussian_filter(noise**2, STRENGTH_SIGMA)) + np.float32(1e-3)
    even = noise / strength
    for column, (rows, columns) in zip(mixing.T, _moves(count - 1, rng), strict=True):
        sign = np.float32(rng.choice((-1.0, 1.0)))
        images += (sign * column)[:, None, None] * (strength * np.roll(even, (rows, columns), axis=(0, 1)))[None]
    return images


def _moves(count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """``count`` shifts (rows, columns) of 12 to 40 pixels that also differ from each other by at least 12 pixels."""
    low, high = MOVE_PIXELS
    moves: list[tuple[int, int]] = []
    while len(moves) < count:
        angle, length = float(rng.uniform(0.0, 2.0 * np.pi)), float(rng.uniform(low + 1.0, high))
        move = (round(length * np.sin(angle)), round(length * np.cos(angle)))
        if all(np.hypot(move[0] - r, move[1] - c) >= low for r, c in moves):
            moves.append(move)
    return moves


def draw_weights(count: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Draw the weights of ``count`` images in a slice: equal in half of the draws, else down to a fifth of the equal weight."""
    if count == 1 or rng.random() < 0.5:
        return (1.0 / count,) * count
    raw = rng.uniform(0.2, 1.8, count)
    return tuple(float(w) for w in raw / raw.sum())


def draw_truncation(rng: np.random.Generator) -> Truncation | None:
    """Draw a truncation: one to eight images, correlation up to 0.6, floor at -1024 HU, seldom at -1000 HU or none."""
    if rng.random() < OPEN_SHARE:
        return None
    few = rng.random() < FEW_SHARE
    count = int(rng.integers(1, 3)) if few else int(rng.integers(3, LARGEST_COUNT + 1))
    floor = RAISED_FLOOR_HU if rng.random() < RAISED_SHARE else LOWEST_STORED_HU
    correlation = float(rng.uniform(0.0, LARGEST_CORRELATION)) if count > 1 else 0.0
    return Truncation(floor, draw_weights(count, rng), correlation)


def hu_floor(truncation: Truncation | None) -> HUFloor:
    """The lower end of the HU range that ``truncation`` leaves."""
    return HUFloor("none", -2048.0) if truncation is None else HUFloor("truncated", truncation.floor_hu)


def truncation_meta(truncation: Truncation | None) -> TruncationRecord | None:
    """JSON-serializable description for the metadata of a patient; :func:`truncation_of` reads it back exactly."""
    if truncation is None:
        return None
    return {"floor_hu": truncation.floor_hu, "weights": list(truncation.weights), "correlation": truncation.correlation}


def truncation_of(meta: PairRecord) -> Truncation | None:
    """How a simulated patient was truncated, from its metadata.

    Raises:
        InputError: the metadata do not describe it, as in real pairs.
    """
    if "truncation" not in meta:
        raise InputError("The pair does not tell how its slices were truncated; only pairs made by training.simulate do.")
    found = meta["truncation"]
    return None if found is None else Truncation(found["floor_hu"], tuple(found["weights"]), found["correlation"])
