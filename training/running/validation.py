"""Validation by L1 and emphysema index together, on whole slices of patients that the run does not train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.kernels.calibrated_transfer import OwnTransfer
from KernelNormalizationLib.core.network.tiled_inference import ALIGNMENT, aligned_crop
from KernelNormalizationLib.core.network.unet import UNet

from ..data.self_pairs import FLOOR_HU
from ..data.unpacked import UnpackedPatient, open_patient, patient_files
from ..simulate.patient import emphysema_index

# Errors of the study's UNet on its patients (Table 1 and section 3.1); they are the units in which the two errors are added.
STUDY_L1_HU, STUDY_DEI_POINTS = 9.7, 0.93
SLICES_PER_PATIENT = 2


@dataclass(frozen=True)
class ValidationScore:
    """Mean over patients.

    Attributes:
        l1_hu: mean absolute error in the bounding box of the lungs, HU.
        abs_dei_points: absolute error of the emphysema index, percentage points.
    """

    l1_hu: float
    abs_dei_points: float

    @property
    def merit(self) -> float:
        """Sum of both errors, each divided by the study's error; the weights with the smallest merit are kept.

        Neither error decides alone, because longer training lowers L1 while the error of the index may grow again.
        """
        return self.l1_hu / STUDY_L1_HU + self.abs_dei_points / STUDY_DEI_POINTS


class Validator:
    """Scores a network on some slices of every validation patient.

    Args:
        patients: patients that the run does not train on.
        slices: slices per patient, spread over the slices with lung.
    """

    def __init__(self, patients: Sequence[UnpackedPatient], slices: int = SLICES_PER_PATIENT) -> None:
        self._patients = tuple(patients)
        self._slices = slices

    @classmethod
    def of(cls, paths: Sequence[str], transfer: OwnTransfer | None = None) -> Validator | None:
        """Validator for patient files or data set folders, ``None`` without any; ``transfer`` replaces the product's gain."""
        patients = [open_patient(file, transfer=transfer) for path in paths for file in patient_files(Path(path))]
        return cls(patients) if patients else None

    def __call__(self, network: UNet, fabric: Fabric) -> ValidationScore:
        """Evaluate ``network``; several processes divide the patients among them."""
        sums = torch.zeros(3, dtype=torch.float64)
        for patient in self._patients[fabric.global_rank :: fabric.world_size]:
            sums += torch.tensor([*self._score(patient, network, fabric.device), 1.0], dtype=torch.float64)
        total: torch.Tensor = fabric.all_reduce(fabric.to_device(sums.float()), reduce_op="sum")  # type: ignore[assignment]
        l1, dei, count = total.tolist()
        return ValidationScore(l1 / count, dei / count)

    def _score(self, patient: UnpackedPatient, network: UNet, device: torch.device) -> tuple[float, float]:
        with_lung = np.flatnonzero((patient.lung > 0).any(axis=(1, 2)))
        chosen = with_lung[np.linspace(0, len(with_lung) - 1, self._slices + 2).astype(int)[1:-1]]
        lung = patient.lung[chosen]
        rows, columns = aligned_crop(_box(lung > 0), patient.sharp.shape[1:])
        window = (chosen, rows, columns)
        images = [np.asarray(getattr(patient, name)[window], np.float32) for name in network.config.inputs]
        made, smooth = predict(network, images, device), np.asarray(patient.smooth[window], np.float32)
        if patient.floor.kind != "none":
            made, smooth = np.maximum(made, FLOOR_HU), np.maximum(smooth, FLOOR_HU)
        inside = lung[:, rows, columns]
        error = emphysema_index(np.rint(made), inside) - emphysema_index(smooth, inside)
        return float(np.abs(made - smooth).mean()), abs(error)


def predict(network: UNet, images: Sequence[FloatArray], device: torch.device) -> FloatArray:
    """Output of the network, float32 (n, rows, columns), HU, computed slice by slice.

    Args:
        network: the network.
        images: its inputs (see ``UNetConfig.inputs``), each (n, rows, columns), HU.
        device: device of the network.
    """
    rows, columns = images[0].shape[1:]
    widths = ((0, -rows % ALIGNMENT), (0, -columns % ALIGNMENT))
    out = np.empty_like(images[0])
    with torch.inference_mode():
        for k, slices in enumerate(zip(*images, strict=True)):
            padded = (torch.from_numpy(np.pad(x, widths, mode="edge"))[None, None].to(device) for x in slices)
            out[k] = network(*padded)[0, 0, :rows, :columns].float().cpu().numpy()
    return out


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=(0, axis))) for axis in (2, 1))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
