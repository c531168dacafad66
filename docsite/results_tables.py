"""Tables and numbers of results files without scores: Markdown tables, and the intervals outside the training range."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from statistics import mean, median

from .results import RESULTS, ResultError

OUTSIDE = Path("outside") / "coverage.csv"
_LIFT = re.compile(r"coarse detail \(([-+][\d.]+) to")


def table_of(root: Path, file: str, number: int) -> str:
    """The table of that number (from 1) in a Markdown file below ``training/results``.

    Raises:
        ResultError: there is no such file or table.
    """
    try:
        text = (root / RESULTS / file).read_text(encoding="utf-8")
    except OSError as error:
        raise ResultError(f"{RESULTS.as_posix()}/{file} cannot be read ({error}); a page shows a table of it.") from error
    tables = re.findall(r"(?:^\|.*(?:\n|$))+", text, flags=re.MULTILINE)
    if not 1 <= number <= len(tables):
        raise ResultError(f"{RESULTS.as_posix()}/{file} has {len(tables)} tables, and none of number {number}.")
    return str(tables[number - 1]).rstrip("\n")


def made_line(root: Path, file: str) -> str:
    """The line of a Markdown results file that says by which command, when, and from which commit it was made."""
    text = (root / RESULTS / file).read_text(encoding="utf-8")
    found = re.search(r"^Made by .*?commit \w+\.", text, flags=re.MULTILINE)
    if found is None:
        raise ResultError(f"{RESULTS.as_posix()}/{file} does not say how it was made.")
    return found.group(0)


def outside_range(root: Path) -> dict[str, str]:
    """How the index and its interval did on simulated scanners outside the training range, as pages show it.

    Returns:
        ``scanners`` and, of them, ``held`` and ``missed`` (interval with and without the true EI); ``error`` and
        ``error_median`` (abs. dEI, points); ``width`` (of the interval, points); ``lift`` (most that EI falls if it is computed
        without the lift of the smooth kernels, points) and ``lift_ei`` (EI of that scan, %).

    Raises:
        ResultError: the results file is not there.
    """
    try:
        with (root / RESULTS / OUTSIDE).open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ResultError(f"{(RESULTS / OUTSIDE).as_posix()} cannot be read ({error}); pages take numbers from it.") from error
    errors = [abs(float(row["EI [%]"]) - float(row["true EI [%]"])) for row in rows]
    lifts = [(float(found.group(1)), row) for row in rows if (found := _LIFT.search(row["basis"]))]
    least, of = min(lifts, key=lambda lift: lift[0])
    held = sum(row["inside"] == "True" for row in rows)
    return {
        "scanners": str(len(rows)),
        "held": str(held),
        "missed": str(len(rows) - held),
        "error": f"{mean(errors):.1f}",
        "error_median": f"{median(errors):.1f}",
        "width": f"{mean(float(row['high [%]']) - float(row['low [%]']) for row in rows):.1f}",
        "lift": f"{-least:.1f}",
        "lift_ei": f"{float(of['EI [%]']):.0f}",
    }
