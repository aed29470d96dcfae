"""Shared fixtures: a tiny dataset made by the real stages."""

import dataclasses
from pathlib import Path

import pytest

from kinetoken.core.params import load_params
from kinetoken.core.stage import Context
from kinetoken.scenes.motion import Counts, Trajectories
from kinetoken.scenes.rendering import Rendering

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def trajectory_params() -> Trajectories:
    """The motion dataset's own params with tiny counts."""
    params = load_params(ROOT / "params.yaml", "generate_trajectories.motion", Trajectories)
    return dataclasses.replace(params, counts=Counts(train=48, val=16, test=24, ood=8))


@pytest.fixture(scope="session")
def rendering_params() -> Rendering:
    """The motion dataset's own look, in small shards and one process."""
    params = load_params(ROOT / "params.yaml", "render_videos.motion", Rendering)
    return dataclasses.replace(params, shard_clips=40, processes=1)


@pytest.fixture(scope="session")
def tiny_data(
    tmp_path_factory: pytest.TempPathFactory, trajectory_params: Trajectories, rendering_params: Rendering
) -> Path:
    """A folder with trajectories.parquet, track_params.parquet and videos/ of 96 clips, 16×64×64. Read only."""
    from stages import generate_trajectories, render_videos

    folder = tmp_path_factory.mktemp("tiny")
    tables = folder / "trajectories.parquet", folder / "track_params.parquet"
    source = ROOT / "data/sources/synthetic.csv"
    generate_trajectories.run(trajectory_params, generate_trajectories.Paths(source, *tables), Context.silent())
    render_videos.run(rendering_params, render_videos.Paths(*tables, folder / "videos"), Context.silent())
    return folder
