"""``ctkernel demo``: all steps on one scan: normalize, segment, measure, compare, draw."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from EmphysemaQuantLib.core.results.measurement import measure, segment
from KernelNormalizationLib.core.arrays import EMPHYSEMA_THRESHOLD_HU
from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.io.file_conversion import provenance_path, write_into_set
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.whole_sets import require_set_writable, whole_set
from KernelNormalizationLib.core.io.writing import write_json
from KernelNormalizationLib.core.methods.gate import normalize_gated
from KernelNormalizationLib.core.methods.protocol import DEFAULT_METHOD, UNCHANGED_KEY
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.provenance.manifest import sealed
from KernelNormalizationLib.core.simulated_chest import make_sample
from KernelNormalizationLib.core.volume import CTVolume

from .console import cancellable, print_json, print_lines
from .options import SCAN_HELP, require_no_series
from .quantification_files import METRICS_CSV, METRICS_JSON, SEGMENTATION, result_lines, write_measurement

NORMALIZED, FIGURE = "normalized_B20f_synthetic.nrrd", "comparison.png"
SAMPLE_SEED = 1


def add_demo(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``demo`` to the commands of ``ctkernel``."""
    parser = commands.add_parser(
        "demo", parents=[common], help="normalize and measure your scan, or a simulated chest, with a figure"
    )
    parser.add_argument("scan", type=Path, nargs="?", help=SCAN_HELP + "; without it a simulated chest is used")
    parser.add_argument("--out", type=Path, required=True, help="folder for volume, segmentation, metrics and figure")
    parser.set_defaults(command=demo)


def demo(options: argparse.Namespace) -> None:
    """``ctkernel demo``."""
    if options.scan is None:
        require_no_series(options.series)
    require_set_writable(options.out, (SEGMENTATION, METRICS_JSON, METRICS_CSV, NORMALIZED, FIGURE))
    with cancellable(options.json) as progress:
        outcome = run_demo(options.scan, options.out, options.series, progress)
    if options.json:
        print_json(outcome.metrics)
    else:
        print_lines(outcome.lines)


@dataclass(frozen=True)
class DemoOutcome:
    """What the demo found: metrics (JSON-serializable) and lines for a person."""

    metrics: dict[str, Any]
    lines: list[str]


def run_demo(scan: Path | None, folder: Path, series: str | None, progress: Progress) -> DemoOutcome:
    """Normalize and measure a scan, or a simulated chest, and write the results to ``folder``.

    Args:
        scan: DICOM folder or volume file; ``None`` for the simulated chest.
        folder: for volume, segmentation, metrics and figure.
        series: which series of a DICOM folder.
        progress: receives every step.

    Raises:
        InputError: the scan cannot be read, or needs no normalization.
    """
    # needs matplotlib, which takes a while to load
    from .comparison_figure import draw_comparison

    sample = make_sample(SAMPLE_SEED) if scan is None else None
    volume: CTVolume = sample.sharp if sample is not None else read_volume(scan or "", series)
    result = normalize_gated(create_normalizer(DEFAULT_METHOD), volume, progress)
    if result.record.get(UNCHANGED_KEY):
        raise InputError(
            f"“{volume.name}” is as smooth as B20f already, so there is nothing to normalize and compare; measure it with "
            "ctkernel quantify."
        )
    lung_mask = segment([volume, result.volume], progress)
    measurement = measure([volume, result.volume], lung_mask, provenance={result.volume: result.record}, progress=progress)
    with whole_set(folder) as private:
        metrics = write_measurement(measurement, private)
        if sample is not None:
            metrics["simulated_truth"] = _truth(sample.smooth, sample.true_ei_percent, sample.lungs)
            write_json(sealed(metrics), private / METRICS_JSON)
        write_into_set(result, private / NORMALIZED, provenance_path(private / NORMALIZED).name, folder / NORMALIZED)
        draw_comparison(measurement, private / FIGURE)
    notes = [f"Note: {reason}" for reason in (*result.record["warnings"], *lung_mask.quality.reasons)]
    return DemoOutcome(metrics, [*result_lines(measurement), *_truth_lines(metrics), *notes, f"Files: {folder}", RESEARCH_USE])


def _truth(smooth: CTVolume, object_ei: float, lungs: Any) -> dict[str, float]:
    reconstructed = 100.0 * float((smooth.hu[lungs] < EMPHYSEMA_THRESHOLD_HU).mean())
    return {"object_ei_percent": round(object_ei, 3), "b20f_ei_percent": round(reconstructed, 3)}


def _truth_lines(metrics: dict[str, Any]) -> list[str]:
    truth = metrics.get("simulated_truth")
    if truth is None:
        return []
    return [
        f"Simulated truth: EI {truth['b20f_ei_percent']:.1f} % on the B20f reconstruction of the same raw data, "
        f"{truth['object_ei_percent']:.1f} % in the noise-free object"
    ]
