"""Rules against exact optima: every sequence of coins weighed, the whole grid of thresholds, odds in closed form."""

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import multivariate_normal

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.persistence.reference import CERTAIN, log_odds
from kinetoken.persistence.stopping import (
    THRESHOLDS,
    backward_induction,
    best_thresholds,
    costs,
    decide,
    decide_at,
    steps_seen,
)
from kinetoken.physics.laws import Array
from kinetoken.scenes.candidates import CandidateMotion, CandidateTracks, CandidateTruth
from kinetoken.scenes.process import Process, paths

ROOT = Path(__file__).parents[3]
TABLE = np.array([[0.5, 2.0, -9.0, 9.0], [-0.5, -2.5, 9.0, 9.0], [0.2, -0.3, 0.4, -0.1], [0.2, 0.3, 0.4, 7.0]])


def walk(count: int, steps: int, drift: float, seed: int) -> tuple[Array, np.ndarray]:
    """Log-odds (N, S) that are exactly calibrated, of normal evidence of means ±drift, and the truth."""
    rng = np.random.default_rng(seed)
    persistent = rng.random(count) < 0.5
    evidence = rng.standard_normal((count, steps)) + np.where(persistent, drift, -drift)[:, None]
    return np.cumsum(2 * drift * evidence, 1), persistent


def test_thresholds_need_not_be_alike() -> None:
    assert decide(TABLE, 0.3, -2.4).step.tolist() == [0, 1, 2, 1]
    assert decide(TABLE, 8.0, -0.3).step.tolist() == [2, 0, 1, 3]
    assert decide(TABLE, np.inf, -np.inf).step.tolist() == [3] * 4
    assert decide(TABLE, 0.0, 0.0).step.tolist() == [0] * 4


@pytest.mark.parametrize(("above", "below"), [(2.0, 2.5), (np.nan, 0.0), (0.0, np.nan)])
def test_thresholds_that_cross_or_are_none_are_named(above: float, below: float) -> None:
    with pytest.raises(UserError, match=f"transient at log-odds of {below:g} or less, persistent at {above:g} or more"):
        decide(TABLE, above, below)


def test_where_there_is_one_time_to_decide_it_is_taken() -> None:
    """As of clips of four frames, seen in steps of four."""
    decided = decide(TABLE[:, :1], 0.4, -0.4)
    assert decided.step.tolist() == [0] * 4 and not decided.early.any()
    assert decided.persistent.tolist() == [True, False, True, True]


def criterion(log_odds: Array, persistent: np.ndarray, seen: np.ndarray, frames: int, cost: float) -> Array:
    """(A, B) for each pair of the grid: half what the odds expect and half what happened, by first passages."""
    last = log_odds.shape[1] - 1

    def passage(beyond: np.ndarray) -> np.ndarray:
        return np.asarray(np.where(beyond.any(-1), beyond.argmax(-1), last))

    up, down = passage(log_odds >= THRESHOLDS[:, None, None]), passage(log_odds <= -THRESHOLDS[:, None, None])  # (A, N)
    step = np.minimum(up[:, None], down[None])  # (A, B, N)
    odds = log_odds[np.arange(len(log_odds)), step]
    wrong = (odds > 0) != persistent
    return np.asarray((0.5 * (expit(-np.abs(odds)) + wrong) + cost * seen[step] / frames).mean(-1))


@pytest.mark.parametrize("cost", [0.02, 1.0])
def test_no_thresholds_of_the_whole_grid_are_better(cost: float) -> None:
    odds, persistent = walk(200, 8, 0.6, 1)
    seen = steps_seen(4, 32)
    above, below = best_thresholds(odds, persistent, seen, 32, cost)
    all_of_them = criterion(odds, persistent, seen, 32, cost)
    own = all_of_them[np.searchsorted(THRESHOLDS, above), np.searchsorted(THRESHOLDS, -below)]
    assert own <= all_of_them.min() + 1e-8
    assert all_of_them.max() > own + 0.01


def test_of_equally_good_thresholds_the_widest_are_taken() -> None:
    odds = np.array([[50.0, 50.0], [-50.0, -50.0]])
    assert best_thresholds(odds, np.array([True, False]), steps_seen(2, 4), 4, 0.1) == (6.0, -6.0)


def test_the_dearer_a_frame_the_earlier_the_decision() -> None:
    odds, persistent = walk(200, 8, 0.5, 2)
    seen = steps_seen(1, 8)
    mean = [decide(odds, *best_thresholds(odds, persistent, seen, 8, cost)).step.mean() for cost in (0.01, 0.3, 3.0)]
    assert mean[0] > mean[1] > mean[2] == 0


