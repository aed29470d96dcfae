"""Scenes that none of the laws explains, drawn as sound ones are: what a model should say that it does not know.

Each strange clip is made from a sound track and keeps its start, mean speed, colour and light, so that only what is
strange in it tells it from a sound clip:

- `walk`: the ball's velocity keeps its size and turns at random, smoothly;
- `bounce`: the ball flies straight and is thrown back once, by the floor or by an upright wall that is not drawn;
- `two_balls`: two sound tracks in one clip;
- `still`: the ball stays where it started;
- `empty`: the room without a ball;
- `noise`: every value of every pixel is drawn anew.
"""

from collections.abc import Callable, Mapping

import numpy as np

from kinetoken.core.errors import UserError
from kinetoken.physics.laws import Array, direction
from kinetoken.physics.world import World
from kinetoken.scenes.rendering import LOOK, Pixels, Scene, add_noise, draw_ball, render, to_bytes
from kinetoken.scenes.tracks import Tracks

KINDS = ("walk", "bounce", "two_balls", "still", "empty", "noise")
TRIES = 64  # drawn at once for a clip; the first that stays in view is taken
MAX_ROUNDS = 40
FORGETS = 0.25  # of the clip: after this a walk has forgotten, to 1 / e, which way it went
SMOOTH = 3  # frames that a turn is spread over
SHARPNESS = 0.5  # least share of the velocity that a bounce turns round
WHEN = (0.3, 0.7)  # of the clip, when it bounces

Draw = Callable[[int, np.random.Generator, Array, float], Array]  # clip, its numbers, start, speed → (M, T, 3) m


def strange_clips(scene: Scene, tracks: Tracks, kind: str, count: int, seed: int) -> Pixels:
    """`count` clips (N, T, H, W, 3) uint8 of one kind, made from the first of the sound tracks; the same every time.

    Tracks are taken again from the beginning where there are fewer than `count`. ValueError for an unknown kind.
    UserError for no track at all, or if none stays in view (the ball is too fast for the room).
    """
    if kind not in KINDS:
        raise ValueError(f"no kind '{kind}'; known are {', '.join(KINDS)}")
    if not len(tracks):
        raise UserError("no sound track to make strange scenes from")
    part = tracks.take(np.arange(count) % len(tracks))
    rngs = [np.random.default_rng([seed, KINDS.index(kind), i]) for i in range(count)]
    look = {name: part.drawn[name].to_numpy() for name in LOOK}
    if kind in PATHS:
        pixels = render(scene, PATHS[kind](scene.world, part.points, rngs), look)
    elif kind == "two_balls":
        other = np.array([_other(rng, i % len(tracks), len(tracks)) for i, rng in enumerate(rngs)], np.intp)
        pixels = _two_balls(scene, part.points, look, tracks.take(other))
    else:
        size, frames = scene.look.image_size, scene.world.num_frames
        pixels = np.empty((count, frames, size, size, 3), np.uint8)
        pixels[:] = to_bytes(scene.background())
        if kind == "noise":
            pixels = np.stack([rng.integers(0, 256, pixels.shape[1:], np.uint8) for rng in rngs])
    return add_noise(pixels, scene.look.noise, rngs)


def still_paths(world: World, points: Array, rngs: list[np.random.Generator]) -> Array:
    """The first of points (N, T, 3) m, in every frame."""
    return np.repeat(points[:, :1], world.num_frames, axis=1)


def walk_paths(world: World, points: Array, rngs: list[np.random.Generator]) -> Array:
    """Random walks (N, T, 3) m in view, with the starts and mean speeds of `points` (N, T, 3) m.

    The velocity has the same size in every frame and its direction diffuses on the sphere: its correlation with the
    first falls as exp(−t / τ), τ the share `FORGETS` of the clip. Turns are means of `SMOOTH` Gaussian numbers in a
    row, so that the ball is never thrown.
    """
    steps = world.num_frames - 1
    turn = 1 / np.sqrt(FORGETS * world.num_frames)  # rad, standard deviation of a frame's turn each way

    def draw(clip: int, rng: np.random.Generator, start: Array, speed: float) -> Array:
        heading = _unit(rng.standard_normal((TRIES, 3)))
        drawn = turn * rng.standard_normal((TRIES, steps + SMOOTH - 1, 3))
        turns = np.mean([drawn[:, lag : lag + steps] for lag in range(SMOOTH)], axis=0)  # (M, T − 1, 3)
        path = np.empty((TRIES, steps + 1, 3))
        path[:, 0] = start
        for t in range(steps):
            path[:, t + 1] = path[:, t] + speed / world.fps * heading
            across = turns[:, t] - (turns[:, t] * heading).sum(-1, keepdims=True) * heading
            heading = _unit(heading + across)
        return path

    return _in_view(world, points, rngs, draw, "random walk")


