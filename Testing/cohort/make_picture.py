"""Writes the picture of a cohort's summary page: ``python Testing/cohort/make_picture.py FOLDER``.

Simulated chests with a soft partner each, run through ``ctkernel cohort``; the top of the page in Chromium.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("Testing", "KernelNormalization", "EmphysemaQuant", "")]

from cohort.runs import environment  # noqa: E402

from KernelNormalizationLib.core.io.writing import write_volume  # noqa: E402
from KernelNormalizationLib.core.simulated_chest import make_sample  # noqa: E402
from Testing.web.chromium import chromium, open_window, wait_drawn  # noqa: E402

CASES = 12
SHAPE, SPACING = (52, 384, 384), (5.0, 0.865, 0.865)
SIZE = {"width": 1280, "height": 1000}
FOOT_PIXELS = 44


def main(folder: Path) -> None:
    """Write ``CohortSummary.png`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        results = run(Path(name))
        page = open_window(browser, SIZE)
        page.goto((results / "summary.html").as_uri())
        # down to the end of the second figure, above the line at the foot of the window
        end = page.locator("figure").nth(1).bounding_box()
        page.set_viewport_size({"width": SIZE["width"], "height": round(end["y"] + end["height"]) + FOOT_PIXELS})
        wait_drawn(page)
        page.screenshot(path=folder / "CohortSummary.png")


def run(folder: Path) -> Path:
    """The results of a cohort of simulated chests, each beside its soft reconstruction."""
    rows = []
    for number in range(CASES):
        sample, names = make_sample(100 + number, SHAPE, SPACING), [f"{kind}{number:02d}.nrrd" for kind in ("sharp", "soft")]
        for volume, file in zip((sample.sharp, sample.smooth), names, strict=True):
            write_volume(volume, folder / file)
        rows.append({"path": names[0], "partner": names[1], "case": f"simulated-{number + 1:02d}"})
    with (folder / "list.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    command = [
        sys.executable,
        "-m",
        "ctkernel",
        "cohort",
        str(folder / "list.csv"),
        "--out",
        str(folder / "results"),
        "--report",
    ]
    subprocess.run(command, check=True, env=environment(), stdout=subprocess.DEVNULL)
    return folder / "results"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
