"""The user's own tracks are read as people have them, and checked to the row."""

import dataclasses
import datetime
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinetoken.core.errors import UserError
from kinetoken.core.params import build
from kinetoken.physics.laws import CLASSES
from kinetoken.scenes.intake import TrackFileParams
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.own_tracks import UNLABELLED, UNSPLIT, draw_splits, read_own_tracks, read_unsplit_tracks
from kinetoken.scenes.tracks import Tracks, read_tracks, write_tracks

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture(scope="module")
def tracks(trajectory_params: Trajectories) -> Tracks:
    return draw_tracks(trajectory_params)


def own(tracks: Tracks, count: int = 60) -> pd.DataFrame:
    frames = tracks.points.shape[1]
    rows = {"track_id": np.repeat(np.arange(count), frames), "frame": np.tile(np.arange(frames), count)}
    points = {axis: tracks.points[:count, :, i].ravel() for i, axis in enumerate("xyz")}
    return pd.DataFrame({**rows, **points, "class": np.repeat(tracks.label[:count], frames)})


def few(tracks: Tracks, change: Change | None = None, count: int = 6) -> pd.DataFrame:
    """Some tracks whose file says what is train, val and test, so that they may be few."""
    table = own(tracks, count)
    table = table.assign(split=np.array(["train", "val", "test"])[table["track_id"] % 3])
    return change(table) if change else table


def read(
    path: Path, params: Trajectories, table: pd.DataFrame | None = None, csv: dict[str, Any] | None = None, **own: Any
) -> tuple[Tracks, str]:
    """The tracks of a table written to the path, and all that was said of it."""
    if table is not None:
        table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False, **(csv or {}))
    said = list[str]()
    read = read_own_tracks(path, dataclasses.replace(params, own=TrackFileParams(**own)), said.append)
    assert all(each.startswith(f"{path}: ") for each in said)
    return read, "\n".join(said)


