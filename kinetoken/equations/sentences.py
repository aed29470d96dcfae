"""The facts that a sentence states, read word by word; the other way round from `facts.render_sentence`.

A fact is stated if the words for exactly one of its values occur. None or two values, or a negation anywhere, state
nothing: what cannot be read for sure counts as wrong.
"""

import re

from kinetoken.equations.facts import Facts

UNSTATED = "unstated"
NEGATIONS = frozenset({
    "not", "no", "never", "neither", "nor", "without", "cannot", "instead", "unlike", "isn't", "doesn't", "isnt",
    "doesnt", "rather", "hardly", "non", "nothing", "none", "nobody", "nowhere", "cant", "wont",
})
LAWS = {
    "linear": ("straight line", "linear", "straight"), "circular": ("circle", "circular"),
    "helical": ("helix", "helical", "spiral"), "parabolic": ("parabola", "parabolic"),
}
SPEEDS = {
    "slow": ("slow", "slowly"), "medium": ("medium", "moderate", "moderately"), "fast": ("fast", "quickly"),
}
VERTICALS = {
    "rising": ("rising", "rises", "upward", "upwards", "ascending"),
    "falling": ("falling", "falls", "downward", "downwards", "descending"),
    "level": ("level",),
}
DIRECTIONS = {
    "to the right": ("to the right", "rightward", "rightwards"),
    "to the left": ("to the left", "leftward", "leftwards"),
    "away from the camera": ("away from the camera",),
    "towards the camera": ("towards the camera", "toward the camera"),
}
ROTATIONS = {
    "clockwise": ("clockwise",),
    "anticlockwise": ("anticlockwise", "counterclockwise", "counter clockwise", "anti clockwise"),
}


def stated_facts(sentence: str) -> Facts:
    """What the sentence says; `unstated` for law, speed or vertical trend, None for the others, where it does not."""
    words = re.findall(r"[a-z']+", re.sub("[’‘ʼ`´＇]", "'", sentence.lower()))
    if NEGATIONS & set(words) or any(word.endswith("n't") for word in words):
        return Facts(UNSTATED, UNSTATED, UNSTATED, None, None)
    text = f" {' '.join(words)} "
    return Facts(
        law=_only(text, LAWS) or UNSTATED, speed=_only(text, SPEEDS) or UNSTATED,
        vertical=_only(text, VERTICALS) or UNSTATED, direction=_only(text, DIRECTIONS), rotation=_only(text, ROTATIONS),
    )


def _only(text: str, vocabulary: dict[str, tuple[str, ...]]) -> str | None:
    """The one value whose words occur as whole words, longer phrases taken out before shorter ones are looked for."""
    phrases = [(phrase, value) for value, each in vocabulary.items() for phrase in each]
    found = set()
    for phrase, value in sorted(phrases, key=lambda one: -len(one[0])):
        if f" {phrase} " in text:
            found.add(value)
            text = text.replace(f" {phrase} ", " | ")
    return found.pop() if len(found) == 1 else None
