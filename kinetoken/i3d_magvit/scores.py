"""How well class and future were told: metres and shares of the track's extent, beside floors that know no law."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.numbers import Headlines
from kinetoken.scenes.paths import fitted_curve_matrix, fitted_ridge
from kinetoken.scores import with_interval

Array = NDArray[np.float64]

HEADLINES = Headlines(
    required=(
        "accuracy", "per_class.*", "forecast_mae", "forecast_mae_floor", "forecast_mae_percent",
        "forecast_rmse_percent", "forecast_rmse_percent_floor", "past.accuracy", "frame_centroid_error_px",
    ),
    further=("without_frames.accuracy", "frames_alone.place_px"),  # of a network that has both streams
    bounded=("accuracy", "forecast_mae_percent"),
)
AXES = "xyz"
LEAST_EXTENT = 1e-3  # m; a ball that never moves has a share too
RULES = {  # floors by rule: degree of the polynomial, and how many frames it goes through
    "repeat_last": (0, 1), "constant_velocity": (1, 2), "constant_acceleration": (2, 3), "cubic": (3, 4),
}


@dataclasses.dataclass
class Future:
    """What really happened to N balls: points (N, T, 3) m of the whole track, the first `past` of them seen."""

    points: Array
    past: int
    horizon: int

    @property
    def truth(self) -> Array:
        """(N, horizon, 3) m."""
        return self.points[:, self.past : self.past + self.horizon]

    @property
    def extent(self) -> Array:
        """(N,) m: the diagonal of the box that the whole track fills, at least a millimetre."""
        return np.asarray(np.maximum(np.linalg.norm(np.ptp(self.points, axis=1), axis=-1), LEAST_EXTENT))


def forecast_metrics(found: Array, future: Future, floors: dict[str, Array]) -> dict[str, Any]:
    """Errors of foretold positions (N, H, 3) m, each beside the best of the floors, and every floor by name.

    forecast_mae: mean absolute error of a coordinate, m; forecast_mae_percent: that over the track's extent;
    forecast_rmse_percent: root of the mean square of the same ratio; forecast_distance_m: mean distance.
    """
    errors = {name: _errors(each, future) for name, each in {"": found, **floors}.items()}
    metrics: dict[str, Any] = {}
    for name, values in errors[""].items():
        least = min(float(errors[floor][name].mean()) for floor in floors)
        if name == "forecast_rmse_percent":  # squares until here
            low, high = (np.sqrt(with_interval(name, values)[f"{name}_ci95_{end}"]) for end in ("low", "high"))
            metrics |= {name: float(np.sqrt(values.mean())), f"{name}_ci95_low": float(low),
                        f"{name}_ci95_high": float(high), f"{name}_floor": float(np.sqrt(least))}
        else:
            metrics |= with_interval(name, values) | {f"{name}_floor": least}
    metrics["floors"] = {
        floor: {
            name: float(np.sqrt(values.mean()) if name == "forecast_rmse_percent" else values.mean())
            for name, values in errors[floor].items()
        }
        for floor in floors
    }
    return metrics


def _errors(found: Array, future: Future) -> dict[str, Array]:
    """One value a clip (N,); forecast_rmse_percent as its square."""
    away = found - future.truth  # (N, H, 3) m
    share = 100 * away / future.extent[:, None, None]
    return {
        "forecast_mae": np.abs(away).mean((1, 2)), "forecast_mae_percent": np.abs(share).mean((1, 2)),
        "forecast_rmse_percent": np.square(share).mean((1, 2)),
        "forecast_distance_m": np.linalg.norm(away, axis=-1).mean(1),
        **{f"forecast_mae_{axis}": np.abs(away[..., i]).mean(1) for i, axis in enumerate(AXES)},
    }


def trivial_futures(future: Future, label: np.ndarray, train: Array, train_label: np.ndarray) -> dict[str, Array]:
    """Floors, (N, H, 3) m each, from the true past: they are told more than the network, which reads it off frames.

    The rules of RULES; regression: ridge regression from past to future, fitted to the training tracks; and class_mean:
    the last true place, and from there on the mean way that training tracks of the true class took.
    """
    past, end = future.points[:, : future.past], future.past + future.horizon
    floors = {
        name: fitted_curve_matrix(degree, 0.0, window, future.horizon) @ past[:, -window:]
        for name, (degree, window) in RULES.items() if window <= future.past
    }
    learned = fitted_ridge(_flat(train[:, : future.past]), _flat(train[:, future.past : end]))
    floors["regression"] = learned.predict(_flat(past)).reshape(len(past), future.horizon, 3)
    ways = train[:, future.past : end] - train[:, future.past - 1 : future.past]
    mean = {str(name): ways[train_label == name].mean(0) for name in np.unique(train_label)}
    floors["class_mean"] = past[:, -1:] + np.stack([mean[str(name)] for name in label])
    return floors


def _flat(points: Array) -> Array:
    return points.reshape(len(points), -1)


def error_by_step(found: Array, future: Future, floors: dict[str, Array], label: np.ndarray) -> list[dict[str, object]]:
    """Rows forecast ('i3d_magvit' or a floor), class ('all' first), step (from 1), mae_percent and distance_m."""
    rows: list[dict[str, object]] = []
    for name, each in {"i3d_magvit": found, **floors}.items():
        away = each - future.truth
        share = 100 * np.abs(away).mean(2) / future.extent[:, None]
        for group in ("all", *sorted(set(map(str, label)))):
            here = slice(None) if group == "all" else label == group
            for step in range(future.horizon):
                rows.append({
                    "forecast": name, "class": group, "step": step + 1,
                    "mae_percent": float(share[here][:, step].mean()),
                    "distance_m": float(np.linalg.norm(away[here][:, step], axis=-1).mean()),
                })
    return rows
