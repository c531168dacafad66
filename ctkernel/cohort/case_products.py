"""What is kept of a computed case: rows, metrics, segmentation, picture, page, and the normalized volume."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.lungs.slicer_segmentation import write_segmentation
from EmphysemaQuantLib.core.results.manifest import measurement_manifest
from EmphysemaQuantLib.core.results.measurement import Measurement
from EmphysemaQuantLib.core.results.table import csv_text, measurement_rows
from KernelNormalizationLib.core.arrays import BoolArray
from KernelNormalizationLib.core.io.dicom_export import export_series
from KernelNormalizationLib.core.io.dicom_series import pick_series, series_of_files
from KernelNormalizationLib.core.io.volume_file import VOLUME_SUFFIXES
from KernelNormalizationLib.core.io.writing import write_json
from KernelNormalizationLib.core.methods.protocol import UNCHANGED_KEY
from KernelNormalizationLib.core.provenance.manifest import input_facts
from KernelNormalizationLib.core.volume import CTVolume, Geometry

from ..quantification_files import METRICS_CSV, SEGMENTATION, json_record, write_metrics
from .case import Case
from .case_folder import DICOM, REPORT, ROWS, THUMBNAIL, CaseFolder, write_normalized
from .input_state import files_of
from .rows import case_rows
from .settings import CohortSettings

THUMBNAIL_DPI = 90


@dataclass
class Products:
    """Everything that is written for a case.

    Attributes:
        rows: of the tidy table.
        metrics: the numbers of ``metrics.json``.
        manifest: how they came about, which stands beside them.
        table: what ``metrics.csv`` holds.
        picture: PNG.
        page: report page; ``None`` if none was asked for.
        normalized: synthetic volume; ``None`` where nothing was done.
        record: provenance.
        lung_mask: of all volumes.
        emphysema: bool (k, j, i), of the last volume.
        geometry: of both masks.
        fresh: whether the normalized volume is new.
    """

    rows: list[dict[str, Any]]
    metrics: dict[str, Any]
    manifest: dict[str, Any]
    table: str
    picture: bytes
    page: str | None
    normalized: CTVolume | None
    record: dict[str, Any]
    lung_mask: LungMask
    emphysema: BoolArray
    geometry: Geometry
    fresh: bool = True


def draw_products(
    case: Case, measured: Measurement, soft: Measurement | None, record: dict[str, Any], settings: CohortSettings
) -> Products:
    """Put together what a case leaves; nothing is measured here.

    Args:
        case: the case.
        measured: the scan and its normalized volume.
        soft: the soft partner on the same lung mask.
        record: provenance of the normalization.
        settings: what is wanted.
    """
    page = None
    if settings.report:
        from EmphysemaQuantLib.report.html import page as report_page

        page = report_page(measured, case.id)
    last = measured.volumes[-1]
    return Products(
        rows=case_rows(case, measured, soft, record),
        metrics=json_record(measured),
        manifest=_manifest(measured, soft),
        table=csv_text(measurement_rows(measured)),
        picture=thumbnail(measured),
        page=page,
        normalized=last.ct if last.synthetic else None,
        record=record,
        lung_mask=measured.lung_mask,
        emphysema=last.emphysema,
        geometry=last.ct.geometry,
    )


def _manifest(measured: Measurement, soft: Measurement | None) -> dict[str, Any]:
    """Of the scan and its normalized volume; the soft partner, whose numbers stand in the rows, is named beside."""
    manifest = dict(measurement_manifest(measured))
    if soft is not None:
        manifest["soft_partner"] = input_facts(soft.volumes[0].ct)
    return manifest


def thumbnail(measured: Measurement) -> bytes:
    """PNG of the axial plane with most emphysema: the scan and, beside it, the normalized volume."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from EmphysemaQuantLib.report.figures import draw_view, views

    planes = [picture for picture in views(measured) if picture[0].plane == "axial" and picture[2] is None]
    count = len(planes)
    figure: Any = Figure(figsize=(2.6 * count, 2.2), facecolor="white")
    FigureCanvasAgg(figure)
    for number, (view, title, _) in enumerate(planes):
        # a fixed place: a layout engine takes longer than drawing
        axes = figure.add_axes(((number + 0.01) / count, 0.01, 0.98 / count, 0.89))
        draw_view(axes, view, title.removeprefix("axial, "))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=THUMBNAIL_DPI, metadata={"Software": None})
    return buffer.getvalue()


def write_products(
    products: Products, case: Case, folder: CaseFolder, stages: Sequence[Mapping[str, Any]], settings: CohortSettings
) -> None:
    """Write the normalized part, if it is new, and then the measured part.

    Args:
        products: what to write.
        case: whose.
        folder: where.
        stages: what the normalized and the measured part were made from.
        settings: what is wanted.
    """
    if products.fresh:
        told = {**stages[0], "unchanged": bool(products.record.get(UNCHANGED_KEY))}
        with folder.writing(folder.normalized, told) as private:
            kept = products.normalized if settings.keep_volumes else None
            write_normalized(private, folder.normalized, kept, products.record, products.lung_mask)
    if settings.dicom:
        _write_dicom(products, case, folder)
    with folder.writing(folder.measured, {**stages[1], "products": settings.products()}) as private:
        write_segmentation(private / SEGMENTATION, products.geometry, products.lung_mask, products.emphysema)
        write_json(products.rows, private / ROWS)
        (private / METRICS_CSV).write_text(products.table, encoding="utf-8")
        (private / THUMBNAIL).write_bytes(products.picture)
        if products.page is not None:
            (private / REPORT).write_text(products.page, encoding="utf-8")
        names = sorted(path.name for path in private.iterdir() if not path.name.startswith("."))
        write_metrics(products.metrics, products.manifest, private, names)


def _write_dicom(products: Products, case: Case, folder: CaseFolder) -> None:
    """The synthetic series beside the measurement, where the scan is DICOM; it replaces that of an earlier run."""
    files = files_of(case.scan)
    if products.normalized is None or files[0].name.lower().endswith(VOLUME_SUFFIXES):
        return
    source = pick_series(series_of_files(files, Path(case.scan.path)), case.scan.series)
    new, target = folder.path / ".dicom-new", folder.path / DICOM
    shutil.rmtree(new, ignore_errors=True)
    export_series(products.normalized, [item.path for item in source], products.record, new)
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)
