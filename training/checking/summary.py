"""The results of all checks as a table: on the terminal, as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from KernelNormalizationLib.core.errors import RESEARCH_USE
from KernelNormalizationLib.core.io.writing import atomic_path, write_json

from ..evaluation.report import Provenance
from ..evaluation.tables import markdown
from .outcomes import Outcome, Skipped


def methods_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Labels in order of appearance."""
    return list(dict.fromkeys(outcome.method for outcome in outcomes))


def rows_of(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """One row per case: check, case, limit, then value and verdict of every method."""
    methods = methods_of(outcomes)
    cases: dict[tuple[str, str], dict[str, Outcome]] = {}
    for outcome in outcomes:
        cases.setdefault((outcome.check, outcome.case), {})[outcome.method] = outcome
    rows = []
    for (check, case), found in cases.items():
        limit = next(iter(found.values())).limit_text
        rows.append([check, case, limit, *(_cell(found[m]) if m in found else "-" for m in methods)])
    return rows


def table_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """The table as aligned text for a terminal, followed by how many values keep their limits."""
    header = ["check", "case", "limit", *methods_of(outcomes)]
    rows = rows_of(outcomes)
    widths = [max(len(row[n]) for row in (header, *rows)) for n in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)]
    return [*lines, *(_count(outcomes, method) for method in methods_of(outcomes))]


def write_summary(folder: Path, outcomes: Sequence[Outcome], skipped: Sequence[Skipped], provenance: Provenance) -> None:
    """Write ``checks.json`` and ``checks.md`` into ``folder``."""
    write_json(
        {
            "use": RESEARCH_USE,
            "provenance": asdict(provenance),
            "outcomes": [outcome.as_record() for outcome in outcomes],
            "skipped": [asdict(one) for one in skipped],
        },
        folder / "checks.json",
    )
    parts = ["# Checks", RESEARCH_USE, "\n".join(f"- {name}: {value}" for name, value in asdict(provenance).items())]
    parts += ["\n".join(f"- {_count(outcomes, method)}" for method in methods_of(outcomes))]
    parts += [markdown(["Check", "Case", "Limit", *methods_of(outcomes)], rows_of(outcomes))]
    if skipped:
        parts += ["## Not checked", "\n".join(f"- {one.check}: {one.reason}" for one in skipped)]
    with atomic_path(folder / "checks.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _cell(outcome: Outcome) -> str:
    return f"{outcome.value:.3g} {'pass' if outcome.passed else 'FAIL'}"


def _count(outcomes: Sequence[Outcome], method: str) -> str:
    own = [outcome for outcome in outcomes if outcome.method == method]
    return f"{method}: {sum(outcome.passed for outcome in own)} of {len(own)} values keep their limits"
