"""How often the interval of a normalized index holds the true one: ``python -m training.coverage``."""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from EmphysemaQuantLib.core.indices.left_open import read_left_open
from EmphysemaQuantLib.core.indices.prediction_interval import EIInterval, ErrorStratum, ei_interval, read_strata
from KernelNormalizationLib.core.errors import CTKernelError, InputError
from KernelNormalizationLib.core.io.file_conversion import create_normalizer
from KernelNormalizationLib.core.io.writing import atomic_path, write_json
from KernelNormalizationLib.core.methods.protocol import ERRORS_PATH, HYPOTHESES_KEY, Normalizer
from KernelNormalizationLib.core.network.backends import Device
from KernelNormalizationLib.core.network.model_folder import CARD
from KernelNormalizationLib.core.progress import ProgressTracker

from .evaluation.cases import find_cases, load_case
from .evaluation.scores import Score, score
from .running.command_line import ends_with_code, without_notices
from .running.error_strata import error_strata

logger = logging.getLogger("training.coverage")

DESCRIPTION = """\
Normalize simulated patients, give every index its interval, and count how often the true index (B20f) lies inside.

The interval needs the error of the method in patients apart from those counted: the model's card has it, or --calibrate names
pairs on which it is measured here. Count on scanners that neither the model nor the errors have seen (training.simulate
--preset outside). Beside it stands what the errors alone would give, without what a scan leaves open."""
LABEL = "ours"


@dataclass(frozen=True)
class NormalizedPatient:
    """A patient and what the product says of the index.

    Attributes:
        score: true and normalized index.
        hypotheses: the provenance record's entry.
    """

    score: Score
    hypotheses: dict[str, Any]


@dataclass(frozen=True)
class Counted:
    """A patient's intervals.

    Attributes:
        case: name.
        true_ei, ei: %, index of the real smooth image and of the normalized one.
        full: the interval that the product shows.
        strata: the interval from the errors alone.
    """

    case: str
    true_ei: float
    ei: float
    full: EIInterval
    strata: EIInterval

    @property
    def inside(self) -> tuple[bool, bool]:
        """Whether the true index lies in the full interval, and in that of the errors alone."""
        return (self.full.low <= self.true_ei <= self.full.high, self.strata.low <= self.true_ei <= self.strata.high)


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(
        "python -m training.coverage", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=Path, nargs="+", metavar="PAIRS", help="folders with patients/*.npz to count on")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="model (default: restoration and transfer, no network)")
    parser.add_argument(
        "--calibrate",
        type=Path,
        nargs="+",
        default=[],
        metavar="PAIRS",
        help="folders to measure the errors on (default: those that the product knows)",
    )
    parser.add_argument("--population", default="simulated patients", help="who the patients of --calibrate are")
    parser.add_argument("--device", choices=("auto", "cuda", "mps", "cpu"), default="auto", help="where the network computes")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N pairs of every folder")
    parser.add_argument("--resume", action="store_true", help="keep what --out has measured already (same model!)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for coverage.csv and coverage.md")
    return parser


