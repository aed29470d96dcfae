"""generate_trajectories, run for real."""

from pathlib import Path

import pyarrow.parquet as pq

from kinetoken.core.stage import Context
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


def test_own_tracks_pass_through_the_stage(
    tiny_data: Path, tmp_path: Path, trajectory_params: Trajectories
) -> None:
    frame = pq.read_table(tiny_data / "trajectories.parquet").to_pandas()
    frame.to_parquet(tmp_path / "own.parquet")
    paths = generate_trajectories.Paths(tmp_path / "own.parquet", tmp_path / "a.parquet", tmp_path / "b.parquet")
    generate_trajectories.run(trajectory_params, paths, Context.silent())
    back = pq.read_table(paths.trajectories).to_pandas()
    assert back.drop(columns="t").equals(frame.drop(columns="t"))
