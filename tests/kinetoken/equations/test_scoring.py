"""Each rung of the ladder, on equations whose rung is known."""

import dataclasses

import numpy as np
import pytest

from kinetoken.equations.grammar import parse
from kinetoken.equations.ladder import (
    FLOORS,
    capped,
    constant_position,
    constant_velocity,
    facts_floor,
    floors_of,
    quadratic,
    score_rows,
    summarise,
)
from kinetoken.equations.offline import describe
from kinetoken.equations.scoring import check_description, form_of, nmse, score_equations
from tests.kinetoken.equations.test_offline import PAST, evidence_of, tracks  # noqa: F401

TIMES = np.arange(16) / 16
FALL = {"x": "0.1 + 1.2*t", "y": "0.5 + 2*t - 2.5*t**2", "z": "3 - 0.4*t"}
FALLING = np.stack([0.1 + 1.2 * TIMES, 0.5 + 2 * TIMES - 2.5 * TIMES**2, 3 - 0.4 * TIMES], -1)


def test_true_equations_reach_the_top() -> None:
    score = score_equations(FALL, TIMES, FALLING, 12, "parabolic")
    assert (score.parsed, score.finite, score.form, score.form_match, score.equation_correct) == (
        True, True, "parabolic", True, True
    )
    assert score.nmse_in_range == pytest.approx(0, abs=1e-20) and score.nmse_extrapolated == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize(("change", "parsed", "finite", "form", "correct"), [
    ({"x": "open('f')"}, False, False, "none", False), ({"y": None}, False, False, "none", False),
    ({"x": "log(t - 1)"}, True, False, "none", False), ({"x": "0.1 + 1.2*sin(t)"}, True, True, "none", False),
    ({"y": "0.5 + 2*t"}, True, True, "linear", False), ({"x": "0.12 + 1.2*t"}, True, True, "parabolic", True),
    ({"x": "10**8 * 10**8 * 10**8 * 1e180"}, True, False, "none", False),
])
def test_the_rung_where_each_one_stops(
    change: dict[str, object], parsed: bool, finite: bool, form: str, correct: bool
) -> None:
    score = score_equations(FALL | change, TIMES, FALLING, 12, "parabolic")
    assert (score.parsed, score.finite, score.form, score.equation_correct) == (parsed, finite, form, correct)
    assert (score.nmse_in_range is None) == (not finite)


def test_a_missing_axis_is_unparsed() -> None:
    assert not score_equations({"x": "t", "y": "t"}, TIMES, FALLING, 12, "linear").parsed


def test_nmse_by_hand() -> None:
    """Off by 0.1 m in the future only; the spread is that of the whole true clip."""
    guess = FALLING.copy()
    guess[12:, 2] += 0.1
    in_range, extrapolated = nmse(guess[None], FALLING[None], 12)
    spread = np.square(FALLING - FALLING.mean(0)).sum(-1).mean()
    assert in_range[0] == 0 and extrapolated[0] == pytest.approx(0.01 / spread)
    mean = np.broadcast_to(FALLING.mean(0), FALLING.shape)
    past, future = nmse(mean[None], FALLING[None], 12)
    assert (12 * past[0] + 4 * future[0]) / 16 == pytest.approx(1)


