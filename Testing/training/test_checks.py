"""The checks of a model pass what is right and report what is wrong: spoilt normalizers go through the same protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from KernelNormalizationLib.core.arrays import FloatArray
from KernelNormalizationLib.core.io.file_conversion import create_normalizer
from KernelNormalizationLib.core.io.reading import read_volume
from KernelNormalizationLib.core.kernels.mtf import kernel_number
from KernelNormalizationLib.core.kernels.radial_filter import apply_gain
from KernelNormalizationLib.core.kernels.transfer import find_transfer
from KernelNormalizationLib.core.methods.protocol import Method, NormalizationResult, Normalizer
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.volume import CTVolume
from training.checking import fidelity, real, stability
from training.checking.outcomes import Outcome, Skipped
from training.checking.panels import Panel
from training.checking.phantoms import Bench, kernel_of
from training.checks import main
from training.evaluation.methods import base_and_lost
from training.simulate.kernel_family import SMOOTH_KERNEL
from training.simulate.patient import simulate_patient
from training.simulate.presets import Options
from training.simulate.store import patient_path, write_patient

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="development CT data are not on this machine")
SMALL = Bench(water_mm=45.0, body_mm=45.0, lung_mm=30.0, pixel=0.7, matrix=144)


class Altered:
    """The product's linear transfer, or what ``base`` makes, with its voxels altered afterwards."""

    method: Method = "linear"

    def __init__(self, alter: Callable[[FloatArray], FloatArray], base: Normalizer | None = None) -> None:
        self._alter = alter
        self._base = base or create_normalizer("linear")

    def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
        result = self._base.normalize(volume, progress)
        made = result.volume.with_hu(self._alter(result.volume.hu), name="altered", synthetic=True)
        return replace(result, volume=made)


class ExactTransfer:
    """The true transfer of the simulated scanner, which the product has to guess."""

    method: Method = "linear"

    def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
        sharp = kernel_of(kernel_number(volume.acquisition.kernel) or 20)
        hu = apply_gain(volume.hu, volume.geometry.spacing[1:], lambda f: SMOOTH_KERNEL.mtf(f) / np.maximum(sharp.mtf(f), 1e-3))
        return NormalizationResult(volume.with_hu(hu, name="exact", synthetic=True), {})


class Unchanged:
    """Gives the volume back, as if it were normalized."""

    method: Method = "linear"

    def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
        return NormalizationResult(replace(volume, synthetic=True), {})


class Known:
    """Gives a series it was told, whatever comes in."""

    method: Method = "linear"

    def __init__(self, answer: CTVolume) -> None:
        self._answer = answer

    def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
        return NormalizationResult(volume.with_hu(self._answer.hu, name="known", synthetic=True), {})


def blurred(hu: FloatArray) -> FloatArray:
    return np.asarray(ndimage.gaussian_filter(hu, (0.0, 1.5, 1.5)))


def denser(hu: FloatArray) -> FloatArray:
    return hu + np.float32(3.0)


def with_blob(sign: float) -> Callable[[FloatArray], FloatArray]:
    def add(hu: FloatArray) -> FloatArray:
        y, x = np.indices(hu.shape[1:])
        spot = 12.0 * np.exp(-((y - 62) ** 2 + (x - 92) ** 2) / 8.0)
        return (hu + np.float32(sign) * spot).astype(np.float32)

    return add


@pytest.fixture(scope="module")
def shipped() -> Normalizer:
    return create_normalizer("unet")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    write_patient(patient_path(folder, 0), simulate_patient(Options("paper", 2, 256), 11, 0, []))
    return folder


def judged(findings: Iterator[Outcome | Skipped]) -> dict[str, Outcome]:
    return {f"{found.case}": found for found in findings if isinstance(found, Outcome)}


def only(outcomes: dict[str, Outcome], *words: str) -> list[Outcome]:
    chosen = [outcome for case, outcome in outcomes.items() if all(word in case for word in words)]
    assert chosen, f"no case has {words} among {list(outcomes)}"
    return chosen


