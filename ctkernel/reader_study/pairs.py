"""Two folders of volumes, matched by name: originals with the soft kernel, and the normalized sharp scans of the same cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import BoolArray, Spacing
from KernelNormalizationLib.core.errors import CTKernelError, InputError
from KernelNormalizationLib.core.imaging.orientation import Canonical
from KernelNormalizationLib.core.io.reading import VOLUME_SUFFIXES, read_volume
from KernelNormalizationLib.core.plain_text import plain, quoted
from KernelNormalizationLib.core.volume import CTVolume, Geometry

from .scale import Group

# What every CT stores and what windows of the chest show. Both groups are cut to it: a value beyond would tell the group.
LOWEST_HU, HIGHEST_HU = -1024, 3071
STORED = np.dtype("<i2")
# Two files of one place may differ by this, mm: NIfTI keeps its matrix in single precision.
PLACE_TOLERANCE_MM = 0.01
NAMES_SHOWN = 5


@dataclass(frozen=True)
class CasePair:
    """Where both volumes of a case are.

    Attributes:
        name: of the case: file name without suffix, or name of the DICOM folder. Kept in the seal only: it may
            identify the patient.
        original: file or folder.
        normalized: file or folder.
    """

    name: str
    original: Path
    normalized: Path


@dataclass(frozen=True)
class BlindedImage:
    """Voxels of one case in a form that is the same for both groups.

    Attributes:
        hu: int16 (k, j, i), HU from -1024 to 3071; slices from the feet up, rows to the back, columns to the patient's left.
        spacing: mm (k, j, i), always that of the original.
    """

    hu: NDArray[np.int16]
    spacing: Spacing


def match_folders(originals: Path, normalized: Path) -> list[CasePair]:
    """Pair the volumes of two folders by name, sorted.

    Args:
        originals: folder of volume files and of DICOM folders.
        normalized: another one, with the same names; suffixes may differ.

    Raises:
        InputError: a folder is missing or empty, both are the same, a name stands for two volumes, or a case has no partner.
    """
    first, second = _volumes_by_name(originals), _volumes_by_name(normalized)
    if originals.resolve() == normalized.resolve():
        raise InputError(f"{originals} was given twice; the originals and the normalized volumes lie in two folders.")
    for ours, others, folder in ((first, second, normalized), (second, first, originals)):
        missing = sorted(set(ours) - set(others))
        if missing:
            raise InputError(
                f"{folder} lacks the partner of {len(missing)} case(s): {_some(missing)}. Both volumes of a case have the same "
                "name; add what is missing, or move the others away."
            )
    return [CasePair(name, first[name], second[name]) for name in sorted(first)]


def read_blinded(pair: CasePair, group: Group, identifier: str) -> BlindedImage:
    """Read both volumes of a case, check that they fit together, and make the image of ``group`` without what tells the group.

    Both are read whichever was drawn, so that every pair is checked. Values are rounded to whole HU and cut to the stored
    range; what lies outside the field of view in either volume becomes -1024 HU.

    Args:
        pair: where the volumes are.
        group: which one is shown.
        identifier: name of the case for messages.

    Raises:
        InputError: a volume cannot be read, the volumes are not on the same grid, are the same, or are in the wrong folder.
    """
    original, normalized = _read(pair.original), _read(pair.normalized)
    where = f"case {quoted(pair.name)} ({identifier})"
    if original.synthetic:
        raise InputError(f"The original of {where} is marked as synthetic; were the two folders given in the wrong order?")
    first, second = Canonical.of(original.geometry), Canonical.of(normalized.geometry)
    _require_same_grid(original, normalized, where)
    outside = first.forward(original.padding_mask) | second.forward(normalized.padding_mask)
    images = [_whole_hu(frame.forward(v.hu), outside) for frame, v in ((first, original), (second, normalized))]
    if np.array_equal(images[0], images[1]):
        raise InputError(f"Both volumes of {where} hold the same voxels; the normalized one is missing.")
    return BlindedImage(images[0 if group == "original" else 1], first.spacing)


def _volumes_by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a folder with one volume per case.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = _case_name(path)
        if name is None:
            continue
        if name in found:
            raise InputError(
                f"{folder} holds {quoted(found[name].name)} and {quoted(path.name)}; one volume per case is needed."
            )
        found[name] = path
    if not found:
        raise InputError(f"{folder} holds no volumes; give one of {', '.join(VOLUME_SUFFIXES)} or one DICOM folder per case.")
    return found


def _case_name(path: Path) -> str | None:
    """Name of the case that a file or folder is a volume of; ``None`` if it is none."""
    if path.name.startswith("."):
        return None
    if path.is_dir():
        return path.name
    lower = path.name.lower()
    suffix = next((s for s in sorted(VOLUME_SUFFIXES, key=len, reverse=True) if lower.endswith(s)), None)
    return None if suffix is None or lower.endswith(".seg.nrrd") else path.name[: -len(suffix)]


def _read(path: Path) -> CTVolume:
    try:
        return read_volume(path)
    except CTKernelError as error:
        raise InputError(f"{path}: {error}") from error


def _require_same_grid(original: CTVolume, normalized: CTVolume, where: str) -> None:
    first, second = (Canonical.of(v.geometry) for v in (original, normalized))
    shapes = [frame.forward(v.hu).shape for frame, v in ((first, original), (second, normalized))]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"The volumes of {where} have {_sizes(shapes[0])} and {_sizes(shapes[1])} voxels; a reader would see which is "
            "which. Both must be reconstructions of one acquisition with the same slices and matrix."
        )
    places = [_canonical_matrix(v.geometry, frame, shapes[0]) for frame, v in ((first, original), (second, normalized))]
    off = float(np.abs(places[0] - places[1]).max())
    if off > PLACE_TOLERANCE_MM:
        raise InputError(
            f"The volumes of {where} differ in spacing, position or direction (by up to {off:.3g} mm); both must be on one "
            "grid. Reconstruct or resample them alike before the study."
        )


def _canonical_matrix(geometry: Geometry, frame: Canonical, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """LPS positions, mm, of the first voxel and of the far ends of the three axes, in canonical order."""
    corners = []
    for ends in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
        canonical = [
            e * (n - 1) if axis not in frame.flips else (1 - e) * (n - 1)
            for axis, (e, n) in enumerate(zip(ends, shape, strict=True))
        ]
        stored = [0, 0, 0]
        for axis, value in zip(frame.axes, canonical, strict=True):
            stored[axis] = value
        corners.append(geometry.ijk_to_lps @ np.array([stored[2], stored[1], stored[0], 1.0]))
    return np.array(corners)


def _whole_hu(hu: NDArray[np.float32], outside: BoolArray) -> NDArray[np.int16]:
    whole = np.clip(np.rint(hu), LOWEST_HU, HIGHEST_HU).astype(STORED)
    whole[outside] = LOWEST_HU
    return np.ascontiguousarray(whole)


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def _some(names: list[str]) -> str:
    shown = ", ".join(plain(name, 60) for name in names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"
