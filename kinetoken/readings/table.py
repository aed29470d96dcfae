"""The readings table: what models read of the first frames of clips, one row a clip.

Columns track_id, log_probabilities, embedding, points, whitening (fixed-size lists of float64, row-major) and
neighbours (list of strings), and novelty_p and unlike_training where the classifier has a novelty score; the schema
metadata holds one JSON value: source, classes, and the world that the clips were seen in, from which the frames' times
follow. Neither the true class nor any later frame is in it.
"""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.artifacts import read_about, read_table, write_table
from kinetoken.core.errors import UserError
from kinetoken.core.params import build
from kinetoken.core.per_track import plain_column, read_ids, read_numbers
from kinetoken.physics.laws import Array
from kinetoken.physics.world import World

if TYPE_CHECKING:
    import pyarrow as pa

NUMBERS = ("log_probabilities", "embedding", "points", "whitening")
NOVELTY = ("novelty_p", "unlike_training")
AGAIN = "run read_motion again"


@dataclasses.dataclass(frozen=True)
class Readings:
    """What was read of the first K frames of N clips, in ascending order of track_id.

    log_probabilities (N, C) of `classes` (C,); embedding (N, D), where clips of like motion lie close together; points
    (N, K, 3) m with their whitening (N, K, 3, 3) as in `physics.fitting`; neighbours (N, k) classes of the most similar
    training clips, nearest first, k = 0 where none were asked for; novelty_p (N,), the share of val clips at least as
    strange, and unlike_training (N,) bool, None where the model has no novelty score.
    """

    source: str  # the model that read, see `params.ReadMotion`
    world: World
    classes: tuple[str, ...]
    track_id: NDArray[np.int32]
    log_probabilities: Array
    embedding: Array
    points: Array
    whitening: Array
    neighbours: NDArray[np.str_]
    novelty_p: Array | None = None
    unlike_training: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.track_id)

    @property
    def times(self) -> Array:
        """(K,) s of the frames that were read."""
        return self.world.times[: self.points.shape[1]]


def write_readings(path: Path, readings: Readings) -> None:
    """One Parquet table, its bytes by its content alone."""
    import pyarrow as pa

    columns: dict[str, object] = {"track_id": pa.array(readings.track_id, pa.int32())}
    for name in NUMBERS:
        flat = np.asarray(getattr(readings, name), np.float64).reshape(len(readings), -1)
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    columns["neighbours"] = pa.array(readings.neighbours.tolist(), pa.list_(pa.string()))
    for name in NOVELTY:
        if (values := getattr(readings, name)) is not None:
            columns[name] = pa.array(values)
    about = {"source": readings.source, "classes": readings.classes, "world": dataclasses.asdict(readings.world)}
    table = pa.table(columns).replace_schema_metadata({"readings": json.dumps(about, sort_keys=True)})
    write_table(path, table)


@dataclasses.dataclass(frozen=True)
class _About:
    """What the table's metadata hold."""

    source: str
    classes: tuple[str, ...]
    world: World


def read_readings(path: Path) -> Readings:
    """The table back, bit for bit; UserError if it is damaged, is no readings table, or its parts do not fit."""
    table = read_table(path)
    missing = {"track_id", *NUMBERS, "neighbours"} - set(table.column_names)
    if b"readings" not in (table.schema.metadata or {}) or missing:
        raise UserError(f"{path}: not a readings table of Kinetoken (no 'readings' metadata or columns); {AGAIN}")
    about = build(_About, read_about(path, table, "readings"), f"{path}: metadata 'readings'")
    world, classes = about.world, about.classes
    numbers = {name: _numbers(path, table, name) for name in NUMBERS}
    count, frames = len(table), numbers["points"].shape[1] // 3
    for name, shape in (
        ("log_probabilities", (len(classes),)), ("points", (frames, 3)), ("whitening", (frames, 3, 3)),
    ):
        if numbers[name].shape[1] != np.prod(shape) or not 0 < frames <= world.num_frames:
            raise UserError(f"{path}: column '{name}' does not fit {frames} frames, {len(classes)} classes; {AGAIN}")
        numbers[name] = numbers[name].reshape(count, *shape)
    track_id = read_ids(path, table)
    parts: dict[str, Any] = {**numbers, "neighbours": _neighbours(path, table), **_novelty(path, table)}
    readings = Readings(about.source, world, classes, track_id, **parts)
    if count == 0 or (np.diff(track_id) <= 0).any():
        raise UserError(f"{path}: expected clips in ascending order of track_id, each once; {AGAIN}")
    require_finite(readings, path, AGAIN)
    return readings


def _numbers(path: Path, table: "pa.Table", name: str) -> Array:
    """(N, width) of a column of fixed-size lists."""
    import pyarrow as pa

    column = table[name].combine_chunks()
    if not pa.types.is_fixed_size_list(column.type) or column.type.value_type != pa.float64() or column.null_count:
        raise UserError(f"{path}: column '{name}' is {column.type}, expected fixed-size lists of float64; {AGAIN}")
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), column.type.list_size))


def _neighbours(path: Path, table: "pa.Table") -> NDArray[np.str_]:
    """(N, k) class names; k is the same in every row."""
    import pyarrow as pa

    kind = table["neighbours"].type
    if not pa.types.is_list(kind) or not (pa.types.is_string(kind.value_type) or pa.types.is_null(kind.value_type)):
        raise UserError(f"{path}: column 'neighbours' is {kind}, expected lists of text; {AGAIN}")
    rows = table["neighbours"].to_pylist()
    if any(row is None or None in row for row in rows):
        raise UserError(f"{path}: column 'neighbours' has missing values; {AGAIN}")
    if len({len(row) for row in rows}) > 1:
        raise UserError(f"{path}: column 'neighbours' has rows of unequal length; {AGAIN}")
    return np.array(rows, np.str_)


def _novelty(path: Path, table: "pa.Table") -> dict[str, NDArray[Any]]:
    """The columns of a novelty score, where they are there."""
    found: dict[str, NDArray[Any]] = {}
    if "novelty_p" in table.column_names:
        found["novelty_p"] = read_numbers(path, table, "novelty_p")
    if "unlike_training" in table.column_names:
        found["unlike_training"] = plain_column(path, table, "unlike_training")
        if found["unlike_training"].dtype != np.bool_:
            raise UserError(f"{path}: column 'unlike_training' is no column of true and false; {AGAIN}")
    return found


def require_finite(readings: Readings, source: object, cure: str) -> None:
    """UserError with the source, the first track that has a number which is not finite, and the cure."""
    for name in NUMBERS:
        finite = np.isfinite(getattr(readings, name)).reshape(len(readings), -1).all(1)
        if not finite.all():
            track = int(readings.track_id[int(np.argmin(finite))])
            raise UserError(f"{source}: track {track}: its {name} are not all finite; {cure}")
