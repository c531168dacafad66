"""Numbers, sentences and links of the documents follow the files they are taken from."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from docsite.equations import draw_equations, mark_equations
from docsite.links import rewrite_links
from docsite.macros import Macros
from docsite.model_card import card_page
from docsite.results import Evaluation, ResultError, network_verdict, read_evaluation, shipped_card
from training.evaluation.measured import ResultNumbers

ROOT = Path(__file__).resolve().parents[2]


def evaluation(**errors: list[float]) -> Evaluation:
    """An evaluation with these abs. dEI of each method; the last patient has EI above 5 %."""
    scores = [
        {
            "method": method,
            "abs_dei": v,
            "l1_image": v,
            "l1_body": v,
            "l1_lung": v,
            "dice": 0.5 - v / 100,
            "true_ei": 2.0 + 2 * n,
        }
        for method, values in errors.items()
        for n, v in enumerate(values)
    ]
    return Evaluation("mine", tuple(scores), {})


def repository(folder: Path, found: Evaluation) -> Path:
    """A folder with this evaluation as ``training/results/mine``."""
    place = folder / "training" / "results" / "mine"
    place.mkdir(parents=True)
    content = {
        "scores": list(found.scores),
        "provenance": {"command": "measure", "commit": "0123456789abcdef", "date": "today"},
    }
    (place / "results.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_statistics_are_of_all_patients_or_of_those_above_5_percent() -> None:
    found = evaluation(raw=[1.0, 2.0, 6.0])
    assert found.statistic("raw", "abs_dei", "mean") == "3.00"
    assert found.statistic("raw", "abs_dei", "median") == "2.00"
    assert found.statistic("raw", "abs_dei", "mean", severe=True) == "6.00"
    assert found.statistic("raw", "l1_image", "mean+-sd") == "3.0\u00a0±\u00a02.6"
    assert found.statistic("raw", "abs_dei", "n", severe=True) == "1"


def test_the_sentence_about_the_network_follows_the_numbers() -> None:
    base = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    worse, better = [v + 0.3 + 0.01 * n for n, v in enumerate(base)], [v - 0.3 - 0.01 * n for n, v in enumerate(base)]
    assert "makes the index worse" in network_verdict(evaluation(restored=base, unet=worse))
    assert "improves the index" in network_verdict(evaluation(restored=base, unet=better))
    assert "neither for better nor for worse" in network_verdict(evaluation(restored=base, unet=base[::-1]))


def test_macros_take_their_numbers_from_the_results(tmp_path: Path) -> None:
    macros = Macros(repository(tmp_path, evaluation(raw=[1.0, 2.0, 6.0], unet=[0.1, 0.2, 0.3])))
    assert macros.expand("EI {{ score mine unet abs_dei median }} points") == "EI 0.20 points"
    assert "| raw, EI > 5 | 1 | 6.0 |" in macros.expand("{{ table mine }}")
    assert macros.expand("{{ made mine }}") == "Made by `measure` on today, commit 0123456789."


@pytest.mark.parametrize(
    ("macro", "said"),
    [
        ("score mine nobody dice mean", "no dice of a method “nobody”"),
        ("score mine raw dice mode", "no statistic “mode”"),
        ("score other raw dice mean", "other/results.json cannot be read"),
        ("invent", "no macro “invent”"),
        ("score mine", "wrong arguments"),
        ("json mine/results.json provenance.author", "has no “provenance.author”"),
        ("part mine/table.md 1", "mine/table.md cannot be read"),
        ("outside error", "outside/coverage.csv cannot be read"),
    ],
)
def test_a_macro_that_finds_nothing_says_what_is_missing(tmp_path: Path, macro: str, said: str) -> None:
    macros = Macros(repository(tmp_path, evaluation(raw=[1.0, 2.0])))
    with pytest.raises(ResultError, match=said):
        macros.expand("{{ " + macro + " }}")


def test_the_model_card_page_says_what_its_card_says() -> None:
    card, checks = copy.deepcopy(shipped_card(ROOT)), Macros(ROOT).checks
    stratum = {
        "ei_from": 0.0,
        "ei_to": 100.0,
        "bias_points": 0.5,
        "error_sd_points": 1.25,
        "patients": 9,
        "population": "people",
    }
    card.update(ei_error_strata=[stratum], known_failures=["It fails on Tuesdays."])
    page = card_page(card, read_evaluation(ROOT, "paper"), checks, "here")
    assert "| 0 to 100 | 9 | +0.50 | 1.25 | people |" in page
    assert "- It fails on Tuesdays." in page
    failed = [o for o in checks["outcomes"] if o["method"] == "model" and not o["passed"]]
    assert page.count("\n- ") >= len(failed) + 1
    assert card["sha256"]["model.safetensors"] in page


def test_a_model_without_measured_errors_says_that_there_is_no_interval() -> None:
    card = {key: value for key, value in shipped_card(ROOT).items() if key != "ei_error_strata"}
    assert "no interval" in card_page(card, read_evaluation(ROOT, "paper"), Macros(ROOT).checks, "here")


def test_equations_become_mathml_and_code_keeps_its_dollars() -> None:
    marked = mark_equations("Noise $s_1 * 2$ and `echo $HOME $PATH`\n\n$$a_b = c_d$$\n\n```sh\ncost $5 and $6\n```\n")
    assert "s_1" not in marked
    assert "`echo $HOME $PATH`" in marked
    assert "cost $5 and $6" in marked
    drawn = draw_equations(f"<p>{marked}</p>")
    assert drawn.count("<math") == 2
    assert '<div class="equation">' in drawn


def test_a_doctest_at_the_end_of_a_docstring_is_an_example() -> None:
    pytest.importorskip("griffe")
    from docsite.doctest_examples import headed

    assert headed("Add.\n\n>>> 1 + 1\n2") == "Add.\n\nExamples:\n    >>> 1 + 1\n    2"
    assert headed("Add.\n\nReturns:\n    The sum.") == "Add.\n\nReturns:\n    The sum."


def test_links_hold_where_a_page_stands_elsewhere_on_the_site() -> None:
    places = {"training/README.md": "engineer/training.md", "pictures/a.png": "pictures/a.png"}
    inside = "[t](../training/README.md#own) [m](methods/x.md) ![p](../pictures/a.png)"
    text = f"{inside} [l](../LICENSE) [w](https://a.b/c) `[t](no.md)`"
    found = rewrite_links(text, "docs/validation.md", "validation.md", places)
    assert found.startswith("[t](engineer/training.md#own) [m](methods/x.md) ![p](pictures/a.png) l (`LICENSE`)")
    assert found.endswith("[w](https://a.b/c) `[t](no.md)`")
    assert (
        rewrite_links("[m](../docs/methods/x.md)", "training/README.md", "engineer/training.md", places)
        == "[m](../methods/x.md)"
    )


def measured_file(folder: Path, name: str, **numbers: float) -> None:
    """A results file as a command writes it."""
    kept = ResultNumbers()
    for key, value in numbers.items():
        kept.add(key, value, 2, f"what {key} is (s)")
    kept.write(folder / "training" / "results" / "measured" / f"{name}.json", "make bench")


def test_a_number_of_a_command_comes_from_the_file_that_the_command_wrote(tmp_path: Path) -> None:
    measured_file(tmp_path, "bench", speed=0.12345)
    by_hand = {"old": {"value": "7.9", "what": "an old one", "command": "measure", "date": "2026-11"}}
    (tmp_path / "training" / "results" / "noted.json").write_text(json.dumps(by_hand), encoding="utf-8")
    macros = Macros(tmp_path)
    assert macros.expand("{{ noted speed }} s, {{ noted old }}") == "0.12 s, 7.9"
    assert "| what speed is (s) | 0.12 | `make bench` | 20" in macros.expand("{{ noted_table }}")
    with pytest.raises(ResultError, match="has “gone”"):
        macros.expand("{{ noted gone }}")


def test_a_number_that_stands_in_two_files_is_refused(tmp_path: Path) -> None:
    measured_file(tmp_path, "bench", speed=1.0)
    measured_file(tmp_path, "older", speed=2.0)
    (tmp_path / "training" / "results" / "noted.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ResultError, match=r"“speed” stands in older\.json and in another"):
        Macros(tmp_path).expand("{{ noted speed }}")


def test_a_page_shows_a_table_of_a_results_file_and_how_it_was_made(tmp_path: Path) -> None:
    folder = tmp_path / "training" / "results" / "mine"
    folder.mkdir(parents=True)
    made = "Made by `measure` on today, commit 012abc."
    text = "Some words.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n| c |\n| --- |\n| 3 |\n\n" + made
    (folder / "table.md").write_text(text, encoding="utf-8")
    macros = Macros(tmp_path)
    assert macros.expand("{{ part mine/table.md 1 }}") == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert macros.expand("{{ part mine/table.md 2 }}") == "| c |\n| --- |\n| 3 |"
    assert macros.expand("{{ part mine/table.md made }}") == made
    with pytest.raises(ResultError, match="has 2 tables, and none of number 3"):
        macros.expand("{{ part mine/table.md 3 }}")


def test_intervals_outside_the_training_range_are_counted_from_their_rows(tmp_path: Path) -> None:
    folder = tmp_path / "training" / "results" / "outside"
    folder.mkdir(parents=True)
    rows = [
        "case,true EI [%],EI [%],low [%],high [%],inside,basis",
        'a,2.0,3.0,1.0,5.0,True,"how strongly the kernels lift coarse detail (-1.50 to +0.20 points), more"',
        'b,9.0,12.0,10.0,14.0,False,"how strongly the kernels lift coarse detail (-2.50 to +0.10 points)"',
        'c,1.0,1.0,0.0,3.0,True,"nothing is open"',
    ]
    (folder / "coverage.csv").write_text("\n".join(rows), encoding="utf-8")
    asked = "{{ outside scanners }} {{ outside held }} {{ outside error }} {{ outside error_median }} {{ outside width }}"
    assert Macros(tmp_path).expand(asked) == "3 2 1.3 1.0 3.7"
    assert Macros(tmp_path).expand("{{ outside lift }} at {{ outside lift_ei }}") == "2.5 at 12"
