"""The study's statistics against published examples and against computations that share no line with them."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from ctkernel.reader_study.scale import Reading, require_score
from ctkernel.reader_study.statistics.agreement import agreement_of
from ctkernel.reader_study.statistics.power import cases_to_detect, next_study, power_to_detect
from ctkernel.reader_study.statistics.roc import compare_areas, newcombe_interval, roc_area, roc_points
from ctkernel.reader_study.statistics.summary import summarize
from KernelNormalizationLib.core.errors import InputError

# Hanley and McNeil, Radiology 143 (1982) 29-36, table I: 109 CT images of the head, one reader, five ratings from definitely
# normal to definitely abnormal. Stata's manual (roctab) gives for them the area 0.8932, DeLong's standard error 0.0307 and the
# interval 0.83295 to 0.95339.
PAGE = " ".join((Path(__file__).parents[2] / "docs" / "reader-study.md").read_text(encoding="utf-8").split())
HANLEY_NORMAL, HANLEY_ABNORMAL = (33, 6, 6, 11, 2), (3, 2, 2, 11, 33)


def ratings(counts: tuple[int, ...]) -> list[int]:
    return [score for score, count in enumerate(counts) for _ in range(count)]


def test_roc_area_and_delong_interval_of_the_published_ct_ratings() -> None:
    found = roc_area(ratings(HANLEY_ABNORMAL), ratings(HANLEY_NORMAL))
    assert found is not None
    assert found.interval == "DeLong"
    assert found.area == pytest.approx(0.8932, abs=5e-5)
    assert found.standard_error == pytest.approx(0.0307, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((0.83295, 0.95339), abs=1e-5)


def test_delong_interval_covers_as_often_as_it_says() -> None:
    """Six scores from two known distributions: the true area lies inside about 95 of 100 intervals."""
    rng = np.random.default_rng(5)
    high, low = np.array([1, 3, 5, 7, 6, 2]) / 24.0, np.array([2, 6, 7, 5, 3, 1]) / 24.0
    truth = sum(high[a] * low[b] * (1.0 if a > b else 0.5 if a == b else 0.0) for a, b in product(range(6), repeat=2))
    inside = 0
    for _ in range(1500):
        found = roc_area(rng.choice(6, 40, p=high), rng.choice(6, 40, p=low))
        assert found is not None
        inside += found.low <= truth <= found.high
    assert 0.925 < inside / 1500 < 0.97
    assert f"the 95 % interval contained the true area in {100.0 * inside / 1500:.1f} %." in PAGE


def test_paired_difference_agrees_with_drawing_the_cases_again() -> None:
    rng = np.random.default_rng(8)
    first = (rng.integers(1, 6, 60), rng.integers(0, 5, 50))
    second = tuple(np.clip(scores + rng.integers(-1, 2, scores.size), 0, 5) for scores in first)
    found = compare_areas(first, (second[0], second[1]))
    assert found is not None

    def area(high: np.ndarray, low: np.ndarray) -> float:
        return float(np.mean((high[:, None] > low) + 0.5 * (high[:, None] == low)))

    drawn = []
    for _ in range(3000):
        a, b = rng.integers(0, 60, 60), rng.integers(0, 50, 50)
        drawn.append(area(first[0][a], first[1][b]) - area(second[0][a], second[1][b]))
    half_width = (found.high - found.low) / 2.0
    assert half_width == pytest.approx(1.96 * np.std(drawn), rel=0.08)


def test_an_area_of_one_keeps_an_interval_with_width() -> None:
    found = roc_area([4, 5, 5, 4, 5, 5, 4, 5], [0, 1, 1, 2, 0, 1, 2, 2])
    assert found is not None
    assert (found.area, found.high, found.interval) == (1.0, 1.0, "Newcombe")
    assert 0.6 < found.low < 0.95
    assert newcombe_interval(0.0, 8, 8) == pytest.approx((0.0, 1.0 - found.low))


def test_no_area_without_two_images_of_each_group() -> None:
    assert roc_area([3], [1, 2, 3]) is None


def test_curve_starts_at_nothing_and_ends_at_everything() -> None:
    points = roc_points([3, 4, 5], [0, 3, 1])
    assert points[0] == (0.0, 0.0)
    assert points[-1] == (1.0, 1.0)
    area = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points))
    found = roc_area([3, 4, 5], [0, 3, 1])
    assert found is not None
    assert area == pytest.approx(found.area)


@pytest.mark.slow
def test_kappa_of_a_published_table() -> None:
    """Altman, Practical Statistics for Medical Research, by hand: 40 + 30 same of 100, expected .5 -> kappa .4."""
    pairs = [(5, 5)] * 35 + [(5, 0)] * 15 + [(0, 5)] * 15 + [(0, 0)] * 35
    found = agreement_of(("a", "b"), [p[0] for p in pairs], [p[1] for p in pairs])
    assert found.same_answer == 70
    assert found.answers.value == pytest.approx(0.4)
    # with two scores only, five apart, weights change nothing
    assert found.scores.value == pytest.approx(0.4)
    # standard error of kappa in large samples: sqrt(po (1 - po) / (n (1 - pe)^2)) for equal margins
    assert found.answers.high is not None
    assert found.answers.high - 0.4 == pytest.approx(1.96 * np.sqrt(0.7 * 0.3 / 100) / 0.5, rel=0.02)


def test_weighted_kappa_forgives_neighbours_more_than_opposites() -> None:
    base = [0, 1, 2, 3, 4, 5] * 5
    near = agreement_of(("a", "b"), base, [min(5, s + 1) for s in base]).scores.value
    far = agreement_of(("a", "b"), base, [5 - s for s in base]).scores.value
    assert near is not None
    assert far is not None
    assert near > 0.7 > 0.0 > far


def test_kappa_is_open_where_both_gave_one_answer_only() -> None:
    found = agreement_of(("a", "b"), [4, 4, 4], [4, 4, 4])
    assert found.same_answer == 3
    assert found.answers.value is None


def test_power_equals_the_sum_over_all_outcomes_that_the_test_calls_significant() -> None:
    for cases, accuracy in ((36, 0.75), (36, 0.58), (50, 0.5), (20, 0.9)):
        significant = [k for k in range(cases + 1) if binomtest(k, cases, 0.5).pvalue <= 0.05]
        assert power_to_detect(cases, accuracy) == pytest.approx(binom.pmf(significant, cases, accuracy).sum(), abs=1e-12)


def test_needed_cases_have_the_power_and_one_case_fewer_has_not() -> None:
    needed = cases_to_detect(0.75)
    assert needed is not None
    assert power_to_detect(needed, 0.75) >= 0.8 > power_to_detect(needed - 1, 0.75)
    assert all(power_to_detect(n, 0.75) >= 0.8 for n in range(needed, needed + 30))
    assert cases_to_detect(0.505) is None


def test_plan_of_the_paper_s_next_study() -> None:
    plan = next_study(36, [21 / 36, 27 / 36])
    by_accuracy = {entry.accuracy: entry for entry in plan.detect}
    # 36 cases were enough for the radiologist and far from enough for the computer scientist
    assert by_accuracy[0.75].power_now > 0.8
    assert by_accuracy[0.583].power_now < 0.2
    assert 0.58 not in by_accuracy
    assert by_accuracy[0.583].cases is not None
    assert by_accuracy[0.583].cases > 250
    assert plan.cases_to_exclude is not None
    assert 50 < plan.cases_to_exclude < 110
    assert f"better than guessing with a power of {100.0 * power_to_detect(36, 0.75):.0f} %;" in PAGE
    weak = power_to_detect(36, 0.58)
    assert f"the power is {100.0 * weak:.0f} %, and {cases_to_detect(0.58)} cases would be needed." in PAGE
    assert f"{plan.cases_to_exclude} cases are enough to exclude 65 %" in PAGE


def readings_of(reader: str, original: list[int], normalized: list[int]) -> list[Reading]:
    made = [Reading(reader, f"o{n:02d}", "original", score) for n, score in enumerate(original)]
    return made + [Reading(reader, f"n{n:02d}", "normalized", score) for n, score in enumerate(normalized)]


def test_table_of_the_paper_from_its_numbers_of_images() -> None:
    """16 originals, 20 normalized; 21 of 36 are 58 %, 27 of 36 are 75 %."""
    radiologist = readings_of("radiologist", [4] * 8 + [3] * 4 + [2] * 4, [1] * 9 + [2] * 6 + [3] * 5)
    scientist = readings_of("scientist", [3] * 9 + [2] * 7, [2] * 12 + [3] * 8)
    found = summarize(["radiologist", "scientist"], radiologist + scientist, {"original": 16, "normalized": 20})
    first, second = found.readers
    assert (round(first.correct.percent or 0), round(second.correct.percent or 0)) == (75, 58)
    assert first.groups[0].mean == pytest.approx((4 * 8 + 3 * 4 + 2 * 4) / 16)
    assert first.groups[0].sd == pytest.approx(np.std([4] * 8 + [3] * 4 + [2] * 4, ddof=1))
    assert first.groups[1].distribution == (0, 9, 6, 5, 0, 0)
    assert (first.certain, second.certain) == (0, 0)
    assert first.p_guessing == pytest.approx(binomtest(27, 36, 0.5).pvalue)
    assert first.p_guessing is not None
    assert second.p_guessing is not None
    assert first.p_guessing < 0.05 < second.p_guessing
    assert found.mean is not None
    assert found.mean.percent_correct[0] == pytest.approx(100 * 48 / 72)
    assert found.mean.area is not None
    areas = [found.areas[name] for name in ("radiologist", "scientist")]
    assert found.mean.area[0] == pytest.approx(np.mean([a.area for a in areas if a]))
    assert found.mean.area[1] < found.mean.area[0] < found.mean.area[2]
    assert found.everyone.correct.total == 72


def test_an_unfinished_reader_is_compared_on_the_common_images_only() -> None:
    full = readings_of("a", [4, 3, 4, 5], [1, 2, 0, 3])
    part = readings_of("b", [4, 3], [1, 2])
    found = summarize(["a", "b"], full + part, {"original": 4, "normalized": 4})
    assert found.agreements[0].images == 4
    assert found.readers[1].correct.total == 4


@pytest.mark.parametrize("value", [-1, 6, 2.5, "3", None, True, float("nan")])
def test_only_whole_numbers_from_0_to_5_are_scores(value: object) -> None:
    with pytest.raises(InputError, match="0 to 5"):
        require_score(value)
