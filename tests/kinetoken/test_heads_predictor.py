"""Paths, dynamics, reader, writer and the scoring of forecasts, on closed forms and properties."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken import law_fit, laws
from kinetoken.artifacts import read_config
from kinetoken.clips import ClipStore
from kinetoken.errors import UserError
from kinetoken.heads import forecast, paths
from kinetoken.heads.predictor import (
    DYNAMICS,
    Predictor,
    PredictorShape,
    code_of_digits,
    level_digits,
    load_predictor,
)
from kinetoken.heads.predictor_training import dynamics_step
from kinetoken.rendering import Scene
from kinetoken.tracks import Tracks, read_tracks

LEVELS = (3, 2, 2)
SHAPE = PredictorShape(
    grid=(4, 8, 8), levels=LEVELS, coordinates=3, codebook_size=12, past_slices=3, slice_frames=4, image_size=64,
    width=16, filters=8, lstm_width=16, transformer_width=16,
)


def fsq_table() -> torch.Tensor:
    """The vectors of an FSQ of LEVELS, first part fastest."""
    index = torch.arange(12)
    digits = torch.stack([index % 3, index // 3 % 2, index // 6], -1)
    return digits.float() - 1


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    built = Predictor(SHAPE, fsq_table()).eval()
    built.tokenizer_hash, built.best = "abc", "transformer"
    return built


@pytest.fixture(scope="module")
def tracks(tiny_data: Path) -> Tracks:
    return read_tracks(tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet")


@pytest.fixture(scope="module")
def scene(tiny_data: Path) -> Scene:
    return ClipStore(tiny_data / "videos").scene


def some_codes(count: int, slices: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 12, (count, slices, 8, 8)).astype(np.int32)


# --- paths -----------------------------------------------------------------------------------------


def test_path_coordinates_and_pixels_are_inverse() -> None:
    rng = np.random.default_rng(0)
    u, v, radius = rng.uniform(0, 63, 50), rng.uniform(0, 63, 50), rng.uniform(1, 9, 50)
    back = paths.to_pixels(paths.to_path_coordinates(u, v, radius, 64), 64)
    for given, found in zip((u, v, radius), back, strict=True):
        np.testing.assert_allclose(found, given, rtol=1e-4)


def test_cell_centres_are_where_their_pixels_are() -> None:
    columns = np.arange(64).reshape(8, 8).mean(1)  # mean pixel of each cell of 8
    expected = paths.to_path_coordinates(columns, columns, np.ones(8), 64)[:, 0]
    torch.testing.assert_close(Predictor(SHAPE, fsq_table()).translator.reader.centres[0, 0], expected)


@pytest.mark.parametrize("law", laws.CLASSES)
def test_symmetric_copies_obey_the_law_and_stay_in_view(tracks: Tracks, law: str) -> None:
    original = tracks.points[tracks.label == law][:6]
    copies = paths.symmetric_copies(original, tracks.world, 4, (0.8, 1.3), seed=3)
    assert copies.shape == (24, 16, 3)
    assert tracks.world.in_view(copies, margin=0.02).all()
    fitted = law_fit.fit_law(law, tracks.world.times, copies).predict(tracks.world.times)
    assert np.abs(fitted - copies).max() < 0.02  # m
    moved = np.linalg.norm(copies.reshape(4, 6, 16, 3) - original, axis=-1).max((1, 2))
    assert (moved > 0.2).all(), "copies are not new paths"


@pytest.mark.parametrize("rule", paths.FLOORS)
def test_floors_are_exact_for_their_own_motion(rule: str) -> None:
    degree, _ = paths.FLOORS[rule]
    t = np.arange(16.0)
    path = np.stack([sum((k + 1) * (t / 10) ** k for k in range(degree + 1)), 3 - t * bool(degree)], -1)[None]
    ahead = paths.extrapolate(path[:, :12], rule, 4)
    np.testing.assert_allclose(ahead, path[:, 12:], atol=1e-8)
    curved = ((t / 5) ** (degree + 1))[None, :, None]
    assert np.abs(paths.extrapolate(curved[:, :12], rule, 4) - curved[:, 12:]).max() > 0.01


# --- the network -----------------------------------------------------------------------------------


def test_digits_and_codes_are_inverse() -> None:
    digits = level_digits(fsq_table(), LEVELS)
    assert digits.max(0).values.tolist() == [2, 1, 1]
    assert len(torch.unique(digits, dim=0)) == 12
    place = torch.tensor([1, 3, 6])
    assert torch.equal(code_of_digits(digits, LEVELS)[(digits * place).sum(-1)], torch.arange(12))
    plain = level_digits(torch.randn(5, 2), (5,))
    assert torch.equal(code_of_digits(plain, (5,))[plain[:, 0]], torch.arange(5))


def test_writer_chooses_the_code_nearest_to_the_expected_levels(predictor: Predictor) -> None:
    digits = level_digits(fsq_table(), LEVELS)
    logits = torch.zeros(12, 7)
    for code, (a, b, c) in enumerate(digits.tolist()):
        logits[code, [a, 3 + b, 5 + c]] = 20.0
    assert torch.equal(predictor.choose(logits), torch.arange(12))
    torn = torch.zeros(1, 7)
    torn[0, [0, 2]] = 5.0  # the first part is either its least or its greatest level: the middle errs least
    torn[0, [3, 5]] = 20.0
    assert digits[predictor.choose(torn)[0]].tolist() == [1, 0, 0]


@pytest.mark.parametrize("model", DYNAMICS)
def test_predictions_do_not_see_the_future(predictor: Predictor, model: str) -> None:
    codes, other = some_codes(6, 4), some_codes(6, 4, seed=1)
    other[:, :3] = codes[:, :3]
    assert (other[:, 3] != codes[:, 3]).any()
    seen, also = (predictor.predict(forecast.past_codes(c, 3), model) for c in (codes, other))
    assert np.array_equal(seen, also)
    other[:, 2] = some_codes(6, 1, seed=2)[:, 0]
    assert not np.array_equal(seen, predictor.predict(forecast.past_codes(other, 3), model)), "the past has no effect"


def test_past_codes_are_a_copy_that_later_slices_cannot_be_reached_from() -> None:
    codes = some_codes(2, 4)
    past = forecast.past_codes(codes, 3)
    assert past.base is None and past.shape == (2, 3, 8, 8)


def test_reader_reads_no_later_slice(predictor: Predictor) -> None:
    coordinates = predictor.coordinates(torch.from_numpy(some_codes(3, 3)).long())
    changed = coordinates.clone()
    changed[:, 2] = -changed[:, 2] + 1
    before, after = predictor.translator.reader(coordinates)[0], predictor.translator.reader(changed)[0]
    assert torch.equal(before[:, :8], after[:, :8])
    assert not torch.allclose(before[:, 8:], after[:, 8:])


def test_batches_do_not_matter(predictor: Predictor) -> None:
    codes = some_codes(7, 3)
    assert np.array_equal(predictor.predict(codes, batch_size=2), predictor.predict(codes, batch_size=7))


@pytest.mark.parametrize("model", DYNAMICS)
def test_dynamics_begin_as_a_straight_continuation(model: str) -> None:
    torch.manual_seed(1)
    network = DYNAMICS[model](SHAPE)
    with torch.no_grad():
        network.bank.filters.copy_(DYNAMICS[model](SHAPE).bank.filters.mean(0, keepdim=True).expand(8, -1, -1))
    t = torch.arange(16.0)[None, :, None]
    line = t * torch.tensor([0.05, -0.02, 0.01])
    assert (network(line[:, :12]) - line[:, 12:]).norm(dim=-1).max() < 0.25


def test_dynamics_learn_to_beat_every_floor_on_circles() -> None:
    torch.manual_seed(0)
    network = DYNAMICS["lstm"](SHAPE)
    step = dynamics_step(SHAPE, 0.002 * torch.randn(64, 12, 3))
    t = torch.arange(16.0)

    def circles(count: int) -> torch.Tensor:
        rate, phase = 0.3 + 0.2 * torch.rand(count, 1), 6.28 * torch.rand(count, 1)
        angle = rate * t + phase
        return torch.stack([0.5 * angle.cos(), 0.5 * angle.sin(), 0.2 * angle.cos()], -1)

    optimizer = torch.optim.AdamW(network.parameters(), lr=0.003)
    for _ in range(120):
        loss, _ = step(network, {"path": circles(64)})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    test = circles(200)
    with torch.no_grad():
        error = (network(test[:, :12]) - test[:, 12:])[..., :2].norm(dim=-1).mean()
    floors = [
        np.linalg.norm(paths.extrapolate(test[:, :12].numpy(), rule, 4) - test[:, 12:].numpy(), axis=-1).mean()
        for rule in paths.FLOORS
    ]
    assert error < 0.6 * min(floors)


def test_a_saved_predictor_predicts_the_same(predictor: Predictor, tmp_path: Path) -> None:
    predictor.save(tmp_path / "model")
    loaded = load_predictor(tmp_path / "model")
    assert (loaded.best, loaded.tokenizer_hash) == ("transformer", "abc")
    assert read_config(tmp_path / "model")["models"] == sorted(DYNAMICS)
    codes = some_codes(5, 3)
    for model in (None, *DYNAMICS):
        assert np.array_equal(loaded.predict(codes, model), predictor.predict(codes, model))


def test_codes_that_do_not_fit_are_refused(predictor: Predictor) -> None:
    with pytest.raises(UserError, match="reads"):
        predictor.predict(some_codes(2, 4))


# --- scoring ---------------------------------------------------------------------------------------


def test_oracle_is_exact_on_exact_tracks_and_clips_to_the_image(tracks: Tracks, scene: Scene) -> None:
    u, v, radius = scene.project(tracks.points)
    oracle = forecast.Oracle(scene, (u, v, 1.05 * radius), tracks.points)
    assert oracle.bias == pytest.approx(np.log(1.05), abs=1e-6)
    times = scene.world.times
    past = (u[:, :12], v[:, :12], 1.05 * radius[:, :12])
    found_u, found_v = oracle.predict(past, tracks.label, times[:12], times[12:])
    error = np.hypot(found_u - u[:, 12:], found_v - v[:, 12:])
    assert np.median(error) < 0.01 and error.mean() < 0.1
    wrong = np.array(["linear"] * len(tracks))
    other_u, other_v = oracle.predict(past, wrong, times[:12], times[12:])
    assert np.hypot(other_u - u[:, 12:], other_v - v[:, 12:]).mean() > 10 * error.mean()
    lost = tuple(np.zeros_like(part) for part in past)
    lost_u, lost_v = oracle.predict(lost, tracks.label, times[:12], times[12:])  # type: ignore[arg-type]
    assert ((lost_u >= 0) & (lost_u <= 63) & (lost_v >= 0) & (lost_v <= 63)).all()


def test_velocity_error_and_horizon_of_known_errors(tracks: Tracks, scene: Scene) -> None:
    pixels = np.zeros((len(tracks), 4, 64, 64, 3), np.uint8)
    truth = forecast.Truth(tracks.label, pixels, tracks.points, 12)
    u, v, _ = scene.project(tracks.points[:, 12:])
    shifted = forecast.judge_positions(u + 3, v + 4, truth, scene)
    np.testing.assert_allclose(shifted.centroid, 5.0)
    assert forecast.velocity_error(shifted, truth, scene) == pytest.approx(0, abs=1e-9)
    doubled = forecast.judge_positions(2 * u, 2 * v, truth, scene)
    assert forecast.velocity_error(doubled, truth, scene) == pytest.approx(1, abs=1e-9)
    rows = forecast.horizon_rows("shifted", "floor", shifted, truth.label)
    assert len(rows) == 4 * 5 and rows[0]["step"] == 1 and rows[0]["class"] == "all"
    np.testing.assert_allclose([row["centroid_error_px"] for row in rows], 5.0)
