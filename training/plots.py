"""Draws the plots of an evaluation again from its scores: ``python -m training.plots RESULTS OUT``."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from KernelNormalizationLib.core.errors import CTKernelError, InputError

from .evaluation.report import read_scores, write_plots

logger = logging.getLogger("training.plots")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the plots were drawn, 2 for unusable input."""
    parser = argparse.ArgumentParser("python -m training.plots", description=__doc__)
    parser.add_argument("results", type=Path, help="folder of an evaluation, with its scores.csv")
    parser.add_argument("out", type=Path, help="folder to draw into")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        scores = read_scores(args.results)
        if not scores:
            raise InputError(f"{args.results} holds no scores.csv; give the folder of an evaluation.")
        args.out.mkdir(parents=True, exist_ok=True)
        write_plots(args.out, scores)
    except CTKernelError as error:
        logger.error("%s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