@pytest.mark.slow
def test_smooth_input_that_is_moved_or_blurred_is_reported(pairs: Path) -> None:
    _, smooth = stability.simulated_scans(pairs, 1)
    for alter in (denser, blurred):
        found = judged(stability.smooth_scans_stay({"m": Altered(alter)}, smooth, stability.TAGGED, "tag"))
        assert not any(outcome.passed for outcome in found.values())
    assert all(o.passed for o in judged(stability.smooth_scans_stay({"m": Unchanged()}, smooth, None, "own")).values())


@pytest.mark.slow
def test_the_shipped_model_leaves_smooth_input_and_its_own_output_alone(shipped: Normalizer, pairs: Path) -> None:
    sharp, smooth = stability.simulated_scans(pairs, 1)
    for facts in (stability.TAGGED, stability.UNTAGGED):
        found = judged(stability.smooth_scans_stay({"m": shipped}, smooth, facts, "x"))
        assert all(outcome.passed for outcome in found.values())
    twice = judged(stability.twice_is_once({"m": shipped}, sharp))
    for way in ("marked synthetic", "without header", "still tagged B80f"):
        assert all(outcome.passed for outcome in only(twice, way))


@pytest.mark.slow
def test_a_second_pass_that_blurs_again_is_reported(pairs: Path) -> None:
    sharp, _ = stability.simulated_scans(pairs, 1)
    found = judged(stability.twice_is_once({"m": Altered(blurred)}, sharp))
    assert not any(outcome.passed for outcome in only(found, "lungs"))


@pytest.mark.slow
def test_cylinders_show_a_shift_of_three_hu_and_that_the_shipped_model_keeps_water(shipped: Normalizer) -> None:
    methods = {"shifted": Altered(denser), "shipped": shipped}
    found = list(fidelity.cylinders_keep_their_mean(methods, SMALL, kernels=(80,), doses=(1.0,)))
    shifted = [o for o in found if isinstance(o, Outcome) and o.method == "shifted"]
    assert {o.case.split(",")[0] for o in shifted} == {"water", "lung density"}
    assert {o.case.split(", ")[2] for o in shifted} == {"1 image averaged", "4 images averaged"}
    assert not any(o.passed for o in shifted)
    water = [o for o in found if isinstance(o, Outcome) and "water" in o.case]
    assert all(o.value == pytest.approx(3.0, abs=0.5) for o in water if o.method == "shifted")
    assert all(o.passed for o in water if o.method == "shipped")


@pytest.mark.slow
def test_contrast_is_right_with_the_exact_transfer_and_wrong_when_blurred() -> None:
    methods = {"exact": ExactTransfer(), "blurred": Altered(blurred, ExactTransfer())}
    found = [o for o in fidelity.detail_keeps_its_contrast(methods, SMALL, kernels=(70,), repeats=1) if isinstance(o, Outcome)]
    assert len(found) == 12
    exact = [o for o in found if o.method == "exact"]
    # Line pairs in the lung are partly truncated, which no linear transfer undoes.
    assert all(abs(o.value) < 1.0 and o.passed for o in exact if "line pair 1 mm in lung" not in o.case)
    assert all(o.value < 0.0 for o in exact if "line pair 1 mm in lung" in o.case)
    assert all(o.value < -10.0 and not o.passed for o in found if o.method == "blurred")


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_blob_of_12_hu_in_the_lung_is_found_and_the_exact_transfer_invents_nothing(sign: float) -> None:
    methods = {"exact": ExactTransfer(), "spoilt": Altered(with_blob(sign), ExactTransfer())}
    found = [o for o in fidelity.nothing_is_invented(methods, SMALL) if isinstance(o, Outcome)]
    assert len(found) == 8
    assert all(o.value == 0.0 and o.passed for o in found if o.method == "exact")
    assert all(o.value == pytest.approx(12.0, abs=3.0) and not o.passed for o in found if o.method == "spoilt")


