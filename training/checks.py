"""The checks that decide whether a model may be released: ``python -m training.checks``."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from KernelNormalizationLib.core.errors import InputError
from KernelNormalizationLib.core.methods.registry import chosen_method, create_normalizer
from KernelNormalizationLib.core.network.model_folder import load_model

from .checking import fidelity, kernel_noise, real, stability
from .checking.outcomes import Findings, Methods, Outcome, Skipped
from .checking.panels import Panel, save_panel
from .checking.phantoms import Bench
from .checking.summary import table_lines, write_summary
from .evaluation.report import Provenance
from .running.command_line import ends_with_code, without_notices

logger = logging.getLogger("training.checks")

MODEL, LINEAR = "model", "linear"
GROUPS = ("smooth", "twice", "tag", "cylinders", "contrast", "real", "structure")
CHEST_SLICES = 16
DESCRIPTION = """\
Check a model as the product uses it, the linear transfer beside it:

  smooth     already smooth input moves by at most 2 HU
  twice      normalizing twice moves at most 2 HU
  tag        a scan without its kernel tag gives the same EI within 0.3 points and the lungs within 2 HU
  cylinders  water and lung-density cylinders keep their mean within 1 HU
  contrast   line pairs of 1 mm and a nodule of 5 mm keep the contrast of B20f within 5 %
  real       a Philips L to B pair, a Siemens B70f chest, Toshiba phantom pairs
  structure  nothing changes away from truncated voxels, no extremum appears that B20f does not show

Writes checks.json, checks.md and pictures of the real scans. Exit code 0: every value of the model keeps its limit; 1: one does
not; 2: unusable input."""


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(
        "python -m training.checks", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", metavar="FOLDER|ID", help="model to check (default: the default method, without a network)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--pairs", type=Path, metavar="FOLDER", help="simulated pairs, for smooth, twice and structure")
    parser.add_argument("--limit", type=int, default=4, metavar="N", help="only the first N of them (default: 4)")
    parser.add_argument(
        "--real",
        type=Path,
        default=Path("../shared/data"),
        metavar="FOLDER",
        help="folder of the real scans (default: ../shared/data)",
    )
    parser.add_argument(
        "--only", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="GROUP", help=f"some of: {' '.join(GROUPS)}"
    )
    parser.add_argument("--device", choices=("auto", "cuda", "mps", "cpu"), default="auto", help="where the network computes")
    return parser


@ends_with_code(logger)
@without_notices()
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the model keeps every limit, 1 when not, 2 for unusable input."""
    given = sys.argv[1:] if arguments is None else arguments
    args = build_parser().parse_args(given)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    outcomes = run(args, shlex.join(["python", "-m", "training.checks", *given]))
    return 0 if all(outcome.passed for outcome in outcomes if outcome.method == MODEL) else 1


def run(args: argparse.Namespace, command: str) -> list[Outcome]:
    """Carry out the checks and write the results.

    Raises:
        InputError: the arguments cannot be used, or nothing could be checked.
        ModelError: the model cannot be used.
    """
    if args.limit < 1:
        raise InputError(f"--limit is {args.limit}; give at least 1 pair.")
    model = None if args.model is None else load_model(args.model)
    method = chosen_method(None, args.model)
    folder = None if model is None else str(model.folder)
    methods = {
        MODEL: create_normalizer(method, model=folder, device=args.device),
        LINEAR: create_normalizer("linear"),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    skipped: list[Skipped] = []
    for found in findings(args, methods, model is not None and model.residual):
        if isinstance(found, Skipped):
            skipped.append(found)
            logger.info("skipped: %s: %s", found.check, found.reason)
        else:
            outcomes.append(found)
            logger.info("%s", found.line)
    if not outcomes:
        raise InputError("Nothing could be checked; give --pairs or --real, or other groups.")
    weights = {} if model is None else {"model": model.id, "weights_sha256": model.sha256}
    data = {"method": method, **weights, "pairs": args.pairs.name if args.pairs else None}
    write_summary(args.out, outcomes, skipped, Provenance.now(command, data))
    for line in table_lines(outcomes):
        logger.info("%s", line)
    logger.info("results are in %s", args.out / "checks.md")
    return outcomes


def findings(args: argparse.Namespace, methods: Methods, residual: bool) -> Findings:
    """Yield the results of the requested checks.

    Args:
        args: the command line.
        methods: methods to check.
        residual: whether the model corrects a base; only then is its output compared with the base.

    Raises:
        InputError: ``--pairs`` holds no pairs.
    """
    bench, chosen = Bench(), set(args.only)
    sharp, smooth = stability.simulated_scans(args.pairs, args.limit) if args.pairs else ([], [])
    if not args.pairs and chosen & {"smooth", "twice"}:
        yield Skipped(f"{stability.SMOOTH_CHECK}; {stability.TWICE_CHECK}", "no --pairs were given for simulated scans")
    if chosen & {"twice", "tag", "structure"}:
        yield from _added(sharp, real.middle_of_b70f(args.real, CHEST_SLICES))
    if "smooth" in chosen:
        yield from _smooth(methods, smooth, args.real)
    if "twice" in chosen:
        yield from stability.twice_is_once(methods, sharp)
    if "tag" in chosen:
        yield from kernel_noise.tag_and_no_tag(methods, sharp)
    if "cylinders" in chosen:
        yield from fidelity.cylinders_keep_their_mean(methods, bench)
    if "contrast" in chosen:
        yield from fidelity.detail_keeps_its_contrast(methods, bench)
    if "structure" in chosen:
        if residual:
            network = {MODEL: methods[MODEL]}
            yield from fidelity.off_truncation_is_the_base(network, {scan.name: scan.volume for scan in sharp})
        yield from fidelity.nothing_is_invented(methods, bench)
    if "real" in chosen:
        for check in (real.pair_of_another_maker, real.b70f_chest, real.phantom_pairs):
            yield from check(methods, args.real, _draw_into(args.out))


def _added(scans: list[stability.Scan], more: stability.Scan | Skipped) -> Iterator[Skipped]:
    if isinstance(more, Skipped):
        yield more
    else:
        scans.append(more)


def _smooth(methods: Methods, simulated: list[stability.Scan], folder: Path) -> Findings:
    yield from stability.smooth_scans_stay(methods, simulated, stability.TAGGED, "tagged B20f")
    yield from stability.smooth_scans_stay(methods, simulated, stability.UNTAGGED, "no tag")
    for scan in real.smooth_real_scans(folder):
        if isinstance(scan, Skipped):
            yield scan
        else:
            yield from stability.smooth_scans_stay(methods, [scan], None, "as it is")


def _draw_into(folder: Path) -> Callable[[Panel], None]:
    def draw(panel: Panel) -> None:
        save_panel(folder, panel)

    return draw


if __name__ == "__main__":
    sys.exit(main())
