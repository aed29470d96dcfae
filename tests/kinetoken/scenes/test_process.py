"""The two kinds of motion: what they share, what tells them apart, and their likelihoods."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov
from scipy.stats import multivariate_normal

from kinetoken.scenes.process import Process, log_likelihoods, memory_of, paths

MEMORIES = (0.0, 0.5, 0.94)


def covariance(process: Process, frames: int) -> np.ndarray:
    """(T, T) m² of a path, by carrying the state's own covariance forward."""
    state, transition = process.stationary, process.transition
    lags, carried = [], state
    for _ in range(frames):
        lags.append(carried[0, 0])
        carried = transition @ carried
    return np.array([[lags[abs(i - j)] for j in range(frames)] for i in range(frames)])


@pytest.mark.parametrize("memory", MEMORIES)
def test_the_stationary_covariance_solves_lyapunovs_equation(memory: float) -> None:
    process = Process(0.46, 0.11, memory)
    noise = np.diag([process.noise**2, 0.0])
    np.testing.assert_allclose(solve_discrete_lyapunov(process.transition, noise), process.stationary, rtol=1e-9)


@pytest.mark.parametrize("memory", MEMORIES)
def test_places_and_steps_spread_as_asked_at_any_time(memory: float) -> None:
    drawn = paths(Process(0.46, 0.11, memory), np.random.default_rng(1).standard_normal((40000, 32)))
    for t in (0, 1, 5, 31):
        assert drawn[:, t].std() == pytest.approx(0.46, rel=0.02)
    for t in (1, 2, 9, 31):
        assert (drawn[:, t] - drawn[:, t - 1]).std() == pytest.approx(0.11, rel=0.02)


def test_two_frames_are_alike_for_every_memory_and_three_are_not() -> None:
    three = [covariance(Process(0.46, 0.11, memory), 3) for memory in MEMORIES]
    for each in three[1:]:
        np.testing.assert_allclose(each[:2, :2], three[0][:2, :2], rtol=1e-12)
        assert each[0, 2] < three[0][0, 2] - 1e-3  # having moved, it goes on


def test_drawn_paths_have_the_covariance_of_the_law() -> None:
    process = Process(0.46, 0.11, memory_of(0.35))
    drawn = paths(process, np.random.default_rng(2).standard_normal((60000, 6)))
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn), covariance(process, 6), atol=0.005)


@pytest.mark.parametrize("measured", [0.0, 0.03])
@pytest.mark.parametrize("memory", MEMORIES)
def test_the_filters_densities_multiply_to_that_of_the_whole_path(memory: float, measured: float) -> None:
    process = Process(0.46, 0.11, memory)
    rng = np.random.default_rng(3)
    x = paths(process, rng.standard_normal((5, 12))) + measured * rng.standard_normal((5, 12))
    whole = multivariate_normal(np.zeros(12), covariance(process, 12) + measured**2 * np.eye(12))
    np.testing.assert_allclose(log_likelihoods(process, x, measured).sum(-1), whole.logpdf(x), rtol=1e-6)


def test_the_velocity_changes_by_the_noise_that_was_asked_for() -> None:
    steps = np.diff(paths(Process(2.0, 0.05, memory_of(0.3)), np.random.default_rng(4).standard_normal((20000, 10))))
    change = np.diff(steps)[:, 4].std() / steps[:, 4].std()
    kept = memory_of(0.3)
    assert change == pytest.approx(np.sqrt(2 * (1 - kept)), rel=0.03)  # renewed and lost together
    assert kept == pytest.approx(np.sqrt(1 - 0.09))


@pytest.mark.parametrize(("spread", "step", "memory"), [(0.4, 0.1, 1.0), (0.4, 0.1, -0.1), (0.05, 0.1, 0.5)])
def test_laws_that_cannot_be_are_refused(spread: float, step: float, memory: float) -> None:
    with pytest.raises(ValueError, match="memory must be|too long"):
        Process(spread, step, memory)
