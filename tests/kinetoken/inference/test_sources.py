"""Clips from everywhere are the clips that are there, brought to what a model asks for."""

import dataclasses
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.stage import Context
from kinetoken.footage.fitting import averaged
from kinetoken.footage.windows import ClipNeed
from kinetoken.inference.opening import NamedClips, OpenClips, open_clips
from kinetoken.inference.sources import BLOCK
from kinetoken.scenes.clips import ClipStore, export_webm, shard_path, write_shard
from kinetoken.scenes.motion import Trajectories
from kinetoken.scenes.rendering import Rendering
from kinetoken.scenes.tracks import Tracks, read_tracks
from stages import generate_trajectories, render_videos
from tests.support.applied import write_mp4, write_own_tracks

NEED = ClipNeed("models/classifier", 64, 16)


@pytest.fixture(scope="module")
def store(tiny_data: Path) -> ClipStore:
    return ClipStore(tiny_data / "videos")


@pytest.fixture(scope="module")
def tracks(tiny_data: Path) -> Tracks:
    return read_tracks(tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet")


def read(clips: OpenClips, need: ClipNeed = NEED) -> NamedClips:
    """All blocks as one."""
    clips.check(need)
    blocks = list(clips.blocks(need))
    columns = ("track_id", "label", "split", "pixels", "name")
    together = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in columns}
    return NamedClips(**together, fps=blocks[0].fps)


def refused(match: str, source: object, need: ClipNeed = NEED, **options: object) -> None:
    with pytest.raises(UserError, match=match):
        read(open_clips(source, **options), need)  # type: ignore[arg-type]


# ---- a clip store


def test_a_store_is_read_whole_and_in_order(store: ClipStore) -> None:
    clips = open_clips(store.folder)
    found, there = read(clips), store.read()
    assert clips.labelled and clips.scene == store.scene and clips.count == 96
    np.testing.assert_array_equal(found.pixels, there.pixels)
    for name in ("track_id", "label", "split"):
        np.testing.assert_array_equal(getattr(found, name), getattr(there, name))
    assert found.name.tolist() == [str(each) for each in there.track_id] and found.fps == store.fps


def test_a_split_and_the_first_clips_of_it(store: ClipStore) -> None:
    there = store.read("test", limit=5)
    found = read(open_clips(store.folder, split="test", limit=5))
    assert found.track_id.tolist() == there.track_id.tolist()
    np.testing.assert_array_equal(found.pixels, there.pixels)
    refused("no clip of split 'validation'; there are ood, test, train, val", store.folder, split="validation")


def test_windows_of_stored_clips_are_named_by_their_first_frame(store: ClipStore) -> None:
    need, pixels = dataclasses.replace(NEED, frames=6), store.read(limit=2).pixels
    clips = open_clips(store.folder, window="all", limit=4)
    found = read(clips, need)
    assert found.name.tolist() == ["0:0", "0:6", "1:0", "1:6"] and found.track_id.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(found.pixels[1], pixels[0, 6:12])
    np.testing.assert_array_equal(found.pixels[2], pixels[1, :6])
    assert found.label.tolist() == store.label[[0, 0, 1, 1]].tolist()
    assert clips.notes == [f"{store.folder}: the last 4 frames fill no window of 6 and are not read"]
    last = read(open_clips(store.folder, window="last", limit=1), need)
    np.testing.assert_array_equal(last.pixels[0], pixels[0, 10:])
    refused("16 frames, models/classifier reads 6; --window first or last", store.folder, need)


def test_clips_of_another_kind_of_scene_and_id_are_taken(store: ClipStore, tmp_path: Path) -> None:
    clips = store.read(limit=3)
    write_shard(shard_path(tmp_path, 0), clips, None)
    table = pd.read_parquet(shard_path(tmp_path, 0))
    table.assign(track_id=["a", "b", "c"]).to_parquet(shard_path(tmp_path, 0))
    found = open_clips(tmp_path)
    assert found.scene is None
    assert read(found).name.tolist() == ["a", "b", "c"] and read(found).track_id.tolist() == [0, 1, 2]


# ---- arrays


