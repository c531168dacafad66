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
    width = max(len(name) for name in facts)
    lines = [f"{name.replace('_', ' '):<{width}}  {_shown(value)}" for name, value in facts.items()]
    print_lines([*lines, RESEARCH_USE])


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


def _shown(value: Any) -> str:
    if value is None:
        return "not stated"
    if isinstance(value, list):
        return "; ".join(str(v) for v in value) if value and isinstance(value[0], str) else " x ".join(str(v) for v in value)
    return str(value)
