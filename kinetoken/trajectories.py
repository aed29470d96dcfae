"""Trajectories whose physics is known exactly: drawn from the four laws, or read from the user's own file.

Two tidy tables go together. `trajectories.parquet` has one row a frame (track_id, class, split, frame, t,
x, y, z); `track_params.parquet` has one row a track: what was drawn. The world they live in (camera,
floor, ball) travels in the schema metadata of both, so that later stages need no second source.
"""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from kinetoken.artifacts import read_table, write_table
from kinetoken.errors import UserError
from kinetoken.laws import CLASSES, Array, axis_frame, direction, helical, linear, parabolic
from kinetoken.params import Fraction, NonNegative, PositiveFloat, Range

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "val", "test", "ood")
SYNTHETIC = "synthetic.csv"  # the committed placeholder that stands for "no file: draw the tracks"
TRACK_COLUMNS = ("track_id", "frame", "x", "y", "z")

TRIES = 96  # orientations drawn at once for a track; the first that stays in view is taken
MAX_ROUNDS = 40

Band = tuple[float, float]
Degrees = Annotated[float, Range(ge=0, le=89)]


@dataclasses.dataclass(frozen=True)
class World:
    """What is the same for every clip: a camera at the origin looking along +z, a floor, one ball."""

    field_of_view_degrees: Annotated[float, Range(gt=1, lt=170)]  # of the square image, side to side
    floor_y: Annotated[float, Range(lt=0)]  # m, below the camera
    near: PositiveFloat  # m, least depth of the ball's centre
    far: PositiveFloat  # m, greatest
    ball_radius: PositiveFloat  # m, known: from one camera, depth is only knowable through it
    fps: PositiveFloat
    num_frames: Annotated[int, Range(ge=2)]

    def __post_init__(self) -> None:
        if self.near >= self.far:
            raise ValueError(f"near ({self.near}) must be less than far ({self.far})")

    @property
    def half_view(self) -> float:
        """Tangent of half the field of view: |x| / z and |y| / z at the image's edge."""
        return float(np.tan(np.radians(self.field_of_view_degrees) / 2))

    @property
    def times(self) -> Array:
        """(T,) seconds, frame / fps."""
        return np.arange(self.num_frames) / self.fps

    def in_view(self, points: Array, margin: float = 0.03) -> np.ndarray:
        """(..., T, 3) → (...): is the whole ball inside the image, above the floor and within depth, always."""
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        reach = self.half_view * (1 - margin) * z - 1.05 * self.ball_radius
        inside = (np.abs(x) <= reach) & (np.abs(y) <= reach) & (y - self.ball_radius >= self.floor_y)
        return np.asarray((inside & (z >= self.near) & (z <= self.far)).all(-1))


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
    start_low: tuple[float, float, float]  # m; the first position is drawn in this box
    start_high: tuple[float, float, float]
    bands: Bands
    ood_bands: Bands
    tilt_degrees: Degrees  # of the axis from the vertical, of the line from the horizon: at most
    pitch: Band  # m a turn, up or down: all that tells a helix from a circle
    apex: tuple[Fraction, Fraction]  # when the parabola peaks, as a share of the clip

    def __post_init__(self) -> None:
        _check_band("pitch", self.pitch)
        _check_band("apex", self.apex)
        if any(low > high for low, high in zip(self.start_low, self.start_high, strict=True)):
            raise ValueError("start_low must not exceed start_high")
        for split in ("train", "val", "test"):
            if getattr(self.counts, split) < len(CLASSES):
                raise ValueError(f"counts.{split}: an empty split or class; at least {len(CLASSES)} tracks")


def _check_band(name: str, band: Band) -> None:
    if not 0 <= band[0] <= band[1]:
        raise ValueError(f"{name}: expected 0 <= low <= high, found {list(band)}")


@dataclasses.dataclass
class Tracks:
    """N tracks of T frames in order of track_id.

    points (N, T, 3) m; label (N,) class names; split (N,) names; drawn: one row a track.
    """

    world: World
    track_id: np.ndarray
    label: np.ndarray
    split: np.ndarray
    points: Array
    drawn: "pd.DataFrame"

    def __len__(self) -> int:
        return len(self.track_id)


# --- drawing ---------------------------------------------------------------------------------------


