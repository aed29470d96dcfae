"""Clips drawn from a prior, judged class by class beside real ones, and the metrics made of it."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kinetoken.core.numbers import Headlines
from kinetoken.core.stage import Context
from kinetoken.dataset import Dataset
from kinetoken.generation import forecasting, judging, laws
from kinetoken.generation.generator import PRIORS, GeneratorParams
from kinetoken.heads.video_classifier import VideoClassifier
from kinetoken.prediction.judging import decode_in_batches
from kinetoken.prediction.scores import Scores
from kinetoken.scores import bootstrap_interval

if TYPE_CHECKING:
    import pandas as pd

SCORES = ("class_match", "valid", "coverage", "density", "precision", "recall", "memorised")
LAW_SCORES = ("lawful",)
HEADLINES = Headlines(
    required=tuple(
        f"{prior}.{score}" for prior in PRIORS for score in ("class_match", "coverage", "density", "valid", "memorised")
    ),
    further=(
        *(f"{prior}.lawful" for prior in PRIORS),  # where the classes are known laws
        "masked.forecast.centroid_error_px", "masked.forecast.missed_rate", "masked.forecast.error_over_oracle",
    ),
    bounded=("masked.class_match", "masked.coverage", "masked.lawful"),
)
HEADLINES_WITHOUT_CLASSES = Headlines(
    tuple(name for name in HEADLINES.required if not name.endswith(".class_match")), HEADLINES.further
)

Pixels = judging.Pixels


@dataclasses.dataclass
class Scored:
    """What one prior's clips (or real ones) are found to be."""

    per_clip: dict[str, dict[str, np.ndarray]]  # score to class to one value a clip
    nearest: dict[str, np.ndarray]  # class to each clip's distance from the nearest training clip, whitened
    parameters: dict[str, dict[str, float]]  # class to quantity to its distribution's distance; empty without laws

    def mean(self, score: str) -> float:
        return float(np.mean(np.concatenate(list(self.per_clip[score].values()))))


