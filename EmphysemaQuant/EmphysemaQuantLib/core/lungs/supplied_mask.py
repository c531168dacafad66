"""Lung masks from other programs: reading of their label numbers, and resampling to the axis order of the volume."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import LabelArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging.orientation import Canonical
from KernelNormalizationLib.core.volume import CTVolume, Geometry

from .label_schemes import (
    LOBE_NAMES,
    LOBES_OF_SIDE,
    NUMBERINGS,
    OPTION,
    Numbering,
    Place,
    Scheme,
    detect_scheme,
    in_place,
    midline_mm,
    places_of,
)
from .left_right import LEFT, RIGHT, part_binary
from .quality_measurements import measure_supplied
from .quality_verdict import MaskQuality, judge
from .segmentation import LungMask

# A number that is not used and lies on this much air is worth a look; less is bowel gas or noise of a network.
UNREAD_ML = 20.0


def mask_from_labels(volume: CTVolume, labels: NDArray[np.integer], scheme: Scheme | Numbering | None = None) -> LungMask:
    """A lung mask from a label map on the volume's grid.

    Args:
        volume: the CT that the labels belong to.
        labels: integer (k, j, i) in the volume's stored order.
        scheme: name of the numbering, or the numbers themselves; ``None`` detects it.

    Returns:
        The mask with lobes when the labels have them, with a quality verdict; its notes say how the numbers were read.

    Raises:
        InputError: other shape, unknown numbering, no lung voxel, or sides that lie the other way round in the scan.
    """
    if labels.shape != volume.shape:
        raise InputError(f"The mask has shape {labels.shape}, the volume {volume.shape}; they must share one grid.")
    chosen = scheme if scheme is not None else detect_scheme(volume, labels)
    if chosen == "binary":
        return _binary(volume, labels)
    numbering = chosen if isinstance(chosen, Numbering) else NUMBERINGS[chosen]
    lobes = _mapped(labels, numbering.lobes) if numbering.lobes else None
    sides = _sides(labels, numbering, lobes)
    name = "the given numbers" if isinstance(chosen, Numbering) else f"“{chosen}”"
    if not sides.any():
        raise InputError(f"The mask holds no lung in the numbering of {name}; choose another with {OPTION}, or another file.")
    places = places_of(volume, labels)
    if not in_place(numbering, places):
        raise InputError(
            f"Read with {name}, right and left, or upper and lower lobes, are exchanged in the scan; give the correct "
            f"numbers with {OPTION}, or check that mask and scan belong together. {_whereabouts(places)}"
        )
    airways = np.isin(labels, numbering.airways)
    quality = _with_unread(judge_supplied(volume, sides), numbering, places)
    return LungMask(sides, airways, quality, lobes, _notes(name, numbering, places), "supplied")


def _binary(volume: CTVolume, labels: NDArray[np.integer]) -> LungMask:
    frame = Canonical.of(volume.geometry)
    lungs = frame.forward(labels != 0)
    if not lungs.any():
        raise InputError("The mask is empty: every voxel is 0. Give another file, or leave the mask out.")
    midline = midline_mm(volume) / frame.spacing[2]
    sides = frame.backward(part_binary(frame.forward(volume.filled()), lungs, frame.spacing, midline))
    numbers = ", ".join(str(int(n)) for n in np.unique(labels) if n)
    note = f"Mask labels: {numbers} is lung; right and left were determined by position."
    return LungMask(sides, np.zeros(labels.shape, dtype=bool), judge_supplied(volume, sides), notes=(note,))


def _notes(name: str, numbering: Numbering, places: Mapping[int, Place]) -> tuple[str, ...]:
    """How the numbers were read, and which were not."""
    lobes = {lobe: text.upper() for text, lobe in LOBE_NAMES.items()}
    meanings = {n: lobes[lobe] for n, lobe in (numbering.lobes or {}).items()}
    for text, numbers in (("right lung", numbering.right), ("left lung", numbering.left), ("airways", numbering.airways)):
        meanings |= dict.fromkeys(numbers, text)
    read = ", ".join(f"{n} {meanings[n]}" for n in sorted(places) if n in meanings)
    unread = [f"{n} ({place.ml:.0f} mL)" for n, place in sorted(places.items()) if n not in meanings]
    left = f" Not used: {', '.join(unread[:8])}{', …' if len(unread) > 8 else ''}." if unread else ""
    return (f"Mask labels, read with {name}: {read}.{left}",)


def _with_unread(quality: MaskQuality, numbering: Numbering, places: Mapping[int, Place]) -> MaskQuality:
    """``quality`` with a further reason if an unused number covers what may be lung."""
    lung = {n: p for n, p in places.items() if n not in numbering.known and p.aerated and p.ml > UNREAD_ML}
    if not lung:
        return quality
    shown = ", ".join(f"{n} ({place.ml:.0f} mL)" for n, place in sorted(lung.items()))
    reason = f"The mask's numbers {shown} cover air or lung in the scan and were not used."
    return MaskQuality("failed" if quality.verdict == "failed" else "look", (*quality.reasons, reason))


def _whereabouts(places: Mapping[int, Place]) -> str:
    sides = (f"{n} lies {abs(p.left_mm):.0f} mm {'left' if p.left_mm > 0 else 'right'}" for n, p in sorted(places.items()))
    return f"Distances from the middle of the body: {', '.join(list(sides)[:8])}."


def _mapped(labels: NDArray[np.integer], mapping: Mapping[int, int]) -> LabelArray:
    mapped = np.zeros(labels.shape, dtype=np.uint8)
    for number, meaning in mapping.items():
        mapped[labels == number] = meaning
    return mapped


def _sides(labels: NDArray[np.integer], numbering: Numbering, lobes: LabelArray | None) -> LabelArray:
    sides = np.zeros(labels.shape, dtype=np.uint8)
    for side, numbers in ((RIGHT, numbering.right), (LEFT, numbering.left)):
        sides[np.isin(labels, numbers)] = side
        if lobes is not None:
            sides[np.isin(lobes, LOBES_OF_SIDE[side])] = side
    return sides


def judge_supplied(volume: CTVolume, labels: LabelArray) -> MaskQuality:
    """The verdict on a mask from another program: volumes, sides, cut-off lungs, holes, tissue and contact.

    Args:
        volume: the CT.
        labels: uint8 (k, j, i) in the volume's stored order: 1 right, 2 left; at least one voxel.
    """
    quality = judge(measure_supplied(volume, labels))
    places = places_of(volume, labels)
    if in_place(Numbering(right=(RIGHT,), left=(LEFT,)), places):
        return quality
    reason = "What the mask calls right and left does not lie on the patient's right and left."
    if in_place(Numbering(right=(LEFT,), left=(RIGHT,)), places):
        return MaskQuality("failed", (f"{reason} They are exchanged: name them the other way round.", *quality.reasons))
    return MaskQuality("failed" if quality.verdict == "failed" else "look", (reason, *quality.reasons))


def on_grid_of(volume: CTVolume, image: sitk.Image, name: str) -> NDArray[np.integer]:
    """The voxels of a label image in the stored order of ``volume``.

    Raises:
        InputError: the label image does not cover the same voxels.
    """
    array = _whole_numbers(sitk.GetArrayViewFromImage(image), name)
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    spacing = image.GetSpacing()[::-1]
    geometry = Geometry((spacing[0], spacing[1], spacing[2]), image.GetOrigin(), tuple(map(tuple, direction)))
    theirs, ours = Canonical.of(geometry), Canonical.of(volume.geometry)
    moved = ours.backward(theirs.forward(array))
    same = moved.shape == volume.shape and _same_corners(geometry, array.shape, volume)
    if not same:
        raise InputError(
            f"{name} has shape {array.shape}, spacing {_mm(geometry.spacing)} and origin {_mm(geometry.origin)}; the "
            f"volume has {volume.shape}, {_mm(volume.geometry.spacing)} and {_mm(volume.geometry.origin)}. "
            "Resample the mask onto the volume first."
        )
    return moved


def _whole_numbers(voxels: NDArray[np.generic], name: str) -> NDArray[np.integer]:
    """Label numbers as int32; a mask of decimals was interpolated and has lost its labels."""
    if voxels.dtype.kind == "f":
        values = voxels.astype(np.float64)
        # also catches NaN and infinity, for which no comparison is true
        with np.errstate(invalid="ignore"):
            bad = ~((np.abs(values - np.rint(values)) < 1e-3) & (np.abs(values) <= np.iinfo(np.int32).max))
    else:
        bad = (voxels > np.iinfo(np.int32).max) | (voxels < np.iinfo(np.int32).min)  # type: ignore[operator]
    if bad.any():
        raise InputError(
            f"{name} holds {int(np.count_nonzero(bad))} voxel(s) that are no label number (such as {voxels[bad][0]}); "
            "save the mask as whole numbers, and resample it with nearest neighbours only."
        )
    labels: NDArray[np.integer] = np.rint(voxels).astype(np.int32)
    return labels


def _same_corners(geometry: Geometry, shape: tuple[int, ...], volume: CTVolume) -> bool:
    """Whether both grids span the same corners to a tenth of a voxel, whatever their axis order."""
    tolerance = 0.1 * min(volume.geometry.spacing)
    theirs, ours = _corners(geometry, shape), _corners(volume.geometry, volume.shape)
    distances = np.linalg.norm(theirs[:, None, :] - ours[None, :, :], axis=2)
    return bool((distances.min(axis=1) <= tolerance).all())


def _corners(geometry: Geometry, shape: tuple[int, ...]) -> NDArray[np.float64]:
    ends = [(0, n - 1) for n in shape[::-1]]
    indices = np.array([[i, j, k, 1.0] for i in ends[0] for j in ends[1] for k in ends[2]])
    corners: NDArray[np.float64] = (indices @ geometry.ijk_to_lps.T)[:, :3]
    return corners


def _mm(values: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{v:.4g}" for v in values) + ") mm"
