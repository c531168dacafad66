"""Smoothing filters and a noise estimate."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..arrays import BoolArray, FloatArray, Spacing
from ..stopping import filtered
from .morphology import to_image


def noise_sd(hu: FloatArray, where: BoolArray) -> float:
    """Standard deviation of the noise in ``where``, HU: median absolute difference of neighbours in a row, robust to edges."""
    pairs = where[:, :, 1:] & where[:, :, :-1]
    if not pairs.any():
        return 0.0
    differences = np.abs(hu[:, :, 1:][pairs] - hu[:, :, :-1][pairs])
    return float(np.median(differences)) * 1.4826 / float(np.sqrt(2.0))


def gaussian(hu: FloatArray, spacing: Spacing, sigma_mm: float, directions: tuple[int, ...] = (0, 1, 2)) -> FloatArray:
    """Gaussian blur of ``sigma_mm`` along the given SimpleITK directions (0 = i, 1 = j, 2 = k) of a (k, j, i) array."""
    image = to_image(hu, spacing)
    for direction in directions:
        if image.GetSize()[direction] >= 4:  # the recursive filter needs four samples
            blur = sitk.RecursiveGaussianImageFilter
            image = filtered(blur, image, Sigma=sigma_mm, NormalizeAcrossScale=False, Direction=direction)
    smooth: FloatArray = sitk.GetArrayFromImage(image)
    return smooth


def smoothed(hu: FloatArray, sigma: float) -> FloatArray:
    """In-plane Gaussian blur of ``hu`` (k, j, i) by ``sigma`` pixels; edges are replicated."""
    image = sitk.GetImageFromArray(hu)
    for direction in (0, 1):
        image = filtered(sitk.RecursiveGaussianImageFilter, image, Sigma=sigma, Direction=direction)
    array: FloatArray = sitk.GetArrayFromImage(image)
    return array
