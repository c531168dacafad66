"""Log of a run: CSV files, TensorBoard if it is installed, and a line of progress."""

from __future__ import annotations

import csv
import importlib.util
import logging
import sys
import time
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.io.writing import atomic_path
from KernelNormalizationLib.core.progress import ProgressReport

logger = logging.getLogger("training")

TRAINING, VALIDATION, EVENTS = "training.csv", "validation.csv", "tensorboard"
COLUMNS: dict[str, tuple[str, ...]] = {
    TRAINING: ("step", "l1_hu", "learning_rate"),
    VALIDATION: ("step", "l1_hu", "abs_dei_points", "merit"),
}
TERMINAL_SECONDS, LOG_SECONDS = 0.5, 30.0


class Logbook:
    """Writes the losses and validation results of a run.

    Args:
        out: run folder.
        step: number of finished steps. Later lines of an interrupted run are removed, because those steps are repeated.
    """

    def __init__(self, out: Path, step: int) -> None:
        self._out = out
        for name, columns in COLUMNS.items():
            _keep_until(out / name, columns, step)
        self._events: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(out / EVENTS), purge_step=step + 1)

    def write(self, name: str, step: int, values: tuple[float, ...]) -> None:
        """Add a line to a table and its numbers to TensorBoard.

        Args:
            name: ``TRAINING`` or ``VALIDATION``.
            step: number of finished steps.
            values: the numbers of the other columns.
        """
        with (self._out / name).open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow([step, *(f"{value:.6g}" for value in values)])
        if self._events is not None:
            for column, value in zip(COLUMNS[name][1:], values, strict=True):
                self._events.add_scalar(f"{Path(name).stem}/{column}", value, step)

    def close(self) -> None:
        """Finish the TensorBoard file."""
        if self._events is not None:
            self._events.close()


def _keep_until(path: Path, columns: tuple[str, ...], step: int) -> None:
    kept = []
    if path.exists():
        with path.open(newline="") as file:
            kept = [row for row in csv.reader(file) if row and row[0].isdigit() and int(row[0]) <= step]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *kept])


class ProgressLine:
    """Shows the progress of a run: one line that is updated on a terminal, a line in the log twice a minute elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = time.monotonic()

    def __call__(self, report: ProgressReport) -> None:
        finished = report.done >= report.total
        seconds = TERMINAL_SECONDS if self._terminal else LOG_SECONDS
        if report.seconds_left is None or (not finished and time.monotonic() - self._shown < seconds):
            return
        self._shown = time.monotonic()
        if self._terminal:
            end = "\n" if finished else "\r"
            sys.stderr.write(f"{report.stage}: {report.done} of {report.total}, {report.seconds_left:.0f} s left   {end}")
            sys.stderr.flush()
        else:
            logger.info("%s: %d of %d, %.0f s left", report.stage, report.done, report.total, report.seconds_left)
