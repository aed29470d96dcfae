"""The readings table: back bit for bit, the same bytes for the same content, and what is refused."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinetoken.core.artifacts import write_table
from kinetoken.core.errors import UserError
from kinetoken.physics.world import World
from kinetoken.readings.table import Readings, read_readings, require_finite, write_readings

WORLD = World(floor_y=-1.75, ball_radius=0.2, fps=15.0, num_frames=16)


def some(clips: int = 5, neighbours: int = 2, frames: int = 12) -> Readings:
    draw = np.random.default_rng(0)
    return Readings(
        "classifier", WORLD, ("a", "ß", "c"), (3 * np.arange(clips) + 1).astype(np.int32),
        draw.normal(size=(clips, 3)), draw.normal(size=(clips, 7)), draw.normal(size=(clips, frames, 3)),
        draw.normal(size=(clips, frames, 3, 3)), draw.choice(["a", "ß"], (clips, neighbours)),
    )


JUDGED = dataclasses.replace(
    some(), novelty_p=np.linspace(0.005, 1, 5), unlike_training=np.array([True, False, False, False, False])
)


@pytest.mark.parametrize("readings", [some(), some(1), some(neighbours=0), some(frames=1), JUDGED])
def test_what_was_written_comes_back_bit_for_bit(readings: Readings, tmp_path: Path) -> None:
    write_readings(tmp_path / "r.parquet", readings)
    back = read_readings(tmp_path / "r.parquet")
    for field in dataclasses.fields(Readings):
        before, after = getattr(readings, field.name), getattr(back, field.name)
        if isinstance(before, np.ndarray):
            assert after.shape == before.shape and after.tolist() == before.tolist(), field.name
            assert before.dtype.kind == after.dtype.kind and (after.dtype == before.dtype or after.dtype.kind == "U")
        else:
            assert after == before, field.name
    assert len(back) == len(readings)
    assert back.times.tolist() == [frame / 15.0 for frame in range(readings.points.shape[1])]
    write_readings(tmp_path / "again.parquet", back)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "r.parquet").read_bytes()


def test_where_arrays_lie_in_memory_changes_no_byte(tmp_path: Path) -> None:
    plain = some()
    turned = dataclasses.replace(plain, whitening=np.asfortranarray(plain.whitening), points=plain.points[::-1][::-1])
    for name, each in (("plain", plain), ("turned", turned)):
        write_readings(tmp_path / name, each)
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "turned").read_bytes()


def test_numbers_that_are_not_finite_are_named() -> None:
    points = some().points.copy()
    points[3, 1, 0] = np.inf
    with pytest.raises(UserError, match=r"^here: track 10: its points are not all finite; do it again$"):
        require_finite(dataclasses.replace(some(), points=points), "here", "do it again")


def changed(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def with_meta(table: pa.Table, **changes: object) -> pa.Table:
    about = json.loads(table.schema.metadata[b"readings"]) | changes
    return table.replace_schema_metadata({"readings": json.dumps(about)})


@pytest.mark.parametrize(("change", "message"), [
    (lambda t: t.replace_schema_metadata({}), "not a readings table"),
    (lambda t: t.drop_columns(["embedding"]), "not a readings table"),
    (lambda t: changed(t, "points", pa.array([[0.0]] * 5)), "'points' is list<.*>, expected fixed-size lists of float"),
    (lambda t: changed(t, "points", t["points"].cast(pa.list_(pa.float32(), 36))), "'points' is fixed_size_list<.*>"),
    (lambda t: changed(t, "points", t["embedding"]), "'points' does not fit 2 frames"),
    (lambda t: changed(t, "whitening", t["points"]), "'whitening' does not fit 12 frames"),
    (lambda t: with_meta(t, classes=["a"]), "'log_probabilities' does not fit 12 frames, 1 classes"),
    (lambda t: with_meta(t, world=dataclasses.asdict(WORLD) | {"num_frames": 8}), "does not fit 12 frames"),
    (lambda t: changed(t, "neighbours", pa.array([["a"]] * 4 + [[]])), "'neighbours' has rows of unequal length"),
    (lambda t: pa.concat_tables([t, t]), "ascending order of track_id"),
    (lambda t: t.slice(0, 0), "expected clips"),
    (lambda t: changed(t, "embedding", pa.FixedSizeListArray.from_arrays(pa.array([np.nan] * 35), 7)),
     "track 1: its embedding are not all finite"),
])
def test_tables_that_do_not_fit_are_refused(
    change: Callable[[pa.Table], pa.Table], message: str, tmp_path: Path
) -> None:
    write_readings(tmp_path / "r.parquet", some())
    write_table(tmp_path / "bad.parquet", change(pq.read_table(tmp_path / "r.parquet")))
    with pytest.raises(UserError, match=f"bad.parquet: .*{message}.*; run read_motion again"):
        read_readings(tmp_path / "bad.parquet")
