"""How well the next frames were foretold: against floors that know no law and an oracle that knows it.

Everything that foretells is a `Forecaster`, given the codes of the past alone: `past_codes` is the only way in, and
floors and oracle read the ball tracked in frames decoded from those codes.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.footage.motion import track_moving
from kinetoken.physics.fitting import predict_chosen_law, predict_known_law
from kinetoken.prediction.truth import Truth
from kinetoken.scenes.camera import camera_whitening
from kinetoken.scenes.paths import FLOORS, Array, extrapolate, fitted_ridge, to_path_coordinates
from kinetoken.scenes.rendering import Scene
from kinetoken.scenes.tracking import Tracked, centroid_errors, track_ball
from kinetoken.scores import bootstrap_interval
from kinetoken.tokenizer.network import Tokenizer
from kinetoken.training.loop import index_batches

Codes = NDArray[np.int32]

@dataclasses.dataclass(frozen=True)
class Insight:
    """What a forecaster holds before it writes codes: where the ball was, and where it will be in the next slice."""

    read: Callable[[Codes], tuple[Array, Array, Array]]  # past codes → u, v, radius (N, P) px
    ahead: Mapping[str, Callable[[Codes], tuple[Array, Array]]]  # model → of past codes: u, v (N, frames) px


# codes so far (N, K, H', W') and how many slices to foretell → those slices (N, slices, H', W') int32
Forecaster = Callable[[Codes, int], Codes]

Rows = slice | NDArray[np.intp]  # some of the clips
EVERY, AFTER_FIRST = slice(None), slice(1, None)

DECODE_BATCH = 16  # clips; what a few need stays in the processor's cache


@dataclasses.dataclass
class Forecast:
    """One forecaster's result on N clips: where the ball is seen, and how far off, (N, H) px each.

    Velocities are what the ball moved since the frame before; in the first frame ahead, since its true place in the
    last of the past.
    """

    u: Array
    v: Array
    centroid: Array
    velocity: Array  # error of it, px a frame
    speed: Array  # the true one, px a frame


@dataclasses.dataclass
class DrawnForecast(Forecast):
    """That of a forecaster that draws frames, (N, H) each; squared errors of values in [0, 1]."""

    missed: NDArray[np.bool_]
    squared: Array  # error, mean over pixels and colours
    squared_foreground: Array  # summed over the true ball's mask
    foreground: Array  # values in that mask


class LawFitter:
    """Fits laws of motion to the ball tracked in the past: the oracle's, which is told each clip's true law, or the one
    that it chooses by the Bayesian information criterion.

    The tracker's errors (pixels across, share of the depth, bias of the radius) are measured once on clips
    whose truth is known, so that the fit trusts each measurement as far as it deserves.
    """

    def __init__(self, scene: Scene, tracked: tuple[Array, Array, Array], truth: Array) -> None:
        """tracked: u, v, radius (N, T) px, where a lost ball has radius 0; truth: positions (N, T, 3) m."""
        self._scene = scene
        u, v, radius = scene.camera.project(truth)
        seen = tracked[2] > 0
        across = np.concatenate([(tracked[0] - u)[seen], (tracked[1] - v)[seen]])
        size = np.log(tracked[2][seen] / radius[seen])
        # the median is unmoved by the few frames in which the ball was not the thing found
        self.bias = float(np.median(size)) if seen.any() else 0.0
        self.across_px = max(1.4826 * float(np.median(np.abs(across))), 1e-3) if seen.any() else 1.0
        self.depth_fraction = max(1.4826 * float(np.median(np.abs(size - self.bias))), 1e-3) if seen.any() else 1.0

    def predict(
        self, tracked: tuple[Array, Array, Array], label: np.ndarray | None, times: Array, at: Array
    ) -> tuple[Array, Array]:
        """u, v (N, len(at)) px, kept inside the image, from the past's u, v, radius (N, len(times)) px.

        `label` (N,) names each clip's law; without it the law is chosen from the same points.
        """
        scene, camera, size = self._scene, self._scene.camera, self._scene.look.image_size
        # a lost ball still needs a depth: the farthest there is
        radius = np.maximum(tracked[2] / np.exp(self.bias), camera.radius_px(scene.world.far) / 2)
        points = camera.unproject(tracked[0], tracked[1], radius)
        whitening = camera_whitening(points, self.across_px, self.depth_fraction, camera.focal)
        ahead = (
            predict_chosen_law(times, points, at, whitening) if label is None
            else predict_known_law(label, times, points, at, whitening)
        )
        ahead[..., 2] = np.maximum(ahead[..., 2], 1e-2)
        u, v, _ = camera.project(ahead)
        return np.clip(u, 0, size - 1), np.clip(v, 0, size - 1)


def past_codes(codes: Codes, past_slices: int) -> Codes:
    """The slices that may be seen, (N, past_slices, H', W'), copied: nothing later is reachable from them."""
    return codes[:, :past_slices].copy()


def decode_in_batches(
    tokenizer: Tokenizer, codes: Codes, last: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows, frames (B, T, H, W, 3) float32 in [0, 1]) batch by batch; only the `last` frames if given."""
    device = next(tokenizer.parameters()).device
    for rows in index_batches(len(codes), DECODE_BATCH):
        yield rows, tokenizer.decode(torch.from_numpy(codes[rows].astype(np.int64)).to(device), last).cpu().numpy()


