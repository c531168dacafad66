"""The tables of a cohort: what stands in the case folders, put together."""

from __future__ import annotations

import json
from collections.abc import Sequence
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

RESULTS_CSV, RESULTS_PARQUET, RUNS_CSV = "results.csv", "results.parquet", "runs.csv"
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


def collect(out: Path, cases: Sequence[Case], settings: CohortSettings) -> tuple[Rows, list[str]]:
    """The rows of every case that has a result with these settings, and the cases that have none.

    Args:
        out: output folder.
        cases: of the cohort.
        settings: of the run; results of other settings are not mixed in.
    """
    choices = digest([settings.normalization(), settings.measurement()])
    rows: Rows = []
    missing = []
    for case in sorted(cases, key=lambda case: case.id):
        folder = CaseFolder(out, case.id)
        stage = folder.stage(folder.measured)
        try:
            found = read_json(folder.measured / ROWS) if stage.get("settings") == choices else None
        except (InputError, OSError):
            found = None
        if isinstance(found, list):
            rows += found
        else:
            missing.append(case.id)
    return rows, missing


def collect_runs(out: Path, cases: Sequence[Case]) -> Rows:
    """Worker, seconds and memory of every case that was computed."""
    runs = []
    for case in sorted(cases, key=lambda case: case.id):
        try:
            runs.append(read_json(CaseFolder(out, case.id).path / "run.json"))
        except (InputError, OSError):
            continue
    return [run for run in runs if isinstance(run, dict)]


def write_results(out: Path, rows: Rows) -> None:
    """``results.csv`` and ``results.parquet``: the same rows, all digits."""
    write_both(out / RESULTS_CSV, out / RESULTS_PARQUET, COLUMNS, rows)


def write_both(csv: Path, parquet_file: Path, columns: Sequence[Column], rows: Rows) -> None:
    """Write rows as CSV, safe for spreadsheets, and as Parquet with units and meanings in the metadata.

    Args:
        csv: file to write.
        parquet_file: file to write.
        columns: in this order; what a row lacks is empty.
        rows: the table.
    """
    import pandas
    import pyarrow
    from pyarrow import parquet

    types = {True: pyarrow.float64(), False: pyarrow.string()}
    fields = [pyarrow.field(c.name, types[c.number], metadata={"unit": c.unit, "meaning": c.meaning}) for c in columns]
    typed = [{c.name: _value(row.get(c.name), c.number) for c in columns} for row in rows]
    table = pyarrow.Table.from_pylist(typed, schema=pyarrow.schema(fields, metadata={"use": RESEARCH_USE}))
    with atomic_path(parquet_file) as temporary:
        parquet.write_table(table, temporary)
    safe = [{k: for_csv(v) if isinstance(v, str) else v for k, v in row.items()} for row in typed]
    with atomic_path(csv) as temporary:
        pandas.DataFrame(safe, columns=[c.name for c in columns]).to_csv(temporary, index=False, lineterminator="\n")


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
        pandas.DataFrame(runs, columns=columns).to_csv(temporary, index=False, lineterminator="\n")


def read_results(out: Path) -> Rows:
    """The rows of ``results.parquet``; absent values are ``None``.

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
        rows: Rows = parquet.read_table(path).to_pylist()
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
