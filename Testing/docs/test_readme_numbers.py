"""Every measured number of README.md is the one in its results file; the documents take theirs from the same by macro."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import mean

import pytest

from docsite.macros import Macros

ROOT = Path(__file__).resolve().parents[2]
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
# Whole rows and clauses of the README, as a page of the documents would write them; a line break here is a space there.
WORDS = {
    "L1": """| mean absolute difference (L1) from B20f
        | {{ score paper raw l1_image mean }} to {{ score paper restored l1_image mean }} HU
        | {{ score paper raw l1_image n }} *simulated* patients, B80f to B20f, none used for training
        ([tables](docs/validation.md)) |""",
    "EI": """| EI
        | mean error {{ score paper raw abs_dei mean }} to {{ score paper restored abs_dei mean }} points
        (median {{ score paper restored abs_dei median }})
        | the same; {{ score paper unet abs_dei mean }} with the network |""",
    "place": """| place of the emphysema
        | Dice {{ score paper raw dice mean }} to {{ score paper restored dice mean }} | the same;""",
    "Philips": """| real pair, Philips L to B
        | L1 in the lungs {{ score philips raw l1_lung mean }} to {{ score philips restored l1_lung mean }} HU,
        EI error {{ score philips raw abs_dei mean }} to {{ score philips restored abs_dei mean }} points | one patient,""",
    "Siemens": """| real Siemens B70f chest
        | EI {{ SIEMENS raw.ei_percent 2 }} to {{ SIEMENS restored.ei_percent 2 }} %
        (95 % interval {{ SIEMENS restored.ei_low_percent 2 }} to {{ SIEMENS restored.ei_high_percent 2 }} %) |""",
    "picture": """Top: original, EI {{ SIEMENS raw.ei_percent 1 }} %;
        bottom: normalized, {{ SIEMENS restored.ei_percent 1 }} %.""",
}


def expected(what: str) -> str:
    """What the README has to say."""
    return Macros(ROOT).expand(" ".join(WORDS[what].replace("SIEMENS", "json siemens_b70f/results.json").split()))


@pytest.mark.parametrize("what", WORDS)
def test_a_number_of_the_readme_is_that_of_its_results_file(what: str) -> None:
    assert expected(what) in README


def test_the_table_of_the_readme_has_no_row_that_is_not_checked() -> None:
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    table = rows[rows.index("| what | number | condition |") + 2 :]
    assert len(table) == 5
    checked = [expected(what) for what in WORDS]
    assert [row for row in table if not any(row.startswith(words) for words in checked)] == []


def test_the_introduction_says_by_how_much_sharp_kernels_raise_ei() -> None:
    errors = Macros(ROOT).evaluation("paper").values("raw", "abs_dei")
    assert f"by {mean(errors):.0f} points in our simulated patients" in README


def test_the_limits_say_how_far_off_ei_was_outside_the_tested_range() -> None:
    with (ROOT / "training" / "results" / "outside" / "coverage.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    error = mean(abs(float(row["EI [%]"]) - float(row["true EI [%]"])) for row in rows)
    missed = sum(row["inside"] == "False" for row in rows)
    assert (
        f"EI was {error:.1f} points off on average, and the interval missed the true EI in {missed} of {len(rows)}." in README
    )
