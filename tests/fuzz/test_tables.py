"""Codes, tracks, clips and readings: any bytes, metadata and columns end in a result or in a sentence."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.codes import CodesMeta, CodesTable, read_codes, write_codes
from kinetoken.physics.world import World
from kinetoken.readings.table import Readings, read_readings, write_readings
from kinetoken.scenes.clips import Clips, ClipStore, write_shard
from kinetoken.scenes.own_tracks import read_unsplit_tracks
from kinetoken.scenes.rendering import Look, Scene
from kinetoken.scenes.tracks import Tracks, read_tracks, write_tracks
from tests.fuzz.mutations import changed, damaged, quick, reads

COUNT, FRAMES = 6, 8
WORLD = World(floor_y=-1.0, ball_radius=0.2, fps=16.0, num_frames=FRAMES)
IDS, LABEL, SPLIT = np.arange(COUNT, dtype=np.int32), np.array(["a", "b"] * 3), np.array(["train", "test"] * 3)


def write_all(folder: Path) -> None:
    rng = np.random.default_rng(0)
    meta = CodesMeta(grid=(2, 3, 3), codebook_size=50, quantizer="fsq", levels=(5, 10), tokenizer="ab" * 32)
    codes = rng.integers(0, 50, (COUNT, *meta.grid)).astype(np.int32)
    write_codes(folder / "codes.parquet", meta, [CodesTable(IDS, LABEL, SPLIT, codes, meta)])
    points = rng.normal(0, 0.1, (COUNT, FRAMES, 3)) + (0, 0, 3)
    drawn = pd.DataFrame({"ball_radius": np.full(COUNT, 0.2), "speed": np.ones(COUNT)})
    write_tracks(Tracks(WORLD, IDS, LABEL, SPLIT, points, drawn), folder / "rows.parquet", folder / "once.parquet")
    pixels = rng.integers(0, 255, (COUNT, FRAMES, 16, 16, 3)).astype(np.uint8)
    scene = Scene(WORLD, Look(image_size=16, shadow=0.0))
    write_shard(folder / "part-00000.parquet", Clips(IDS, LABEL, SPLIT, pixels, 16.0), scene)
    numbers = {
        "log_probabilities": np.log(np.full((COUNT, 2), 0.5)), "embedding": np.eye(COUNT), "points": points[:, :4],
        "whitening": np.broadcast_to(np.eye(3), (COUNT, 4, 3, 3)),
    }
    readings = Readings(
        "classifier", WORLD, ("a", "b"), IDS, **numbers, neighbours=np.array([["a", "b"]] * COUNT),
        novelty_p=np.full(COUNT, 0.5), unlike_training=np.zeros(COUNT, bool),
    )
    write_readings(folder / "readings.parquet", readings)
    text = "".join(f"{i},{f},{x:.3f},{y:.3f},{z:.3f}\n" for i in range(COUNT) for f, (x, y, z) in enumerate(points[i]))
    (folder / "own.csv").write_text("track_id,frame,x,y,z\n" + text)
    own = {"track_id": np.repeat(IDS, FRAMES), "frame": np.tile(np.arange(FRAMES), COUNT),
           "class": np.repeat(LABEL, FRAMES), **{axis: points[..., i].ravel() for i, axis in enumerate("xyz")}}
    pq.write_table(pa.table(own), folder / "own.parquet")


def use(table: Any) -> None:
    """What every later stage does first with a table."""
    assert (table.target >= 0).all() and len(table.of_split("train")) <= len(table)


def use_clips(folder: Path) -> None:
    store = ClipStore(folder)
    assert store.target.min() >= 0 and store.read("train").pixels.dtype == np.uint8 and list(store.stream())


READERS: dict[str, Callable[[Path], object]] = {
    "codes.parquet": lambda folder: use(read_codes(folder / "codes.parquet")),
    "rows.parquet": lambda folder: read_tracks(folder / "rows.parquet", folder / "once.parquet").target,
    "once.parquet": lambda folder: read_tracks(folder / "rows.parquet", folder / "once.parquet").target,
    "part-00000.parquet": use_clips,
    "readings.parquet": lambda folder: read_readings(folder / "readings.parquet").times,
    "own.csv": lambda folder: read_unsplit_tracks(folder / "own.csv", WORLD, 1),
    "own.parquet": lambda folder: read_unsplit_tracks(folder / "own.parquet", WORLD, 1),
}
KEYS = {  # of the metadata that a table has
    "codes.parquet": "codes", "rows.parquet": "world", "part-00000.parquet": "scene", "readings.parquet": "readings",
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    write_all(folder)
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    for file in sound.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.mark.parametrize("name", READERS)
def test_sound_files_are_read(name: str, folder: Path) -> None:
    assert reads(lambda: READERS[name](folder)) is None


@pytest.mark.parametrize("name", READERS)
@quick
@given(data=st.data())
def test_any_bytes(name: str, folder: Path, sound: Path, data: st.DataObject) -> None:
    (folder / name).write_bytes(data.draw(damaged((sound / name).read_bytes())))
    reads(lambda: READERS[name](folder))


@pytest.mark.parametrize("name", KEYS)
@quick
@given(data=st.data())
def test_any_metadata(name: str, folder: Path, sound: Path, data: st.DataObject) -> None:
    table, key = pq.read_table(sound / name), KEYS[name]
    found = json.loads(table.schema.metadata[key.encode()])
    content = json.dumps(data.draw(changed(found))).encode()
    if data.draw(st.integers(0, 3)) == 0:
        content = data.draw(damaged(content) | st.just(b"[" * 100_000))
    pq.write_table(table.replace_schema_metadata({key: content}), folder / name)
    reads(lambda: READERS[name](folder))


def columns(rows: int) -> list[pa.Array]:
    """A column of every kind, `rows` long."""
    day = pa.array([0] * rows).cast(pa.timestamp("s"))
    wide = pa.FixedSizeListArray.from_arrays(pa.nulls(18 * rows, pa.int32()), 18)
    return [
        pa.nulls(rows), pa.array([None] * rows, pa.string()), pa.array([[1]] * rows), pa.array([{"a": 1}] * rows), day,
        pa.array([2**62] * rows), pa.array([-1] * rows), pa.array([1e30] * rows), pa.array([float("nan")] * rows),
        pa.array(["\x1b[2J\u202e"] * rows), pa.array([b"\xff"] * rows), pa.array([True] * rows), wide,
        pa.array(["1"] * rows).dictionary_encode(), pa.array([1] * rows).cast(pa.decimal128(25, 3)),
        pa.array([2**64 - 1] * rows, pa.uint64()), pa.array(["9" * 5000] * rows), pa.array([[]] * rows),
        pa.array([None, 1] * (rows // 2)), pa.array([0] * rows).cast(pa.duration("ns")), pa.array([0] * rows),
    ]


@pytest.mark.parametrize("name", [name for name in READERS if name.endswith(".parquet")])
@quick
@given(data=st.data())
def test_any_columns(name: str, folder: Path, sound: Path, data: st.DataObject) -> None:
    table = pq.read_table(sound / name)
    column = data.draw(st.sampled_from(table.column_names))
    place = table.column_names.index(column)
    if data.draw(st.integers(0, 5)) == 0:
        table = data.draw(st.sampled_from((table.drop_columns([column]), table.slice(0, 0), table.slice(1))))
    else:
        table = table.set_column(place, column, data.draw(st.sampled_from(columns(len(table)))))
    pq.write_table(table, folder / name)
    reads(lambda: READERS[name](folder))


def test_ids_that_int32_would_wrap_are_other_tracks_nowhere(folder: Path, sound: Path) -> None:
    """2^32 + 1 is no track 1: refused by the project's own tables, numbered anew in a user's file."""
    for name in ("codes.parquet", "once.parquet", "rows.parquet", "part-00000.parquet", "readings.parquet"):
        table = pq.read_table(sound / name)
        ids = pa.array(table["track_id"].to_numpy().astype(np.int64) + 2**32)
        pq.write_table(table.set_column(table.column_names.index("track_id"), "track_id", ids), folder / name)
        assert "track_id" in str(reads(lambda name=name: READERS[name](folder)))
        (folder / name).write_bytes((sound / name).read_bytes())


def test_metadata_that_are_sound_stay_what_they_were(sound: Path) -> None:
    tracks = read_tracks(sound / "rows.parquet", sound / "once.parquet")
    assert tracks.world == WORLD and dataclasses.asdict(ClipStore(sound).scene.world) == dataclasses.asdict(WORLD)
