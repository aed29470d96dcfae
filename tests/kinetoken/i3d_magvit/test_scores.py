"""Errors of foretold positions against closed forms, and the floors beside them."""

import numpy as np
import pytest

from kinetoken.i3d_magvit import scores
from kinetoken.i3d_magvit.scores import AXES, Array, Future, error_by_step, forecast_metrics, trivial_futures

PAST, HORIZON, FRAMES = 12, 4, 16
LABEL = np.array(["a", "b"])


def lines(count: int = 2) -> Array:
    """Balls on straight lines at steady speed."""
    t = np.arange(FRAMES)[None, :, None]
    draw = np.random.default_rng(0)
    return draw.normal(size=(count, 1, 3)) + 0.1 * draw.normal(size=(count, 1, 3)) * t


def future(points: Array) -> Future:
    return Future(points, PAST, HORIZON)


def floors(points: Array, label: np.ndarray = LABEL, train: Array | None = None) -> dict[str, Array]:
    return trivial_futures(future(points), label, points if train is None else train, label)


# ---- floors


def test_the_last_place_again_is_exact_for_a_ball_that_rests() -> None:
    points = lines()
    points[:, PAST - 2 :] = points[:, PAST - 2 : PAST - 1]  # it moved before
    found = floors(points)
    np.testing.assert_allclose(found["repeat_last"], points[:, PAST:], atol=1e-12)
    metrics = forecast_metrics(found["repeat_last"], future(points), found)
    assert metrics["forecast_mae"] == metrics["forecast_mae_percent"] == metrics["forecast_rmse_percent"] == 0
    assert metrics["floors"]["constant_velocity"]["forecast_mae"] == pytest.approx(0, abs=1e-12)


def test_constant_velocity_is_exact_on_a_line_and_repeating_is_not() -> None:
    points = lines()
    found = floors(points)
    np.testing.assert_allclose(found["constant_velocity"], points[:, PAST:], atol=1e-9)
    metrics = forecast_metrics(found["repeat_last"], future(points), found)
    assert metrics["floors"]["constant_velocity"]["forecast_mae_percent"] == pytest.approx(0, abs=1e-9)
    speed = np.abs(points[:, 1] - points[:, 0]).mean()  # a coordinate a frame
    assert metrics["forecast_mae"] == pytest.approx(2.5 * speed)  # 1, 2, 3 and 4 frames behind
    assert metrics["forecast_mae_floor"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name, degree", [("constant_acceleration", 2), ("cubic", 3)])
def test_curves_are_exact_for_their_own_degree_and_not_beyond(name: str, degree: int) -> None:
    t = np.arange(FRAMES) / 10
    draw = np.random.default_rng(4).normal(size=(2, degree + 2, 1, 3))
    points = sum(draw[:, power] * t[None, :, None] ** power for power in range(degree + 1))
    np.testing.assert_allclose(floors(points)[name], points[:, PAST:], atol=1e-7)
    bent = points + draw[:, degree + 1] * t[None, :, None] ** (degree + 1)
    assert np.abs(floors(bent)[name] - bent[:, PAST:]).max() > 1e-3


def test_regression_learns_a_recurrence_from_training_tracks() -> None:
    def circles(count: int, seed: int) -> Array:
        draw = np.random.default_rng(seed)
        angle = 0.4 * np.arange(FRAMES) + draw.uniform(0, 6, (count, 1))
        return np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1) + draw.normal(size=(count, 1, 3))

    points, label = circles(2, 0), np.repeat(LABEL, 50)
    found = trivial_futures(future(points), LABEL, circles(100, 1), label)
    away = {name: float(np.abs(each - points[:, PAST:]).mean()) for name, each in found.items()}
    assert away["regression"] < 0.001 < away["constant_acceleration"], away


def test_the_class_mean_is_the_mean_way_of_training_tracks_of_that_class() -> None:
    train, label = np.zeros((4, FRAMES, 3)), np.array(["a", "a", "b", "b"])
    steps = np.arange(1.0, HORIZON + 1)
    train[0, PAST:, 0], train[1, PAST:, 0] = steps, 3 * steps
    train[2:, PAST:, 1] = -steps
    train += np.arange(4.0)[:, None, None]  # where they are does not count
    points = np.ones((2, FRAMES, 3)) * np.array([5.0, 6.0, 7.0])
    found = trivial_futures(future(points), LABEL, train, label)["class_mean"]
    np.testing.assert_allclose(found[0], np.array([5.0, 6, 7]) + np.outer(2 * steps, [1, 0, 0]))
    np.testing.assert_allclose(found[1], np.array([5.0, 6, 7]) + np.outer(-steps, [0, 1, 0]))


def test_floors_see_the_past_alone() -> None:
    points = lines()
    bent = points.copy()
    bent[:, PAST:] += np.random.default_rng(1).normal(size=bent[:, PAST:].shape)
    before, after = floors(points, train=points), floors(bent, train=points)
    assert set(before) == {*scores.RULES, "regression", "class_mean"}
    for name, each in before.items():
        assert each.shape == (2, HORIZON, 3)
        np.testing.assert_array_equal(each, after[name])


# ---- measures


