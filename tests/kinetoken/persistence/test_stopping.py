"""Stopping rules against costs by hand, and the optimum against exact recursion, constants and fixed times."""

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.persistence.reference import CERTAIN, group_of, log_odds, reference_stopper
from kinetoken.persistence.stopping import (
    THRESHOLDS,
    backward_induction,
    best_thresholds,
    costs,
    curve,
    decide,
    decide_at,
    decide_where,
    fitted_temperatures,
    sigmoid,
    steps_seen,
)
from kinetoken.scenes.candidates import CandidateCounts, CandidateTracks, draw_candidates, truth_of

ROOT = Path(__file__).parents[3]
ODDS = np.array([[0.5, 2.5, -3.0, 1.0], [0.1, -0.2, 0.3, -0.4], [-2.0, 4.0, 4.0, 4.0]])


def test_the_first_step_that_is_sure_decides_and_else_the_last() -> None:
    decided = decide(ODDS, 2.0, -2.0)
    np.testing.assert_array_equal(decided.step, [1, 3, 0])
    np.testing.assert_array_equal(decided.persistent, [True, False, False])
    np.testing.assert_array_equal(decided.early, [True, False, True])
    np.testing.assert_allclose(decided.confidence, 1 / (1 + np.exp([-2.5, -0.4, -2.0])))


def test_to_be_sure_at_the_last_step_only_is_not_early() -> None:
    decided = decide(np.array([[0.0, 0.0, 9.0]]), 2.0, -2.0)
    assert (decided.step[0], decided.early[0], decided.persistent[0]) == (2, False, True)


def test_a_fixed_time_and_any_other_rule() -> None:
    np.testing.assert_array_equal(decide_at(2, ODDS).step, [2, 2, 2])
    np.testing.assert_array_equal(decide_at(2, ODDS).persistent, [False, True, True])
    stops = np.zeros(ODDS.shape, bool)
    stops[0, 3] = stops[1, 1] = True
    np.testing.assert_array_equal(decide_where(stops, ODDS).step, [3, 1, 3])


def test_thresholds_that_cross_are_refused() -> None:
    with pytest.raises(UserError, match="thresholds cross"):
        decide(ODDS, -1.0, 1.0)
    decide(ODDS, 0.0, 0.0)


def test_costs_by_hand() -> None:
    seen = steps_seen(4, 16)
    np.testing.assert_array_equal(seen, [4, 8, 12, 16])
    found = costs(decide(ODDS, 2.0, -2.0), np.array([True, True, False]), seen, 16, 0.2)
    np.testing.assert_allclose(found, [0.1, 1 + 0.2, 0.05])


def test_sigmoid_does_not_overflow() -> None:
    np.testing.assert_allclose(sigmoid(np.array([-1000.0, 0.0, 2.0, 1000.0])), [0, 0.5, 1 / (1 + np.exp(-2)), 1])


