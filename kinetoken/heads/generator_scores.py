"""Clips drawn from a prior, judged class by class beside real ones, and the metrics made of it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kinetoken.clips import ClipStore
from kinetoken.codes import CodesTable
from kinetoken.heads import generated as judging
from kinetoken.heads.forecast import decode_in_batches
from kinetoken.heads.generator import PRIORS, GeneratorParams
from kinetoken.heads.scoring import bootstrap_interval
from kinetoken.heads.video_classifier import VideoClassifier
from kinetoken.stage import Context
from kinetoken.tokenizer.network import Tokenizer

if TYPE_CHECKING:
    import pandas as pd

SCORES = ("class_match", "valid", "coverage", "density", "memorised")

Pixels = judging.Pixels
PerClip = dict[str, dict[str, np.ndarray]]  # score to class to one value a clip


class Scorer:
    """Judges clips class by class against the real ones; the same way for every prior."""

    def __init__(
        self, params: GeneratorParams, codes: CodesTable, tokenizer: Tokenizer, judge: VideoClassifier,
        store: ClipStore, context: Context,
    ) -> None:
        self.params, self.tokenizer, self.judge, self.progress = params, tokenizer, judge, context.progress
        self.classes, self.background = codes.classes, store.scene.background()
        self.progress.phase("following real clips")
        train = store.read("train")
        real = judging.follow(train.pixels, self.background)
        self.validity = judging.Validity.of_training(real, store.shape[1])
        paths = {name: real.path[train.label == name] for name in self.classes}
        self.whitening = {name: judging.Whitening.of_training(each) for name, each in paths.items()}
        self.training = {name: self.whitening[name](each) for name, each in paths.items()}
        test = codes.of_split("test")
        self.test = {name: self.decode(test.codes[test.label == name], f"real {name}") for name in self.classes}
        self.real = {name: judging.follow(self.test[name], self.background) for name in self.classes}

    def decode(self, codes: np.ndarray, what: str) -> Pixels:
        """(N, T', H', W') → (N, T, H, W, 3) uint8."""
        self.progress.phase(f"decoding {what}", len(codes), "clips")
        parts = []
        for rows, frames in decode_in_batches(self.tokenizer, codes):
            parts.append(np.asarray(frames * 255 + 0.5).astype(np.uint8))
            self.progress.advance(len(rows))
        return np.concatenate(parts)

    def ceiling(self) -> PerClip:
        """Real test clips through the tokenizer, the second half of them against the first."""
        return self._per_class(lambda name: (self.test[name], self.real[name], self._halves(name)[1]))

    def score(self, drawn: dict[str, Pixels]) -> PerClip:
        """Clips drawn for each class, as many as there are real ones to compare with."""
        def of_class(name: str) -> tuple[Pixels, judging.BallTracks, np.ndarray]:
            found = judging.follow(drawn[name], self.background)
            return drawn[name], found, found.path

        return self._per_class(of_class)

    def floor(self) -> dict[str, float]:
        """Coverage and density of the one mean path of each class, over and over.

        Such a generator covers next to nothing, yet its density may exceed that of real clips: read them together.
        """
        pairs = []
        for name in self.classes:
            real = self.whitening[name](self._halves(name)[0])
            pairs.append(judging.coverage_and_density(real, np.zeros_like(real), self.params.neighbours))
        covered, dense = (np.concatenate(part) for part in zip(*pairs, strict=True))
        return {"coverage": float(covered.mean()), "density": float(dense.mean())}

    def _halves(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Paths of as many real clips as are drawn, and of as many others."""
        path = self.real[name].path
        count = min(self.params.clips_per_class, len(path) // 2)
        return path[:count], path[count : 2 * count]

    def _per_class(self, clips_of: Callable[[str], tuple[Pixels, judging.BallTracks, np.ndarray]]) -> PerClip:
        scored: PerClip = {score: {} for score in SCORES}
        for index, name in enumerate(self.classes):
            clips, found, path = clips_of(name)
            whiten, real = self.whitening[name], self._halves(name)[0]
            valid = self.validity.holds(found)
            match = (self.judge.probabilities(clips).argmax(1) == index) & valid
            covered, dense = judging.coverage_and_density(
                whiten(real), whiten(path[: len(real)]), self.params.neighbours
            )
            copied = judging.memorised(self.training[name], whiten(self.real[name].path), whiten(path))
            for score, values in zip(SCORES, (match, valid, covered, dense, copied), strict=True):
                scored[score][name] = np.asarray(values, np.float64)
        return scored


def all_metrics(scored: Mapping[str, PerClip], scorer: Scorer, params: GeneratorParams) -> dict[str, Any]:
    """Every score of every prior with interval, floor and ceiling (real test clips through the tokenizer)."""
    ceiling = {score: float(np.mean(np.concatenate(list(scored["real"][score].values())))) for score in SCORES}
    # a generator that ignores the class is right once in C; chance alone brings one clip in 100 that near
    floors = {"class_match": 1 / len(scorer.classes), "memorised": 0.01, **scorer.floor()}
    metrics: dict[str, Any] = {}
    for prior in PRIORS:
        numbers: dict[str, float] = {}
        for score in SCORES:
            values = np.concatenate(list(scored[prior][score].values()))
            low, high = bootstrap_interval(values, params.seed, params.bootstrap)
            numbers |= {score: float(values.mean()), f"{score}_ci95_low": low, f"{score}_ci95_high": high}
            numbers[f"{score}_ceiling"] = ceiling[score]
            if score in floors:
                numbers[f"{score}_floor"] = floors[score]
        metrics[prior] = numbers
    return metrics


def score_table(scored: Mapping[str, PerClip]) -> "pd.DataFrame":
    """Rows prior ('real' is the ceiling), class, and every score."""
    import pandas as pd

    return pd.DataFrame([
        {"prior": prior, "class": name, **{score: float(each[score][name].mean()) for score in SCORES}}
        for prior, each in scored.items() for name in each["valid"]
    ])
