"""The network over a volume: the same result however it is cut, whatever memory there is, until it is cancelled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from core.chests import make_chest
from hypothesis import given
from hypothesis import strategies as st

from KernelNormalizationLib.core import inference
from KernelNormalizationLib.core.backends import Backend, BackendMemoryError, available_cpu_backends, create_cpu_backend
from KernelNormalizationLib.core.body import find_body
from KernelNormalizationLib.core.censoring import restore_slices
from KernelNormalizationLib.core.errors import Cancelled, CTKernelError
from KernelNormalizationLib.core.floor import HUFloor
from KernelNormalizationLib.core.inference import NetworkRun, aligned_crop, reaches
from KernelNormalizationLib.core.linear import b20f_gain
from KernelNormalizationLib.core.methods import UNetNormalizer, create_normalizer
from KernelNormalizationLib.core.models import Model
from KernelNormalizationLib.core.progress import ProgressReport, ProgressTracker
from KernelNormalizationLib.core.radial import apply_gain
from KernelNormalizationLib.core.volume import CTVolume

FLOOR = -1023.5
# Promised for tiles; fp32 sums in another order differ by some 0.001 HU.
SAME_HU = 0.01


@dataclass
class ShortMemory:
    """A real backend whose allocator fails above ``pixels`` at once; pretends to be ``device``."""

    inner: Backend
    pixels: int
    device: str = "cuda"
    calls: list[tuple[int, ...]] = field(default_factory=list)
    error: type[Exception] = BackendMemoryError

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def precision(self) -> str:
        return self.inner.precision

    def run(self, sharp: np.ndarray, base: np.ndarray, floor: float) -> np.ndarray:
        self.calls.append(sharp.shape)
        if sharp.size > self.pixels:
            raise self.error(f"tried to allocate for {sharp.size} pixels")
        return self.inner.run(sharp, base, floor)

    def free_bytes(self) -> int | None:
        return None


@pytest.fixture(scope="module")
def backend(model: Model) -> Backend:
    return create_cpu_backend(available_cpu_backends()[0], model)


def pair(count: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Sharp slices and their linear transfer, (count, rows, columns)."""
    sharp = make_chest(slices=max(8, count), side=max(rows, columns, 16)).volume.hu[:count, :rows, :columns]
    return sharp, apply_gain(sharp, (0.7, 0.7), b20f_gain(70))


@pytest.fixture(scope="module")
def whole(backend: Backend) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The network on whole slices, one at a time."""
    return lambda sharp, base: NetworkRun(backend, batch=1).over_slices(sharp, base, FLOOR, ProgressTracker())


def with_and_without_network(model: Model, volume: CTVolume) -> tuple[np.ndarray, np.ndarray]:
    """HU of the network's and of the linear normalization of ``volume``."""
    progress = ProgressTracker()
    network, linear = UNetNormalizer(model, "cpu"), create_normalizer("linear")
    return network.normalize(volume, progress).volume.hu, linear.normalize(volume, progress).volume.hu


