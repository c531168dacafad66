"""EI of a scan and of what each method makes of it, as a results file: ``python -m docsite.measure_scan SCAN --out FILE``."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ctkernel
from EmphysemaQuantLib.core.results.measurement import Measurement, VolumeMeasurement
from KernelNormalizationLib.core.errors import RESEARCH_USE, CTKernelError
from KernelNormalizationLib.core.io.writing import write_json
from KernelNormalizationLib.core.methods.protocol import Method

METHODS: tuple[Method, ...] = ("linear", "restored", "unet")


def measure_scan(scan: Path, command: str) -> dict[str, Any]:
    """Indices of both lungs of the scan (``raw``) and of the volume of each method, each pair on one lung mask.

    Args:
        scan: DICOM folder or volume file.
        command: how this was called, for the record.
    """
    volume = ctkernel.read(scan)
    found: dict[str, Any] = {"use": RESEARCH_USE, "provenance": _provenance(command)}
    for method in METHODS:
        smooth = ctkernel.normalize(volume, method=method)
        measured: Measurement = ctkernel.measure([volume, smooth], ctkernel.segment_lungs(volume, smooth))
        raw, normalized = measured.volumes
        found.setdefault("raw", _indices(raw))
        found[method] = _indices(normalized)
    return found


def _indices(volume: VolumeMeasurement) -> dict[str, Any]:
    whole, interval = volume.whole, volume.interval
    return {
        "ei_percent": whole.ei_percent,
        "perc15_hu": whole.perc15_hu,
        "mld_hu": whole.mld_hu,
        "tlv_ml": whole.tlv_ml,
        "airways_ml": volume.airways_ml,
        "ei_low_percent": None if interval is None else interval.low,
        "ei_high_percent": None if interval is None else interval.high,
    }


def _provenance(command: str) -> dict[str, str]:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"command": command, "version": ctkernel.__version__, "date": now}


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=f"{__doc__} {RESEARCH_USE}")
    parser.add_argument("scan", type=Path, help="DICOM folder or volume file")
    parser.add_argument("--out", type=Path, required=True, help="results file (JSON)")
    options = parser.parse_args(arguments)
    try:
        # The folder's own place is nobody's business; its name says which scan it is.
        found = measure_scan(options.scan, f"python -m docsite.measure_scan {options.scan.name} --out {options.out}")
        write_json(found, options.out)
    except CTKernelError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
