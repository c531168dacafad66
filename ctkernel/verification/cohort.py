"""The record of a cohort: whether its tables and the records of its cases are as they were written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.plain_text import plain
from KernelNormalizationLib.core.provenance.manifest import SEAL_KEY, seal_is_broken

from ..cohort.manifest import CASES_KEY, record_of
from .findings import Verification, check_files, check_seal, check_versions

SHOWN_CASES = 5


def verify_cohort(record: Mapping[str, Any], path: Path) -> Verification:
    """Compare every hash that the record holds; nothing is computed again, which ``verify`` does case by case.

    Args:
        record: content of ``path``.
        path: ``manifest.json`` in the output folder of the cohort.
    """
    found = Verification()
    check_seal(record, found)
    check_files(record, path.parent, found)
    check_versions(record, None, found)
    cases: Mapping[str, Any] = record.get(CASES_KEY) or {}
    changed = [case for case, seal in cases.items() if not _as_written(path.parent, case, seal)]
    more = f" and {len(changed) - SHOWN_CASES} more" if len(changed) > SHOWN_CASES else ""
    texts = (
        f"The records of all cases ({len(cases)}) are those that the tables were made from.",
        f"Missing, or changed after the tables were made, are the records of: {plain(', '.join(changed[:SHOWN_CASES]))}{more}.",
    )
    found.check("cases", not changed, texts)
    found.note("cases", "Nothing was computed again; give the folder “measured” of a case to measure it again.")
    return found


def _as_written(out: Path, case: str, seal: object) -> bool:
    record = record_of(out, Path(case).name)
    return seal is not None and record.get(SEAL_KEY) == seal and not seal_is_broken(record)