def walks(count: int, steps: int, drift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds (N, S) of unit-variance Gaussian evidence with means ±drift/2: calibrated by construction."""
    rng = np.random.default_rng(seed)
    persistent = np.arange(count) % 2 == 0
    evidence = np.where(persistent, drift / 2, -drift / 2)[:, None] + rng.standard_normal((count, steps))
    return np.cumsum(drift * evidence, 1), persistent


def test_no_pair_of_the_grid_costs_less_than_the_one_that_is_chosen() -> None:
    odds, persistent = walks(600, 12, 1.0, 3)
    seen = steps_seen(1, 12)
    above, below = best_thresholds(odds, persistent, seen, 12, 0.3)

    def criterion(high: float, low: float) -> float:
        decided = decide(odds, high, -low)
        wrong = decided.persistent != persistent
        return float((0.5 * wrong + 0.5 * (1 - decided.confidence) + 0.3 * seen[decided.step] / 12).mean())

    best = criterion(above, -below)
    assert all(best <= criterion(high, low) + 1e-9 for high in THRESHOLDS[::6] for low in THRESHOLDS[::6])
    assert 0 < above < 6 and -6 < below < 0


def test_temperatures_that_were_planted_are_found() -> None:
    odds, persistent = walks(4000, 3, 1.0, 4)
    planted = np.array([0.5, 1.0, 2.5])
    np.testing.assert_allclose(fitted_temperatures(odds * planted, persistent), planted, rtol=0.1)


def test_backward_induction_against_exact_recursion() -> None:
    """Coins: heads with probability 0.7 if persistent, else 0.3; the state is heads less tails, exactly."""
    steps, price, likely = 8, 0.25, 0.7
    weight = np.log(likely / (1 - likely))

    @cache
    def value(seen: int, ahead: int) -> tuple[float, bool]:
        """Least expected cost after `seen` coins with `ahead` more heads than tails, and whether to stop."""
        odds = weight * ahead
        belief = 1 / (1 + np.exp(-odds))
        now = min(belief, 1 - belief) + price * seen / steps
        if seen == steps:
            return now, True
        heads = belief * likely + (1 - belief) * (1 - likely)
        later = heads * value(seen + 1, ahead + 1)[0] + (1 - heads) * value(seen + 1, ahead - 1)[0]
        return min(now, later), now <= later

    rng = np.random.default_rng(5)

    def toss(count: int) -> tuple[np.ndarray, np.ndarray]:
        persistent = np.arange(count) % 2 == 0
        heads = rng.random((count, steps)) < np.where(persistent, likely, 1 - likely)[:, None]
        return weight * np.cumsum(2 * heads - 1, 1), persistent

    odds, persistent = toss(60000)
    alike = np.zeros(len(odds), np.int64)
    seen = steps_seen(1, steps)
    rule = backward_induction(odds, persistent, alike, seen, steps, price)
    fresh, kind = toss(60000)
    found = costs(rule.decide(fresh, np.zeros(len(fresh), np.int64)), kind, seen, steps, price)
    after_one = 0.5 * (value(1, 1)[0] + value(1, -1)[0])
    assert found.mean() == pytest.approx(after_one, abs=4 * found.std() / np.sqrt(len(found)) + 0.002)


@pytest.fixture(scope="module")
def reference() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-odds of 3,000 drawn tracks, which persist, and what the optimum's decisions cost at 0.2 a clip."""
    params = load_params(ROOT / "params.yaml", "generate_trajectories.persistence", CandidateTracks)
    drawn = draw_candidates(dataclasses.replace(params, seed=99, counts=CandidateCounts(3000, 2, 2)))
    truth = truth_of(drawn.drawn, "drawn", 32).take(np.arange(3000))
    odds = log_odds(drawn.points[:3000], truth, params.motion)
    rule = reference_stopper(params.motion, params.appears, 32, 0.2, 7)
    decided = rule.decide(odds, group_of(truth, params.appears))
    dead = np.arange(32) > truth.last[:, None]
    assert (odds[dead] == -CERTAIN).all()
    assert (odds[np.arange(32) < truth.first[:, None]] == 0).all()
    return odds, truth.persistent, costs(decided, truth.persistent, steps_seen(1, 32), 32, 0.2)


def test_the_reference_is_calibrated_on_tracks_as_they_are_drawn(
    reference: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    odds, persistent, _ = reference
    for frame in (3, 4, 6):
        belief = sigmoid(odds[:, frame])
        for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 0.97)):
            inside = (belief >= low) & (belief < high)
            if (count := int(inside.sum())) > 40:
                spread = np.sqrt(0.25 / count)
                assert abs(persistent[inside].mean() - belief[inside].mean()) < 4 * spread


def test_nothing_is_known_at_the_first_frame_and_much_soon_after(
    reference: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    odds, persistent, _ = reference
    right = ((odds > 0) == persistent[:, None]).mean(0)
    assert right[0] == 0.5 and right[1] < 0.55
    assert right[4] > 0.9 and right[8] > 0.99
    assert curve(odds, persistent, steps_seen(1, 32), [0.9])[0][0] < 6


def test_no_constant_thresholds_and_no_fixed_time_cost_less_than_the_optimum(
    reference: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    odds, persistent, optimum = reference
    seen = steps_seen(1, 32)
    others = [decide(odds, high, -low) for high in THRESHOLDS[::8] for low in THRESHOLDS[::8]]
    others += [decide_at(step, odds) for step in range(0, 32, 2)]
    for decided in others:
        more = costs(decided, persistent, seen, 32, 0.2) - optimum
        assert more.mean() > -3 * more.std() / np.sqrt(len(more)) - 1e-9


def test_errors_in_the_places_leave_less_to_be_known() -> None:
    params = load_params(ROOT / "params.yaml", "generate_trajectories.persistence", CandidateTracks)
    drawn = draw_candidates(dataclasses.replace(params, seed=98, counts=CandidateCounts(2000, 2, 2)))
    truth = truth_of(drawn.drawn, "drawn", 32).take(np.arange(2000))
    points = drawn.points[:2000]
    noisy = points + np.random.default_rng(1).normal(0, 0.05, points.shape)
    right = [
        ((log_odds(each, truth, params.motion, error)[:, 5] > 0) == truth.persistent).mean()
        for each, error in ((points, 0.0), (noisy, 0.05), (noisy, 0.0))
    ]
    assert right[0] > right[1] + 0.03 > right[2] + 0.03
