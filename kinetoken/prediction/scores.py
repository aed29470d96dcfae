"""One split's forecasts by every model, floor and bound, and the metrics made of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.numbers import Headlines
from kinetoken.core.stage import Context
from kinetoken.dataset import Dataset, Split
from kinetoken.prediction import judging
from kinetoken.prediction.judging import Codes, DrawnForecast, Forecast, Forecaster
from kinetoken.prediction.network import DYNAMICS
from kinetoken.prediction.truth import Truth
from kinetoken.prediction.window import Window
from kinetoken.scenes.tracking import Tracked

if TYPE_CHECKING:
    import pandas as pd

PICTURES_PER_CLASS = 2
PAST_SHOWN = 4  # frames of the past in a picture
CALIBRATION_CLIPS = 240  # of val, on which the tracker's errors are measured for fits of laws
RIDGE_CLIPS = 1200  # of train, to which ridge regression is fitted
RESAMPLING_SEED = 3  # of all intervals: whatever forecasts and wherever it is scored, over the same resampled clips
HEADLINES = Headlines(
    required=tuple(
        f"{name}.{key}" for name in DYNAMICS
        for key in ("centroid_error_px", "mse", "mse_ratio_to_reconstruction", "missed_rate")
    ),
    further=(  # where the law is known, and where there are clips beyond the training bands
        *(f"{name}.{key}" for name in DYNAMICS for key in ("error_over_oracle", "ood_ratio")),
        "oracle.centroid_error_px",
    ),
    bounded=("transformer.centroid_error_px",),
)


class Scores:
    """Forecasts of one split by every model, floor, the oracle, and the tokenizer with the true codes."""

    def __init__(
        self, forecasters: Mapping[str, Forecaster], window: Window, dataset: Dataset, split: str, context: Context,
        chosen_law: bool = True, insight: judging.Insight | None = None,
    ) -> None:
        """Without `chosen_law` the slowest floors, the law that fits the past best, are left out."""
        self.progress, self.tokenizer, self.here = context.progress, dataset.tokenizer, dataset.split(split)
        here, first, last = self.here, window.past_frames, window.past_frames + window.future_frames
        self.truth = Truth.of(here, first, last)
        true_codes = dataset.codes.codes[here.rows, : window.slices]
        self.past = judging.past_codes(true_codes, window.past_slices)
        forced = len(forecasters) if window.future_slices > 1 else 0
        self.progress.phase(f"scoring {split}", len(forecasters) + forced + 2, "forecasts")
        self.foretold = {name: each(self.past, window.future_slices) for name, each in forecasters.items()}
        self.models = {
            name: self.judge(np.concatenate([self.past, ahead], 1), self.truth) for name, ahead in self.foretold.items()
        }
        self.teacher_forced = {
            name: judging.teacher_forced(
                each, true_codes, window.past_slices, window.slice_frames, self.judge, self.truth)
            for name, each in forecasters.items() if forced
        }
        self.ceiling = self.judge(true_codes, self.truth)
        tracked, copied = judging.judge_past(self.tokenizer, self.past, self.truth)
        self.progress.advance()
        rules = judging.trivial_forecasts(tracked, self.truth) | {"ridge": self._ridge(dataset, tracked, window)}
        self.oracle: Forecast | None = None
        if dataset.tracked:
            seen, times = (tracked.u, tracked.v, tracked.radius), dataset.scene.world.times[:last]
            fitter = self._fitter(dataset, window, None)
            if chosen_law:
                rules["chosen_law"] = judging.law_forecast(fitter, seen, self.truth, times, None)
            if chosen_law and insight is not None:
                own = self._fitter(dataset, window, insight)
                rules["reading_law"] = judging.law_forecast(own, insight.read(self.past), self.truth, times, None)
            if dataset.lawful:
                self.oracle = judging.law_forecast(fitter, seen, self.truth, times, self.truth.label)
        self.inside = {} if insight is None else self._inside(insight)
        self.floors = judging.Floors(rules, copied)

    def judge(self, whole: Codes, truth: Truth) -> DrawnForecast:
        """Clips of codes (N, K, H', W') decoded, their last frames against what happened in them."""
        judged = judging.judge_frames(self.tokenizer, whole, truth)
        self.progress.advance()
        return judged

    def _ridge(self, dataset: Dataset, tracked: Tracked, window: Window) -> Forecast:
        """Ridge regression on the decoded past of training clips."""
        train = dataset.split("train")
        train = train.take(np.unique(np.linspace(0, len(train) - 1, min(RIDGE_CLIPS, len(train))).astype(int)))
        seen = self._track_past(train, window, dataset.background)
        happened = Truth.of(train, window.past_frames, window.past_frames + window.future_frames)
        return judging.ridge_forecast(seen, happened, tracked, self.truth)

    def _fitter(self, dataset: Dataset, window: Window, insight: judging.Insight | None) -> judging.LawFitter:
        """Of clips whose camera is known, through which a law can be seen; not of a user's videos.

        It is told the errors of the tracker, or of the forecaster's own reading.
        """
        held, scene = dataset.split("val").take(slice(CALIBRATION_CLIPS)), dataset.scene
        if insight is None:
            found = self._track_past(held, window, scene.background())
            seen = found.u, found.v, found.radius
        else:
            seen = insight.read(judging.past_codes(held.codes, window.past_slices))
        return judging.LawFitter(scene, seen, held.points[:, : window.past_frames])

    def _inside(self, insight: judging.Insight) -> dict[str, float]:
        """Errors in pixels along the way: of the past as it is read, and of each model's path before it is written."""
        first = self.truth.past_frames
        u, v, _ = insight.read(self.past)
        found = {"reading.error_px": float(np.hypot(u - self.truth.u[:, :first], v - self.truth.v[:, :first]).mean())}
        for name, ahead in insight.ahead.items():
            u, v = ahead(self.past)
            steps = slice(first, first + u.shape[1])
            away = np.hypot(u - self.truth.u[:, steps], v - self.truth.v[:, steps])
            found[f"{name}.path_error_px"] = float(away.mean())
        return found

    def _track_past(self, clips: Split, window: Window, background: NDArray[np.float32] | None) -> Tracked:
        """The ball, or what moves, in the decoded past of these clips."""
        past = judging.past_codes(clips.codes, window.past_slices)
        return judging.track_decoded(self.tokenizer, past, background)

    def named(self) -> dict[str, tuple[str, Forecast]]:
        """Everything that was scored: name to (kind, forecast)."""
        rows: dict[str, tuple[str, Forecast]] = {name: ("model", each) for name, each in self.models.items()}
        rows |= {f"{name} teacher-forced": ("teacher_forced", each) for name, each in self.teacher_forced.items()}
        rows |= {name: ("floor", each) for name, each in self.floors.rules.items()}
        rows["true_codes"] = ("ceiling", self.ceiling)
        return rows if self.oracle is None else {**rows, "oracle": ("oracle", self.oracle)}

    def horizon_table(self) -> "pd.DataFrame":
        """See `judging.horizon_rows`; squared errors are empty where no frames are drawn."""
        import pandas as pd

        return pd.DataFrame([
            row for name, (kind, each) in self.named().items()
            for row in judging.horizon_rows(name, kind, each, self.floors, self.truth.label)
        ])

    def draw(self, path: Path, model: str) -> None:
        """Two clips a class: the last frames of the past, the true future, and what the model predicts."""
        from kinetoken.charts.strips import Group, draw_strips

        chosen = np.concatenate([
            np.flatnonzero(self.truth.label == name)[:PICTURES_PER_CLASS] for name in sorted(set(self.truth.label))
        ])
        whole = np.concatenate([self.past[chosen], self.foretold[model][chosen]], 1)
        first = self.truth.past_frames
        last = first + self.truth.frames.shape[1]
        ahead = np.concatenate([frames for _, frames in judging.decode_in_batches(self.tokenizer, whole, last - first)])
        ahead = np.asarray(np.clip(ahead, 0, 1) * 255 + 0.5).astype(np.uint8)
        start = max(first - PAST_SHOWN, 0)
        shown = self.here.take(np.sort(chosen)).read_clips().pixels[np.argsort(np.argsort(chosen)), start:last]
        rows = np.concatenate([shown, ahead], 1)  # (M, F, H, W, 3)
        past, future = ([f"frame {n}" for n in range(*ends)] for ends in ((start, first), (first, last)))
        groups = [
            Group("last frames of the past", len(past), past), Group("true future", len(future), future),
            Group(f"future predicted by {model}", len(future), future),
        ]
        draw_strips(path, list(rows), [str(name) for name in self.truth.label[chosen]], groups, enlarged=1)


