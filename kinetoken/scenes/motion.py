"""Trajectories whose physics is known exactly, drawn from the four laws."""

import dataclasses
from typing import Annotated

import numpy as np

from kinetoken.core.errors import UserError
from kinetoken.core.params import Fraction, NonNegative, Range
from kinetoken.physics.laws import CLASSES, Array, axis_frame, direction, helical, linear, parabolic
from kinetoken.physics.world import World
from kinetoken.scenes.intake import TrackFileParams
from kinetoken.scenes.tracks import SPLITS, Tracks

SYNTHETIC = "synthetic.csv"  # the committed placeholder that stands for "no file: draw the tracks"

TRIES = 96  # orientations drawn at once for a track; the first that stays in view is taken
MAX_ROUNDS = 40
START_TRIES = 24  # orientations of each law that are tried before a start and a speed are given up
START_CHUNK = 500  # tracks whose starts are tried at once

Band = tuple[float, float]
Degrees = Annotated[float, Range(ge=0, le=89)]


@dataclasses.dataclass(frozen=True)
class Counts:
    """Tracks in each split."""

    train: NonNegative
    val: NonNegative
    test: NonNegative
    ood: NonNegative


@dataclasses.dataclass(frozen=True)
class Bands:
    """Ranges that ood widens beyond training: [low, high], drawn uniformly."""

    speed: Band  # m/s, mean along the path
    path_radius: Band  # m, of circle and helix
    gravity: Band  # m/s², of the parabola

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_band(field.name, getattr(self, field.name))


@dataclasses.dataclass(frozen=True)
class Trajectories:
    """Section generate_trajectories.<dataset>."""

    source: str  # data/sources/synthetic.csv, or a CSV or Parquet file of tracks
    seed: NonNegative
    world: World
    counts: Counts  # for a file without a split column: shares of it
    start_low: tuple[float, float, float]  # m; the first position is drawn in this box, as far as it is in view
    start_high: tuple[float, float, float]
    bands: Bands
    ood_bands: Bands
    tilt_degrees: Degrees  # of the axis from the vertical, of the line from the horizon: at most
    pitch: Band  # m a turn, up or down: all that tells a helix from a circle
    apex: tuple[Fraction, Fraction]  # when the parabola peaks, as a share of the clip
    turns: Band = (0.0, 100.0)  # of circle and helix within the clip: too short an arc could be any law
    own: TrackFileParams = TrackFileParams()  # what a file of tracks means

    def __post_init__(self) -> None:
        _check_band("pitch", self.pitch)
        _check_band("apex", self.apex)
        _check_band("turns", self.turns)
        if any(low > high for low, high in zip(self.start_low, self.start_high, strict=True)):
            raise ValueError("start_low must not exceed start_high")
        for split in ("train", "val", "test"):
            if getattr(self.counts, split) < len(CLASSES):
                raise ValueError(f"counts.{split}: an empty split or class; at least {len(CLASSES)} tracks")


def _check_band(name: str, band: Band) -> None:
    if not 0 <= band[0] <= band[1]:
        raise ValueError(f"{name}: expected 0 <= low <= high, found {list(band)}")


def draw_tracks(params: Trajectories) -> Tracks:
    """All tracks of the four laws.

    Start, speed, colour and light are drawn in the same way for every class: start and speed such that a track of
    each of the laws stays in view. Then only the orientation and the law's own quantities are redrawn until this one
    does, so that nothing but the motion tells the class. Track i of a split is the same however many are drawn.
    """
    import pandas as pd

    parts, points, labels, splits = [], [], [], []
    for code, split in enumerate(SPLITS):
        count = getattr(params.counts, split)
        for name in CLASSES:
            indices = np.arange(CLASSES.index(name), count, len(CLASSES))
            if len(indices) == 0:
                continue
            bands = params.ood_bands if split == "ood" else params.bands
            drawn, path = _draw_class(name, indices, code, bands, params)
            parts.append(pd.DataFrame({"order": code * 10**9 + indices, **drawn}))
            points.append(path)
            labels += [name] * len(indices)
            splits += [split] * len(indices)
    table = pd.concat(parts, ignore_index=True)
    order = np.argsort(table["order"].to_numpy(), kind="stable")
    table = table.iloc[order].drop(columns="order").reset_index(drop=True)
    return Tracks(
        params.world, np.arange(len(table), dtype=np.int32), np.array(labels)[order], np.array(splits)[order],
        np.concatenate(points)[order], table,
    )


def draw_look(rng: np.random.Generator) -> Array:
    """Uniform numbers in [0, 1) for what a track looks like: hue, value, light azimuth, tilt, strength."""
    return rng.random(5)


def look_columns(look: Array) -> dict[str, Array]:
    """(N, 5) uniform numbers → colour and light of each track (see rendering.Look)."""
    red, green, blue = _hsv(look[:, 0], 0.35, 0.9 + 0.1 * look[:, 1])
    return {
        "colour_r": red, "colour_g": green, "colour_b": blue,
        "light_azimuth": 2 * np.pi * look[:, 2], "light_tilt": np.radians(12.0) * look[:, 3],
        "light_strength": 0.9 + 0.1 * look[:, 4],
    }


