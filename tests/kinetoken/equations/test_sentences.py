"""What a sentence states is read as it was written, and what cannot be read for sure states nothing."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.equations.facts import DIRECTIONS, Facts, check_facts, facts_of, render_sentence
from kinetoken.equations.sentences import UNSTATED, stated_facts
from kinetoken.physics.laws import CLASSES
from tests.support.law_tracks import TIMES, draw, positions

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


VOCABULARIES = {  # written out, so that a word that is lost is missed
    "law": {
        "linear": ("straight line", "linear", "straight"), "circular": ("circle", "circular"),
        "helical": ("helix", "helical", "spiral"), "parabolic": ("parabola", "parabolic"),
    },
    "speed": {"slow": ("slow", "slowly"), "medium": ("medium", "moderate", "moderately"), "fast": ("fast", "quickly")},
    "vertical": {
        "rising": ("rising", "rises", "upward", "upwards", "ascending"),
        "falling": ("falling", "falls", "downward", "downwards", "descending"), "level": ("level",),
    },
    "direction": {
        "to the right": ("to the right", "rightward", "rightwards"),
        "to the left": ("to the left", "leftward", "leftwards"),
        "away from the camera": ("away from the camera",),
        "towards the camera": ("towards the camera", "toward the camera"),
    },
    "rotation": {
        "clockwise": ("clockwise",),
        "anticlockwise": ("anticlockwise", "counterclockwise", "counter clockwise", "anti clockwise"),
    },
}
SYNONYMS = [
    (name, value, phrase)
    for name, vocabulary in VOCABULARIES.items() for value, phrases in vocabulary.items() for phrase in phrases
]


@pytest.mark.parametrize("law", CLASSES)
def test_sentences_of_real_tracks_are_read_back(law: str) -> None:
    """The facts that `facts_of` does yield, which are among those above."""
    seen = set()
    for path in positions(law, draw(law, 200, 3)):
        facts = facts_of(law, path, TIMES)
        seen.add(facts)
        assert facts in POSSIBLE and stated_facts(render_sentence(facts, QUANTITIES)) == facts
    assert len(seen) >= (4 if law == "circular" else 6)


@pytest.mark.parametrize(("name", "value", "phrase"), SYNONYMS)
def test_every_synonym_states_its_value_and_nothing_else(name: str, value: str, phrase: str) -> None:
    """In any case, hyphenated or not, whatever punctuation is beside it."""
    expected = Facts(**{**vars(NOTHING), name: value})
    for spelled in (phrase, phrase.upper(), phrase.title(), phrase.replace(" ", "-")):
        for frame in ("{}", "It goes {}.", "({});", "One…{}!\n"):
            assert stated_facts(frame.format(spelled)) == expected


@pytest.mark.parametrize(("name", "one", "other"), [
    (name, one[0], other[0])
    for name, vocabulary in VOCABULARIES.items()
    for one, other in itertools.permutations(vocabulary.values(), 2)
])
def test_two_values_state_neither(name: str, one: str, other: str) -> None:
    assert stated_facts(f"It is {one}, then {other}.") == NOTHING
    assert stated_facts(f"{one} {other}") == NOTHING


@pytest.mark.parametrize("negation", [
    "not", "no", "never", "neither", "nor", "without", "cannot", "instead", "unlike", "isn't", "doesn't", "isnt",
    "doesnt", "rather", "hardly", "won't", "wasn’t", "DIDN'T", "Not", "can not",
])
def test_a_negation_anywhere_states_nothing(negation: str) -> None:
    facts = "a fast straight line to the right, level"
    assert stated_facts(facts) == Facts("linear", "fast", "level", "to the right", None)
    assert stated_facts(f"It is {negation} {facts}") == stated_facts(f"{facts}, {negation}.") == NOTHING


@pytest.mark.parametrize(("sentence", "rotation"), [
    ("counter-clockwise", "anticlockwise"), ("anti-clockwise", "anticlockwise"), ("Counter-Clockwise", "anticlockwise"),
    ("counter\u2011clockwise", "anticlockwise"), ("clockwise, counter-clockwise", None), ("clock-wise", None),
])
def test_hyphens_of_turning(sentence: str, rotation: str | None) -> None:
    assert stated_facts(f"It turns {sentence}.").rotation == rotation


@pytest.mark.parametrize("hidden", [
    "right-ward", "left-wards", "fаst", "ｆａｓｔ", "fa\u200bst", "s l o w", "fast_", "circ\u00adle", "<fast",
    "f\x00ast",
])
def test_disguised_words_are_read_only_where_whole(hidden: str) -> None:
    """Look-alike letters, split words and unlisted hyphens state nothing; markup beside a word does not hide it."""
    plain = hidden in ("fast_", "<fast")
    assert stated_facts(f"It goes {hidden}.") == (Facts(UNSTATED, "fast", UNSTATED, None, None) if plain else NOTHING)


def test_a_flood_of_words_is_read_quickly_and_once() -> None:
    assert stated_facts("circle " * 50_000 + "fast").law == "circular"
    assert stated_facts("'" * 100_000 + "n't" + "a" * 100_000) == NOTHING