@pytest.mark.parametrize("kind", ["memory", "npy", "npz", "float32", "float64", "grey"])
def test_arrays_are_clips(store: ClipStore, tmp_path: Path, kind: str) -> None:
    pixels = store.read(limit=3).pixels
    values = pixels.astype(kind) / 255 if kind.startswith("float") else pixels
    values = pixels[..., :1] if kind == "grey" else values
    path = tmp_path / ("a.npz" if kind == "npz" else "a.npy")
    if kind == "npz":
        np.savez(path, clips=values, label=np.zeros(3))
    else:
        np.save(path, values)
    clips = open_clips(values if kind == "memory" else path, fps=25)
    found = read(clips)
    np.testing.assert_array_equal(found.pixels, np.repeat(pixels[..., :1], 3, -1) if kind == "grey" else pixels)
    assert found.name.tolist() == ["0", "1", "2"] and found.fps == 25 and not clips.labelled
    assert set(found.label) == {"unlabelled"} and set(found.split) == {"none"}


def test_one_clip_is_called_by_its_file(store: ClipStore, tmp_path: Path) -> None:
    np.save(tmp_path / "ball.npy", store.read(limit=1).pixels[0])
    assert read(open_clips(tmp_path / "ball.npy")).name.tolist() == ["ball"]
    assert read(open_clips(tmp_path / "ball.npy", window="first")).name.tolist() == ["ball:0"]
    assert read(open_clips(np.load(tmp_path / "ball.npy"))).name.tolist() == ["array"]


def test_long_lists_come_in_blocks() -> None:
    clips = np.zeros((2 * BLOCK + 3, 4, 8, 8, 3), np.uint8)
    need = ClipNeed("models/tokenizer", 8, 4)
    assert [len(block) for block in open_clips(clips).blocks(need)] == [BLOCK, BLOCK, 3]
    large = np.broadcast_to(np.zeros(1, np.uint8), (40, 16, 512, 512, 3))  # 12 MB each
    lengths = [len(block) for block in open_clips(large, resize=True).blocks(ClipNeed("models/tokenizer", 8, 16))]
    assert sum(lengths) == 40


