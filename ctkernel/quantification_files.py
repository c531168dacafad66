"""Lung mask, emphysema and indices of one volume or a pair, written as files for further analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from EmphysemaQuantLib.core.indices.clusters import SIZE_CLASS_NAMES
from EmphysemaQuantLib.core.lungs.label_schemes import parse_labels
from EmphysemaQuantLib.core.lungs.mask_files import read_mask
from EmphysemaQuantLib.core.lungs.quality_verdict import require_usable
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.lungs.slicer_segmentation import write_segmentation
from EmphysemaQuantLib.core.results.acquisition_sheet import sharp_kernel_warning
from EmphysemaQuantLib.core.results.manifest import measurement_manifest
from EmphysemaQuantLib.core.results.measurement import Measurement, VolumeMeasurement, original_first, segment
from EmphysemaQuantLib.core.results.table import csv_text, measurement_rows
from EmphysemaQuantLib.core.results.wording import (
    SHOWN_INDICES,
    agreement_sentences,
    gate_sentences,
    interval_sentences,
    shown_name,
)
from EmphysemaQuantLib.report.writing import HTML_NAME, PDF_NAME, write_report
from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.io.file_conversion import provenance_path
from KernelNormalizationLib.core.io.json_file import read_json
from KernelNormalizationLib.core.io.whole_sets import finish_interrupted, whole_set
from KernelNormalizationLib.core.io.writing import atomic_path, write_json
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.provenance.hashes import voxels_sha256
from KernelNormalizationLib.core.provenance.manifest import (
    FILES_KEY,
    file_hashes,
    recorded_voxels,
    require_known_schema,
    require_record_of,
    require_unchanged,
    sealed,
)
from KernelNormalizationLib.core.volume import CTVolume

from .console import table

MANIFEST_KEY = "manifest"  # of metrics.json: how the numbers came about
SEGMENTATION, METRICS_JSON, METRICS_CSV = "emphysema.seg.nrrd", "metrics.json", "metrics.csv"
# Files of one quantification, which are written together.
SET_NAMES = (SEGMENTATION, METRICS_JSON, METRICS_CSV, PDF_NAME, HTML_NAME)


def lung_mask_for(
    volumes: Sequence[CTVolume], mask_path: Path | None, progress: Progress, mask_labels: str | None = None
) -> LungMask:
    """One lung mask for one or two volumes: read from ``mask_path`` if given, else segmented on the original.

    ``mask_labels`` says what the numbers of the file mean, as :func:`EmphysemaQuantLib.core.lungs.label_schemes.parse_labels`
    reads it.

    Raises:
        InputError: the mask cannot be used, or the volumes do not share one grid.
        LungNotFoundError: nothing in the original looks like lung.
        Cancelled: the user stopped the run.
    """
    if mask_path is not None:
        labels = parse_labels(mask_labels) if mask_labels is not None else None
        return read_mask(original_first(volumes)[0], mask_path, labels)
    return segment(volumes, progress)


def read_provenance(volume_path: Path) -> dict[str, Any]:
    """The provenance record beside a volume file, empty when there is none.

    Raises:
        InputError: there is one, and it is damaged, was changed, or is of a later version of this software.
    """
    finish_interrupted(volume_path.parent)
    path = provenance_path(volume_path)
    if not path.exists():
        return {}
    try:
        record = read_json(path)
    except InputError as error:
        raise InputError(f"{error} Without it the volume's origin is unknown: normalize again.") from error
    if not isinstance(record, dict):
        raise InputError(f"{path} holds no provenance record; normalize again, or move it away.")
    require_known_schema(record, path.name)
    require_unchanged(record, path.name)
    return record


def records_of(volumes: Mapping[CTVolume, Path]) -> dict[CTVolume, dict[str, Any]]:
    """The provenance record of every synthetic volume; empty where there is none.

    Args:
        volumes: volume -> file or folder that it was read from.

    Raises:
        InputError: a record is damaged, was changed or describes other voxels; or a volume has lost its mark as synthetic.
    """
    found = {}
    for volume, path in volumes.items():
        record = read_provenance(path)
        if volume.synthetic:
            require_record_of(volume, record)
            found[volume] = record
        elif record.get("synthetic") and recorded_voxels(record) == voxels_sha256(volume.hu):
            raise InputError(
                f"{path.name} holds a synthetic volume, as the record beside it shows, but its header no longer says so: "
                "another program wrote it anew. Normalize again, and use that file."
            )
    return found


def write_measurement_set(
    measurement: Measurement, folder: Path, report: bool, progress: Progress | None = None
) -> dict[str, Any]:
    """Write all files of a measurement as one set; those of an older one in ``folder`` are replaced together.

    Args:
        measurement: what was measured.
        folder: made if it does not exist.
        report: whether to write the report too.
        progress: asked before the files get their place whether the user wants to stop.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        InputError: the folder cannot be written to; nothing is changed.
        LungNotFoundError: the mask's verdict is "failed"; nothing is changed.
        Cancelled: the user stopped; nothing is changed.
    """
    require_usable(measurement.lung_mask.quality)
    with whole_set(folder, SET_NAMES) as private:
        reports = [path.name for path in write_report(measurement, private).values()] if report else []
        record = write_measurement(measurement, private, reports)
        if progress is not None:
            progress.check_cancelled()
        return record


def write_measurement(measurement: Measurement, folder: Path, reports: Sequence[str] = ()) -> dict[str, Any]:
    """Write segmentation, ``metrics.csv`` and, last, ``metrics.json`` with the hashes of all files of the set.

    Args:
        measurement: what was measured.
        folder: existing folder to write to; the segmentation shows the emphysema of the last volume (the synthetic one of a
            pair with an original).
        reports: names of the report's files, which lie in ``folder`` already.

    Returns:
        What ``metrics.json`` holds: :func:`json_record` and, as ``manifest``, how it came about.

    Raises:
        InputError: the folder does not exist.
        LungNotFoundError: the mask's verdict is "failed"; nothing is written.
    """
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; create it first.")
    require_usable(measurement.lung_mask.quality)
    last = measurement.volumes[-1]
    write_segmentation(folder / SEGMENTATION, last.ct.geometry, measurement.lung_mask, last.emphysema)
    with atomic_path(folder / METRICS_CSV) as temporary:
        temporary.write_text(csv_text(measurement_rows(measurement)), encoding="utf-8")
    written = (SEGMENTATION, METRICS_CSV, *reports)
    return write_metrics(json_record(measurement), measurement_manifest(measurement), folder, written)


def write_metrics(
    numbers: Mapping[str, Any], manifest: Mapping[str, Any], folder: Path, written: Sequence[str]
) -> dict[str, Any]:
    """Write ``metrics.json``, the last file of a set.

    Args:
        numbers: :func:`json_record`.
        manifest: how they came about.
        folder: of the set.
        written: names of its other files, whose hashes go on record.

    Returns:
        What the file holds.
    """
    record = sealed({**numbers, MANIFEST_KEY: {**manifest, FILES_KEY: file_hashes(folder, written)}})
    write_json(record, folder / METRICS_JSON)
    return record


def json_record(measurement: Measurement) -> dict[str, Any]:
    """The measurement as JSON-serializable data; keys carry their unit as suffix (``_hu``, ``_ml``, ``_percent`` …).

    Interval and provenance are stored with the volume that they belong to.
    """
    return {
        "use": RESEARCH_USE,
        "lung_mask": asdict(measurement.lung_mask.quality),
        "volumes": [_volume_record(volume) for volume in measurement.volumes],
        "agreement": None if measurement.agreement is None else asdict(measurement.agreement),
    }


def _volume_record(volume: VolumeMeasurement) -> dict[str, Any]:
    return {
        "kind": volume.kind,
        "name": volume.name,
        "synthetic": volume.synthetic,
        "threshold_hu": volume.threshold_hu,
        "regions": [asdict(region) for region in volume.regions],
        "ei_interval": None if volume.interval is None else asdict(volume.interval),
        "perc15_adjusted_hu": volume.perc15_adjusted_hu,
        "airways_ml": volume.airways_ml,
        "clusters": {**asdict(volume.clusters), "classes": list(SIZE_CLASS_NAMES)},
        "ei_by_threshold": [{"threshold_hu": t, "ei_percent": e} for t, e in volume.curve],
        "floor": asdict(volume.floor),
        "gate": None if volume.suitability is None else volume.suitability.as_record(),
        "acquisition": [asdict(item) for item in volume.sheet],
        "provenance": dict(volume.provenance),
    }


def result_lines(measurement: Measurement) -> list[str]:
    """Terminal output of a measurement: a table of the main indices, agreement and intervals."""
    sentences = [*agreement_sentences(measurement.agreement), *interval_sentences(measurement.volumes)]
    return [
        *indices_table(measurement),
        *gate_sentences(measurement.volumes),
        *kernel_lines(measurement),
        *gap_lines(measurement),
        *sentences,
    ]


def indices_table(measurement: Measurement) -> list[str]:
    """Lines of a table of the main indices, a row a volume and region (lungs and lobes)."""
    rows = [
        [f"{shown_name(volume)}, {region.region}", *(format(getattr(region, key), form) for _, key, form in SHOWN_INDICES)]
        for volume in measurement.volumes
        for region in volume.indices
    ]
    return table(["volume, region", *(label for label, _, _ in SHOWN_INDICES)], rows)


def kernel_lines(measurement: Measurement) -> list[str]:
    """Warnings about volumes that were reconstructed with a sharp kernel, printed beside their indices."""
    found = [(volume.name, sharp_kernel_warning(volume.ct)) for volume in measurement.volumes]
    return [f"{name}: {warning}" for name, warning in found if warning is not None]


def gap_lines(measurement: Measurement) -> list[str]:
    """What was not scanned between slices, as the acquisition sheet of the scan says it."""
    return [item.remark for item in measurement.volume.sheet if item.name == "Slice distance" and item.remark]