def draw_tracks(params: Trajectories) -> Tracks:
    """All tracks of the four laws.

    Start, speed, colour and light are drawn once a track, in the same way for every class; only the
    orientation and the law's own quantities are redrawn until the track stays in view, so that nothing
    but the motion tells the class. Track i of a split is the same however many are drawn.
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
    nuisance = np.stack([rng.random(4) for rng in rngs])
    look = np.stack([draw_look(rng) for rng in rngs])
    low, high = np.array(params.start_low), np.array(params.start_high)
    start = low + (high - low) * nuisance[:, :3]
    speed = _within(nuisance[:, 3], bands.speed)
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
            return _all_columns(params.world, start, speed, columns, look), points
    raise UserError(
        f"generate_trajectories: no {name} track with speed {speed[todo[0]]:.2f} m/s from start "
        f"{np.round(start[todo[0]], 2).tolist()} stays in view; widen near/far or the field of view, or slow it down"
    )


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
    natural = _natural(
        possible=True, centre=centre, path_radius=radius, omega=omega, phase=phase, yaw=yaw, tilt=tilt, pitch=pitch
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


def _all_columns(
    world: World, start: Array, speed: Array, natural: dict[str, Array], look: Array
) -> dict[str, Array]:
    empty = np.full(len(speed), np.nan)
    return {
        "ball_radius": np.full(len(speed), world.ball_radius), "speed": speed,
        **{f"start_{axis}": start[:, i] for i, axis in enumerate("xyz")},
        **{name: natural.get(name, empty) for name in NATURAL_COLUMNS}, **look_columns(look),
    }


# --- the user's own tracks -------------------------------------------------------------------------


def read_own_tracks(path: Path, params: Trajectories) -> Tracks:
    """Tracks from a CSV or Parquet file with track_id, frame, x, y, z and optionally class, split, t.

    Raises UserError naming the track, the frame and the column of the first fault. All tracks must have
    the same frames 0 … T−1, in order. Without `class` every track is "unlabelled"; without `split`, the
    splits are drawn by class in the proportions of `counts` (train, val and test).
    """
    frame = _read_frame(path)
    _check_columns(path, frame)
    num_frames = _check_rows(path, frame)
    ids = frame["track_id"].to_numpy()[::num_frames]
    points = frame[["x", "y", "z"]].to_numpy(np.float64).reshape(-1, num_frames, 3)
    label = _constant_column(path, frame, "class", "unlabelled", num_frames)
    if "class" in frame and len(set(label)) < 2:
        raise UserError(f"{path}: column 'class': all tracks are '{label[0]}'; at least two classes are needed")
    split = _constant_column(path, frame, "split", "", num_frames)
    split = split if "split" in frame else _draw_splits(label, params)
    if unknown := sorted(set(split) - set(SPLITS)):
        raise UserError(f"{path}: column 'split': '{unknown[0]}' is none of {', '.join(SPLITS)}")
    if missing := [name for name in SPLITS[:3] if name not in set(split)]:
        raise UserError(f"{path}: split '{missing[0]}' is empty")
    fps = _frame_rate(path, frame, num_frames, params.world.fps)
    world = dataclasses.replace(params.world, num_frames=num_frames, fps=fps)
    drawn = _own_columns(world, points, [np.random.default_rng([params.seed, len(SPLITS), int(i)]) for i in ids])
    return Tracks(world, ids.astype(np.int32), label, split, points, drawn)


def _own_columns(world: World, points: Array, rngs: list[np.random.Generator]) -> "pd.DataFrame":
    import pandas as pd

    steps = np.linalg.norm(np.diff(points, axis=1), axis=-1)
    look = np.stack([draw_look(rng) for rng in rngs])
    return pd.DataFrame(_all_columns(world, points[:, 0], steps.mean(1) * world.fps, {}, look))


def _read_frame(path: Path) -> "pd.DataFrame":
    import pandas as pd

    if not path.exists():
        raise UserError(f"{path}: no such file")
    if path.suffix == ".parquet":
        return pd.DataFrame(read_table(path).to_pandas())
    if path.suffix == ".csv":
        try:
            return pd.read_csv(path)
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a CSV table: {error}") from None
    raise UserError(f"{path}: tracks come as .csv or .parquet")


def _check_columns(path: Path, frame: "pd.DataFrame") -> None:
    import pandas as pd

    if missing := [name for name in TRACK_COLUMNS if name not in frame]:
        raise UserError(f"{path}: column '{missing[0]}' is missing; needed are {', '.join(TRACK_COLUMNS)}")
    if len(frame) == 0:
        raise UserError(f"{path}: no rows")
    numeric = [name for name in (*TRACK_COLUMNS, "t") if name in frame]
    for name in numeric:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            row = int(np.flatnonzero(pd.to_numeric(frame[name], errors="coerce").isna())[0])
            raise UserError(f"{path}: {_place(frame, row)}, column '{name}': {frame[name].iloc[row]!r} is no number")
    finite = np.isfinite(frame[numeric].to_numpy(np.float64))
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise UserError(f"{path}: {_place(frame, row)}, column '{numeric[column]}': missing or not finite")
    for name in ("track_id", "frame"):
        values = frame[name].to_numpy(np.float64)
        if (fractional := np.flatnonzero(values != np.floor(values))).size:
            raise UserError(f"{path}: {_place(frame, fractional[0])}, column '{name}': must be whole")


def _place(frame: "pd.DataFrame", row: int) -> str:
    return f"track {frame['track_id'].iloc[row]}, frame {frame['frame'].iloc[row]} (row {row + 1})"


def _check_rows(path: Path, frame: "pd.DataFrame") -> int:
    """Every track: one block of rows, frames 0 … T−1 in order, the same T. Returns T."""
    ids, frames = frame["track_id"].to_numpy(), frame["frame"].to_numpy()
    begins = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    seen, counts = np.unique(ids[begins], return_counts=True)
    if (counts > 1).any():
        raise UserError(f"{path}: track {seen[counts > 1][0]} appears twice, in separate blocks of rows")
    lengths = np.diff(np.append(begins, len(ids)))
    expected = np.arange(len(ids)) - np.repeat(begins, lengths)
    if (wrong := np.flatnonzero(frames != expected)).size:
        row = int(wrong[0])
        raise UserError(
            f"{path}: {_place(frame, row)}, column 'frame': expected {expected[row]}; "
            "frames must run 0, 1, 2, … in order, without gaps or repeats"
        )
    if (ragged := np.flatnonzero(lengths != lengths[0])).size:
        track = ids[begins[ragged[0]]]
        raise UserError(f"{path}: track {track} has {lengths[ragged[0]]} frames, the first has {lengths[0]}")
    if (ids[begins][1:] < ids[begins][:-1]).any():
        raise UserError(f"{path}: column 'track_id' must ascend")
    if lengths[0] < 2:
        raise UserError(f"{path}: track {ids[0]} has one frame; at least two are needed")
    return int(lengths[0])


def _constant_column(path: Path, frame: "pd.DataFrame", name: str, default: str, num_frames: int) -> np.ndarray:
    if name not in frame:
        return np.full(len(frame) // num_frames, default)
    values = frame[name].astype(str).to_numpy().reshape(-1, num_frames)
    if (mixed := np.argwhere(values != values[:, :1])).size:
        row = int(mixed[0][0] * num_frames + mixed[0][1])
        raise UserError(f"{path}: {_place(frame, row)}, column '{name}': differs within the track")
    return values[:, 0]


def _draw_splits(label: np.ndarray, params: Trajectories) -> np.ndarray:
    shares = np.array([params.counts.train, params.counts.val, params.counts.test], float)
    edges = np.cumsum(shares / shares.sum())
    split = np.empty(len(label), dtype=object)
    for code, name in enumerate(sorted(set(label))):
        rows = np.random.default_rng([params.seed, 99, code]).permutation(np.flatnonzero(label == name))
        place = (np.arange(len(rows)) + 0.5) / len(rows)
        split[rows] = np.array(SPLITS[:3], dtype=object)[np.searchsorted(edges[:2], place)]
    return split.astype(str)


def _frame_rate(path: Path, frame: "pd.DataFrame", num_frames: int, default: float) -> float:
    if "t" not in frame:
        return default
    t = frame["t"].to_numpy(np.float64).reshape(-1, num_frames)
    step = np.diff(t, axis=1)
    if not (np.allclose(step, step[0, 0], rtol=1e-3) and step[0, 0] > 0):
        raise UserError(f"{path}: column 't': frames must be equally spaced in time, the same for every track")
    return float(np.round(1 / step[0, 0], 6))


# --- files -----------------------------------------------------------------------------------------


def write_tracks(tracks: Tracks, trajectories: Path, track_params: Path) -> None:
    """Both Parquet tables, the world in their metadata."""
    import pyarrow as pa

    count, frames = tracks.points.shape[:2]
    meta = {"world": json.dumps(dataclasses.asdict(tracks.world), sort_keys=True)}
    rows = pa.table({
        "track_id": pa.array(np.repeat(tracks.track_id, frames), pa.int32()),
        "class": np.repeat(tracks.label, frames).tolist(), "split": np.repeat(tracks.split, frames).tolist(),
        "frame": pa.array(np.tile(np.arange(frames), count), pa.int16()),
        "t": pa.array(np.tile(tracks.world.times, count), pa.float32()),
        **{a: pa.array(tracks.points[..., i].ravel(), pa.float32()) for i, a in enumerate("xyz")},
    })
    write_table(trajectories, rows.replace_schema_metadata(meta))
    once: dict[str, object] = {
        "track_id": pa.array(tracks.track_id, pa.int32()),
        "class": tracks.label.tolist(), "split": tracks.split.tolist(),
    }
    for name, values in tracks.drawn.items():
        once[str(name)] = pa.array(values.to_numpy(), pa.float32())
    write_table(track_params, pa.table(once).replace_schema_metadata(meta))


def read_tracks(trajectories: Path, track_params: Path) -> Tracks:
    """The two tables back; points to float32 precision. UserError for a file that is neither."""
    rows, once = read_table(trajectories), read_table(track_params)
    for path, table, needed in ((trajectories, rows, "frame"), (track_params, once, "ball_radius")):
        if needed not in table.column_names or b"world" not in (table.schema.metadata or {}):
            raise UserError(f"{path}: not a {path.stem} table of Kinetoken")
    world = World(**json.loads(rows.schema.metadata[b"world"]))
    points = np.stack([rows[a].to_numpy() for a in "xyz"], -1).astype(np.float64)
    drawn = once.drop_columns(["track_id", "class", "split"]).to_pandas()
    return Tracks(
        world, once["track_id"].to_numpy(), np.array(once["class"].to_pylist()), np.array(once["split"].to_pylist()),
        points.reshape(-1, world.num_frames, 3), drawn,
    )
