"""The user's own tracks, from a file as people have it, checked to the row."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.physics.laws import Array
from kinetoken.physics.world import World
from kinetoken.scenes.intake import METRE, SECOND, SECTION, SLICE_FRAMES, TrackFileParams
from kinetoken.scenes.motion import Trajectories, draw_look, drawn_columns
from kinetoken.scenes.track_columns import id_column, name_column, number_column, whole_column
from kinetoken.scenes.track_files import TrackFile, read_track_file
from kinetoken.scenes.tracks import SPLITS, Tracks

UNLABELLED, UNSPLIT = "unlabelled", "none"  # the class and the split of tracks that have none
FARTHEST = 1e5  # m, beyond which no coordinate is believed
LATEST = 1e12  # s
MOST_FRAMES = 2**15 - 1  # that the tables' int16 column holds
RATES = (1e-3, 1e6)  # frames a second that are believed
LEAST_SOURCES = 4  # of a class, from which every split has some
EXACT, JITTER = 1e-3, 0.05  # how far times may be from equally spaced, of a frame: silently, and with a notice

Say = Callable[[str], object]


@dataclasses.dataclass
class SourceTracks:
    """N tracks of a file, their frames one below the other, by track and frame: no gaps, any lengths.

    track_id (N,) int32; source: ids as they are in the file, None where they are the same; start (N,) the row of each
    track's first frame; length (N,) frames; values (R, 3 or 4): x, y, z in m and t in s, if there is one; label and
    split (N,), None where the file has none; step: frames between two rows.
    """

    file: TrackFile
    track_id: NDArray[np.int32]
    source: dict[int, str] | None
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    values: Array
    label: np.ndarray | None
    split: np.ndarray | None
    step: int
    advise: bool  # whether the messages may name params: there are none where trained models are applied

    def name(self, track: int) -> str:
        """What a track, of N, is called in the file."""
        number = int(self.track_id[track])
        return str(number) if self.source is None else self.source[number]

    def advice(self, what: str) -> str:
        return f"; {what}" if self.advise else ""


@dataclasses.dataclass
class Cut:
    """M clips of T frames: the track that each is of, of N, and points (M, T, 3) m, times (M, T) s if there are any."""

    track: NDArray[np.int64]
    points: Array
    times: Array | None


def read_own_tracks(path: Path, params: Trajectories, say: Say = str) -> Tracks:
    """Tracks from a CSV, TSV or Parquet file with track_id, frame, x, y, z and optionally class, split, t.

    What was read in another way than it stands there is told to `say`, a sentence at a time. Raises UserError naming
    the track, the frame and the column of the first fault. Without `class` every track is "unlabelled"; without
    `split`, the splits are drawn by class in the proportions of `counts` (train, val and test). All of a track's
    windows are of one split.
    """
    source = _read_source(path, params.own, advise=True)
    cut = _cut(source, params.own.window)
    frames = cut.points.shape[1]
    if rest := frames % SLICE_FRAMES:
        how = f"; to cut the tracks, set {SECTION}.window: {frames - rest}" if frames > rest else ""
        raise UserError(
            f"{path}: track {source.name(int(cut.track[0]))} has {frames} frames, as all have; {SLICE_FRAMES} frames "
            f"are encoded as one slice of codes, so there must be a multiple of {SLICE_FRAMES}{how}"
        )
    kept = np.unique(cut.track)  # of windows, not the tracks that are too short for one
    label = _labels(source)
    split = source.split
    if split is None:
        split = np.full(len(label), "", object)
        counts = params.counts
        split[kept] = draw_splits(label[kept], (counts.train, counts.val, counts.test), params.seed)
    if unknown := sorted(set(split[kept]) - set(SPLITS)):
        raise UserError(f"{path}: column '{source.file.given['split']}': '{unknown[0]}' is none of {', '.join(SPLITS)}")
    if missing := [name for name in SPLITS[:3] if name not in set(split[kept])]:
        raise UserError(f"{path}: split '{missing[0]}' is empty; train, val and test each need tracks")
    return _tracks(source, cut, label, split, params.world, params.seed, say)


def read_unsplit_tracks(path: Path, world: World, seed: int, say: Say = str) -> Tracks:
    """Tracks to which trained models are applied: as `read_own_tracks`, but any number of them, of any class or none.

    `world` is what they are seen in, with the file's own frames and rate; colour and light are drawn from `seed` as
    for a dataset. Without `class` a track is UNLABELLED, without `split` it is UNSPLIT. Metres and seconds, no gaps,
    equal lengths. UserError as above.
    """
    source = _read_source(path, TrackFileParams(), advise=False)
    split = np.full(len(source.length), UNSPLIT) if source.split is None else source.split
    return _tracks(source, _cut(source, None), _labels(source), split, world, seed, say)


def _labels(source: SourceTracks) -> np.ndarray:
    return np.full(len(source.length), UNLABELLED) if source.label is None else source.label


def _tracks(
    source: SourceTracks, cut: Cut, label: np.ndarray, split: np.ndarray, world: World, seed: int, say: Say
) -> Tracks:
    """The clips in their world; label and split (N,) are those of the file's tracks."""
    import pandas as pd

    fps = _frame_rate(source, cut.times, world.fps)
    world = dataclasses.replace(world, num_frames=cut.points.shape[1], fps=fps)
    names = [source.name(int(i)) for i in cut.track]
    _require_seen(source, world, cut, names)
    _require_before_camera(source.file.path, world, cut.points, names)
    same = len(np.unique(cut.track)) == len(cut.track)
    ids = source.track_id[cut.track] if same else np.arange(len(cut.track), dtype=np.int32)
    look = np.stack([draw_look(np.random.default_rng([seed, len(SPLITS), int(i)])) for i in ids])
    steps = np.linalg.norm(np.diff(cut.points, axis=1), axis=-1)
    drawn = pd.DataFrame(drawn_columns(world, cut.points[:, 0], steps.mean(1) * world.fps, {}, look))
    if source.source is not None or not same:
        drawn["source_id"] = np.array(names, object)
    for notice in source.file.notices:
        say(f"{source.file.path}: {notice}")
    return Tracks(world, ids, label[cut.track].astype(str), split[cut.track].astype(str), cut.points, drawn)


