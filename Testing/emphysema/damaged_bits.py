"""What one changed bit in the compressed pixels of a slice does: ``python -m Testing.emphysema.damaged_bits SERIES``.

DICOM has no checksum of pixels. The command compresses the middle slice of a series, changes one bit at random, and reports how
often the scan is then refused or noted, and what the changes that nobody sees do to the slice.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.dicom_pixels import read_pixels
from KernelNormalizationLib.core.io.dicom_series import find_series, pick_series
from KernelNormalizationLib.core.io.slice_checks import odd_slices, require_whole_slices

from .lossy import TABLE, write_table

TRIES, SEED = 200, 7
Encode = Callable[[Path, Path], None]
COLUMNS = (
    "refused",
    "noted",
    "read, no voxel changed",
    "read with changed voxels",
    "of these: largest change of one voxel (median)",
    "of these: largest change of the EI of that slice",
)
# Voxels of the slice that count as lung or air here.
AIR_HU = -500.0


def main(arguments: list[str] | None = None) -> None:
    """Try every compression on one series, and keep the table with ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("series", type=Path)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"folder for {TABLE}, which the documents show")
    options = parser.parse_args(arguments)
    slices = sorted(pick_series(find_series(options.series), None), key=lambda item: item.position)
    middle = len(slices) // 2
    near = slices[middle - 2 : middle + 3]
    hu = np.stack([read_pixels(item.path) for item in near])
    lines = ["| compression | " + " | ".join(COLUMNS) + " |", "|" + " --- |" * (1 + len(COLUMNS))]
    lines += [_row(name, near[2].path, hu, encode) for name, encode in ENCODERS.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    if options.out:
        write_table(options.out / TABLE, lines, "python -m Testing.emphysema.damaged_bits SERIES")


def _by_pydicom(syntax: UID) -> Encode:
    def encode(source: Path, target: Path) -> None:
        dataset = pydicom.dcmread(source)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(target)

    return encode


def _by_dcmtk(*options: str) -> Encode:
    def encode(source: Path, target: Path) -> None:
        subprocess.run(["dcmcjpeg", *options, str(source), str(target)], check=True, capture_output=True)

    return encode


ENCODERS = {
    "JPEG lossless": _by_dcmtk("+e1"),
    "JPEG lossless, process 14, predictor 6": _by_dcmtk("+el"),
    "JPEG 2000": _by_pydicom(JPEG2000Lossless),
    "JPEG-LS": _by_pydicom(JPEGLSLossless),
    "RLE": _by_pydicom(RLELossless),
}


def _row(name: str, path: Path, hu: np.ndarray, encode: Encode) -> str:
    generator = np.random.default_rng(SEED)
    counts: Counter[str] = Counter()
    unseen: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "slice.dcm"
        encode(path, file)
        whole = file.read_bytes()
        start = whole.rfind(b"\xe0\x7f\x10\x00") + 60
        for _ in range(TRIES):
            at = int(generator.integers(start, len(whole) - 20))
            file.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << int(generator.integers(8)))]) + whole[at + 1 :])
            outcome, change = _outcome(file, hu)
            counts[outcome] += 1
            if outcome == "not seen":
                unseen.append(change)
    cells = [str(counts[outcome]) for outcome in ("refused", "noted", "without effect", "not seen")]
    if unseen:
        hus = [change[0] for change in unseen]
        cells += [f"{max(hus):.0f} HU ({np.median(hus):.0f} HU)", f"{max(change[1] for change in unseen):.2f} points"]
    else:
        cells += ["-", "-"]
    return f"| {name} | {' | '.join(cells)} |"


def _outcome(file: Path, hu: np.ndarray) -> tuple[str, tuple[float, float]]:
    try:
        changed = hu.copy()
        changed[2] = read_pixels(file)
        require_whole_slices(changed, ["slice"] * len(hu))
    except InputError:
        return "refused", (0.0, 0.0)
    if odd_slices(changed):
        return "noted", (0.0, 0.0)
    difference = float(np.abs(changed[2] - hu[2]).max())
    air = hu[2] < AIR_HU
    ei = 100.0 * float((changed[2][air] < -950.0).mean() - (hu[2][air] < -950.0).mean())
    return ("not seen", (difference, abs(ei))) if difference else ("without effect", (0.0, 0.0))


if __name__ == "__main__":
    main()
