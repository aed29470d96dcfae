"""How much can be read at each point of a chain, as one picture: gains between guessing and no error.

A gain is (accuracy − baseline) / (1 − baseline): 0 is guessing, 1 is no error, whatever the number of classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 460, 270
LEFT, RIGHT, TOP, BOTTOM = 84, 14, 18, 50
BELOW = 0.06  # of the scale below 0, for what guesses worse
LINE = 15  # between two lines of text


@dataclass(frozen=True)
class Gain:
    """A point of the chain: its gain and 95 % interval; `control`: it stands beside the chain."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    control: bool = False


def gain_chart(points: Sequence[Gain]) -> Markup:
    """The points from left to right, those of the chain joined by a line; a control hollow and apart."""
    step = (WIDTH - LEFT - RIGHT) / max(len(points), 1)
    places = [LEFT + step * (i + 0.5) for i in range(len(points))]
    chain = [(x, _height(one.value)) for x, one in zip(places, points, strict=True) if not one.control]
    parts = [_level(1, "no error"), _level(0.5, "half-way"), _level(0, "guessing")]
    if len(chain) > 1:
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in chain)
        parts.append(Markup('<path class="line c0" d="M{}"/>').format(line))
    parts += [_point(one, x) for x, one in zip(places, points, strict=True)]
    said = ", ".join(f"{one.name} {one.value:.0%}" for one in points)
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, f"Gain between guessing and no error: {said}", Markup("").join(parts)
    )


def _height(gain: float) -> float:
    share = (min(max(gain, -BELOW), 1.0) + BELOW) / (1 + BELOW)
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _level(gain: float, name: str) -> Markup:
    y = _height(gain)
    level = Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(LEFT, y, WIDTH - RIGHT)
    return level + Markup('<text x="{}" y="{:.1f}" dy=".32em" text-anchor="end">{}</text>').format(LEFT - 8, y, name)


def _point(one: Gain, x: float) -> Markup:
    y, parts = _height(one.value), []
    if one.low is not None and one.high is not None:
        whisker = Markup('<path class="whisker" d="M{:.1f} {:.1f}V{:.1f}"/>')
        parts.append(whisker.format(x, _height(one.low), _height(one.high)))
    look = "hollow" if one.control else "c0"
    tip = f"{one.name}: {one.value:.1%}"
    if one.low is not None and one.high is not None:
        tip += f", 95 % interval {one.low:.1%} to {one.high:.1%}"
    dot = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="5.5"><title>{}</title></circle>')
    parts.append(dot.format(look, x, y, tip))
    value = Markup('<text class="label" x="{:.1f}" y="{:.1f}">{:.0%}</text>')
    parts.append(value.format(x + 10, y + (14 if y < TOP + LINE else -7), one.value))
    name = Markup('<text class="label" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>')
    words = one.name.split(" ", 1)
    parts += [name.format(x, HEIGHT - BOTTOM + 20 + LINE * i, word) for i, word in enumerate(words)]
    return Markup("").join(parts)
