"""What the models read from the first three quarters of a clip; nothing later is handed to them.

By `source: codes` class probabilities come from the classifier and 3-D points from the position head, both on codes;
by `source: i3d_magvit` both come from that network, on frames and codes.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinetoken.codes import CodesTable
from kinetoken.core.errors import UserError
from kinetoken.core.per_track import rows_by_track
from kinetoken.equations.evidence import Evidence
from kinetoken.physics.laws import Array
from kinetoken.scenes.camera import camera_whitening
from kinetoken.scores import log_softmax

TRUE_POINT_ERROR = 1e-4  # m: what true points are trusted to, in place of the position head's own errors


class ClassReader(Protocol):
    """A classifier of codes (N, K, H', W'), any number of time slices."""

    classes: tuple[str, ...]

    def log_probabilities(self, codes: NDArray[np.int32]) -> NDArray[np.floating]: ...  # (N, C)
    def embedding(self, codes: NDArray[np.int32]) -> NDArray[np.floating]: ...  # (N, D)


class PositionReader(Protocol):
    """A position head on codes; `sigma`: its errors on validation in each frame, px across the view, depth_fraction."""

    @property
    def sigma(self) -> Mapping[str, Sequence[float]]: ...

    @property
    def focal(self) -> float: ...  # px

    def positions(self, codes: NDArray[np.int32]) -> NDArray[np.floating]: ...  # (N, frames, 3) m


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where a past can be read from; by params one pair of models is."""

    codes: Path
    classifier: Path
    position: Path
    i3d_magvit: Path
    videos: Path


def past_slices(codes: CodesTable) -> int:
    """The first three quarters of the time slices, at least one."""
    return max(codes.meta.grid[0] * 3 // 4, 1)


def load_readers(sources: Sources) -> tuple[ClassReader, PositionReader]:
    """The two models that read codes."""
    from kinetoken.heads.classifier import load_classifier
    from kinetoken.heads.position import load_position_head

    return load_classifier(sources.classifier), load_position_head(sources.position)


def read_codes_alone(codes: CodesTable, times: Array, sources: Sources) -> Evidence:
    """What the heads read from the codes of the past."""
    return gather_evidence(codes, times, *load_readers(sources))


def gather_evidence(
    codes: CodesTable, times: Array, classifier: ClassReader, position: PositionReader
) -> Evidence:
    """What the models read from the first three quarters of the time slices; later codes are never touched."""
    past = codes.codes[:, : past_slices(codes)]
    points = np.asarray(position.positions(past), np.float64)  # (N, K, 3)
    errors = np.stack([position.sigma[name] for name in ("px", "px", "depth_fraction")], -1)[: len(points[0])]  # (K, 3)
    whitening = camera_whitening(points, 1.0, 1.0, position.focal) / errors[..., None]
    log_probabilities = np.asarray(classifier.log_probabilities(past), np.float64)
    return Evidence(times[: points.shape[1]], points, whitening, tuple(classifier.classes), log_probabilities)


def read_video(codes: CodesTable, times: Array, sources: Sources) -> Evidence:
    """What I3D + MAGVIT reads from frames and codes of the past; it is given no later ones.

    UserError for a network of another tokenizer or another past, and for clips that are not there.
    """
    import torch

    from kinetoken.i3d_magvit.network import load_i3d_magvit
    from kinetoken.i3d_magvit.past import in_metres, load_trust
    from kinetoken.i3d_magvit.training import read
    from kinetoken.scenes.clips import ClipStore

    network, trust = load_i3d_magvit(sources.i3d_magvit), load_trust(sources.i3d_magvit)
    store = ClipStore(sources.videos)
    codes.meta.require_same_tokenizer(network.tokenizer_hash, sources.codes, sources.i3d_magvit)
    past = past_slices(codes)
    if network.past_slices != past:
        raise UserError(
            f"{sources.i3d_magvit}: reads pasts of {network.past_slices} slices, and motion is described from {past}; "
            "set train_i3d_magvit.forecast.past_slices"
        )
    rows = rows_by_track(codes.track_id, store.track_id, absent_from(sources.videos))
    order = np.argsort(rows)
    frames = np.empty((len(rows), network.past_frames, *store.shape[1:], 3), np.uint8)
    frames[order] = store.take(rows[order]).pixels[:, : network.past_frames]
    told = read(network, torch.from_numpy(frames), torch.from_numpy(codes.codes[:, :past].astype(np.int64)))
    points = in_metres(told.path, store.scene)
    whitening = camera_whitening(points, trust.px, trust.depth_fraction, store.scene.camera.focal)
    log_probabilities = log_softmax(told.logits / trust.temperature)
    return Evidence(times[: points.shape[1]], points, whitening, network.shape.classes, log_probabilities)


READERS: dict[str, Callable[[CodesTable, Array, Sources], Evidence]] = {
    "codes": read_codes_alone, "i3d_magvit": read_video,
}


def on_true_points(evidence: Evidence, truth: Array) -> Evidence:
    """The same with the true positions (N, T, 3) of the past in place of the estimated ones: a control."""
    past = len(evidence.times)
    exact = np.broadcast_to(np.eye(3) / TRUE_POINT_ERROR, (len(truth), past, 3, 3))
    return dataclasses.replace(evidence, points=truth[:, :past], whitening=exact)


def nearest_classes(embedded: Array, known: Array, labels: NDArray[np.str_], count: int) -> NDArray[np.str_]:
    """Classes (N, count) of the `count` rows of `known` (M, D) nearest each of `embedded` (N, D), nearest first."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=min(count, len(known))).fit(known)
    return np.asarray(labels[near.kneighbors(embedded, return_distance=False)])


def similar_clips(chosen: CodesTable, training: CodesTable, sources: Sources, count: int) -> NDArray[np.str_]:
    """Classes (N, count) of the training clips most similar to each chosen one, by the classifier's view of pasts."""
    classifier, _ = load_readers(sources)
    embedded, known = (classifier.embedding(table.codes[:, : past_slices(table)]) for table in (chosen, training))
    return nearest_classes(np.asarray(embedded), np.asarray(known), training.label, count)


def absent_from(source: Path) -> Callable[[int], str]:
    """What to say of a track with codes that the source does not have."""
    return f"{source}: no track {{}}, which the codes table has; both must come from one run".format
