"""The error of the index that a model card promises: by the index a user sees, from patients nobody trained on."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from EmphysemaQuantLib.core.indices.prediction_interval import STRATA_KEY, ei_interval, read_strata
from KernelNormalizationLib.core.errors import InputError
from training import export
from training.data.sources import SourceConfig
from training.evaluation.report import write_scores
from training.evaluation.scores import Score
from training.running.checkpoint import BEST
from training.running.config import TrainConfig
from training.running.error_strata import error_strata
from training.running.smoke import make_tiny_pairs, tiny
from training.train import train


def scores_of(pairs: list[tuple[float, float]], method: str = "ours") -> list[Score]:
    """Scores of patients with (true EI, EI of the method)."""
    return [
        Score(f"p{n:03d}", method, 9.0, 9.0, 9.0, 0.0, true, ei, abs(ei - true), 0.9, "B80f", 1e5, 0.7, False, False)
        for n, (true, ei) in enumerate(pairs)
    ]


def test_strata_go_by_the_index_of_the_method_and_hold_signed_errors() -> None:
    low = [(0.0, 0.5), (0.2, 0.4), (0.6, 0.9), (0.9, 0.8), (0.1, 0.2)]
    raised = [(0.9, 1.5), (0.8, 2.0), (3.0, 3.5), (4.0, 4.5), (4.9, 4.0)]
    high = [(4.8, 5.5), (7.0, 6.5), (12.0, 11.0), (9.0, 9.2), (30.0, 28.0)]
    strata = error_strata(scores_of([*low, *raised, *high]), "ours", "patients")
    assert [(s.ei_from, s.ei_to, s.patients) for s in strata] == [(0.0, 1.0, 5), (1.0, 5.0, 5), (5.0, 100.0, 5)]
    errors = np.array([ei - true for true, ei in raised])
    assert strata[1].bias_points == pytest.approx(errors.mean(), abs=1e-4)
    assert strata[1].error_sd_points == pytest.approx(errors.std(ddof=1), abs=1e-4)


def test_every_index_has_an_interval_even_where_patients_are_few() -> None:
    rng = np.random.default_rng(0)
    true = [0.3, 0.4, 2.0, 2.5, 3.0, 3.5, 4.0, 8.0, 9.0, 40.0, 50.0]
    strata = error_strata(scores_of([(t, t + rng.normal(0.0, 0.2)) for t in true]), "ours", "simulated patients")
    assert (strata[0].ei_from, strata[-1].ei_to) == (0.0, 100.0)
    assert sum(s.patients for s in strata) == len(true)
    assert all(a.ei_to == b.ei_from for a, b in itertools.pairwise(strata))
    for ei in (0.0, 0.99, 1.0, 5.0, 14.9, 60.0, 100.0):
        interval = ei_interval(ei, strata)
        assert interval is not None
        assert "simulated patients" in interval.basis


def test_too_few_patients_or_another_label_are_refused() -> None:
    with pytest.raises(InputError, match="4 scores of method ours"):
        error_strata(scores_of([(1.0, 1.1)] * 4), "ours", "patients")
    with pytest.raises(InputError, match="Methods there: ours"):
        error_strata(scores_of([(1.0, 1.1)] * 9), "theirs", "patients")


@pytest.mark.slow
def test_an_exported_card_holds_the_errors_of_the_evaluation(tmp_path: Path) -> None:
    files = make_tiny_pairs(tmp_path / "data", 2)
    config = tiny(TrainConfig(sources=SourceConfig((str(files[0]),)), validation=(str(files[1]),)))
    train(config, tmp_path / "run")
    assert (tmp_path / "run" / BEST).exists()
    scores = scores_of([(t, t + 0.1 * (n % 3)) for n, t in enumerate(np.linspace(0.0, 20.0, 24))])
    write_scores(tmp_path / "results", [*scores, *scores_of([(t.true_ei, t.true_ei + 9.0) for t in scores], "raw")])
    command = ["--run", str(tmp_path / "run"), "--out", str(tmp_path / "unet"), "--training-data", "one chest"]
    assert export.main([*command, "--results", str(tmp_path / "results"), "--method", "ours"]) == 0
    card = json.loads((tmp_path / "unet" / "card.json").read_text())
    expected = error_strata(scores, "ours", "simulated patients")
    assert card[STRATA_KEY] == [asdict(stratum) for stratum in expected]
    assert read_strata(card) == tuple(expected)
    assert card["training"]["sources"]["simulated"] == [files[0].name]
    assert str(tmp_path) not in json.dumps(card)
    assert export.main(command) == 2
