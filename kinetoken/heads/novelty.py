"""Does a clip look like the clips that the heads were trained on? A score that says so from its codes alone.

The position head reads where the ball is, and two things are asked of its path:

- *misfit*: what the best of the four laws leaves of the path, in units of the head's own errors; a path of no law, two
  balls or noise leave far more than sound clips do;
- *speed*: how far the mean speed is from that of sound clips, up or down; a ball that stands still fits every law.

Each is counted from its median over the val clips in units of the distance from there to their 90th percentile, and
the larger of the two is the clip's *strangeness*. No strange clip is needed to fit it. Its *p-value* is the share of
val clips that are at least as strange, the clip itself counted among them: where clips are exchangeable with the val
clips, it is at most α in a share α of them (split conformal prediction: Vovk, Gammerman & Shafer 2005, Algorithmic
Learning in a Random World, section 4.2). That holds nearly: the same val clips gave the median, the spread, and the
head's errors and best epoch, so the stage measures it on test. A level α needs at least 1 / α − 1 val clips; with
fewer, no clip is ever called strange. Every number of slices is calibrated by itself.

The laws are those of `kinetoken.physics`, so the score is for clips with known positions; others have none.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinetoken.core.artifacts import write_json
from kinetoken.core.errors import UserError
from kinetoken.heads.position import Array, PositionHead, load_position_head
from kinetoken.physics.fitting import fit_laws
from kinetoken.scenes.camera import camera_whitening
from kinetoken.scores import bootstrap_interval, with_interval

if TYPE_CHECKING:
    import pandas as pd

ABSENT = "no novelty score: trained before it was there, or without a position head; train again"
FOLDER = "novelty"  # in the classifier's
CALIBRATION = "calibration.json"
SPREAD = 0.9  # quantile of the val clips whose distance from the median is 1
STILL = 1e-3  # m a frame, below which speeds are alike


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What val clips are like after one number of slices.

    `centre` (2,) and `spread` (2,) of misfit and speed, and the strangeness (V,) of the val clips, ascending.
    """

    centre: Array
    spread: Array
    known: Array

    def strangeness(self, path_scores: Array) -> Array:
        """(N, 2) as `path_scores` → (N,), 0 for the most usual clip and about 1 for a clip in ten."""
        away = path_scores - self.centre
        away[:, 1] = np.abs(away[:, 1])
        return np.asarray((away / self.spread).max(1))


@dataclasses.dataclass(frozen=True)
class Novelty:
    """The score: the head that reads paths, the p-value `level` up to which a clip is unlike the training data, and a
    calibration for each number of slices from one on."""

    reader: PositionHead
    level: float
    calibrations: tuple[Calibration, ...]

    def strangeness(self, codes: np.ndarray) -> Array:
        """codes (N, K, H', W'), the first K ≥ 1 slices → (N,)."""
        return self._calibration(codes).strangeness(path_scores(self.reader, codes))

    def p_values(self, codes: np.ndarray) -> Array:
        """codes (N, K, H', W'), the first K ≥ 1 slices → (N,) in (0, 1]: low for clips unlike the training data."""
        return conformal_p_values(self._calibration(codes).known, self.strangeness(codes))

    def _calibration(self, codes: np.ndarray) -> Calibration:
        count = int(codes.shape[1])
        if not 1 <= count <= len(self.calibrations):
            raise ValueError(f"codes of shape {codes.shape}: expected 1…{len(self.calibrations)} slices")
        return self.calibrations[count - 1]


def conformal_p_values(known: Array, strangeness: Array) -> Array:
    """(1 + how many of `known` (V,), ascending, are at least as strange) / (1 + V), for each of strangeness (N,)."""
    at_least = len(known) - np.searchsorted(known, strangeness, side="left")
    return np.asarray((1 + at_least) / (1 + len(known)))


def path_scores(reader: PositionHead, codes: np.ndarray) -> Array:
    """codes (N, K, H', W') → (N, 2): logarithms of the best law's misfit and of the mean speed.

    The misfit is the mean squared error of a coordinate over its variance, the speed in metres a frame. Time is
    counted in clips, which `physics.forms` resolves whatever they last.
    """
    points = reader.positions(codes)  # (N, T, 3)
    frames = points.shape[1]
    sigma = np.stack([reader.sigma[name] for name in ("px", "px", "depth_fraction")], -1)[:frames]  # (T, 3)
    whitening = camera_whitening(points, 1.0, 1.0, reader.focal) / np.maximum(sigma, 1e-6)[..., None]
    fits = fit_laws(np.arange(frames) / (reader.grid[0] * reader.frames), points, whitening)
    misfit = np.min([fit.residual for fit in fits.values()], axis=0) / (3 * frames)
    speed = np.linalg.norm(np.diff(points, axis=1), axis=-1).mean(1)
    return np.stack([np.log(np.maximum(misfit, 1e-12)), np.log(np.maximum(speed, STILL))], -1)


def fit_calibration(scores: Array) -> Calibration:
    """From the scores (V, 2) of val clips."""
    centre = np.median(scores, 0)
    away = scores - centre
    away[:, 1] = np.abs(away[:, 1])
    spread: Array = np.maximum(np.quantile(away, SPREAD, axis=0), 1e-9)
    known = np.sort(Calibration(centre, spread, np.empty(0)).strangeness(scores))
    return Calibration(np.asarray(centre), spread, known)


