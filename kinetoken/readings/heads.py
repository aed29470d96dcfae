"""The past read by two heads on codes: class and embedding by the classifier, 3-D points by the position head."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from kinetoken.codes import CodesTable
from kinetoken.core.absence import why_absent
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.physics.laws import Array
from kinetoken.physics.world import World
from kinetoken.readings.sources import Sources, past_slices
from kinetoken.readings.table import Readings
from kinetoken.scenes.camera import camera_whitening
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.own_tracks import UNLABELLED

if TYPE_CHECKING:
    from kinetoken.heads.novelty import Novelty


class ClassReader(Protocol):
    """A classifier of codes (N, K, H', W'), any number of time slices."""

    classes: tuple[str, ...]
    tokenizer_hash: str

    def log_probabilities(self, codes: NDArray[np.int32]) -> NDArray[np.floating]: ...  # (N, C)
    def embedding(self, codes: NDArray[np.int32]) -> NDArray[np.floating]: ...  # (N, D)



class PositionReader(Protocol):
    """A position head on codes; `sigma`: its errors on validation in each frame, px across the view, depth_fraction."""

    tokenizer_hash: str

    @property
    def sigma(self) -> Mapping[str, Sequence[float]]: ...

    @property
    def focal(self) -> float: ...  # px

    def positions(self, codes: NDArray[np.int32]) -> NDArray[np.floating]: ...  # (N, frames, 3) m


class NoClasses:
    """In the place of a classifier where clips have no classes: it says nothing of any clip."""

    classes: tuple[str, ...] = (UNLABELLED,)

    def __init__(self, tokenizer_hash: str) -> None:
        self.tokenizer_hash = tokenizer_hash

    def log_probabilities(self, codes: NDArray[np.int32]) -> NDArray[np.floating]:
        return np.zeros((len(codes), 1))

    def embedding(self, codes: NDArray[np.int32]) -> NDArray[np.floating]:
        return np.zeros((len(codes), 1))


def load_heads(sources: Sources) -> tuple[ClassReader, PositionReader]:
    """The two models that read codes."""
    from kinetoken.heads.classifier import load_classifier
    from kinetoken.heads.position import load_position_head

    position = load_position_head(sources.position)
    if why_absent(sources.model):
        return NoClasses(position.tokenizer_hash), position
    return load_classifier(sources.model), position


def read_by_heads(codes: CodesTable, store: ClipStore, sources: Sources) -> Readings:
    """What the heads read from the codes of the past; of the store only its scene is used.

    Without a classifier, only positions are read. UserError for a head on codes of another tokenizer.
    """
    classifier, position = load_heads(sources)
    dataset = Dataset(codes=codes, paths=DatasetPaths(codes=sources.codes))
    dataset.require_tokenizer_of(classifier, sources.model)
    dataset.require_tokenizer_of(position, sources.position)
    return gather(codes, store.scene.world, classifier, position)


def gather(codes: CodesTable, world: World, classifier: ClassReader, position: PositionReader) -> Readings:
    """What the models read from the first three quarters of the time slices; later codes are never touched."""
    past = codes.codes[:, : past_slices(codes)]
    points = np.asarray(position.positions(past), np.float64)  # (N, K, 3)
    errors = np.stack([position.sigma[name] for name in ("px", "px", "depth_fraction")], -1)[: len(points[0])]  # (K, 3)
    whitening = camera_whitening(points, 1.0, 1.0, position.focal) / errors[..., None]
    log_probabilities = np.asarray(classifier.log_probabilities(past), np.float64)
    embedding = np.asarray(classifier.embedding(past), np.float64)
    novelty: Novelty | None = getattr(classifier, "known", None)  # not of every reader
    p = None if novelty is None else novelty.p_values(past)
    return Readings(
        "classifier", world, tuple(classifier.classes), codes.track_id, log_probabilities, embedding, points, whitening,
        np.empty((len(codes), 0), np.str_), p,
        None if p is None or novelty is None else p <= novelty.level,
    )


def similar_clips(embedded: Array, training: CodesTable, sources: Sources, count: int) -> NDArray[np.str_]:
    """Classes (N, count) of the training clips most similar to each clip embedded (N, D), by their pasts alone."""
    classifier, _ = load_heads(sources)
    known = np.asarray(classifier.embedding(training.codes[:, : past_slices(training)]), np.float64)
    return nearest_classes(embedded, known, training.label, count)


def nearest_classes(embedded: Array, known: Array, labels: NDArray[np.str_], count: int) -> NDArray[np.str_]:
    """Classes (N, count) of the `count` rows of `known` (M, D) nearest each of `embedded` (N, D), nearest first."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=min(count, len(known))).fit(known)
    return np.asarray(labels[near.kneighbors(embedded, return_distance=False)])
