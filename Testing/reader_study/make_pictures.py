"""Writes the pictures of the reader study: ``python Testing/reader_study/make_pictures.py FOLDER``.

The reader's page on a simulated chest, in Chromium; and the scores of two simulated readers of known skill, as many images and
right answers as in the paper, as the report draws them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("Testing", "KernelNormalization", "EmphysemaQuant", "")]

from reader_study.simulated_readers import (  # noqa: E402
    Seen,
    command_line,
    environment,
    read_cases,
    scores_of_skill,
    serving,
    wait_for_case,
)
from reader_study.studies import PAPER_CASES, PAPER_RIGHT, PAPER_SEED, Prepared, make_folders, prepare  # noqa: E402

from Testing.web.chromium import chromium, open_window, wait_drawn  # noqa: E402

EXAMPLE_CASES = 6


def main(folder: Path) -> None:
    """Write both pictures into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        page_of_a_reader(Path(name) / "page", folder / "ReaderStudy.png")
        scores_of_two_readers(Path(name) / "scores", folder / "ReaderStudyScores.png")


def page_of_a_reader(work: Path, target: Path) -> None:
    """The first case of the example study, with a score chosen."""
    work.mkdir()
    run("example", "--out", str(work / "try"), "--cases", str(EXAMPLE_CASES))
    originals, normalized = (str(work / "try" / name) for name in ("B20f", "normalized-B80f"))
    run("prepare", originals, normalized, "--out", str(work / "study"), "--seed", "1")
    with serving(work / "study") as addresses, chromium() as browser:
        page = open_window(browser, {"width": 1280, "height": 800})
        page.goto(next(iter(addresses.values())))
        page.get_by_role("button", name="Start").click()
        wait_for_case(page, 0)
        page.keyboard.press("4")
        wait_drawn(page)
        page.screenshot(path=target)


def scores_of_two_readers(work: Path, target: Path) -> None:
    """Both readers score every case in a browser; the report's figure of their scores."""
    work.mkdir()
    prepared: Prepared = prepare(make_folders(work, PAPER_CASES), work, PAPER_SEED)
    with serving(prepared.study.folder) as addresses, chromium() as browser:
        for number, (reader, right) in enumerate(PAPER_RIGHT.items()):
            scores = scores_of_skill(prepared, reader, right, seed=number)
            read_cases(open_window(browser, {"width": 800, "height": 600}), addresses[reader], scores, 0, PAPER_CASES, Seen())
    run("report", str(prepared.study.folder), "--out", str(work / "report"))
    target.write_bytes((work / "report" / "scores.png").read_bytes())


def run(*words: str) -> None:
    """``ctkernel reader-study``."""
    subprocess.run(command_line(*words), check=True, env=environment(), stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