# ---- rows


def _read_source(path: Path, own: TrackFileParams, *, advise: bool) -> SourceTracks:
    """The file's tracks: rows in order, gaps filled or refused, every value checked."""
    file = read_track_file(path)
    ids = id_column(file)
    frame = whole_column(file, "frame")
    values = _values(file, own)
    order = np.lexsort((frame, ids.row_id))
    if (np.diff(order) < 0).any():
        file.notices.append("rows sorted by track and frame")
    row_id, frame, values = ids.row_id[order], frame[order], values[order]
    begins = np.flatnonzero(np.concatenate([[True], row_id[1:] != row_id[:-1]]))
    step = _frame_step(file, order, row_id, frame)
    if step > 1:
        file.notices.append(f"frame numbers go up in steps of {step}")
    starts = frame[begins]
    if starts.any():
        first = int(starts.astype(bool).argmax())
        name = _in_file(ids.source, row_id[begins[first]])
        file.notices.append(f"frames counted from 0 in every track (in track {name} they begin at {starts[first]})")
    label, split = (_constant(file, name, order, row_id, begins) for name in ("class", "split"))
    lengths = np.diff(np.append(begins, len(row_id)))
    source = SourceTracks(
        file, row_id[begins], ids.source, begins, lengths, values, label, split, step, advise
    )
    _fill_gaps(source, order, row_id, frame, own)
    return source


def _in_file(source: dict[int, str] | None, number: int) -> str:
    return str(number) if source is None else source[int(number)]


def _values(file: TrackFile, own: TrackFileParams) -> Array:
    """(R, 3 or 4) x, y, z in m, and t in s. UserError for what is beyond belief."""
    columns = []
    for name in ("x", "y", "z", *(["t"] if "t" in file.columns else [])):
        unit, per, most = (own.time_unit, SECOND, LATEST) if name == "t" else (own.unit, METRE, FARTHEST)
        values = number_column(file, name)
        scale = per[unit] if name != "t" or not _counted_in_seconds(file) else 1
        values = values if scale == 1 else values / scale
        if (beyond := np.abs(values) > most).any():
            row = int(beyond.argmax())
            base = "s" if name == "t" else "m"
            raise file.fault(row, name, f"{values[row]:g} {base} is beyond {most:g} {base}")
        columns.append(values)
    if own.unit != "m":
        file.notices.append(f"x, y, z read as {own.unit}")
    if own.time_unit != "s" and "t" in file.columns and not _counted_in_seconds(file):
        file.notices.append(f"t read as {own.time_unit}")
    return np.stack(columns, 1)


