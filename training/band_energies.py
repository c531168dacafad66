"""Reference band energies of B20f lungs, relative to the anchor band, which the frequency-band method brings every scan to."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from KernelNormalizationLib.core.bands import ANCHOR, SIGMAS, band_energies

from .patches import patient_files

# As the coarse lung region of the method: its border stays a block of 4 pixels inside the lung.
EROSION_PIXELS = 4


@dataclass(frozen=True)
class ReferenceEnergies:
    """Mean and standard deviation over patients of each band's energy relative to the anchor band's, finest band first."""

    patients: int
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]


def reference_energies(folder: Path) -> ReferenceEnergies:
    """Relative energies of the smooth volumes of the simulated patients in ``folder``."""
    energies = np.array([_energies(path) for path in patient_files(folder)])
    energies /= energies[:, ANCHOR : ANCHOR + 1]
    return ReferenceEnergies(len(energies), energies.mean(axis=0), energies.std(axis=0, ddof=1))


def _energies(path: Path) -> NDArray[np.float64]:
    with np.load(path) as data:
        smooth, lung = data["smooth"].astype(np.float32), data["lung"]
        padding = json.loads(str(data["meta"]))["padding"]
    if padding is not None:
        smooth[smooth == padding] = -1000.0
    image = sitk.GetImageFromArray((lung > 0).astype(np.uint8))
    inside = sitk.GetArrayFromImage(sitk.BinaryErode(image, [EROSION_PIXELS, EROSION_PIXELS, 0])) > 0
    return band_energies(smooth, inside)


def main(arguments: list[str] | None = None) -> None:
    """Command line: ``python -m training.band_energies``."""
    parser = argparse.ArgumentParser(description="Relative band energies of simulated B20f lungs.")
    parser.add_argument("folder", type=Path, help="folder made by training.simulate --preset diverse")
    found = reference_energies(parser.parse_args(arguments).folder)
    lines = [f"{found.patients} patients; energy relative to the anchor band (sigma {SIGMAS[ANCHOR]:g} pixels), mean +- SD"]
    for sigma, mean, spread in zip(SIGMAS, found.mean, found.spread, strict=True):
        lines.append(f"sigma {sigma:g} pixels: {mean:.2f} +- {spread:.2f}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