def test_the_extent_is_the_diagonal_of_the_box_of_the_whole_track() -> None:
    points = np.zeros((1, FRAMES, 3))
    points[0, 3] = [3, 0, 0]
    points[0, 15] = [0, -4, 12]  # in the future: it counts
    assert future(points).extent == pytest.approx([13.0])
    np.testing.assert_array_equal(future(points).truth, points[:, PAST:])


def test_percent_is_of_each_track_s_own_extent() -> None:
    points = lines()
    points[1] = 10 * points[0]  # the same motion, ten times as large
    shift = np.zeros((2, HORIZON, 3))
    shift[..., 0] = future(points).extent[:, None] * 0.05
    found = floors(points)
    metrics = forecast_metrics(future(points).truth + shift, future(points), found)
    assert metrics["forecast_mae_percent"] == pytest.approx(5 / 3)  # of one coordinate of three
    assert metrics["forecast_rmse_percent"] == pytest.approx(5 / np.sqrt(3))
    assert metrics["forecast_distance_m"] == pytest.approx(0.05 * future(points).extent.mean())
    assert metrics["forecast_mae"] == pytest.approx(metrics["forecast_distance_m"] / 3)
    by_axis = [metrics[f"forecast_mae_{axis}"] for axis in AXES]
    assert by_axis[0] == pytest.approx(metrics["forecast_distance_m"])
    assert by_axis[1:] == pytest.approx([0, 0], abs=1e-12)


def test_root_mean_square_is_never_below_mean_absolute_and_equal_for_equal_errors() -> None:
    points, draw = lines(40), np.random.default_rng(2)
    label = np.repeat(LABEL, 20)
    here = future(points)
    found = here.truth + 0.1 * draw.standard_t(3, here.truth.shape)
    metrics = forecast_metrics(found, here, floors(points, label))
    assert metrics["forecast_rmse_percent"] > metrics["forecast_mae_percent"]
    for each in metrics["floors"].values():
        assert each["forecast_rmse_percent"] >= each["forecast_mae_percent"] - 1e-12
    share = here.extent[:, None, None] * 0.02 * draw.choice([-1, 1], here.truth.shape)
    metrics = forecast_metrics(here.truth + share, here, floors(points, label))
    assert metrics["forecast_rmse_percent"] == pytest.approx(metrics["forecast_mae_percent"]) == pytest.approx(2)


def test_every_number_has_its_floor_and_interval() -> None:
    points, draw = lines(30), np.random.default_rng(3)
    label = np.repeat(LABEL, 15)
    here = future(points)
    each = floors(points, label)
    metrics = forecast_metrics(here.truth + 0.1 * draw.normal(size=here.truth.shape), here, each)
    for name in ("forecast_mae", "forecast_mae_percent", "forecast_rmse_percent", "forecast_distance_m"):
        assert metrics[f"{name}_ci95_low"] <= metrics[name] <= metrics[f"{name}_ci95_high"]
        assert metrics[f"{name}_floor"] == pytest.approx(min(floor[name] for floor in metrics["floors"].values()))
    assert set(metrics["floors"]) == set(each)
    for name, guess in each.items():  # a floor as the forecast has its own figures
        mine = forecast_metrics(guess, here, each)
        for key, value in metrics["floors"][name].items():
            assert mine[key] == pytest.approx(value)


def test_rows_hold_every_step_of_every_class() -> None:
    points = lines()
    here = future(points)
    found = here.truth + np.arange(1.0, HORIZON + 1)[None, :, None] * np.array([1.0, 2.0])[:, None, None]
    rows = error_by_step(found, here, floors(points), LABEL)
    assert len(rows) == (1 + len(floors(points))) * 3 * HORIZON  # the network and the floors; all, a and b
    table = {(row["forecast"], row["class"], row["step"]): row for row in rows}
    assert next(iter(table)) == ("i3d_magvit", "all", 1)
    for step in range(1, HORIZON + 1):
        assert table["i3d_magvit", "a", step]["distance_m"] == pytest.approx(step * np.sqrt(3))
        assert table["i3d_magvit", "b", step]["mae_percent"] == pytest.approx(100 * 2 * step / here.extent[1])
        both = [table["i3d_magvit", name, step]["distance_m"] for name in "ab"]
        assert table["i3d_magvit", "all", step]["distance_m"] == pytest.approx(np.mean(both))  # type: ignore[arg-type]
        assert table["constant_velocity", "all", step]["distance_m"] == pytest.approx(0, abs=1e-9)
    mean = np.mean([table["i3d_magvit", "all", step]["distance_m"] for step in range(1, HORIZON + 1)])  # type: ignore
    assert forecast_metrics(found, here, floors(points))["forecast_distance_m"] == pytest.approx(mean)


def test_a_ball_that_never_moves_leaves_numbers() -> None:
    points = lines()
    points[0] = points[0, :1]
    with np.errstate(invalid="ignore"):
        metrics = forecast_metrics(floors(points)["repeat_last"], future(points), floors(points))
        rows = error_by_step(floors(points)["repeat_last"], future(points), floors(points), LABEL)
    assert all(np.isfinite(value) for name, value in metrics.items() if name != "floors")
    assert all(np.isfinite(row["mae_percent"]) for row in rows)  # type: ignore[call-overload]
