"""The tables of tracks: where the ball is in every frame, and what was drawn.

Two tidy tables go together. `trajectories.parquet` has one row a frame (track_id, class, split, frame, t,
x, y, z); `track_params.parquet` has one row a track: what was drawn, and its id in the user's own file
(`source_id`) where that is another. The world they live in (camera, floor, ball) travels in the schema
metadata of both, so that later stages need no second source.
"""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kinetoken.core.artifacts import read_about, read_table, write_table
from kinetoken.core.errors import UserError
from kinetoken.core.params import build
from kinetoken.core.per_track import PerTrack, id_column, read_ids, read_names, read_numbers
from kinetoken.physics.laws import Array
from kinetoken.physics.world import World

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "val", "test", "ood")
TEXT_COLUMNS = ("source_id",)  # of track_params: what a track is called in the file that it came from


@dataclasses.dataclass
class Tracks(PerTrack):
    """N tracks of T frames in order of track_id.

    points (N, T, 3) m; label (N,) class names; split (N,) names; drawn: one row a track.
    """

    world: World
    track_id: np.ndarray
    label: np.ndarray
    split: np.ndarray
    points: Array
    drawn: "pd.DataFrame"

    def take(self, rows: np.ndarray) -> "Tracks":
        return Tracks(
            self.world, self.track_id[rows], self.label[rows], self.split[rows], self.points[rows],
            self.drawn.iloc[rows].reset_index(drop=True),
        )


def write_tracks(tracks: Tracks, trajectories: Path, track_params: Path) -> None:
    """Both Parquet tables, the world in their metadata. UserError for ids that they cannot hold; then neither."""
    import pyarrow as pa

    track_id = id_column(track_params, tracks.track_id)
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
        "track_id": track_id,
        "class": tracks.label.tolist(), "split": tracks.split.tolist(),
    }
    for name, values in tracks.drawn.items():
        kind = pa.string() if name in TEXT_COLUMNS else pa.float32()
        once[str(name)] = pa.array(values.to_numpy(), kind)
    write_table(track_params, pa.table(once).replace_schema_metadata(meta))


def read_tracks(trajectories: Path, track_params: Path) -> Tracks:
    """The two tables back; points to float32 precision. UserError for a file that is neither, or of other tracks."""
    import pyarrow as pa

    rows, once = read_table(trajectories), read_table(track_params)
    for path, table, needed in ((trajectories, rows, "frame"), (track_params, once, "ball_radius")):
        if needed not in table.column_names or b"world" not in (table.schema.metadata or {}):
            raise UserError(f"{path}: not a {path.stem} table of Kinetoken")
    world = build(World, read_about(trajectories, rows, "world"), f"{trajectories}: metadata 'world'")
    track_id = read_ids(track_params, once)
    found = read_ids(trajectories, rows)
    if len(found) != len(track_id) * world.num_frames or (found != np.repeat(track_id, world.num_frames)).any():
        raise UserError(f"{track_params}: not the tracks of {trajectories}; run the stage that made both again")
    # a candidate that has not appeared yet is nowhere
    points = np.stack([read_numbers(trajectories, rows, axis, missing=True) for axis in "xyz"], -1).astype(np.float64)
    label, split = (read_names(track_params, once, name) for name in ("class", "split"))
    drawn = once.drop_columns(["track_id", "class", "split"])
    for name, kind in zip(drawn.column_names, drawn.schema.types, strict=True):
        if name not in TEXT_COLUMNS and not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise UserError(f"{track_params}: column '{name}' holds {kind} values; expected one number a row")
    return Tracks(world, track_id, label, split, points.reshape(-1, world.num_frames, 3), drawn.to_pandas())
