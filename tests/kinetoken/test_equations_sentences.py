"""What a sentence states is read as it was written, and what cannot be read for sure states nothing."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.equations.facts import DIRECTIONS, Facts, check_facts, render_sentence
from kinetoken.equations.sentences import UNSTATED, stated_facts

NOTHING = Facts(UNSTATED, UNSTATED, UNSTATED, None, None)
SPEEDS, VERTICALS = ("slow", "medium", "fast"), ("rising", "falling", "level")
ROTATIONS = ("clockwise", "anticlockwise")
POSSIBLE = [
    Facts(law, speed, vertical, direction, None)
    for law, speed, vertical, direction in itertools.product(("linear", "parabolic"), SPEEDS, VERTICALS, DIRECTIONS)
] + [
    Facts(law, speed, vertical, None, rotation)
    for law, speed, vertical, rotation in itertools.product(("circular", "helical"), SPEEDS, VERTICALS, ROTATIONS)
]
QUANTITIES = {"speed": 1.75, "radius": 0.3, "pitch": 0.8, "gravity": 4.5}


@pytest.mark.parametrize("named", [("speed",), ("speed", "radius", "pitch"), ("speed", "gravity")])
def test_every_sentence_that_the_fit_writes_is_read_back(named: tuple[str, ...]) -> None:
    assert len(POSSIBLE) == 108
    for facts in POSSIBLE:
        assert stated_facts(render_sentence(facts, {name: QUANTITIES[name] for name in named})) == facts


@pytest.mark.parametrize(("sentence", "facts"), [
    ("The ball moves quickly in a straight line to the left, descending.",
     Facts("linear", "fast", "falling", "to the left", None)),
    ("A SPIRAL, counter-clockwise, at moderate speed; it rises.",
     Facts("helical", "medium", "rising", None, "anticlockwise")),
    ("It flies slowly along a parabolic arc toward the camera and falls.",
     Facts("parabolic", "slow", "falling", "towards the camera", None)),
    ("It circles.", NOTHING), ("", NOTHING),
    ("A circle or a helix, fast.", Facts(UNSTATED, "fast", UNSTATED, None, None)),
    ("A fast circle, then slow, clockwise.", Facts("circular", UNSTATED, UNSTATED, None, "clockwise")),
    ("Not a circle but a line.", NOTHING), ("It doesn't rise; level, slow circle.", NOTHING),
    ("It isn’t fast, a straight line.", NOTHING), ("A circle without rising, fast.", NOTHING),
    ("Breakfast clockwork levels a semicircle.", NOTHING),
])
def test_words(sentence: str, facts: Facts) -> None:
    assert stated_facts(sentence) == facts


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert isinstance(stated_facts(text), Facts)


def test_saying_everything_is_right_in_nothing() -> None:
    """A sentence with all the words states none of them."""
    every = "A straight line circle helix parabola, slow medium fast, rising falling level, to the right, to the left"
    t = np.arange(16) / 16
    path = np.stack([2 * t, 0 * t, 3 + 0 * t], -1)
    verdicts = check_facts(stated_facts(every), "linear", path, t)
    assert not any(verdicts[name] for name in ("law", "speed", "vertical", "direction"))