def fit_novelty(reader: PositionHead, val: np.ndarray, level: float) -> Novelty:
    """From codes (V, T', H', W') of val clips, none of which trained the reader."""
    scores = (path_scores(reader, val[:, :count]) for count in range(1, val.shape[1] + 1))
    return Novelty(reader, level, tuple(fit_calibration(each) for each in scores))


def save_novelty(folder: Path, novelty: Novelty, position: Path) -> None:
    """Into the classifier's `folder`: the calibration, and a copy of the head that reads paths (from `position`)."""
    shutil.copytree(position, folder / FOLDER, copy_function=shutil.copyfile)
    write_json(folder / FOLDER / CALIBRATION, {
        "level": novelty.level,
        "slices": [{name: value.tolist() for name, value in vars(each).items()} for each in novelty.calibrations],
    })


def load_novelty(folder: Path) -> Novelty | None:
    """The score in the classifier's `folder`; None if there is none. UserError if it is damaged."""
    path = folder / FOLDER / CALIBRATION
    if not path.parent.is_dir():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        each = [{name: np.array(values, np.float64) for name, values in part.items()} for part in content["slices"]]
        calibrations = tuple(Calibration(**part) for part in each)
        level = float(content["level"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a novelty score's calibration ({error}); train the classifier again") from None
    return Novelty(load_position_head(path.parent), level, calibrations)


# ---- how good it is


@dataclasses.dataclass(frozen=True)
class Judged:
    """Of N clips: how strange they are (N,), their p-values (N,), and the classifier's greatest probability (N,)."""

    strangeness: Array
    p: Array
    confidence: Array

    @property
    def scores(self) -> dict[str, Array]:
        """By name of the score (N,), high for clips that should be refused."""
        return {"novelty": self.strangeness, "confidence": -self.confidence}


def placements(sound: Array, strange: Array) -> Array:
    """For each of the strange scores (M,), the share of sound ones (N,) below it, equals counted half.

    Their mean is the area under the ROC curve (Hanley & McNeil 1982, Radiology 143:29).
    """
    order = np.sort(sound)
    below = np.searchsorted(order, strange, side="left") + np.searchsorted(order, strange, side="right")
    return np.asarray(below / (2 * len(order)))


def novelty_metrics(sound: Judged, strange: Mapping[str, Judged], level: float) -> dict[str, Any]:
    """auroc, its mean over kinds of strange clips, false_alarms among sound clips, and the share of strange ones found.

    Beside each AUROC is that of the classifier's greatest probability as `_floor` (Hendrycks & Gimpel 2017, arXiv
    1610.02136).
    """
    found = {name: [placements(sound.scores[name], one.scores[name]) for one in strange.values()]
             for name in sound.scores}
    by_kind: dict[str, float] = {}
    for kind, ours, floor in zip(strange, found["novelty"], found["confidence"], strict=True):
        by_kind |= {kind: float(ours.mean()), f"{kind}_floor": float(floor.mean())}
    low, high = bootstrap_interval(np.concatenate(found["novelty"]))
    return {
        "auroc": float(np.mean([each.mean() for each in found["novelty"]])),
        "auroc_floor": float(np.mean([each.mean() for each in found["confidence"]])),
        "auroc_ci95_low": low, "auroc_ci95_high": high, "auroc_by_kind": by_kind,
        **with_interval("false_alarms", (sound.p <= level).astype(float)),
        **with_interval("found", np.concatenate([one.p <= level for one in strange.values()]).astype(float)),
        "found_by_kind": {kind: float((one.p <= level).mean()) for kind, one in strange.items()},
    }


def novelty_table(sound: Judged, strange: Mapping[str, Judged]) -> "pd.DataFrame":
    """One row a clip: its kind, `sound` or that of a strange one, strangeness, p-value and confidence."""
    import pandas as pd

    return pd.concat(
        [pd.DataFrame({"kind": kind, **vars(one)}) for kind, one in {"sound": sound, **strange}.items()],
        ignore_index=True,
    )


def selective_table(sound: Judged, right: np.ndarray, strange: Mapping[str, Judged]) -> "pd.DataFrame":
    """Accuracy of the clips that are kept, where the strangest are refused, by each score; strange clips count as
    wrong. right (N,) bool of the sound clips. El-Yaniv & Wiener (2010, JMLR 11:1605).
    """
    import pandas as pd

    correct = np.concatenate([right, np.zeros(sum(len(one.p) for one in strange.values()), bool)])
    kept = np.unique(np.ceil(np.linspace(0.02, 1, 50) * len(correct)).astype(int))
    rows = []
    for name in sound.scores:
        refused = np.concatenate([sound.scores[name], *(one.scores[name] for one in strange.values())])
        accuracy = correct[np.argsort(refused, kind="stable")].cumsum() / np.arange(1, len(correct) + 1)
        rows.append(pd.DataFrame({"score": name, "coverage": kept / len(correct), "accuracy": accuracy[kept - 1]}))
    return pd.concat(rows, ignore_index=True)
