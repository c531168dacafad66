"""Numbers of pages that have no macros, and what pages calculate from measured numbers, follow the results files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docsite import results_tables
from docsite.macros import Macros

ROOT = Path(__file__).resolve().parents[2]
# These files are read in the repository as they are, so they have no macros; here are their clauses as a page would write them.
CLAUSES = (
    ("training/README.md", "about {{ noted simulated_pair_seconds }} CPU-seconds per pair of slices"),
    ("training/README.md", "its {{ noted paper_training_steps }} steps took {{ noted paper_training_minutes }} minutes,"),
)
VOXELS, SCANS = 512 * 512 * 300, 100_000


def words(page: str) -> str:
    """A page in one line."""
    return " ".join((ROOT / page).read_text(encoding="utf-8").split())


def noted(key: str) -> float:
    """A measured number."""
    return float(Macros(ROOT).noted[key].value.replace(",", ""))


@pytest.mark.parametrize(("page", "clause"), CLAUSES)
def test_a_page_without_macros_states_the_number_of_the_results_file(page: str, clause: str) -> None:
    assert Macros(ROOT).expand(clause) in words(page)


def test_what_a_large_cohort_takes_follows_from_the_measured_numbers() -> None:
    page = Macros(ROOT).expand(words("docs/cohort.md"))
    least, most = noted("cohort_cpu_least"), 2 * noted("cohort_seconds_older")
    assert f"so at most {most:.0f} core-seconds" in page
    hours = [SCANS * seconds / 3600 for seconds in (least, most)]
    assert f"are {round(hours[0], -2):,.0f} to {round(hours[1], -2):,.0f} core-hours" in page
    assert f"{hours[0] / 200:.0f} to {hours[1] / 200:.0f} hours on 200 cores" in page
    assert f"{hours[0] / 1000:.0f} to {hours[1] / 1000:.0f} hours on 1,000" in page
    assert f"({noted('cohort_hour_two') / noted('cohort_hour_one'):.2f} times; at most" in page
    assert f"{round(hours[0] * 0.04, -1):.0f} to {round(hours[1] * 0.04, -1):.0f} USD" in page


def test_what_the_disks_of_a_large_cohort_take_follows_from_the_measured_numbers() -> None:
    page = Macros(ROOT).expand(words("docs/cohort.md"))
    read, volume = VOXELS * 2, VOXELS * noted("cohort_bytes_voxel")
    written = volume + noted("cohort_mb_other") * 1e6
    every = 2 * noted("cohort_seconds_older") / 200
    assert f"{read / 1e6:.0f} MB (16 bits a voxel" in page
    assert f"so {volume / 1e6:.0f} MB; {noted('cohort_mb_other'):.1f} MB for all else" in page
    assert f"which take {100 * volume / written:.0f} % of the disk space" in page
    assert f"a scan is finished every {every:.1f} s: the disks must read {read / every / 1e9:.2f} GB/s" in page
    assert f"write {written / every / 1e9:.2f} GB/s" in page
    assert f"At 1,000 cores they must read {5 * read / every / 1e9:.1f} and write {5 * written / every / 1e9:.1f} GB/s." in page
    assert f"{SCANS * read / 1e12:.0f} TB are read and {SCANS * written / 1e12:.0f} TB written" in page


def test_the_decision_on_models_says_how_large_the_shipped_ones_are() -> None:
    files = (ROOT / "KernelNormalization" / "Resources" / "Models").rglob("model.*")
    size = sum(path.stat().st_size for path in files)
    assert f"({size / 1e6:.0f} MB for the two shipped models)" in words("docs/decisions/0003-no-pickles.md")


def test_the_readme_has_at_most_700_words() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 700


def test_what_the_worst_damaged_slice_does_to_a_whole_scan_follows_from_the_table() -> None:
    """EI is a share of all slices, so that one of 99 counts a 99th."""
    table = results_tables.table_of(ROOT, "damaged_bits/table.md", 1)
    worst = max(float(points) for points in re.findall(r"([\d.]+) points", table))
    assert f"In a scan of 99 slices the worst of these changes is {worst / 99:.3f} points of EI." in words("docs/limits.md")