CHANCE, TOSSES, TOSS_COST = 0.7, 6, 0.2  # of a head if persistent, 1 − CHANCE if transient
UNIT = np.log(CHANCE / (1 - CHANCE))
SEEN = np.arange(1, TOSSES + 1)


@cache
def least_cost(toss: int, heads: int) -> float:
    """Expected from here on after `toss` tosses, `heads` of them heads, by recursion over counts."""
    stop = float(expit(-abs((2 * heads - toss) * UNIT))) + TOSS_COST * toss / TOSSES
    return stop if toss == TOSSES else min(stop, going_on(toss, heads))


def going_on(toss: int, heads: int) -> float:
    """Expected if there is another toss."""
    belief = float(expit((2 * heads - toss) * UNIT))
    head = belief * CHANCE + (1 - belief) * (1 - CHANCE)
    return head * least_cost(toss + 1, heads + 1) + (1 - head) * least_cost(toss + 1, heads)


def tossed() -> tuple[Array, np.ndarray, np.ndarray]:
    """Log-odds of many sequences, which persist, and their one group."""
    rng = np.random.default_rng(3)
    persistent = np.arange(60000) % 2 == 0
    heads = rng.random((60000, TOSSES)) < np.where(persistent, CHANCE, 1 - CHANCE)[:, None]
    return np.cumsum(2 * heads - 1, 1) * UNIT, persistent, np.zeros(60000, np.int64)


def test_the_rule_of_backward_induction_costs_exactly_the_optimum_of_coins() -> None:
    regions = backward_induction(*tossed(), SEEN, TOSSES, TOSS_COST)
    heads = (np.arange(2**TOSSES)[:, None] >> np.arange(TOSSES)) & 1  # every sequence, weighed below
    odds = np.cumsum(2 * heads - 1, 1) * UNIT
    weight = {kind: np.where(heads, p, 1 - p).prod(1) / 2 for kind, p in ((True, CHANCE), (False, 1 - CHANCE))}

    def expected(decided: object) -> float:
        return float(sum(
            (w * costs(decided, np.full(len(odds), kind), SEEN, TOSSES, TOSS_COST)).sum()  # type: ignore[arg-type]
            for kind, w in weight.items()
        ))

    optimum = 0.5 * (least_cost(1, 0) + least_cost(1, 1))
    found = expected(regions.decide(odds, np.zeros(len(odds), np.int64)))
    assert optimum - 1e-12 <= found <= optimum + 1e-4
    assert found < min(expected(decide_at(k, odds)) for k in range(TOSSES)) - 0.01


def test_backward_induction_stops_where_the_exact_optimum_does() -> None:
    regions = backward_induction(*tossed(), SEEN, TOSSES, TOSS_COST)
    kinds = set()
    for toss in range(1, TOSSES):
        for heads in range(toss + 1):
            odds = (2 * heads - toss) * UNIT
            more = float(expit(-abs(odds))) + TOSS_COST * toss / TOSSES - going_on(toss, heads)  # of stopping
            if abs(more) > 0.01:
                edges, stop = regions.edges[toss - 1][0], regions.stops[toss - 1][0]
                assert stop[np.searchsorted(edges, odds, side="right")] == (more < 0), (toss, heads)
                kinds.add(more < 0)
    assert kinds == {True, False}


def test_each_group_has_regions_of_its_own() -> None:
    """One group's evidence comes with the last step, the other's never: it is not worth waiting for."""
    rng = np.random.default_rng(5)
    persistent, group = rng.random(8000) < 0.5, rng.integers(0, 2, 8000)
    odds = np.zeros((8000, 4))
    odds[:, -1] = np.where(group == 0, np.where(persistent, 9.0, -9.0), 0.0)
    regions = backward_induction(odds, persistent, group, steps_seen(2, 8), 8, 0.2)
    decided = regions.decide(odds[:200], group[:200])
    np.testing.assert_array_equal(decided.step, np.where(group[:200] == 0, 3, 0))


def test_a_group_that_no_simulated_track_is_in_needs_no_regions() -> None:
    odds, persistent, _ = tossed()
    odds, persistent, group = odds[:4000], persistent[:4000], np.repeat(np.array([0, 2]), 2000)
    regions = backward_induction(odds, persistent, group, SEEN, TOSSES, TOSS_COST)
    for name in (0, 2):
        rows = group == name
        alone = backward_induction(
            odds[rows], persistent[rows], np.zeros(2000, np.int64), SEEN, TOSSES, TOSS_COST
        ).decide(odds[rows], np.zeros(2000, np.int64))
        np.testing.assert_array_equal(regions.decide(odds, group).step[rows], alone.step)


