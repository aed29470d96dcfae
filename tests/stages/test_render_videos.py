"""render_videos, run for real."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kinetoken.core.stage import Context
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.rendering import Rendering
from kinetoken.scenes.tracks import read_tracks, write_tracks
from stages import render_videos


def _paths(data: Path, out: Path, export: int = 0) -> render_videos.Paths:
    return render_videos.Paths(data / "trajectories.parquet", data / "track_params.parquet", out / "videos", export)


def test_store_holds_every_track_in_order(tiny_data: Path) -> None:
    store = ClipStore(tiny_data / "videos")
    assert [path.name for path in store.shards] == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert store.shape == (16, 64, 64)
    np.testing.assert_array_equal(store.track_id, np.arange(96))
    assert store.scene.world.ball_radius == 0.2


def test_processes_change_no_byte(tiny_data: Path, tmp_path: Path, rendering_params: Rendering) -> None:
    render_videos.run(dataclasses.replace(rendering_params, processes=2), _paths(tiny_data, tmp_path), Context.silent())
    for shard in sorted((tiny_data / "videos").iterdir()):
        assert (tmp_path / "videos" / shard.name).read_bytes() == shard.read_bytes()


def test_noise_belongs_to_the_track_not_to_the_shard(
    tiny_data: Path, tmp_path: Path, rendering_params: Rendering
) -> None:
    clips = []
    for shard_clips in (40, 96):
        look = dataclasses.replace(rendering_params.look, noise=0.03)
        params = dataclasses.replace(rendering_params, look=look, shard_clips=shard_clips)
        out = tmp_path / str(shard_clips)
        render_videos.run(params, _paths(tiny_data, out), Context.silent())
        clips.append(ClipStore(out / "videos").read().pixels)
    np.testing.assert_array_equal(*clips)
    clean = ClipStore(tiny_data / "videos").read().pixels
    spread = (clips[0].astype(float) - clean).std() / 255
    assert 0.025 < spread < 0.035


def test_export_writes_playable_clips(tiny_data: Path, tmp_path: Path, rendering_params: Rendering) -> None:
    context = dataclasses.replace(Context.silent(), run_info=tmp_path / "run_info")
    render_videos.run(rendering_params, _paths(tiny_data, tmp_path, export=2), context)
    assert len(list((tmp_path / "run_info/clips").glob("*.webm"))) == 2


NAMES = ["a/b", "../../../up", "\U0001f3d0" * 100, "..", "x/../../up", "x" * 10_000, "nul\0name"]


@pytest.mark.parametrize("name", NAMES)
def test_a_class_of_any_name_is_exported_beside_the_others(
    name: str, tiny_data: Path, tmp_path: Path, rendering_params: Rendering
) -> None:
    tracks = read_tracks(tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet").take(np.arange(4))
    tracks.label = np.full(4, name)
    write_tracks(tracks, tmp_path / "trajectories.parquet", tmp_path / "track_params.parquet")
    context = dataclasses.replace(Context.silent(), run_info=tmp_path / "run_info")
    render_videos.run(rendering_params, _paths(tmp_path, tmp_path, export=1), context)
    assert [each.name[:13] for each in (tmp_path / "run_info/clips").iterdir()] == ["track-000000-"]
