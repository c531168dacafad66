"""Truncation inside the reconstruction: several images are cut off at the HU floor, each with noise of its own, then averaged.

Siemens' multi-slice reconstruction makes a stored slice as the weighted mean of thinner or tilted images that were cut off
before. The simulator back-projects the noise of their mean only, and draws how far each image departs from it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from KernelNormalizationLib.core.arrays import LOWEST_STORED_HU
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.truncation.hu_floor import HUFloor
from KernelNormalizationLib.core.truncation.model import Truncation

from ..data.kernel_pair import PairRecord, TruncationRecord
from .floors import HU_CEILING

FloatArray = NDArray[np.float32]

# Departures are the slice's own noise moved in the plane by so many pixels and brought to the local strength of where it comes
# to lie: the same colour, and beyond 12 pixels no correlation with the noise in place or with that of another move.
MOVE_PIXELS = (12.0, 40.0)
# The local strength is read over so many pixels; in lungs noise that was moved as it is would be 2 to 9 % too strong.
STRENGTH_SIGMA = 12.0
# Mostly one or two images (plain clip; a slice interpolated between two), up to the eight a multi-slice scanner may average.
FEW_SHARE = 0.5
LARGEST_COUNT = 8
LARGEST_CORRELATION = 0.6
# Series that are not truncated at all (Toshiba), and series cut off higher (one of LIDC).
OPEN_SHARE, RAISED_SHARE = 0.15, 0.1
RAISED_FLOOR_HU = -1000.0


def truncated(image: FloatArray, noise: FloatArray, truncation: Truncation | None, rng: np.random.Generator) -> FloatArray:
    """Slices as the scanner stores them before rounding: truncated, averaged, and held below the HU ceiling.

    Given their mean n, images of noise correlation matrix C and weights w have the noise (C w / k^2) n + departures, with
    k^2 = w'C w and the departures' covariance s^2 (C - C w w'C / k^2), s = SD of n / k: normal noise conditioned on its mean.

    Args:
        image: float32 (k, j, i), HU, object and noise of the averaged slice before any truncation.
        noise: float32 (k, j, i), HU, the noise in it.
        truncation: how it is truncated, or ``None`` for not at all.
        rng: source of chance; two generators of one seed give sharp and smooth images the same departures.

    Returns:
        float32 (k, j, i), HU, a new array.

    Raises:
        InputError: image and noise differ in shape.
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
    # The weighted sum of the departures is zero, so one eigenvalue is; the rest is scaled from the mean's noise to an image's.
    mixing = (vectors[:, 1:] * np.sqrt(np.maximum(values[1:], 0.0) / variance)).astype(np.float32)
    images: FloatArray = plane[None] + (shared / variance - 1.0).astype(np.float32)[:, None, None] * noise[None]
    strength = np.sqrt(ndimage.gaussian_filter(noise**2, STRENGTH_SIGMA)) + np.float32(1e-3)
    even = noise / strength
    for column, (rows, columns) in zip(mixing.T, _moves(count - 1, rng), strict=True):
        sign = np.float32(rng.choice((-1.0, 1.0)))
        images += (sign * column)[:, None, None] * (strength * np.roll(even, (rows, columns), axis=(0, 1)))[None]
    return images


def _moves(count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """``count`` moves (rows, columns) of 12 to 40 pixels, as far from each other."""
    low, high = MOVE_PIXELS
    moves: list[tuple[int, int]] = []
    while len(moves) < count:
        angle, length = float(rng.uniform(0.0, 2.0 * np.pi)), float(rng.uniform(low + 1.0, high))
        move = (round(length * np.sin(angle)), round(length * np.cos(angle)))
        if all(np.hypot(move[0] - r, move[1] - c) >= low for r, c in moves):
            moves.append(move)
    return moves


def draw_weights(count: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Shares of ``count`` images in a slice: equal in half of the draws, else down to a fifth of the equal share."""
    if count == 1 or rng.random() < 0.5:
        return (1.0 / count,) * count
    raw = rng.uniform(0.2, 1.8, count)
    return tuple(float(w) for w in raw / raw.sum())


def draw_truncation(rng: np.random.Generator) -> Truncation | None:
    """Any truncation a scanner may have: one to eight images, correlation up to 0.6, floor -1024 HU, seldom -1000 or none."""
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
    """JSON-serializable description for a patient's meta data; :func:`truncation_of` reads it back exactly."""
    if truncation is None:
        return None
    return {"floor_hu": truncation.floor_hu, "weights": list(truncation.weights), "correlation": truncation.correlation}


def truncation_of(meta: PairRecord) -> Truncation | None:
    """How a simulated patient was truncated, from its meta data.

    Raises:
        InputError: the meta data do not tell, as those of real pairs.
    """
    if "truncation" not in meta:
        raise InputError("The pair does not tell how its slices were truncated; only pairs made by training.simulate do.")
    found = meta["truncation"]
    return None if found is None else Truncation(found["floor_hu"], tuple(found["weights"]), found["correlation"])
