"""Evaluation: figures of merit by hand, statistics against known answers, and the report as files."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from KernelNormalizationLib.core.errors import InputError
from training.data.kernel_pair import KernelPair
from training.evaluate import main
from training.evaluation.cases import FILLER_HU, case_of, find_cases, load_case
from training.evaluation.figures import reference_label
from training.evaluation.methods import MethodRunner, MethodSpec, oracle, parse_method, read_folds
from training.evaluation.report import Provenance, read_scores, write_report
from training.evaluation.scores import Score, Summary, compare_methods, holm, score
from training.evaluation.tables import main_table, paper_table, population_table, spread, strata_tables
from training.plots import main as main_of_plots
from training.simulate.patient import simulate_patient
from training.simulate.presets import Options
from training.simulate.store import patient_path, read_patient, write_patient

META = {
    "sharp_kernel": {"name": "B80f", "number": 80, "f50": 7.5, "p": 4.04, "b": 1.27, "f1": 5.27, "lift": 1.0},
    "slice_mm": 1.0,
    "pixel_mm": 0.7,
    "padding": None,
    "dose": {"quanta": 1e5, "slice_factor": 1.0},
    "real_object": False,
    "floor": {"kind": "truncated", "value": -1024.0},
}


def tiny(slices: int = 3, **meta: object) -> KernelPair:
    """A body of 40 HU with one block of lung at -900 HU, a quarter of which is emphysema at -980 HU."""
    smooth = np.full((slices, 64, 64), -1000, np.int16)
    smooth[:, 4:60, 4:60] = 40
    smooth[:, 20:40, 20:40] = -900
    smooth[:, 20:30, 20:30] = -980
    lung = np.zeros(smooth.shape, np.uint8)
    lung[:, 20:40, 20:40] = 1
    return KernelPair(smooth + 0, smooth, lung, (1.0, 0.7, 0.7), {**META, **meta})


def scores_of(method: str, deis: list[float], *, ei: float = 3.0) -> list[Score]:
    return [
        Score(f"c{n}", method, 10.0 + d, 9.0, 8.0, 0.0, ei, ei + d, abs(d), 1 - d / 10, "B80f", 1e5 + n, 0.7, False, n > 0)
        for n, d in enumerate(deis)
    ]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for index in range(2):
        patient = simulate_patient(Options("paper", 2, 192, keep_unclipped=True), 11, index, [])
        write_patient(patient_path(folder, index), patient)
    return folder


def test_figures_of_merit_are_those_computed_by_hand() -> None:
    case = case_of("x", tiny())
    hu = case.smooth.hu.copy()
    hu[:, 20:30, 30:40] = -960.0
    hu[:, 20:25, 20:30] = -940.0
    result = score(case, "m", hu)
    assert result.true_ei == pytest.approx(25.0)
    assert result.ei == pytest.approx(37.5)
    assert result.abs_dei == pytest.approx(12.5)
    assert result.dice == pytest.approx(2 * 50 / (100 + 150))
    assert result.l1_lung == pytest.approx((100 * 60 + 50 * 40) / 400)
    assert result.l1_image == pytest.approx((100 * 60 + 50 * 40) / 64**2)
    assert result.bias_lung == pytest.approx((-100 * 60 + 50 * 40) / 400)


def test_exactly_minus_950_is_not_emphysema_and_images_are_rounded_first() -> None:
    case = case_of("x", tiny())
    hu = case.smooth.hu.copy()
    hu[:, 30:40, 20:40] = -950.4
    assert score(case, "m", hu).ei == pytest.approx(25.0)
    hu[:, 30:40, 20:40] = -950.6
    assert score(case, "m", hu).ei == pytest.approx(75.0)


@pytest.mark.parametrize("slices", [1, 3, 6, 9])
def test_short_blocks_are_continued_and_the_continuation_never_counts(slices: int) -> None:
    case = case_of("x", tiny(slices))
    assert case.sharp.shape[0] == max(8, slices)
    assert case.sharp.hu.min() > FILLER_HU
    hu = case.smooth.hu.copy()
    hu[:slices] += 5.0
    hu[slices:] = 1234.0
    result = score(case, "m", hu)
    assert result.l1_image == pytest.approx(5.0)
    assert result.l1_lung == pytest.approx(5.0)
    assert result.true_ei == pytest.approx(25.0)


@pytest.mark.parametrize(("native", "resampled"), [(None, False), (1.0, False), (0.7, True)])
def test_scores_tell_whether_slices_were_interpolated(native: float | None, resampled: bool) -> None:
    case = case_of("one", tiny() if native is None else tiny(native_slice_mm=native))
    assert score(case, "raw", case.sharp.hu).resampled == resampled


def test_padding_counts_nowhere() -> None:
    patient = tiny()
    for image in (patient.sharp, patient.smooth):
        image[:, :2] = -2048
    case = case_of("x", replace(patient, meta={**META, "padding": -2048}))
    hu = case.smooth.hu.copy()
    hu[:, :2] = 0.0
    assert score(case, "m", hu).l1_image == 0.0
    assert case.sharp.padding_mask[:, :2].all()


def test_the_kernel_reaches_the_methods_without_its_likeness() -> None:
    kernel = {**META["sharp_kernel"], "name": "B70f-like"}  # type: ignore[dict-item]
    assert case_of("x", tiny(sharp_kernel=kernel)).sharp.acquisition.kernel == "B70f"
    tagged = case_of("x", tiny(sharp_kernel={**kernel, "tag": "L"}, manufacturer="Philips"))
    assert (tagged.sharp.acquisition.kernel, tagged.sharp.acquisition.manufacturer) == ("L", "Philips")


def test_the_smooth_image_of_a_real_pair_is_called_by_its_own_kernel() -> None:
    assert reference_label(case_of("pair", tiny(smooth_kernel={"name": "B"}))) == "B (original)"
    assert reference_label(case_of("sim", tiny(smooth_kernel={"name": "B20f", "number": 20}))) == "B20f (original)"


def test_plots_of_one_case_are_neither_drawn_nor_named(tmp_path: Path) -> None:
    provenance = Provenance.now("evaluate", {})
    write_report(tmp_path / "one", scores_of("raw", [1.0]), "raw", provenance, [])
    write_report(tmp_path / "two", scores_of("raw", [1.0, 2.0]), "raw", provenance, [])
    assert ".png" not in (tmp_path / "one" / "results.md").read_text()
    assert list((tmp_path / "one").glob("*.png")) == []
    assert "![calibration.png](calibration.png)" in (tmp_path / "two" / "results.md").read_text()
    assert main_of_plots([str(tmp_path / "two"), str(tmp_path / "again")]) == 0
    assert {path.name for path in (tmp_path / "again").glob("*.png")} == {
        path.name for path in (tmp_path / "two").glob("*.png")
    }
    assert main_of_plots([str(tmp_path), str(tmp_path / "none")]) == 2


def test_a_pair_without_lung_is_refused(tmp_path: Path) -> None:
    patient = tiny()
    write_patient(patient_path(tmp_path, 0), replace(patient, lung=np.zeros_like(patient.lung)))
    with pytest.raises(InputError, match="shows no lung"):
        load_case(patient_path(tmp_path, 0))
    with pytest.raises(InputError, match="holds no pairs"):
        find_cases(tmp_path / "nowhere")


def test_the_summary_uses_the_sample_standard_deviation() -> None:
    summary = Summary.of([1.0, 2.0, 4.0])
    assert (summary.mean, summary.low, summary.high) == (pytest.approx(7 / 3), 1.0, 4.0)
    assert summary.std == pytest.approx(np.std([1, 2, 4], ddof=1))
    assert spread([1.0, 2.0, 4.0], 2) == "2.33 ± 1.53 [1.00, 4.00]"
    assert spread([], 2) == "-"
    assert spread([1.234], 2) == "1.23"


@pytest.mark.slow
def test_the_test_is_the_paired_one_sided_t_test() -> None:
    worse, better = [3.0, 4.0, 2.5, 5.0], [1.0, 1.5, 2.0, 1.0]
    found = {c.measure: c for c in compare_methods([*scores_of("a", worse), *scores_of("b", better)], "b")}
    expected = stats.ttest_rel(worse, better, alternative="greater").pvalue
    assert found["abs_dei"].p == pytest.approx(expected)
    assert found["dice"].p == pytest.approx(expected)
    gain = np.subtract(worse, better)
    assert found["abs_dei"].effect == pytest.approx(gain.mean() / gain.std(ddof=1))
    reverse = {c.measure: c for c in compare_methods([*scores_of("a", worse), *scores_of("b", better)], "a")}
    assert reverse["abs_dei"].p == pytest.approx(1.0 - expected)


def test_only_shared_patients_are_paired_and_no_spread_gives_no_p() -> None:
    a, b = scores_of("a", [3.0, 4.0, 2.0]), scores_of("b", [1.0, 1.0])
    assert compare_methods([*a, *b], "b")[0].n == 2
    same = compare_methods([*scores_of("a", [2.0, 2.0]), *scores_of("b", [1.0, 1.0])], "b")
    assert np.isnan(same[0].p)


@pytest.mark.slow
def test_holm_is_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    adjusted = holm([0.01, float("nan"), 0.5])
    assert adjusted[0] == pytest.approx(0.02)
    assert np.isnan(adjusted[1])


def test_tables_separate_severe_patients_and_hold_the_papers_figures() -> None:
    mixed = [*scores_of("raw", [16.0, 18.0]), *[replace(s, case="d" + s.case) for s in scores_of("raw", [17.0], ei=12.0)]]
    assert "| raw, EI > 5 | 1 |" in main_table(mixed)
    assert "| raw | 3 |" in main_table(mixed)
    assert "9.7 ± 1.7" in paper_table()
    assert "0.76 ± 0.07 [0.64, 0.89]" in paper_table()
    assert "17.32 ± 4.72 | 17.00 ± 1.00" in population_table(mixed, "raw")
    titles = [title for title, _ in strata_tables(mixed)]
    assert titles[:2] == ["true EI, %", "pixel size, mm"]
    assert titles[-1] == "slices resampled"


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("raw", MethodSpec("raw", "raw")),
        ("ours=unet:models/x", MethodSpec("ours", "unet", "models/x")),
        ("cv=unet:runs/fold{fold}", MethodSpec("cv", "unet", "runs/fold{fold}")),
    ],
)
def test_methods_are_read(text: str, spec: MethodSpec) -> None:
    assert parse_method(text) == spec


@pytest.mark.parametrize("text", ["sharpest", "linear:model", "x=none", ""])
def test_unknown_methods_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="Method"):
        parse_method(text)


def test_every_patient_gets_the_model_that_left_it_out(tmp_path: Path) -> None:
    file = tmp_path / "folds.json"
    file.write_text(json.dumps({"sim0000.npz": 3, "sim0001": 1}))
    runner = MethodRunner(MethodSpec("cv", "unet", "runs/fold{fold}"), read_folds(file))
    assert runner._model_for(case_of("sim0000", tiny())) == "runs/fold3"
    assert runner._model_for(case_of("sim0001", tiny())) == "runs/fold1"
    with pytest.raises(InputError, match="in no fold"):
        runner._model_for(case_of("sim0002", tiny()))
    file.write_text("[1, 2]")
    with pytest.raises(InputError, match="is not a JSON object"):
        read_folds(file)


@pytest.mark.slow
def test_the_oracle_beats_the_linear_transfer_and_needs_the_unclipped_volume() -> None:
    # a whole slice: a crop shows no body around the lungs, and is refused as no chest
    case = case_of("whole", simulate_patient(Options("paper", 2, keep_unclipped=True), 11, 0, []))
    linear, restored = (MethodRunner(parse_method(method), {})(case) for method in ("linear", "restored"))
    images = (oracle(case), restored, linear, case.sharp.hu)
    best, restored_score, plain, raw = (score(case, name, hu) for name, hu in zip("ocl-", images, strict=True))
    assert best.l1_image < restored_score.l1_image < plain.l1_image < 0.5 * raw.l1_image
    assert best.dice > plain.dice > raw.dice
    with pytest.raises(InputError, match="keep-unclipped"):
        oracle(replace(case, unclipped=None))


@pytest.mark.slow
def test_one_command_writes_tables_tests_and_figures(simulated: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    command = [str(simulated), "--methods", "raw", "oracle", "linear", "--panels", "1", "--out", str(out)]
    assert main(command) == 0
    names = {p.name for p in out.iterdir()}
    figures = {f"{name}{suffix}" for name in ("dei_and_dice", "bland_altman", "calibration") for suffix in (".png", ".pdf")}
    assert {"scores.csv", "results.json", "results.md"} | figures <= names
    assert sorted(Path(n).suffix for n in names if n.startswith("panel_")) == [".pdf", ".png"]
    assert all((out / n).read_bytes().startswith(b"%PDF") for n in names if n.endswith(".pdf"))
    rows = list(csv.DictReader((out / "scores.csv").open()))
    assert [(r["case"], r["method"]) for r in rows][:3] == [("sim0000", m) for m in ("raw", "oracle", "linear")]
    results = json.loads((out / "results.json").read_text())
    assert len(results["provenance"]["commit"].rstrip("+")) in (40, 7)
    assert "training.evaluate" in results["provenance"]["command"]
    assert float(rows[2]["l1_lung"]) == pytest.approx(results["scores"][2]["l1_lung"])
    text = (out / "results.md").read_text()
    for heading in ("The paper's Table 1", "Paired one-sided t-tests", "By true EI", "The patients beside the paper's"):
        assert heading in text


@pytest.mark.slow
def test_a_stopped_evaluation_goes_on(simulated: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "results"
    command = [str(simulated), "--panels", "0", "--out", str(out)]
    assert main([*command, "--methods", "raw", "linear", "--limit", "1"]) == 0
    first = read_scores(out)
    caplog.set_level("INFO", logger="training.evaluate")
    assert main([*command, "--methods", "raw", "linear", "oracle", "--resume"]) == 0
    again = read_scores(out)
    assert [(s.case, s.method) for s in again] == [(c, m) for c in ("sim0000", "sim0001") for m in ("raw", "linear", "oracle")]
    assert again[:2] == first
    done = next(record.getMessage() for record in caplog.records if "1 of 2" in record.getMessage())
    assert "oracle" in done
    assert "linear" not in done
    (out / "scores.csv").write_text("case,method\nx,raw\n")
    assert main([*command, "--resume"]) == 2


@pytest.mark.slow
def test_what_cannot_be_evaluated_is_listed_and_the_rest_goes_on(simulated: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    write_patient(patient_path(folder, 0), read_patient(patient_path(simulated, 0)))
    write_patient(patient_path(folder, 1), replace(read_patient(patient_path(simulated, 1)), sharp_unclipped=None))
    assert main([str(folder), "--methods", "raw", "oracle", "--panels", "0", "--out", str(tmp_path / "out")]) == 0
    assert "sim0001, oracle" in (tmp_path / "out" / "results.md").read_text()


@pytest.mark.parametrize(
    "wrong",
    [["--methods", "raw", "raw"], ["--methods", "magic"], ["--best", "nobody"], ["--folds", "/no/file"]],
)
def test_unusable_arguments_are_refused(wrong: list[str], simulated: Path, tmp_path: Path) -> None:
    assert main([str(simulated), "--out", str(tmp_path), *wrong]) == 2
