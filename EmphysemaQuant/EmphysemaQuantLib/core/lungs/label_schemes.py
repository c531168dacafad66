"""Lung masks made elsewhere: label numbering of known tools, and placement on the volume's grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging.reduced_grid import Canonical, LabelArray
from KernelNormalizationLib.core.volume import CTVolume, Geometry

from .left_right import LEFT, RIGHT, part_binary
from .quality_measurements import measure_supplied
from .quality_verdict import MaskQuality, judge
from .segmentation import LungMask

Scheme = Literal["lungmask", "lungmask-lobes", "totalsegmentator", "totalsegmentator-v1", "cip", "cip-lobes", "binary"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

RUL, RML, RLL, LUL, LLL = 1, 2, 3, 4, 5
LOBES_OF_SIDE: Mapping[int, tuple[int, ...]] = {RIGHT: (RUL, RML, RLL), LEFT: (LUL, LLL)}


@dataclass(frozen=True)
class Numbering:
    """Which numbers of a label file mean which structure.

    Attributes:
        right: numbers of the whole right lung.
        left: numbers of the whole left lung.
        lobes: number -> lobe (1 RUL, 2 RML, 3 RLL, 4 LUL, 5 LLL).
        airways: numbers of trachea and bronchi.
    """

    right: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    lobes: Mapping[int, int] | None = None
    airways: tuple[int, ...] = ()


# lungmask: R231 and LTRCLobes models; TotalSegmentator: class maps of task "total" v2 and v1; CIP: chest region codes.
NUMBERINGS: Mapping[Scheme, Numbering] = {
    "lungmask": Numbering(right=(1,), left=(2,)),
    "lungmask-lobes": Numbering(lobes={1: LUL, 2: LLL, 3: RUL, 4: RML, 5: RLL}),
    "totalsegmentator": Numbering(lobes={10: LUL, 11: LLL, 12: RUL, 13: RML, 14: RLL}, airways=(16,)),
    "totalsegmentator-v1": Numbering(lobes={13: LUL, 14: LLL, 15: RUL, 16: RML, 17: RLL}, airways=(43,)),
    "cip": Numbering(right=(2,), left=(3,)),
    "cip-lobes": Numbering(lobes={4: RUL, 5: RML, 6: RLL, 7: LUL, 8: LLL}),
}


def detect_scheme(labels: NDArray[np.integer], hu: NDArray[np.float32]) -> Scheme:
    """Which tool numbered a label map, told from the numbers present and the HU under them.

    Args:
        labels: integer (k, j, i).
        hu: float32 (k, j, i), HU.

    Raises:
        InputError: the numbers fit none or several schemes.
    """
    present = {int(v) for v in np.unique(labels)} - {0}
    if present == {1}:
        return "binary"
    if present == {1, 2}:
        return "lungmask"
    if present == {2, 3}:
        return "cip"
    if present <= {1, 2, 3, 4, 5} and len(present) >= 3:
        return "lungmask-lobes"
    if present <= {4, 5, 6, 7, 8}:
        return "cip-lobes"
    versions: tuple[Scheme, ...] = ("totalsegmentator", "totalsegmentator-v1")
    fitting = [s for s in versions if _all_aerated(labels, hu, present, s)]
    if len(fitting) == 1:
        return fitting[0]
    raise InputError(
        f"The label map holds the numbers {_shortened(present)}, which "
        f"{'fit several tools' if fitting else 'fit no known tool'}; say which with one of: {', '.join(SCHEMES)}."
    )


def _all_aerated(labels: NDArray[np.integer], hu: NDArray[np.float32], present: set[int], scheme: Scheme) -> bool:
    """Whether the numbers 10 to 17 that lie on air are exactly lobes and airways of the scheme.

    The two versions of TotalSegmentator share these numbers for different organs; only lungs and airways hold air.
    """
    numbering = NUMBERINGS[scheme]
    lobes = set(numbering.lobes or ())
    aerated = {n for n in present & set(range(10, 18)) if float(np.median(hu[labels == n])) < -500.0}
    return len(lobes & aerated) >= 2 and aerated <= lobes | set(numbering.airways) and lobes & present <= aerated


def _shortened(numbers: set[int]) -> str:
    shown = ", ".join(str(n) for n in sorted(numbers)[:12])
    return shown + (", …" if len(numbers) > 12 else "") if numbers else "0 only"


def mask_from_labels(volume: CTVolume, labels: NDArray[np.integer], scheme: Scheme | None = None) -> LungMask:
    """A lung mask from a label map on the volume's grid.

    Args:
        volume: the CT that the labels belong to.
        labels: integer (k, j, i) in the volume's stored order.
        scheme: whose numbering it is; ``None`` finds out.

    Returns:
        The mask with lobes when the labels have them, judged by what its voxels say.

    Raises:
        InputError: other shape, unknown numbering, or no lung voxel.
    """
    if labels.shape != volume.shape:
        raise InputError(f"The mask has shape {labels.shape}, the volume {volume.shape}; they must share one grid.")
    chosen = scheme if scheme is not None else detect_scheme(labels, volume.hu)
    if chosen == "binary":
        frame = Canonical.of(volume.geometry)
        sides = frame.backward(part_binary(frame.forward(volume.hu), frame.forward(labels > 0), frame.spacing))
        return LungMask(sides, np.zeros(labels.shape, dtype=bool), judge_supplied(volume, sides))
    numbering = NUMBERINGS[chosen]
    lobes = _mapped(labels, numbering.lobes) if numbering.lobes else None
    sides = _sides(labels, numbering, lobes)
    if not sides.any():
        raise InputError(f"The mask holds no lung in the numbering of “{chosen}”; choose another or another file.")
    airways = np.isin(labels, numbering.airways)
    return LungMask(sides, airways, judge_supplied(volume, sides), lobes)


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
    """The verdict on a mask that was made elsewhere: volumes, sides, cut-off lungs, holes, tissue and contact.

    Args:
        volume: the CT.
        labels: uint8 (k, j, i) in the volume's stored order: 1 right, 2 left; at least one voxel.
    """
    return judge(measure_supplied(volume, labels))


def read_mask(volume: CTVolume, path: Path | str, scheme: Scheme | None = None) -> LungMask:
    """Read a label file (NRRD, NIfTI, MHA or a Slicer ``.seg.nrrd``) as lung mask of ``volume``.

    The file may store its axes in another order; otherwise its grid must be the volume's.

    Raises:
        InputError: unreadable, another grid, unknown numbering or empty.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a label map (.nrrd, .seg.nrrd, .nii.gz, .mha).")
    if path.name.lower().endswith(".seg.nrrd"):
        from .slicer_segmentation import read_segmentation

        return read_segmentation(volume, path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{path.name} cannot be read as a label map ({_last_line(error)}).") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{path.name} is not a three-dimensional label map of one number a voxel.")
    return mask_from_labels(volume, on_grid_of(volume, image, path.name), scheme)


def on_grid_of(volume: CTVolume, image: sitk.Image, name: str) -> NDArray[np.integer]:
    """The voxels of a label image in the stored order of ``volume``.

    Raises:
        InputError: the label image does not cover the same voxels.
    """
    array: NDArray[np.integer] = np.rint(sitk.GetArrayFromImage(image)).astype(np.int32)
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


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