def track_decoded(tokenizer: Tokenizer, codes: Codes, background: NDArray[np.float32] | None) -> Tracked:
    """The ball, or what moves, tracked in every frame decoded from the codes: (N, T) each."""
    return _joined([track_moving(frames, background) for _, frames in decode_in_batches(tokenizer, codes)])


def _joined(parts: list[Tracked]) -> Tracked:
    return Tracked(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in dataclasses.fields(Tracked)))


def judge_past(tokenizer: Tokenizer, past: Codes, truth: Truth) -> tuple[Tracked, DrawnForecast]:
    """The ball tracked in the frames decoded from the past, (N, P) each, and the last of them shown again and again.

    Where each clip has a background of its own, the tracker takes the one that the past shows.
    """
    tracked, parts = [], []
    for rows, frames in decode_in_batches(tokenizer, past):
        tracked.append(track_moving(frames, truth.shared_background))
        again = np.repeat(frames[:, -1:], truth.frames.shape[1], axis=1)
        parts.append(_judge_batch(again, rows, truth))
    return _joined(tracked), DrawnForecast(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def judge_frames(tokenizer: Tokenizer, codes: Codes, truth: Truth) -> DrawnForecast:
    """Decode whole clips of codes (N, K, H', W') and compare their last frames with what happened."""
    horizon = truth.frames.shape[1]
    parts = [_judge_batch(frames, rows, truth) for rows, frames in decode_in_batches(tokenizer, codes, horizon)]
    return DrawnForecast(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _judge_batch(frames: NDArray[np.float32], rows: np.ndarray, truth: Truth) -> tuple[np.ndarray, ...]:
    """The fields of a DrawnForecast for frames (B, H, H', W', 3) of the clips `rows`."""
    original = truth.frames[rows].astype(np.float32) / 255
    background, true_u, true_v = truth.behind(rows), truth.u[rows], truth.v[rows]
    found, ahead = track_ball(frames, background), slice(truth.past_frames, None)
    centroid, missed = centroid_errors(frames, original, background, true_u[:, ahead], true_v[:, ahead])
    velocity, speed = _velocities(found.u, found.v, true_u, true_v, truth.past_frames)
    squared, mask = np.square(frames - original), truth.mask[rows]  # (B, H, H', W')
    inside = (squared.sum(-1) * mask).sum((-1, -2))
    return (
        found.u, found.v, centroid, velocity, speed, missed, squared.mean((-1, -2, -3)), inside, 3 * mask.sum((-1, -2))
    )


def _velocities(u: Array, v: Array, true_u: Array, true_v: Array, past_frames: int) -> tuple[Array, Array]:
    """Error of the image velocity (N, H) and its true size, px a frame each; true places (N, past + H) px."""
    true_u, true_v = (true[:, past_frames - 1 :] for true in (true_u, true_v))
    moved = [np.diff(true, axis=1) for true in (true_u, true_v)]
    seen = [
        np.diff(np.concatenate([true[:, :1], found], 1), axis=1) for true, found in ((true_u, u), (true_v, v))
    ]
    return np.hypot(seen[0] - moved[0], seen[1] - moved[1]), np.hypot(*moved)


def judge_positions(u: Array, v: Array, truth: Truth) -> Forecast:
    """The same for a forecaster that tells positions (N, H) px and draws nothing."""
    velocity, speed = _velocities(u, v, truth.u, truth.v, truth.past_frames)
    away = np.hypot(u - truth.u[:, truth.past_frames :], v - truth.v[:, truth.past_frames :])
    return Forecast(u, v, away, velocity, speed)


def teacher_forced(
    forecaster: Forecaster, codes: Codes, past_slices: int, slice_frames: int,
    judge: Callable[[Codes, Truth], DrawnForecast], truth: Truth,
) -> DrawnForecast:
    """Each slice ahead foretold from the true codes (N, K, H', W') of all slices before it, and judged after them."""
    parts = []
    for step in range(truth.frames.shape[1] // slice_frames):
        before = past_codes(codes, past_slices + step)
        whole = np.concatenate([before, forecaster(before, 1)], 1)
        parts.append(judge(whole, truth.of_frames(step * slice_frames, (step + 1) * slice_frames)))
    return DrawnForecast(*(
        np.concatenate([getattr(part, field.name) for part in parts], 1) for field in dataclasses.fields(DrawnForecast)
    ))


def trivial_forecasts(past: Tracked, truth: Truth) -> dict[str, Forecast]:
    """The floors: each rule of FLOORS carried on from the ball tracked in the decoded past."""
    horizon, size = truth.frames.shape[1], truth.frames.shape[-2]
    path = np.stack([past.u, past.v], -1)  # (N, P, 2)
    ahead = {rule: np.clip(extrapolate(path, rule, horizon), 0, size - 1) for rule in FLOORS}
    return {rule: judge_positions(where[..., 0], where[..., 1], truth) for rule, where in ahead.items()}


def law_forecast(
    fitter: LawFitter, past: tuple[Array, Array, Array], truth: Truth, times: Array, label: np.ndarray | None
) -> Forecast:
    """The fit of each clip's true law (`label`), or of the one chosen without it, to what is seen of the past.

    past: u, v, radius (N, P) px; times (T,) in seconds, of all frames up to the last of those ahead.
    """
    u, v = fitter.predict(past, label, times[: truth.past_frames], times[truth.past_frames :])
    return judge_positions(u, v, truth)


def ridge_forecast(seen: Tracked, happened: Truth, past: Tracked, truth: Truth) -> Forecast:
    """Ridge regression from the ball tracked in the decoded past to its places ahead.

    Fitted to training clips (`seen` and what `happened`), its penalty chosen by their leave-one-out error.
    """
    size, frames = truth.frames.shape[-2], slice(truth.past_frames, None)
    model = fitted_ridge(_as_features(seen, size), np.concatenate([happened.u[:, frames], happened.v[:, frames]], 1))
    u, v = np.split(np.clip(model.predict(_as_features(past, size)), 0, size - 1), 2, axis=1)
    return judge_positions(u, v, truth)


def _as_features(tracked: Tracked, size: int) -> Array:
    """(N, 3 · P): the path in path coordinates."""
    return to_path_coordinates(tracked.u, tracked.v, tracked.radius, size).flatten(1).double().numpy()


def velocity_error(forecast: Forecast, rows: Rows = EVERY, steps: slice = AFTER_FIRST) -> float:
    """|v̂ − v| / |v| of the image velocity between foretold frames, the means taken before the quotient.

    So a clip whose ball stands still in the image for a moment does not decide the figure.
    """
    return float(forecast.velocity[rows][:, steps].mean() / forecast.speed[rows][:, steps].mean())


def pixel_metrics(forecast: DrawnForecast, rows: Rows = EVERY, steps: slice = EVERY) -> dict[str, float]:
    """mse, foreground_mse and missed_rate of a forecaster that draws."""
    inside, foreground = (part[rows][:, steps].sum() for part in (forecast.squared_foreground, forecast.foreground))
    return {
        "mse": float(forecast.squared[rows][:, steps].mean()),
        "foreground_mse": float(inside / max(foreground, 1)),
        "missed_rate": float(forecast.missed[rows][:, steps].mean()),
    }


def centroid_metrics(forecast: Forecast, draws: int, seed: int) -> dict[str, float]:
    """centroid_error_px with its interval over clips."""
    low, high = bootstrap_interval(forecast.centroid, seed, draws)
    return {
        "centroid_error_px": float(forecast.centroid.mean()),
        "centroid_error_px_ci95_low": low, "centroid_error_px_ci95_high": high,
    }


def measures(forecast: Forecast, rows: Rows = EVERY, steps: slice = EVERY) -> dict[str, float]:
    """centroid_error_px and velocity_error of some clips and steps; mse and foreground_mse of one that draws.

    The velocity is that between foretold frames, unless a single step is asked for.
    """
    between = AFTER_FIRST if steps == EVERY else steps
    found = {
        "centroid_error_px": float(forecast.centroid[rows][:, steps].mean()),
        "velocity_error": velocity_error(forecast, rows, between),
    }
    if isinstance(forecast, DrawnForecast):
        pixels = pixel_metrics(forecast, rows, steps)
        found |= {name: pixels[name] for name in ("mse", "foreground_mse")}
    return found


@dataclasses.dataclass
class Floors:
    """What foretells with no network: the rules of FLOORS, ridge regression, the law of motion that fits the past best
    (of clips of a known camera), and the last frame of the past shown again."""

    rules: dict[str, Forecast]
    copied: DrawnForecast

    def least(self, rows: Rows = EVERY, steps: slice = EVERY) -> dict[str, float]:
        """The `measures` of the best rule for those clips and steps; squared errors are those of the copied frame."""
        of_rules = [measures(rule, rows, steps) for rule in self.rules.values()]
        return measures(self.copied, rows, steps) | {
            name: min(found[name] for found in of_rules) for name in ("centroid_error_px", "velocity_error")
        }


def beside_floor(forecast: Forecast, floors: Floors, rows: Rows = EVERY, steps: slice = EVERY) -> dict[str, float]:
    """`measures` of some clips and steps, each with its `_floor`."""
    found, least = measures(forecast, rows, steps), floors.least(rows, steps)
    return found | {f"{name}_floor": least[name] for name in found}


def groups_of(label: np.ndarray) -> dict[str, Rows]:
    """Clips by class, all of them first."""
    return {"all": EVERY, **{str(name): np.flatnonzero(label == name) for name in sorted(set(label))}}


def horizon_rows(
    name: str, kind: str, forecast: Forecast, floors: Floors, label: np.ndarray
) -> list[dict[str, object]]:
    """Rows model, kind (model, teacher_forced, floor, oracle, ceiling), step (from 1), class ('all' first), and
    `beside_floor` of those clips in that step."""
    return [
        {"model": name, "kind": kind, "step": step + 1, "class": group,
         **beside_floor(forecast, floors, rows, slice(step, step + 1))}
        for group, rows in groups_of(label).items()
        for step in range(forecast.centroid.shape[1])
    ]