@ends_with_code(logger)
@without_notices()
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when there are results, 2 for unusable input."""
    args = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    run(args)
    return 0


def run(args: argparse.Namespace) -> None:
    """Measure, count, write and print.

    Raises:
        InputError: no pairs, no errors to make an interval of, or pairs that stand on both sides.
    """
    both = {p.resolve() for p in args.pairs} & {p.resolve() for p in args.calibrate}
    if both:
        raise InputError(f"{', '.join(p.name for p in both)} is counted and calibrated on; take patients apart.")
    strata = () if args.calibrate else _known_strata(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    normalizer = _normalizer(args.model, args.device)
    if args.calibrate:
        known = _measure_all(args.calibrate, normalizer, args)
        strata = tuple(error_strata([m.score for m in known], LABEL, args.population))
    counted = count(_measure_all(args.pairs, normalizer, args), strata)
    _write_csv(counted, args.out / "coverage.csv")
    text = "\n".join(report(counted, strata))
    with atomic_path(args.out / "coverage.md") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


def count(measured: Sequence[NormalizedPatient], strata: Sequence[ErrorStratum]) -> list[Counted]:
    """Both intervals of every patient.

    Raises:
        InputError: the errors give no interval for some index.
    """
    counted = []
    for m in measured:
        left_open = read_left_open({HYPOTHESES_KEY: m.hypotheses}) or ()
        full, alone = ei_interval(m.score.ei, strata, left_open=left_open), ei_interval(m.score.ei, strata)
        if full is None or alone is None:
            raise InputError(f"No error is known for an EI of {m.score.ei:.2f} %; calibrate on more patients (--calibrate).")
        counted.append(Counted(m.score.case, m.score.true_ei, m.score.ei, full, alone))
    return counted


def report(counted: Sequence[Counted], strata: Sequence[ErrorStratum]) -> list[str]:
    """Markdown lines: coverage by stratum of the normalized index, with n."""
    groups = [(f"{s.ei_from:g} to {s.ei_to:g}", [c for c in counted if s.holds(c.ei)]) for s in strata]
    lines = [
        "# Coverage of the 95 % interval",
        "",
        "| normalized EI, % | n | inside | coverage (95 % CI) | mean width, points | errors alone: coverage | width |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(name, group) for name, group in [*groups, ("all", list(counted))] if group]
    lines += ["", "Errors behind it:", "", *(f"- {s.basis}" for s in strata)]
    outside = [c for c in counted if not c.inside[0]]
    lines += ["", "Outside: " + (", ".join(_missed(c) for c in outside) or "none")]
    return lines


def _row(name: str, group: Sequence[Counted]) -> str:
    full, alone = (sum(c.inside[n] for c in group) for n in (0, 1))
    low, high = stats.binomtest(full, len(group)).proportion_ci(0.95)
    widths = [
        sum(i.high - i.low for i in intervals) / len(group)
        for intervals in ([c.full for c in group], [c.strata for c in group])
    ]
    share = f"{100 * full / len(group):.0f} % ({100 * low:.0f} to {100 * high:.0f})"
    alone_share = f"{100 * alone / len(group):.0f} %"
    return f"| {name} | {len(group)} | {full} | {share} | {widths[0]:.2f} | {alone_share} | {widths[1]:.2f} |"


def _missed(c: Counted) -> str:
    return f"{c.case} (true {c.true_ei:.2f}, normalized {c.ei:.2f}, {c.full.low:.2f} to {c.full.high:.2f} %)"


def _known_strata(model: Path | None) -> tuple[ErrorStratum, ...]:
    """The errors in the card of ``model``, or those of the method without a network.

    Raises:
        InputError: there are none.
    """
    path = ERRORS_PATH if model is None else model / CARD
    strata = read_strata(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else ()
    if not strata:
        raise InputError("No error of the index is known to make an interval of; give pairs to measure it on (--calibrate).")
    return strata


def _normalizer(model: Path | None, device: Device) -> Normalizer:
    return create_normalizer("restored") if model is None else create_normalizer("unet", model=str(model), device=device)


def _measure_all(folders: Sequence[Path], normalizer: Normalizer, args: argparse.Namespace) -> list[NormalizedPatient]:
    return [m for folder in folders for m in _measure_folder(folder, normalizer, args)]


def _measure_folder(folder: Path, normalizer: Normalizer, args: argparse.Namespace) -> list[NormalizedPatient]:
    store = args.out / f"measured_{folder.name}.json"
    known: dict[str, NormalizedPatient] = {}
    if args.resume and store.is_file():
        entries = json.loads(store.read_text(encoding="utf-8"))
        known = {e["score"]["case"]: NormalizedPatient(Score(**e["score"]), e["hypotheses"]) for e in entries}
    paths = find_cases(folder)[: args.limit or None]
    for number, path in enumerate(paths, 1):
        if path.stem in known:
            continue
        try:
            known[path.stem] = measure(path, normalizer)
        except CTKernelError as error:
            logger.warning("%s is left out: %s", path.stem, error)
            continue
        found = known[path.stem].score
        place = f"{folder.name}, {number} of {len(paths)}, {path.stem}"
        logger.info("%s: EI %.2f (true %.2f)", place, found.ei, found.true_ei)
        write_json([asdict(m) for m in known.values()], store)
    return [known[path.stem] for path in paths if path.stem in known]


def measure(path: Path, normalizer: Normalizer) -> NormalizedPatient:
    """Normalize a patient file and score it.

    Raises:
        CTKernelError: the pair cannot be read or normalized.
    """
    case = load_case(path)
    result = normalizer.normalize(case.sharp, ProgressTracker())
    return NormalizedPatient(score(case, LABEL, result.volume.hu), result.record[HYPOTHESES_KEY])


def _write_csv(counted: Sequence[Counted], path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "case",
                "true EI [%]",
                "EI [%]",
                "low [%]",
                "high [%]",
                "inside",
                "errors alone low [%]",
                "errors alone high [%]",
                "errors alone inside",
                "basis",
            ]
        )
        for c in counted:
            numbers = [round(v, 4) for v in (c.true_ei, c.ei, c.full.low, c.full.high)]
            alone = [round(c.strata.low, 4), round(c.strata.high, 4), c.inside[1]]
            writer.writerow([c.case, *numbers, c.inside[0], *alone, c.full.basis])


if __name__ == "__main__":
    sys.exit(main())
