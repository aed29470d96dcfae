"""What can be said of a motion in words, as checked facts, and the one sentence that says them."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FAST, SLOW = 1.85, 1.65  # m/s: the bounds of "medium"
LEVEL = 0.15  # of the speed: a vertical drift below it is called level
SPEED_SLACK = 0.05  # relative; a truth this near a bound is rightly called by either side's word
LEVEL_SLACK = 0.08  # of the speed
DIRECTION_SLACK = np.radians(10)

DIRECTIONS = {
    "to the right": 0.0, "away from the camera": np.pi / 2, "to the left": np.pi, "towards the camera": -np.pi / 2,
}  # azimuth from +x towards +z
PATHS = {"linear": "a straight line", "circular": "a circle", "helical": "a helix", "parabolic": "a parabola"}
PARTS = {"radius": "radius {:.2f} m", "pitch": "pitch {:.2f} m a turn", "gravity": "a fall of {:.2f} m/s²"}


@dataclasses.dataclass(frozen=True)
class Facts:
    """One motion over one clip, in words; None where the question does not arise."""

    law: str
    speed: str  # slow, medium, fast: mean along the path
    vertical: str  # rising, falling, level: over the whole clip; of a circle always level
    direction: str | None  # across the ground; of a line and a parabola
    rotation: str | None  # clockwise, anticlockwise, seen from above; of a circle and a helix


def facts_of(law: str, path: Array, t: Array) -> Facts:
    """The facts of a path (T, 3) in metres at times t (T,) that follows `law`."""
    seen = _measure(path, t)
    turns = law in ("circular", "helical")
    return Facts(
        law=law, speed=_speed_band(seen.speed), vertical=_vertical(law, seen.climb),
        direction=None if turns else _nearest_direction(seen.heading),
        rotation=_rotation(seen.turning) if turns else None,
    )


def check_facts(stated: Facts, law: str, path: Array, t: Array) -> dict[str, bool]:
    """Which of the stated facts hold for the true law and path: one verdict a fact.

    A truth close to the bound between two words allows both. Direction and rotation are judged only when
    the true law has them; naming one that it lacks is wrong.
    """
    seen = _measure(path, t)
    turns = law in ("circular", "helical")
    speeds = {_speed_band(seen.speed * factor) for factor in (1 - SPEED_SLACK, 1, 1 + SPEED_SLACK)}
    verticals = {_vertical(law, seen.climb + shift) for shift in (-LEVEL_SLACK, 0, LEVEL_SLACK)}
    if turns:
        direction, rotation = stated.direction is None, stated.rotation == _rotation(seen.turning)
    else:
        shifts = (-DIRECTION_SLACK, 0, DIRECTION_SLACK)
        direction = stated.direction in {_nearest_direction(seen.heading + shift) for shift in shifts}
        rotation = stated.rotation is None
    return {
        "law": stated.law == law, "speed": stated.speed in speeds, "vertical": stated.vertical in verticals,
        "direction": direction, "rotation": rotation,
    }


def render_sentence(facts: Facts, quantities: Mapping[str, float]) -> str:
    """The sentence for these facts and quantities (speed m/s, and radius m, pitch m, gravity m/s² if any)."""
    shape = " and ".join(text.format(quantities[name]) for name, text in PARTS.items() if name in quantities)
    words = [f"The ball moves along {PATHS[facts.law]}" + (f" with {shape}" if shape else "")]
    words.append(f"at {quantities['speed']:.2f} m/s ({facts.speed})")
    if facts.direction is not None:
        words.append(facts.direction)
    if facts.rotation is not None:
        words.append(f"{facts.rotation} seen from above")
    return " ".join(words) + f", {facts.vertical}."


@dataclasses.dataclass(frozen=True)
class _Measured:
    speed: float  # m/s along the path
    climb: float  # mean upward velocity over the speed
    heading: float  # rad, azimuth of the net displacement
    turning: float  # > 0 when x turns towards z: anticlockwise on a map with z up the page


def _measure(path: Array, t: Array) -> _Measured:
    steps, duration = np.diff(path, axis=0), float(t[-1] - t[0])
    speed = max(float(np.linalg.norm(steps, axis=-1).sum()) / duration, 1e-9)
    net = path[-1] - path[0]
    crossed = steps[:-1, 0] * steps[1:, 2] - steps[:-1, 2] * steps[1:, 0]
    return _Measured(speed, float(net[1]) / duration / speed, float(np.arctan2(net[2], net[0])), float(crossed.sum()))


def _speed_band(speed: float) -> str:
    return "slow" if speed < SLOW else "fast" if speed > FAST else "medium"


def _vertical(law: str, climb: float) -> str:
    if law == "circular" or abs(climb) < LEVEL:
        return "level"
    return "rising" if climb > 0 else "falling"


def _nearest_direction(heading: float) -> str:
    return max(DIRECTIONS, key=lambda name: np.cos(DIRECTIONS[name] - heading))


def _rotation(turning: float) -> str:
    return "anticlockwise" if turning > 0 else "clockwise"
