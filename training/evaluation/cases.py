"""A pair for the evaluation, in the form that the methods and the agreement measures take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from EmphysemaQuantLib.core.lungs.quality_verdict import MaskQuality
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import MINIMUM_SLICES, Acquisition, CTVolume, Geometry

from ..data.kernel_pair import KernelPair, PairRecord
from ..simulate.store import read_patient

# Value of the slices that extend a short block to the number of slices that a volume needs; far below the padding of any
# scanner.
FILLER_HU = -4000.0


@dataclass(frozen=True)
class Case:
    """A pair with its lung labels.

    Attributes:
        name: file name without suffix.
        meta: metadata of the pair.
        sharp: input of the methods. Blocks of fewer than eight slices are extended by mirroring.
        smooth: the reference; mirrored slices are marked as padding and are not evaluated.
        lung: lung labels, zero in mirrored slices.
        slices: number of slices that are not mirrored.
        unclipped: float32 (slices, rows, columns), the sharp volume before the HU floor, or ``None``.
    """

    name: str
    meta: PairRecord
    sharp: CTVolume
    smooth: CTVolume
    lung: LungMask
    slices: int
    unclipped: FloatArray | None = None

    def judged(self, hu: FloatArray) -> CTVolume:
        """The voxels (k, j, i) of a method as a volume that :func:`compare_volumes` can compare with :attr:`smooth`."""
        hu = hu.astype(np.float32, copy=True)
        padding = self.smooth.padding_value
        if padding is not None:
            hu[self.smooth.padding_mask] = padding
        return CTVolume(hu, self.smooth.geometry, padding_value=padding, name="judged")


def find_cases(folder: Path) -> list[Path]:
    """Patient files of a folder of pairs, sorted.

    Raises:
        InputError: there is none.
    """
    files = sorted((folder / "patients").glob("*.npz"))
    if not files:
        raise InputError(f"{folder} holds no pairs; make some with training.simulate or training.pairs.")
    return files


def load_case(path: Path) -> Case:
    """Read a pair.

    Raises:
        InputError: the file is damaged, or the pair shows no lung.
    """
    patient = read_patient(path)
    if not (patient.lung > 0).any():
        raise InputError(f"{path.name} shows no lung; an emphysema index would be meaningless.")
    return case_of(path.stem, patient)


def case_of(name: str, patient: KernelPair) -> Case:
    """The case for a pair in memory."""
    slices = patient.sharp.shape[0]
    missing = max(0, MINIMUM_SLICES - slices)
    order = np.pad(np.arange(slices), (0, missing), mode="reflect" if slices > 1 else "edge")
    padding = patient.meta.get("padding")
    smooth = patient.smooth.astype(np.float32)[order]
    reference_padding = None if padding is None else float(padding)
    if missing:
        reference_padding = reference_padding if reference_padding is not None else FILLER_HU
        smooth[slices:] = reference_padding
    lung = patient.lung[order].copy()
    lung[slices:] = 0
    kernel = patient.meta["sharp_kernel"]
    maker = patient.meta.get("manufacturer") or "SIEMENS"
    acquisition = Acquisition(
        # A scanner with a kernel outside the training range still writes the usual name into the header.
        kernel=str(kernel.get("tag") or kernel["name"]).removesuffix("-like").removesuffix("-outside"),
        manufacturer=maker,
        slice_thickness_mm=float(patient.meta["slice_mm"]),
        modality="CT",
    )
    geometry = Geometry(patient.spacing)
    sharp = CTVolume(
        patient.sharp.astype(np.float32)[order],
        geometry,
        acquisition,
        padding_value=None if padding is None else float(padding),
        name=name,
    )
    reference = CTVolume(smooth, geometry, padding_value=reference_padding, name=f"{name} B20f")
    mask = LungMask(lung, np.zeros(lung.shape, bool), MaskQuality("ok"))
    return Case(name, patient.meta, sharp, reference, mask, slices, patient.sharp_unclipped)
