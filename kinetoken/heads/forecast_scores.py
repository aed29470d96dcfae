"""One split's forecasts by every model, floor and bound, and the metrics made of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinetoken.clips import ClipStore
from kinetoken.codes import CodesTable
from kinetoken.heads import forecast
from kinetoken.heads.predictor import DYNAMICS, Predictor, PredictorShape
from kinetoken.stage import Context
from kinetoken.tokenizer.network import Tokenizer
from kinetoken.tracking import Tracked
from kinetoken.tracks import Tracks

if TYPE_CHECKING:
    import pandas as pd

PICTURES_PER_CLASS = 2
CALIBRATION_CLIPS = 240  # of val, on which the tracker's errors are measured for the oracle


class Scores:
    """Forecasts of one split by every model, floor, the oracle, and the tokenizer with the true codes."""

    def __init__(
        self, predictor: Predictor, tokenizer: Tokenizer, codes: CodesTable, store: ClipStore, tracks: Tracks,
        split: str, context: Context,
    ) -> None:
        self.scene, shape, progress = store.scene, predictor.shape, context.progress
        background = self.scene.background()
        rows = np.flatnonzero(codes.split == split)
        first, last = shape.past_frames, shape.past_frames + shape.slice_frames
        self.clips = store.read(split).pixels[:, :last]
        self.truth = forecast.Truth(codes.label[rows], self.clips[:, first:], tracks.points[rows, :last], first)
        past = forecast.past_codes(codes.codes[rows], shape.past_slices)
        progress.phase(f"scoring {split}", len(DYNAMICS) + 2, "forecasts")

        def judge(ahead: np.ndarray) -> forecast.DrawnForecast:
            whole = np.concatenate([past, ahead], 1)
            judged = forecast.judge_frames(tokenizer, whole, self.truth, self.scene, background)
            progress.advance()
            return judged

        self.foretold = {name: predictor.predict(past, name) for name in DYNAMICS}
        self.past, self.best = past, predictor.best
        self.models = {name: judge(ahead) for name, ahead in self.foretold.items()}
        self.ceiling = judge(codes.codes[rows, shape.past_slices : shape.past_slices + 1])
        tracked, self.copied = forecast.judge_past(tokenizer, past, self.truth, self.scene, background)
        progress.advance()
        self.floors = forecast.trivial_forecasts(tracked, self.truth, self.scene)
        self.oracle = self._oracle(tokenizer, codes, tracks, tracked, shape)

    def _oracle(
        self, tokenizer: Tokenizer, codes: CodesTable, tracks: Tracks, tracked: Tracked, shape: PredictorShape
    ) -> forecast.Forecast | None:
        """None for motions whose law is not among the known ones."""
        if not forecast.Oracle.knows(codes.classes):
            return None
        held = np.flatnonzero(codes.split == "val")[:CALIBRATION_CLIPS]
        seen = forecast.track_decoded(
            tokenizer, forecast.past_codes(codes.codes[held], shape.past_slices), self.scene.background()
        )
        points = tracks.points[held][:, : shape.past_frames]
        oracle = forecast.Oracle(self.scene, (seen.u, seen.v, seen.radius), points)
        return forecast.oracle_forecast(oracle, tracked, self.truth, self.scene)

    def named(self) -> dict[str, tuple[str, forecast.Forecast]]:
        """Everything that was scored: name to (kind, forecast)."""
        rows: dict[str, tuple[str, forecast.Forecast]] = {name: ("model", each) for name, each in self.models.items()}
        rows |= {name: ("floor", each) for name, each in self.floors.items()}
        rows["true_codes"] = ("ceiling", self.ceiling)
        return rows if self.oracle is None else {**rows, "oracle": ("oracle", self.oracle)}

    def horizon_table(self) -> "pd.DataFrame":
        """See `forecast.horizon_rows`."""
        import pandas as pd

        return pd.DataFrame([
            row for name, (kind, each) in self.named().items()
            for row in forecast.horizon_rows(name, kind, each, self.truth.label)
        ])

    def draw(self, path: Path, tokenizer: Tokenizer) -> None:
        """Two clips a class: the last past frames, what happened, what the best model foretold."""
        from PIL import Image

        chosen = np.concatenate([
            np.flatnonzero(self.truth.label == name)[:PICTURES_PER_CLASS] for name in sorted(set(self.truth.label))
        ])
        whole = np.concatenate([self.past[chosen], self.foretold[self.best][chosen]], 1)
        first = self.truth.past_frames
        ahead = np.concatenate([frames for _, frames in forecast.decode_in_batches(
            tokenizer, whole, self.clips.shape[1] - first)])
        ahead = np.asarray(np.clip(ahead, 0, 1) * 255 + 0.5).astype(np.uint8)
        past = self.clips[chosen, max(first - 4, 0) : first]
        strip = np.concatenate([past, self.clips[chosen, first:], ahead], 1)  # (M, F, H, W, 3)
        Image.fromarray(np.concatenate(list(np.concatenate(list(strip.swapaxes(0, 1)), 2)), 0)).save(path)


def all_metrics(scores: Mapping[str, Scores], draws: int, seed: int) -> dict[str, Any]:
    """Every model, floor and bound on `test`; keys with ood_ where there are such clips."""
    test, ood = scores["test"], scores.get("ood")
    ceiling = forecast.pixel_metrics(test.ceiling) | forecast.centroid_metrics(test.ceiling, draws, seed)
    floors = {name: forecast.centroid_metrics(each, draws, seed) for name, each in test.floors.items()}
    least = min(floor["centroid_error_px"] for floor in floors.values())
    copied = forecast.pixel_metrics(test.copied)
    metrics: dict[str, Any] = {"true_codes": ceiling, "floor": floors}
    for name, each in test.models.items():
        pixels = forecast.pixel_metrics(each)
        metrics[name] = {
            **pixels, **forecast.centroid_metrics(each, draws, seed),
            "mse_floor": copied["mse"], "mse_ceiling": ceiling["mse"],
            "foreground_mse_floor": copied["foreground_mse"], "foreground_mse_ceiling": ceiling["foreground_mse"],
            "mse_ratio_to_reconstruction": pixels["mse"] / ceiling["mse"],
            "centroid_error_px_floor": least, "centroid_error_px_ceiling": ceiling["centroid_error_px"],
            "velocity_error": forecast.velocity_error(each, test.truth, test.scene),
        }
        if ood is not None:
            metrics[name]["ood_centroid_error_px"] = float(ood.models[name].centroid.mean())
    if test.oracle is not None:
        metrics["oracle"] = forecast.centroid_metrics(test.oracle, draws, seed)
        metrics["oracle"]["velocity_error"] = forecast.velocity_error(test.oracle, test.truth, test.scene)
        for name, each in test.models.items():
            metrics[name]["error_over_oracle"] = float(each.centroid.mean() / test.oracle.centroid.mean())
            if ood is not None:
                metrics[name]["ood_ratio"] = ood_ratio(name, test, ood)
    return metrics


def ood_ratio(name: str, test: Scores, ood: Scores) -> float:
    """Relative velocity error on ood over that on test, divided by the oracle's own ratio."""
    def ratio(each: str) -> float:
        far, near = (forecast.velocity_error(s.named()[each][1], s.truth, s.scene) for s in (ood, test))
        return far / near

    return ratio(name) / ratio("oracle")
