"""A run survives what clusters do: nothing is lost, nothing is done twice, and no table differs from a run in peace."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.cohort.conftest import MANY
from Testing.cohort.runs import (
    LINEAR,
    environment,
    finish,
    kill_group,
    leftovers,
    measured,
    run,
    start,
    wait_until,
    workers_of,
)

pytestmark = pytest.mark.slow

TABLES = ("results.csv", "results.parquet", "failures.csv")


def assert_same_tables(one: Path, other: Path) -> None:
    for name in TABLES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_forty_scans_on_two_processes_of_which_one_is_killed_then_the_client_equal_a_serial_run(
    chests: Path, serial: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = (chests, "--out", out, *LINEAR, "--workers", "2")
    process = start(*arguments)
    wait_until(lambda: len(measured(out)) >= 3, process)
    workers = workers_of(process)
    assert len(workers) == 2
    workers[0].kill()
    killed_at = len(measured(out))
    wait_until(lambda: len(measured(out)) >= killed_at + 5, process)
    kill_group_leader(process)
    for worker in workers:
        worker.wait(900)  # without their client the workers end by themselves
    before = measured(out)
    assert 8 <= len(before) < MANY
    code, text = run(*arguments)
    assert code == 0, text
    after = measured(out)
    assert len(after) == MANY
    assert {case: after[case] for case in before} == before, "A finished case was done again."
    assert f"{MANY - len(before)} now, {len(before)} from earlier runs" in text
    assert_same_tables(serial, out)
    assert not leftovers(out)


def kill_group_leader(process: subprocess.Popen[str]) -> None:
    """kill -9 of the client alone."""
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_ctrl_c_ends_cleanly_and_the_same_command_goes_on(few: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(few, "--out", out, *LINEAR, "--workers", "2")
    wait_until(lambda: len(measured(out)) >= 1, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    code, text = finish(process)
    assert code == 3, text
    assert "run the same command again" in text
    assert "Traceback" not in text
    before = measured(out)
    assert before
    assert not leftovers(out)
    assert (out / "results.csv").is_file()  # of what is finished
    code, text = run(few, "--out", out, *LINEAR)
    assert code == 0, text
    after = measured(out)
    assert len(after) == 6
    assert {case: after[case] for case in before} == before


def test_a_scheduler_that_goes_away_ends_with_a_message_and_a_resumable_folder(few: Path, tmp_path: Path) -> None:
    out, port = tmp_path / "out", free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = dask("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    worker = dask("worker", address, "--nthreads", "3", "--no-dashboard", "--local-directory", str(tmp_path))
    process = start(few, "--out", out, *LINEAR, "--scheduler", address)
    try:
        wait_until(lambda: len(measured(out)) >= 1, process)
        kill_group(scheduler)
        code, text = finish(process)
    finally:
        for other in (scheduler, worker):
            if other.poll() is None:
                kill_group(other)
    assert code == 1, text
    assert re.search(r"scheduler no longer answers.*run the same command again", text, re.S), text
    assert "Traceback" not in text
    before = measured(out)
    code, text = run(few, "--out", out, *LINEAR)
    assert code == 0, text
    after = measured(out)
    assert len(after) == 6
    assert {case: after[case] for case in before} == before


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def dask(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dask", *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=environment(), text=True, start_new_session=True, **quiet)
