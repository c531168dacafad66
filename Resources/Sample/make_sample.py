"""Makes the sample of a real chest CT again from the public series: ``python Resources/Sample/make_sample.py FOLDER``.

``FOLDER`` holds both DICOM series of patient A0001 of Lung-PET-CT-Dx (The Cancer Imaging Archive, CC BY 4.0): one acquisition
of a Philips Brilliance 16 reconstructed with the kernels L and B, 64 slices each, found as in ``README.txt`` beside this file.
Nothing but voxels, their placement and the facts below are written; no other header of the series is.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from KernelNormalizationLib.core.errors import RESEARCH_USE, CTKernelError
from KernelNormalizationLib.core.io.reading import KERNEL_KEY, MANUFACTURER_KEY, NOTES_KEY, read_volume
from KernelNormalizationLib.core.io.writing import atomic_path
from KernelNormalizationLib.core.volume import CTVolume, Geometry

HERE = Path(__file__).resolve().parent
# Ten slices through the middle of the chest, about 1.6 L of lung, and a box 6 pixels wider than the body in them.
SLICES, ROWS, COLUMNS = slice(18, 28), slice(126, 460), slice(50, 448)
FILES = {"L": "chest-philips-L.nrrd", "B": "chest-philips-B.nrrd"}
SOURCE = "Lung-PET-CT-Dx, The Cancer Imaging Archive, doi 10.7937/TCIA.2020.NNC2-0461, CC BY 4.0; cropped and converted to NRRD"


def crop(volume: CTVolume) -> tuple[np.ndarray, Geometry]:
    """Stored HU as int16 (k, j, i) of the box, and its placement."""
    steps = np.array([COLUMNS.start, ROWS.start, SLICES.start, 1.0])
    x, y, z = (float(v) for v in (volume.geometry.ijk_to_lps @ steps)[:3])
    placed = Geometry(volume.geometry.spacing, (x, y, z), volume.geometry.direction)
    return np.rint(volume.hu[SLICES, ROWS, COLUMNS]).astype(np.int16), placed


def write(volume: CTVolume, path: Path) -> str:
    """Write the box of ``volume`` and return the SHA-256 of the voxels, which is the same on every machine."""
    hu, geometry = crop(volume)
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(geometry.spacing[::-1])
    image.SetOrigin(geometry.origin)
    image.SetDirection(np.asarray(geometry.direction).ravel().tolist())
    facts = volume.acquisition
    image.SetMetaData(KERNEL_KEY, facts.kernel or "")
    image.SetMetaData(MANUFACTURER_KEY, facts.manufacturer or "")
    image.SetMetaData("CTKernelNormalization.slice_thickness_mm", f"{facts.slice_thickness_mm:g}")
    image.SetMetaData("CTKernelNormalization.source", SOURCE)
    image.SetMetaData("CTKernelNormalization.use", RESEARCH_USE)
    image.SetMetaData(NOTES_KEY, RESEARCH_USE)
    with atomic_path(path) as temporary:
        sitk.WriteImage(image, str(temporary), useCompression=True, compressionLevel=9)
    return hashlib.sha256(hu.astype("<i2").tobytes()).hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when both files are written, 2 for a folder without the series."""
    parser = argparse.ArgumentParser(description=f"{__doc__} {RESEARCH_USE}")
    parser.add_argument("folder", type=Path, help="folder with both DICOM series")
    parser.add_argument("--out", type=Path, default=HERE, help="where to write (default: beside this file)")
    options = parser.parse_args(arguments)
    try:
        for kernel, name in FILES.items():
            voxels = write(read_volume(options.folder, series=kernel), options.out / name)
            sys.stdout.write(f"{name}: SHA-256 of the voxels {voxels}\n")
    except CTKernelError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
