"""The report of one quantified scan: a PDF page, a self-contained web page, CSV and JSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from EmphysemaQuantLib.core.acquisition import Patient
from EmphysemaQuantLib.core.agreement import Agreement, compare_volumes
from EmphysemaQuantLib.core.emphysema import EMPHYSEMA_THRESHOLD_HU
from EmphysemaQuantLib.core.interval import EIInterval
from EmphysemaQuantLib.core.lungs import LungMask
from EmphysemaQuantLib.core.panel import Panel, measure_panel
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.volume import CTVolume

logger = logging.getLogger(__name__)

PDF_NAME, HTML_NAME = "report.pdf", "report.html"
CSV_NAME, JSON_NAME = "indices.csv", "indices.json"


@dataclass(frozen=True)
class Report:
    """Everything a report shows; build it with :func:`make_report`.

    Attributes:
        raw: the volume as reconstructed.
        normalized: its normalized partner on the same grid, or ``None``.
        lung_mask: one mask for both.
        raw_panel: measurements on ``raw``.
        normalized_panel: measurements on ``normalized``, or ``None``.
        agreement: raw (reference) against normalized, or ``None``.
        provenance: record of the normalization (method, model hash, versions); empty without one.
        interval: interval of the normalized EI, or ``None`` when no error is known.
        label: heading chosen by the caller; never taken from the scan.
    """

    raw: CTVolume
    normalized: CTVolume | None
    lung_mask: LungMask
    raw_panel: Panel
    normalized_panel: Panel | None
    agreement: Agreement | None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    interval: EIInterval | None = None
    label: str | None = None

    @property
    def panels(self) -> tuple[tuple[str, Panel], ...]:
        """("raw", panel) and, when there is one, ("normalized", panel)."""
        raw = ("raw", self.raw_panel)
        return (raw,) if self.normalized_panel is None else (raw, ("normalized", self.normalized_panel))

    @property
    def title(self) -> str:
        """Heading: the caller's label, or the volume's name."""
        return self.label or self.raw.name


def make_report(
    raw: CTVolume,
    lung_mask: LungMask,
    normalized: CTVolume | None = None,
    *,
    threshold_hu: float = EMPHYSEMA_THRESHOLD_HU,
    provenance: Mapping[str, Any] | None = None,
    interval: EIInterval | None = None,
    patient: Patient | None = None,
    label: str | None = None,
) -> Report:
    """Measure everything a report shows.

    Args:
        raw: the volume as reconstructed.
        lung_mask: lungs of both volumes.
        normalized: normalized partner on the same grid.
        threshold_hu: HU of the emphysema index.
        provenance: record of the normalization.
        interval: interval of the normalized EI.
        patient: sex, height and weight for the predicted lung volume.
        label: heading instead of the volume's name; give a patient's name only if it may appear.

    Raises:
        InputError: the mask is empty, or the volumes do not share one grid.
    """
    agreement = None if normalized is None else compare_volumes(raw, normalized, lung_mask, threshold_hu)
    return Report(
        raw=raw,
        normalized=normalized,
        lung_mask=lung_mask,
        raw_panel=measure_panel(raw, lung_mask, threshold_hu, patient=patient),
        normalized_panel=None if normalized is None else measure_panel(normalized, lung_mask, threshold_hu),
        agreement=agreement,
        provenance=dict(provenance or {}),
        interval=interval,
        label=label,
    )


def write_report(report: Report, folder: Path) -> dict[str, Path]:
    """Write PDF, HTML, CSV and JSON into an existing folder, each whole or not at all.

    Args:
        report: what to write.
        folder: existing folder; files of an earlier report there are replaced.

    Returns:
        "pdf", "html", "csv" and "json" -> path.

    Raises:
        InputError: the folder does not exist.
    """
    # drawing needs matplotlib, which tables alone should not load
    from .report_html import write_html
    from .report_pdf import write_pdf
    from .report_tables import write_indices_csv, write_indices_json

    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; create it first.")
    paths = {
        "pdf": folder / PDF_NAME,
        "html": folder / HTML_NAME,
        "csv": folder / CSV_NAME,
        "json": folder / JSON_NAME,
    }
    write_pdf(report, paths["pdf"])
    write_html(report, paths["html"])
    write_indices_csv(report, paths["csv"])
    write_indices_json(report, paths["json"])
    logger.info("Report of %s written to %s", report.title, folder)
    return paths