def _counted_in_seconds(file: TrackFile) -> bool:
    """Whether the times are dates or times of day, whose unit is their own."""
    import pyarrow as pa

    kind = file.columns["t"].type
    return bool(pa.types.is_temporal(kind))


def _frame_step(file: TrackFile, order: np.ndarray, row_id: np.ndarray, frame: np.ndarray) -> int:
    """How far apart the frames are. UserError for one that is there twice."""
    within = row_id[1:] == row_id[:-1]
    apart = np.diff(frame)
    if (twice := within & (apart == 0)).any():
        first, second = sorted(order[int(twice.argmax()) :][:2].tolist())
        raise UserError(f"{file.path}: {file.place(second)}: this frame is there already, in row {first + 1}")
    step = int(np.gcd.reduce(apart[within])) if within.any() else 1
    return step


def _constant(
    file: TrackFile, name: str, order: np.ndarray, row_id: np.ndarray, begins: np.ndarray
) -> np.ndarray | None:
    """(N,) what a column says of each track, None without it. UserError where it differs within a track."""
    if name not in file.columns:
        return None
    values = name_column(file, name)[order]
    lengths = np.diff(np.append(begins, len(row_id)))
    mixed = values != np.repeat(values[begins], lengths)
    if mixed.any():
        raise file.fault(int(order[mixed].min()), name, "differs within the track")
    return np.asarray(values[begins])


