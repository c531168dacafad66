"""Runs cases in processes of their own, so that a hang, an abort or a lack of memory ends one case and not the run."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from . import dicom_makers, mask_cases, odd_scan_cases, other_cases, volume_cases
from .case import FAULTS, Maker, Outcome, judged

SECONDS = 20.0
# One small input may take this much more memory than the process had before, kB.
MEMORY_KB = 1_000_000
_TERMINAL = 2
# Share of each kind among the cases, as in the field: most scans come as DICOM.
SHARES: tuple[tuple[float, tuple[Maker, ...]], ...] = (
    (0.45, dicom_makers.MAKERS + odd_scan_cases.DICOM_MAKERS),
    (0.28, volume_cases.MAKERS + odd_scan_cases.VOLUME_MAKERS),
    (0.09, mask_cases.MAKERS),
    (0.05, other_cases.MODEL_MAKERS),
    (0.08, other_cases.COMMAND_MAKERS),
    (0.05, other_cases.TEXT_MAKERS),
)


@dataclass(frozen=True)
class Result:
    """What became of one case.

    Attributes:
        number: of the case under its seed.
        name: kind of input and damage.
        outcome: class.
        detail: message or difference.
    """

    number: int
    name: str
    outcome: Outcome
    detail: str


def run_cases(count: int, seed: int) -> Iterator[Result]:
    """Judge ``count`` cases of ``seed``; the same seed makes the same cases."""
    next_case = 0
    context = multiprocessing.get_context("fork")
    while next_case < count:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(sender, seed, next_case, count), daemon=True)
        process.start()
        sender.close()
        try:
            while next_case < count:
                if not receiver.poll(SECONDS):
                    yield Result(next_case, "?", "hang", f"no answer in {SECONDS:g} s")
                    break
                yield receiver.recv()
                next_case += 1
        except EOFError:
            process.join()
            yield Result(next_case, "?", "abort", f"the process ended with {process.exitcode}")
        if next_case < count:
            next_case += 1
        process.kill()
        process.join()


def _work(sender: Connection, seed: int, start: int, count: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.disable()
    sys.stderr = open("/dev/null", "w")  # noqa: PTH123, SIM115
    warnings.simplefilter("ignore")
    # what a C library writes goes past Python
    written = tempfile.TemporaryFile()  # noqa: SIM115
    os.dup2(written.fileno(), _TERMINAL)
    for number in range(start, count):
        folder = Path(tempfile.mkdtemp(prefix="robustness-"))
        try:
            sender.send(_judged(number, seed, folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _judged(number: int, seed: int, folder: Path) -> Result:
    rng = np.random.default_rng((seed, number))
    shares = [share for share, _ in SHARES]
    makers = SHARES[int(rng.choice(len(SHARES), p=shares))][1]
    maker = makers[int(rng.integers(len(makers)))]
    case = maker(rng, folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shown = os.fstat(_TERMINAL).st_size
    outcome, detail = judged(case)
    if os.fstat(_TERMINAL).st_size > shown and outcome not in FAULTS:
        text = os.pread(_TERMINAL, 100, shown).decode("utf-8", "replace")
        outcome, detail = "unclear words", f"a library writes: {text}"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if grown > MEMORY_KB:
        outcome, detail = "memory", f"{grown / 1e6:.1f} GB more"
    return Result(number, case.name, outcome, detail)