def score_splits(
    forecasters: Mapping[str, Forecaster], window: Window, dataset: Dataset, context: Context, chosen_law: bool = True,
    insight: judging.Insight | None = None,
) -> dict[str, Scores]:
    """The scores on `test`, and on `ood` where there are such clips."""
    return {
        split: Scores(forecasters, window, dataset, split, context, chosen_law, insight)
        for split in ("test", "ood") if split in dataset.splits
    }


def all_metrics(scores: Mapping[str, Scores], draws: int) -> dict[str, Any]:
    """Every model, floor and bound on `test`."""
    test = scores["test"]
    metrics: dict[str, Any] = {
        "true_codes": judging.pixel_metrics(test.ceiling) | _centroid_metrics(test.ceiling, draws),
        "floor": {name: _centroid_metrics(each, draws) for name, each in test.floors.rules.items()},
        **forecast_metrics(scores, draws),
    }
    for name, error in test.inside.items():
        part, key = name.split(".")
        metrics.setdefault(part, {})[key] = error
    if test.oracle is not None:
        metrics["oracle"] = _centroid_metrics(test.oracle, draws)
        metrics["oracle"]["velocity_error"] = judging.velocity_error(test.oracle)
    return metrics


def forecast_metrics(scores: Mapping[str, Scores], draws: int) -> dict[str, dict[str, Any]]:
    """Every model's numbers on `test`, beside floors, ceiling and oracle; keys with ood_ where there are such clips.

    `ood_ratio` is the error there over the oracle's error there, as `error_over_oracle` is on `test`. A model that
    fails everywhere has a large one: it is no quotient of the two.
    """
    test, ood = scores["test"], scores.get("ood")
    metrics = {name: model_metrics(test, name, draws) for name in test.models}
    if test.oracle is not None:
        for name, each in test.models.items():
            metrics[name]["error_over_oracle"] = float(each.centroid.mean() / test.oracle.centroid.mean())
    for name in test.models if ood is not None else ():
        assert ood is not None
        metrics[name]["ood_centroid_error_px"] = float(ood.models[name].centroid.mean())
        if test.oracle is not None:
            metrics[name]["ood_ratio"] = float(ood.models[name].centroid.mean() / _oracle(ood).centroid.mean())
    return metrics


