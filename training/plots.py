"""Draws the plots of an evaluation again from its scores: ``python -m training.plots RESULTS OUT``."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from KernelNormalizationLib.core.errors import InputError

from .evaluation.report import read_scores, write_plots
from .running.command_line import ends_with_code

logger = logging.getLogger("training.plots")


@ends_with_code(logger)
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the plots were drawn, 2 for unusable input."""
    parser = argparse.ArgumentParser("python -m training.plots", description=__doc__)
    parser.add_argument("results", type=Path, help="folder of an evaluation, with its scores.csv")
    parser.add_argument("out", type=Path, help="folder to draw into")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    scores = read_scores(args.results)
    if not scores:
        raise InputError(f"{args.results} holds no scores.csv; give the folder of an evaluation.")
    args.out.mkdir(parents=True, exist_ok=True)
    write_plots(args.out, scores)
    return 0


if __name__ == "__main__":
    sys.exit(main())
