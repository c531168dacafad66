"""Lung mask, emphysema and indices of one volume or a pair, written as files a trial can use."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from EmphysemaQuantLib.core.agreement import Agreement, compare_volumes
from EmphysemaQuantLib.core.emphysema import EMPHYSEMA_THRESHOLD_HU, emphysema_mask
from EmphysemaQuantLib.core.indices import RegionIndices, compute_indices
from EmphysemaQuantLib.core.lungs import LungMask, segment_lungs
from EmphysemaQuantLib.core.masks import read_mask
from EmphysemaQuantLib.core.segfile import write_segmentation
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.volume import CTVolume
from KernelNormalizationLib.core.write import RESEARCH_USE, atomic_path, write_json

from .console import table
from .report_tables import safe_cell

SEGMENTATION, METRICS_JSON, METRICS_CSV = "emphysema.seg.nrrd", "metrics.json", "metrics.csv"
# The indices every table shows, with unit; the files hold all of them.
SHOWN = (
    ("ei_percent", "EI (%)", ".2f"),
    ("ev_ml", "EV (mL)", ".1f"),
    ("tlv_ml", "TLV (mL)", ".0f"),
    ("perc15_hu", "Perc15 (HU)", ".1f"),
    ("mld_hu", "MLD (HU)", ".1f"),
)


def lung_mask_for(volume: CTVolume, mask_path: Path | None, progress: Progress) -> LungMask:
    """The lung mask of ``volume``: read from ``mask_path`` if given, else segmented."""
    return read_mask(volume, mask_path) if mask_path is not None else segment_lungs(volume, progress)


def quantify(
    volumes: Sequence[CTVolume], lung_mask: LungMask, folder: Path, threshold_hu: float = EMPHYSEMA_THRESHOLD_HU
) -> dict[str, Any]:
    """Measure volumes on one lung mask and write segmentation, ``metrics.json`` and ``metrics.csv``.

    Args:
        volumes: one volume, or the reference and the one compared with it; the same grid.
        lung_mask: for all of them.
        folder: existing folder to write to; the segmentation shows the emphysema of the last volume.
        threshold_hu: emphysema threshold, HU.

    Returns:
        What ``metrics.json`` holds.
    """
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; create it first.")
    indices = [(volume, compute_indices(volume, lung_mask, threshold_hu)) for volume in volumes]
    agreement = compare_volumes(volumes[0], volumes[1], lung_mask, threshold_hu) if len(volumes) == 2 else None
    metrics = metrics_of(indices, agreement, lung_mask)
    last = volumes[-1]
    write_segmentation(folder / SEGMENTATION, last.geometry, lung_mask, emphysema_mask(last.hu, lung_mask.mask, threshold_hu))
    write_json(metrics, folder / METRICS_JSON)
    write_metrics_csv(indices, folder / METRICS_CSV)
    return metrics


def metrics_of(
    indices: Sequence[tuple[CTVolume, list[RegionIndices]]], agreement: Agreement | None, lung_mask: LungMask
) -> dict[str, Any]:
    """JSON-serializable metrics: every region of every volume, and their agreement when there are two."""
    return {
        "use": RESEARCH_USE,
        "lung_mask": {"verdict": lung_mask.quality.verdict, "reasons": list(lung_mask.quality.reasons)},
        "volumes": [
            {"name": volume.name, "synthetic": volume.synthetic, "regions": [asdict(region) for region in regions]}
            for volume, regions in indices
        ],
        "agreement": None if agreement is None else asdict(agreement),
    }


def write_metrics_csv(indices: Sequence[tuple[CTVolume, list[RegionIndices]]], path: Path) -> None:
    """One row a volume and region; units stand in the column names."""
    rows = [
        {"volume": safe_cell(volume.name), "synthetic": volume.synthetic, **asdict(region), "use": RESEARCH_USE}
        for volume, regions in indices
        for region in regions
    ]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def indices_table(metrics: dict[str, Any]) -> list[str]:
    """Lines of a table of the main indices, a row a volume and region."""
    rows = [
        [f"{volume['name']}, {region['region']}", *(format(region[key], form) for key, _, form in SHOWN)]
        for volume in metrics["volumes"]
        for region in volume["regions"]
    ]
    return table(["volume, region", *(label for _, label, _ in SHOWN)], rows)


def agreement_lines(metrics: dict[str, Any]) -> list[str]:
    """Lines on how two volumes agree; none for one volume."""
    found = metrics["agreement"]
    if found is None:
        return []
    return [
        f"EI change {found['delta_ei_points']:+.2f} points, Dice of emphysema {found['dice']:.2f}, "
        f"L1 {found['l1_image_hu']:.1f} HU (image), {found['l1_body_hu']:.1f} HU (body), {found['l1_lung_hu']:.1f} HU (lungs)"
    ]
