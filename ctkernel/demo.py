"""The whole way on one scan: normalize, segment, measure, compare, draw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from EmphysemaQuantLib.core.results.measurement import measure, segment
from KernelNormalizationLib.core.errors import RESEARCH_USE
from KernelNormalizationLib.core.io.file_conversion import provenance_path
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.whole_sets import whole_set
from KernelNormalizationLib.core.io.writing import write_json, write_volume
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.network.backends import Device
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.simulated_chest import make_sample
from KernelNormalizationLib.core.volume import CTVolume

from .comparison_figure import draw_comparison
from .quantification_files import METRICS_JSON, result_lines, write_measurement

NORMALIZED, FIGURE = "normalized_B20f_synthetic.nrrd", "comparison.png"
SAMPLE_SEED = 1


@dataclass(frozen=True)
class DemoOutcome:
    """What the demo found: metrics (JSON-serializable) and lines for a person."""

    metrics: dict[str, Any]
    lines: list[str]


def run_demo(scan: Path | None, folder: Path, series: str | None, device: Device, progress: Progress) -> DemoOutcome:
    """Normalize and measure a scan, or a simulated chest, and write the results to ``folder``.

    Args:
        scan: DICOM folder or volume file; ``None`` for the simulated chest.
        folder: for volume, segmentation, metrics and figure.
        series: which series of a DICOM folder.
        device: where the network computes.
        progress: receives every step.
    """
    sample = make_sample(SAMPLE_SEED) if scan is None else None
    volume: CTVolume = sample.sharp if sample is not None else read_volume(scan or "", series)
    result = create_normalizer("unet", device=device).normalize(volume, progress)
    lung_mask = segment([volume, result.volume], progress)
    measurement = measure([volume, result.volume], lung_mask, provenance={result.volume: result.record}, progress=progress)
    with whole_set(folder) as private:
        metrics = write_measurement(measurement, private)
        if sample is not None:
            metrics["simulated_truth"] = _truth(sample.smooth, sample.true_ei_percent, sample.lungs)
            write_json(metrics, private / METRICS_JSON)
        write_volume(result.volume, private / NORMALIZED, folder / NORMALIZED)
        write_json(result.record, provenance_path(private / NORMALIZED))
        draw_comparison(measurement, private / FIGURE)
    notes = [f"Note: {reason}" for reason in (*result.record["warnings"], *lung_mask.quality.reasons)]
    return DemoOutcome(metrics, [*result_lines(measurement), *_truth_lines(metrics), *notes, f"Files: {folder}", RESEARCH_USE])


def _truth(smooth: CTVolume, object_ei: float, lungs: Any) -> dict[str, float]:
    reconstructed = 100.0 * float((smooth.hu[lungs] < -950.0).mean())
    return {"object_ei_percent": round(object_ei, 3), "b20f_ei_percent": round(reconstructed, 3)}


def _truth_lines(metrics: dict[str, Any]) -> list[str]:
    truth = metrics.get("simulated_truth")
    if truth is None:
        return []
    return [
        f"Simulated truth: EI {truth['b20f_ei_percent']:.1f} % on the B20f reconstruction of the same raw data, "
        f"{truth['object_ei_percent']:.1f} % in the noise-free object"
    ]
