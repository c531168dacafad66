"""The work on one case in a worker: read, compute, write; three steps, so that disks work while the processor does."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from EmphysemaQuantLib.core.lungs.mask_files import read_mask
from EmphysemaQuantLib.core.lungs.quality_verdict import require_usable
from EmphysemaQuantLib.core.lungs.segmentation import LungMask
from EmphysemaQuantLib.core.results.acquisition_sheet import Patient
from EmphysemaQuantLib.core.results.measurement import Measurement, MeasurementSettings, measure, segment
from KernelNormalizationLib.core.errors import (
    Cancelled,
    CTKernelError,
    InputError,
    LungNotFoundError,
    ModelError,
    system_error_in_words,
)
from KernelNormalizationLib.core.freed_memory import give_back_memory, share_pools
from KernelNormalizationLib.core.io.reading import read_dicom_files, read_volume
from KernelNormalizationLib.core.kernels.told_kernel import with_told_kernel
from KernelNormalizationLib.core.methods.gate import normalize_gated
from KernelNormalizationLib.core.methods.protocol import UNCHANGED_KEY, Normalizer
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.progress import ProgressTracker
from KernelNormalizationLib.core.volume import CTVolume

from .case import Case, Failure, Kind, Outcome, Scan
from .case_folder import VOLUME, CaseFolder, read_normalized
from .case_products import Products, draw_products, write_products
from .input_state import content_states, measurement_inputs, normalization_inputs, quick_state
from .settings import CohortSettings, digest


@dataclass(frozen=True)
class Job:
    """What a worker must know beside the case.

    Attributes:
        settings: of the run.
        out: output folder.
        session: of the client; what an earlier client left in the worker's memory is not this one's.
        gpus: identifiers of the GPUs to share, in the form of ``CUDA_VISIBLE_DEVICES``; empty to leave that to the system.
        lane: number of the worker.
        retry: whether to try again what failed and has not changed since.
    """

    settings: CohortSettings
    out: Path
    session: str
    gpus: tuple[str, ...] = ()
    lane: int = 0
    retry: bool = False


@dataclass
class _Held:
    """A case between its steps."""

    folder: CaseFolder
    quick: str
    contents: dict[str, str]
    keys: tuple[str, str]
    scan: CTVolume
    soft: CTVolume | None
    stored: tuple[CTVolume | None, dict[str, Any], LungMask] | None
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    products: Products | None = None


# Of this process: cases between their steps, sessions that were stopped, and the one normalizer, made once.
_held: dict[tuple[str, str], _Held] = {}
_stopped: set[str] = set()
_normalizer: dict[tuple[str, str | None, str], Normalizer] = {}
_making = threading.Lock()


def read_case(job: Job, case: Case) -> Outcome:
    """Read what the case needs into this process, unless its result is there already."""
    _take_gpu(job)
    share_pools()
    for key in [key for key in _held if key[0] != job.session]:
        _held.pop(key, None)
    return _guarded("reading", job, case, lambda: _read(job, case))


def compute_case(job: Job, case: Case) -> Outcome:
    """Normalize, segment, measure and draw; reads first where another process did."""
    if (job.session, case.id) not in _held:
        outcome = read_case(job, case)
        if outcome.state != "ready":
            return outcome
    return _guarded("computing", job, case, lambda: _compute(job, case))


def write_case(job: Job, case: Case) -> Outcome:
    """Write the results, each part whole or not at all."""
    if (job.session, case.id) not in _held:
        outcome = compute_case(job, case)
        if outcome.state != "ready":
            return outcome
    return _guarded("writing", job, case, lambda: _write(job, case))


def stop_session(session: str) -> None:
    """Make the steps of a client that has gone end soon, and forget its cases."""
    _stopped.add(session)
    for key in [key for key in _held if key[0] == session]:
        _held.pop(key, None)


def peak_memory_gb() -> float:
    """Largest memory that this process has had, GB (10^9 bytes); 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) * (1.0 if sys.platform == "darwin" else 1024.0) / 1e9


