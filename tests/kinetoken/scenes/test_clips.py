"""The clip store gives back what was put in, and names the shard that was damaged."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from kinetoken.core.artifacts import read_table, write_table
from kinetoken.core.errors import UserError
from kinetoken.scenes.clips import Clips, ClipStore, export_webm, shard_path, write_shard


def clips(count: int, first: int = 0) -> Clips:
    rng = np.random.default_rng(first)
    pixels = rng.integers(0, 256, (count, 4, 16, 16, 3), np.uint8)
    ids = np.arange(first, first + count, dtype=np.int32)
    split = np.where(ids % 2 == 0, "train", "test")
    return Clips(ids, np.where(ids % 3 == 0, "a", "b"), split, pixels, 16.0)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_shard(shard_path(tmp_path, 0), clips(7), None)
    write_shard(shard_path(tmp_path, 1), clips(5, first=7), None)
    return tmp_path


def test_reads_back_by_split_and_streams_in_order(store: Path) -> None:
    everything = np.concatenate([clips(7).pixels, clips(5, first=7).pixels])
    opened = ClipStore(store)
    assert (len(opened), opened.shape, opened.classes) == (12, (4, 16, 16), ("a", "b"))
    np.testing.assert_array_equal(opened.read().pixels, everything)
    test = opened.read("test", limit=4)
    assert test.track_id.tolist() == [1, 3, 5, 7]
    np.testing.assert_array_equal(test.pixels, everything[[1, 3, 5, 7]])
    assert [len(part) for part in opened.stream()] == [7, 5]


def test_scene_travels_with_the_clips(tiny_data: Path, store: Path) -> None:
    assert ClipStore(tiny_data / "videos").scene.look.background == "room"
    with pytest.raises(UserError, match="no scene"):
        _ = ClipStore(store).scene


def test_a_flipped_bit_is_found_and_named(tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    shutil.copytree(tiny_data / "videos", folder)
    damaged = shard_path(folder, 1)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(UserError, match="part-00001.parquet: damaged"):
        ClipStore(folder).read()


def test_a_truncated_shard_is_found_and_named(store: Path) -> None:
    path = shard_path(store, 0)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="part-00000.parquet: damaged"):
        ClipStore(store)


def test_an_empty_folder_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(UserError, match=r"no part-\*\.parquet"):
        ClipStore(tmp_path_factory.mktemp("none"))


def test_export_plays_as_webm_with_every_frame(tmp_path: Path) -> None:
    import av

    grey = np.full((16, 64, 64, 3), 200, np.uint8)
    export_webm(tmp_path / "clip.webm", grey, 16.0)
    with av.open(str(tmp_path / "clip.webm")) as container:
        assert container.streams.video[0].codec_context.name == "vp9"
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 16
    assert frames[0].shape == (256, 256, 3)
    assert abs(float(frames[3].mean()) - 200) < 3


@pytest.mark.parametrize("stray", [-1, 2**31, 2**32 + 1])
def test_ids_that_the_store_cannot_hold_are_refused_in_writing_and_reading(store: Path, stray: int) -> None:
    path, few = shard_path(store, 1), clips(5, first=7)
    few.track_id = few.track_id.astype(np.int64)
    few.track_id[2] = stray
    with pytest.raises(UserError, match=f"part-00001.parquet: row 2, column 'track_id': {stray} is no track id"):
        write_shard(path, few, None)
    content = read_table(path)
    write_table(path, content.set_column(0, "track_id", [few.track_id]))
    with pytest.raises(UserError, match=f"part-00001.parquet: row 2, column 'track_id': {stray} is no track id"):
        ClipStore(store)


def test_a_store_made_elsewhere_may_have_ids_of_any_type(store: Path) -> None:
    for name, ids in (("text", [f"clip {i}" for i in range(12)]), ("large", [2**40 + i for i in range(12)])):
        for index, rows in enumerate((slice(0, 7), slice(7, 12))):
            content = read_table(shard_path(store, index))
            write_table(shard_path(store, index), content.set_column(0, "track_id", [ids[rows]]))
        opened = ClipStore(store, foreign=True)
        assert opened.track_id.tolist() == ids, name
        assert [part.track_id.tolist() for part in opened.stream()] == [ids[:7], ids[7:]]
        with pytest.raises(UserError, match=r"part-00000.parquet: row 0, column 'track_id': .* is no track id"):
            ClipStore(store)