@pytest.mark.slow
def test_a_change_away_from_truncated_voxels_is_reported_and_the_shipped_model_makes_none(
    shipped: Normalizer, pairs: Path
) -> None:
    sharp, _ = stability.simulated_scans(pairs, 1)
    _, lost = base_and_lost(sharp[0].volume, find_transfer(sharp[0].volume).gain)
    far = ~fidelity.near_truncation(lost, fidelity.GATE_REACH)
    assert 0.01 < far.mean() < 0.99
    methods = {"shipped": shipped, "denser": Altered(denser, shipped)}
    kept, changed = fidelity.off_truncation_is_the_base(methods, {"sim": sharp[0].volume})
    assert isinstance(kept, Outcome)
    assert kept.passed
    assert isinstance(changed, Outcome)
    assert changed.value == pytest.approx(3.0, abs=0.01)
    assert not changed.passed


def test_the_phantoms_own_soft_series_passes_and_a_shift_or_the_raw_scan_does_not() -> None:
    panels: list[Panel] = []
    stack = real.read_stack(DATA / real.PHANTOM)
    methods: dict[str, Normalizer] = {
        "right": Known(stack.smooth),
        "shifted": Known(replace(stack.smooth, hu=stack.smooth.hu + np.float32(4.0), padding_value=None)),
    }
    found = [o for o in real.phantom_pairs(methods, DATA, panels.append) if isinstance(o, Outcome)]
    assert {o.case.split(",")[0] for o in found} == {"air outside", "lung insert", "soft tissue", "bone-like"}
    assert all(o.passed and o.value == 0.0 for o in found if o.method == "right")
    assert all(not o.passed and o.value == pytest.approx(4.0, abs=1e-3) for o in found if o.method == "shifted")
    assert panels[0].reference.shape == stack.smooth.shape


@pytest.mark.slow
@needs_data
def test_the_pair_of_another_maker_judges_raw_as_bad_and_the_soft_series_as_good() -> None:
    soft = read_volume(DATA / real.PAIR / "soft_B")
    methods = {"raw": Unchanged(), "soft": Known(soft)}
    found = [o for o in real.pair_of_another_maker(methods, DATA, lambda panel: None) if isinstance(o, Outcome)]
    assert [o.passed for o in found if o.method == "raw"] == [False, False]
    assert [o.value for o in found if o.method == "soft"] == [0.0, 0.0]


@pytest.mark.slow
@needs_data
def test_an_unchanged_b70f_chest_fails_on_emphysema_and_noise() -> None:
    found = judged(real.b70f_chest({"raw": Unchanged()}, DATA, lambda panel: None))
    (index,), (noise,) = only(found, "EI"), only(found, "noise")
    assert 10.0 < index.value < 13.0
    assert not index.passed
    assert noise.value == pytest.approx(0.0, abs=1e-6)
    assert not noise.passed
    assert only(found, "geometry")[0].passed


@pytest.mark.slow
@needs_data
def test_the_command_writes_a_table_with_its_provenance_and_says_what_it_left_out(tmp_path: Path) -> None:
    folder, out = tmp_path / "real", tmp_path / "out"
    folder.mkdir()
    (folder / real.PHANTOM).symlink_to(DATA / real.PHANTOM)
    code = main(["--only", "real", "--real", str(folder), "--out", str(out)])
    content = json.loads((out / "checks.json").read_text())
    values = [o for o in content["outcomes"] if o["method"] == "model"]
    assert code == (0 if all(o["passed"] for o in values) else 1)
    assert len(values) == 4
    assert content["provenance"]["data"]["method"] == "restored"
    assert "--only real" in content["provenance"]["command"]
    assert {s["check"] for s in content["skipped"]} == {real.PAIR_CHECK, real.CHEST_CHECK}
    text = (out / "checks.md").read_text()
    assert "Research use only" in text
    assert "Not checked" in text
    assert (out / "toshiba_FC51_to_FC13.png").stat().st_size > 10_000


def test_nothing_to_check_and_unknown_models_are_refused(tmp_path: Path) -> None:
    assert main(["--only", "real", "--real", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert main(["--model", "no-such-model", "--out", str(tmp_path / "out")]) == 2
    assert main(["--limit", "0", "--out", str(tmp_path / "out")]) == 2
