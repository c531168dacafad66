"""Who gets which case when workers die, and what a worker holds at one time; with workers that do nothing but count."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ctkernel.cohort import running
from ctkernel.cohort.case import Case, Outcome, Scan
from ctkernel.cohort.lanes import Lane, SchedulerLostError, Step, WorkerLostError
from ctkernel.cohort.running import BASE_BYTES, BYTES_PER_VOXEL, Run
from ctkernel.cohort.settings import CohortSettings
from ctkernel.cohort.steps import Job


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes without work are looked at again at once instead of after a second."""
    monkeypatch.setattr(running, "LOOK_SECONDS", 0.01)


@dataclass
class CountingLane:
    """A worker whose steps take no time; ``deadly`` cases end it."""

    name: str
    others: CountingLanes
    host: str = "here"
    alive: bool = True
    running: list[tuple[Step, Case]] = field(default_factory=list)

    def submit(self, step: Step, case: Case) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        self.running.append((step, case))
        held = sum(BYTES_PER_VOXEL[s] * c.voxels for s, c in self.running)
        self.others.largest = max(self.others.largest, BASE_BYTES + held)
        if step == "compute":
            self.others.tries[case.id] += 1
            if self.others.hold_until_all_read and len(self.running) < 2:
                self.others.held.append((future, self, step, case))
                return future
        self.others.settle(future, self, step, case)
        return future


class CountingLanes:
    """Two of them; one that died is replaced."""

    def __init__(self, deadly: set[str], hold_until_all_read: bool = False) -> None:
        self.deadly, self.tries, self.largest, self.made = deadly, Counter[str](), 0.0, 0
        self.alone: list[bool] = []
        self.hold_until_all_read = hold_until_all_read
        self.held: list[tuple[Future[Outcome], CountingLane, Step, Case]] = []
        self.lanes: list[CountingLane] = []

    def settle(self, future: Future[Outcome], lane: CountingLane, step: Step, case: Case) -> None:
        if step == "compute" and case.id in self.deadly:
            self.alone.append(sum(len(other.running) for other in self.lanes) == 1)
            lane.alive = False
            future.set_exception(WorkerLostError("killed"))
            return
        future.add_done_callback(lambda _: lane.running.remove((step, case)))
        future.set_result(Outcome(case.id, "done" if step == "write" else "ready", voxels=case.voxels))

    def now(self) -> list[Lane]:
        for future, lane, step, case in self.held:
            self.settle(future, lane, step, case)
        self.held.clear()
        self.lanes = [lane for lane in self.lanes if lane.alive]
        while len(self.lanes) < 2:
            self.made += 1
            self.lanes.append(CountingLane(f"worker {self.made}", self))
        return list(self.lanes)

    def describe(self) -> list[str]:
        return []

    def close(self, stopped: bool) -> None:
        pass


def cases(count: int, voxels: int = 1000) -> list[Case]:
    return [Case(f"c{n}", Scan(f"/{n}"), voxels=voxels) for n in range(count)]


def worked(given: list[Case], lanes: CountingLanes, folder: Path, memory_gb: float = 4.0) -> dict[str, Outcome]:
    return Run(given, lanes, Job(CohortSettings(method="linear", memory_gb=memory_gb), folder, ""), lambda update: None).work()


def test_a_case_that_kills_its_worker_is_tried_once_more_alone_and_then_reported(tmp_path: Path) -> None:
    lanes = CountingLanes({"c2"})
    outcomes = worked(cases(8), lanes, tmp_path)
    assert lanes.tries["c2"] == 2
    assert lanes.alone[-1]
    failure = outcomes["c2"].failure
    assert failure is not None
    assert failure.kind == "worker"
    assert "tried alone" in failure.reason
    assert [outcome.state for case, outcome in outcomes.items() if case != "c2"] == ["done"] * 7


def test_many_deadly_cases_do_not_take_the_others_with_them(tmp_path: Path) -> None:
    lanes = CountingLanes({"c0", "c3", "c4", "c9"})
    outcomes = worked(cases(12), lanes, tmp_path)
    assert sorted(case for case, outcome in outcomes.items() if outcome.state == "failed") == ["c0", "c3", "c4", "c9"]


def test_reading_ahead_and_writing_behind_stay_within_the_memory_of_a_worker(tmp_path: Path) -> None:
    voxels = 78_643_200  # 512 x 512 x 300
    lanes = CountingLanes(set(), hold_until_all_read=True)
    outcomes = worked(cases(6, voxels), lanes, tmp_path)
    assert {outcome.state for outcome in outcomes.values()} == {"done"}
    compute_alone = BASE_BYTES + BYTES_PER_VOXEL["compute"] * voxels
    assert compute_alone < lanes.largest <= 4.0e9  # the next scan is read meanwhile


def test_a_scheduler_that_is_lost_ends_the_run(tmp_path: Path) -> None:
    class Lost(CountingLanes):
        def now(self) -> list[Lane]:
            if self.made:
                raise SchedulerLostError("gone")
            return super().now()

    with pytest.raises(SchedulerLostError):
        worked(cases(3), Lost({"c0", "c1", "c2"}), tmp_path)


@pytest.mark.slow
def test_each_worker_takes_the_gpu_of_its_turn_before_torch_looks_for_one(tmp_path: Path) -> None:
    # a process of its own for each worker, as Dask starts them; the case does not exist, so that nothing else is done
    program = (
        "import os, pathlib, sys\n"
        "from ctkernel.cohort.case import Case, Scan\n"
        "from ctkernel.cohort.settings import CohortSettings\n"
        "from ctkernel.cohort.steps import Job, read_case\n"
        "assert 'torch' not in sys.modules\n"
        "gpus = tuple(part for part in sys.argv[1].split(',') if part)\n"
        "job = Job(CohortSettings(), pathlib.Path(sys.argv[3]), 'session', gpus, int(sys.argv[2]))\n"
        "assert read_case(job, Case('a', Scan(sys.argv[3] + '/nothing'))).failure is not None\n"
        "print(os.environ.get('CUDA_VISIBLE_DEVICES'))\n"
    )

    def seen(gpus: str, lane: int) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        arguments = [sys.executable, "-c", program, gpus, str(lane), str(tmp_path)]
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert [seen("2,5", lane) for lane in (0, 1, 2)] == ["2", "5", "2"]
    assert seen("", 1) == "None"  # left to the system, as with SLURM's own choice
