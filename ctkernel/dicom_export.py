"""``ctkernel export``: a synthetic volume, its masks and its numbers as DICOM in the study of the scan."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from EmphysemaQuantLib.core.indices.density import RegionIndices, compute_indices
from EmphysemaQuantLib.core.indices.emphysema_mask import EMPHYSEMA_THRESHOLD_HU, emphysema_mask, require_threshold
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.results.dicom_files import CT_FOLDER, REPORT, SEGMENTATION, MeasuredLungs, write_objects
from EmphysemaQuantLib.core.results.dicom_objects import MEASUREMENTS, Maker, require_highdicom
from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.io.dicom_derived import manifest_of
from KernelNormalizationLib.core.io.dicom_export import ExportedSeries, export_series, staged_folder, stored_hu
from KernelNormalizationLib.core.io.dicom_series import find_series, pick_series, read_header
from KernelNormalizationLib.core.io.file_conversion import provenance_path
from KernelNormalizationLib.core.io.json_file import read_json
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.version import VERSION
from KernelNormalizationLib.core.volume import CTVolume

from .console import cancellable, print_json, print_lines
from .options import add_threshold
from .quantification_files import lung_mask_for, read_provenance

# Relative tolerance between numbers read from a file and computed again: rounding of decimal digits.
_SAME = 1e-9
_NUMBERS = ("threshold_hu", *(field for field, _, _ in MEASUREMENTS))


def add_export(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``export`` to the commands of ``ctkernel``."""
    parser = commands.add_parser(
        "export",
        parents=[common],
        help="write a normalized volume as DICOM into the study of its scan",
        description="Write a normalized volume as a derived CT series in the study of the scan that it was made from, marked "
        "as synthetic and for research only. With a lung mask, also a segmentation (SEG) and a report of the indices (SR).",
    )
    parser.add_argument("source", type=Path, help="DICOM folder, or one file, of the series that the volume was made from")
    parser.add_argument("synthetic", type=Path, help="volume that ctkernel normalize wrote, its .provenance.json beside it")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the DICOM files")
    lungs = parser.add_mutually_exclusive_group()
    lungs.add_argument("--mask", type=Path, help="lung mask (label map or the .seg.nrrd of ctkernel quantify): adds SEG and SR")
    lungs.add_argument("--segmentation", action="store_true", help="segment the lungs automatically: adds SEG and SR")
    parser.add_argument("--results", type=Path, help="metrics.json of ctkernel quantify, measured on --mask, for the report")
    add_threshold(parser, default=None, otherwise=", or that of --results")
    parser.set_defaults(command=export)


def export(options: argparse.Namespace) -> None:
    """``ctkernel export``."""
    if options.results is not None and options.mask is None:
        raise InputError("--results needs the lung mask that was measured; give it with --mask.")
    if options.threshold is not None:
        require_threshold(options.threshold)
    if options.mask is not None or options.segmentation:
        require_highdicom()
    record = required_provenance(options.synthetic)
    source = source_series(options.source, options.series, record)
    volume = read_volume(options.synthetic)
    told: dict[str, Any] = {}
    with cancellable(options.json) as progress, staged_folder(options.out) as staged:
        written = export_series(volume, source, record, staged / CT_FOLDER, progress)
        if options.mask is not None or options.segmentation:
            told = _write_measurement(options, volume, written, staged, progress)
        progress.check_cancelled()  # before the folder gets its name
    facts = {
        "folder": str(options.out),
        "images": len(written.headers),
        "series_instance_uid": written.series_uid,
        "encoding": written.encoding.in_words(),
        "largest_rounding_hu": written.largest_rounding_hu,
        "use": RESEARCH_USE,
        **told,
    }
    if options.json:
        print_json(facts)
    else:
        print_lines([*_lines(facts), RESEARCH_USE])


def required_provenance(volume: Path) -> dict[str, Any]:
    """The provenance record beside a volume.

    Raises:
        InputError: there is none, or it is damaged.
    """
    record = read_provenance(volume)
    if not record:
        raise InputError(
            f"{provenance_path(volume).name} is not beside {volume.name}; an image that does not say how it was made is not "
            "exported. Put the file back, or normalize again."
        )
    return record


