"""Comparison of the lungs in lateral projection, which shows a part without air on one side only."""

from __future__ import annotations

import numpy as np

from KernelNormalizationLib.core.arrays import BoolArray, LabelArray, Spacing
from KernelNormalizationLib.core.imaging.morphology import morphology

from .left_right import LEFT, RIGHT

# One dome of the diaphragm may be up to 30 mm higher than the other; thinner differences are no finding.
THINNEST_MM = 30.0
# Turned by 20 degrees, lungs whose middles lie 150 mm apart move by 50 mm against each other.
TURN_MM = 50.0


def silhouette_gaps_cm2(labels: LabelArray, spacing: Spacing) -> tuple[float, float]:
    """What the (right, left) lung lacks of the other's silhouette in sagittal projection, cm2; 0 when one is absent.

    The silhouettes are shifted along j until they overlap most, because a patient who is turned shows one lung further
    in front.

    Args:
        labels: uint8 (k, j, i) in canonical order: 1 right, 2 left.
        spacing: mm along (k, j, i).
    """
    right, left = ((labels == side).any(axis=2) for side in (RIGHT, LEFT))
    if not right.any() or not left.any():
        return 0.0, 0.0
    reach = round(TURN_MM / spacing[1])
    right = np.pad(right, ((0, 0), (reach, reach)))
    left = np.pad(left, ((0, 0), (reach, reach)))
    shifts = sorted(range(-reach, reach + 1), key=abs)
    overlaps = [int(np.count_nonzero(right & np.roll(left, shift, axis=1))) for shift in shifts]
    left = np.roll(left, shifts[int(np.argmax(overlaps))], axis=1)
    return _thick_area_cm2(left & ~right, spacing), _thick_area_cm2(right & ~left, spacing)


def _thick_area_cm2(plane: BoolArray, spacing: Spacing) -> float:
    """Area of the parts of a sagittal plane (k, j) that are at least ``THINNEST_MM`` thick, cm2."""
    # a single sagittal slice, so far from its neighbours that the ball stays in the plane
    kept = morphology(plane[:, :, None], (spacing[0], spacing[1], 1e6), THINNEST_MM / 2, "open")
    return float(np.count_nonzero(kept)) * spacing[0] * spacing[1] / 100.0