def _fill_gaps(
    source: SourceTracks, order: np.ndarray, row_id: np.ndarray, frame: np.ndarray, own: TrackFileParams
) -> None:
    """Missing frames between the rows, on the line from one to the next. UserError where they are not to be filled."""
    within = row_id[1:] == row_id[:-1]
    apart = np.where(within, np.diff(frame) // source.step, 1)  # rows from each to the next, were none missing
    gaps = np.flatnonzero(apart > 1)
    if not len(gaps):
        return
    longest = own.longest_gap if own.gaps == "interpolate" else 0
    if len(bad := gaps[apart[gaps] - 1 > longest]):
        row, missing = int(bad[0]), int(apart[bad[0]]) - 1
        many = f"frame {frame[row] + source.step} is" if missing == 1 else (
            f"{missing} frames from {frame[row] + source.step} on are"
        )
        how = f"or set {SECTION}.gaps: interpolate" if longest == 0 else f"or raise {SECTION}.longest_gap ({longest})"
        raise UserError(
            f"{source.file.path}: track {_in_file(source.source, row_id[row])}: {many} missing, after row "
            f"{order[row] + 1}; add the missing rows{f', {how}' if source.advise else ''}"
        )
    repeats = np.append(apart, 1)
    place = np.repeat(np.arange(len(repeats)), repeats)
    share = (np.arange(len(place)) - np.repeat(np.cumsum(repeats) - repeats, repeats)) / repeats[place]
    after = np.minimum(place + 1, len(repeats) - 1)
    between = source.values[place] + share[:, None] * (source.values[after] - source.values[place])
    source.values = np.where(share[:, None] == 0, source.values[place], between)
    new_start = (np.cumsum(repeats) - repeats)[source.start]
    source.start, source.length = new_start, np.diff(np.append(new_start, len(place)))
    source.file.notices.append(
        f"missing frames filled on the line between their neighbours: {len(place) - len(repeats)}, in "
        f"{len(np.unique(row_id[gaps]))} of {len(source.track_id)} tracks"
    )


# ---- lengths


def _cut(source: SourceTracks, window: int | None) -> Cut:
    """Whole tracks, or all windows that fit. UserError for tracks of unequal or impossible length."""
    path, lengths = source.file.path, source.length
    if window is None:
        if (ragged := np.flatnonzero(lengths != lengths[0])).size:
            how = f"cut all tracks into windows of equal length: {SECTION}.window"
            raise UserError(
                f"{path}: track {source.name(int(ragged[0]))} has {lengths[ragged[0]]} frames, the first has "
                f"{lengths[0]}{source.advice(how)}"
            )
        window = int(lengths[0])
        if not 2 <= window <= MOST_FRAMES:
            many = "one frame; at least two are" if window == 1 else f"{window} frames; {MOST_FRAMES} at most are"
            raise UserError(f"{path}: track {source.name(0)} has {many} needed")
    fits = lengths // window
    if not fits.any():
        raise UserError(
            f"{path}: no track has {window} frames, as many as {SECTION}.window; the longest, "
            f"{source.name(int(lengths.argmax()))}, has {lengths.max()}"
        )
    track = np.repeat(np.arange(len(lengths)), fits)
    number = np.arange(len(track)) - np.repeat(np.cumsum(fits) - fits, fits)  # of a window within its track
    first = source.start[track] + number * window
    values = source.values[first[:, None] + np.arange(window)]
    _tell_windows(source, fits, window)
    return Cut(track, np.ascontiguousarray(values[..., :3]), values[..., 3] if values.shape[-1] == 4 else None)


def _tell_windows(source: SourceTracks, fits: np.ndarray, window: int) -> None:
    lengths, short = source.length, int((fits == 0).sum())
    if (fits == 1).all() and (lengths == window).all():
        return
    rest = int((lengths - fits * window)[fits > 0].sum())
    told = [f"{len(fits)} tracks cut into {fits.sum()} windows of {window} frames"]
    told += [f"tracks dropped as too short for one: {short}"] if short else []
    told += [f"frames left over and dropped: {rest}"] if rest else []
    told += ["windows are numbered from 0, the ids of their tracks are kept as source_id"] if (fits > 1).any() else []
    source.file.notices.append("; ".join(told))


def draw_splits(label: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """train, val or test for each of N sources of clips: every class (N,) in these shares.

    A class with four sources or more has one at least in each split, and two in test.
    """
    edges = np.cumsum(np.array(shares, float) / sum(shares))
    split = np.empty(len(label), dtype=object)
    for code, name in enumerate(sorted(set(label))):
        rows = np.random.default_rng([seed, 99, code]).permutation(np.flatnonzero(label == name))
        first, second = (np.floor(edges[:2] * len(rows) - 0.5) + 1).astype(int)
        if len(rows) >= LEAST_SOURCES:
            second = min(max(second, 2), len(rows) - 2)
            first = min(max(first, 1), second - 1)
        for part, span in zip(SPLITS[:3], (slice(first), slice(first, second), slice(second, None)), strict=True):
            split[rows[span]] = part
    return split.astype(str)


# ---- time and space


def _frame_rate(source: SourceTracks, times: Array | None, fps: float) -> float:
    """Frames a second by the column t, else `fps` over the step of the frames' numbers. UserError for uneven times."""
    if times is None:
        if source.step > 1:
            source.file.notices.append(
                f"without a column t, {fps:g} frame numbers a second make {fps / source.step:g} frames a second"
            )
        return fps / source.step
    step = np.diff(times, axis=1)
    if np.allclose(step, step[0, 0], rtol=EXACT) and step[0, 0] > 0:
        rate = float(np.round(1 / step[0, 0], 6))
    else:
        mean = float(step.mean())
        even = times[:, :1] + mean * np.arange(times.shape[1])
        if not (mean > 0 and np.abs(times - even).max() <= JITTER * mean):
            raise source.file.refused("t", "frames must be equally spaced in time, the same for every track")
        rate = float(np.round(1 / mean, 6))
        source.file.notices.append(f"times are not quite even; taken as {rate:g} frames a second")
    if not RATES[0] <= rate <= RATES[1]:
        raise source.file.refused(
            "t", f"{rate:g} frames a second are not from {RATES[0]:g} to {RATES[1]:g}; check its unit"
        )
    return rate


def _require_seen(source: SourceTracks, world: World, cut: Cut, names: list[str]) -> None:
    never = ~np.any(world.shows(cut.points), axis=1)
    if never.any():
        row = int(never.argmax())
        where = ", ".join(f"{axis} {value:.4g}" for axis, value in zip("xyz", cut.points[row, 0], strict=True))
        how = f"set their unit ({SECTION}.unit), move them, or set the camera ({SECTION.removesuffix('own')}world)"
        raise UserError(
            f"{source.file.path}: {int(never.sum())} of {len(never)} tracks are never in the camera's view, the first "
            f"is track {names[row]} ({where} m at its first frame); the camera stands at the origin and looks along +z"
            f"{source.advice(how)}"
        )


def _require_before_camera(path: Path, world: World, points: Array, names: list[str]) -> None:
    behind = np.argwhere(points[..., 2] <= world.ball_radius)
    if len(behind):
        row, frame = behind[0]
        raise UserError(
            f"{path}: track {names[row]}, frame {frame}, column 'z': {points[row, frame, 2]:g} m; the "
            "camera stands at the origin and looks along +z, so that z is the distance from it"
        )
