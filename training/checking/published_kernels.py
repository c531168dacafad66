"""Kernels with a published noise spectrum, 18 of Siemens and 8 of GE, for simulated scans whose kernel is known.

Source of the Siemens spectra: as of the GE ones (:mod:`KernelNormalizationLib.core.kernels.ge_kernels`), probably of a
Definition Flash. The product's models were fitted to nine of them, so the other nine test how it treats a kernel that it does
not know.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from KernelNormalizationLib.core.kernels.ge_kernels import published_spectra, transfer_of_noise
from KernelNormalizationLib.core.kernels.noise_spectrum import Transfer

_SIEMENS = Path(__file__).with_name("siemens_noise_spectra.csv")


@dataclass(frozen=True)
class PublishedKernel:
    """A kernel whose transfer follows from its published noise spectrum.

    Attributes:
        tag: as in the header, such as ``"B31f"`` or ``"LUNG"``.
        maker: manufacturer in the header.
        number: number of a Siemens kernel, else ``None``.
        transfer: against frequency, lp/cm.
    """

    tag: str
    maker: str
    number: float | None
    transfer: Transfer

    def mtf(self, frequency: ArrayLike) -> NDArray[np.float64]:
        """Transfer at ``frequency`` (lp/cm)."""
        return self.transfer(np.asarray(frequency, np.float64))


@lru_cache(maxsize=1)
def siemens_spectra() -> dict[str, NDArray[np.float64]]:
    """For each kernel name, such as ``"b31f"``, an array (2, 100): frequency in lp/cm and normalized noise power in mm^2."""
    points: dict[str, list[tuple[float, float]]] = {}
    with _SIEMENS.open(newline="", encoding="ascii") as stream:
        for row in csv.DictReader(stream):
            points.setdefault(row["kernel"], []).append((float(row["lp_per_cm"]), float(row["nnps_mm2"])))
    return {name: np.array(values).T for name, values in points.items()}


def published_kernels() -> list[PublishedKernel]:
    """All of them, Siemens from smooth to sharp, then GE."""
    siemens = [
        PublishedKernel(f"B{name[1:]}", "SIEMENS", float(name[1:3]), transfer_of_noise(*spectrum))
        for name, spectrum in sorted(siemens_spectra().items())
    ]
    ge = [
        PublishedKernel(name.upper(), "GE MEDICAL SYSTEMS", None, transfer_of_noise(*spectrum))
        for name, spectrum in published_spectra().items()
    ]
    return siemens + ge
