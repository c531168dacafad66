"""Compare normalization methods on pairs, following the B80f to B20f study: ``python -m training.evaluate``."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.errors import CTKernelError, InputError
from KernelNormalizationLib.core.io.writing import atomic_path

from .evaluation.cases import Case, find_cases, load_case
from .evaluation.figures import FIGURE_SUFFIXES, save_panel
from .evaluation.methods import MethodRunner, parse_method, read_folds
from .evaluation.report import Provenance, read_scores, write_report, write_scores
from .evaluation.scores import Score, score
from .running.command_line import ends_with_code, without_notices
from .simulate.store import read_manifest

logger = logging.getLogger("training.evaluate")

DEFAULT_METHODS = ["raw", "heuristic", "bands", "linear", "restored"]
DESCRIPTION = """\
Evaluate methods on pairs made by training.simulate or found by training.pairs: L1 (whole image, body, lung), |dEI| and Dice
at -950 HU, mean ± std [min, max] for all patients and for EI > 5, paired one-sided t-tests, the paper's Table 1 beside it.

Methods are written [LABEL=]KIND[:MODEL]:
  raw, heuristic, bands, linear   the sharp image itself and the classical methods of the product
  restored                        linear transfer with what truncation took put back: the network's base without the network
  linear:exact, restored:exact    the same, told the simulated kernel's own gain
  unet, ours=unet:FOLDER          the network that ships, or the model in FOLDER
  cv=unet:RUNS/fold{fold}         for every patient the model of the fold that left it out (needs --folds)
  oracle                          exact linear transfer of the sharp volume before its floor (needs --keep-unclipped data)"""


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(
        "python -m training.evaluate", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=Path, nargs="+", metavar="PAIRS", help="folders with patients/*.npz")
    parser.add_argument(
        "--methods", nargs="+", default=DEFAULT_METHODS, metavar="METHOD", help=f"default: {' '.join(DEFAULT_METHODS)}"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for tables and figures")
    parser.add_argument("--best", metavar="LABEL", help="method tested against the others (default: the last one)")
    parser.add_argument("--folds", type=Path, metavar="FILE", help="JSON object of patient names and test folds")
    parser.add_argument("--device", choices=("auto", "cuda", "mps", "cpu"), default="auto", help="where networks compute")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N pairs of every folder")
    parser.add_argument(
        "--resume", action="store_true", help="keep the scores already in --out, compute those missing (same models!)"
    )
    parser.add_argument("--panels", type=int, default=3, metavar="N", help="pairs to draw like the paper's Fig. 1 (default: 3)")
    return parser


@ends_with_code(logger)
@without_notices()
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when there are results, 2 for unusable input."""
    args = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    run(args, shlex.join(["python", "-m", "training.evaluate", *(sys.argv[1:] if arguments is None else arguments)]))
    return 0


def run(args: argparse.Namespace, command: str) -> None:
    """Evaluate and write the report.

    Raises:
        InputError: there are no pairs, a method is unknown, or no pair gave a result.
    """
    specs = [parse_method(text) for text in args.methods]
    labels = [spec.label for spec in specs]
    if len(set(labels)) < len(labels):
        raise InputError(f"Two methods share a label ({', '.join(labels)}); name them with LABEL=KIND.")
    best = args.best or labels[-1]
    if best not in labels:
        raise InputError(f"--best {best} is none of {', '.join(labels)}.")
    paths = [path for folder in args.pairs for path in find_cases(folder)[: args.limit or None]]
    if len({path.stem for path in paths}) < len(paths):
        raise InputError("Two folders hold pairs of the same name; evaluate them one by one.")
    runners = [MethodRunner(spec, read_folds(args.folds), args.device) for spec in specs]
    panels = _panel_numbers(len(paths), args.panels)
    scores = [s for s in read_scores(args.out) if s.method in labels] if args.resume else []
    known = {(s.case, s.method) for s in scores}
    skipped: list[str] = []
    for number, path in enumerate(paths):
        needed = [runner for runner in runners if (path.stem, runner.spec.label) not in known]
        if not needed:
            continue
        found, failures = evaluate_case(path, needed, args.out if number in panels else None)
        scores += found
        write_scores(args.out, scores)
        skipped += failures
        logger.info("%d of %d, %s: %s", number + 1, len(paths), path.stem, "; ".join(_line(s) for s in found))
    if not scores:
        raise InputError(f"No pair gave a result: {'; '.join(skipped[:3])}")
    order = {label: n for n, label in enumerate(labels)}
    scores.sort(key=lambda s: (s.case, order[s.method]))
    write_report(args.out, scores, best, Provenance.now(command, _describe(args.pairs)), skipped)
    logger.info("results are in %s", args.out / "results.md")


def _line(s: Score) -> str:
    return f"{s.method} L1 {s.l1_image:.1f} dEI {s.ei - s.true_ei:+.2f} Dice {s.dice:.2f}"


def evaluate_case(path: Path, runners: list[MethodRunner], panels: Path | None) -> tuple[list[Score], list[str]]:
    """Scores of every method on one pair, and messages about failures.

    Args:
        path: patient file.
        runners: the methods.
        panels: folder for a figure of this pair, or ``None``.
    """
    try:
        case = load_case(path)
    except CTKernelError as error:
        return [], [f"{path.stem}: {error}"]
    scores, failures, images = [], [], []
    for runner in runners:
        began = time.monotonic()
        try:
            hu = runner(case)
        except CTKernelError as error:
            failures.append(f"{path.stem}, {runner.spec.label}: {error}")
            continue
        scores.append(score(case, runner.spec.label, hu))
        images.append((runner.spec.label, hu))
        logger.debug("%s %s: %.1f s", path.stem, runner.spec.label, time.monotonic() - began)
    if panels is not None and images:
        _draw(panels, case, images)
    return scores, failures


def _draw(folder: Path, case: Case, images: list[tuple[str, FloatArray]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in FIGURE_SUFFIXES:
        with atomic_path(folder / f"panel_{case.name}{suffix}") as path:
            save_panel(path, case, images)


def _panel_numbers(count: int, wanted: int) -> set[int]:
    wanted = min(wanted, count)
    return {round((n + 0.5) * count / wanted - 0.5) for n in range(wanted)}


def _describe(folders: list[Path]) -> dict[str, Any]:
    described = {}
    for folder in folders:
        manifest = read_manifest(folder)
        described[folder.name] = {"pairs": len(manifest.get("patients", [])), **manifest.get("parameters", {})}
        described[folder.name].pop("skipped", None)
    return described


if __name__ == "__main__":
    sys.exit(main())
