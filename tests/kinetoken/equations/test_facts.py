"""Words against motions whose facts are plain."""

import dataclasses

import numpy as np
import pytest

from kinetoken.equations.facts import Facts, check_facts, facts_of, render_sentence
from kinetoken.physics import laws

TIMES = np.arange(16) / 16


def line(*velocity: float) -> np.ndarray:
    return laws.linear(TIMES, np.array([[0.0, 0.0, 3.0]]), np.array([velocity]))[0]


def turn(direction: int, rise: float = 0.0) -> np.ndarray:
    """A circle in the x–z plane, x towards z for +1, rising by `rise` m/s."""
    angle = direction * 5.5 * TIMES
    return np.stack([0.3 * np.cos(angle), rise * TIMES, 3 + 0.3 * np.sin(angle)], -1)


@pytest.mark.parametrize(("velocity", "direction", "speed", "vertical"), [
    ((1.2, 0.0, 0.1), "to the right", "slow", "level"), ((-1.75, 0.0, 0.0), "to the left", "medium", "level"),
    ((0.1, 1.0, 1.6), "away from the camera", "fast", "rising"),
    ((0.0, -0.9, -1.0), "towards the camera", "slow", "falling"),
])
def test_straight_lines(velocity: tuple[float, ...], direction: str, speed: str, vertical: str) -> None:
    assert facts_of("linear", line(*velocity), TIMES) == Facts("linear", speed, vertical, direction, None)


@pytest.mark.parametrize(("law", "sense", "rise", "rotation", "vertical"), [
    ("circular", 1, 0.0, "anticlockwise", "level"), ("circular", -1, 0.0, "clockwise", "level"),
    ("helical", 1, 0.8, "anticlockwise", "rising"), ("helical", -1, -0.8, "clockwise", "falling"),
])
def test_turning(law: str, sense: int, rise: float, rotation: str, vertical: str) -> None:
    found = facts_of(law, turn(sense, rise), TIMES)
    assert (found.rotation, found.vertical, found.direction) == (rotation, vertical, None)


def test_rotation_agrees_with_the_sign_of_omega() -> None:
    """About an upward axis the law's positive omega is clockwise on a map with x right and z up the page."""
    for omega in (5.0, -5.0):
        path = laws.helical(
            TIMES, np.array([[0.0, 0.0, 3.0]]), np.array([0.3]), np.array([omega]), np.array([0.4]), np.array([1.0]),
            np.array([0.2]), np.zeros(1),
        )[0]
        assert facts_of("circular", path, TIMES).rotation == ("clockwise" if omega > 0 else "anticlockwise")


def test_own_facts_hold_and_each_wrong_one_is_caught() -> None:
    path = line(1.8, 0.5, 0.2)
    facts = facts_of("linear", path, TIMES)
    assert all(check_facts(facts, "linear", path, TIMES).values())
    wrong = {
        "law": "helical", "speed": "slow", "vertical": "falling", "direction": "to the left", "rotation": "clockwise",
    }
    for name, value in wrong.items():
        verdicts = check_facts(dataclasses.replace(facts, **{name: value}), "linear", path, TIMES)
        assert [key for key, good in verdicts.items() if not good] == [name]


def test_a_truth_between_two_words_allows_both() -> None:
    path = line(1.82, 0.0, 0.0)  # just under the bound of fast
    stated = facts_of("linear", path, TIMES)
    for word, allowed in (("medium", True), ("fast", True), ("slow", False)):
        assert check_facts(dataclasses.replace(stated, speed=word), "linear", path, TIMES)["speed"] is allowed
    diagonal = line(1.0, 0.0, 0.95)
    for word, allowed in (("to the right", True), ("away from the camera", True), ("to the left", False)):
        given = dataclasses.replace(stated, direction=word)
        assert check_facts(given, "linear", diagonal, TIMES)["direction"] is allowed


def test_direction_of_a_circle_and_rotation_of_a_line_are_wrong() -> None:
    as_circle = facts_of("circular", turn(1), TIMES)
    verdicts = check_facts(as_circle, "linear", line(1.6, 0, 0), TIMES)
    assert not verdicts["direction"] and not verdicts["rotation"] and not verdicts["law"]
    verdicts = check_facts(facts_of("linear", line(1.6, 0, 0), TIMES), "circular", turn(1), TIMES)
    assert not verdicts["direction"] and not verdicts["rotation"]


def test_sentence_says_the_facts() -> None:
    facts = Facts("helical", "medium", "rising", None, "clockwise")
    assert render_sentence(facts, {"speed": 1.523, "radius": 0.2711, "pitch": 0.8}) == (
        "The ball moves along a helix with radius 0.27 m and pitch 0.80 m a turn at 1.52 m/s (medium) "
        "clockwise seen from above, rising."
    )
    facts = Facts("parabolic", "fast", "level", "to the left", None)
    assert render_sentence(facts, {"speed": 1.9, "gravity": 4.5}) == (
        "The ball moves along a parabola with a fall of 4.50 m/s² at 1.90 m/s (fast) to the left, level."
    )
