"""``ctkernel cohort``: many scans in one run that can be interrupted."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import RESEARCH_USE, Cancelled, InputError
from KernelNormalizationLib.core.methods.protocol import DEFAULT_METHOD, METHODS
from KernelNormalizationLib.core.methods.registry import chosen_method
from KernelNormalizationLib.core.plain_text import quoted
from KernelNormalizationLib.core.progress import ProgressReport, ProgressTracker
from KernelNormalizationLib.core.volume import SPACING_RANGE_MM

from ..console import OK, ProgressPrinter, cancellable, print_json, print_lines, tell_failure
from ..options import add_device, add_thirds, add_threshold
from .case import ADVICE, Failure, Found, Outcome
from .choosing import THICKEST_MM
from .finding import Finding, dry_run_lines, find_cases
from .lanes import Lanes, ThisProcess
from .manifest import write_cohort_manifest
from .output import (
    FAILURES,
    LEFT_OUT,
    alone_in,
    cohort_record,
    left_as_it_was,
    open_output,
    output_salt,
    still_running,
    write_failures,
    write_left_out,
)
from .running import Run, Update
from .settings import MEMORY_GB, CohortSettings
from .steps import Job
from .summary import METHODS_TEXT, SUMMARY, write_summary
from .tables import (
    RESULTS_CSV,
    RESULTS_PARQUET,
    RUNS_CSV,
    collect_runs,
    require_libraries,
    rows_of_cases,
    write_results,
    write_runs,
)

# What a run prints of what it could not do; failures.csv has all.
SHOWN_FAILURES = 10
# A GPU in CUDA_VISIBLE_DEVICES: its number, or the UUID of it or of a part of it.
_GPU = re.compile(r"\d+|(GPU|MIG)-[\w/-]+", re.ASCII)
# More processes on one machine only take each other's memory, whatever its number of cores.
MOST_WORKERS = 64
# In a log without news, between two lines.
LOG_SECONDS = 60.0
# A run that is stopped writes the tables of what is finished; the workers may take this long to end.
ENDING_SECONDS = 20.0


def add_cohort(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``cohort`` to the commands of ``ctkernel``."""
    parser = commands.add_parser(
        "cohort",
        parents=[common],
        help="normalize and measure many scans; can be interrupted and run on a cluster",
        description="Find the chest CT below INPUTS, normalize and measure each, and write tables and a summary page. The same "
        "command continues an interrupted run, and repeats only what a changed model or threshold requires.",
    )
    parser.add_argument("inputs", type=Path, nargs="+", metavar="INPUTS", help="folders, scans, or CSV lists (docs/cohort.md)")
    parser.add_argument("--out", type=Path, required=True, help="folder for results, or that of the run to continue")
    parser.add_argument("--dry-run", action="store_true", help="say what would run and what is left out, and write nothing")
    parser.add_argument("--method", choices=METHODS, help=f"how to normalize (default: {DEFAULT_METHOD}; with --model: unet)")
    parser.add_argument("--model", help="model name or folder, for unet")
    add_device(parser)
    add_threshold(parser)
    add_thirds(parser)
    parser.add_argument("--report", action="store_true", help="also a report page for each case")
    parser.add_argument("--dicom", action="store_true", help="also the synthetic series as DICOM, where the scan is DICOM")
    parser.add_argument("--retry-failed", action="store_true", help="also try again what failed and has not changed since")
    parser.add_argument("--discard-volumes", action="store_true", help="keep no normalized volumes (saves most of the disk)")
    parser.add_argument("--series", help=argparse.SUPPRESS)  # known only to say where a cohort's series are named
    choice = parser.add_argument_group("which series of a folder")
    choice.add_argument(
        "--thickest", type=float, default=THICKEST_MM, metavar="MM", help=f"leave thicker slices out (default {THICKEST_MM:g})"
    )
    choice.add_argument(
        "--all-series", action="store_true", help="every acquisition and slice thickness of a study, not only the thinnest"
    )
    choice.add_argument("--dates", action="store_true", help="keep the study dates of DICOM headers in the tables")
    workers = parser.add_argument_group("where it runs")
    workers.add_argument("--workers", type=int, default=1, metavar="N", help="processes on this machine (default 1)")
    workers.add_argument("--scheduler", metavar="ADDRESS", help="a Dask cluster, such as tcp://host:8786")
    workers.add_argument(
        "--memory", type=float, default=MEMORY_GB, metavar="GB", help=f"most memory of a worker (default {MEMORY_GB:g})"
    )
    workers.add_argument("--gpus", metavar="LIST", help="GPUs that the workers share, such as 0,1,2,3")
    for name, what in (("ca", "certificate authority"), ("cert", "client certificate"), ("key", "client key")):
        workers.add_argument(f"--tls-{name}", type=Path, metavar="PEM", help=f"{what} for a tls:// scheduler")
    parser.set_defaults(command=cohort)


