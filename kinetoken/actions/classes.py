"""The actions: pairs of classes of which one is the other played backwards, so that only order tells them apart."""

import dataclasses
from collections.abc import Callable

import numpy as np

from kinetoken.actions import courses
from kinetoken.actions.courses import Course, Rng
from kinetoken.actions.drawing import COLOURS, Light, Pixels, Thing, draw, draw_ground
from kinetoken.actions.shapes import SHAPES, SOLID
from kinetoken.actions.templates import class_name


@dataclasses.dataclass(frozen=True)
class Action:
    """One class: its template, how its pair is drawn, and whether its clips are those played backwards."""

    template: str
    course: Callable[[Rng, int], tuple[Course, ...]]
    backward: bool

    @property
    def name(self) -> str:
        """The key in labels.json: the template without brackets."""
        return class_name(self.template)


_PAIRS = (  # as drawn, and the same played backwards
    (courses.left_to_right, "Moving [something] from left to right", "Moving [something] from right to left"),
    (courses.towards_camera, "Moving [something] towards the camera", "Moving [something] away from the camera"),
    (courses.falling, "[Something] falling down", "[Something] rising up"),
    (courses.clockwise, "Moving [something] clockwise", "Moving [something] counter-clockwise"),
    (courses.speeding_up, "[Something] speeding up", "[Something] slowing down"),
    (courses.from_behind, "[Something] coming out from behind [something]", "[Something] hiding behind [something]"),
    (
        courses.closer_together, "Moving [something] and [something] closer to each other",
        "Moving [something] and [something] away from each other",
    ),
)
PAIRS = tuple(
    (Action(forward, course, backward=False), Action(backward, course, backward=True))
    for course, forward, backward in _PAIRS
)
ACTIONS = tuple(sorted((action for pair in PAIRS for action in pair), key=lambda action: action.name))


def draw_action(action: Action, rng: Rng, frames: tuple[int, int], size: int) -> tuple[Pixels, list[str]]:
    """A clip (T, size, size, 3) uint8 with T within `frames`, and the names of its things.

    From the same generator the two actions of a pair give the same pixels in opposite order, bit for bit.
    """
    count = int(rng.integers(frames[0], frames[1] + 1))
    ground, light = draw_ground(rng, size), Light(rng.uniform(0, 2 * np.pi), rng.uniform(0.88, 1.12))
    ways = action.course(rng, count)
    things = _choose(rng, hides=action.course is courses.from_behind, count=len(ways))
    pixels = draw(ground, light, things, ways)
    if action.backward:
        pixels = np.ascontiguousarray(pixels[::-1])
    return pixels, [thing.name for thing in things]


def _choose(rng: Rng, count: int, *, hides: bool) -> tuple[Thing, ...]:
    """Things of different colours; with `hides`, the last is of a shape that can hide the others."""
    colours = rng.permutation(sorted(COLOURS))[:count]
    shapes = [sorted(SHAPES)[i] for i in rng.integers(len(SHAPES), size=count)]
    if hides:
        shapes[-1] = SOLID[rng.integers(len(SOLID))]
    return tuple(
        Thing(shape, str(colour), float(rng.uniform(-0.3, 0.3))) for shape, colour in zip(shapes, colours, strict=True)
    )