@pytest.mark.parametrize(("texts", "form"), [
    (("1 + t", "2", "3"), "linear"), (("(1 + t) * 2", "t*1.0", "3 - t/2"), "linear"),
    (("t", "t - 2*t**2", "3"), "parabolic"), (("t", "t + 2*t**2", "3"), "none"), (("t - 2*t**2", "t", "3"), "none"),
    (("0.3*cos(5*t)", "0", "3 + 0.3*sin(5*t)"), "circular"), (("0.3*sin(5*t)", "0.3*cos(-5*t)", "3"), "circular"),
    (("0.3*cos(5*t)", "0.5*t", "3 + 0.3*sin(5*t)"), "helical"), (("0.3*cos(5*t)", "0", "3 + 0.2*sin(5*t)"), "none"),
    (("0.3*cos(5*t) + t", "0", "3 + 0.3*sin(5*t)"), "none"), (("0.3*cos(5*t)", "0", "3 + 0.3*sin(7*t)"), "none"),
    (("0.3*cos(5*t)", "t - t**2", "3 + 0.3*sin(5*t)"), "none"), (("exp(t)", "t", "3"), "none"),
    (("abs(t - 0.5)", "t", "3"), "none"), (("1/t", "t", "3"), "none"), (("1", "2", "3"), "none"),
    (("0.3*cos(16*t)", "0", "0.3*sin(16*t)"), "circular"),
    (("0.3*cos(2*t)", "0.2*t", "0.3*sin(2*t)"), "helical"), (("t**3", "t", "3"), "none"),
])
def test_form_of_text(texts: tuple[str, ...], form: str) -> None:
    assert form_of([parse(text) for text in texts], 15 / 16) == form


def test_floors_by_hand() -> None:
    path = np.stack([TIMES * 2, 1 - TIMES, TIMES * 0 + 3], -1)[None]
    still = constant_position(path[:, :12], 16)
    assert still.shape == (1, 16, 3) and (still == path[:, 11:12]).all()
    np.testing.assert_allclose(constant_velocity(TIMES[:12], path[:, :12], TIMES), path, atol=1e-12)
    thrown = path + np.array([0.3, -4.9, 0.1]) * TIMES[:, None] ** 2
    np.testing.assert_allclose(quadratic(TIMES[:12], thrown[:, :12], TIMES), thrown, atol=1e-9)
    assert set(floors_of(TIMES[:12], path[:, :12], TIMES)) == set(FLOORS)


def test_capped_counts_missing_rows_as_worst() -> None:
    np.testing.assert_array_equal(capped([0.5, None, 7.0, np.nan]), [0.5, 1.0, 1.0, 1.0])


def test_rows_and_summary_of_exact_points(tracks) -> None:  # noqa: ANN001, F811
    times, evidence = tracks.world.times, evidence_of(tracks, 0.0)
    told = describe(evidence, times)
    rows = score_rows(evidence, told, told, tracks.label, tracks.points, times, None)
    metrics = summarise(rows, tracks.label, tracks.points, times, seed=0)
    for name in ("parsed", "finite", "form_match", "equation_correct", "equation_correct_true_points",
                 "equation_correct_oracle_form", "description_correct"):
        assert metrics[name] == metrics[f"{name}_ci95_low"] == 1, name
    assert metrics["nmse_extrapolated"] < 1e-4 < metrics["nmse_extrapolated_floor"]
    assert metrics["equation_correct_floor"] == 0.5, "a quadratic is exact for two of the four laws"
    assert metrics["description_correct_floor"] < 0.25
    assert metrics["form_match_floor"] == pytest.approx(0.25) and metrics["clips"] == len(tracks)


def test_a_sentence_that_says_something_else_is_caught(tracks) -> None:  # noqa: ANN001, F811
    times = tracks.world.times
    told = describe(evidence_of(tracks, 0.0), times)[0]
    verdicts = check_description(told, tracks.label[0], tracks.points[0], times)
    assert all(verdicts.values()) and "stated" in verdicts
    other = dataclasses.replace(told, sentence=told.sentence.replace("The ball", "The linear circular ball"))
    assert not check_description(other, tracks.label[0], tracks.points[0], times)["stated"]


def test_facts_floor_is_one_where_all_move_alike() -> None:
    path = np.stack([TIMES * 2, 0 * TIMES, 0 * TIMES + 3], -1)
    assert facts_floor(["linear"] * 3, np.stack([path] * 3), TIMES) == 1
    assert facts_floor(["linear"] * 2, np.stack([path, -path]), TIMES) == 0.5
