"""The tables of lossy compression and of damaged bits, which the documents show, say what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("openjpeg")

from Testing.emphysema.lossy import Change, Measured, table, write_table


def test_a_row_for_every_ratio_and_no_change_without_a_sign() -> None:
    b70f = Measured(
        "B70f", 64.2, (11.18, 0.39), (Change(None, 1.93, 0.0, (0.0, -0.001)), Change(5.0, 5.0, -4.1, (0.03, -0.02)))
    )
    soft = Measured("B", 9.0, (0.1, 0.1), (Change(None, 3.41, 0.0, (0.0, 0.0)), Change(5.0, 5.0, 0.1, (0.0, 0.0))))
    rows = table([b70f, soft])
    assert rows[0] == "| ratio | B70f: noise | B70f: EI, scan / normalized | B: noise | B: EI, scan / normalized |"
    assert rows[2] == "| uncompressed | 64.2 HU | 11.18 / 0.39 % | 9.0 HU | 0.10 / 0.10 % |"
    assert rows[3] == "| lossless (1.9, 3.4 : 1) | 0.0 % | 0.00 / 0.00 points | 0.0 % | 0.00 / 0.00 points |"
    assert rows[4] == "| 5 : 1 | -4.1 % | +0.03 / -0.02 points | +0.1 % | 0.00 / 0.00 points |"


def test_the_results_file_says_how_it_was_made_and_for_what_it_may_be_used(tmp_path: Path) -> None:
    write_table(tmp_path / "new" / "table.md", ["| a |", "| --- |"], "measure SCAN")
    text = (tmp_path / "new" / "table.md").read_text(encoding="utf-8")
    assert text.startswith("| a |")
    assert "Made by `measure SCAN` on 20" in text
    assert "Research use only" in text