class Scorer:
    """Judges clips class by class against the real ones; the same way for every prior.

    Real are the test clips through the tokenizer, in two halves: drawn clips, and for the ceiling the second half,
    are compared with the first. Without a judge, class_match is left out. `train`: the ball in the training clips.
    """

    def __init__(
        self, params: GeneratorParams, dataset: Dataset, train: judging.BallTracks, judge: VideoClassifier | None,
        context: Context,
    ) -> None:
        self.params, self.tokenizer, self.judge, self.progress = params, dataset.tokenizer, judge, context.progress
        self.classes, self.background = dataset.classes, dataset.background
        self.scene = dataset.scene if dataset.lawful else None
        self.validity = judging.Validity.of_training(train, dataset.clips.shape[1])
        label = dataset.split("train").label
        paths = {name: train.path[label == name] for name in self.classes}
        self.whitening = {name: judging.Whitening.of_training(each) for name, each in paths.items()}
        self.training = {name: self.whitening[name](each) for name, each in paths.items()}
        test = dataset.codes.of_split("test")
        self.half, chosen = {}, {}
        for name in self.classes:
            rows = np.flatnonzero(test.label == name)
            self.half[name] = min(params.clips_per_class, len(rows) // 2)
            chosen[name] = test.codes[rows[: 2 * self.half[name]]]
        self.test = {name: self.decode(each, f"real {name}") for name, each in chosen.items()}
        self.real = {name: judging.follow(each, self.background) for name, each in self.test.items()}
        self.laws = self._fitted(self.real)

    def decode(self, codes: np.ndarray, what: str) -> Pixels:
        """(N, T', H', W') → (N, T, H, W, 3) uint8."""
        self.progress.phase(f"decoding {what}", len(codes), "clips")
        parts = []
        for rows, frames in decode_in_batches(self.tokenizer, codes):
            parts.append(np.asarray(frames * 255 + 0.5).astype(np.uint8))
            self.progress.advance(len(rows))
        return np.concatenate(parts)

    def ceiling(self) -> Scored:
        """The second half of the real clips."""
        second = {name: slice(self.half[name], None) for name in self.classes}
        clips = {name: self.test[name][rows] for name, rows in second.items()}
        found = {name: self.real[name].take(rows) for name, rows in second.items()}
        fitted = None if self.laws is None else {name: self.laws[name].take(rows) for name, rows in second.items()}
        return self._scored(clips, found, fitted)

    def score(self, drawn: dict[str, Pixels]) -> Scored:
        """Clips drawn for each class."""
        found = {name: judging.follow(clips, self.background) for name, clips in drawn.items()}
        return self._scored(drawn, found, self._fitted(found))

    def floors(self) -> dict[str, dict[str, float]]:
        """Scores of paths that are drawn with no network, none of them shown as a clip.

        mean_path: the one mean path of each class, over and over. It covers next to nothing, yet it may obey every law,
        and its density may exceed that of real clips: no score says much without coverage. path_gaussian: a Gaussian of
        each class's training paths.
        """
        rng, rows = np.random.default_rng(self.params.seed), dict[str, dict[str, list[np.ndarray]]]()
        for name in self.classes:
            real, whitening = self.whitening[name](self.real[name].path[: self.half[name]]), self.whitening[name]
            drawn = {"mean_path": np.zeros_like(real), "path_gaussian": whitening.drawn(len(real), rng)}
            for floor, coordinates in drawn.items():
                scores = self._geometry(real, coordinates)
                if self.scene is not None and self.laws is not None:
                    ball = judging.BallTracks.tracked_of(whitening.paths(coordinates))
                    fitted = laws.fit_to_ball(name, ball, self.scene)
                    scores["lawful"] = laws.lawful(fitted, self.laws[name].take(slice(self.half[name])))
                for score, values in scores.items():
                    rows.setdefault(floor, {}).setdefault(score, []).append(values)
        return {
            floor: {score: float(np.concatenate(values).mean()) for score, values in each.items()}
            for floor, each in rows.items()
        }

    def _fitted(self, found: Mapping[str, judging.BallTracks]) -> dict[str, laws.FittedLaw] | None:
        """The law of each class fitted to its clips; None where the classes are no laws, or the camera is not known."""
        if self.scene is None:
            return None
        self.progress.phase("fitting laws", len(found), "classes")
        fitted = {}
        for name, ball in found.items():
            fitted[name] = laws.fit_to_ball(name, ball.tracked, self.scene)
            self.progress.advance()
        return fitted

    def _geometry(self, real: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
        """Whitened paths (N, P) and (M, P) → scores, one value a clip."""
        k = self.params.neighbours
        covered, dense = judging.coverage_and_density(real, drawn, k)
        precise, recalled = judging.precision_and_recall(real, drawn, k)
        return {"coverage": covered, "density": dense, "precision": precise, "recall": recalled}

    def _scored(
        self, clips: Mapping[str, Pixels], found: Mapping[str, judging.BallTracks],
        fitted: Mapping[str, laws.FittedLaw] | None,
    ) -> Scored:
        scores = (*SCORES, *(LAW_SCORES if fitted else ()))
        scored = Scored({score: {} for score in scores if self.judge is not None or score != "class_match"}, {}, {})
        for index, name in enumerate(self.classes):
            half, whiten = self.half[name], self.whitening[name]
            real, drawn = whiten(self.real[name].path), whiten(found[name].path)
            valid = self.validity.holds(found[name])
            values = self._geometry(real[:half], drawn[:half])
            if self.judge is not None:
                values["class_match"] = (self.judge.probabilities(clips[name]).argmax(1) == index) & valid
            values["valid"] = valid
            values["memorised"] = judging.memorised(self.training[name], real, drawn)
            scored.nearest[name] = judging.distances(drawn, self.training[name]).min(1)
            if fitted is not None and self.laws is not None:
                values["lawful"] = laws.lawful(fitted[name], self.laws[name].take(slice(half))) * valid
                scored.parameters[name] = laws.parameter_distances(
                    fitted[name].take(valid), self.laws[name].take(slice(half))
                )
            for score, each in values.items():
                scored.per_clip[score][name] = np.asarray(each, np.float64)
        return scored


def all_metrics(
    scored: Mapping[str, Scored], forecasts: Mapping[str, Scores], scorer: Scorer, params: GeneratorParams
) -> dict[str, Any]:
    """Every score of every prior with interval, floor and ceiling (real test clips through the tokenizer).

    The floor of a path's score is that of `path_gaussian`, the better generator of the two of `Scorer.floors`, which
    stand under `floor`. `forecast` under `masked` is what its forecasts score, none of it about clips drawn.
    """
    real, drawn = scored["real"], scorer.floors()
    # a generator that ignores the class is right once in C; chance alone brings one clip in 100 that near
    floors = {"class_match": 1 / len(scorer.classes), "memorised": 0.01, **drawn["path_gaussian"]}
    metrics: dict[str, Any] = {"floor": drawn}
    for prior in PRIORS:
        numbers: dict[str, Any] = {}
        for score, by_class in scored[prior].per_clip.items():
            values = np.concatenate(list(by_class.values()))
            low, high = bootstrap_interval(values, params.seed, params.bootstrap)
            numbers |= {score: float(values.mean()), f"{score}_ci95_low": low, f"{score}_ci95_high": high}
            numbers[f"{score}_ceiling"] = real.mean(score)
            if score in floors:
                numbers[f"{score}_floor"] = floors[score]
        numbers |= _nearest_ratio(scored[prior], real)
        if scored[prior].parameters:
            numbers["parameters_ks"] = _mean_distance(scored[prior])
            numbers["parameters_ks_ceiling"] = _mean_distance(real)
        metrics[prior] = numbers
    metrics[forecasting.MODEL]["forecast"] = forecasting.forecast_numbers(forecasts, params.bootstrap)
    return metrics


def _mean_distance(scored: Scored) -> float:
    return float(np.mean([value for each in scored.parameters.values() for value in each.values()]))


def _nearest_ratio(scored: Scored, real: Scored) -> dict[str, float]:
    """Median distance to the nearest training clip over that of real test clips: 1 is as new as those are."""
    drawn, held_out = (np.concatenate(list(each.nearest.values())) for each in (scored, real))
    return {"nearest_training_ratio": float(np.median(drawn) / np.median(held_out))}


def score_table(scored: Mapping[str, Scored]) -> "pd.DataFrame":
    """Rows prior ('real' is the ceiling), class, and every score."""
    import pandas as pd

    rows = []
    for prior, each in scored.items():
        for name in each.nearest:
            means = {score: float(values[name].mean()) for score, values in each.per_clip.items()}
            rows.append({"prior": prior, "class": name, **means})
    return pd.DataFrame(rows)


def law_table(scored: Mapping[str, Scored]) -> "pd.DataFrame":
    """Rows prior, class, quantity, ks: how far the fitted parameters' distribution is from the real one."""
    import pandas as pd

    rows = [
        {"prior": prior, "class": name, "quantity": quantity, "ks": distance}
        for prior, each in scored.items() for name, found in each.parameters.items()
        for quantity, distance in found.items()
    ]
    return pd.DataFrame(rows, columns=["prior", "class", "quantity", "ks"])