@dataclass(frozen=True)
class Finished:
    """What a run leaves.

    Attributes:
        found: cases and what was left out.
        outcomes: of the cases that were tried.
        failures: everything without a result, with its reason.
        measured: number of cases in the tables.
    """

    found: Found
    outcomes: dict[str, Outcome]
    failures: list[Failure]
    measured: int


def cohort(options: argparse.Namespace) -> int:
    """``ctkernel cohort``; the exit code, which is a failure's only if no case at all has numbers."""
    _check_numbers(options)
    if options.series is not None:
        raise InputError("--series means nothing for a cohort; name the series of a scan in the column “series” of a CSV list.")
    require_libraries()
    settings = _settings(options).checked()
    with cancellable(options.json, ENDING_SECONDS) as progress:
        if options.dry_run:
            _dry_run(options, progress)
            return OK
        fresh = cohort_record(options.out) is None
        salt = output_salt(options.out, options.inputs)
        # before the folder is made: it would belong to inputs that cannot be used, such as a misspelt name
        found = find_cases(options.inputs, _finding(options, salt), _looking(progress))
        open_output(options.out, options.inputs, settings, salt)
        with alone_in(options.out):
            with left_as_it_was(options.out, fresh):
                write_left_out(options.out, found.left_out)
                job = Job(settings, options.out.resolve(), "", retry=options.retry_failed)
                lanes = _lanes(options, job)
            if not options.json:
                print_lines([f"{len(found.cases)} case(s), {len(found.left_out)} left out", *lanes.describe()])
            finished = run_cohort(found, lanes, job, watching(progress, options))
    _tell(options, finished)
    if finished.failures and not finished.measured:
        return tell_failure("No case has numbers; the result and failures.csv say why.")
    return OK


def _check_numbers(options: argparse.Namespace) -> None:
    """Refuse options that no run can follow, or that would be ignored without a word."""
    most = max(MOST_WORKERS, 4 * (os.cpu_count() or 1))
    if not 1 <= options.workers <= most:
        raise InputError(f"--workers {options.workers} is not possible; give 1 to {most}, at most one for every core.")
    if not 0.0 < options.thickest <= SPACING_RANGE_MM[1]:
        raise InputError(f"--thickest {options.thickest:g} is no thickness of slices; give mm, such as {THICKEST_MM:g}.")
    for name in ("tls_ca", "tls_cert", "tls_key"):
        if getattr(options, name) is not None and options.scheduler is None:
            raise InputError(f"--{name.replace('_', '-')} is for the address of --scheduler, which was not given; give both.")


def run_cohort(found: Found, lanes: Lanes, job: Job, told: Callable[[Update], None]) -> Finished:
    """Run the cases and write tables and summary, of what is there even if the run ends early.

    Args:
        found: of :func:`~.finding.find_cases`.
        lanes: who works; closed at the end.
        job: settings and output folder.
        told: called with every change; may raise :class:`Cancelled`.

    Raises:
        Cancelled: ``told`` asked to stop; the message says how to go on.
        CTKernelError: the scheduler is gone or the disk is full.
    """
    run, whole = Run(found.cases, lanes, job, told), False
    try:
        run.work()
        whole = True
    except Cancelled as error:
        raise Cancelled(
            f"Stopped after {len(run.outcomes)} of {len(found.cases)} cases. What is finished lies in {job.out}; run the same "
            "command again to go on."
        ) from error
    finally:
        lanes.close(stopped=not whole)
        finished = write_outputs(found, run.outcomes, job)
    return finished


def write_outputs(found: Found, outcomes: dict[str, Outcome], job: Job) -> Finished:
    """Tables, failures and summary of what lies in the output folder."""
    numbers = write_results(job.out, rows_of_cases(job.out, found.cases, job.settings))
    failures = [o.failure for o in outcomes.values() if o.failure is not None]
    failures += [Failure(item.what, item.reason) for item in found.broken]
    failures.sort(key=lambda failure: failure.case)  # cases end in another order on each run
    runs = collect_runs(job.out, found.cases)
    write_runs(job.out, runs)
    write_failures(job.out, failures)
    write_summary(job.out, numbers, failures, found, job.settings)
    names = (RESULTS_CSV, RESULTS_PARQUET, RUNS_CSV, FAILURES, LEFT_OUT, SUMMARY, METHODS_TEXT)
    write_cohort_manifest(job.out, [case.case for case in numbers], job.settings, names)
    return Finished(found, outcomes, failures, len(numbers))


def watching(progress: ProgressTracker, options: argparse.Namespace) -> Callable[[Update], None]:
    """Shows a run on the terminal, and stops it with Ctrl+C."""
    printer, last = ProgressPrinter(options.json), (-1, 0.0)

    def told(update: Update) -> None:
        nonlocal last
        progress.check_cancelled()
        still_running(options.out)
        # in a log a line for every finished case is enough
        if sys.stderr.isatty() or update.done != last[0] or update.seconds - last[1] > LOG_SECONDS:
            last = (update.done, update.seconds)
            printer(ProgressReport(update.done, update.total, None, _stage(update)))

    return told


