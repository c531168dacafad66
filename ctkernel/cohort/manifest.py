"""The record of a cohort: which cases its tables were put together from, and whether everything is as it was written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.io.json_file import read_json
from KernelNormalizationLib.core.io.writing import write_json
from KernelNormalizationLib.core.provenance.manifest import FILES_KEY, SEAL_KEY, file_hashes, new_manifest, sealed

from ..quantification_files import METRICS_JSON
from .case_folder import CaseFolder
from .settings import CohortSettings

COHORT_MANIFEST = "manifest.json"
CASES_KEY = "cases"


def write_cohort_manifest(out: Path, cases: Iterable[str], settings: CohortSettings, written: Iterable[str]) -> None:
    """Write ``manifest.json``, the last file of a run: settings, hashes of the tables, and the seal of each case's record.

    Args:
        out: output folder.
        cases: identifiers of those in the tables.
        settings: of the run; a model's folder is told by its name alone.
        written: names of tables and pages, of which those that are there go on record.
    """
    told = settings.as_record()
    if settings.model is not None:
        told["model"] = Path(settings.model).name
    record = {
        **new_manifest("cohort"),
        "settings": told,
        CASES_KEY: {case: record_of(out, case).get(SEAL_KEY) for case in sorted(cases)},
        FILES_KEY: file_hashes(out, [name for name in written if (out / name).is_file()]),
    }
    write_json(sealed(record), out / COHORT_MANIFEST)


def record_of(out: Path, case: str) -> dict[str, Any]:
    """What ``metrics.json`` of a case holds; empty if it is missing or damaged."""
    try:
        record = read_json(CaseFolder(out, case).measured / METRICS_JSON)
    except (InputError, OSError):
        return {}
    return record if isinstance(record, dict) else {}
