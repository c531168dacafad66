"""Every picture of README and documents, and the command that makes it: ``make pictures``.

``python -m docsite.pictures`` makes all of them anew; ``--only NAME …`` those of some makers; ``--list`` says which picture is
whose. A maker whose scans are not on this computer is named and left out, and its pictures stay as they are.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCREENSHOTS, RESULTS = "Resources/Screenshots", "training/results"
B70F = "../shared/data/cptac-c3n00247-siemens/sharp_B70f"
PHILIPS = "../shared/data/lung-dx-a0001-philips"
# Drawn once by hand, so there is nothing to run.
DRAWN_BY_HAND = ("Resources/CTKernelNormalization.png", "docs/engineer/architecture.svg")
# Files that show pictures, below the root.
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md", "training/**/*.md")
_PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s#]+)\)|\]\(([^)\s#]+\.(?:png|svg))\)|<img[^>]+src=\"([^\"]+)\"")
_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Maker:
    """What makes some pictures.

    Attributes:
        about: what they show.
        pictures: place in the repository -> name that the commands give it.
        commands: words of each, after ``python``; ``{out}`` stands for a folder to write to.
        needs: files or folders without which they cannot be made, relative to the root.
        minutes: that it took on two cores, roughly.
    """

    about: str
    pictures: Mapping[str, str]
    commands: tuple[str, ...]
    needs: tuple[str, ...] = ()
    minutes: int = 1


def _named(folder: str, *names: str) -> dict[str, str]:
    return {f"{folder}/{name}": name for name in names}


_PLOTS = ("bland_altman.png", "calibration.png", "dei_and_dice.png")
_PAPER_PANELS = ("panel_sim0017.png", "panel_sim0053.png")
_METHODS = "--methods raw heuristic bands linear restored unet"
# The model that follows the recipe of the study.
STUDY = "study=unet:KernelNormalization/Resources/Models/unet-paper-20261126"
_CHECKS = ("philips_L_to_B.png", "siemens_B70f.png", "toshiba_FC51_to_FC13.png")
MAKERS: dict[str, Maker] = {
    "panels": Maker(
        "both modules on the stand-in for Slicer's Qt, with their slice views, on the simulated chest",
        _named(SCREENSHOTS, "KernelNormalization.png", "Difference.png", "EmphysemaQuant.png", "SideBySide.png"),
        ("Testing/widgets/make_screenshots.py {out}",),
        minutes=2,
    ),
    "chest": Maker(
        "the B70f chest: original, normalized, difference",
        {f"{SCREENSHOTS}/B70f.png": "comparison.png"},
        (f"-m ctkernel demo {B70F} --out {{out}}",),
        (B70F,),
    ),
    "review": Maker(
        "the review page in Chromium, on the B70f chest",
        _named(SCREENSHOTS, "ReviewPair1280.png", "ReviewPair1920.png", "ReviewDifference1280.png"),
        (f"-m Testing.review.measure_page {B70F} {{out}}",),
        (B70F,),
        minutes=2,
    ),
    "readers": Maker(
        "the reader study in Chromium: the page, and the scores of two simulated readers",
        _named(SCREENSHOTS, "ReaderStudy.png", "ReaderStudyScores.png"),
        ("Testing/reader_study/make_pictures.py {out}",),
        minutes=2,
    ),
    "cohort": Maker(
        "the summary page of a cohort of simulated chests, in Chromium",
        _named(SCREENSHOTS, "CohortSummary.png"),
        ("Testing/cohort/make_picture.py {out}",),
        minutes=2,
    ),
    "plots": Maker(
        "box plots, Bland-Altman and calibration of the 71 simulated patients, from their scores",
        _named(f"{RESULTS}/paper", *_PLOTS),
        (f"-m training.plots {RESULTS}/paper {{out}}",),
    ),
    "philips": Maker(
        "every method beside the real soft series of the Philips pair",
        _named(f"{RESULTS}/philips", "panel_pair0000.png"),
        (
            f"-m training.pairs {PHILIPS} --out {{out}}/pairs",
            f"-m training.evaluate {{out}}/pairs {_METHODS} --best restored --out {{out}} --panels 1",
        ),
        (PHILIPS,),
        minutes=5,
    ),
    "patients": Maker(
        "every method on two of the 71 simulated patients",
        _named(f"{RESULTS}/paper", *_PAPER_PANELS),
        (f"-m training.evaluate runs/paper {_METHODS} oracle {STUDY} --best restored --out {{out}} --panels 2",),
        ("runs/paper/manifest.json",),
        minutes=120,
    ),
    "checks": Maker(
        "the default method on the real scans at hand",
        _named(f"{RESULTS}/checks", *_CHECKS),
        ("-m training.checks --pairs runs/paper --limit 2 --out {out}",),
        ("runs/paper/manifest.json", B70F, PHILIPS),
        minutes=60,
    ),
}


def pictures_shown(root: Path = ROOT) -> dict[str, list[str]]:
    """Picture, relative to the root -> the pages that show it or link to it. Pictures from the network are left out."""
    found: dict[str, list[str]] = {}
    for page in sorted({path for pattern in PAGES for path in root.glob(pattern)}):
        text = _CODE.sub("", page.read_text(encoding="utf-8"))
        for targets in _PICTURE.findall(text):
            target = next(filter(None, targets))
            if "://" not in target:
                place = os.path.normpath(page.parent / target)
                found.setdefault(Path(place).relative_to(root).as_posix(), []).append(page.relative_to(root).as_posix())
    return found


def makers_of_pictures() -> dict[str, str]:
    """Picture, relative to the root -> name of its maker."""
    return {picture: name for name, maker in MAKERS.items() for picture in maker.pictures}


def missing(maker: Maker, root: Path = ROOT) -> list[str]:
    """What the maker needs and is not there."""
    return [need for need in maker.needs if not (root / need).exists()]


def make(maker: Maker, root: Path = ROOT) -> None:
    """Make the pictures of a maker and put them into their places; all of them or none.

    Raises:
        subprocess.CalledProcessError: a command failed.
        FileNotFoundError: a command did not make what it should have.
    """
    paths = os.pathsep.join(str(root / part) for part in ("KernelNormalization", "EmphysemaQuant", ""))
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out"
        for command in maker.commands:
            words = [word.replace("{out}", str(out)) for word in command.split()]
            subprocess.run([sys.executable, *words], check=True, cwd=root, env=os.environ | {"PYTHONPATH": paths})
        made = {picture: out / file for picture, file in maker.pictures.items()}
        absent = [path.name for path in made.values() if not path.is_file()]
        if absent:
            raise FileNotFoundError(f"{maker.commands[-1]} did not make {', '.join(absent)}")
        for picture, path in made.items():
            shutil.copyfile(path, root / picture)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 1 if a maker failed or its scans are not here."""
    parser = argparse.ArgumentParser("python -m docsite.pictures", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=MAKERS, metavar="NAME", default=list(MAKERS), help=f"of {', '.join(MAKERS)}"
    )
    parser.add_argument("--list", action="store_true", help="say which picture is made by what, and make none")
    options = parser.parse_args(arguments)
    left = 0
    for name in options.only:
        maker = MAKERS[name]
        lacking = missing(maker)
        _say(
            f"{name} ({maker.about}; about {maker.minutes} min): {', '.join(Path(picture).name for picture in maker.pictures)}"
        )
        if options.list:
            for command in maker.commands:
                _say(f"    python {command}")
        elif lacking:
            left += 1
            _say(f"  left as they are: {', '.join(lacking)} is not here")
        else:
            try:
                make(maker)
            except (subprocess.CalledProcessError, OSError) as error:
                left += 1
                _say(f"  left as they are: {error}")
    return int(left > 0)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
