"""Reconstruction measures against cases whose answer is known."""

from pathlib import Path

import numpy as np
import pytest

from kinetoken.scenes.clips import Clips, ClipStore
from kinetoken.scenes.rendering import Scene, ball_coverage
from kinetoken.scenes.tracks import Tracks, read_tracks
from kinetoken.tokenizer.scoring import Originals, mean_video, psnr, reconstruction_metrics, score_clips

Case = tuple[Clips, np.ndarray, Scene, np.ndarray]


@pytest.fixture(scope="module")
def tracks(tiny_data: Path) -> Tracks:
    return read_tracks(tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet")


@pytest.fixture(scope="module")
def case(tiny_data: Path, tracks: Tracks) -> Case:
    """Clips, their pixels in [0, 1], the scene and the points."""
    store = ClipStore(tiny_data / "videos")
    clips = store.read("test")
    return clips, clips.pixels.astype(np.float32) / 255, store.scene, tracks.points[store.split == "test"]


def test_psnr_of_a_known_error() -> None:
    assert psnr(np.array([1.0, 3.0]), np.array([200.0, 200.0])) == pytest.approx(20.0)
    assert psnr(np.zeros(2), np.ones(2)) == 100


def test_an_error_everywhere_and_one_on_the_ball(case: Case) -> None:
    _, original, scene, points = case
    everywhere = score_clips(original + np.float32(0.1), Originals.of(original, scene, points))
    assert psnr(everywhere.squared, everywhere.pixels) == pytest.approx(20, abs=1e-4)
    assert psnr(everywhere.squared_mask, everywhere.pixels_mask) == pytest.approx(20, abs=1e-4)
    mask = (ball_coverage(scene, points) > 0.5)[..., None]
    on_ball = score_clips(np.where(mask, original - np.float32(0.1), original), Originals.of(original, scene, points))
    assert psnr(on_ball.squared_mask, on_ball.pixels_mask) == pytest.approx(20, abs=1e-4)
    assert psnr(on_ball.squared, on_ball.pixels) == pytest.approx(20 - 10 * np.log10(mask.mean()), abs=1e-3)


def test_the_original_and_the_empty_room(case: Case) -> None:
    _, original, scene, points = case
    same = score_clips(original, Originals.of(original, scene, points))
    assert same.missed.max() == 0 and same.radius.max() == 0 and same.centroid.mean() < 0.2
    empty = score_clips(np.broadcast_to(scene.background(), original.shape), Originals.of(original, scene, points))
    u, v, _ = scene.camera.project(points)
    assert empty.missed.min() == 1
    np.testing.assert_allclose(empty.centroid, np.hypot(u - 31.5, v - 31.5).mean(1))


def test_a_shifted_ball_is_off_by_the_shift(case: Case) -> None:
    _, original, scene, points = case
    background = scene.background()
    shifted = np.roll(original - background, 2, axis=3) + background
    scores = score_clips(shifted, Originals.of(original, scene, points))
    assert scores.centroid.mean() == pytest.approx(2, abs=0.2) and scores.radius.max() < 0.05


def test_metrics_hold_floor_and_interval(case: Case) -> None:
    clips, original, scene, points = case
    scores = {
        "reconstruction": score_clips(original + np.float32(0.02), Originals.of(original, scene, points)),
        "floor": score_clips(mean_video(clips.pixels), Originals.of(original, scene, points)),
        "ceiling": score_clips(original, Originals.of(original, scene, points)),
    }
    metrics = reconstruction_metrics(scores, seed=1)
    for name in ("psnr_db", "foreground_psnr_db", "centroid_error_px", "radius_error_px", "missed_rate"):
        assert metrics[f"{name}_ci95_low"] <= metrics[name] + 1e-9 <= metrics[f"{name}_ci95_high"] + 2e-9
    assert metrics["foreground_psnr_db"] > metrics["foreground_psnr_db_floor"] + 10
    assert metrics["centroid_error_px_ceiling"] < 0.2 < metrics["centroid_error_px_floor"]
    assert metrics == reconstruction_metrics(scores, seed=1)


def test_mean_video_is_the_mean() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 2, 4, 4, 3), dtype=np.uint8)
    np.testing.assert_allclose(mean_video(pixels), (pixels / 255).mean(0), atol=1e-6)
