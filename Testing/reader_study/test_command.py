"""The example, and the commands as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ctkernel.cli import main
from ctkernel.reader_study.example import make_example
from KernelNormalizationLib.core.errors import Cancelled, InputError
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.progress import ProgressTracker

SMALL = (12, 96, 96)


@pytest.mark.slow
def test_the_example_is_two_folders_that_prepare_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    originals, normalized = make_example(tmp_path / "try", 4, "linear", ProgressTracker(), SMALL)
    assert [path.name for path in sorted(originals.iterdir())] == [f"simulated-00{n}.nrrd" for n in range(1, 5)]
    first = [read_volume(folder / "simulated-001.nrrd") for folder in (originals, normalized)]
    assert [volume.synthetic for volume in first] == [False, True]
    assert first[0].acquisition.kernel == "B20f"
    words = ["reader-study", "prepare", str(originals), str(normalized), "--out", str(tmp_path / "study"), "--json"]
    assert main([*words, "--reader", "anna", "--reader", "ben"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cases"], told["readers"]) == (4, ["anna", "ben"])
    assert Path(told["seal"]) == tmp_path / "study.seal.json"
    assert "seed" not in told
    # nobody has read yet
    assert main(["reader-study", "report", str(tmp_path / "study"), "--out", str(tmp_path / "report")]) == 2
    assert "anna has scored 0 of 4" in capsys.readouterr().err


def test_bad_folders_end_with_exit_code_2_and_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["prepare", str(tmp_path / "none"), str(tmp_path), "--out", str(tmp_path / "study")],
        ["run", str(tmp_path)],
        ["report", str(tmp_path), "--out", str(tmp_path / "report")],
        ["example", "--out", str(tmp_path / "try"), "--cases", "0"],
    ):
        assert main(["reader-study", *words]) == 2
        assert capsys.readouterr().err.startswith("ctkernel: ")
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_example_leaves_nothing(tmp_path: Path) -> None:
    asked = iter([False] * 3 + [True] * 100)
    with pytest.raises(Cancelled):
        make_example(tmp_path / "try", 4, "linear", ProgressTracker(is_cancelled=lambda: next(asked)), SMALL)
    assert list(tmp_path.iterdir()) == []


def test_an_example_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="not empty"):
        make_example(tmp_path, 4, "linear", ProgressTracker(), SMALL)
