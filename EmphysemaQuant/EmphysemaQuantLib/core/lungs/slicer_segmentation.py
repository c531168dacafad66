"""Segmentations in 3D Slicer's file format (``.seg.nrrd``): overlapping segments in layers, colours, terminology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import BoolArray, LabelArray
from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.io.nrrd_file import read_nrrd_layers
from KernelNormalizationLib.core.io.stored_image import StoredImage
from KernelNormalizationLib.core.io.writing import atomic_path
from KernelNormalizationLib.core.plain_text import LONGEST_NAME, plain, quoted
from KernelNormalizationLib.core.volume import CTVolume, Geometry

from .left_right import LEFT, RIGHT
from .quality_verdict import MaskQuality
from .segment_names import LOBES, LOBES_OF, Structure, structure_of
from .segmentation import LungMask


@dataclass(frozen=True)
class Segment:
    """Name, colour, position and terminology of a segment.

    Attributes:
        name: shown name.
        color: red, green, blue in 0 … 1.
        layer: 4D layer that holds it; segments of one layer cannot overlap.
        label: its number inside the layer.
        terminology: category~type~modifier codes as Slicer writes them.
    """

    name: str
    color: tuple[float, float, float]
    layer: int
    label: int
    terminology: str


_CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
_REGION = "Anatomic codes - DICOM master list~^^~^^"


def _terminology(category: str, kind: str, modifier: str = "^^") -> str:
    return f"{_CONTEXT}~{category}~{kind}~{modifier}~{_REGION}"


_STRUCTURE = "SCT^123037004^Anatomical Structure"
_LUNG = "SCT^39607008^Lung"
RIGHT_LUNG = Segment("Right lung", (0.62, 0.78, 0.94), 0, RIGHT, _terminology(_STRUCTURE, _LUNG, "SCT^24028007^Right"))
LEFT_LUNG = Segment("Left lung", (0.75, 0.88, 0.71), 0, LEFT, _terminology(_STRUCTURE, _LUNG, "SCT^7771000^Left"))
EMPHYSEMA = Segment(
    "Emphysema",
    (0.86, 0.08, 0.24),
    1,
    1,
    _terminology("SCT^49755003^Morphologically Altered Structure", "SCT^87433001^Pulmonary emphysema"),
)
AIRWAYS_LABEL = 3
AIRWAYS = Segment("Airways", (0.71, 0.89, 1.0), 0, AIRWAYS_LABEL, _terminology(_STRUCTURE, "SCT^89187006^Airway structure"))
SEGMENTS = (LEFT_LUNG, RIGHT_LUNG, AIRWAYS, EMPHYSEMA)
# Voxels by which a cropped segmentation may lie beside the grid: rounding of the numbers in the header.
CROP_TOLERANCE = 0.02
# zlib level: 1 is four times faster than 9 here and a label map stays under 1 % of its size either way.
_COMPRESSION = 1


def write_segmentation(path: Path, geometry: Geometry, lung_mask: LungMask, emphysema: BoolArray) -> None:
    """Write ``Left lung``, ``Right lung``, ``Airways`` and ``Emphysema`` as a Slicer segmentation, whole or not at all.

    Args:
        path: file ending in ``.seg.nrrd``.
        geometry: of the volume that the masks belong to.
        lung_mask: labels (k, j, i) and the airways outside them.
        emphysema: bool (k, j, i); overlaps the lungs, so it has a layer of its own.

    Raises:
        InputError: wrong suffix, missing folder or shapes that differ.
    """
    if not path.name.lower().endswith(".seg.nrrd"):
        raise InputError(f"{path.name} must end in .seg.nrrd, or Slicer will not read it as a segmentation.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist; create it first.")
    if emphysema.shape != lung_mask.labels.shape:
        raise InputError(
            f"The emphysema mask has shape {emphysema.shape}, the lung mask {lung_mask.labels.shape}; both must fit."
        )
    anatomy = lung_mask.labels.astype(np.uint8)
    anatomy[lung_mask.airways & (anatomy == 0)] = AIRWAYS_LABEL
    layers = np.stack([anatomy, emphysema.astype(np.uint8)])
    header = _header(geometry, layers.shape[1:])
    with atomic_path(path) as temporary:
        # (layer, k, j, i) in C order is (layer last) in Fortran order: NRRD wants the layer first
        nrrd.write(
            str(temporary),
            np.moveaxis(layers, 0, -1),
            header,
            index_order="C",
            compression_level=_COMPRESSION,
        )


def _header(geometry: Geometry, shape: tuple[int, ...]) -> dict[str, Any]:
    matrix = geometry.ijk_to_lps
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "kinds": ["list", "domain", "domain", "domain"],
        "space directions": np.vstack([np.full(3, np.nan), matrix[:3, :3].T]),
        "space origin": matrix[:3, 3],
        "encoding": "gzip",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
        "CTKernelNormalization.use": RESEARCH_USE,
    }
    extent = " ".join(f"0 {n - 1}" for n in shape[::-1])
    for number, segment in enumerate(SEGMENTS):
        prefix = f"Segment{number}_"
        header[prefix + "ID"] = segment.name.replace(" ", "_")
        header[prefix + "Name"] = segment.name
        header[prefix + "NameAutoGenerated"] = "0"
        header[prefix + "Color"] = " ".join(f"{c:g}" for c in segment.color)
        header[prefix + "ColorAutoGenerated"] = "0"
        header[prefix + "Extent"] = extent
        header[prefix + "Layer"] = str(segment.layer)
        header[prefix + "LabelValue"] = str(segment.label)
        header[prefix + "Tags"] = f"TerminologyEntry:{segment.terminology}|"
    return header


def read_segmentation(volume: CTVolume, path: Path) -> LungMask:
    """Read the lungs, the lobes and the airways of a ``.seg.nrrd`` as lung mask of ``volume``, by the names of the segments.

    Each lung is its own segment, its lobes, or both; :func:`.segment_names.structure_of` has the names.

    Raises:
        InputError: unreadable, another grid, a lung without a segment, or two segments for one structure.
    """
    from .supplied_mask import judge_supplied, on_grid_of

    stored = _uncropped(read_nrrd_layers(path), volume.geometry, volume.shape)
    segments = _segments(stored.texts, path.name)
    painted = _painted(stored.voxels, segments, path.name)
    labels, lobes = (on_grid_of(volume, replace(stored, voxels=part).to_itk(), path.name).astype(np.uint8) for part in painted)
    airways = labels == AIRWAYS_LABEL
    labels[airways] = 0
    if not labels.any():
        raise InputError(f"The lung segments of {path.name} are empty; segment both lungs first.")
    quality = judge_supplied(volume, labels)
    absent = [lobe.upper() for lung in SIDES if lung not in segments for lobe in LOBES_OF[lung] if lobe not in segments]
    if absent:
        reason = f"The mask has no segment of the lobe(s) {', '.join(absent)}; what they hold is not measured."
        quality = MaskQuality("failed" if quality.verdict == "failed" else "look", (*quality.reasons, reason))
    unread = [plain(name, LONGEST_NAME) for name in sorted(_segment_names(stored.texts).values()) if structure_of(name) is None]
    notes = (f"Segments of the mask that were not used: {', '.join(unread[:8])}.",) if unread else ()
    return LungMask(labels, airways, quality, lobes if lobes.any() else None, notes, "supplied")


def _uncropped(stored: StoredImage, grid: Geometry, shape: tuple[int, int, int]) -> StoredImage:
    """The segmentation on the whole grid, where 3D Slicer stored only the part with segments ("crop to minimum extent").

    Its place is stated twice, by the origin and by ``Segmentation_ReferenceImageExtentOffset``; where these disagree, or the
    part reaches beyond the grid, it is left as it is.
    """
    try:
        i, j, k = (int(word) for word in stored.texts.get("Segmentation_ReferenceImageExtentOffset", "").split())
    except ValueError:
        return stored
    part = Geometry(stored.spacing[::-1], stored.origin, tuple(map(tuple, stored.direction)))
    expected = np.eye(4)
    expected[:3, 3] = (i, j, k)
    start, size = np.array((k, j, i)), np.array(stored.voxels.shape[:3])
    placed = np.allclose(np.linalg.solve(grid.ijk_to_lps, part.ijk_to_lps), expected, rtol=0.0, atol=CROP_TOLERANCE)
    if not start.any() or not placed or (start < 0).any() or (start + size > shape).any():
        return stored
    whole = np.zeros((*shape, stored.voxels.shape[3]), stored.voxels.dtype)
    whole[tuple(slice(a, b) for a, b in zip(start, start + size, strict=True))] = stored.voxels
    return replace(stored, voxels=whole, origin=grid.origin)


SIDES: Mapping[Structure, int] = {"right lung": RIGHT, "left lung": LEFT}


def _segments(texts: Mapping[str, str], file_name: str) -> dict[Structure, tuple[int, int]]:
    """Layer and label of each structure.

    Raises:
        InputError: a lung is missing, or two segments are called or stored alike.
    """
    found: dict[Structure, tuple[int, int]] = {}
    for prefix, name in _segment_names(texts).items():
        structure = structure_of(name)
        if structure is None or structure == "emphysema":
            continue
        if structure in found:
            raise InputError(f"{file_name} has two segments for the {structure}; keep one, or rename one in 3D Slicer.")
        found[structure] = _layer_and_label(texts, prefix, name, file_name)
        alike = next((other for other in found if other != structure and found[other] == found[structure]), None)
        if alike is not None:
            raise InputError(
                f"{file_name} gives the {alike} and the {structure} the same label {found[alike][1]}; save it again with 3D "
                "Slicer."
            )
    for side in SIDES:
        if side not in found and not found.keys() & set(LOBES_OF[side]):
            known = plain(", ".join(sorted(_segment_names(texts).values()))) or "none"
            raise InputError(
                f"{file_name} has no segment “{side}” (it has: {known}); name the lungs “right lung” and “left lung”, or the "
                "lobes “right upper lobe” and so on, in 3D Slicer."
            )
    return found


def _painted(
    layers: NDArray[Any], segments: Mapping[Structure, tuple[int, int]], file_name: str
) -> tuple[LabelArray, LabelArray]:
    """Sides (1 right, 2 left, 3 airways) and lobes (1 to 5), uint8 (k, j, i) of the file.

    Where a lung has its own segment, its lobes lie within it; voxels painted as both lung and airway are lung.
    """
    where = {structure: _voxels_of(layers, place, file_name) for structure, place in segments.items()}
    sides = np.zeros(layers.shape[:3], dtype=np.uint8)
    lobes = np.zeros(layers.shape[:3], dtype=np.uint8)
    for lung, side in SIDES.items():
        if lung in where:
            sides[where[lung]] = side
        for lobe in LOBES_OF[lung]:
            if lobe in where:
                part = where[lobe] & (sides == side) if lung in where else where[lobe]
                sides[part], lobes[part] = side, LOBES[lobe]
    if "airways" in where:
        sides[where["airways"] & (sides == 0)] = AIRWAYS_LABEL
    return sides, lobes


def _voxels_of(layers: NDArray[Any], place: tuple[int, int], file_name: str) -> BoolArray:
    """Voxels of the segment with this layer and label, bool (k, j, i)."""
    layer, label = place
    if not 0 <= layer < layers.shape[3]:
        raise InputError(
            f"{file_name} places a segment in layer {layer}, but has {layers.shape[3]} layer(s); save it again with 3D Slicer."
        )
    if not 1 <= label <= np.iinfo(layers.dtype).max:
        raise InputError(
            f"{file_name} states the label {label} for a segment, which its voxels cannot hold; save it again with 3D Slicer."
        )
    found: BoolArray = layers[..., layer] == label
    return found


def _segment_names(header: Mapping[str, str]) -> dict[str, str]:
    """Prefix of the header fields of each segment -> its name."""
    fields = [key for key in header if key.startswith("Segment") and key.endswith("_Name")]
    return {key.removesuffix("_Name"): str(header[key]).strip() for key in fields}


def _layer_and_label(header: Mapping[str, str], prefix: str, name: str, file_name: str) -> tuple[int, int]:
    stated = header.get(prefix + "_Layer", "0"), header.get(prefix + "_LabelValue", "1")
    try:
        return int(stated[0]), int(stated[1])
    except ValueError:
        raise InputError(
            f"{file_name} states layer {quoted(stated[0])} and label {quoted(stated[1])} for the segment {quoted(name)}; "
            "whole numbers are needed. Save it again with 3D Slicer."
        ) from None
