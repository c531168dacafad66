"""How well the kernel is estimated from the noise.

Command: ``python -m training.kernel_estimate --out training/results/kernel_estimate``.
"""

from __future__ import annotations

import argparse
import csv
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from KernelNormalizationLib.core.io.writing import atomic_path

from .checking.kernel_estimates import SHARP_LIES, SMOOTH_LIES, Estimate, real_estimates, simulated_estimates
from .running.command_line import ends_with_code

logger = logging.getLogger("training.kernel_estimate")

DESCRIPTION = """\
Estimate the kernel of simulated scans, made with every published kernel, and of the real scans, from their noise alone; and ask
whether the noise contradicts an honest header (it should not) and one that lies (it should)."""
REAL_SLICES_NUMBER = 20.0
TABLE, ROWS = "table.md", "estimates.csv"


@ends_with_code(logger)
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the table was written, 2 for unusable input."""
    parser = argparse.ArgumentParser("python -m training.kernel_estimate", description=DESCRIPTION)
    parser.add_argument("--patients", type=int, default=8, metavar="N", help="patients of training.simulate (default: 8)")
    parser.add_argument("--chests", type=int, default=8, metavar="N", help="quick simulated chests (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same patients (default: 0)")
    parser.add_argument("--real", type=Path, default=Path("../shared/data"), metavar="FOLDER", help="folder of the real scans")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help=f"folder for {TABLE} and {ROWS}")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    simulated = list(_told(simulated_estimates(args.patients, args.chests, args.seed)))
    real = list(_told(real_estimates(args.real)))
    args.out.mkdir(parents=True, exist_ok=True)
    _write_rows([*simulated, *real], args.out / ROWS)
    with atomic_path(args.out / TABLE) as temporary:
        temporary.write_text("\n".join(table(simulated, real)) + "\n", encoding="utf-8")
    return 0


def table(simulated: Sequence[Estimate], real: Sequence[Estimate]) -> list[str]:
    """Markdown: estimate and truth for every kernel, the real scans, and the test of true and false headers."""
    kernels = list(dict.fromkeys(e.kernel for e in simulated))
    lines = ["| simulated kernel | n | read | estimate, mean | error, mean | error, SD | largest |", "|" + " --- |" * 7]
    lines += [_row([e for e in simulated if e.kernel == kernel]) for kernel in kernels]
    siemens = [e for e in simulated if e.true_number is not None]
    lines += [_row(siemens, "all B kernels"), *(_row(part, f"… by {basis}") for basis, part in _by_basis(siemens))]
    for simulation in dict.fromkeys(e.scan.split()[0] for e in siemens):
        lines.append(_row([e for e in siemens if e.scan.startswith(simulation)], f"… {simulation} simulation"))
    slices = [e for e in real if e.true_number == REAL_SLICES_NUMBER]
    if slices:
        lines += [_row(slices, "real B20f slices"), *(_row(part, f"… by {basis}") for basis, part in _by_basis(slices))]
    lines += ["", "| real scan | header | kernel estimated from the noise | measured by |", "|" + " --- |" * 4]
    lines += [f"| {e.scan} | {e.kernel} | {_shown(e)} | {e.basis} |" for e in real]
    lines += ["", *_headers([*simulated, *real])]
    return lines


def _row(estimates: Sequence[Estimate], label: str | None = None) -> str:
    read = [e.sharpness.kernel_number for e in estimates if e.sharpness is not None]
    errors = [e.error for e in estimates if e.error is not None]
    cells = [label or estimates[0].kernel, str(len(estimates)), str(len(read))]
    cells.append(f"{np.mean(read):.1f}" if read and label is None else "")
    cells += [f"{np.mean(errors):+.1f}", f"{np.std(errors):.1f}", f"{max(errors, key=abs):+.0f}"] if errors else ["", "", ""]
    return f"| {' | '.join(cells)} |"


def _by_basis(estimates: Sequence[Estimate]) -> list[tuple[str, list[Estimate]]]:
    bases = sorted({e.basis for e in estimates} - {"nothing"})
    return [(basis, [e for e in estimates if e.basis == basis]) for basis in bases]


def _shown(estimate: Estimate) -> str:
    return "nothing" if estimate.sharpness is None else f"B{estimate.sharpness.kernel_number:.0f}f"


def _headers(estimates: Sequence[Estimate]) -> list[str]:
    """Lines on true headers that the noise contradicts (false alarms), and on false headers that it detects."""
    honest = [e for e in estimates if e.sharpness is not None]
    lines = [
        "| header | n | contradicted by the noise |",
        "| --- | --- | --- |",
        f"| true | {len(honest)} | {sum(e.doubted for e in honest)} |",
    ]
    for names, of in ((SMOOTH_LIES, "B50f to B80f"), (SHARP_LIES, "B10f to B31f")):
        for name in names:
            tried = [e.lies[name] for e in honest if name in e.lies]
            lines.append(f"| {name} on noise of {of} | {len(tried)} | {sum(tried)} |")
    return lines


def _write_rows(estimates: Sequence[Estimate], path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            (
                "scan",
                "kernel",
                "true",
                "pixel_mm",
                "slice_mm",
                "estimate",
                "misfit",
                "noise_hu",
                "basis",
                "doubted",
                "lies_tried",
                "lies_caught",
            )
        )
        for e in estimates:
            s = e.sharpness
            number, noise = ("", "") if s is None else (f"{s.kernel_number:.1f}", f"{s.noise_sd:.1f}")
            misfit = "" if s is None or s.family is None else f"{s.family.misfit:.2f}"
            true = "" if e.true_number is None else f"{e.true_number:g}"
            row = (e.scan, e.kernel, true, f"{e.pixel_mm:.3f}", f"{e.slice_mm:g}", number, misfit, noise, e.basis)
            caught = " ".join(lie for lie, found in e.lies.items() if found)
            writer.writerow((*row, int(e.doubted), " ".join(e.lies), caught))


def _told(estimates: Iterable[Estimate]) -> Iterable[Estimate]:
    for estimate in estimates:
        logger.info("%s, %s: %s (%s)", estimate.scan, estimate.kernel, _shown(estimate), estimate.basis)
        yield estimate


if __name__ == "__main__":
    sys.exit(main())
