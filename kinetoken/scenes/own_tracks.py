"""The user's own tracks, from a CSV or Parquet file, checked to the row."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kinetoken.core.artifacts import read_table
from kinetoken.core.errors import UserError
from kinetoken.core.per_track import track_ids
from kinetoken.physics.laws import Array
from kinetoken.physics.world import World
from kinetoken.scenes.motion import Trajectories, draw_look, drawn_columns
from kinetoken.scenes.tracks import SPLITS, Tracks

if TYPE_CHECKING:
    import pandas as pd

TRACK_COLUMNS = ("track_id", "frame", "x", "y", "z")
UNLABELLED, UNSPLIT = "unlabelled", "none"  # the class and the split of tracks that have none


def read_own_tracks(path: Path, params: Trajectories) -> Tracks:
    """Tracks from a CSV or Parquet file with track_id, frame, x, y, z and optionally class, split, t.

    Raises UserError naming the track, the frame and the column of the first fault. All tracks must have
    the same frames 0 … T−1, in order. Without `class` every track is "unlabelled"; without `split`, the
    splits are drawn by class in the proportions of `counts` (train, val and test).
    """
    frame, num_frames = _read_checked(path)
    label = _constant_column(path, frame, "class", UNLABELLED, num_frames)
    if "class" in frame and len(set(label)) < 2:
        raise UserError(f"{path}: column 'class': all tracks are '{label[0]}'; at least two classes are needed")
    split = _constant_column(path, frame, "split", "", num_frames)
    split = split if "split" in frame else _draw_splits(label, params)
    if unknown := sorted(set(split) - set(SPLITS)):
        raise UserError(f"{path}: column 'split': '{unknown[0]}' is none of {', '.join(SPLITS)}")
    if missing := [name for name in SPLITS[:3] if name not in set(split)]:
        raise UserError(f"{path}: split '{missing[0]}' is empty")
    return _tracks(path, frame, num_frames, label, split, params.world, params.seed)


def read_unsplit_tracks(path: Path, world: World, seed: int) -> Tracks:
    """Tracks to which trained models are applied: as `read_own_tracks`, but any number of them, of any class or none.

    `world` is what they are seen in, with the file's own frames and rate; colour and light are drawn from `seed` as
    for a dataset. Without `class` a track is UNLABELLED, without `split` it is UNSPLIT. UserError as above.
    """
    frame, num_frames = _read_checked(path)
    label = _constant_column(path, frame, "class", UNLABELLED, num_frames)
    split = _constant_column(path, frame, "split", UNSPLIT, num_frames)
    return _tracks(path, frame, num_frames, label, split, world, seed)


def _read_checked(path: Path) -> tuple["pd.DataFrame", int]:
    """The file's rows, checked, and the frames of each track."""
    frame = _checked_columns(path, _read_frame(path))
    return frame, _check_rows(path, frame)


def _tracks(
    path: Path, frame: "pd.DataFrame", num_frames: int, label: np.ndarray, split: np.ndarray, world: World, seed: int
) -> Tracks:
    ids = frame["track_id"].to_numpy()[::num_frames]
    points = frame[["x", "y", "z"]].to_numpy(np.float64).reshape(-1, num_frames, 3)
    fps = _frame_rate(path, frame, num_frames, world.fps)
    world = dataclasses.replace(world, num_frames=num_frames, fps=fps)
    drawn = _own_columns(world, points, [np.random.default_rng([seed, len(SPLITS), int(i)]) for i in ids])
    return Tracks(world, ids, label, split, points, drawn)


def _own_columns(world: World, points: Array, rngs: list[np.random.Generator]) -> "pd.DataFrame":
    import pandas as pd

    steps = np.linalg.norm(np.diff(points, axis=1), axis=-1)
    look = np.stack([draw_look(rng) for rng in rngs])
    return pd.DataFrame(drawn_columns(world, points[:, 0], steps.mean(1) * world.fps, {}, look))


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


def _checked_columns(path: Path, frame: "pd.DataFrame") -> "pd.DataFrame":
    """The table with ids as int32; UserError for columns, rows or values that are missing or no such numbers."""
    import pandas as pd

    if missing := [name for name in TRACK_COLUMNS if name not in frame]:
        raise UserError(f"{path}: column '{missing[0]}' is missing; needed are {', '.join(TRACK_COLUMNS)}")
    if len(frame) == 0:
        raise UserError(f"{path}: no rows")
    ids = track_ids(frame["track_id"].to_numpy(), lambda row: f"{path}: {_place(frame, row)}")
    numeric = [name for name in (*TRACK_COLUMNS[1:], "t") if name in frame]
    for name in numeric:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            row = int(pd.to_numeric(frame[name], errors="coerce").isna().argmax())  # 0 where all are numbers as text
            raise UserError(f"{path}: {_place(frame, row)}, column '{name}': {frame[name].iloc[row]!r} is no number")
    finite = np.isfinite(frame[numeric].to_numpy(np.float64))
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise UserError(f"{path}: {_place(frame, row)}, column '{numeric[column]}': missing or not finite")
    values = frame["frame"].to_numpy(np.float64)
    if (fractional := np.flatnonzero(values != np.floor(values))).size:
        raise UserError(f"{path}: {_place(frame, fractional[0])}, column 'frame': must be whole")
    return frame.assign(track_id=ids)


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