def same(read: Tracks, tracks: Tracks, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(read.points, tracks.points[: len(read)], rtol=rtol, atol=1e-14)
    assert read.label.tolist() == tracks.label[: len(read)].tolist()


def test_own_tracks_are_read_and_split_by_class(
    tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path
) -> None:
    found, said = read(tmp_path / "tracks.csv", trajectory_params, own(tracks))
    same(found, tracks)
    for name in CLASSES:
        assert set(found.split[found.label == name]) == {"train", "val", "test"}
    assert found.drawn["colour_r"].between(0, 1).all()
    assert said == "" and "source_id" not in found.drawn


def renumbered(old: int, new: object) -> Change:
    """One track gets another id."""
    return lambda f: f.assign(track_id=f["track_id"].astype(object).where(f["track_id"] != old, new))


# ---- ids


@pytest.mark.parametrize("spelled", [int, str, float])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_ids_up_to_the_largest_that_the_tables_hold_are_kept(
    tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path, spelled: type, suffix: str
) -> None:
    table = few(tracks, renumbered(5, 2**31 - 1))
    table["track_id"] = table["track_id"].astype(int).astype(spelled)
    found, said = read(tmp_path / f"tracks{suffix}", trajectory_params, table)
    assert found.track_id.tolist() == [0, 1, 2, 3, 4, 2**31 - 1] and found.track_id.dtype == np.int32
    same(found, tracks)
    assert said == "" and "source_id" not in found.drawn


IDS = {
    "text": list("bafdec"), "below 0": [-5, 0, 1, 2, 3, 4], "beyond int32": [0, 1, 2, 3, 4, 2**31],
    "wrapping to 3": [0, 1, 2, 3, 4, 2**32 + 3], "beyond int64": [2**63, 1, 2, 3, 4, 5],
    "not as numbers are": ["007", "7", "8", "9", "10", "11"], "some text": ["0", "1", "left_hand", "3", "4", "5"],
    "with spaces inside": ["a 1", "a 2", "a 3", "b", "c", "é"],
}


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_other_ids_are_numbered_as_they_first_appear(
    tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path, ids: str, suffix: str
) -> None:
    values = IDS[ids]
    table = few(tracks, lambda f: f.assign(track_id=[values[i] for i in f["track_id"]]))
    found, said = read(tmp_path / f"tracks{suffix}", trajectory_params, table)
    assert found.track_id.tolist() == [*range(6)] and found.track_id.dtype == np.int32
    assert found.drawn["source_id"].tolist() == [str(each) for each in values]
    same(found, tracks)
    assert "6 track ids" in said and "numbered from 0 to 5 as they first appear" in said
    write_tracks(found, tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert str(pq.read_schema(tmp_path / "b.parquet").field("source_id").type) == "string"
    back = read_tracks(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert back.drawn["source_id"].tolist() == found.drawn["source_id"].tolist()


def test_whole_numbers_keep_their_ids_in_any_order_of_rows(
    tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path
) -> None:
    table = few(tracks).sample(frac=1, random_state=3)
    found, said = read(tmp_path / "tracks.csv", trajectory_params, table)
    same(found, tracks)
    assert found.track_id.tolist() == [*range(6)] and said.endswith("rows sorted by track and frame")


# ---- faults


def one(column: str, value: object, row: int = 20) -> Change:
    """One value replaced."""
    return lambda f: f.assign(**{column: f[column].astype(object).where(f.index != row, value)})


FAULTS = {
    "missing column": (lambda f: f.drop(columns="z"), "column 'z' is missing"),
    "nan": (one("x", None), r"track 1, frame 4 \(row 21\), column 'x': missing or not finite"),
    "inf": (one("x", "-inf"), r"track 1, frame 4 \(row 21\), column 'x': missing or not finite \(-inf\)"),
    "text": (one("y", "high", 3), r"frame 3 .*'y': 'high' is no number"),
    "beyond belief": (one("y", 1e30), r"track 1, frame 4 \(row 21\), column 'y': 1e\+30 m is beyond 100000 m"),
    "two commas": (one("y", "1,2,3", 3), r"with commas \('1,2,3' in column 'y'\) and with points"),
    "ragged": (lambda f: f.drop(index=[47]), r"track 2 has 15 frames, the first has 16; cut .*own\.window"),
    "gap": (lambda f: f.drop(index=[18]), r"track 1: frame 2 is missing, after row 18; .*own\.gaps: interpolate"),
    "long gap": (lambda f: f.drop(index=[18, 19]), "track 1: 2 frames from 2 on are missing"),
    "duplicate frame": (
        lambda f: f.assign(track_id=f["track_id"].replace(5, 0)),
        r"track 0, frame 0 \(row 81\): this frame is there already, in row 1$",
    ),
    "mixed class": (one("class", "x", 5), r"track 0, frame 5 \(row 6\), column 'class': differs within the track"),
    "empty class": (one("class", " ", 5), r"track 0, frame 5 \(row 6\), column 'class': missing"),
    "long class": (one("class", "x" * 101, 5), "has 101 characters; 100 are the most"),
    "class of two lines": (one("class", "a\nb", 5), r"control character \(U\+000A\)"),
    "bell": (one("class", "a\x07b", 5), r"control character \(U\+0007\)"),
    "unknown split": (lambda f: f.assign(split="dev"), "'dev' is none of train, val, test, ood"),
    "empty split": (lambda f: f.assign(split="train"), "split 'val' is empty"),
    "fractional frame": (lambda f: f.assign(frame=f["frame"] + 0.5), "column 'frame': must be whole"),
    "huge frame": (one("frame", 1e18), "column 'frame': is too large"),
    "uneven time": (lambda f: f.assign(t=f["frame"] ** 2), "equally spaced"),
    "backwards": (lambda f: f.assign(t=-f["frame"]), "equally spaced"),
    "glacial": (lambda f: f.assign(t=f["frame"] * 1e5), r"1e-05 frames a second are not from 0\.001"),
    "no id": (renumbered(5, None), r"\(row 81\), column 'track_id': missing"),
    "fractional id": (renumbered(5, 4.5), r"\(row 81\), column 'track_id': 4.5 is no track id: a fraction"),
    "inexact id": (renumbered(5, "1e300"), "1e300 is no track id: too large"),
    "no rows": (lambda f: f.iloc[:0], "no rows"),
    "15 frames": (lambda f: f[f["frame"] < 15], r"track 0 has 15 frames, as all have; 4 frames .*own\.window: 12"),
    "3 frames": (lambda f: f[f["frame"] < 3], "track 0 has 3 frames.*multiple of 4$"),
    "one frame": (lambda f: f[f["frame"] < 1], "track 0 has one frame"),
    "two of a name": (lambda f: f.rename(columns={"class": "X"}), "columns 'x' and 'X' could each be x"),
    "two synonyms": (
        lambda f: f.rename(columns={"track_id": "id"}).assign(particle=1), "'id' and 'particle' could each be track_id"
    ),
    "millimetres": (
        lambda f: f.assign(x=f["x"] * 1000, y=f["y"] * 1000, z=f["z"] * 1000),
        r"6 of 6 tracks are never in the camera's view, the first is track 0 .*own\.unit.*world",
    ),
    "behind": (
        lambda f: f.assign(z=f["z"].where(f["track_id"] != 4, -2)), "1 of 6 tracks are never .* the first is track 4"
    ),
    "once behind": (one("z", -1), r"track 1, frame 4, column 'z': -1 m; the camera stands at the origin"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_own_tracks_are_named(
    fault: str, tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path
) -> None:
    break_it, message = FAULTS[fault]
    path = tmp_path / "tracks.csv"
    with pytest.raises(UserError, match=message) as caught:
        read(path, trajectory_params, few(tracks, break_it))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


# ---- order, frames, lengths


SEEN = {
    "interleaved": (lambda f: f.sort_values(["frame", "track_id"]), "rows sorted by track and frame"),
    "from 1": (lambda f: f.assign(frame=f["frame"] + 1), "in track 0 they begin at 1"),
    "each from its own": (
        lambda f: f.assign(frame=f["frame"] + 10 * f["track_id"]), "in track 1 they begin at 10"
    ),
    "every second": (lambda f: f.assign(frame=2 * f["frame"] + 2), "frame numbers go up in steps of 2"),
    "ids last": (lambda f: f.iloc[::-1], "rows sorted"),
    "other names": (
        lambda f: f.rename(columns={"track_id": "Particle", "x": "X", "class": "Label"}),
        "columns read by other names: 'Particle' as track_id, 'X' as x, 'Label' as class",
    ),
    "case before synonym": (
        lambda f: f.rename(columns={"track_id": "Track ID"}).assign(id=7), "'Track ID' as track_id.*\n.*ignored: 'id'"
    ),
    "more columns": (lambda f: f.assign(speed=1.0, note="a,b"), "columns ignored: 'speed', 'note'"),
    "frames as floats": (lambda f: f.assign(frame=f["frame"].astype(float)), "^$"),
    "names with spaces": (lambda f: f.rename(columns=" {} ".format), "^$"),
    "padded classes": (lambda f: f.assign(**{"class": " " + f["class"] + " "}), "^$"),
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("kind", SEEN)
def test_what_is_read_otherwise_is_said(
    kind: str, suffix: str, tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path
) -> None:
    change, message = SEEN[kind]
    if suffix == ".parquet" and kind == "names with spaces":
        message = "by other names"
    found, said = read(tmp_path / f"tracks{suffix}", trajectory_params, few(tracks, change))
    same(found, tracks)
    assert pd.Series([said]).str.contains(message, regex=True).all(), said


def test_a_step_of_frames_is_a_rate_unless_times_say_another(
    tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path
) -> None:
    table = few(tracks).assign(frame=lambda f: 2 * f["frame"])
    found, said = read(tmp_path / "tracks.csv", trajectory_params, table)
    assert found.world.fps == 8 and "16 frame numbers a second make 8 frames a second" in said
    found, said = read(tmp_path / "tracks.csv", trajectory_params, table.assign(t=table["frame"] / 20))
    assert found.world.fps == 10 and "a second" not in said


def test_gaps_are_filled_on_a_line_if_asked(tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path) -> None:
    table = few(tracks).assign(t=lambda f: f["frame"] / 16)
    holed = table.drop(index=[18, 19, 40])
    found, said = read(tmp_path / "tracks.csv", trajectory_params, holed, gaps="interpolate")
    assert "filled on the line between their neighbours: 3, in 2 of 6 tracks" in said and found.world.fps == 16
    expected = tracks.points[:6].copy()
    expected[1, 2:4] = expected[1, 1] + (expected[1, 4] - expected[1, 1]) * np.array([[1], [2]]) / 3
    expected[2, 8] = (expected[2, 7] + expected[2, 9]) / 2
    np.testing.assert_allclose(found.points, expected, atol=1e-12)
    with pytest.raises(UserError, match=r"track 1: 2 frames from 2 on are missing.*longest_gap \(1\)"):
        read(tmp_path / "tracks.csv", trajectory_params, holed, gaps="interpolate", longest_gap=1)


def test_windows_of_a_track_share_its_split(tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path) -> None:
    table = own(tracks).drop(index=range(17, 32)).drop(index=range(40, 48))  # track 1 has one frame, track 2 has eight
    found, said = read(tmp_path / "tracks.csv", trajectory_params, table.drop(columns="class"), window=4)
    assert "60 tracks cut into 234 windows of 4 frames; tracks dropped as too short for one: 1; windows are" in said
    assert found.track_id.tolist() == [*range(234)] and found.points.shape == (234, 4, 3)
    source = found.drawn["source_id"].astype(int).to_numpy()
    assert (np.bincount(source)[:4] == [4, 0, 2, 4]).all()
    np.testing.assert_allclose(found.points[source == 3].reshape(16, 3), tracks.points[3], rtol=1e-12)
    assert all(len(set(found.split[source == i])) == 1 for i in np.unique(source))
    assert set(found.split) == {"train", "val", "test"} and found.world.num_frames == 4
    found, said = read(tmp_path / "tracks.csv", trajectory_params, own(tracks), window=12)
    assert "60 tracks cut into 60 windows of 12 frames; frames left over and dropped: 240" in said
    assert found.track_id.tolist() == [*range(60)] and "source_id" not in found.drawn
    with pytest.raises(UserError, match="no track has 20 frames, as many as .*window; the longest, 0, has 16"):
        read(tmp_path / "tracks.csv", trajectory_params, own(tracks), window=20)


# ---- units and times


@pytest.mark.parametrize(("unit", "per"), [("m", 1), ("cm", 100), ("mm", 1000)])
def test_units_of_length(
    unit: str, per: int, tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path
) -> None:
    table = few(tracks, lambda f: f.assign(**{axis: f[axis] * per for axis in "xyz"}))
    found, said = read(tmp_path / "tracks.csv", trajectory_params, table, unit=unit)
    same(found, tracks)
    assert said == ("" if unit == "m" else f"{tmp_path / 'tracks.csv'}: x, y, z read as {unit}")


def test_whole_milliseconds_are_even_enough(tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path) -> None:
    table = few(tracks, lambda f: f.assign(t=1764500000000 + (f["frame"] * 1000 / 30).round().astype(int)))
    found, said = read(tmp_path / "tracks.csv", trajectory_params, table, time_unit="ms")
    assert found.world.fps == 30 and "not quite even; taken as 30 frames a second" in said and "t read as ms" in said
    when = [datetime.datetime(2026, 1, 2) + datetime.timedelta(seconds=i / 20) for i in table["frame"]]
    found, said = read(tmp_path / "a.parquet", trajectory_params, table.assign(t=when), time_unit="ms")
    assert found.world.fps == 20 and "dates, read as seconds" in said and "read as ms" not in said


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"unit": "px"}, "own: unit: px is refused, as tracks in pixels have no depth"),
        ({"unit": "ft"}, "own.unit: must be one of m, cm, mm, px, is 'ft'"),
        ({"window": 15}, "own: window: 15 is no multiple of 4.*try 12"), ({"window": 0}, "own.window: must be >= 4"),
        ({"gaps": "fill"}, "own.gaps: must be one of"), ({"longest_gap": 0}, "own.longest_gap: must be >= 1"),
    ],
)
def test_params_that_cannot_be_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(TrackFileParams, values, "own")


# ---- files


FILES = {
    "semicolons": ({"sep": ";"}, "separated by semicolons"),
    "tabs": ({"sep": "\t"}, "separated by tabs"),
    "decimal commas": ({"sep": ";", "decimal": ","}, r"decimal commas read \('.*' in column 'x'\)"),
    "quoted decimal commas": ({"decimal": ","}, "decimal commas read"),
    "BOM": ({"encoding": "utf-8-sig"}, "^$"), "CRLF": ({"lineterminator": "\r\n"}, "^$"),
    "CR": ({"lineterminator": "\r"}, "^$"), "all quoted": ({"quoting": 1}, "^$"),
}


@pytest.mark.parametrize("kind", FILES)
def test_dialects_of_text(kind: str, tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path) -> None:
    options, message = FILES[kind]
    found, said = read(tmp_path / "tracks.csv", trajectory_params, few(tracks), options)
    same(found, tracks)
    assert pd.Series([said]).str.contains(message, regex=True).all(), said


HEAD, SEMI = "track_id,frame,x,y,z\n", "track_id;frame;x;y;z\n"
TEXTS = {
    "more fields": (HEAD + "0,0,1,2,3\n0,1,1,2,3,4\n", r"row 2 has 6 fields, the header has 5: '0,1,1,2,3,4'"),
    "more in every row": (HEAD + "0,0,1.5,2,3,\n", "row 1 has 6 fields, the header has 5: '0,0,1.5,2,3,'$"),
    "fewer fields": (HEAD + "0,0,1,2,3\n0,1,1,2\n", r"row 2 has 4 fields, the header has 5"),
    "bare decimal commas": (HEAD + "0,0,1,5,2,5,3,5\n", "row 1 has 8 fields.*decimal commas.*semicolons"),
    "thousands or decimals": (SEMI + "0;0;1,234;2,345;3,456\n", "'1,234' could have a decimal comma or a comma of"),
    "thousands": (SEMI + "0;0;1.234,5;2;3\n", r"with commas \('1.234,5' in column 'x'\) and with points"),
    "two marks": (SEMI + "0;0;1,5;2;3\n0;1;1.5;2;3\n", r"with points \('1.5' in column 'x'\)"),
    "spaces": ("track_id frame x y z\n", "no comma, semicolon, tab in the header 'track_id frame x y z'"),
    "no header": ("0,0,1.5,2,3\n0,1,1.5,2,3\n", "the first line holds numbers, not names"),
    "empty": ("", "no rows, and no header"), "header only": (HEAD, "no rows"), "blank": ("\n\n", "no rows"),
    "UTF-16": (HEAD.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    "UTF-16 without mark": (HEAD.encode("utf-16-le"), "zero bytes"),
    "Latin-1": ((HEAD + "é,0,1,2,3\n").encode("latin-1"), r"line 2 is no UTF-8 text \(byte 0xe9\)"),
    "quote without end": (HEAD + '0,0,1,2,"3\n0,1,1,2,3\n', "column 'z': '3.*' is no number"),
}


@pytest.mark.parametrize("text", TEXTS)
def test_faults_of_text_are_named(text: str, trajectory_params: Trajectories, tmp_path: Path) -> None:
    content, message = TEXTS[text]
    (tmp_path / "tracks.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        read(tmp_path / "tracks.csv", trajectory_params)


def test_the_line_that_spreadsheets_write_first_is_known(
    tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path
) -> None:
    text = few(tracks).to_csv(index=False, sep=";")
    (tmp_path / "tracks.csv").write_text(f"sep=;\n{text}")
    same(read(tmp_path / "tracks.csv", trajectory_params)[0], tracks)


def test_what_is_no_file_is_refused_at_once(trajectory_params: Trajectories, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "tracks.xlsx").write_bytes(b"PK")
    for name, message in (
        ("pipe.csv", "is a pipe or a device"), ("zero.csv", "is a pipe or a device"), ("folder.csv", "is a folder"),
        ("absent.csv", "no such file"), ("tracks.xlsx", r"tracks come as \.csv, \.tsv or \.parquet"),
    ):
        with pytest.raises(UserError, match=message):
            read(tmp_path / name, trajectory_params)


# ---- Parquet


def typed(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    """A column of another type."""
    return lambda table: with_column(table, name, table[name].cast(kind, safe=False))


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


TYPES = {
    "decimal": typed("x", pa.decimal128(30, 20)), "float32": typed("x", pa.float32()), "text": typed("x", pa.string()),
    "int64": typed("frame", pa.int64()), "uint8": typed("frame", pa.uint8()),
    "large text": typed("y", pa.large_string()),
    "decimal id": typed("track_id", pa.decimal128(20, 0)), "text frames": typed("frame", pa.string()),
    "dictionary": lambda table: with_column(table, "class", table["class"].dictionary_encode()),
    "dictionary of numbers": lambda table: with_column(table, "x", table["x"].dictionary_encode()),
    "view": typed("class", pa.string_view()),
}


@pytest.mark.parametrize("kind", TYPES)
def test_columns_of_many_types_are_read(
    kind: str, tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path
) -> None:
    table = TYPES[kind](pa.Table.from_pandas(few(tracks), preserve_index=False))
    pq.write_table(table, tmp_path / "tracks.parquet")
    found, said = read(tmp_path / "tracks.parquet", trajectory_params)
    same(found, tracks, 1e-6)
    assert said == ""


REFUSED = {
    "list": ("x", pa.array([[1.0]] * 96), "column 'x': holds list<.*double> values; give one number a row"),
    "null": ("x", pa.nulls(96), r"track 0, frame 0 \(row 1\), column 'x': missing or not finite"),
    "null class": ("class", pa.nulls(96), r"\(row 1\), column 'class': missing"),
    "null id": ("track_id", pa.nulls(96), r"\(row 1\), column 'track_id': missing"),
    "bool": ("y", pa.array([True] * 96), "column 'y': holds bool values"),
    "dates as lengths": ("y", pa.array([datetime.datetime(2026, 1, 1)] * 96), "column 'y': holds timestamp"),
    "list of classes": ("class", pa.array([["a"]] * 96), "column 'class': holds list"),
    "bool id": ("track_id", pa.array([True] * 96), "'track_id': holds bool values; ids are whole numbers or text"),
    "bytes id": ("track_id", pa.array([b"a"] * 96), "column 'track_id': holds binary values"),
    "nan id": ("track_id", pa.array([np.nan] * 96), "column 'track_id': missing"),
    "huge float id": ("track_id", pa.array([1e300] * 96), "is no track id: too large"),
    "fractional decimal id": ("track_id", pa.array([Decimal("1.5")] * 96), "1.5 is no track id: a fraction"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_columns_of_no_such_kind_are_refused_in_a_sentence(
    kind: str, tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path
) -> None:
    name, values, message = REFUSED[kind]
    table = pa.Table.from_pandas(few(tracks), preserve_index=False)
    pq.write_table(with_column(table, name, values), tmp_path / "tracks.parquet")
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path / "tracks.parquet", trajectory_params)
    assert "\n" not in str(caught.value)


# ---- any file at all


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.randoms(use_true_random=False),
    spelled=st.sampled_from([int, "{:.1f}".format, "t{}".format, (-7).__sub__, (2**40).__add__]),
    dialect=st.sampled_from([(",", "."), (";", "."), (";", ","), ("\t", ",")]), start=st.integers(-3, 3),
    unit=st.sampled_from([("m", 1), ("cm", 100), ("mm", 1000)]), step=st.integers(1, 3),
)
def test_rows_ids_separators_and_units_give_the_same_tracks(
    order: Any, spelled: Any, dialect: tuple[str, str], start: int, unit: tuple[str, int], step: int, tracks: Tracks,
    trajectory_params: Trajectories, tmp_path: Path,
) -> None:
    table = few(tracks)
    names = [spelled(i) for i in range(6)]
    table = table.assign(
        track_id=[names[i] for i in table["track_id"]], frame=start + step * table["frame"],
        **{axis: table[axis] * unit[1] for axis in "xyz"},
    )
    rows = [*range(len(table))]
    order.shuffle(rows)
    options = {"sep": dialect[0], "decimal": dialect[1]}
    found, _ = read(tmp_path / "tracks.csv", trajectory_params, table.iloc[rows], options, unit=unit[0])
    called = found.drawn["source_id"] if "source_id" in found.drawn else found.track_id.astype(str)
    place = {str(name).removesuffix(".0"): i for i, name in enumerate(names)}
    back = np.argsort([place[each] for each in called])
    np.testing.assert_allclose(found.points[back], tracks.points[:6], rtol=1e-12, atol=1e-14)
    assert found.label[back].tolist() == tracks.label[:6].tolist()


# ---- tracks for trained models


@pytest.mark.parametrize("count", [1, 2])
def test_tracks_for_trained_models_need_neither_splits_nor_classes(
    tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path, count: int
) -> None:
    """Few tracks are refused as a dataset; points, colours and lights are the dataset's own."""
    table, path = own(tracks, count), tmp_path / "tracks.csv"
    table.drop(columns="class").to_csv(path, index=False)
    read = read_unsplit_tracks(path, trajectory_params.world, trajectory_params.seed)
    assert set(read.label) == {UNLABELLED} and set(read.split) == {UNSPLIT} and len(read) == count
    with pytest.raises(UserError):
        read_own_tracks(path, trajectory_params)
    table.assign(**{"class": "linear", "split": "test"}).to_csv(path, index=False)
    one = read_unsplit_tracks(path, trajectory_params.world, trajectory_params.seed)
    assert set(one.label) == {"linear"} and set(one.split) == {"test"}
    own(tracks).to_csv(path, index=False)
    whole = read_own_tracks(path, trajectory_params)
    np.testing.assert_array_equal(whole.points[:count], read.points)
    pd.testing.assert_frame_equal(whole.drawn[:count], read.drawn)


def test_one_class_is_a_dataset(tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path) -> None:
    """Stages that tell classes apart say so themselves."""
    for name in ("../a/b", "linear", "x" * 100):
        found, _ = read(tmp_path / "tracks.csv", trajectory_params, few(tracks).assign(**{"class": name}))
        assert set(found.label) == {name}


def test_their_faults_are_named_too_without_params_that_are_not_there(
    tracks: Tracks, trajectory_params: Trajectories, tmp_path: Path
) -> None:
    table = own(tracks, 3)
    for broken, message in (
        (table.assign(z=table["z"].where(table.index != 20)), r"track 1, frame 4 \(row 21\), column 'z': missing"),
        (table.drop(index=18), "frame 2 is missing, after row 18; add the missing rows$"),
        (table.drop(index=47), "track 2 has 15 frames, the first has 16$"),
        (table.assign(x=100), "3 of 3 tracks are never in the camera's view.*along [+]z$"),
    ):
        broken.to_csv(tmp_path / "tracks.csv", index=False)
        with pytest.raises(UserError, match=message):
            read_unsplit_tracks(tmp_path / "tracks.csv", trajectory_params.world, 0)
    table[table["frame"] < 15].to_csv(tmp_path / "tracks.csv", index=False)
    assert read_unsplit_tracks(tmp_path / "tracks.csv", trajectory_params.world, 0).points.shape == (3, 15, 3)


@pytest.mark.parametrize("count", [4, 5, 7, 40])
def test_a_class_of_four_sources_or_more_has_some_in_every_split(count: int) -> None:
    label = np.repeat(["a", "b"], [count, 4])
    for seed in range(5):
        split = draw_splits(label, (3840, 480, 2400), seed)
        for name in ("a", "b"):
            found = split[label == name].tolist()
            assert found.count("train") >= 1 and found.count("val") >= 1 and found.count("test") >= 2
    many = draw_splits(np.full(6720, "a"), (3840, 480, 2400), 1).tolist()
    assert [many.count(name) for name in ("train", "val", "test")] == [3840, 480, 2400]
