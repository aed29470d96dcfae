"""The benchmark's own arithmetic, and one run of it with no peer installed."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import tokenizer as benchmark
from benchmarks.exchange import Result, Training, code_clips
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.tracks import read_tracks

GRID = (4, 8, 8)


@pytest.fixture(scope="module")
def test_set(tiny_data: Path) -> benchmark.Test:
    store = ClipStore(tiny_data / "videos")
    clips = store.read("test", limit=8)
    tracks = read_tracks(tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet")
    return benchmark.Test(clips, store.scene, tracks.points[store.split == "test"][:8])


def test_a_run_that_loses_nothing_scores_the_ceiling(test_set: benchmark.Test) -> None:
    codes = np.broadcast_to(np.arange(256, dtype=np.int32).reshape(GRID), (len(test_set.clips), *GRID))
    frames = (test_set.clips.pixels / 255).astype(np.float16)
    row = benchmark.score_result(Result(codes, frames, 1024, 2.0, Training(10.0, 40, 7, 512.0)), test_set)
    ceiling = benchmark.reconstruction((test_set.clips.pixels / 255).astype(np.float32), test_set)
    assert row["psnr_db"] > 70  # half precision's rounding and nothing else
    assert row["centroid_error_px"] == pytest.approx(ceiling["centroid_error_px"], abs=1e-3)
    assert row["missed_rate"] == 0
    assert row["usage"] == 0.25 and row["perplexity"] == pytest.approx(256)
    assert 1 < row["perplexity_foreground"] < 256
    assert row["training_clips_per_s"] == 4 and row["coding_clips_per_s"] == len(test_set.clips) / 2
    assert set(row) == set(benchmark.COLUMNS)


def test_a_bare_background_misses_the_ball(test_set: benchmark.Test) -> None:
    row = benchmark.reconstruction(test_set.scene.background().astype(np.float32)[None].repeat(16, 0), test_set)
    assert row["missed_rate"] == 1 and row["centroid_error_px"] > 3


def test_decoding_sees_the_codes_alone(tmp_path: Path) -> None:
    clips = np.arange(45, dtype=np.uint8).reshape(45, 1, 1, 1, 1)
    given: list[np.ndarray] = []

    def decode(codes: np.ndarray) -> np.ndarray:
        given.append(codes)
        return (codes[..., None] / 64).astype(np.float16)

    result = code_clips(clips, lambda batch: batch[..., 0].astype(np.int32), decode, 64, Training(1.0, 2, 3, 4.0))
    result.save(tmp_path / "result.npz")
    back = Result.load(tmp_path / "result.npz")
    assert [len(batch) for batch in given] == [20, 20, 5]
    assert back.codes.ravel().tolist() == list(range(45)) and back.training == Training(1.0, 2, 3, 4.0)
    assert back.frames.ravel().tolist() == [i / 64 for i in range(45)]


def test_table_shows_mean_and_spread_over_seeds(tmp_path: Path) -> None:
    for seed, psnr in ((1, 30.0), (2, 32.0)):
        row = dict.fromkeys(benchmark.COLUMNS, 1.0) | {"psnr_db": psnr}
        (tmp_path / f"magvit2-{seed}.json").write_text(json.dumps(row))
    bounds = {"floor": {"psnr_db": 26.0}, "ceiling": {"centroid_error_px": 0.1}}
    table = benchmark.collect(tmp_path, bounds, {"seconds": 1.0})
    text = benchmark.markdown(table, ["magvit2_weighted"])
    assert "| PSNR, dB | 26.00 | 31.00 ± 1.41 |  |" in text
    assert "magvit2-pytorch, Kinetoken's loss: absent" in text
    assert "Kinetoken (" not in text


def test_a_peer_trains_as_long_as_kinetoken_did(tmp_path: Path) -> None:
    options = Namespace(folder=tmp_path, seconds=150.0)
    (tmp_path / "kinetoken-2.json").write_text(json.dumps({"training_seconds": 161.5}))
    peer, own = benchmark.SYSTEMS["magvit2"], benchmark.SYSTEMS["kinetoken"]
    assert [benchmark._seconds(peer, seed, options) for seed in (1, 2)] == [150.0, 161.5]
    assert benchmark._seconds(own, 2, options) == 150.0


def test_runs_without_the_peer_and_says_so(tiny_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = [
        "--videos", str(tiny_data / "videos"), "--trajectories", str(tiny_data / "trajectories.parquet"),
        "--track-params", str(tiny_data / "track_params.parquet"), "--folder", str(tmp_path / "runs"),
        "--peer-python", str(tmp_path / "nowhere"), "--params", str(benchmark.ROOT / "params.yaml"),
        "--seconds", "0.1", "--train-clips", "16", "--test-clips", "4", "--seeds", "1",
    ]
    assert benchmark.main(options) == 0
    table = json.loads((tmp_path / "runs" / "table.json").read_text())
    (row,) = table["systems"]["kinetoken"]["runs"]
    assert row["training_clips"] >= 1 and row["psnr_db"] > 10 and 0 < row["usage"] < 1
    assert table["systems"]["magvit2"]["runs"] == []
    text = (tmp_path / "runs" / "table.md").read_text()
    assert "Kinetoken (1 seed)" in text and "magvit2-pytorch, its MSE: absent" in text
    capfd.readouterr()
    assert benchmark.main(options) == 0
    assert "kinetoken, seed 1: kept from before" in capfd.readouterr().out
    options[options.index("--seconds") + 1] = "0.2"
    assert benchmark.main(options) == 1
    assert "holds runs of other settings" in capfd.readouterr().err
