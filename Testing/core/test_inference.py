"""The network over a volume: the same result however it is cut, whatever memory there is, until it is cancelled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from core.chests import make_chest
from hypothesis import given
from hypothesis import strategies as st

from KernelNormalizationLib.core.errors import Cancelled, CTKernelError
from KernelNormalizationLib.core.imaging.body import find_body
from KernelNormalizationLib.core.kernels.transfer import b20f_gain
from KernelNormalizationLib.core.methods.correction import BORDER_PIXELS, REACH_PIXELS, border_weight
from KernelNormalizationLib.core.methods.protocol import METHODS
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.methods.restored import restoration
from KernelNormalizationLib.core.methods.unet import UNetNormalizer
from KernelNormalizationLib.core.network import tiled_inference
from KernelNormalizationLib.core.network.backends import Backend, BackendMemoryError, available_cpu_backends, create_cpu_backend
from KernelNormalizationLib.core.network.model_folder import Model
from KernelNormalizationLib.core.network.tiled_inference import NetworkRun, aligned_crop
from KernelNormalizationLib.core.network.unet import GATE_REACH
from KernelNormalizationLib.core.progress import ProgressReport, ProgressTracker
from KernelNormalizationLib.core.truncation.estimation import known_plan
from KernelNormalizationLib.core.truncation.hu_floor import HUFloor
from KernelNormalizationLib.core.truncation.model import Truncation
from KernelNormalizationLib.core.truncation.restoration import restore_slices

CLIPPED = HUFloor("truncated", -1024.0)
PLAIN_CLIP = Truncation()
# Promised for tiles; fp32 sums in another order differ by some 0.001 HU.
SAME_HU = 0.01

Whole = Callable[[Sequence[np.ndarray]], np.ndarray]


@dataclass
class ShortMemory:
    """A real backend whose allocator fails above ``pixels`` at once; pretends to be ``device``."""

    inner: Backend
    pixels: int
    device: str = "cuda"
    streams: int = 1
    calls: list[tuple[int, ...]] = field(default_factory=list)
    error: type[Exception] = BackendMemoryError

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def precision(self) -> str:
        return self.inner.precision

    def run(self, *images: np.ndarray) -> np.ndarray:
        self.calls.append(images[0].shape)
        if images[0].size > self.pixels:
            raise self.error(f"tried to allocate for {images[0].size} pixels")
        return self.inner.run(*images)

    def free_bytes(self) -> int | None:
        return None


@pytest.fixture(scope="module")
def backend(model: Model) -> Backend:
    return create_cpu_backend(available_cpu_backends()[0], model)


def seen(count: int, rows: int, columns: int) -> list[np.ndarray]:
    """What a residual network sees of slices of a chest: sharp, base and lost, each (count, rows, columns)."""
    sharp = make_chest(slices=max(8, count), side=max(rows, columns, 16)).volume.hu[:count, :rows, :columns]
    plan = known_plan(sharp, (0.7, 0.7), b20f_gain(70), PLAIN_CLIP)
    return [sharp, *restore_slices(sharp, (0.7, 0.7), b20f_gain(70), plan)]


@pytest.fixture(scope="module")
def whole(backend: Backend) -> Whole:
    """The network on whole slices, one at a time."""
    return lambda images: NetworkRun(backend, batch=1).over_slices(images, ProgressTracker())


def model_for(method: str, model: Model) -> str | None:
    """The model's folder for the one method that takes a model."""
    return str(model.folder) if method == "unet" else None


