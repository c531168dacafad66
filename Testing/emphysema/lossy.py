"""What lossy JPEG 2000 does to noise and emphysema index: ``python -m Testing.emphysema.lossy SCAN [SCAN ...]``.

Each slice is compressed to a share of its 16-bit size and read back; lungs are segmented once, on the scan as it is. Printed
for every ratio (16-bit bytes over compressed bytes, as DICOM's LossyImageCompressionRatio): change of the noise (SD of the
lung voxels minus their 3 x 3 in-plane mean, %), and change of EI in percentage points of the scan and of its normalization.
Needs the package pylibjpeg-openjpeg (extra ``dicom``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from openjpeg import decode
from openjpeg.utils import encode_array
from scipy import ndimage

import ctkernel
from EmphysemaQuantLib.core.indices.emphysema_mask import emphysema_mask
from KernelNormalizationLib.core.arrays import BoolArray, FloatArray
from KernelNormalizationLib.core.volume import CTVolume

RATIOS = (2.0, 3.0, 4.0, 5.0, 10.0)
OFFSET_HU = 1024
BYTES = 2


def compressed(hu: FloatArray, ratio: float | None) -> tuple[FloatArray, float]:
    """Voxels after JPEG 2000 (lossless for ``None``), float32 (k, j, i), and the ratio that was reached."""
    stored = np.clip(np.rint(hu) + OFFSET_HU, 0, 65535).astype(np.uint16)
    size, slices = 0, []
    for picture in stored:
        code = encode_array(picture, compression_ratios=None if ratio is None else [ratio], bits_stored=16)
        size += len(code)
        slices.append(decode(code).astype(np.float32) - OFFSET_HU)
    return np.stack(slices), stored.size * BYTES / size


def noise(hu: FloatArray, lungs: BoolArray) -> float:
    """SD (HU) of what is finer than 3 x 3 pixels in the lungs."""
    fine: NDArray[np.float32] = hu - ndimage.uniform_filter(hu, (1, 3, 3))
    return float(fine[lungs].std())


def ei_percent(volume: CTVolume, lungs: BoolArray) -> float:
    """Emphysema index of the lungs, %."""
    return 100.0 * float(emphysema_mask(volume.hu, lungs, -950.0).sum()) / float(lungs.sum())


def main() -> None:
    """Measure the scans and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path, nargs="+")
    parser.add_argument("--method", default="restored", help="normalization method; none leaves it out")
    options = parser.parse_args()
    for path in options.scan:
        scan = ctkernel.read(path)
        lungs = ctkernel.segment_lungs(scan).mask
        methods = [] if options.method == "none" else [options.method]
        before = [ei_percent(volume, lungs) for volume in _volumes(scan, methods)]
        sd = noise(scan.hu, lungs)
        print(f"{path.name}: noise {sd:.1f} HU, EI {' / '.join(f'{v:.2f}' for v in before)} %", flush=True)  # noqa: T201
        for ratio in (None, *RATIOS):
            hu, reached = compressed(scan.hu, ratio)
            after = [
                ei_percent(volume, lungs) for volume in _volumes(scan.with_hu(hu, name=scan.name, synthetic=False), methods)
            ]
            change = " / ".join(f"{b - a:+.2f}" for a, b in zip(before, after, strict=True))
            share = 100.0 * (noise(hu, lungs) / sd - 1.0)
            name = "lossless" if ratio is None else f"{ratio:g}:1"
            print(f"  {name:>8} {reached:5.2f}:1  noise {share:+6.2f} %  EI {change}", flush=True)  # noqa: T201


def _volumes(scan: CTVolume, methods: list[str]) -> list[CTVolume]:
    return [scan, *(ctkernel.normalize(scan, method=method).volume for method in methods)]  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
