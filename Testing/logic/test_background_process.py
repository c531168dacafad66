"""The background process: what it stores, reports and leaves behind; no application needed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from KernelNormalizationLib.background import exchange, worker
from KernelNormalizationLib.core.errors import ModelError
from KernelNormalizationLib.core.methods.protocol import NormalizationResult
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.volume import Acquisition, CTVolume, Geometry

MODULE = Path(worker.__file__).resolve().parents[1]
GEOMETRY = Geometry((2.0, 0.8, 0.8), (1.0, 2.0, 3.0), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


def stored(folder: Path, hu: np.ndarray | None = None) -> Path:
    """A stored volume: chest-like noise, or ``hu``."""
    folder.mkdir()
    if hu is None:
        hu = np.random.default_rng(1).normal(-860, 60, (10, 24, 24)).astype(np.int16)
        hu[:, :6] = 40
    exchange.write_input(folder, hu, GEOMETRY, Acquisition(kernel="B70f", image_type=("ORIGINAL",)), "Chest")
    return folder


class Raises:
    """Adds 100 HU slice by slice."""

    method = "linear"

    def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
        progress.start("Raising", volume.shape[0])
        for _ in range(volume.shape[0]):
            progress.advance()
        return NormalizationResult(volume.with_hu(volume.hu + 100.0, name=volume.name, synthetic=True), {"method": "linear"})


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_several_volumes_are_normalized_with_one_model_load(tmp_path: Path) -> None:
    folders = [stored(tmp_path / name) for name in "abc"]
    alive = tmp_path / "alive"
    alive.touch()
    made: list[exchange.Settings] = []

    def make(settings: exchange.Settings) -> Raises:
        made.append(settings)
        return Raises()

    out = io.StringIO()
    settings = exchange.Settings("unet", "some-model", "cpu", override_gate=True)
    assert worker.run(folders, settings, alive, out, make) == worker.EXIT_OK  # type: ignore[arg-type]
    assert made == [settings]
    assert [e["job"] for e in lines(out) if e["event"] == "finished"] == [0, 1, 2]
    for folder in folders:
        hu, record = exchange.read_output(folder)
        np.testing.assert_array_equal(hu, np.load(folder / exchange.INPUT_ARRAY).astype(np.float32) + 100.0)
        assert record["method"] == "linear"
        assert record["gate"] == {"verdict": "refuse", "overridden": True}


def test_the_named_kernel_reaches_the_normalizer(tmp_path: Path) -> None:
    seen: list[tuple[str | None, str | None]] = []

    class Looks(Raises):
        def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
            seen.append((volume.acquisition.kernel, volume.acquisition.told_kernel))
            return super().normalize(volume, progress)

    alive = tmp_path / "alive"
    alive.touch()
    settings = exchange.Settings("linear", kernel="B80f", override_gate=True)
    worker.run([stored(tmp_path / "a")], settings, alive, io.StringIO(), lambda _: Looks())  # type: ignore[arg-type, return-value]
    assert seen == [("B70f", "B80f")]


def test_bad_volume_does_not_keep_the_next_from_being_normalized(tmp_path: Path) -> None:
    bad = stored(tmp_path / "bad", np.full((10, 24, 24), 3000, np.int16))
    good = stored(tmp_path / "good")
    alive = tmp_path / "alive"
    alive.touch()
    out = io.StringIO()
    code = worker.run([bad, good], exchange.Settings("linear", override_gate=True), alive, out, lambda _: Raises())  # type: ignore[arg-type, return-value]
    assert code == worker.EXIT_BAD_INPUT
    (error,) = [e for e in lines(out) if e["event"] == "error"]
    assert error["job"] == 0
    assert "Hounsfield units" in error["message"]
    assert [e["job"] for e in lines(out) if e["event"] == "finished"] == [1]


def test_a_refused_volume_is_not_normalized_unless_the_user_overrides_the_gate(tmp_path: Path) -> None:
    folder, alive, out = stored(tmp_path / "a"), tmp_path / "alive", io.StringIO()
    alive.touch()
    code = worker.run([folder], exchange.Settings("linear"), alive, out, lambda _: Raises())  # type: ignore[arg-type, return-value]
    assert code == worker.EXIT_BAD_INPUT
    (error,) = [e for e in lines(out) if e["event"] == "error"]
    assert "refused" in error["message"]
    assert not (folder / exchange.OUTPUT_ARRAY).exists()


def test_removing_the_alive_file_cancels_and_writes_nothing(tmp_path: Path) -> None:
    folder = stored(tmp_path / "a")
    out = io.StringIO()
    settings = exchange.Settings("linear", override_gate=True)
    code = worker.run([folder], settings, tmp_path / "gone", out, lambda _: Raises())  # type: ignore[arg-type, return-value]
    assert code == worker.EXIT_CANCELLED
    assert not (folder / exchange.OUTPUT_ARRAY).exists()


def test_voxels_and_facts_arrive_exactly(tmp_path: Path) -> None:
    volume = exchange.read_input(stored(tmp_path / "with spaces é"))
    assert volume.geometry == GEOMETRY
    assert (volume.acquisition.kernel, volume.acquisition.image_type) == ("B70f", ("ORIGINAL",))
    np.testing.assert_array_equal(volume.hu, np.load(tmp_path / "with spaces é" / exchange.INPUT_ARRAY))


@pytest.mark.parametrize("line", ["", "Traceback", "{", "[1]", '{"event": "unheard"}', '{"event": "error"}', "{}"])
def test_other_output_is_no_event(line: str) -> None:
    assert exchange.parse_line(line) is None


def test_errors_keep_their_kind_across_the_process_border() -> None:
    event = exchange.parse_line(exchange.error_line(2, ModelError("no card")))
    assert event is not None
    assert isinstance(event.error, ModelError)
    assert (event.job, str(event.error)) == (2, "no card")


def test_when_nobody_listens_any_more_the_scan_is_removed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    alive = run / "alive"
    alive.touch()
    # Its first line tells that it runs; then the listener vanishes, as a crashed application does.
    command = [sys.executable, "-m", "KernelNormalizationLib.background.worker", str(stored(run / "volume0"))]
    command += ["--method", "heuristic", "--alive", str(alive)]
    with subprocess.Popen(command, cwd=MODULE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.wait(timeout=1800)
    assert not run.exists()
