"""``ctkernel info``: what a scan is and whether it can be normalized."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import RESEARCH_USE
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.kernels.told_kernel import parse_told_kernel, with_told_kernel
from KernelNormalizationLib.core.suitability import assess
from KernelNormalizationLib.core.volume import CTVolume

from .console import print_json, print_lines
from .options import SCAN_HELP, add_kernel

# Keys of the facts in the order in which a person reads them, with their labels. Programs read the keys (--json).
LABELS = {
    "verdict": "verdict",
    "reasons": "why",
    "name": "name",
    "synthetic": "synthetic",
    "kernel": "kernel in the header",
    "kernel_told_by_user": "kernel named by you",
    "kernel_in_words": "kernel in words",
    "kernel_sharpness": "sharpness of that kernel",
    "reconstruction": "reconstruction",
    "kernel_number_from_noise": "noise as sharp as that of",
    "kernel_contradicted_by_noise": "noise contradicts the kernel",
    "manufacturer": "manufacturer",
    "scanner_model": "scanner",
    "tube_voltage_kv": "tube voltage (kV)",
    "contrast_agent": "contrast agent",
    "slices_rows_columns": "slices x rows x columns",
    "spacing_mm": "their spacing (mm)",
    "slice_thickness_mm": "slice thickness (mm)",
    "padding_hu": "padding outside the field of view (HU)",
    "floor_kind": "kind of HU floor",
    "floor_hu": "HU floor (HU)",
    "lung_voxels_at_floor_percent": "lung voxels at the HU floor (%)",
    "noise_read_in": "noise was read in",
    "noise_sd_hu": "noise, SD (HU)",
    "noise_rho1": "noise, correlation of neighbouring pixels",
    "noise_misfit_to_b_family": "noise, misfit to the Siemens B kernels",
}


def add_info(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``info`` to the commands of ``ctkernel``."""
    parser = commands.add_parser("info", parents=[common], help="say what a scan is and whether it can be normalized")
    parser.add_argument("scan", type=Path, help=SCAN_HELP)
    add_kernel(parser)
    parser.set_defaults(command=info)


def info(options: argparse.Namespace) -> None:
    """``ctkernel info``."""
    parse_told_kernel(options.kernel)
    facts = describe(with_told_kernel(read_volume(options.scan, options.series), options.kernel))
    if options.json:
        print_json(facts)
        return
    width = max(len(label) for label in LABELS.values())
    lines = [(label, line) for key, label in LABELS.items() for line in _shown(key, facts[key])]
    shown = [f"{'' if n and label == lines[n - 1][0] else label:<{width}}  {text}" for n, (label, text) in enumerate(lines)]
    print_lines([*shown, RESEARCH_USE])


def describe(volume: CTVolume) -> dict[str, Any]:
    """What a scan is: geometry, acquisition, floor, sharpness and verdict; JSON-serializable."""
    slices, rows, columns = volume.shape
    facts = volume.acquisition
    return {
        "name": volume.name,
        "slices_rows_columns": [slices, rows, columns],
        "spacing_mm": [round(s, 4) for s in volume.geometry.spacing],
        "kernel": facts.kernel,
        "kernel_told_by_user": facts.told_kernel,
        "manufacturer": facts.manufacturer,
        "scanner_model": facts.scanner_model,
        "slice_thickness_mm": facts.slice_thickness_mm,
        "tube_voltage_kv": facts.tube_voltage_kv,
        "contrast_agent": facts.contrast_agent,
        "padding_hu": volume.padding_value,
        "synthetic": volume.synthetic,
        **assess(volume).as_record(),
    }


def _shown(key: str, value: Any) -> list[str]:
    """A fact in one line, or in several: one for each reason."""
    if key == "reasons":
        return list(value)
    if value is None:
        return ["not stated"]
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, list):
        return [" x ".join(str(part) for part in value)]
    return [f"B{value:.0f}f"] if key == "kernel_number_from_noise" else [str(value)]
