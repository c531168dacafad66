"""The tables of a cohort: what stands in the case folders, put together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.io.json_file import read_json
from KernelNormalizationLib.core.io.writing import atomic_path
from KernelNormalizationLib.core.plain_text import for_csv

from .case import Case
from .case_folder import ROWS, CaseFolder
from .rows import COLUMNS, Column
from .settings import CohortSettings, digest
from .statistics import CaseNumbers, numbers_of

RESULTS_CSV, RESULTS_PARQUET, RUNS_CSV = "results.csv", "results.parquet", "runs.csv"
# Rows of a table that are held in memory.
ROWS_AT_ONCE = 20_000
Rows = list[dict[str, Any]]


def require_libraries() -> None:
    """Check, before the work, that the tables can be written.

    Raises:
        InputError: pandas or pyarrow is missing.
    """
    from importlib.util import find_spec

    missing = [name for name in ("pandas", "pyarrow") if find_spec(name) is None]
    if missing:
        raise InputError(f"A cohort's tables need {' and '.join(missing)}: pip install 'ctkernelnormalization[cohort]'.")


def rows_of_cases(out: Path, cases: Sequence[Case], settings: CohortSettings) -> Iterator[Rows]:
    """The rows of every case that has a result with these settings, case by case: all together may not fit into memory.

    Args:
        out: output folder.
        cases: of the cohort.
        settings: of the run; results of other settings are not mixed in.
    """
    choices = digest([settings.normalization(), settings.measurement()])
    for case in sorted(cases, key=lambda case: case.id):
        folder = CaseFolder(out, case.id)
        if folder.stage(folder.measured).get("settings") != choices:
            continue
        try:
            found = read_json(folder.measured / ROWS)
        except (InputError, OSError):
            continue
        if isinstance(found, list):
            yield found


def collect_runs(out: Path, cases: Sequence[Case]) -> Rows:
    """Worker, seconds and memory of every case that was computed."""
    runs = []
    for case in sorted(cases, key=lambda case: case.id):
        try:
            runs.append(read_json(CaseFolder(out, case.id).path / "run.json"))
        except (InputError, OSError):
            continue
    return [run for run in runs if isinstance(run, dict)]


def write_results(out: Path, cases: Iterable[Rows]) -> list[CaseNumbers]:
    """Write ``results.csv`` and ``results.parquet``: the same rows, all digits.

    Args:
        out: output folder.
        cases: the rows of each case.

    Returns:
        The whole-lung numbers of each case.
    """
    numbers: list[CaseNumbers] = []

    def noted() -> Iterator[Rows]:
        for rows in cases:
            numbers.extend(numbers_of(rows))
            yield rows

    write_both(out / RESULTS_CSV, out / RESULTS_PARQUET, COLUMNS, noted())
    return numbers


def write_both(csv: Path, parquet_file: Path, columns: Sequence[Column], parts: Iterable[Rows]) -> None:
    """Write rows as CSV, safe for spreadsheets, and as Parquet with units and meanings in the metadata, whole or not at all.

    Args:
        csv: file to write.
        parquet_file: file to write.
        columns: in this order; what a row lacks is empty.
        parts: the table, part by part.
    """
    import pandas
    import pyarrow
    from pyarrow import parquet

    types = {True: pyarrow.float64(), False: pyarrow.string()}
    fields = [pyarrow.field(c.name, types[c.number], metadata={"unit": c.unit, "meaning": c.meaning}) for c in columns]
    schema = pyarrow.schema(fields, metadata={"use": RESEARCH_USE})
    names = [c.name for c in columns]
    with atomic_path(csv) as csv_part, atomic_path(parquet_file) as parquet_part:
        pandas.DataFrame(columns=names).to_csv(csv_part, index=False, lineterminator="\n")
        with parquet.ParquetWriter(parquet_part, schema) as writer:
            for rows in _joined(parts):
                typed = [{c.name: _value(row.get(c.name), c.number) for c in columns} for row in rows]
                writer.write_table(pyarrow.Table.from_pylist(typed, schema=schema))
                safe = [{k: for_csv(v) if isinstance(v, str) else v for k, v in row.items()} for row in typed]
                frame = pandas.DataFrame(safe, columns=names)
                frame.to_csv(csv_part, mode="a", header=False, index=False, lineterminator="\n")


def _joined(parts: Iterable[Rows]) -> Iterator[Rows]:
    """Parts of at least :data:`ROWS_AT_ONCE` rows."""
    waiting: Rows = []
    for rows in parts:
        waiting += rows
        if len(waiting) >= ROWS_AT_ONCE:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def write_runs(out: Path, runs: Rows) -> None:
    """``runs.csv``: who computed each case, how long it took and how much memory the worker had had until then."""
    import pandas

    columns = [
        "case",
        "worker",
        "device",
        "voxels",
        "read_seconds",
        "compute_seconds",
        "write_seconds",
        "cpu_seconds",
        "peak_memory_gb",
    ]
    with atomic_path(out / RUNS_CSV) as temporary:
        safe = [{k: for_csv(v) if isinstance(v, str) else v for k, v in run.items()} for run in runs]
        pandas.DataFrame(safe, columns=columns).to_csv(temporary, index=False, lineterminator="\n")


def read_results(out: Path, region: str | None = None) -> Rows:
    """The rows of ``results.parquet``; absent values are ``None``.

    Args:
        out: output folder.
        region: this region alone.

    Raises:
        InputError: the file is missing or damaged.
    """
    require_libraries()
    import pyarrow
    from pyarrow import parquet

    path = out / RESULTS_PARQUET
    if not path.is_file():
        raise InputError(f"{path} does not exist; run ctkernel cohort to its end first.")
    try:
        rows: Rows = parquet.read_table(path, filters=None if region is None else [("region", "==", region)]).to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} is damaged; run ctkernel cohort again, which writes it anew.") from error
    return rows


def columns_text(columns: Sequence[Column] = COLUMNS) -> str:
    """Columns as a Markdown table, for the documents."""
    lines = ["| column | unit | what |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| `{c.name}` | {c.unit} | {c.meaning} |" for c in columns)])


def _value(value: Any, number: bool) -> Any:
    if value is None:
        return None
    return float(value) if number else value if isinstance(value, str) else json.dumps(value)