def _guarded(step: str, job: Job, case: Case, work: Callable[[], Outcome]) -> Outcome:
    try:
        return work()
    except Cancelled:
        _held.pop((job.session, case.id), None)
        raise
    except (InputError, LungNotFoundError) as error:
        failure = _failure(case, str(error), "input", step)
    except ModelError as error:
        failure = _failure(case, str(error), "system", step)  # perhaps of this worker alone
    except MemoryError:
        failure = _failure(case, "The memory of the worker is used up.", "memory", step)
    except OSError as error:
        failure = _failure(case, system_error_in_words(error), "system", step)
    except CTKernelError as error:
        failure = _failure(case, str(error), "system", step)
    held = _held.pop((job.session, case.id), None)
    if failure.kind == "input":
        _remember(job, case, failure, held)
    return Outcome(case.id, "failed", failure)


def _failure(case: Case, reason: str, kind: Kind, step: str) -> Failure:
    return Failure(case.id, reason, kind, step)


def _remember(job: Job, case: Case, failure: Failure, held: _Held | None) -> None:
    """Keep a failure of the input, so that a later run tries it again only if something changed."""
    with suppress(OSError, InputError):
        quick = held.quick if held is not None else quick_state(case)
        told = {"quick": quick, "settings": _choices(job), "reason": failure.reason, "step": failure.step}
        CaseFolder(job.out, case.id).write_failure(told)


def _choices(job: Job) -> str:
    return digest([job.settings.normalization(), job.settings.measurement()])


def _read(job: Job, case: Case) -> Outcome:
    started = time.monotonic()
    folder, quick = CaseFolder(job.out, case.id), quick_state(case)
    normalized, measured = folder.stage(folder.normalized), folder.stage(folder.measured)
    known = next((stage["inputs"] for stage in (measured, normalized) if stage.get("quick") == quick), None)
    failed = folder.failure()
    same = failed.get("quick") == quick and failed.get("settings") == _choices(job)
    if same and not job.retry:
        return Outcome(case.id, "failed", Failure(case.id, failed["reason"], "input", failed["step"]))
    contents = known if known is not None else content_states(case)
    keys = _keys(job, case, contents)
    if measured.get("key") == keys[1] and set(job.settings.products()) <= set(measured.get("products", ())):
        return Outcome(case.id, "kept")
    scan = with_told_kernel(_volume(case.scan), case.kernel)
    soft = None if case.partner is None else _volume(case.partner)
    if soft is not None and not (soft.shape == scan.shape and soft.geometry.matches(scan.geometry)):
        raise InputError("The soft partner is not on the scan's grid; give a reconstruction of the same slices, or none.")
    held = _Held(folder, quick, contents, keys, scan, soft, _stored(folder, normalized, keys[0], scan))
    held.seconds["read"] = time.monotonic() - started
    _held[(job.session, case.id)] = held
    return Outcome(case.id, "ready", voxels=scan.hu.size)


def _keys(job: Job, case: Case, contents: dict[str, str]) -> tuple[str, str]:
    first = digest([normalization_inputs(case, contents), job.settings.normalization()])
    return first, digest([first, measurement_inputs(case, contents), job.settings.measurement()])


def _volume(scan: Scan) -> CTVolume:
    if scan.files is not None:
        return read_dicom_files([Path(scan.path) / name for name in scan.files], scan.series)
    return read_volume(scan.path, scan.series)


def _stored(
    folder: CaseFolder, stage: dict[str, Any], key: str, scan: CTVolume
) -> tuple[CTVolume | None, dict[str, Any], LungMask] | None:
    """What an earlier run normalized, if that is what is needed now."""
    kept = stage.get("unchanged") or (folder.normalized / VOLUME).is_file()
    if stage.get("key") != key or not kept:
        return None
    try:
        return read_normalized(folder.normalized, scan)
    except InputError:
        return None  # damaged: made again


