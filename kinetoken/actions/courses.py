"""How things move in each pair of mirrored actions: their places and sizes over the frames of one clip.

A course is drawn for the first action of a pair; the second is the same clip played backwards. Lengths are shares of
the image's side, x runs right and y down, radius is half of a thing's extent.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rng = np.random.Generator

BEHIND = 1.5  # a thing that hides another is this many times as large


@dataclasses.dataclass(frozen=True)
class Course:
    """One thing's way: x (T,), y (T,), radius (T,)."""

    x: Array
    y: Array
    radius: Array


def left_to_right(rng: Rng, frames: int) -> tuple[Course, ...]:
    """Across the picture at an even pace, nearly level."""
    done = _even(rng, frames)
    x = _between(rng.uniform(0.14, 0.26), rng.uniform(0.74, 0.86), done)
    middle, slope = rng.uniform(0.28, 0.72), rng.uniform(-0.08, 0.08)
    return (Course(x, middle + slope * (done - 0.5), _steady(rng, frames, 0.1, 0.15)),)


def towards_camera(rng: Rng, frames: int) -> tuple[Course, ...]:
    """Straight at the camera at an even pace: the apparent size goes as one over the distance."""
    done = _even(rng, frames)
    near = rng.uniform(0.22, 0.28)
    far = near / rng.uniform(3.2, 4.2)
    radius = 1 / _between(1 / far, 1 / near, done)
    x, y = rng.uniform(-0.16, 0.16, 2)  # off the axis where it is near
    return (Course(0.5 + x * radius / near, 0.5 + y * radius / near, radius),)


def falling(rng: Rng, frames: int) -> tuple[Course, ...]:
    """Down the picture, ever faster, nearly upright."""
    done = _even(rng, frames)
    push = rng.uniform(0, 0.4)  # share of the way that the speed at the start makes
    y = _between(rng.uniform(0.13, 0.2), rng.uniform(0.8, 0.87), push * done + (1 - push) * done**2)
    x = rng.uniform(0.28, 0.72) + rng.uniform(-0.06, 0.06) * (done - 0.5)
    return (Course(x, y, _steady(rng, frames, 0.1, 0.14)),)


def clockwise(rng: Rng, frames: int) -> tuple[Course, ...]:
    """Around a circle at an even pace, three quarters of a turn to a turn and a quarter."""
    angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rng.uniform(0.75, 1.25) * _even(rng, frames)  # y runs down
    x, y = rng.uniform(0.45, 0.55, 2)
    reach = rng.uniform(0.24, 0.31)
    return (Course(x + reach * np.cos(angle), y + reach * np.sin(angle), _steady(rng, frames, 0.09, 0.12)),)


def speeding_up(rng: Rng, frames: int) -> tuple[Course, ...]:
    """Along a diagonal, hardly at first and fast at last."""
    done = np.linspace(0, 1, frames) ** rng.uniform(2.4, 3.4)
    angle = np.pi / 4 + np.pi / 2 * rng.integers(4) + rng.uniform(-0.2, 0.2)
    x, y = rng.uniform(0.46, 0.54, 2)
    along = rng.uniform(0.76, 0.9) * (done - 0.5)
    return (Course(x + along * np.cos(angle), y + along * np.sin(angle), _steady(rng, frames, 0.09, 0.13)),)


def from_behind(rng: Rng, frames: int) -> tuple[Course, ...]:
    """Out from behind a larger thing that stands still: what moves, then what hides it."""
    done = _even(rng, frames)
    radius = _steady(rng, frames, 0.09, 0.12)
    large = radius * BEHIND * rng.uniform(1, 1.15)
    angle = rng.uniform(0, 2 * np.pi)
    way = (radius + large)[0] * 1.05 + rng.uniform(0.06, 0.12)  # far enough to be seen whole
    x, y = 0.5 - way / 2 * np.cos(angle), 0.5 - way / 2 * np.sin(angle)
    x, y = x + rng.uniform(-0.06, 0.06), y + rng.uniform(-0.06, 0.06)
    still = np.ones(frames)
    mover = Course(x + way * np.cos(angle) * done, y + way * np.sin(angle) * done, radius)
    return mover, Course(x * still, y * still, large)


def closer_together(rng: Rng, frames: int) -> tuple[Course, ...]:
    """Two things towards each other until they touch."""
    done = _even(rng, frames)
    first, second = _steady(rng, frames, 0.09, 0.12), _steady(rng, frames, 0.09, 0.12)
    angle = rng.uniform(0, 2 * np.pi)
    apart = _between(rng.uniform(0.6, 0.7), (first + second)[0] * 1.05, done)
    x, y = rng.uniform(0.46, 0.54, 2)
    share = rng.uniform(0.35, 0.65)  # of the way, for the first
    one, other = -share * apart, (1 - share) * apart
    shift = (share - 0.5) * apart[0]  # keeps the two in the picture
    return (
        Course(x + (one + shift) * np.cos(angle), y + (one + shift) * np.sin(angle), first),
        Course(x + (other + shift) * np.cos(angle), y + (other + shift) * np.sin(angle), second),
    )


def _even(rng: Rng, frames: int) -> Array:
    """Share of the way (T,) that is done, from 0 to 1: an even pace, with rests at either end."""
    start, end = rng.uniform(0, 0.12), rng.uniform(0.88, 1)
    return np.clip((np.linspace(0, 1, frames) - start) / (end - start), 0, 1)


def _between(first: float, last: float, done: Array) -> Array:
    return first + (last - first) * done


def _steady(rng: Rng, frames: int, low: float, high: float) -> Array:
    return np.full(frames, rng.uniform(low, high))
