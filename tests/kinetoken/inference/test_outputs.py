"""Results as files: what was given comes back, and nothing is there in part."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinetoken.core.errors import UserError
from kinetoken.footage.webm import read_frames
from kinetoken.footage.windows import ClipNeed
from kinetoken.inference.opening import open_clips
from kinetoken.inference.outputs import TABLES, Played, to_json, to_text, write_clips, write_result

TABLE = pd.DataFrame({"clip": ["a", "b:16"], "frame": [0, 1], "x": [0.123456789, np.nan]})


def clips(count: int, *, frames: int = 16, fps: float = 16) -> Iterator[Played]:
    """Smooth ones, which codecs keep well."""
    place = np.linspace(0, 1, 32)
    for number in range(count):
        picture = np.add.outer(np.linspace(0, 1, frames) + number, np.add.outer(place, place))
        pixels = (127 + 100 * np.sin(picture))[..., None].repeat(3, -1).astype(np.uint8)
        yield f"clip:{number}", pixels, fps


def broken() -> Iterator[Played]:
    yield from clips(2)
    raise UserError("the third clip is damaged")


# ---- tables


@pytest.mark.parametrize("ending", sorted(TABLES))
def test_tables_come_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "new" / f"a{ending}"
    write_result(path, TABLE)
    read = {".parquet": pd.read_parquet, ".csv": pd.read_csv, ".json": pd.read_json}[ending]
    pd.testing.assert_frame_equal(read(path), TABLE, check_dtype=False, rtol=1e-5, check_exact=ending == ".parquet")
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_json_and_text() -> None:
    rows = json.loads(to_json(TABLE))
    assert rows == [{"clip": "a", "frame": 0, "x": 0.123456789}, {"clip": "b:16", "frame": 1, "x": None}]
    assert to_text(TABLE).splitlines()[1].split() == ["a", "0", "0.1235"]
    long = to_text(pd.concat([TABLE] * 50))
    assert len(long.splitlines()) == 42 and long.endswith("… 60 rows more; --out or --json gives all\n")


def test_places_that_are_taken_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("mine")
    with pytest.raises(UserError, match="a.csv exists; .* --force"):
        write_result(path, TABLE)
    assert path.read_text() == "mine"
    write_result(path, TABLE, force=True)
    assert path.read_text().startswith("clip,frame,x")
    with pytest.raises(UserError, match="a.csv is a file, so"):
        write_result(path / "b.csv", TABLE)
    with pytest.raises(UserError, match=r"a.txt: the ending says what is written; choose .parquet, .csv, .json"):
        write_result(tmp_path / "a.txt", TABLE)


def test_folders_that_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(dir: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    new = tmp_path / "new"
    for write in (lambda: write_result(new / "a.csv", TABLE), lambda: write_clips(new, clips(1))):
        with pytest.raises(UserError, match=rf"{new}\S* cannot be written \(Permission denied\); choose another place"):
            write()


# ---- clips


def test_an_array_is_what_was_given(tmp_path: Path) -> None:
    assert write_clips(tmp_path / "a.npy", clips(300)) == 300
    found = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert found.shape == (300, 16, 32, 32, 3) and found.dtype == np.uint8
    for (_, pixels, _), one in zip(clips(300), found, strict=True):
        np.testing.assert_array_equal(one, pixels)


@pytest.mark.parametrize("name", ["a.webm", "a.mp4", "a.MP4"])
@pytest.mark.parametrize("scale", [1, 4])
def test_a_video_plays_all_clips_in_turn(tmp_path: Path, name: str, scale: int) -> None:
    path = tmp_path / name
    assert write_clips(path, clips(3, fps=24), scale=scale) == 3
    frames = read_frames(path, None)
    assert frames.shape == (48, 32 * scale, 32 * scale, 3)
    need = ClipNeed("models/tokenizer", 32, 16)
    (block,) = open_clips(path, resize=True, window="all").blocks(need)
    assert block.fps == 24
    for one, (_, pixels, _) in zip(block.pixels, clips(3), strict=True):
        assert np.abs(one.astype(int) - pixels).mean() < 2.5


@pytest.mark.parametrize("ending", [".webm", ".mp4", ".npy"])
def test_a_folder_gets_a_file_a_clip(tmp_path: Path, ending: str) -> None:
    assert write_clips(tmp_path / "out", clips(3), ending=ending) == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"clip-{i}{ending}" for i in range(3)]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_keeps_what_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="out exists"):
        write_clips(out, clips(1))
    write_clips(out, clips(1), force=True)
    assert sorted(path.name for path in out.iterdir()) == ["clip-0.webm", "notes.txt"]


def test_clips_called_alike_do_not_replace_each_other(tmp_path: Path) -> None:
    named = ((name, pixels, fps) for name, (_, pixels, fps) in zip(("a/b", "a:b", "../a", ""), clips(4), strict=True))
    write_clips(tmp_path / "out", named, ending=".npy")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-b-2.npy", "a-b.npy", "a.npy", "clip.npy"]


@pytest.mark.parametrize("name", ["a.webm", "a.mp4", "a.npy", "folder"])
def test_nothing_is_left_where_clips_break_off(tmp_path: Path, name: str) -> None:
    for stream, words in ((broken(), "third clip is damaged"), (iter(()), "no clips to write")):
        with pytest.raises(UserError, match=words):
            write_clips(tmp_path / name, stream)
    assert not list(tmp_path.iterdir())


def test_a_file_holds_clips_of_one_shape(tmp_path: Path) -> None:
    def unlike() -> Iterator[Played]:
        yield from clips(1)
        yield from clips(1, frames=8)

    with pytest.raises(UserError, match="clip:0 is 8×32×32, the clips before it 16×32×32; .* name a folder"):
        write_clips(tmp_path / "a.npy", unlike())
    assert write_clips(tmp_path / "folder", unlike(), ending=".npy") == 2
    with pytest.raises(UserError, match="a.gif: the ending says"):
        write_clips(tmp_path / "a.gif", clips(1))
    with pytest.raises(UserError, match="gif: clips are written as"):
        write_clips(tmp_path / "other", clips(1), ending=".gif")
    with pytest.raises(UserError, match="--scale 0"):
        write_clips(tmp_path / "a.webm", clips(1), scale=0)
