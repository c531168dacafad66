"""Reference band energies of B20f lungs, relative to the anchor band of the sharp scan, which kernels hardly change."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.imaging.body import find_body
from KernelNormalizationLib.core.kernels.lung_spectrum import ANCHOR, SIGMAS, band_energies

from .evaluation.cases import Case, find_cases, load_case


@dataclass(frozen=True)
class ReferenceEnergies:
    """Band energies of the smooth volumes relative to the anchor band of the sharp volumes, finest band first.

    Attributes:
        patients: number of patients with enough lung.
        mean: mean over the patients.
        spread: standard deviation over the patients.
    """

    patients: int
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]


def reference_energies(folders: Sequence[Path]) -> ReferenceEnergies:
    """Relative energies of the simulated patients in ``folders``, in the lung region that the method finds in use.

    Raises:
        InputError: there is no patient, or none with enough lung.
    """
    paths = [path for folder in folders for path in find_cases(folder)]
    found = [ratios for path in paths if (ratios := _ratios(load_case(path))) is not None]
    if not found:
        raise InputError("No patient shows lung; simulate more slices a patient.")
    ratios = np.array(found)
    return ReferenceEnergies(len(ratios), ratios.mean(axis=0), ratios.std(axis=0, ddof=1 if len(ratios) > 1 else 0))


def _ratios(case: Case) -> NDArray[np.float64] | None:
    region = find_body(case.sharp)
    if region is None or not region.lungs[: case.slices].any():
        return None
    lungs = region.lungs[: case.slices]
    smooth, sharp = (band_energies(volume.filled()[: case.slices], lungs) for volume in (case.smooth, case.sharp))
    return np.asarray(smooth / sharp[ANCHOR])


def main(arguments: list[str] | None = None) -> None:
    """Command line: ``python -m training.band_energies``."""
    parser = argparse.ArgumentParser(description="Relative band energies of simulated B20f lungs.")
    parser.add_argument("folders", type=Path, nargs="+", help="folders made by training.simulate --preset diverse")
    found = reference_energies(parser.parse_args(arguments).folders)
    lines = [f"{found.patients} patients; energy relative to the sharp scan's {SIGMAS[ANCHOR]:g}-pixel band, mean +- SD"]
    for sigma, mean, spread in zip(SIGMAS, found.mean, found.spread, strict=True):
        lines.append(f"sigma {sigma:g} pixels: {mean:.2f} +- {spread:.2f}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