def _hsv(hue: Array, saturation: float, value: Array) -> tuple[Array, Array, Array]:
    """Smith (1978), the hexcone model, for arrays in [0, 1]."""
    def channel(n: float) -> Array:
        k = (n + hue * 6) % 6
        return np.asarray(value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1))

    return channel(5), channel(3), channel(1)


def _draw_class(
    name: str, indices: np.ndarray, split_code: int, bands: Bands, params: Trajectories
) -> tuple[dict[str, Array], Array]:
    """(columns of what was drawn, points (N, T, 3)) for the tracks `indices` of one split and class."""
    rngs = [np.random.default_rng([params.seed, split_code, int(i)]) for i in indices]
    start, speed = _starts(rngs, indices, split_code, bands, params)
    look = np.stack([draw_look(rng) for rng in rngs])
    columns: dict[str, Array] = {}
    points = np.empty((len(indices), params.world.num_frames, 3))
    todo = np.arange(len(indices))
    for _ in range(MAX_ROUNDS):
        tries = np.stack([rngs[i].random((TRIES, 7)) for i in todo])  # (M, K, 7)
        natural, paths = _LAWS[name](tries, start[todo, None], speed[todo, None], bands, params)
        good = params.world.in_view(paths) & natural.pop("possible")  # (M, K)
        found, first = good.any(1), good.argmax(1)
        rows, chosen = np.flatnonzero(found), first[found]
        points[todo[rows]] = paths[rows, chosen]
        for key, value in natural.items():
            columns.setdefault(key, np.full(len(indices), np.nan))[todo[rows]] = value[rows, chosen]
        todo = todo[~found]
        if len(todo) == 0:
            return drawn_columns(params.world, start, speed, columns, look), points
    raise UserError(
        f"generate_trajectories: no {name} track with speed {speed[todo[0]]:.2f} m/s from start "
        f"{np.round(start[todo[0]], 2).tolist()} stays in view; widen near/far or the field of view, or slow it down"
    )


def _starts(
    rngs: list[np.random.Generator], indices: np.ndarray, split_code: int, bands: Bands, params: Trajectories
) -> tuple[Array, Array]:
    """First positions (N, 3) m and speeds (N,) m/s from which a track of any law can stay in view.

    Each is the first of the track's own candidates for which one is found, whatever the track's law; where none of
    MAX_ROUNDS will do, the last is left for the caller to refuse.
    """
    low, high = np.array(params.start_low), np.array(params.start_high)
    drawn = np.stack([rng.random(4) for rng in rngs])
    others = [np.random.default_rng([params.seed, split_code, int(i), 1]) for i in indices]
    todo = np.arange(len(indices))
    for _ in range(MAX_ROUNDS):
        refused = []
        for first in range(0, len(todo), START_CHUNK):
            rows = todo[first : first + START_CHUNK]
            tries = np.stack([others[i].random((START_TRIES, 7)) for i in rows])
            start, speed = low + (high - low) * drawn[rows, :3], _within(drawn[rows, 3], bands.speed)
            refused.append(rows[~_possible_for_all(tries, start[:, None], speed[:, None], bands, params)])
        todo = np.concatenate(refused)
        if not len(todo):
            break
        drawn[todo] = [others[i].random(4) for i in todo]
    return low + (high - low) * drawn[:, :3], _within(drawn[:, 3], bands.speed)


def _possible_for_all(tries: Array, start: Array, speed: Array, bands: Bands, params: Trajectories) -> np.ndarray:
    """(N,): does each law have a track among the tries (N, K, 7) that stays in view?"""
    possible = params.world.in_view(start)  # a path of one point
    for draw in _LAWS.values():
        natural, paths = draw(tries, start, speed, bands, params)
        possible = possible & (params.world.in_view(paths) & natural["possible"]).any(1)
    return possible


def _within(uniform: Array, band: Band) -> Array:
    return np.asarray(band[0] + (band[1] - band[0]) * uniform)


def _draw_linear(
    tries: Array, start: Array, speed: Array, bands: Bands, params: Trajectories
) -> tuple[dict[str, Array], Array]:
    yaw = 2 * np.pi * tries[..., 0]
    elevation = np.radians(params.tilt_degrees) * (2 * tries[..., 1] - 1)
    velocity = speed[..., None] * direction(yaw, elevation)
    begin = np.broadcast_to(start, velocity.shape)
    return _natural(possible=True, velocity=velocity), linear(params.world.times, begin, velocity)


