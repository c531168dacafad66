"""Result files of an evaluation: CSV, JSON, Markdown and figures, with a record of how they were made."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.io.writing import atomic_path

from .figures import FIGURE_SUFFIXES, save_bland_altman, save_boxes, save_calibration
from .scores import SCORE_FIELDS, SIGNIFICANCE, Comparison, Score, compare_methods
from .tables import comparison_table, main_table, methods_of, paper_table, population_table, severe, strata_tables

# Figures that need no images, by the name of their files.
PLOTS = {"dei_and_dice": save_boxes, "bland_altman": save_bland_altman, "calibration": save_calibration}


@dataclass(frozen=True)
class Provenance:
    """How results were made.

    Attributes:
        command: the command line.
        commit: Git commit of the code, with ``+`` if files were changed since.
        machine: processor and number of cores.
        python, numpy: versions.
        date: UTC, to the minute.
        data: description of the pairs.
    """

    command: str
    commit: str
    machine: str
    python: str
    numpy: str
    date: str
    data: dict[str, Any]

    @staticmethod
    def now(command: str, data: dict[str, Any]) -> Provenance:
        """The provenance of results made by this process."""
        return Provenance(
            command,
            _commit(),
            f"{_processor()}, {os.cpu_count()} cores",
            platform.python_version(),
            np.__version__,
            datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            data,
        )


def _commit() -> str:
    here = Path(__file__).parent
    try:
        return _git(here, "rev-parse", "HEAD") + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def write_report(out: Path, scores: Sequence[Score], best: str, provenance: Provenance, skipped: Sequence[str]) -> None:
    """Write ``scores.csv``, ``results.json``, ``results.md`` and the figures that need no images.

    Args:
        out: folder; created if absent.
        scores: scores of every case and method.
        best: label of the method that is tested against the others.
        provenance: how the scores were made.
        skipped: messages about cases and methods without a result.
    """
    out.mkdir(parents=True, exist_ok=True)
    tests = {"all patients": compare_methods(scores, best), "EI > 5": compare_methods(scores, best, severe)}
    write_scores(out, scores)
    _write(
        out / "results.json",
        json.dumps(
            {
                "use": RESEARCH_USE,
                "provenance": asdict(provenance),
                "scores": [asdict(s) for s in scores],
                "tests": {name: [asdict(c) for c in found] for name, found in tests.items()},
                "skipped": list(skipped),
            },
            indent=1,
        ),
    )
    panels = sorted(path.name for path in out.glob("panel_*.png"))
    _write(out / "results.md", _document(scores, best, provenance, tests, skipped, panels))
    if _several_cases(scores):
        write_plots(out, scores)


def write_plots(out: Path, scores: Sequence[Score]) -> None:
    """Draw the figures that need no images, each as PNG and PDF, into the folder ``out``."""
    for name, save in PLOTS.items():
        for suffix in FIGURE_SUFFIXES:
            with atomic_path(out / f"{name}{suffix}") as path:
                save(path, scores)


def _several_cases(scores: Sequence[Score]) -> bool:
    """Whether distributions can be drawn; one case has none."""
    return len({s.case for s in scores}) > 1


def write_scores(out: Path, scores: Sequence[Score]) -> None:
    """Write only ``scores.csv``, from which a stopped evaluation can continue."""
    out.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(list(scores), columns=list(SCORE_FIELDS))
    _write(out / "scores.csv", table.to_csv(index=False, na_rep="nan", lineterminator="\n"))


def read_scores(out: Path) -> list[Score]:
    """Scores of an earlier evaluation, which may have been stopped; empty if there is none.

    Raises:
        InputError: the file was not written by an evaluation.
    """
    path = out / "scores.csv"
    if not path.exists():
        return []
    texts, flags = ("case", "method", "kernel"), ("real_object", "resampled")
    try:
        # Python's float reads back exactly the number that was written; the parser of read_csv need not.
        frame = pd.read_csv(path, usecols=list(SCORE_FIELDS), dtype=object, keep_default_na=False)
        numbers = {name: float for name in SCORE_FIELDS if name not in (*texts, *flags)}
        frame = frame.astype(numbers).assign(**{name: frame[name] == "True" for name in flags})
    except ValueError as error:
        raise InputError(f"{path} is not a table of scores ({error}); delete it or choose another --out.") from error
    return [Score(**row) for row in frame.to_dict("records")]


def _document(
    scores: Sequence[Score],
    best: str,
    provenance: Provenance,
    tests: dict[str, list[Comparison]],
    skipped: Sequence[str],
    panels: Sequence[str],
) -> str:
    parts = ["# Evaluation", RESEARCH_USE, _provenance_lines(provenance)]
    if "raw" in methods_of(scores):
        parts += ["## The patients beside the paper's", population_table(scores, "raw")]
    parts += ["## Ours: mean ± standard deviation [minimum, maximum]", main_table(scores)]
    parts += [
        "## The paper's Table 1",
        paper_table(),
        "The paper's patients are real and their lungs were segmented; borders of simulated emphysema are "
        "easier to find again, so Dice values of simulated patients are not comparable one to one.",
    ]
    for name, found in tests.items():
        if found:
            parts += [
                f"## Paired one-sided t-tests, {name}",
                comparison_table(found),
                f"{len(found)} tests stand in this table; at {SIGNIFICANCE:g} each, chance alone would make "
                f"{SIGNIFICANCE * len(found):.1f} of them significant, hence Holm's correction. Cohen's d is the mean "
                "gain over its standard deviation between patients.",
            ]
    for title, table in strata_tables(scores):
        parts += [f"## By {title}", table]
    figures = [*(f"{name}.png" for name in PLOTS if _several_cases(scores)), *panels]
    if figures:
        parts += ["## Figures", "\n".join(f"![{n}]({n})" for n in figures)]
    if skipped:
        parts += ["## Not evaluated", "\n".join(f"- {s}" for s in skipped)]
    return "\n\n".join(parts) + "\n"


def _provenance_lines(provenance: Provenance) -> str:
    items = asdict(provenance)
    return "\n".join(f"- {name}: {value if name != 'command' else f'`{value}`'}" for name, value in items.items())


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)
