"""A trained network on test clips: what it reads of them whole and of their past alone, and how good that is."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinetoken.core.progress import Progress
from kinetoken.dataset import Dataset, Split
from kinetoken.i3d_magvit import scores
from kinetoken.i3d_magvit.frames import decoded, frame_metrics
from kinetoken.i3d_magvit.network import I3DMagvit
from kinetoken.i3d_magvit.past import Trust, in_metres, measured_trust
from kinetoken.i3d_magvit.training import ClipSet, JointPredictions, pixels_apart, read
from kinetoken.physics.fitting import predict_chosen_law
from kinetoken.prediction.truth import Truth
from kinetoken.scenes.camera import camera_whitening
from kinetoken.scenes.paths import scene_path, to_pixels
from kinetoken.scores import Array, classification_metrics, log_softmax, majority_accuracy, with_interval

if TYPE_CHECKING:
    import pandas as pd

PICTURES_PER_CLASS = 2


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A network's readings of the test clips, beside the dataset and its clips by split (train, val, test)."""

    network: I3DMagvit
    dataset: Dataset
    clips: Mapping[str, ClipSet]
    whole: JointPredictions
    past: JointPredictions  # of the first slices alone, with the tokens of the slice to come

    @classmethod
    def of(cls, network: I3DMagvit, dataset: Dataset, clips: Mapping[str, ClipSet]) -> "Evaluation":
        test, past, first = clips["test"], network.past_frames, network.past_slices
        return cls(
            network, dataset, clips, read(network, test.clips, test.codes),
            read(network, test.clips[:, :past], test.codes[:, :first], tokens=True),
        )

    @property
    def test(self) -> Split:
        return self.dataset.split("test")

    @property
    def probabilities(self) -> Array:
        """(N, C) of the classes, after whole clips."""
        return np.exp(log_softmax(self.whole.logits))

    def class_and_future(self, trust: Trust) -> tuple[dict[str, Any], "pd.DataFrame"]:
        """Metrics of the test clips, and the forecasts' errors step by step.

        Among the floors is `reading_law`: of the four laws the one that best fits the positions that the network itself
        reads of the past, carried on. It needs no label and no training; `trust` says how far off readings are.
        """
        import pandas as pd

        test, train, network = self.test, self.dataset.split("train"), self.network
        classes, target = self.dataset.classes, test.target
        floor = majority_accuracy(train.target, target)
        metrics: dict[str, Any] = classification_metrics(self.probabilities, target, classes, floor)
        metrics["past"] = classification_metrics(np.exp(log_softmax(self.past.logits)), target, classes, floor)
        future = scores.Future(test.points, network.past_frames, network.shape.slice_frames)
        floors = scores.trivial_futures(future, test.label, train.points, train.label)
        scene, last = self.dataset.scene, network.past_frames + network.shape.slice_frames
        seen, times = in_metres(self.past.path, scene), scene.world.times
        sigma = camera_whitening(seen, trust.px, trust.depth_fraction, scene.camera.focal)
        floors["reading_law"] = predict_chosen_law(
            times[: network.past_frames], seen, times[network.past_frames : last], sigma
        )
        assert self.past.ahead is not None
        found = in_metres(self.past.ahead, scene)
        metrics |= scores.forecast_metrics(found, future, floors)
        metrics["parameters"] = sum(weights.numel() for weights in network.parameters())
        metrics["backbone"] = {
            "parameters": network.loaded.parameters, "pretrained": int(network.loaded.trained),
            "reduced": int(network.params.backbone.reduced),
        }
        return metrics, pd.DataFrame(scores.error_by_step(found, future, floors, test.label))

    def each_stream(self) -> dict[str, Any]:
        """What the test clips' codes say with the frames left open, and how far off the place is by frames alone, px.

        The floor of the place is the training clips' mean one in each frame.
        """
        network, train, test = self.network, self.clips["train"], self.clips["test"]
        metrics = dict[str, Any]()
        if network.params.tokens and network.params.video_share < 1:  # else nothing stands for frames not seen
            bare = read(network, None, test.codes)
            right = (bare.logits.argmax(1) == test.label.numpy()).astype(np.float64)
            floor = majority_accuracy(train.label.numpy(), test.label.numpy())
            metrics["without_frames"] = {**with_interval("accuracy", right), "accuracy_floor": floor}
        assert self.whole.located is not None
        mean = train.path.mean(0)
        away, floor_away = (
            pixels_apart(found, test.path, network.shape.image_size).mean(1).numpy()
            for found in (self.whole.located, mean)
        )
        alone = with_interval("place_px", away) | {"place_px_floor": float(floor_away.mean())}
        return metrics | {"frames_alone": alone}

    def frames(self, progress: Progress) -> dict[str, float]:
        """Metrics of the predicted frames, of as many of the test clips as the params say, evenly chosen."""
        network, test = self.network, self.test
        rows = np.unique(np.linspace(0, len(test) - 1, min(network.params.frames_scored, len(test))).astype(int))
        past, chosen = network.past_frames, test.take(rows)
        last = past + network.shape.slice_frames
        frames = self.clips["test"].clips[rows, past:last].numpy()
        truth = Truth.of_tracks(chosen.label, frames, chosen.points[:, :last], self.dataset.scene, past)
        assert self.past.codes is not None
        true_codes = self.dataset.codes.codes[chosen.rows, : network.past_slices + 1]
        return frame_metrics(self.dataset.tokenizer, true_codes, self.past.codes[rows], truth, progress)

    def trust(self) -> Trust:
        """How far off what is read of validation clips' pasts is."""
        network, val = self.network, self.clips["val"]
        past, first = network.past_frames, network.past_slices
        found = read(network, val.clips[:, :past], val.codes[:, :first])
        points = self.dataset.split("val").points[:, :past]
        return measured_trust(found, val.label.numpy(), points, self.dataset.scene)

    def draw(self, frames_path: Path, paths_path: Path) -> None:
        """A few test clips of each class: forecasts on the frames, and as paths in space."""
        from kinetoken.i3d_magvit import pictures

        test, past, scene = self.test, self.network.past_frames, self.dataset.scene
        label, size = test.label, self.network.shape.image_size
        rows = np.concatenate([np.flatnonzero(label == name)[:PICTURES_PER_CLASS] for name in self.dataset.classes])
        chosen, last = test.take(rows), past + self.network.shape.slice_frames
        pixels, points = self.clips["test"].clips[rows].numpy(), chosen.points
        assert self.past.codes is not None and self.past.ahead is not None
        true_codes = self.dataset.codes.codes[chosen.rows, : self.network.past_slices + 1]
        frames = decoded(
            self.dataset.tokenizer, true_codes, self.past.codes[rows], self.network.shape.slice_frames
        )
        places = [np.stack(to_pixels(each, size)[:2], -1) for each in (
            scene_path(scene, points[:, past:last]), self.past.ahead[rows]
        )]
        names = [str(name) for name in chosen.label]
        pictures.draw_frames(frames_path, names, pixels[:, past - 1], pixels[:, past:last], frames, *places)
        pictures.draw_paths(
            paths_path, names, points, in_metres(self.past.path[rows], scene),
            in_metres(self.past.ahead[rows], scene),
        )