def _compute(job: Job, case: Case) -> Outcome:
    started, held = time.monotonic(), _held[(job.session, case.id)]
    cpu = time.process_time()
    progress = ProgressTracker(is_cancelled=lambda: job.session in _stopped)
    if held.stored is not None:
        normalized, record, lung_mask = held.stored
    else:
        result = normalize_gated(_normalizer_of(job), held.scan, progress)
        normalized = None if result.record.get(UNCHANGED_KEY) else result.volume
        record = result.record
        volumes = [held.scan] if normalized is None else [held.scan, normalized]
        give_back_memory()
        lung_mask = read_mask(held.scan, case.mask) if case.mask is not None else segment(volumes, progress)
    require_usable(lung_mask.quality)
    measured, soft = _measured(job, case, (held, normalized, record, lung_mask), progress)
    held.products = draw_products(case, measured, soft, record, job.settings)
    held.products.fresh = held.stored is None
    # what is written is in the products; the rest makes room for the next case
    held.soft, held.stored = None, None
    give_back_memory()
    held.seconds["compute"] = time.monotonic() - started
    held.cpu_seconds = time.process_time() - cpu
    return Outcome(case.id, "ready", voxels=held.scan.hu.size)


def _measured(
    job: Job, case: Case, made: tuple[_Held, CTVolume | None, dict[str, Any], LungMask], progress: ProgressTracker
) -> tuple[Measurement, Measurement | None]:
    held, normalized, record, lung_mask = made
    sex, height, weight = case.build
    patient = None
    if sex is not None and height is not None and weight is not None:
        patient = Patient("male" if sex == "male" else "female", height, weight)
    choices = MeasurementSettings(job.settings.threshold_hu, job.settings.thirds_by, patient)
    volumes, records = [held.scan], {}
    if normalized is not None:
        volumes.append(normalized)
        records = {normalized: record}
    measured = measure(volumes, lung_mask, choices, records, progress)
    soft = None if held.soft is None else measure([held.soft], lung_mask, choices, None, progress)
    return measured, soft


def _normalizer_of(job: Job) -> Normalizer:
    settings = job.settings
    key = (settings.method, settings.model, settings.device)
    with _making:
        if key not in _normalizer:
            _normalizer.clear()
            _normalizer[key] = create_normalizer(settings.method, model=settings.model, device=settings.device)
        return _normalizer[key]


def _write(job: Job, case: Case) -> Outcome:
    started, held = time.monotonic(), _held[(job.session, case.id)]
    if held.products is None:
        raise CTKernelError("The case was not computed; run the same command again.")
    if job.session in _stopped:
        raise Cancelled("Cancelled before writing; nothing was kept of the case.")
    stage = {"quick": held.quick, "inputs": held.contents, "settings": _choices(job)}
    write_products(held.products, case, held.folder, [{**stage, "key": key} for key in held.keys], job.settings)
    held.folder.forget_failure()
    _held.pop((job.session, case.id), None)
    held.seconds["write"] = time.monotonic() - started
    run: dict[str, Any] = {f"{name}_seconds": round(s, 2) for name, s in held.seconds.items()}
    run |= {"case": case.id, "worker": f"{socket.gethostname()}:{os.getpid()}", "voxels": held.scan.hu.size}
    run |= {
        "cpu_seconds": round(held.cpu_seconds, 2),
        "peak_memory_gb": round(peak_memory_gb(), 3),
        "device": held.products.record.get("device", "cpu"),
    }
    (held.folder.path / "run.json").write_text(json.dumps(run, sort_keys=True) + "\n", encoding="utf-8")
    return Outcome(case.id, "done", voxels=held.scan.hu.size, run=run)


def _take_gpu(job: Job) -> None:
    """Let this process see one of the GPUs; torch looks when it is first used."""
    if job.gpus and "torch" not in sys.modules:
        os.environ["CUDA_VISIBLE_DEVICES"] = job.gpus[job.lane % len(job.gpus)]