def test_arrays_that_are_no_clips_are_named(tmp_path: Path) -> None:
    clips = np.zeros((2, 16, 64, 64, 3), np.uint8)
    refused(r"array: an array of shape \(64, 64, 3\); clips are \(T, H, W, C\) or", clips[0, 0])
    refused(r"shape \(2, 16, 3, 64, 64\).*; its colours must come last", np.moveaxis(clips, -1, 2))
    refused("an array of shape", clips[..., :2])
    refused("an array of shape", clips[:0])
    refused("int64 numbers; give uint8 in", clips.astype(np.int64))
    refused(r"clip 1: floats from 7 to 7; give floats in \[0, 1\]",
            np.stack([clips[0], clips[1] + 7]).astype(np.float32))
    refused("clip 0: NaN or infinite values", np.full(clips.shape, np.nan, np.float32))
    refused(r"frames are 64×32, models/classifier takes 64×64; --resize", clips[:, :, :32])
    refused("array: 16 frames, models/classifier reads 20", clips, dataclasses.replace(NEED, frames=20))
    refused("none.npy: no such file or folder", tmp_path / "none.npy")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    refused("a.npy: not a readable NPY or NPZ file", tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", first=clips, second=clips)
    refused("b.npz: name the array of clips 'clips'; it holds first, second", tmp_path / "b.npz")


# ---- video files


def test_an_exported_webm_and_an_mp4_are_nearly_the_clip(store: ClipStore, tmp_path: Path) -> None:
    pixels = store.read(limit=1).pixels[0]
    export_webm(tmp_path / "a.webm", pixels, 16)  # four times as large
    write_mp4(tmp_path / "b.mp4", pixels.repeat(4, 1).repeat(4, 2))
    clips = open_clips([tmp_path / "a.webm", tmp_path / "b.mp4"], resize=True)
    found = read(clips)
    assert found.name.tolist() == ["a", "b"] and found.fps == 16 and clips.count is None
    for clip in found.pixels:
        assert np.abs(clip.astype(int) - pixels).mean() < 2
    assert clips.notes == [f"{tmp_path}/a.webm: frames of 256×256, averaged down to 64×64"]
    refused(r"a.webm: frames are 256×256, models/classifier takes 64×64", tmp_path / "a.webm")


def test_videos_are_cut_into_windows(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (41, 64, 64, 3), np.uint8)
    write_mp4(tmp_path / "long.mp4", frames, fps=30)
    clips = open_clips(tmp_path / "long.mp4", window="all")
    found = read(clips)
    assert found.name.tolist() == ["long:0", "long:16"] and found.fps == 30 and found.pixels.shape[1] == 16
    assert clips.notes == [f"{tmp_path}/long.mp4: the last 9 frames fill no window of 16 and are not read"]
    last = read(open_clips(tmp_path / "long.mp4", window="last", fps=12))
    assert last.name.tolist() == ["long:25"] and last.fps == 12
    np.testing.assert_array_equal(last.pixels[0, :7], found.pixels[1, 9:])
    refused("long.mp4: more than 16 frames, models/classifier reads 16; --window", tmp_path / "long.mp4")
    refused("long.mp4: 41 frames, models/classifier reads 60", tmp_path / "long.mp4",
            dataclasses.replace(NEED, frames=60))
    any_length = ClipNeed("models/tokenizer", 64, None)
    assert read(open_clips(tmp_path / "long.mp4", window="first"), any_length).pixels.shape[1] == 16


def test_a_folder_of_videos_and_names_that_are_not_alike(tmp_path: Path) -> None:
    frames = np.zeros((16, 64, 64, 3), np.uint8)
    (tmp_path / "other").mkdir()
    for path in (tmp_path / "b.mp4", tmp_path / "a.MP4", tmp_path / "other" / "a.mp4"):
        write_mp4(path, frames)
    (tmp_path / "notes.txt").write_text("not a video")
    assert read(open_clips(tmp_path)).name.tolist() == ["a", "b"]
    both = [tmp_path / "a.MP4", tmp_path / "other" / "a.mp4"]
    assert read(open_clips(both)).name.tolist() == [path.as_posix() for path in both]
    refused("of several files all must be videos", [tmp_path / "b.mp4", tmp_path / "notes.txt"])
    refused("notes.txt: clips come as the folder of a clip store", tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    refused("empty: neither a clip store .* nor a folder with video files", tmp_path / "empty")


def test_videos_of_unlike_rates_and_lengths_are_read_apart(tmp_path: Path) -> None:
    frames = np.zeros((16, 64, 64, 3), np.uint8)
    paths = [write_mp4(tmp_path / f"{fps}-{count}.mp4", frames[:count], fps)
             for fps, count in ((16, 16), (30, 16), (30, 8))]
    need = dataclasses.replace(NEED, shorter=True)
    blocks = list(open_clips(paths).blocks(need))
    found = [(block.fps, block.pixels.shape[1], len(block)) for block in blocks]
    assert found == [(16, 16, 1), (30, 16, 1), (30, 8, 1)]
    assert np.concatenate([block.track_id for block in blocks]).tolist() == [0, 1, 2]


def test_videos_that_are_not_whole_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    path.write_bytes(b"")
    refused(r"a.webm: not a whole video \(empty: 0 bytes\)", path)
    path.write_text("no video\n" * 100)
    refused(r"a.webm: not a whole video \(unreadable", path)
    export_webm(path, np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), np.uint8), 16, scale=1)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refused(r"a.webm: not a whole video", path)
    refused("--window middle: choose first, last, all", path, window="middle")
    refused("--limit 0", path, limit=0)
    refused("--fps 0", path, fps=0.0)
    array = np.zeros((16, 64, 64, 3), np.uint8)
    refused("--split test: array has no splits; a clip store and tracks have", array, split="test")
    refused("no clips were given", [])


# ---- tracks


def test_tracks_are_drawn_as_the_pipeline_draws_them(
    tracks: Tracks, trajectory_params: Trajectories, rendering_params: Rendering, tmp_path: Path
) -> None:
    source = write_own_tracks(tmp_path / "tracks.csv", tracks, 30)
    paths = generate_trajectories.Paths(source, tmp_path / "t.parquet", tmp_path / "p.parquet")
    generate_trajectories.run(trajectory_params, paths, Context.silent())
    videos = render_videos.Paths(paths.trajectories, paths.track_params, tmp_path / "videos")
    render_videos.run(rendering_params, videos, Context.silent())
    there = ClipStore(tmp_path / "videos").read()
    clips = open_clips(source)
    found = read(clips)
    np.testing.assert_array_equal(found.pixels, there.pixels)
    assert found.name.tolist() == [str(i) for i in range(30)] and not clips.labelled and clips.count == 30
    assert clips.scene == ClipStore(tmp_path / "videos").scene and not clips.notes
    noisy = dataclasses.replace(rendering_params, look=dataclasses.replace(rendering_params.look, noise=0.02))
    videos = dataclasses.replace(videos, videos=tmp_path / "noisy")
    render_videos.run(noisy, videos, Context.silent())
    store = ClipStore(tmp_path / "noisy")
    np.testing.assert_array_equal(read(open_clips(source, scene=store.scene)).pixels, store.read().pixels)


