"""Lanes that are Dask workers: processes on this machine, or a cluster that the user started."""

from __future__ import annotations

import concurrent.futures
import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from KernelNormalizationLib.core.cores import usable_cores
from KernelNormalizationLib.core.errors import InputError

from .case import Case, Outcome
from .lanes import STEPS, Future, Lane, SchedulerLostError, Step, WorkerLostError
from .steps import Job, stop_session

logger = logging.getLogger(__name__)

# Seconds until a scheduler that does not answer counts as gone.
PATIENCE = 15.0
THREADS = len(STEPS)
# Dask's words for a worker that died with a task, or a task that nobody knows any more.
_LOST = ("KilledWorker", "NoValidWorkerError", "FutureCancelledError", "CommClosedError")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


@dataclass(frozen=True)
class Certificates:
    """TLS files in PEM form for a scheduler at ``tls://``; ``None`` where none is needed."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class _StepFuture(concurrent.futures.Future[Outcome]):
    """The outcome of a step; :class:`WorkerLostError` where worker or scheduler went away before it arrived."""

    def __init__(self, future: Any) -> None:
        super().__init__()
        self._future = future

    def cancel(self) -> bool:
        self._future.cancel()
        return super().cancel()

    def settle(self, future: Any) -> None:
        """Take over what Dask knows; runs in a thread of Dask."""
        outcome: Any = None
        problem: Exception | None = None
        try:
            outcome = future.result()
        except (OSError, TimeoutError, concurrent.futures.CancelledError) as error:
            # also where a step itself met one, but steps turn those into outcomes
            problem = WorkerLostError(str(error))
        except Exception as error:
            logger.debug("A step failed", exc_info=True)
            problem = WorkerLostError(str(error)) if type(error).__name__ in _LOST else error
        with suppress(concurrent.futures.InvalidStateError):  # given up meanwhile
            if problem is None:
                self.set_result(outcome)
            else:
                self.set_exception(problem)


class _Worker:
    def __init__(self, lanes: DaskLanes, address: str, number: int) -> None:
        self.name, self.host = address, urlsplit(address).hostname or address
        self._lanes, self._job = lanes, replace(lanes.job, lane=number)

    def submit(self, step: Step, case: Case) -> Future:
        # pinned: the volume that was read stays in the memory of this worker
        future = self._lanes.client.submit(
            STEPS[step], self._job, case, workers=[self.name], allow_other_workers=False, pure=False, retries=0,
            key=f"{step}-{case.id}-{uuid.uuid4().hex[:8]}",
        )  # fmt: skip
        step_future = _StepFuture(future)
        future.add_done_callback(step_future.settle)
        return step_future


class DaskLanes:
    """The workers of a Dask scheduler.

    Args:
        job: of the run; its session is set here.
        client: connected ``distributed.Client``.
        cluster: started here, closed with the run; ``None`` for the user's own.
    """

    def __init__(self, job: Job, client: Any, cluster: Any = None) -> None:
        self.job, self.client, self._cluster = replace(job, session=uuid.uuid4().hex), client, cluster
        self._known: dict[str, Lane] = {}

    def now(self) -> list[Lane]:
        try:
            if self.client.status != "running":
                raise OSError(f"the client is {self.client.status}")
            addresses = list(self.client.nthreads())
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            raise SchedulerLostError(
                f"The Dask scheduler no longer answers ({type(error).__name__}). What is finished lies in {self.job.out}; "
                "start the scheduler and run the same command again, it goes on where it stopped."
            ) from error
        for address in addresses:
            self._known.setdefault(address, _Worker(self, address, len(self._known)))
        return [self._known[address] for address in addresses]

    def describe(self) -> list[str]:
        count = len(self.client.nthreads())
        lines = [f"{count} Dask worker(s) at {self.client.scheduler.address}"]
        if _has("bokeh"):
            lines.append(f"Dashboard: {self.client.dashboard_link}")
        else:
            lines.append("No dashboard: install bokeh to have one")
        return lines

    def close(self, stopped: bool) -> None:
        try:
            if stopped and self.client.status == "running":
                self.client.run(stop_session, self.job.session, on_error="ignore")
        except (OSError, TimeoutError, ValueError, RuntimeError):
            logger.debug("The workers could not be told to stop", exc_info=True)
        finally:
            self.client.close(timeout=2)
            if self._cluster is not None:
                self._cluster.close(timeout=10)


def local_lanes(job: Job, workers: int) -> DaskLanes:
    """Worker processes on this machine, each with its share of the cores and at most its memory.

    Args:
        job: of the run.
        workers: how many.

    Raises:
        InputError: Dask is not installed.
    """
    dask, distributed = _libraries()
    threads = str(max(1, usable_cores() // workers))
    environment = {name: threads for name in _THREAD_VARIABLES}
    quiet = ["ctkernel.cohort.quiet_worker"]
    dask.config.set({"distributed.nanny.pre-spawn-environ": environment, "distributed.worker.preload": quiet, **_config()})
    cluster = distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=THREADS,
        processes=True,
        host="127.0.0.1",
        memory_limit=int(job.settings.memory_gb * 1e9),
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    )
    return DaskLanes(job, distributed.Client(cluster, timeout=PATIENCE), cluster)


def remote_lanes(job: Job, address: str, certificates: Certificates) -> DaskLanes:
    """The workers of a scheduler that runs already.

    Args:
        job: of the run; the output folder must be the same path on every worker.
        address: such as ``tcp://host:8786`` or ``tls://host:8786``.
        certificates: for ``tls://``.

    Raises:
        InputError: Dask is not installed, nobody answers there, or certificates are missing.
    """
    dask, distributed = _libraries()
    dask.config.set(_config())
    security = None
    if address.startswith("tls://"):
        security = distributed.Security(require_encryption=True, **_tls(certificates))
    elif not address.startswith("tcp://"):
        raise InputError(f"{address} is no address of a scheduler; give one such as tcp://host:8786 or tls://host:8786.")
    try:
        client = distributed.Client(address, timeout=PATIENCE, security=security)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(f"No Dask scheduler answers at {address}; start one, or check the address.") from error
    if not client.nthreads():
        logger.warning("The scheduler at %s has no worker yet; waiting for one.", address)
    return DaskLanes(job, client)


def _tls(certificates: Certificates) -> Mapping[str, str]:
    files = {"tls_ca_file": certificates.ca, "tls_client_cert": certificates.certificate, "tls_client_key": certificates.key}
    missing = [name for name, path in files.items() if path is None or not path.is_file()]
    if missing:
        raise InputError("A tls:// scheduler needs --tls-ca, --tls-cert and --tls-key, each an existing PEM file.")
    return {name: str(path) for name, path in files.items()}


def _config() -> dict[str, Any]:
    """No spilling or pausing (the volumes are not Dask's), a death counts at once, and a lost scheduler is noticed soon."""
    memory = "distributed.worker.memory"
    return {
        f"{memory}.target": False,
        f"{memory}.spill": False,
        f"{memory}.pause": False,
        f"{memory}.terminate": 1.0,
        "distributed.scheduler.allowed-failures": 0,
        "distributed.comm.timeouts.connect": f"{PATIENCE:g}s",
        "distributed.comm.retry.count": 0,
    }


def _libraries() -> tuple[Any, Any]:
    try:
        import dask
        import distributed
    except ImportError as error:
        raise InputError(
            "Several workers need Dask: pip install 'ctkernelnormalization[cohort]'. Without it leave --workers out."
        ) from error
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
        # what concerns the user is said by this program
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return dask, distributed


def _has(library: str) -> bool:
    from importlib.util import find_spec

    return find_spec(library) is not None
