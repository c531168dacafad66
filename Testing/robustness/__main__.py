"""``python -m Testing.robustness --cases 1000 --seed N``: counts by class, and every fault with its case."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from .case import FAULTS
from .runner import run_cases


def main() -> int:
    """Exit code 0 without a fault, else 1."""
    parser = argparse.ArgumentParser(prog="python -m Testing.robustness", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--all", action="store_true", help="print every case, not only the faults")
    options = parser.parse_args()
    start, counts = time.monotonic(), Counter[str]()
    for result in run_cases(options.cases, options.seed):
        counts[result.outcome] += 1
        if options.all or result.outcome in FAULTS:
            line = f"{result.number:5d} {result.outcome}: {result.name} | {result.detail}"
            sys.stdout.write(ascii(line)[1:-1] + "\n")
            sys.stdout.flush()
    table = ", ".join(f"{counts[name]} {name}" for name in ("right", "clean error", *FAULTS))
    sys.stdout.write(f"{options.cases} cases of seed {options.seed} in {time.monotonic() - start:.0f} s: {table}\n")
    return 1 if any(counts[name] for name in FAULTS) else 0


if __name__ == "__main__":
    sys.exit(main())