def bounce_paths(world: World, points: Array, rngs: list[np.random.Generator]) -> Array:
    """Straight paths (N, T, 3) m in view that bounce once, with the mean speeds of `points` (N, T, 3) m.

    Every other clip off the floor, which the ball then touches; the rest off an upright wall, from the start of
    `points`.
    """
    times, duration = world.times, float(world.times[-1])

    def draw(clip: int, rng: np.random.Generator, start: Array, speed: float) -> Array:
        floor = clip % 2 == 0
        yaw, lift = 2 * np.pi * rng.random(TRIES), np.arcsin(2 * rng.random(TRIES) - 1)
        velocity = speed * direction(yaw, lift)  # (M, 3)
        normal = np.broadcast_to([0.0, 1.0, 0.0], velocity.shape)
        if not floor:
            normal = direction(2 * np.pi * rng.random(TRIES), np.zeros(TRIES))
        against = (velocity * normal).sum(-1)
        when = duration * (WHEN[0] + (WHEN[1] - WHEN[0]) * rng.random(TRIES))
        before, after = np.minimum(times, when[:, None]), np.maximum(times - when[:, None], 0)  # (M, T)
        thrown = velocity - 2 * against[:, None] * normal
        path = start + before[..., None] * velocity[:, None] + after[..., None] * thrown[:, None]
        if floor:
            hit = start[1] + when * velocity[:, 1]
            path[..., 1] += (world.floor_y + world.ball_radius - hit)[:, None]
        path[against > -SHARPNESS * speed] = np.nan  # grazed, or no bounce at all; such a path is never in view
        return np.asarray(path)

    return _in_view(world, points, rngs, draw, "bounce")


PATHS: Mapping[str, Callable[[World, Array, list[np.random.Generator]], Array]] = {
    "walk": walk_paths, "bounce": bounce_paths, "still": still_paths,
}


def _in_view(world: World, points: Array, rngs: list[np.random.Generator], draw: Draw, name: str) -> Array:
    """The first path of each clip that stays in view, of `TRIES` at a time that `draw` makes from a start and a speed.

    UserError naming the kind and the speed of a clip that has none.
    """
    speeds = np.linalg.norm(np.diff(points, axis=1), axis=-1).sum(1) / world.times[-1]
    paths = np.empty((len(points), world.num_frames, 3))
    for clip, (rng, start, speed) in enumerate(zip(rngs, points[:, 0], speeds, strict=True)):
        for _ in range(MAX_ROUNDS):
            tried = draw(clip, rng, start, float(speed))
            if len(good := np.flatnonzero(world.in_view(tried))):
                paths[clip] = tried[good[0]]
                break
        else:
            raise UserError(
                f"no {name} at {speed:.2f} m/s from {np.round(start, 2).tolist()} stays in view; widen near/far or the "
                "field of view, or slow the tracks down"
            )
    return paths


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


def _other(rng: np.random.Generator, this: int, count: int) -> int:
    """Any of `count` but this one, if there is another."""
    return int((this + 1 + rng.integers(max(count - 1, 1))) % count)


def _two_balls(scene: Scene, first: Array, look: Mapping[str, Array], second: Tracks) -> Pixels:
    """Both tracks (N, T, 3) m in one clip: shadows first, then the balls, the nearer one in front."""
    others = {name: second.drawn[name].to_numpy() for name in LOOK}
    # a ball is brighter than the room and a shadow darker: the lesser of two clips has both shadows and no ball,
    # but where both balls are, and there they are drawn over
    pixels = np.minimum(render(scene, first, look), render(scene, second.points, others))
    frames = first.shape[1]
    flat = pixels.reshape(-1, *pixels.shape[2:])
    ours, theirs = first.reshape(-1, 3), second.points.reshape(-1, 3)
    nearer = ours[:, 2] < theirs[:, 2]
    each = [{name: np.repeat(np.asarray(v, np.float32), frames) for name, v in part.items()} for part in (look, others)]
    for front in (False, True):
        ball = nearer == front
        where = np.where(ball[:, None], ours, theirs)
        draw_ball(scene, flat, where, {name: np.where(ball, each[0][name], each[1][name]) for name in LOOK})
    return pixels
