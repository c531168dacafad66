"""Store the error of the index that remains with the method "restored", for the interval that the product shows."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

from EmphysemaQuantLib.core.indices.prediction_interval import STRATA_KEY
from KernelNormalizationLib.core.io.writing import atomic_path
from KernelNormalizationLib.core.methods.protocol import ERRORS_PATH, RESTORATION, RESTORATION_KEY

from .evaluation.report import read_scores
from .running.command_line import ends_with_code
from .running.error_strata import error_strata

logger = logging.getLogger("training.restored_errors")
METHOD = "restored"


@ends_with_code(logger)
def main(arguments: list[str] | None = None) -> int:
    """Command line: ``python -m training.restored_errors``; 0 when the file was written, 2 for unusable input."""
    parser = argparse.ArgumentParser("python -m training.restored_errors", description=__doc__)
    parser.add_argument("results", type=Path, help="folder that training.evaluate wrote, with the method restored")
    parser.add_argument("--population", default="simulated patients", help="who the patients are")
    parser.add_argument("--out", type=Path, default=ERRORS_PATH, help="file to write (default: the product's)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    strata = error_strata(read_scores(options.results), METHOD, options.population)
    errors = {"id": METHOD, RESTORATION_KEY: RESTORATION, STRATA_KEY: [asdict(stratum) for stratum in strata]}
    with atomic_path(options.out) as temporary:
        temporary.write_text(json.dumps(errors, indent=1) + "\n", encoding="utf-8")
    logger.info("%s is written", options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
