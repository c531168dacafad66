"""The background process: ``python -m KernelNormalizationLib.background.worker FOLDER… --alive FILE``.

Reads volumes stored by :mod:`KernelNormalizationLib.background.exchange`, normalizes them one after another with one loaded
model and reports on standard output, one JSON object a line. Runs as long as the ``--alive`` file exists, so that deleting it
cancels, and as long as its output is read: after a crash of the application the process ends and removes the stored voxels.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO, get_args

from ..core.errors import Cancelled, CTKernelError
from ..core.kernels.told_kernel import CHOICES, FROM_HEADER, with_told_kernel
from ..core.methods.gate import normalize_gated
from ..core.methods.protocol import DEFAULT_METHOD, METHODS, Normalizer
from ..core.network.backends import Device
from ..core.progress import ProgressReport, ProgressTracker
from . import exchange

EXIT_OK, EXIT_FAILURE, EXIT_BAD_INPUT, EXIT_CANCELLED = 0, 1, 2, 3
REPORT_INTERVAL = 0.1  # seconds; more lines would only cost time in both processes

MakeNormalizer = Callable[[exchange.Settings], Normalizer]


def make_normalizer(settings: exchange.Settings) -> Normalizer:
    """The normalizer that the command line would use for the same choices."""
    from ..core.methods.registry import create_normalizer

    return create_normalizer(settings.method, model=settings.model, device=settings.device)


def run(
    folders: Sequence[Path], settings: exchange.Settings, alive: Path, out: TextIO, make: MakeNormalizer = make_normalizer
) -> int:
    """Normalize the volumes stored in ``folders``; returns the exit code.

    An unusable volume is reported and the next one is normalized; a missing model ends the run.
    """
    _write(out, exchange.started_line(os.getpid()))
    code = EXIT_OK
    normalizer: Normalizer | None = None
    for number, folder in enumerate(folders):
        try:
            volume = with_told_kernel(exchange.read_input(folder), settings.kernel)
            normalizer = normalizer or make(settings)
            tracker = ProgressTracker(_Reporter(number, out), lambda: not alive.exists())
            exchange.write_output(folder, normalize_gated(normalizer, volume, tracker, settings.override_gate))
            tracker.check_cancelled()
            _write(out, exchange.finished_line(number))
        except Cancelled as error:
            _write(out, exchange.error_line(number, error))
            return EXIT_CANCELLED
        except CTKernelError as error:
            _write(out, exchange.error_line(number, error))
            code = EXIT_BAD_INPUT
    return code


class _Reporter:
    """Writes progress, at most every :data:`REPORT_INTERVAL` seconds, and always the first and last report."""

    def __init__(self, number: int, out: TextIO) -> None:
        self._number, self._out, self._last = number, out, 0.0

    def __call__(self, report: ProgressReport) -> None:
        now = time.monotonic()
        if report.done in (0, report.total) or now - self._last >= REPORT_INTERVAL:
            self._last = now
            _write(self._out, exchange.progress_line(self._number, report))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the background process."""
    parser = argparse.ArgumentParser(prog="normalize_process", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="stored volumes")
    parser.add_argument("--method", choices=METHODS, default=DEFAULT_METHOD, help="normalization method")
    parser.add_argument("--model", default=None, help="model folder's name; the default model if left out")
    parser.add_argument("--device", choices=get_args(Device), default="auto", help="where the network computes")
    parser.add_argument("--kernel", default=FROM_HEADER, help=f"the scans' kernel: {CHOICES}")
    parser.add_argument("--override-gate", action="store_true", help="normalize refused scans all the same")
    parser.add_argument("--alive", type=Path, required=True, metavar="FILE", help="the run ends when this file is gone")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    settings = exchange.Settings(options.method, options.model, options.device, options.kernel, options.override_gate)
    try:
        return run(options.folders, settings, options.alive, sys.stdout)
    except BrokenPipeError:
        # The output is no longer read: the application has ended and cannot remove the scan that it stored.
        shutil.rmtree(options.alive.parent, ignore_errors=True)
        return EXIT_CANCELLED


def _write(out: TextIO, line: str) -> None:
    out.write(line + "\n")
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