def model_metrics(test: Scores, name: str, draws: int) -> dict[str, Any]:
    """One model's numbers with floors and ceilings: over all clips, by class and by step ahead."""
    each, ceiling, floors = test.models[name], test.ceiling, test.floors
    pixels, best = judging.pixel_metrics(each), judging.pixel_metrics(ceiling)
    metrics: dict[str, Any] = {
        **pixels, **_centroid_metrics(each, draws), **judging.beside_floor(each, floors),
        "mse_ceiling": best["mse"], "foreground_mse_ceiling": best["foreground_mse"],
        "mse_ratio_to_reconstruction": pixels["mse"] / best["mse"],
        "centroid_error_px_ceiling": float(ceiling.centroid.mean()),
        "per_class": {
            group: judging.beside_floor(each, floors, rows)
            for group, rows in judging.groups_of(test.truth.label).items() if group != "all"
        },
        "per_step": {
            f"{step + 1:02d}": judging.beside_floor(each, floors, steps=slice(step, step + 1))
            for step in range(each.centroid.shape[1])
        },
    }
    if name in test.teacher_forced:
        forced = test.teacher_forced[name]
        metrics["teacher_forced"] = judging.pixel_metrics(forced) | _centroid_metrics(forced, draws)
    return metrics


def _centroid_metrics(forecast: Forecast, draws: int) -> dict[str, float]:
    return judging.centroid_metrics(forecast, draws, RESAMPLING_SEED)


def _oracle(scores: Scores) -> Forecast:
    assert scores.oracle is not None
    return scores.oracle