def _stage(update: Update) -> str:
    words = ["Cases"]
    if update.computed:
        rate = update.computed / max(update.seconds, 1e-3)
        words += [f"{3600.0 * rate:.0f} an hour", f"{_duration((update.total - update.done) / rate)} left"]
    if update.failed:
        words.append(f"{update.failed} failed")
    return ", ".join(words)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60.0)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _settings(options: argparse.Namespace) -> CohortSettings:
    return CohortSettings(
        method=chosen_method(options.method, options.model),
        model=options.model,
        device=options.device,
        threshold_hu=options.threshold,
        thirds_by=options.thirds,
        report=options.report,
        keep_volumes=not options.discard_volumes,
        dicom=options.dicom,
        memory_gb=options.memory,
    )


def _finding(options: argparse.Namespace, salt: bytes) -> Finding:
    return Finding(options.thickest, options.all_series, options.dates, salt)


def _looking(progress: ProgressTracker) -> Callable[[int], None]:
    """Shows on a terminal how many files were looked at, and stops the search with Ctrl+C."""

    def told(files: int) -> None:
        progress.check_cancelled()
        if progress.on_report is not None and sys.stderr.isatty():
            sys.stderr.write(f"\rLooking for scans: {files} files")
            sys.stderr.flush()

    return told


def _lanes(options: argparse.Namespace, job: Job) -> Lanes:
    job = replace(job, gpus=_gpus(options.gpus))
    if options.scheduler is not None:
        from .dask_lanes import Certificates, remote_lanes

        return remote_lanes(job, options.scheduler, Certificates(options.tls_ca, options.tls_cert, options.tls_key))
    if options.workers == 1:
        return ThisProcess(job)
    from .dask_lanes import local_lanes

    return local_lanes(job, options.workers)


def _gpus(text: str | None) -> tuple[str, ...]:
    """The identifiers of ``--gpus``, in the form of ``CUDA_VISIBLE_DEVICES``; empty if it was not given.

    Raises:
        InputError: a part is no number and no UUID of a GPU, which CUDA would take for "no GPU" without a word.
    """
    if text is None:
        return ()
    parts = tuple(part.strip() for part in text.split(","))
    if not all(_GPU.fullmatch(part) for part in parts):
        raise InputError(f"--gpus {quoted(text)} names no GPUs; give their numbers, such as 0,1, or their UUIDs.")
    return parts


def _dry_run(options: argparse.Namespace, progress: ProgressTracker) -> None:
    found = find_cases(options.inputs, _finding(options, b"dry run"), _looking(progress))
    if options.json:
        cases = [{"case": case.id, "scan": case.described, "partner": case.partner is not None} for case in found.cases]
        left = [{"scan": item.what, "reason": item.reason, "broken": item.broken} for item in found.left_out]
        print_json({"cases": cases, "left_out": left})
    else:
        print_lines([*dry_run_lines(found), RESEARCH_USE])


def _tell(options: argparse.Namespace, finished: Finished) -> None:
    states = [outcome.state for outcome in finished.outcomes.values()]
    facts = {
        "cases": len(finished.found.cases),
        "computed": states.count("done"),
        "kept": states.count("kept"),
        "failed": len(finished.failures),
        "measured": finished.measured,
        "folder": str(options.out),
        "use": RESEARCH_USE,
    }
    if options.json:
        print_json(facts | {"failures": [{"case": f.case, "reason": f.reason} for f in finished.failures]})
        return
    print_lines([*_result_lines(facts, finished.failures), RESEARCH_USE])


def _result_lines(facts: dict[str, Any], failures: Sequence[Failure]) -> list[str]:
    lines = [f"{facts['measured']} case(s) measured: {facts['computed']} now, {facts['kept']} from earlier runs"]
    lines += [f"{failure.case}: {failure.reason}" for failure in failures[:SHOWN_FAILURES]]
    if len(failures) > SHOWN_FAILURES:
        lines.append(f"and {len(failures) - SHOWN_FAILURES} more in failures.csv")
    kinds = dict.fromkeys(failure.kind for failure in failures)
    lines += [ADVICE[kind] for kind in kinds]
    return [*lines, f"Tables: {Path(facts['folder']) / RESULTS_CSV}", f"Summary: {Path(facts['folder']) / SUMMARY}"]


def tell_change_of_cohort(out: Path, as_json: bool) -> None:
    """``ctkernel change`` with the output folder of a cohort."""
    from .change import change_of_cohort

    changes, lines = change_of_cohort(out)
    if as_json:
        print_json({"changes": changes, "use": RESEARCH_USE})
    else:
        print_lines([*lines, RESEARCH_USE])
