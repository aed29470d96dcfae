"""generate_trajectories, run for real."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kinetoken.core.absence import NotMeasured
from kinetoken.core.params import load_params
from kinetoken.core.progress import Progress
from kinetoken.core.stage import Context, run_stage
from kinetoken.scenes.candidates import CandidateTracks
from kinetoken.scenes.intake import TrackFileParams
from kinetoken.scenes.motion import Trajectories
from stages import generate_trajectories
from tests.conftest import ROOT

SOURCE = ROOT / "data/sources/synthetic.csv"


def test_tables_hold_the_contract_columns(tiny_data: Path) -> None:
    rows = pq.read_table(tiny_data / "trajectories.parquet")
    assert {name: str(rows.schema.field(name).type) for name in rows.column_names} == {
        "track_id": "int32", "class": "string", "split": "string", "frame": "int16", "t": "float", "x": "float",
        "y": "float", "z": "float",
    }
    assert len(rows) == 96 * 16
    assert rows["t"][17].as_py() == 1 / 16
    once = pq.read_table(tiny_data / "track_params.parquet")
    assert len(once) == 96
    assert {"speed", "path_radius", "pitch", "gravity", "colour_r", "light_azimuth"} <= set(once.column_names)


def test_two_runs_give_the_same_bytes(tiny_data: Path, tmp_path: Path, trajectory_params: Trajectories) -> None:
    paths = generate_trajectories.Paths(SOURCE, tmp_path / "a.parquet", tmp_path / "b.parquet")
    generate_trajectories.run(trajectory_params, paths, Context.silent())
    assert paths.trajectories.read_bytes() == (tiny_data / "trajectories.parquet").read_bytes()
    assert paths.track_params.read_bytes() == (tiny_data / "track_params.parquet").read_bytes()


def test_candidates_can_be_left_out(tmp_path: Path) -> None:
    params = dataclasses.replace(
        load_params(ROOT / "params.yaml", "generate_trajectories.persistence", CandidateTracks), enabled=False
    )
    paths = generate_trajectories.Paths(SOURCE, tmp_path / "a.parquet", tmp_path / "b.parquet")
    with pytest.raises(NotMeasured, match=r"^left out by params.yaml: generate_trajectories.persistence.enabled is f"):
        generate_trajectories.run(params, paths, Context.silent())


def test_own_tracks_pass_through_the_stage(
    tiny_data: Path, tmp_path: Path, trajectory_params: Trajectories
) -> None:
    frame = pq.read_table(tiny_data / "trajectories.parquet").to_pandas()
    frame.to_parquet(tmp_path / "own.parquet")
    paths = generate_trajectories.Paths(tmp_path / "own.parquet", tmp_path / "a.parquet", tmp_path / "b.parquet")
    generate_trajectories.run(trajectory_params, paths, Context.silent())
    back = pq.read_table(paths.trajectories).to_pandas()
    assert back.drop(columns="t").equals(frame.drop(columns="t"))


def test_a_messy_file_is_read_and_all_that_was_done_is_said(
    tiny_data: Path, tmp_path: Path, trajectory_params: Trajectories, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text ids, rows in no order, centimetres with decimal commas, frames from 1, a gap, a track that is longer."""
    frame = pq.read_table(tiny_data / "trajectories.parquet").to_pandas()
    messy = frame.assign(
        track_id=[f"ball/{i:03d}" for i in frame["track_id"]], frame=frame["frame"] + 1,
        **{axis: 100 * frame[axis].astype(float) for axis in "xyz"}, camera="left",
    )
    longer = messy[messy["track_id"] == "ball/002"].assign(frame=lambda f: f["frame"] + 16)
    messy = pd.concat([messy, longer]).drop(index=20).sample(frac=1, random_state=1)
    messy = messy.rename(columns={"track_id": "Particle", "class": "label"}).drop(columns=["t", "split"])
    messy.to_csv(tmp_path / "messy.csv", sep=";", decimal=",", index=False)
    paths = generate_trajectories.Paths(tmp_path / "messy.csv", tmp_path / "a.parquet", tmp_path / "b.parquet")
    own = TrackFileParams(unit="cm", gaps="interpolate", window=16)
    params = dataclasses.replace(trajectory_params, own=own)
    with Progress("generate_trajectories") as progress:
        generate_trajectories.run(params, paths, Context(progress))
    said = capsys.readouterr().err
    for part in (
        "separated by semicolons", "'Particle' as track_id, 'label' as class", "columns ignored: 'camera'",
        "decimal commas read", "96 track ids", "x, y, z read as cm", "rows sorted", "frames counted from 0",
        "between their neighbours: 1, in 1 of 96 tracks", "96 tracks cut into 97 windows of 16 frames",
    ):
        assert part in said, part
    once = pq.read_table(paths.track_params).to_pandas()
    back = pq.read_table(paths.trajectories).to_pandas()
    assert len(once) == 97 and once["track_id"].tolist() == [*range(97)] and len(set(once["source_id"])) == 96
    twice = once[once["source_id"] == "ball/002"]
    assert len(twice) == 2 and len(set(twice["split"])) == 1
    for track in (0, 2, 95):
        ours = once["track_id"][once["source_id"] == f"ball/{track:03d}"].iloc[0]
        found = back[back["track_id"] == ours][["x", "y", "z"]].to_numpy()
        np.testing.assert_allclose(found, frame[frame["track_id"] == track][["x", "y", "z"]], atol=1e-6)


def test_a_pipe_is_refused_before_it_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "tracks.csv")
    argv = [
        "--params", str(ROOT / "params.yaml"), "--section", "generate_trajectories.motion", "--run-info",
        str(tmp_path / "run_info"), "--source", str(tmp_path / "tracks.csv"), "--trajectories",
        str(tmp_path / "a.parquet"), "--track-params", str(tmp_path / "b.parquet"),
    ]
    code = run_stage(generate_trajectories.run, Trajectories, generate_trajectories.Paths, argv=argv)
    assert code == 1 and "tracks.csv: a pipe or a device" in capsys.readouterr().err
