"""The command ``ctkernel verify``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import pydicom

from EmphysemaQuantLib.core.results.dicom_files import REPORT, SEGMENTATION
from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.io.dicom_beginning import has_dicom_mark
from KernelNormalizationLib.core.io.dicom_derived import manifest_of
from KernelNormalizationLib.core.io.file_conversion import provenance_path
from KernelNormalizationLib.core.io.json_file import read_json
from KernelNormalizationLib.core.io.reading import VOLUME_SUFFIXES
from KernelNormalizationLib.core.network.backends import Device
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.provenance.manifest import KIND_KEY, require_known_schema, seal_is_broken

from ..cohort.manifest import CASES_KEY, COHORT_MANIFEST
from ..console import OK, cancellable, print_json, print_lines, tell_failure
from ..quantification_files import MANIFEST_KEY, METRICS_JSON
from .exported import image_of_export
from .findings import Verification
from .normalization import Choices

_MARKS = {"agrees": "agrees ", "differs": "DIFFERS", "note": "note   "}


def add_verify(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``verify`` to the commands of ``ctkernel``."""
    parser = commands.add_parser(
        "verify",
        parents=[common],
        help="make a result again from its record and say what agrees",
        description="Make a result again from its record, and compare input, versions, model, voxels and indices. Exit code 0: "
        "it is reproduced; 1: it is not; 2: record, input or model cannot be used.",
    )
    parser.add_argument(
        "record",
        type=Path,
        help="NAME.provenance.json of a normalized volume, metrics.json of a measurement, manifest.json of a cohort, or the "
        "folder of ctkernel export",
    )
    parser.add_argument(
        "--input",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="the scan (DICOM folder or file) if it is not beside the record; twice for a measured pair",
    )
    parser.add_argument("--model", type=Path, help="folder of the model, if it is not an installed one")
    parser.add_argument(
        "--mask", type=Path, help="the lung mask that was supplied, if the segmentation is not beside the record"
    )
    parser.add_argument(
        "--device", choices=get_args(Device), default="auto", help="auto takes the device on record if it is here"
    )
    parser.set_defaults(command=verify)


def verify(options: argparse.Namespace) -> int:
    """``ctkernel verify``."""
    path, record = read_record(options.record)
    choices = Choices(tuple(options.input), options.model, options.device, options.mask)
    with cancellable(options.json) as progress:
        try:
            found = run(record, path, choices, progress)
            progress.check_cancelled()
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            # a record that is as it was written has every entry in its form
            if seal_is_broken(record) is False:
                raise
            raise InputError(
                f"{path.name} is damaged: an entry is missing or of another kind; take an unchanged copy."
            ) from error
    if options.json:
        findings = [asdict(finding) for finding in found.findings]
        print_json({"reproduces": found.reproduces, "findings": findings, "numbers": found.numbers, "use": RESEARCH_USE})
    else:
        print_lines([*lines(found), RESEARCH_USE])
    return OK if found.reproduces else tell_failure("The record was not reproduced; the list says what differs.")


def run(record: Mapping[str, Any], path: Path, choices: Choices, progress: Progress) -> Verification:
    """Verify a record of any kind; see :func:`.normalization.verify_normalization` for what is raised."""
    if record.get(KIND_KEY) == "cohort":
        from .cohort import verify_cohort

        return verify_cohort(record, path)
    if MANIFEST_KEY in record or isinstance(record.get("volumes"), list):
        from .measurement import verify_measurement

        return verify_measurement(record, path, choices, progress)
    from .normalization import verify_normalization

    return verify_normalization(record, path, choices, progress)


def read_record(path: Path) -> tuple[Path, dict[str, Any]]:
    """The record at ``path``, or the one of the volume, measurement or exported DICOM image at ``path``, and where it lies.

    Raises:
        InputError: there is none, or it is of a later version of this software.
    """
    if path.name.lower().endswith(VOLUME_SUFFIXES):
        path = provenance_path(path)
    elif path.is_dir() and (path / METRICS_JSON).is_file():
        path = path / METRICS_JSON
    elif path.is_dir() and (path / COHORT_MANIFEST).is_file():
        path = path / COHORT_MANIFEST
    elif (found := _exported_record(path)) is not None:
        return found
    if not path.is_file():
        if path.exists():
            raise InputError(f"{path} is no file that holds a record; give a .provenance.json or a metrics.json.")
        raise InputError(f"{path} does not exist; give the .provenance.json of a volume, or the metrics.json of a measurement.")
    record = read_json(path)
    kinds = ("method", "volumes", MANIFEST_KEY, CASES_KEY)
    if not isinstance(record, dict) or not any(key in record for key in kinds):
        raise InputError(f"{path.name} is no record of this software; give the .provenance.json of a volume, or metrics.json.")
    require_known_schema(record.get(MANIFEST_KEY) or record, path.name)
    return path, record


def _exported_record(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """The record inside an exported DICOM image, or in the first one of a folder; ``None`` if there is none."""
    file = path if path.is_file() and not _is_beside_images(path) else image_of_export(path) or path
    if not file.is_file() or not has_dicom_mark(file):
        return None
    record = manifest_of(pydicom.dcmread(file, stop_before_pixels=True))
    if record is None:
        raise InputError(
            f"{file.name} holds no record of this software: it is not an image that ctkernel exported, or an archive took its "
            "private fields away. Give the .provenance.json of the volume."
        )
    require_known_schema(record, file.name)
    return file, record


def _is_beside_images(path: Path) -> bool:
    """Whether a file is the segmentation or the report of an exported series, whose images hold the record."""
    return path.name in (SEGMENTATION, REPORT) and image_of_export(path) is not None


def lines(found: Verification) -> list[str]:
    """Lines for a person: the result first, then every comparison."""
    differing = sum(finding.status == "differs" for finding in found.findings)
    head = "Reproduced." if found.reproduces else f"NOT reproduced: {differing} of {len(found.findings)} comparisons differ."
    return [head, *(f"{_MARKS[finding.status]}  {finding.subject}: {finding.text}" for finding in found.findings)]
