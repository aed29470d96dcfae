"""Paths, dynamics, reader, writer and the scoring of forecasts, on closed forms and properties."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.core.artifacts import read_config
from kinetoken.core.errors import UserError
from kinetoken.heads.position import PositionHead
from kinetoken.physics import fitting, laws
from kinetoken.physics.world import World
from kinetoken.prediction import judging
from kinetoken.prediction.network import DYNAMICS, PathShape, Predictor, PredictorShape, load_predictor
from kinetoken.prediction.training import ErrorModel, dynamics_step, slices_ahead
from kinetoken.prediction.truth import Truth
from kinetoken.scenes import paths
from kinetoken.scenes.camera import Camera
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.rendering import Scene
from kinetoken.scenes.tracking import Tracked
from kinetoken.scenes.tracks import Tracks, read_tracks
from kinetoken.tokenizer.codebook import Codebook

LEVELS = (3, 2, 2)
FRAMES = 4
WORLD = World(floor_y=-1.15, ball_radius=0.2, fps=16.0, num_frames=16)
SHAPE = PredictorShape(
    grid=(4, 8, 8), levels=LEVELS, coordinates=3, codebook_size=12, past_slices=3, slice_frames=4, image_size=64,
    width=16, filters=8, lstm_width=16, transformer_width=16,
)
LONG = dataclasses.replace(SHAPE, past_slices=1, future_slices=3)


def fsq_codebook() -> Codebook:
    """An FSQ of LEVELS, first part fastest."""
    index = torch.arange(12)
    digits = torch.stack([index % 3, index // 3 % 2, index // 6], -1)
    return Codebook(digits.float() - 1, LEVELS)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    built = Predictor(SHAPE, fsq_codebook()).eval()
    built.tokenizer_hash, built.best = "abc", "transformer"
    return built


@pytest.fixture(scope="module")
def long_predictor() -> Predictor:
    """One slice given, three foretold."""
    torch.manual_seed(0)
    return Predictor(LONG, fsq_codebook()).eval()


def test_a_predictor_keeps_code_vectors_of_its_own() -> None:
    """What the caller does to its table later, or another predictor of the same table, changes nothing."""
    codebook = fsq_codebook()
    first, second = Predictor(SHAPE, codebook), Predictor(SHAPE, codebook)
    codebook.vectors.zero_()
    second.load_state_dict({name: torch.zeros_like(value) for name, value in second.state_dict().items()})
    assert (first.translator.vectors.table == fsq_codebook().vectors).all()


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


def test_polynomials_are_orthonormal_and_in_the_order_of_their_degree() -> None:
    basis = paths.polynomial_basis(8, 12)
    np.testing.assert_allclose(basis @ basis.T, np.eye(8), atol=1e-10)
    t = np.arange(12.0)
    for degree in range(7):
        found = basis @ (t / 6 - 1) ** degree
        assert found[degree] > 0.01
        np.testing.assert_allclose(found[degree + 1 :], 0, atol=1e-10)
    short = paths.polynomial_basis(8, 4)
    np.testing.assert_allclose(short[:4] @ short[:4].T, np.eye(4), atol=1e-10)
    assert not short[4:].any()


def test_the_form_of_a_path_is_of_order_one_in_every_degree(tracks: Tracks, scene: Scene) -> None:
    torch.manual_seed(5)
    path = paths.scene_path(scene, tracks.points)[:, :12]
    path += 0.01 * torch.randn_like(path)  # as a reader errs; what is smaller than that stays small
    form = PathShape(SHAPE)
    form.measure(path)
    found = form(path)
    assert found.shape == (len(path), 3, 24)
    last = found[:, -1].reshape(-1, 8, 3)
    torch.testing.assert_close(last.std(0), torch.ones(8, 3), rtol=0.01, atol=0.01)
    changed = path.clone()
    changed[:, 4:] += 1
    assert torch.equal(form(changed)[:, 0], found[:, 0]), "the first slice knows of later ones"


def test_filters_of_a_circle_are_exact_on_a_helix_of_their_period() -> None:
    t = np.arange(16.0)
    helix = np.stack([np.cos(0.5 * t + 1), 2 * np.sin(0.5 * t + 1) + 0.1 * t, 3 - 0.2 * t], -1)
    ahead = paths.fitted_curve_matrix(1, 0.5, 12, 4) @ helix[:12]
    np.testing.assert_allclose(ahead, helix[12:], atol=1e-8)
    other = paths.fitted_curve_matrix(1, 0.3, 12, 4) @ helix[:12]
    assert np.abs(other - helix[12:]).max() > 0.1


@pytest.mark.parametrize("past", [1, 4, 12])
def test_every_filter_carries_on_a_line_that_it_has_two_points_of(past: int) -> None:
    line = np.arange(1.0, past + 5) * min(past - 1, 1)  # one frame says nothing of a velocity
    for index in range(len(paths.CURVES)):
        matrix = paths.carry_on_matrix(index, past, 4)
        assert matrix.shape == (4, past)
        np.testing.assert_allclose(matrix @ line[:past], line[past:], atol=1e-8)


def test_cell_centres_are_where_their_pixels_are() -> None:
    columns = np.arange(64).reshape(8, 8).mean(1)  # mean pixel of each cell of 8
    expected = paths.to_path_coordinates(columns, columns, np.ones(8), 64)[:, 0]
    torch.testing.assert_close(Predictor(SHAPE, fsq_codebook()).translator.reader.centres[:8, 0], expected)


@pytest.mark.parametrize("law", laws.CLASSES)
def test_symmetric_copies_obey_the_law_and_stay_in_view(tracks: Tracks, law: str) -> None:
    original = tracks.points[tracks.label == law][:6]
    copies = paths.symmetric_copies(original, tracks.world, 4, (0.8, 1.3), seed=3)
    assert copies.shape == (24, 16, 3)
    assert tracks.world.in_view(copies, margin=0.02).all()
    fitted = fitting.fit_law(law, tracks.world.times, copies).predict(tracks.world.times)
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


def test_writer_decides_each_part_with_those_before_it_known(predictor: Predictor) -> None:
    torch.manual_seed(4)
    writer, shown = predictor.translator.writer, torch.randn(5, 8, 8, 2 * SHAPE.width)
    with torch.no_grad():
        chosen = writer.choose(shown)
        logits = writer.logits(shown, chosen)
        assert [part.shape[-1] for part in logits] == list(LEVELS)
        for part, each in enumerate(logits):
            assert torch.equal(each.argmax(-1), chosen[..., part])
        other = chosen.clone()
        other[..., 1] = 1 - other[..., 1]
        after = writer.logits(shown, other)
    assert torch.equal(after[0], logits[0]) and torch.equal(after[1], logits[1])
    assert not torch.allclose(after[2], logits[2])


@pytest.mark.parametrize("model", DYNAMICS)
def test_predictions_do_not_see_the_future(predictor: Predictor, model: str) -> None:
    codes, other = some_codes(6, 4), some_codes(6, 4, seed=1)
    other[:, :3] = codes[:, :3]
    assert (other[:, 3] != codes[:, 3]).any()
    seen, also = (predictor.predict(judging.past_codes(c, 3), model) for c in (codes, other))
    assert np.array_equal(seen, also)
    other[:, 2] = some_codes(6, 1, seed=2)[:, 0]
    assert not np.array_equal(seen, predictor.predict(judging.past_codes(other, 3), model)), "the past has no effect"


def test_past_codes_are_a_copy_that_later_slices_cannot_be_reached_from() -> None:
    codes = some_codes(2, 4)
    past = judging.past_codes(codes, 3)
    assert past.base is None and past.shape == (2, 3, 8, 8)


def test_reader_reads_no_later_slice(predictor: Predictor) -> None:
    codes = torch.from_numpy(some_codes(3, 3)).long()
    coordinates = predictor.translator.vectors(codes)
    changed = coordinates.clone()
    changed[:, 2] = -changed[:, 2] + 1
    before, after = (predictor.translator.reader(each, codes)[0] for each in (coordinates, changed))
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
        mean = DYNAMICS[model](SHAPE).banks[0].filters.mean(0, keepdim=True)
        network.banks[0].filters.copy_(mean.expand(8, -1, -1))
    t = torch.arange(16.0)[None, :, None]
    line = t * torch.tensor([0.05, -0.02, 0.01])
    assert (network(line[:, :12])[:, 0] - line[:, 12:]).norm(dim=-1).max() < 0.25


@pytest.mark.parametrize("model", DYNAMICS)
def test_each_slice_is_carried_on_from_the_frames_before_it_alone(long_predictor: Predictor, model: str) -> None:
    """One pass over a whole path gives what each of its beginnings gives, and no frame changes what is said of earlier
    slices."""
    torch.manual_seed(2)
    path = 0.1 * torch.randn(5, 12, 3).cumsum(1)
    network = long_predictor.dynamics[model]
    with torch.no_grad():
        whole = network(path)
        assert whole.shape == (5, 3, FRAMES, 3)
        for slices in (1, 2, 3):
            torch.testing.assert_close(network(path[:, : slices * FRAMES])[:, -1], whole[:, slices - 1])
        changed = path.clone()
        changed[:, 8:] += 1
        after = network(changed)
    assert torch.equal(after[:, :2], whole[:, :2])
    assert not torch.allclose(after[:, 2], whole[:, 2])


def test_slices_ahead_are_those_that_follow_each_beginning() -> None:
    path = torch.arange(16.0)[None, :, None].expand(2, -1, 3)
    assert slices_ahead(SHAPE, path)[0, :, :, 0].tolist() == [[12, 13, 14, 15]]
    assert slices_ahead(LONG, path)[0, :, 0, 0].tolist() == [4, 8, 12]


@pytest.mark.parametrize("model", DYNAMICS)
def test_a_rollout_is_one_step_after_another_on_its_own_codes(long_predictor: Predictor, model: str) -> None:
    whole = some_codes(6, 1)
    ahead = long_predictor.predict(whole, model)
    assert ahead.shape == (6, 3, 8, 8)
    for _ in range(3):
        whole = np.concatenate([whole, long_predictor.predict(whole, model, slices=1)], 1)
    assert np.array_equal(whole[:, 1:], ahead)
    assert np.array_equal(long_predictor.predict(whole[:, :1], model, slices=2), ahead[:, :2])


def test_dynamics_learn_to_beat_every_floor_on_circles() -> None:
    torch.manual_seed(0)
    network = DYNAMICS["lstm"](SHAPE)
    step = dynamics_step(SHAPE, ErrorModel(0.002 * torch.randn(64, 12, 3)))
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
        error = (network(test[:, :12])[:, 0] - test[:, 12:])[..., :2].norm(dim=-1).mean()
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


def test_codes_that_do_not_fit_are_refused(predictor: Predictor, long_predictor: Predictor) -> None:
    with pytest.raises(UserError, match="reads"):
        predictor.predict(some_codes(2, 4))
    with pytest.raises(UserError, match="reads 3 to 3 slices"):
        predictor.predict(some_codes(2, 2))
    with pytest.raises(UserError, match="2 more asked for"):
        predictor.predict(some_codes(2, 3), slices=2)
    with pytest.raises(UserError, match=r"reads 1 to 3 slices of \(8, 8\)"):
        long_predictor.predict(some_codes(2, 1)[:, :, :4])


# --- scoring ---------------------------------------------------------------------------------------


def test_oracle_is_exact_on_exact_tracks_and_clips_to_the_image(tracks: Tracks, scene: Scene) -> None:
    u, v, radius = scene.camera.project(tracks.points)
    oracle = judging.LawFitter(scene, (u, v, 1.05 * radius), tracks.points)
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


def test_the_law_is_chosen_without_a_label_and_does_as_well(tracks: Tracks, scene: Scene) -> None:
    u, v, radius = scene.camera.project(tracks.points)
    rng, times = np.random.default_rng(0), scene.world.times
    seen = tuple(each[:, :12] + 0.1 * rng.normal(size=each[:, :12].shape) for each in (u, v))
    past = (*seen, radius[:, :12] * np.exp(0.01 * rng.normal(size=u[:, :12].shape)))
    fitter = judging.LawFitter(scene, past, tracks.points[:, :12])
    away = {}
    for name, label in (("oracle", tracks.label), ("chosen", None)):
        found = fitter.predict(past, label, times[:12], times[12:])
        away[name] = np.hypot(found[0] - u[:, 12:], found[1] - v[:, 12:]).mean()
    assert away["chosen"] < 1.5 * away["oracle"] < 1.0, away


def test_ridge_regression_learns_circles_and_no_line_does() -> None:
    def circles(count: int, seed: int) -> tuple[Tracked, Truth]:
        draw = np.random.default_rng(seed)
        angle = 0.45 * np.arange(16) + draw.uniform(0, 6, (count, 1))
        u, v = 31.5 + 14 * np.cos(angle), 31.5 + 9 * np.sin(angle)
        ones = np.ones_like(u)
        frames = np.zeros((count, 4, 64, 64, 3), np.uint8)
        truth = Truth(np.full(count, "a"), frames, u, v, frames[..., 0] > 0, frames[0, 0] / np.float32(255), 12)
        return Tracked(u[:, :12], v[:, :12], 3 * ones[:, :12], ones[:, :12]), truth

    (seen, happened), (past, truth) = circles(80, 0), circles(20, 1)
    ridge = judging.ridge_forecast(seen, happened, past, truth)
    rules = judging.trivial_forecasts(past, truth)
    assert ridge.centroid.mean() < 0.05 < min(each.centroid.mean() for each in rules.values())


def test_measures_of_known_errors(tracks: Tracks, scene: Scene) -> None:
    pixels = np.zeros((len(tracks), 4, 64, 64, 3), np.uint8)
    truth = Truth.of_tracks(tracks.label, pixels, tracks.points, scene, 12)
    u, v, _ = scene.camera.project(tracks.points[:, 12:])
    shifted = judging.judge_positions(u + 3, v + 4, truth)
    np.testing.assert_allclose(shifted.centroid, 5.0)
    assert judging.velocity_error(shifted) == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(shifted.velocity[:, 0], 5.0)  # since the true place in the last of the past
    doubled = judging.judge_positions(2 * u, 2 * v, truth)
    assert judging.velocity_error(doubled) == pytest.approx(1, abs=1e-9)
    second = slice(1, 2)
    assert judging.measures(doubled, steps=second)["velocity_error"] == pytest.approx(1, abs=1e-9)
    first = judging.measures(shifted, steps=slice(0, 1))
    assert first == pytest.approx({"centroid_error_px": 5.0, "velocity_error": 5 / shifted.speed[:, 0].mean()})


def drawn(forecaster: judging.Forecast, squared: float) -> judging.DrawnForecast:
    """The same places, drawn with that squared error everywhere; the ball covers two values."""
    same = np.full_like(forecaster.u, squared)
    return judging.DrawnForecast(
        **vars(forecaster), missed=np.zeros_like(same, bool), squared=same, squared_foreground=4 * same,
        foreground=np.full_like(same, 2),
    )


def test_the_floor_beside_a_number_is_the_best_rule_of_that_class_and_step(tracks: Tracks, scene: Scene) -> None:
    pixels = np.zeros((len(tracks), 4, 64, 64, 3), np.uint8)
    truth = Truth.of_tracks(tracks.label, pixels, tracks.points, scene, 12)
    u, v, _ = scene.camera.project(tracks.points[:, 12:])
    linear, first = (tracks.label == "linear")[:, None], np.arange(4) == 0
    far = judging.judge_positions(u + np.where(linear, 1, 9), v, truth)  # best for lines
    near = judging.judge_positions(u + np.where(first, 2, 7), v, truth)  # best for all else
    floors = judging.Floors({"far": far, "near": near}, drawn(judging.judge_positions(u + 20, v, truth), 0.3))
    model = drawn(judging.judge_positions(u, v + 0.5, truth), 0.1)
    rows = {
        (row["class"], row["step"]): row for row in judging.horizon_rows("m", "model", model, floors, truth.label)
    }
    assert len(rows) == 4 * 5 and next(iter(rows)) == ("all", 1)
    for (group, step), row in rows.items():
        assert row["centroid_error_px"] == pytest.approx(0.5)
        if group != "all":
            expected = 1 if group == "linear" else 2 if step == 1 else 7
            assert row["centroid_error_px_floor"] == pytest.approx(expected), (group, step)
        assert (row["mse"], row["mse_floor"]) == pytest.approx((0.1, 0.3))
        assert (row["foreground_mse"], row["foreground_mse_floor"]) == pytest.approx((0.2, 0.6))
    by_rule = judging.horizon_rows("far", "floor", far, floors, truth.label)
    assert not {"mse", "mse_floor"} & set(by_rule[0]), "a rule draws nothing"


def test_teacher_forced_sees_the_true_slices_before_each_and_none_after(tracks: Tracks, scene: Scene) -> None:
    count = len(tracks)
    codes = some_codes(count, 4)
    truth = Truth.of_tracks(tracks.label, np.zeros((count, 12, 64, 64, 3), np.uint8), tracks.points, scene, 4)
    seen: list[np.ndarray] = []

    def repeats_the_last(past: np.ndarray, slices: int) -> np.ndarray:
        seen.append(past)
        return np.repeat(past[:, -1:], slices, 1)

    def judge(whole: np.ndarray, part: Truth) -> judging.DrawnForecast:
        """The first code of the last slices stands for the error."""
        steps = part.frames.shape[1]
        ahead = np.repeat(whole[:, part.past_frames // FRAMES :, 0, 0], FRAMES, 1)
        assert ahead.shape == (count, steps) and part.u.shape[1] == part.past_frames + steps
        return judging.DrawnForecast(*[ahead] * len(dataclasses.fields(judging.DrawnForecast)))

    forced = judging.teacher_forced(repeats_the_last, codes, 1, FRAMES, judge, truth)
    np.testing.assert_array_equal(forced.centroid, np.repeat(codes[:, :3, 0, 0], FRAMES, 1))
    for step, past in enumerate(seen):
        np.testing.assert_array_equal(past, codes[:, : 1 + step])
        assert past.base is None, "what comes later can be reached"
    one = truth.of_frames(8, 12)
    assert one.past_frames == 12
    free = judge(np.concatenate([codes[:, :3], repeats_the_last(codes[:, :3], 1)], 1), one)
    np.testing.assert_array_equal(
        judging.teacher_forced(repeats_the_last, codes, 3, FRAMES, judge, one).centroid, free.centroid
    )


def test_errors_are_drawn_like_those_measured_and_never_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(12, 12, generator=generator)
    size = 0.5 + torch.rand(600, 1, generator=generator)
    measured = (0.3 + size * torch.randn(600, 12, generator=generator) @ mixing).unflatten(1, (4, 3))
    torch.manual_seed(1)
    drawn = ErrorModel(measured).draw(6000)
    assert drawn.shape == (6000, 4, 3) and drawn.dtype == torch.float32
    flat, given = drawn.flatten(1), measured.flatten(1)
    torch.testing.assert_close(flat.mean(0), given.mean(0), atol=0.4, rtol=0)
    torch.testing.assert_close(flat.T.cov(), given.T.cov(), atol=0.12 * float(given.T.cov().abs().max()), rtol=0)
    assert float(torch.cdist(flat[:500], given).min()) > 0.01 * float(given.norm(dim=1).median())
    spread = [float((each - each.mean(0)).norm(dim=1).log().std()) for each in (flat, given)]
    assert spread[0] == pytest.approx(spread[1], rel=0.25), "some clips are read worse than others"


def test_errors_of_fewer_clips_than_numbers_stay_among_what_was_seen() -> None:
    measured = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(3)
    drawn = ErrorModel(measured).draw(50).flatten(1) - measured.flatten(1).mean(0)
    seen = measured.flatten(1) - measured.flatten(1).mean(0)
    assert torch.isfinite(drawn).all()
    assert int(torch.linalg.matrix_rank(torch.cat([drawn, seen]), rtol=1e-4)) == 4


# --- the position head as reader --------------------------------------------------------------------


def head_on(codebook: Codebook) -> PositionHead:
    torch.manual_seed(5)
    made = PositionHead(
        codebook.vectors.float(), SHAPE.grid, FRAMES, Camera.of(WORLD, 64), channels=6, blocks=1, width=8
    )
    made.typical.fill_(1.0)
    torch.nn.init.normal_(made.correct[-1].weight)  # type: ignore[arg-type]  # starts at zero: let it speak
    return made.eval()


def test_the_position_head_reads_the_past_and_stays_as_it_is(tmp_path: Path) -> None:
    """The path is the head's own in path coordinates; training reaches the look, the writer and the vectors alone."""
    head, codes = head_on(fsq_codebook()), some_codes(5, 3)
    torch.manual_seed(0)
    built = Predictor(SHAPE, fsq_codebook(), head).eval()
    seen, ahead = built.paths(codes, "lstm", batch_size=2)
    u, v, radius = Camera.of(WORLD, 64).project(head.positions(codes))
    torch.testing.assert_close(seen, paths.to_path_coordinates(u, v, radius, 64), atol=1e-4, rtol=0)
    assert ahead.shape == (5, FRAMES, 3)
    before = {name: value.clone() for name, value in built.translator.named_parameters()}
    _, path, look = built.read(torch.from_numpy(codes).long())
    (path.sum() + look.square().sum()).backward()  # type: ignore[no-untyped-call]
    moved = {name for name, value in built.translator.named_parameters() if value.grad is not None}
    assert moved == {name for name in before if name.startswith(("reader.body", "reader.look", "vectors.learned"))}
    built.tokenizer_hash = "abc"
    built.save(tmp_path / "model")
    loaded = load_predictor(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(codes), built.predict(codes))
    torch.testing.assert_close(loaded.paths(codes)[0], seen)


def test_a_predictor_saved_before_heads_read_still_loads(predictor: Predictor, tmp_path: Path) -> None:
    predictor.save(tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text(encoding="utf-8"))
    assert config.pop("position") is None
    (tmp_path / "model/config.json").write_text(json.dumps(config), encoding="utf-8")
    codes = some_codes(4, 3)
    np.testing.assert_array_equal(load_predictor(tmp_path / "model").predict(codes), predictor.predict(codes))