@pytest.fixture(scope="module")
def motion() -> CandidateMotion:
    return load_params(ROOT / "params.yaml", "generate_trajectories.persistence", CandidateTracks).motion


def candidates(motion: CandidateMotion, count: int, frames: int, seed: int) -> tuple[Array, CandidateTruth]:
    """Points (N, T, 3) and truth of candidates that appear in frames 0 to 3; none is drawn again."""
    rng = np.random.default_rng(seed)
    persistent = rng.random(count) < 0.5
    xy = np.empty((count, 2, frames))
    for kind in (True, False):
        xy[persistent == kind] = paths(
            motion.process(persistent=kind), rng.standard_normal((int((persistent == kind).sum()), 2, frames))
        )
    first = rng.integers(0, 4, count)
    lived = np.where(persistent, frames, rng.geometric(motion.hazard, count))
    truth = CandidateTruth(persistent, first, np.minimum(first + lived, frames) - 1, np.zeros(count, int))
    points = np.full((count, frames, 3), np.nan)
    for row in range(count):
        there = slice(first[row], truth.last[row] + 1)
        points[row, there, :2] = xy[row, :, : there.stop - there.start].T
        points[row, there, 2] = 3.4
    return points, truth


def autocovariances(process: Process, lags: int) -> Array:
    """γ[0 … lags−1] of x[t] = a x[t−1] + b x[t−2] + e, by the Yule–Walker recursion."""
    a, b = process.weights
    found = [process.spread**2, process.spread**2 * a / (1 - b)]
    while len(found) < lags:
        found.append(a * found[-1] + b * found[-2])
    return np.array(found[:lags])


@pytest.mark.parametrize("measured", [0.0, 0.04])
def test_log_odds_are_those_of_whole_paths_and_of_having_lived(motion: CandidateMotion, measured: float) -> None:
    points, truth = candidates(motion, 12, 10, 1)
    found = log_odds(points, truth, motion, measured)
    for row in range(12):
        for frame in range(10):
            age = frame - truth.first[row]
            if age < 0:
                expected = 0.0
            elif frame > truth.last[row]:
                expected = -CERTAIN
            else:
                seen = points[row, truth.first[row] : frame + 1, :2]
                lag = np.abs(np.subtract.outer(np.arange(age + 1), np.arange(age + 1)))
                one, other = (
                    sum(multivariate_normal.logpdf(
                        seen[:, axis], np.zeros(age + 1),
                        autocovariances(motion.process(persistent=kind), age + 1)[lag] + measured**2 * np.eye(age + 1),
                    ) for axis in range(2))
                    for kind in (True, False)
                )
                expected = np.clip(one - other - age * np.log(1 - motion.hazard), -CERTAIN, CERTAIN)
            assert found[row, frame] == pytest.approx(expected, rel=1e-6, abs=1e-7), (row, frame)
    assert (truth.last < 9).any() and (truth.first > 0).any()


def test_where_nothing_can_be_seen_only_life_tells(motion: CandidateMotion) -> None:
    points, truth = candidates(motion, 50, 10, 2)
    age = np.arange(10) - truth.first[:, None]
    lived = np.where(age > 0, -age * np.log1p(-motion.hazard), 0.0)
    expected = np.where(np.arange(10) > truth.last[:, None], -CERTAIN, lived)
    np.testing.assert_allclose(log_odds(points, truth, motion, 1e4), expected, atol=1e-6)


def test_the_first_frame_tells_nothing_and_the_second_only_who_died(motion: CandidateMotion) -> None:
    points, truth = candidates(motion, 6000, 8, 3)
    found, rows = log_odds(points, truth, motion), np.arange(6000)
    assert (found[rows, truth.first] == 0).all()
    died = truth.lifetime == 1
    expected = np.where(died, -CERTAIN, -np.log1p(-motion.hazard))
    np.testing.assert_allclose(found[rows, truth.first + 1], expected, atol=1e-9)
    right = ((found[rows, truth.first + 1] > 0) == truth.persistent).mean()
    assert right == pytest.approx(0.5 + motion.hazard / 2, abs=4 * 0.5 / np.sqrt(6000))


def test_kinds_that_move_alike_are_told_apart_by_their_lives_alone(motion: CandidateMotion) -> None:
    alike = dataclasses.replace(motion, process_noise=1.0)
    points, truth = candidates(alike, 50, 10, 4)
    alive = (np.arange(10) >= truth.first[:, None]) & (np.arange(10) <= truth.last[:, None])
    age = np.arange(10) - truth.first[:, None]
    np.testing.assert_allclose(
        log_odds(points, truth, alike)[alive], (-age * np.log1p(-alike.hazard))[alive], atol=1e-9
    )