def test_few_tracks_of_one_class_without_splits_are_enough(tracks: Tracks, tmp_path: Path) -> None:
    """What the pipeline refuses: 'split val is empty', 'at least two classes are needed'."""
    source = write_own_tracks(tmp_path / "tracks.csv", tracks, 2)
    pd.read_csv(source).assign(**{"class": "thrown"}).to_parquet(tmp_path / "tracks.parquet")
    clips = open_clips(tmp_path / "tracks.parquet")
    assert clips.labelled and set(read(clips).label) == {"thrown"} and set(read(clips).split) == {"none"}
    smaller = read(clips, dataclasses.replace(NEED, size=32))
    assert smaller.pixels.shape == (2, 16, 32, 32, 3)
    assert np.abs(smaller.pixels - averaged(read(clips).pixels, 32).astype(int)).mean() < 1


def test_the_pipelines_own_trajectories_are_tracks(tiny_data: Path, tracks: Tracks) -> None:
    clips = open_clips(tiny_data / "trajectories.parquet", split="val")
    assert read(clips).track_id.tolist() == tracks.track_id[tracks.split == "val"].tolist()


def test_faults_in_tracks_name_track_frame_and_column(tracks: Tracks, tmp_path: Path) -> None:
    source = write_own_tracks(tmp_path / "tracks.csv", tracks, 3)
    table = pd.read_csv(source)
    table.assign(y=table["y"].where(table.index != 20)).to_csv(source, index=False)
    refused(r"tracks.csv: track 1, frame 4 \(row 21\), column 'y': missing or not finite", source)
    table.assign(z=table["z"].where(table.index != 20, -1)).to_csv(source, index=False)
    refused(r"track 1, frame 4, column 'z': -1 m; the camera stands at the origin", source)
    table.drop(columns="z").to_csv(source, index=False)
    refused("column 'z' is missing", source)
    table.drop(columns="z").to_parquet(tmp_path / "a.parquet")
    refused("a.parquet: clips come as", tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_text("no table")
    refused("a.parquet: damaged or not a Parquet file", tmp_path / "a.parquet")
    table.assign(x=table["x"] + 9).to_csv(source, index=False)
    refused("3 of 3 tracks are never in the camera's view, the first is track 0", source)
    table.assign(x=table["x"].where(table["frame"] < 15, 9)).to_csv(source, index=False)
    clips = open_clips(source)
    read(clips)
    assert clips.notes == [f"{source}: 3 of 3 tracks leave the camera's view"]


@pytest.mark.parametrize("name", ["tracks.tsv", "tracks.PARQUET"])
def test_tracks_keep_the_names_that_their_file_gives_them(tracks: Tracks, tmp_path: Path, name: str) -> None:
    table = pd.read_csv(write_own_tracks(tmp_path / "tracks.csv", tracks, 3))
    table = table.assign(track_id=[f"ball {i}" for i in table["track_id"]]).rename(columns={"track_id": "particle"})
    path = tmp_path / name
    table.to_csv(path, sep="\t", index=False) if name.endswith("tsv") else table.to_parquet(path)
    clips = open_clips(path)
    found = read(clips)
    assert found.name.tolist() == ["ball 0", "ball 1", "ball 2"]
    assert f"{path}: columns read by other names: 'particle' as track_id" in clips.notes
    np.testing.assert_array_equal(found.pixels, read(open_clips(tmp_path / "tracks.csv")).pixels)


def test_memory_does_not_grow_with_the_number_of_clips(tmp_path: Path) -> None:
    """2,000 clips of an array on the disk, 393 MB: what is held is a few blocks of 50 MB."""
    need, size = ClipNeed("models/tokenizer", 64, 16), 16 * 64 * 64 * 3
    values = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (2000, 16, 64, 64, 3))
    values.flush()
    del values
    tracemalloc.start()
    count = sum(len(block) for block in open_clips(tmp_path / "a.npy").blocks(need))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2000 and peak < 4 * BLOCK * size