def _draw_round(
    tries: Array, start: Array, speed: Array, bands: Bands, params: Trajectories, *, rising: bool
) -> tuple[dict[str, Array], Array]:
    yaw, phase = 2 * np.pi * tries[..., 0], 2 * np.pi * tries[..., 2]
    tilt = np.radians(params.tilt_degrees) * tries[..., 1]
    radius = _within(tries[..., 3], bands.path_radius)
    sense = np.where(tries[..., 4] < 0.5, -1.0, 1.0)
    pitch = _within(tries[..., 5], params.pitch) * np.where(tries[..., 6] < 0.5, -1.0, 1.0) * float(rising)
    omega = sense * speed / np.hypot(radius, pitch / (2 * np.pi))
    e1, e2, _ = axis_frame(yaw, tilt)
    spoke = np.cos(phase)[..., None] * e1 + np.sin(phase)[..., None] * e2
    centre = start - radius[..., None] * spoke
    path = helical(params.world.times, centre, radius, omega, phase, yaw, tilt, pitch)
    turns = np.abs(omega) * params.world.times[-1] / (2 * np.pi)
    natural = _natural(
        possible=(turns >= params.turns[0]) & (turns <= params.turns[1]), centre=centre, path_radius=radius,
        omega=omega, phase=phase, yaw=yaw, tilt=tilt, pitch=pitch,
    )
    return natural, path


def _draw_circular(
    tries: Array, start: Array, speed: Array, bands: Bands, params: Trajectories
) -> tuple[dict[str, Array], Array]:
    return _draw_round(tries, start, speed, bands, params, rising=False)


def _draw_helical(
    tries: Array, start: Array, speed: Array, bands: Bands, params: Trajectories
) -> tuple[dict[str, Array], Array]:
    return _draw_round(tries, start, speed, bands, params, rising=True)


def _draw_parabolic(
    tries: Array, start: Array, speed: Array, bands: Bands, params: Trajectories
) -> tuple[dict[str, Array], Array]:
    duration = float(params.world.times[-1])
    yaw = 2 * np.pi * tries[..., 0]
    gravity = _within(tries[..., 1], bands.gravity)
    rise = gravity * _within(tries[..., 2], params.apex) * duration  # m/s, upward at the start
    level, possible = level_speed(speed * duration, rise, gravity, duration)
    velocity = level[..., None] * direction(yaw, np.zeros_like(yaw))
    velocity[..., 1] = rise
    begin = np.broadcast_to(start, velocity.shape)
    natural = _natural(possible=possible, velocity=velocity, gravity=gravity)
    return natural, parabolic(params.world.times, begin, velocity, gravity)


_LAWS = {
    "linear": _draw_linear, "circular": _draw_circular, "helical": _draw_helical, "parabolic": _draw_parabolic,
}


def level_speed(length: Array, rise: Array, gravity: Array, duration: float) -> tuple[Array, np.ndarray]:
    """Horizontal speed (m/s) that gives a throw the arc length (m), and whether there is one.

    Bisection on the closed form of the parabola's arc length; `rise` is the upward speed at the start.
    """
    low, high = np.zeros_like(rise), np.broadcast_to(length / duration, rise.shape)
    possible = parabola_length(low, rise, gravity, duration) <= length
    for _ in range(50):
        middle = (low + high) / 2
        short = parabola_length(middle, rise, gravity, duration) < length
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return (low + high) / 2, possible


def parabola_length(level: Array, rise: Array, gravity: Array, duration: float) -> Array:
    """Arc length of a throw: ∫ √(h² + (v − g t)²) dt from 0 to `duration`, in closed form."""
    def primitive(v: Array) -> Array:
        return np.asarray(
            0.5 * (v * np.hypot(level, v) + level**2 * np.arcsinh(v / np.maximum(level, 1e-12)))
        )

    return np.asarray((primitive(rise) - primitive(rise - gravity * duration)) / gravity)


def _natural(*, possible: bool | np.ndarray, **quantities: Array) -> dict[str, Array]:
    """Columns from quantities; vectors (..., 3) become three."""
    columns: dict[str, Array] = {}
    for name, value in quantities.items():
        if name in ("velocity", "centre"):
            columns |= {f"{name}_{axis}": value[..., i] for i, axis in enumerate("xyz")}
        else:
            columns[name] = value
    shape = next(iter(columns.values())).shape
    return {**columns, "possible": np.broadcast_to(np.asarray(possible), shape)}


NATURAL_COLUMNS = (
    "velocity_x", "velocity_y", "velocity_z", "gravity", "centre_x", "centre_y", "centre_z", "path_radius", "omega",
    "phase", "yaw", "tilt", "pitch",
)


def drawn_columns(
    world: World, start: Array, speed: Array, natural: dict[str, Array], look: Array
) -> dict[str, Array]:
    """The columns of track_params for N tracks: start (N, 3) m, speed (N,) m/s, what the law has (`natural`, NaN for
    what it has not), and the uniform numbers (N, 5) of the look."""
    empty = np.full(len(speed), np.nan)
    return {
        "ball_radius": np.full(len(speed), world.ball_radius), "speed": speed,
        **{f"start_{axis}": start[:, i] for i, axis in enumerate("xyz")},
        **{name: natural.get(name, empty) for name in NATURAL_COLUMNS}, **look_columns(look),
    }
