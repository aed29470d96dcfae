"""The online detector's benchmark, run on a few clips."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import persistence
from kinetoken.core.params import load_params
from kinetoken.core.stage import Context
from kinetoken.persistence.network import Detector, build_network, save_detector
from kinetoken.persistence.params import PersistenceParams
from kinetoken.scenes.candidates import CandidateCounts, CandidateTracks, draw_candidates
from kinetoken.scenes.clutter import ClutteredRendering
from kinetoken.scenes.tracks import write_tracks
from stages import render_videos

ROOT = Path(__file__).parents[2]


def test_every_number_of_tracks_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracks = load_params(ROOT / "params.yaml", "generate_trajectories.persistence", CandidateTracks)
    look = load_params(ROOT / "params.yaml", "render_videos.persistence", ClutteredRendering)
    drawn = draw_candidates(dataclasses.replace(tracks, counts=CandidateCounts(2, 2, 4)))
    tables = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write_tracks(drawn, *tables)
    render_videos.run(
        dataclasses.replace(look, processes=1), render_videos.Paths(*tables, tmp_path / "videos"), Context.silent()
    )
    params = load_params(ROOT / "params.yaml", "detect_persistence", PersistenceParams)
    network = build_network("transformer", params, 64, None)
    detector = Detector("transformer", network, (1.0,) * 32, 50.0, -50.0, 32, "")  # never sure: every clip to its end
    save_detector(tmp_path / "model", detector, params, 64)
    words = f"persistence --model {tmp_path / 'model'} --videos {tmp_path / 'videos'} --tracks 1 4 --rounds 1"
    monkeypatch.setattr(sys, "argv", words.split())
    threads = torch.get_num_threads()
    try:
        persistence.main()
    finally:
        torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == [1, 4]
    assert all(float(line.split(": ")[1].split()[0]) > 0 for line in lines)
