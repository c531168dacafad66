"""Lung mask, emphysema and indices of one volume or a pair, written as files a trial can use."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from EmphysemaQuantLib.core.indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU, emphysema_mask
from EmphysemaQuantLib.core.indices.regions import SHELL_NAMES, THIRD_NAMES, Thirds
from EmphysemaQuantLib.core.lungs.label_schemes import read_mask
from EmphysemaQuantLib.core.lungs.segmentation import LungMask, segment_lungs, smoothest
from EmphysemaQuantLib.core.lungs.slicer_segmentation import write_segmentation
from EmphysemaQuantLib.core.results.acquisition_sheet import Patient
from EmphysemaQuantLib.core.results.measurement import Panel
from EmphysemaQuantLib.core.results.table import csv_text
from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.file_conversion import provenance_path
from KernelNormalizationLib.core.io.writing import atomic_path, write_json
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.volume import CTVolume

from .console import table
from .report.results import Report, make_report
from .report.tables import json_record, table_rows

SEGMENTATION, METRICS_JSON, METRICS_CSV = "emphysema.seg.nrrd", "metrics.json", "metrics.csv"
# The indices every table shows, with unit; the files hold all of them.
SHOWN = (
    ("ei_percent", "EI (%)", ".2f"),
    ("ev_ml", "EV (mL)", ".1f"),
    ("tlv_ml", "TLV (mL)", ".0f"),
    ("perc15_hu", "Perc15 (HU)", ".1f"),
    ("mld_hu", "MLD (HU)", ".1f"),
)
# Regions that stand in the files and the report, and would make the printed table long.
NOT_PRINTED = frozenset({*THIRD_NAMES.values(), *SHELL_NAMES.values()})


def lung_mask_for(volumes: Sequence[CTVolume], mask_path: Path | None, progress: Progress) -> LungMask:
    """One lung mask for one or two volumes: read from ``mask_path`` if given, else segmented on the original.

    The airways are followed on the smoother of the two as well; a mask from a file is taken as it is.

    Raises:
        InputError: the mask cannot be used, or the volumes do not share one grid.
        LungNotFoundError: nothing in the original looks like lung.
        Cancelled: the user stopped the run.
    """
    original = next((volume for volume in volumes if not volume.synthetic), volumes[0])
    if mask_path is not None:
        return read_mask(original, mask_path)
    smooth = smoothest(volumes)
    return segment_lungs(original, progress, None if smooth is original else smooth)


def read_provenance(volume_path: Path) -> dict[str, Any]:
    """The provenance record beside a volume file, empty when there is none.

    Raises:
        InputError: there is one, and it is damaged.
    """
    path = provenance_path(volume_path)
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); normalize again, or move it away.") from error
    if not isinstance(record, dict):
        raise InputError(f"{path} holds no provenance record; normalize again, or move it away.")
    return record


def quantify(
    volumes: Sequence[CTVolume],
    lung_mask: LungMask,
    folder: Path,
    threshold_hu: float = EMPHYSEMA_THRESHOLD_HU,
    provenance: Mapping[str, Any] | None = None,
    patient: Patient | None = None,
    by: Thirds = "volume",
) -> Report:
    """Measure volumes on one lung mask and write segmentation, ``metrics.json`` and ``metrics.csv``.

    Args:
        volumes: one volume, or the reference and the one compared with it; the same grid.
        lung_mask: for all of them.
        folder: existing folder to write to; the segmentation shows the emphysema of the last volume.
        threshold_hu: emphysema threshold, HU.
        provenance: record of the normalization of the synthetic volume, if there is one.
        patient: sex, height and weight for the predicted lung volume.
        by: thirds of equal volume or equal height.

    Returns:
        All that was measured; ``metrics.json`` holds its :func:`~.report_tables.json_record`.
    """
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; create it first.")
    partner = volumes[1] if len(volumes) == 2 else None
    report = make_report(
        volumes[0], lung_mask, partner, threshold_hu=threshold_hu, provenance=provenance, patient=patient, by=by
    )
    last = volumes[-1]
    write_segmentation(folder / SEGMENTATION, last.geometry, lung_mask, emphysema_mask(last.hu, lung_mask.mask, threshold_hu))
    write_json(json_record(report), folder / METRICS_JSON)
    with atomic_path(folder / METRICS_CSV) as temporary:
        temporary.write_text(csv_text(table_rows(report)), encoding="utf-8")
    return report


def indices_table(report: Report) -> list[str]:
    """Lines of a table of the main indices, a row a volume and region."""
    rows = [
        [f"{_shown_name(panel)}, {region.region}", *(format(getattr(region, key), form) for key, _, form in SHOWN)]
        for _, panel in report.panels
        for region in panel.regions
        if region.region not in NOT_PRINTED
    ]
    return table(["volume, region", *(label for _, label, _ in SHOWN)], rows)


def _shown_name(panel: Panel) -> str:
    """The volume's name; a file's name may have lost the word that tells it from an original."""
    return f"{panel.name} (synthetic)" if panel.synthetic and "synthetic" not in panel.name else panel.name


def agreement_lines(report: Report) -> list[str]:
    """Lines on how two volumes agree; none for one volume."""
    found = report.agreement
    if found is None:
        return []
    return [
        f"EI change {found.delta_ei_points:+.2f} points, Dice of emphysema {found.dice:.2f}, "
        f"L1 {found.l1_image_hu:.1f} HU (image), {found.l1_body_hu:.1f} HU (body), {found.l1_lung_hu:.1f} HU (lungs)"
    ]