class TestTiles:
    @pytest.mark.slow
    @pytest.mark.parametrize("tile", [64, 128])
    @pytest.mark.parametrize("shape", [(256, 256), (257, 130), (199, 311), (65, 300), (40, 72)])
    def test_give_what_the_whole_slice_gives(self, backend: Backend, whole: Whole, shape: tuple[int, int], tile: int) -> None:
        images = seen(2, *shape)
        tiled = NetworkRun(backend, batch=2, tile=tile).over_slices(images, ProgressTracker())
        assert tiled.shape == images[0].shape
        np.testing.assert_allclose(tiled, whole(images), rtol=0.0, atol=SAME_HU)
        assert np.abs(tiled - images[1]).max() > 10.0

    @pytest.mark.slow
    def test_of_a_network_without_gate_are_exact_too(self, direct_model: Model) -> None:
        images = seen(1, 203, 190)[:1]
        run = NetworkRun(create_cpu_backend("torch", direct_model), batch=1)
        expected = run.over_slices(images, ProgressTracker())
        run.tile = 64
        np.testing.assert_allclose(run.over_slices(images, ProgressTracker()), expected, rtol=0.0, atol=SAME_HU)

    def test_and_slices_of_any_size_see_the_border_continued(self, whole: Whole) -> None:
        images = seen(1, 101, 92)
        continued = [np.pad(x, ((0, 0), (0, 3), (0, 4)), mode="edge") for x in images]
        np.testing.assert_array_equal(whole(images), whole(continued)[:, :101, :92])

    def test_halo_is_needed(self, backend: Backend, whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
        # the comparison above notices a halo that is one step too small
        images = seen(1, 256, 256)
        monkeypatch.setattr(tiled_inference, "HALO", 40)
        tiled = NetworkRun(backend, batch=1, tile=64).over_slices(images, ProgressTracker())
        assert np.abs(tiled - whole(images)).max() > 10 * SAME_HU


@given(
    rows=st.integers(1, 600),
    columns=st.integers(1, 600),
    corner=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    size=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
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


class TestCorrection:
    """The network runs only where its gate can be open inside the body; the rest is the restored linear transfer."""

    @pytest.mark.slow
    def test_cropping_changes_nothing(self, model: Model, backend: Backend) -> None:
        chest = make_chest(slices=8, side=300, scale=0.8)
        region = find_body(chest.volume)
        assert region is not None
        counted = ShortMemory(backend, pixels=10**9, device="cpu")
        normalizer = UNetNormalizer(model, "cpu")
        normalizer.choice = replace(normalizer.choice, backend=counted)
        made = normalizer.normalize(chest.volume, ProgressTracker()).volume.hu
        assert sum(np.prod(shape) for shape in counted.calls) < 0.9 * made.size
        sharp = chest.volume.hu
        base, lost = restoration(chest.volume, region, CLIPPED, b20f_gain(70)).of(slice(0, len(sharp)))
        full = NetworkRun(backend, batch=1).over_slices([sharp, base, lost], ProgressTracker())
        weight = np.stack([border_weight(body) for body in region.body])
        np.testing.assert_allclose(made, np.maximum(base + weight * (full - base), -1024.0), rtol=0.0, atol=SAME_HU)
        assert np.abs(made - base)[chest.lungs].max() > 10.0
        # Lungs are corrected in full.
        assert weight[chest.lungs].min() == 1.0

    @pytest.mark.slow
    def test_a_gpu_gets_the_slices_of_a_chunk_at_once_and_the_result_is_the_same(self, model: Model, backend: Backend) -> None:
        volume = make_chest(slices=20, side=200).volume
        normalizer = UNetNormalizer(model, "cpu")
        expected = normalizer.normalize(volume, ProgressTracker()).volume.hu
        gpu = ShortMemory(backend, pixels=10**9)
        normalizer.choice = replace(normalizer.choice, backend=gpu)
        made = normalizer.normalize(volume, ProgressTracker()).volume.hu
        assert [shape[0] for shape in gpu.calls] == [16, 4]
        np.testing.assert_allclose(made, expected, rtol=0.0, atol=SAME_HU)

    def test_air_outside_and_skin_are_left_to_the_base_and_the_correction_fades_in(self) -> None:
        body = np.zeros((90, 120), bool)
        body[20:80, 30:] = True
        weight = border_weight(body)
        assert weight[~body].max() == 0.0
        assert weight[50, 60] == weight[50, 119] == 1.0, "a body that the image cuts off has no border there"
        assert np.flatnonzero(weight[50])[0] == 30 + BORDER_PIXELS
        steps = np.abs(np.diff(weight[50]))
        assert steps.max() <= 0.25, "a step of the correction would show as a frame"

    @pytest.mark.slow
    def test_what_air_outside_lost_never_opens_the_gate_inside(self, model: Model) -> None:
        # noise that reaches the floor in air alone
        volume = make_chest(slices=8, side=200, noise_hu=12.0).volume
        normalizer = UNetNormalizer(model, "cpu")
        unused = ShortMemory(normalizer.choice.backend, pixels=0)
        normalizer.choice = replace(normalizer.choice, backend=unused)
        made = normalizer.normalize(volume, ProgressTracker()).volume.hu
        assert (volume.hu == -1024.0).any()
        assert unused.calls == []
        base, _ = restoration(volume, find_body(volume), CLIPPED, b20f_gain(70)).of(slice(0, len(volume.hu)))
        np.testing.assert_array_equal(made, np.maximum(base, -1024.0))


class TestDirectNetwork:
    def test_draws_every_slice_whole_and_needs_no_restoration(self, direct_model: Model) -> None:
        volume = make_chest(slices=9, side=136).volume
        reports: list[ProgressReport] = []
        normalizer = UNetNormalizer(direct_model, "cpu")
        made = normalizer.normalize(volume, ProgressTracker(on_report=reports.append))
        assert {r.stage for r in reports} == {"Network"}
        expected = NetworkRun(normalizer.choice.backend, batch=1).over_slices([volume.hu])
        np.testing.assert_allclose(made.volume.hu, np.maximum(expected, -1024.0), rtol=0.0, atol=SAME_HU)
        assert made.record["model_label"] == "as in the paper (direct UNet)"


class TestShortOfMemory:
    """What fails is tried smaller: half the batch, one slice, tiles, then the CPU; the result stays the same."""

    def test_halves_the_batch(self, backend: Backend, whole: Whole) -> None:
        images = seen(9, 64, 64)
        short = ShortMemory(backend, pixels=3 * 64 * 64)
        run = NetworkRun(short)
        out = run.over_slices(images, ProgressTracker())
        assert [shape[0] for shape in short.calls] == [9, 8, 4, 2, 2, 2, 2, 1]
        assert (run.batch, run.tile, run.warnings) == (2, 0, [])
        np.testing.assert_allclose(out, whole(images), rtol=0.0, atol=SAME_HU)

    @pytest.mark.slow
    def test_then_cuts_tiles(self, backend: Backend, whole: Whole) -> None:
        images = seen(3, 320, 320)
        short = ShortMemory(backend, pixels=(128 + 2 * 48) ** 2)
        run = NetworkRun(short)
        out = run.over_slices(images, ProgressTracker())
        assert (run.batch, run.tile, run.as_record()["tile"]) == (1, 128, 128)
        assert run.backend is short
        np.testing.assert_allclose(out, whole(images), rtol=0.0, atol=SAME_HU)

    def test_then_falls_back_to_the_cpu_and_warns(self, backend: Backend, whole: Whole) -> None:
        images = seen(3, 200, 200)
        short = ShortMemory(backend, pixels=1000)
        run = NetworkRun(short, cpu_fallback=lambda: backend)
        out = run.over_slices(images, ProgressTracker())
        assert run.backend is backend
        assert len(run.warnings) == 1
        assert "The GPU (cuda) ran out of memory" in run.warnings[0]
        assert run.as_record() == {"device": "cpu", "backend": backend.name, "precision": "fp32", "batch": 1, "tile": None}
        np.testing.assert_array_equal(out, whole(images))

    @pytest.mark.parametrize("error", [BackendMemoryError, MemoryError])
    def test_then_says_so(self, backend: Backend, error: type[Exception]) -> None:
        images = seen(2, 128, 128)
        run = NetworkRun(ShortMemory(backend, pixels=1000, device="cpu", error=error), cpu_fallback=lambda: backend)
        with pytest.raises(CTKernelError, match=r"not enough memory even for tiles of 64 pixels.*close other programs"):
            run.over_slices(images, ProgressTracker())

    def test_remembers_for_the_next_slices_what_fitted(self, backend: Backend) -> None:
        images = seen(4, 64, 64)
        short = ShortMemory(backend, pixels=64 * 64)
        run = NetworkRun(short)
        run.over_slices(images, ProgressTracker())
        short.calls.clear()
        run.over_slices(images, ProgressTracker())
        assert [shape[0] for shape in short.calls] == [1, 1, 1, 1]

    def test_does_not_swallow_other_errors(self, backend: Backend) -> None:
        images = seen(2, 64, 64)
        with pytest.raises(ZeroDivisionError):
            NetworkRun(ShortMemory(backend, 0, error=ZeroDivisionError)).over_slices(images, ProgressTracker())

    @pytest.mark.slow
    def test_slices_computed_at_once_that_run_out_of_memory_together_shrink_once(self, model: Model, backend: Backend) -> None:
        volume = make_chest(slices=8, side=320).volume
        normalizer = UNetNormalizer(model, "cpu")
        expected = normalizer.normalize(volume, ProgressTracker()).volume.hu
        short = ShortMemory(backend, pixels=(128 + 2 * 48) ** 2, device="cpu", streams=4)
        normalizer.choice = replace(normalizer.choice, backend=short)
        result = normalizer.normalize(volume, ProgressTracker())
        assert result.record["tile"] == 128
        np.testing.assert_allclose(result.volume.hu, expected, rtol=0.0, atol=SAME_HU)

    @pytest.mark.slow
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
        images = seen(5, 64, 64)
        tracker.start("Network", 5)
        NetworkRun(backend, batch=2).over_slices(images, tracker)
        assert [r.done for r in reports] == [0, 2, 4, 5]
        assert {(r.total, r.stage) for r in reports} == {(5, "Network")}
        assert reports[0].seconds_left is None
        left = [r.seconds_left for r in reports[1:]]
        assert all(seconds is not None and seconds >= 0.0 for seconds in left)
        assert left[-1] == 0.0

    def test_cancel_acts_between_batches(self, backend: Backend) -> None:
        short = ShortMemory(backend, pixels=10**9)
        images = seen(6, 64, 64)
        tracker = ProgressTracker(is_cancelled=lambda: len(short.calls) >= 2)
        tracker.start("Network", 6)
        with pytest.raises(Cancelled, match="after 4 of 6"):
            NetworkRun(short, batch=2).over_slices(images, tracker)
        assert len(short.calls) == 2

    @pytest.mark.slow
    @pytest.mark.parametrize("method", METHODS)
    def test_every_method_stops_when_asked_and_says_nothing_was_kept(self, method: str, model: Model) -> None:
        volume = make_chest(slices=8).volume
        seen: list[ProgressReport] = []
        tracker = ProgressTracker(on_report=seen.append, is_cancelled=lambda: len(seen) >= 1)
        with pytest.raises(Cancelled, match="nothing was kept"):
            create_normalizer(method, model=model_for(method, model), device="cpu").normalize(volume, tracker)  # type: ignore[arg-type]
        assert len(seen) == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("method", METHODS)
    def test_every_stage_of_every_method_reaches_its_end(self, method: str, model: Model) -> None:
        reports: list[ProgressReport] = []
        normalizer = create_normalizer(method, model=model_for(method, model), device="cpu")  # type: ignore[arg-type]
        normalizer.normalize(make_chest(slices=8).volume, ProgressTracker(on_report=reports.append))
        last = {r.stage: (r.done, r.total) for r in reports}
        assert last
        assert all(done == total for done, total in last.values())
        counts = [r.done for r in reports if r.stage == reports[-1].stage]
        assert counts == sorted(counts)


class TestReach:
    """A residual network acts near truncated voxels only; everything else is the linear transfer, to the bit."""

    @pytest.mark.slow
    def test_slices_without_truncated_voxels_are_left_to_the_linear_transfer(self, model: Model) -> None:
        volume = make_chest(slices=12, noise_hu=60.0).volume
        hu = volume.hu.copy()
        hu[4:8] = np.maximum(hu[4:8], -1000.0)
        volume = replace(volume, hu=hu)
        normalizer = UNetNormalizer(model, "cpu")
        counted = ShortMemory(normalizer.choice.backend, pixels=10**9, device="cpu")
        normalizer.choice = replace(normalizer.choice, backend=counted)
        reports: list[ProgressReport] = []
        made = normalizer.normalize(volume, ProgressTracker(on_report=reports.append)).volume.hu
        assert len(counted.calls) == 8
        assert (reports[-1].done, reports[-1].total) == (12, 12)
        linear = create_normalizer("linear").normalize(volume, ProgressTracker()).volume.hu
        np.testing.assert_array_equal(made[4:8], linear[4:8])
        assert all(np.abs(made[k] - linear[k]).max() > 10.0 for k in (0, 3, 8, 11))

    @pytest.mark.slow
    def test_tissue_far_from_truncated_voxels_is_left_alone(self, model: Model) -> None:
        chest = make_chest(slices=8, side=260, noise_hu=45.0)
        normalizer = create_normalizer("unet", model=str(model.folder), device="cpu")
        made = normalizer.normalize(chest.volume, ProgressTracker()).volume.hu
        base, lost = restoration(chest.volume, find_body(chest.volume), CLIPPED, b20f_gain(70)).of(slice(0, 8))
        near = np.zeros(lost.shape, bool)
        for row in range(-GATE_REACH, GATE_REACH + 1):
            for column in range(-GATE_REACH, GATE_REACH + 1):
                near |= np.roll(lost < 0.0, (row, column), axis=(1, 2))
        assert (~near & chest.body).mean() > 0.2
        assert REACH_PIXELS == GATE_REACH
        # fp32: adding a residual of exactly zero
        np.testing.assert_allclose(made[~near], base[~near], rtol=0.0, atol=1e-3)
        assert np.abs(made - base).max() > 10.0

    @pytest.mark.slow
    def test_an_untruncated_series_is_the_linear_transfer_to_the_bit(self, model: Model) -> None:
        volume = make_chest(slices=8, floor=None).volume
        made, linear = (
            create_normalizer(method, model=model_for(method, model), device="cpu")
            .normalize(volume, ProgressTracker())
            .volume.hu
            for method in ("unet", "linear")
        )
        np.testing.assert_array_equal(made, linear)
