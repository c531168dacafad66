"""What lossy JPEG 2000 does to noise and emphysema index: ``python -m Testing.emphysema.lossy SCAN [SCAN ...]``.

Each slice is compressed to a share of its 16-bit size and read back; lungs are segmented once, on the scan as it is. Printed
for every ratio (16-bit bytes over compressed bytes, as DICOM's LossyImageCompressionRatio): change of the noise (SD of the
lung voxels minus their 3 x 3 in-plane mean, %), and change of EI in percentage points of the scan and of its normalization.
Needs the package pylibjpeg-openjpeg (extra ``dicom``).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from openjpeg import decode
from openjpeg.utils import encode_array
from scipy import ndimage

import ctkernel
from EmphysemaQuantLib.core.indices.emphysema_mask import emphysema_mask
from KernelNormalizationLib.core.arrays import BoolArray, FloatArray
from KernelNormalizationLib.core.io.writing import atomic_path
from KernelNormalizationLib.core.volume import CTVolume
from training.evaluation.report import Provenance

RATIOS = (3.0, 4.0, 5.0, 10.0)
OFFSET_HU = 1024
TABLE = "table.md"
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


@dataclass(frozen=True)
class Change:
    """What compression to one ratio changed in a scan.

    Attributes:
        ratio: that was asked for; ``None`` for lossless.
        reached: 16-bit bytes over compressed bytes.
        noise_percent: change of the noise.
        ei_points: change of EI of the scan and, where there is a method, of its normalization.
    """

    ratio: float | None
    reached: float
    noise_percent: float
    ei_points: tuple[float, ...]


@dataclass(frozen=True)
class Measured:
    """A scan: its name, noise (HU) and EI (%, scan and normalized) as it is, and what every ratio changed."""

    name: str
    noise_hu: float
    ei_percent: tuple[float, ...]
    changes: tuple[Change, ...]


def main(arguments: list[str] | None = None) -> None:
    """Measure the scans; print a line for every ratio, and keep the table with ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path, nargs="+")
    parser.add_argument("--method", default="restored", help="normalization method; none leaves it out")
    parser.add_argument("--ratios", type=float, nargs="+", default=RATIOS, help="16-bit size over compressed size")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"folder for {TABLE}, which the documents show")
    options = parser.parse_args(arguments)
    methods = [] if options.method == "none" else [options.method]
    found = [measure(path, methods, options.ratios) for path in options.scan]
    if options.out:
        command = f"python -m Testing.emphysema.lossy --ratios {' '.join(f'{r:g}' for r in options.ratios)} SCAN …"
        write_table(options.out / TABLE, table(found), command)


def measure(path: Path, methods: list[str], ratios: Sequence[float]) -> Measured:
    """One scan, with lungs segmented once, on the scan as it is."""
    scan = ctkernel.read(path)
    lungs = ctkernel.segment_lungs(scan).mask
    before = tuple(ei_percent(volume, lungs) for volume in _volumes(scan, methods))
    sd = noise(scan.hu, lungs)
    name = scan.acquisition.kernel or path.name
    _say(f"{name}: noise {sd:.1f} HU, EI {' / '.join(f'{v:.2f}' for v in before)} %")
    changes = []
    for ratio in (None, *ratios):
        hu, reached = compressed(scan.hu, ratio)
        volumes = _volumes(scan.with_hu(hu, name=scan.name, synthetic=False), methods)
        points = tuple(ei_percent(volume, lungs) - was for volume, was in zip(volumes, before, strict=True))
        changes.append(Change(ratio, reached, 100.0 * (noise(hu, lungs) / sd - 1.0), points))
        _say(f"  {reached:5.2f}:1  noise {changes[-1].noise_percent:+6.2f} %  EI {_points(points)}")
    return Measured(name, sd, before, tuple(changes))


def table(found: Sequence[Measured]) -> list[str]:
    """Markdown: a row for every ratio, two columns for every scan; lossless is named with the ratio of each scan."""
    heads = [f"{m.name}: {what}" for m in found for what in ("noise", "EI, scan / normalized")]
    lines = ["| " + " | ".join(["ratio", *heads]) + " |", "|" + " --- |" * (1 + len(heads))]
    first = [(f"{m.noise_hu:.1f} HU", " / ".join(f"{v:.2f}" for v in m.ei_percent) + " %") for m in found]
    lines.append("| " + " | ".join(["uncompressed", *(c for cell in first for c in cell)]) + " |")
    for row in zip(*(m.changes for m in found), strict=True):
        cells = [(f"{_signed(c.noise_percent, 1)} %", f"{_points(c.ei_points)} points") for c in row]
        reached = ", ".join(f"{c.reached:.1f}" for c in row)
        name = f"lossless ({reached} : 1)" if row[0].ratio is None else f"{row[0].ratio:g} : 1"
        lines.append("| " + " | ".join([name, *(c for cell in cells for c in cell)]) + " |")
    return lines


def write_table(path: Path, lines: Sequence[str], command: str) -> None:
    """A results file in Markdown: the table, and how it was made."""
    made = Provenance.now(command, {})
    text = [*lines, "", f"Made by `{command}` on {made.date}, commit {made.commit[:10]}. Research use only."]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(text) + "\n", encoding="utf-8")


def _signed(value: float, decimals: int) -> str:
    # "-0.00" would look like a change
    return f"{round(value, decimals) + 0.0:+.{decimals}f}" if round(value, decimals) else f"{0.0:.{decimals}f}"


def _points(values: Sequence[float]) -> str:
    return " / ".join(_signed(v, 2) for v in values)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _volumes(scan: CTVolume, methods: list[str]) -> list[CTVolume]:
    return [scan, *(ctkernel.normalize(scan, method=method).volume for method in methods)]  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
