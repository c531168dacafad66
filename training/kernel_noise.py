"""Checks of kernels that are estimated from noise: ``python -m training.kernel_noise``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from EmphysemaQuantLib.core.lungs.segmentation import segment_lungs
from KernelNormalizationLib.core.io.file_conversion import create_normalizer
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.io.writing import atomic_path
from KernelNormalizationLib.core.methods.protocol import DEFAULT_METHOD

from .checking.kernel_noise import GAIN_CHECK, NoiseCurve, gains_of_real_pairs, smooth_spectra, tag_and_no_tag
from .checking.outcomes import Outcome
from .checking.real import CHEST
from .checking.stability import Scan, simulated_scans
from .checking.summary import table_lines
from .evaluation.measured import ResultNumbers
from .running.command_line import ends_with_code

logger = logging.getLogger("training.kernel_noise")
COLOURS = {"published": "black", "simulated": "tab:blue", "real slice": "tab:orange"}


@ends_with_code(logger)
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when every value keeps its limit, 1 when not, 2 for unusable input."""
    parser = argparse.ArgumentParser("python -m training.kernel_noise", description=__doc__)
    parser.add_argument("--pairs", type=Path, metavar="FOLDER", help="simulated pairs")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="only the first N of them (default: 20)")
    parser.add_argument("--real", type=Path, default=Path("../shared/data"), metavar="FOLDER", help="folder of the real scans")
    parser.add_argument("--plot", type=Path, required=True, metavar="PNG", help="picture of B20f noise spectra to write")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep numbers for the documents in FOLDER/kernel_noise.json")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    outcomes = _checked(args.real, args.pairs, args.limit)
    save_spectra(smooth_spectra(args.real, args.pairs, args.limit), args.plot)
    for line in table_lines(outcomes):
        logger.info("%s", line)
    if args.out is not None:
        _keep(outcomes, args.out / "kernel_noise.json")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def _keep(outcomes: Sequence[Outcome], path: Path) -> None:
    gains = [abs(outcome.value) for outcome in outcomes if outcome.check == GAIN_CHECK]
    kept = ResultNumbers()
    if gains:
        kept.add("phantom_gain", max(gains), 3, "largest difference of gain from noise and measured, two phantom pairs")
    kept.write(path, "python -m training.kernel_noise")


def _checked(real: Path, pairs: Path | None, limit: int) -> list[Outcome]:
    scans = simulated_scans(pairs, limit)[0] if pairs is not None else []
    if (real / CHEST).is_dir():
        chest = read_volume(real / CHEST)
        scans.append(Scan("real B70f", chest, segment_lungs(chest).mask))
    methods = {str(DEFAULT_METHOD): create_normalizer(DEFAULT_METHOD)}
    outcomes = []
    for found in (*tag_and_no_tag(methods, scans), *gains_of_real_pairs(real)):
        if isinstance(found, Outcome):
            outcomes.append(found)
            logger.info("%s", found.line)
        else:
            logger.info("skipped: %s: %s", found.check, found.reason)
    return outcomes


def save_spectra(curves: list[NoiseCurve], target: Path) -> None:
    """Draw noise spectra into the PNG file ``target``."""
    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.subplots()
    named: set[str] = set()
    for curve in sorted(curves, key=lambda c: c.label == "published"):
        label = None if curve.label in named else f"{curve.label} ({sum(c.label == curve.label for c in curves)})"
        named.add(curve.label)
        used = np.arange(len(curve.power)) >= 1
        width = 2.5 if curve.label == "published" else 0.8
        axes.plot(curve.frequency[used], curve.power[used], color=COLOURS[curve.label], linewidth=width, label=label)
    axes.set(
        xlim=(0.0, 8.0),
        ylim=(0.0, 2.0),
        xlabel="frequency, lp/cm",
        ylabel="noise power, equal from 2.5 to 5.5 lp/cm",
        title="B20f noise in soft tissue",
    )
    axes.legend()
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


if __name__ == "__main__":
    sys.exit(main())