class TestTiles:
    @pytest.mark.parametrize("tile", [64, 128])
    @pytest.mark.parametrize("shape", [(256, 256), (257, 130), (199, 311), (65, 300), (40, 72)])
    def test_give_what_the_whole_slice_gives(self, backend: Backend, whole, shape: tuple[int, int], tile: int) -> None:  # type: ignore[no-untyped-def]
        sharp, base = pair(2, *shape)
        tiled = NetworkRun(backend, batch=2, tile=tile).over_slices(sharp, base, FLOOR, ProgressTracker())
        assert tiled.shape == sharp.shape
        np.testing.assert_allclose(tiled, whole(sharp, base), rtol=0.0, atol=SAME_HU)
        assert np.abs(tiled - base).max() > 10.0

    def test_of_a_network_without_gate_are_exact_too(self, direct_model: Model) -> None:
        sharp, base = pair(1, 203, 190)
        run = NetworkRun(create_cpu_backend("torch", direct_model), batch=1)
        expected = run.over_slices(sharp, base, FLOOR, ProgressTracker())
        run.tile = 64
        np.testing.assert_allclose(run.over_slices(sharp, base, FLOOR, ProgressTracker()), expected, rtol=0.0, atol=SAME_HU)

    def test_and_slices_of_any_size_see_the_border_continued(self, whole) -> None:  # type: ignore[no-untyped-def]
        sharp, base = pair(1, 101, 92)
        continued = (np.pad(x, ((0, 0), (0, 3), (0, 4)), mode="edge") for x in (sharp, base))
        np.testing.assert_array_equal(whole(sharp, base), whole(*continued)[:, :101, :92])

    def test_halo_is_needed(self, backend: Backend, whole, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
        # the comparison above notices a halo that is one step too small
        sharp, base = pair(1, 256, 256)
        monkeypatch.setattr(inference, "HALO", 40)
        tiled = NetworkRun(backend, batch=1, tile=64).over_slices(sharp, base, FLOOR, ProgressTracker())
        assert np.abs(tiled - whole(sharp, base)).max() > 10 * SAME_HU


@given(
    rows=st.integers(1, 600), columns=st.integers(1, 600), corner=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    size=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)  # fmt: skip
def test_an_aligned_crop_holds_the_box_with_its_halo_and_stays_in_the_image(
    rows: int, columns: int, corner: tuple[float, float], size: tuple[float, float]
) -> None:
    shape = (rows, columns)
    start = [int(c * (n - 1)) for c, n in zip(corner, shape, strict=True)]
    stop = [s + 1 + int(z * (n - s - 1)) for s, z, n in zip(start, size, shape, strict=True)]
    crop = aligned_crop((slice(start[0], stop[0]), slice(start[1], stop[1])), shape)
    for part, first, last, n in zip(crop, start, stop, shape, strict=True):
        assert 0 <= part.start <= max(0, first - 48)
        assert part.start % 8 == 0
        assert min(n, last + 48) <= part.stop <= n
        assert part.stop % 8 == 0 or part.stop == n


def test_cropping_to_the_body_changes_nothing_inside_it(model: Model, backend: Backend) -> None:
    chest = make_chest(slices=8, side=300, scale=0.45)
    region = find_body(chest.volume)
    assert region is not None
    rows, columns = aligned_crop(region.box, chest.volume.shape[1:])  # type: ignore[arg-type]
    assert (rows.stop - rows.start) * (columns.stop - columns.start) < 0.9 * 300 * 300
    made, base = with_and_without_network(model, chest.volume)
    restored = restore_slices(chest.volume.hu, (0.7, 0.7), b20f_gain(70), HUFloor("clipped", -1024.0))
    full = NetworkRun(backend, batch=1).over_slices(chest.volume.hu, restored, FLOOR, ProgressTracker())
    full = np.maximum(full, -1024.0)
    box = (slice(None), *region.box)
    np.testing.assert_allclose(made[box], full[box], rtol=0.0, atol=SAME_HU)
    assert np.abs(made[box] - base[box]).max() > 10.0


class TestShortOfMemory:
    """What fails is tried smaller: half the batch, one slice, tiles, then the CPU; the result stays the same."""

    def test_halves_the_batch(self, backend: Backend, whole) -> None:  # type: ignore[no-untyped-def]
        sharp, base = pair(9, 64, 64)
        short = ShortMemory(backend, pixels=3 * 64 * 64)
        run = NetworkRun(short)
        out = run.over_slices(sharp, base, FLOOR, ProgressTracker())
        assert [shape[0] for shape in short.calls] == [9, 8, 4, 2, 2, 2, 2, 1]
        assert (run.batch, run.tile, run.warnings) == (2, 0, [])
        np.testing.assert_allclose(out, whole(sharp, base), rtol=0.0, atol=SAME_HU)

    def test_then_cuts_tiles(self, backend: Backend, whole) -> None:  # type: ignore[no-untyped-def]
        sharp, base = pair(3, 320, 320)
        short = ShortMemory(backend, pixels=(128 + 2 * 48) ** 2)
        run = NetworkRun(short)
        out = run.over_slices(sharp, base, FLOOR, ProgressTracker())
        assert (run.batch, run.tile, run.as_record()["tile"]) == (1, 128, 128)
        assert run.backend is short
        np.testing.assert_allclose(out, whole(sharp, base), rtol=0.0, atol=SAME_HU)

    def test_then_falls_back_to_the_cpu_and_warns(self, backend: Backend, whole) -> None:  # type: ignore[no-untyped-def]
        sharp, base = pair(3, 200, 200)
        short = ShortMemory(backend, pixels=1000)
        run = NetworkRun(short, cpu_fallback=lambda: backend)
        out = run.over_slices(sharp, base, FLOOR, ProgressTracker())
        assert run.backend is backend
        assert len(run.warnings) == 1
        assert "The GPU (cuda) ran out of memory" in run.warnings[0]
        assert run.as_record() == {"device": "cpu", "backend": backend.name, "precision": "fp32", "batch": 1, "tile": None}
        np.testing.assert_array_equal(out, whole(sharp, base))

    @pytest.mark.parametrize("error", [BackendMemoryError, MemoryError])
    def test_then_says_so(self, backend: Backend, error: type[Exception]) -> None:
        sharp, base = pair(2, 128, 128)
        run = NetworkRun(ShortMemory(backend, pixels=1000, device="cpu", error=error), cpu_fallback=lambda: backend)
        with pytest.raises(CTKernelError, match=r"not enough memory even for tiles of 64 pixels.*close other programs"):
            run.over_slices(sharp, base, FLOOR, ProgressTracker())

    def test_remembers_for_the_next_slices_what_fitted(self, backend: Backend) -> None:
        sharp, base = pair(4, 64, 64)
        short = ShortMemory(backend, pixels=64 * 64)
        run = NetworkRun(short)
        run.over_slices(sharp, base, FLOOR, ProgressTracker())
        short.calls.clear()
        run.over_slices(sharp, base, FLOOR, ProgressTracker())
        assert [shape[0] for shape in short.calls] == [1, 1, 1, 1]

    def test_does_not_swallow_other_errors(self, backend: Backend) -> None:
        sharp, base = pair(2, 64, 64)
        with pytest.raises(ZeroDivisionError):
            NetworkRun(ShortMemory(backend, 0, error=ZeroDivisionError)).over_slices(sharp, base, FLOOR, ProgressTracker())

    def test_a_whole_normalization_ends_on_the_cpu_with_the_warning_in_its_record(self, model: Model) -> None:
        volume = make_chest(slices=8).volume
        normalizer = UNetNormalizer(model, "cpu")
        expected = normalizer.normalize(volume, ProgressTracker()).volume
        normalizer.choice = replace(normalizer.choice, backend=ShortMemory(normalizer.choice.backend, pixels=100))
        result = normalizer.normalize(volume, ProgressTracker())
        assert any("ran out of memory" in warning for warning in result.record["warnings"])
        assert result.record["device"] == "cpu"
        np.testing.assert_allclose(result.volume.hu, expected.hu, rtol=0.0, atol=SAME_HU)


class TestProgressAndCancel:
    def test_slices_are_counted_to_the_end_with_the_time_left(self, backend: Backend) -> None:
        reports: list[ProgressReport] = []
        tracker = ProgressTracker(on_report=reports.append)
        sharp, base = pair(5, 64, 64)
        tracker.start("Network", 5)
        NetworkRun(backend, batch=2).over_slices(sharp, base, FLOOR, tracker)
        assert [r.done for r in reports] == [0, 2, 4, 5]
        assert {(r.total, r.stage) for r in reports} == {(5, "Network")}
        assert reports[0].seconds_left is None
        left = [r.seconds_left for r in reports[1:]]
        assert all(seconds is not None and seconds >= 0.0 for seconds in left)
        assert left[-1] == 0.0

    def test_cancel_acts_between_batches(self, backend: Backend) -> None:
        short = ShortMemory(backend, pixels=10**9)
        sharp, base = pair(6, 64, 64)
        tracker = ProgressTracker(is_cancelled=lambda: len(short.calls) >= 2)
        tracker.start("Network", 6)
        with pytest.raises(Cancelled, match="after 4 of 6"):
            NetworkRun(short, batch=2).over_slices(sharp, base, FLOOR, tracker)
        assert len(short.calls) == 2

    @pytest.mark.parametrize("method", ["linear", "bands", "heuristic", "unet"])
    def test_every_method_stops_when_asked_and_says_nothing_was_kept(self, method: str, model: Model) -> None:
        volume = make_chest(slices=8).volume
        seen: list[ProgressReport] = []
        tracker = ProgressTracker(on_report=seen.append, is_cancelled=lambda: len(seen) >= 1)
        with pytest.raises(Cancelled, match="nothing was kept"):
            create_normalizer(method, model=str(model.folder), device="cpu").normalize(volume, tracker)  # type: ignore[arg-type]
        assert len(seen) == 1

    @pytest.mark.parametrize("method", ["linear", "bands", "heuristic", "unet"])
    def test_every_stage_of_every_method_reaches_its_end(self, method: str, model: Model) -> None:
        reports: list[ProgressReport] = []
        normalizer = create_normalizer(method, model=str(model.folder), device="cpu")  # type: ignore[arg-type]
        normalizer.normalize(make_chest(slices=8).volume, ProgressTracker(on_report=reports.append))
        last = {r.stage: (r.done, r.total) for r in reports}
        assert last
        assert all(done == total for done, total in last.values())
        counts = [r.done for r in reports if r.stage == reports[-1].stage]
        assert counts == sorted(counts)


class TestReach:
    """A residual network acts near truncated voxels only; everything else is the linear transfer, to the bit."""

    def test_slices_without_truncated_voxels_are_left_to_the_linear_transfer(self, model: Model) -> None:
        volume = make_chest(slices=12, noise_hu=60.0).volume
        hu = volume.hu.copy()
        hu[4:8] = np.maximum(hu[4:8], -1000.0)
        volume = replace(volume, hu=hu)
        assert reaches(hu <= FLOOR).tolist() == [True] * 4 + [False] * 4 + [True] * 4
        reports: list[ProgressReport] = []
        UNetNormalizer(model, "cpu").normalize(volume, ProgressTracker(on_report=reports.append))
        assert {r.total for r in reports if r.stage == "Network"} == {8}
        made, linear = with_and_without_network(model, volume)
        np.testing.assert_array_equal(made[4:8], linear[4:8])
        assert all(np.abs(made[k] - linear[k]).max() > 10.0 for k in (0, 3, 8, 11))

    def test_tissue_far_from_truncated_voxels_is_left_alone(self, model: Model) -> None:
        chest = make_chest(slices=8, noise_hu=20.0)
        normalizer = create_normalizer("unet", model=str(model.folder), device="cpu")
        made = normalizer.normalize(chest.volume, ProgressTracker()).volume.hu
        restored = restore_slices(chest.volume.hu, (0.7, 0.7), b20f_gain(70), HUFloor("clipped", -1024.0))
        truncated = chest.volume.hu <= FLOOR
        near = np.zeros_like(truncated)
        for row in range(-6, 7):  # the gate's two windows reach 4 + 2 pixels
            for column in range(-6, 7):
                near |= np.roll(truncated, (row, column), axis=(1, 2))
        assert (~near & chest.body).mean() > 0.3
        # fp32: adding a residual of exactly zero
        np.testing.assert_allclose(made[~near], restored[~near], rtol=0.0, atol=1e-3)

    def test_an_untruncated_series_is_the_linear_transfer_to_the_bit(self, model: Model) -> None:
        volume = make_chest(slices=8, floor=None).volume
        made, linear = with_and_without_network(model, volume)
        np.testing.assert_array_equal(made, linear)