def source_series(path: Path, wanted: str | None, record: Mapping[str, Any]) -> list[Path]:
    """The files of the source series in a folder, or that of one file; among several the one the provenance names.

    Raises:
        InputError: no DICOM there, or several series and no choice.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give the DICOM folder of the series that the volume was made from.")
    if path.is_file():
        header = read_header(path)
        if header is None:
            raise InputError(
                f"{path.name} is not DICOM. A synthetic CT is exported into the study of its scan; without one there "
                "is no patient and no study it could belong to. Keep it as NRRD, or give the DICOM folder of the scan."
            )
        path, wanted = path.parent, str(header.get("SeriesInstanceUID", ""))
    found = find_series(path)
    told = (record.get("input") or {}).get("series_instance_uid")
    return [item.path for item in pick_series(found, told if wanted is None and told in found else wanted)]


def measured_regions(
    volume: CTVolume, lung_mask: LungMask, threshold_hu: float | None, results: Path | None
) -> tuple[list[RegionIndices], float]:
    """Indices of lungs and lobes, and their threshold (HU): measured now, or read from ``metrics.json`` and checked.

    Raises:
        InputError: the file is damaged, has no synthetic volume, another threshold, or was measured on another mask or volume.
    """
    if results is None:
        threshold = EMPHYSEMA_THRESHOLD_HU if threshold_hu is None else threshold_hu
        return compute_indices(volume, lung_mask, threshold), threshold
    told = _told_regions(results)
    threshold = told[0].threshold_hu
    if threshold_hu is not None and threshold_hu != threshold:
        raise InputError(f"{results.name} was measured at {threshold:g} HU, not at {threshold_hu:g}; leave --threshold out.")
    by_name = {entry.region: entry for entry in told}
    chosen = []
    for now in compute_indices(volume, lung_mask, threshold):
        before = by_name.get(now.region)
        if before is None or not _agree(before, now):
            found = "nothing" if before is None else f"EI {before.ei_percent:.3f} %, TLV {before.tlv_ml:.1f} mL"
            raise InputError(
                f"{results.name} has {found} for {now.region}; the volume has EI {now.ei_percent:.3f} %, TLV {now.tlv_ml:.1f} "
                "mL on this mask. Give the mask that was measured, or leave --results out."
            )
        chosen.append(before)
    return chosen, threshold


def _told_regions(results: Path) -> list[RegionIndices]:
    try:
        volumes = read_json(results)["volumes"]
        told = next(entry["regions"] for entry in volumes if entry["synthetic"])
        regions = [RegionIndices(**region) for region in told]
        if not regions or any(not _is_number(getattr(region, field)) for region in regions for field in _NUMBERS):
            raise TypeError(regions)
    except (OSError, InputError, KeyError, TypeError, StopIteration) as error:
        raise InputError(
            f"{results} holds no indices of a synthetic volume; give the metrics.json that ctkernel quantify wrote."
        ) from error
    require_threshold(regions[0].threshold_hu)
    return regions


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _agree(one: RegionIndices, other: RegionIndices) -> bool:
    fields = [field for field, _, _ in MEASUREMENTS]
    return all(math.isclose(getattr(one, f), getattr(other, f), rel_tol=_SAME, abs_tol=_SAME) for f in fields)


def _write_measurement(
    options: argparse.Namespace, volume: CTVolume, written: ExportedSeries, folder: Path, progress: Progress
) -> dict[str, Any]:
    lung_mask = lung_mask_for([volume], options.mask, progress)
    regions, threshold = measured_regions(volume, lung_mask, options.threshold, options.results)
    maker = Maker(VERSION, lung_mask.origin, manifest_of(written.headers[0]))
    emphysema = emphysema_mask(volume.hu, lung_mask.mask, threshold)
    write_objects(written.headers, MeasuredLungs(lung_mask, emphysema, regions, threshold), maker, folder)
    stored = volume.with_hu(stored_hu(volume.hu, written.encoding), name=volume.name, synthetic=True)
    return {
        "segmentation": SEGMENTATION,
        "report": REPORT,
        "lung_mask": lung_mask.quality.verdict,
        "threshold_hu": threshold,
        "ei_percent": regions[0].ei_percent,
        "ei_percent_of_stored_voxels": compute_indices(stored, lung_mask, threshold)[0].ei_percent,
    }


def _lines(facts: Mapping[str, Any]) -> Sequence[str]:
    lines = [
        f"Wrote {facts['images']} images (synthetic B20f, research only) to {Path(facts['folder']) / CT_FOLDER}",
        str(facts["encoding"]),
    ]
    if "report" in facts:
        lines += [
            f"Wrote {SEGMENTATION} and {REPORT}; lung mask: {facts['lung_mask']}",
            f"EI {facts['ei_percent']:.2f} % in the report; measured again on the rounded voxels of the exported series "
            f"{facts['ei_percent_of_stored_voxels']:.2f} %",
        ]
    return lines
