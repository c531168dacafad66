"""Hard versions of a scan whose lungs are known: each keeps or changes the truth along with the voxels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from KernelNormalizationLib.core.imaging.morphology import bounding_box
from KernelNormalizationLib.core.io.writing import image_of
from KernelNormalizationLib.core.volume import CTVolume, Geometry

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """A volume in canonical order (head up, back behind, left at larger columns) and its lungs: 1 right, 2 left."""

    volume: CTVolume
    labels: NDArray[np.uint8]


def _with(case: Case, hu: NDArray[np.float32], labels: NDArray[np.uint8] | None = None) -> Case:
    clipped = np.clip(np.rint(hu), -1024, 3071).astype(np.float32)
    hu = np.where(case.volume.padding_mask, case.volume.hu, clipped)
    return Case(replace(case.volume, hu=hu), case.labels if labels is None else labels)


def noisier(case: Case, seed: int = 3) -> Case:
    """Noise of twice the soft tissue's own added, so that three times the noise is left (about)."""
    tissue = case.volume.hu[(case.volume.hu > -50) & (case.volume.hu < 150)]
    rng = np.random.default_rng(seed)
    sd = 2.8 * max(20.0, float(np.std(tissue)))
    return _with(case, case.volume.hu + rng.normal(0, sd, case.volume.shape).astype(np.float32))


def thicker(case: Case) -> Case:
    """Neighbouring slices averaged in pairs, every second column and row: spacing doubled."""
    n = case.volume.shape[0] // 2 * 2
    hu = (case.volume.hu[0:n:2] + case.volume.hu[1:n:2])[:, ::2, ::2] / 2
    padding = case.volume.padding_value
    if padding is not None:
        hu[case.volume.padding_mask[0:n:2, ::2, ::2]] = padding
    labels = case.labels[0:n:2, ::2, ::2]
    geometry = replace(case.volume.geometry, spacing=tuple(2 * s for s in case.volume.geometry.spacing))
    return Case(replace(case.volume, hu=hu, geometry=geometry), labels)


def without_apices(case: Case) -> Case:
    """The upper quarter of the lungs and all above cut away."""
    k = bounding_box(case.labels > 0)[0]
    end = k.stop - (k.stop - k.start) // 4
    return Case(replace(case.volume, hu=case.volume.hu[:end]), case.labels[:end])


def without_sides(case: Case) -> Case:
    """The field of view cut into the lateral parts of both lungs."""
    i = bounding_box(case.labels > 0)[2]
    cut = (i.stop - i.start) // 8
    box = (slice(None), slice(None), slice(i.start + cut, i.stop - cut))
    return Case(replace(case.volume, hu=np.ascontiguousarray(case.volume.hu[box])), case.labels[box])


def turned(case: Case, degrees: float = 15.0) -> Case:
    """The patient turned about the long axis."""
    transform = sitk.Euler3DTransform()
    image = image_of(case.volume.filled(), case.volume.geometry)
    middle = [(n - 1) / 2 for n in image.GetSize()]
    transform.SetCenter(image.TransformContinuousIndexToPhysicalPoint(middle))
    transform.SetRotation(0.0, 0.0, np.deg2rad(degrees))
    hu = sitk.GetArrayFromImage(sitk.Resample(image, image, transform, sitk.sitkLinear, -1000.0))
    labels = image_of(case.labels, case.volume.geometry)
    moved = sitk.GetArrayFromImage(sitk.Resample(labels, labels, transform, sitk.sitkNearestNeighbor, 0))
    return Case(replace(case.volume, hu=hu, padding_value=None), moved)


def fluid_on_the_right(case: Case) -> Case:
    """The right lung filled with fluid."""
    hu = case.volume.hu.copy()
    right = case.labels == 1
    hu[right] = 15.0 + 0.02 * (hu[right] + 850.0)
    return _with(case, hu, np.where(right, 0, case.labels).astype(np.uint8))


def effusion_on_the_left(case: Case) -> Case:
    """The posterior third of the left lung under fluid."""
    left = case.labels == 2
    j = bounding_box(left)[1]
    row = np.arange(left.shape[1])[None, :, None]
    fluid = left & (row > j.stop - (j.stop - j.start) // 3)
    hu = case.volume.hu.copy()
    hu[fluid] = 12.0
    return _with(case, hu, np.where(fluid, 0, case.labels).astype(np.uint8))


def pneumothorax(case: Case, depth_mm: float = 20.0) -> Case:
    """Gas in front of the right lung, behind a pleural line of one voxel."""
    right = case.labels == 1
    inside = sitk.SignedMaurerDistanceMap(
        image_of(right.astype(np.uint8), case.volume.geometry),
        insideIsPositive=True,
        squaredDistance=False,
        useImageSpacing=True,
    )
    depth = sitk.GetArrayFromImage(inside)
    j = bounding_box(right)[1]
    front = np.arange(right.shape[1])[None, :, None] < (j.start + j.stop) / 2
    gas = right & front & (depth < depth_mm)
    line = right & front & (depth >= depth_mm) & (depth < depth_mm + case.volume.geometry.spacing[2] * 1.5)
    hu = case.volume.hu.copy()
    noise = np.random.default_rng(2).normal(0, 15, hu.shape).astype(np.float32)
    hu[gas] = -1000.0 + noise[gas]
    hu[line] = -300.0
    return _with(case, hu, np.where(gas, 0, case.labels).astype(np.uint8))


def metal(case: Case) -> Case:
    """A pacemaker before the left lung with streaks through twelve slices."""
    k, j, i = bounding_box(case.labels == 2)
    slices = slice(k.stop - (k.stop - k.start) // 3, k.stop - (k.stop - k.start) // 3 + 12)
    hu = case.volume.hu.copy()
    rows, columns = np.mgrid[0 : hu.shape[1], 0 : hu.shape[2]]
    centre = (j.start - 6, (i.start + i.stop) // 2)
    angle = np.arctan2(rows - centre[0], columns - centre[1])
    distance = np.hypot(rows - centre[0], columns - centre[1])
    streaks = 500.0 * np.cos(24 * angle) * np.exp(-distance / 120.0)
    hu[slices] += streaks.astype(np.float32)
    hu[slices, centre[0] - 8 : centre[0] + 8, centre[1] - 20 : centre[1] + 20] = 3071.0
    return _with(case, hu)


STRESSES: dict[str, Callable[[Case], Case]] = {
    "as it is": lambda case: case,
    "noise x3": noisier,
    "spacing x2": thicker,
    "apices cropped": without_apices,
    "sides cropped": without_sides,
    "turned 15 degrees": turned,
    "right lung filled": fluid_on_the_right,
    "left effusion": effusion_on_the_left,
    "pneumothorax": pneumothorax,
    "metal": metal,
}


def canonical_case(volume: CTVolume, labels: NDArray[np.uint8]) -> Case:
    """A case in canonical axis order with identity directions."""
    from KernelNormalizationLib.core.imaging.orientation import Canonical

    frame = Canonical.of(volume.geometry)
    hu = np.ascontiguousarray(frame.forward(volume.hu))
    return Case(replace(volume, hu=hu, geometry=Geometry(frame.spacing)), np.ascontiguousarray(frame.forward(labels)))
