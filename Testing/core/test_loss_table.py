"""Tables of what truncation took, against drawing images, clipping and averaging them."""

from __future__ import annotations

import numpy as np
import pytest

from KernelNormalizationLib.core.errors import Cancelled, InputError
from KernelNormalizationLib.core.kernels.radial_filter import in_threads
from KernelNormalizationLib.core.stopping import stoppable
from KernelNormalizationLib.core.truncation.loss_table import LossTable
from KernelNormalizationLib.core.truncation.model import Truncation

TRUNCATIONS = [
    Truncation(),
    Truncation(weights=(0.7, 0.3), correlation=0.24),
    Truncation.of_equal_images(2),
    Truncation.of_equal_images(4, 0.24),
    Truncation(weights=(0.5, 0.3, 0.2), correlation=0.5),
    Truncation.of_equal_images(8, 0.6),
]
DRAWS = 400_000


def _drawn(truncation: Truncation, t: float) -> tuple[np.ndarray, np.ndarray]:
    """Stored value above the floor and what was lost, in units of one image's noise."""
    rng = np.random.default_rng(1)
    own = rng.standard_normal((truncation.images, DRAWS)) * np.sqrt(1.0 - truncation.correlation)
    images = t + own + rng.standard_normal(DRAWS) * np.sqrt(truncation.correlation)
    weights = np.asarray(truncation.weights)
    stored = weights @ np.maximum(images, 0.0)
    return stored, weights @ images - stored


@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=str)
@pytest.mark.parametrize("t", [-0.5, 0.5, 1.5])
def test_moments_of_the_stored_value_are_those_of_drawn_images(truncation: Truncation, t: float) -> None:
    stored, _ = _drawn(truncation, t)
    table = LossTable.of(truncation)
    assert np.interp(t, table.t, table.mean) == pytest.approx(stored.mean(), abs=0.005)
    assert np.interp(t, table.t, table.sd) == pytest.approx(stored.std(), rel=0.01)
    assert np.interp(t, table.t, table.atom) == pytest.approx(np.mean(stored < 1e-12), abs=0.003)


@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=str)
@pytest.mark.parametrize("t", [-0.5, 0.5, 1.5])
def test_the_loss_given_the_stored_value_is_that_of_drawn_images(truncation: Truncation, t: float) -> None:
    stored, lost = _drawn(truncation, t)
    table = LossTable.of(truncation)
    for low, high in ((-1.0, 1e-12), (0.175, 0.225), (0.475, 0.525), (0.975, 1.025), (1.975, 2.025)):
        chosen = (stored > low) & (stored <= high)
        if np.count_nonzero(chosen) < 1000:
            continue
        u = np.full(1, max(0.0, 0.5 * (low + high)), np.float32)
        mean, variance = table.look_up(np.full(1, t, np.float32), u, np.array([low < 0.0]))
        assert mean[0] == pytest.approx(lost[chosen].mean(), abs=0.03)
        assert variance[0] == pytest.approx(lost[chosen].var(), abs=0.03)


@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=str)
def test_the_histogram_is_that_of_drawn_images(truncation: Truncation) -> None:
    stored, _ = _drawn(truncation, 0.8)
    table = LossTable.of(truncation)
    for u in (0.05, 0.2, 0.5, 1.0, 2.0):
        below = table.probability_below(np.full(1, 0.8, np.float32), np.full(1, u, np.float32))[0]
        assert below == pytest.approx(np.mean(stored < u), abs=0.01)


def test_mean_and_noise_before_truncation_follow_from_those_after_it() -> None:
    truncation = Truncation.of_equal_images(4, 0.24)
    stored, _ = _drawn(truncation, 0.7)
    table = LossTable.of(truncation)
    t = table.t_of(np.array([stored.std() / stored.mean()]))
    assert t[0] == pytest.approx(0.7, abs=0.02)
    assert stored.std() / table.sd_of(t)[0] == pytest.approx(1.0, abs=0.01)


def test_far_above_the_floor_nothing_was_lost() -> None:
    mean, variance = LossTable.of(Truncation.of_equal_images(3, 0.1)).look_up(
        np.full(1, 6.5, np.float32), np.full(1, 6.5, np.float32), np.array([False])
    )
    assert abs(mean[0]) < 1e-3
    assert variance[0] < 1e-3


def test_storing_is_clipping_and_averaging() -> None:
    images = np.array([[-1100.0, -900.0], [-1000.0, -800.0]], np.float32)
    assert Truncation(weights=(0.75, 0.25)).store(images).tolist() == [-1018.0, -875.0]


def test_noise_after_averaging() -> None:
    assert Truncation.of_equal_images(4).noise_ratio == pytest.approx(0.5)
    assert Truncation.of_equal_images(2, 0.24).noise_ratio == pytest.approx(np.sqrt(0.62))


@pytest.mark.parametrize(("weights", "correlation"), [((0.5, 0.4), 0.0), ((1.2, -0.2), 0.0), ((), 0.0), ((0.5, 0.5), 1.0)])
def test_impossible_truncations_are_refused(weights: tuple[float, ...], correlation: float) -> None:
    with pytest.raises(InputError, match="must"):
        Truncation(weights=weights, correlation=correlation)


def test_a_cancel_does_not_wait_for_the_tables_that_are_being_made() -> None:
    asked = []

    def stopped() -> bool:
        asked.append(1)
        return len(asked) > 3  # in the middle of a table: it has more nodes than that

    with stoppable(stopped), pytest.raises(Cancelled):
        list(in_threads(LossTable.of, [Truncation.of_equal_images(3, 0.31)], threads=1))
    assert len(asked) == 4
