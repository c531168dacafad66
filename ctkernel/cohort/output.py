"""The output folder of a cohort: whose it is, who is at work in it, and what could not be done."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import RESEARCH_USE, CTKernelError, InputError
from KernelNormalizationLib.core.io.json_file import read_json
from KernelNormalizationLib.core.io.whole_sets import require_set_writable
from KernelNormalizationLib.core.io.writing import atomic_path, require_utf8, write_json
from KernelNormalizationLib.core.plain_text import for_csv

from .case import Failure, LeftOut
from .finding import new_salt
from .series_scan import COHORT_FILE
from .settings import CohortSettings

FAILURES, LEFT_OUT, RUNNING, SALT = "failures.csv", "left_out.csv", ".running.json", ".salt"
# A run on another machine that has not been heard of for so long has ended.
SILENCE_SECONDS = 600.0
_KIND = "ctkernel cohort"


def output_salt(out: Path, inputs: Sequence[Path]) -> bytes:
    """The salt of the pseudonyms: that of the folder, or a new one. Nothing is written, so that inputs can be looked at first.

    Args:
        out: output folder.
        inputs: what the cohort is made of.

    Raises:
        InputError: another run is at work there, or the folder holds something else or other inputs.
    """
    require_set_writable(out, (COHORT_FILE, FAILURES))
    require_utf8(out)
    _require_no_other(out)
    record = cohort_record(out)
    if record is None:
        if out.is_dir() and any(out.iterdir()):
            raise InputError(f"{out} holds files that do not belong to a cohort; give a new folder, nothing is overwritten.")
    elif record.get("inputs") != _given(inputs):
        earlier = ", ".join(record.get("inputs") or ["unknown inputs"])
        raise InputError(f"{out} holds the cohort of {earlier}; give another folder, or the same inputs to go on.")
    try:
        return bytes.fromhex((out / SALT).read_text(encoding="ascii"))
    except FileNotFoundError:
        return new_salt()
    except ValueError as error:
        raise InputError(f"{out / SALT} is damaged, so pseudonyms would change; restore it or use a new folder.") from error


def open_output(out: Path, inputs: Sequence[Path], settings: CohortSettings, salt: bytes | None = None) -> bytes:
    """Make the folder, or take up that of an earlier run over the same inputs.

    Args:
        out: output folder.
        inputs: what the cohort is made of.
        settings: of this run.
        salt: of :func:`output_salt`, if pseudonyms were made with it already.

    Returns:
        The salt of the pseudonyms.

    Raises:
        InputError: as :func:`output_salt`; nothing is changed.
    """
    told = output_salt(out, inputs)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / SALT).exists():
        told = told if salt is None else salt
        handle = os.open(out / SALT, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(told.hex())
    elif salt is not None and salt != told:
        raise InputError(f"Another run works in {out} (it began a moment ago); wait for it, or end it first.")
    write_json(
        {"kind": _KIND, "inputs": _given(inputs), "settings": settings.as_record(), "use": RESEARCH_USE}, out / COHORT_FILE
    )
    return told


def _given(inputs: Sequence[Path]) -> list[str]:
    return [str(path.resolve()) for path in inputs]


def cohort_record(out: Path) -> dict[str, Any] | None:
    """What ``cohort.json`` holds; ``None`` if the folder is no cohort's.

    Raises:
        InputError: the file is there and damaged.
    """
    path = out / COHORT_FILE
    if not path.is_file():
        return None
    record = read_json(path)
    if not isinstance(record, dict) or record.get("kind") != _KIND:
        raise InputError(f"{path} was not written by ctkernel cohort; give another folder.")
    return record


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """No second run works in the folder meanwhile.

    Raises:
        InputError: another run is at work there.
    """
    _require_no_other(out)
    path = out / RUNNING
    path.write_text(json.dumps({"host": socket.gethostname(), "process": os.getpid()}), encoding="utf-8")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def left_as_it_was(out: Path, fresh: bool) -> Iterator[None]:
    """Where a run is refused or stopped before its first case, a folder that :func:`open_output` made is removed again.

    Args:
        out: output folder.
        fresh: whether it was made for this run; that of an earlier run is kept.
    """
    try:
        yield
    except (CTKernelError, OSError):
        if fresh:
            for name in (SALT, COHORT_FILE, LEFT_OUT, RUNNING):
                (out / name).unlink(missing_ok=True)
            with suppress(OSError):  # something else lies in it by now
                out.rmdir()
        raise


def _require_no_other(out: Path) -> None:
    other = _owner(out / RUNNING)
    if other is not None:
        raise InputError(f"Another run works in {out} ({other}); wait for it, or end it first.")


def still_running(out: Path) -> None:
    """Tell other machines that this run still works."""
    path = out / RUNNING
    if time.time() - path.stat().st_mtime > SILENCE_SECONDS / 10.0:
        path.touch()


def _owner(path: Path) -> str | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        host, process = str(told["host"]), int(told["process"])
        age = time.time() - path.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if host != socket.gethostname() or os.name != "posix":
        return f"on {host}" if age < SILENCE_SECONDS else None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return None if process == os.getpid() else f"process {process}"


def write_failures(out: Path, failures: Sequence[Failure]) -> None:
    """``failures.csv``: case, what was being done, reason and what to do; a header alone if nothing failed."""
    rows = [[f.case, f.kind, f.step, f.reason, f.advice, RESEARCH_USE] for f in sorted(failures, key=lambda f: f.case)]
    _write_table(out / FAILURES, ["case", "kind", "step", "reason", "what_to_do", "use"], rows)


def write_left_out(out: Path, left_out: Sequence[LeftOut]) -> None:
    """``left_out.csv``: what was not run by choice."""
    _write_table(out / LEFT_OUT, ["scan", "reason"], [[item.what, item.reason] for item in left_out if not item.broken])


def _write_table(path: Path, header: list[str], rows: list[list[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    # a reason may be long: every word of it is kept
    writer.writerows([[for_csv(cell, len(cell) + 1) for cell in row] for row in rows])
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
