"""What must tell nothing: the frame in which a candidate appears, what is known without looking, labels at random. And
where attention lies if nothing but the decision trains it.

Each control is given its best chance: a classifier of its own, trained on the training tracks.
"""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from kinetoken.core.stage import Context
from kinetoken.persistence.evaluation import predict_clips
from kinetoken.persistence.experiment import Material, try_extractor
from kinetoken.persistence.extractors import Extractor
from kinetoken.persistence.network import build_network
from kinetoken.persistence.params import PersistenceParams
from kinetoken.persistence.training import Targets, train_network
from kinetoken.physics.laws import Array
from kinetoken.scenes.rendering import LOOK
from kinetoken.scores import with_interval
from kinetoken.training.loop import fabric_device

CROP = 24  # px a side, around the candidate


def controls(
    material: Material, params: PersistenceParams, shuffled: str, context: Context
) -> dict[str, dict[str, float]]:
    """Test accuracy with its interval of each: `first_frame`, `metadata`, `shuffled_labels` (of that extractor).

    And `unsupervised_attention`: accuracy and attention ratio of that extractor, trained without the losses on place
    and presence, which otherwise train the weights of attention too.
    """
    train, test = material.rows("train"), material.rows("test")
    persistent = material.truth.persistent
    found = {}
    for name, features in (("first_frame", first_frames(material)), ("metadata", metadata(material))):
        context.progress.phase(f"control: {name}")
        right = _told(features[train], persistent[train], features[test]) == persistent[test]
        found[name] = with_interval("accuracy", right.astype(np.float64))
    found["shuffled_labels"] = with_interval("accuracy", _dealt_out(material, params, shuffled, context))
    found["unsupervised_attention"] = _unsupervised_attention(material, params, shuffled, context)
    return found


def _unsupervised_attention(
    material: Material, params: PersistenceParams, name: str, context: Context
) -> dict[str, float]:
    head = dataclasses.replace(params.head, place_weight=0.0, presence_weight=0.0)
    without = dataclasses.replace(params, head=head)
    outcome = try_extractor(name, material, without, context, "control: unsupervised attention")
    persistent = material.truth.take(material.rows("test")).persistent
    attention = outcome.attention_metrics(persistent)
    right = outcome.trial.decisions.persistent == persistent
    return {
        **with_interval("accuracy", right.astype(np.float64)),
        **{key: attention[key] for key in attention if key.startswith("attention_ratio")
           and not key.endswith(("persistent", "transient"))},
    }


def first_frames(material: Material) -> Array:
    """(N, features) of each candidate's first frame: pixels around it, averaged by twos, place and apparent size."""
    dataset, truth = material.dataset, material.truth
    size = dataset.scene.look.image_size
    rows = np.arange(len(dataset.table))
    u, v, radius = dataset.scene.camera.project(dataset.tracks.points[rows, truth.first])
    features = np.empty((len(rows), 3 * (CROP // 2) ** 2 + 3))
    for part in np.array_split(rows, max(len(rows) // 512, 1)):
        frames = dataset.clips.take(part).pixels[np.arange(len(part)), truth.first[part]]
        for row, frame in zip(part, frames, strict=True):
            top, left = (int(np.clip(round(float(x[row])) - CROP // 2, 0, size - CROP)) for x in (v, u))
            crop = frame[top : top + CROP, left : left + CROP] / 255
            small = crop.reshape(CROP // 2, 2, CROP // 2, 2, 3).mean((1, 3))
            features[row] = [*small.ravel(), u[row] / size, v[row] / size, radius[row] / 4]
    return features


def metadata(material: Material) -> Array:
    """(N, columns): length, size, bytes, number and frame of appearance, colour, light, depth: what needs no look."""
    store, tracks = material.dataset.clips, material.dataset.tracks
    count = len(store)
    frames, height, width = store.shape
    same = np.tile([frames, height, width, store.fps, frames * height * width * 3.0], (count, 1))
    number = store.track_id.astype(np.float64)
    columns = [tracks.drawn[name].to_numpy() for name in ("ball_radius", "speed", "start_z", *LOOK)]
    return np.column_stack([
        same, number, number % 2, number % 4, material.truth.first, *columns,
        tracks.points[np.arange(count), material.truth.first],
    ])


def _told(train: Array, persistent: np.ndarray, test: Array) -> np.ndarray:
    """(N,) what boosted trees (Friedman 2001) tell of the test rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(train, persistent)
    return np.asarray(model.predict(test), bool)


def _dealt_out(material: Material, params: PersistenceParams, name: str, context: Context) -> np.ndarray:
    """(N,) how often the extractor's networks, trained on dealt labels, are right about the true ones of whole clips.

    In training and validation half of the tracks of each kind and lifetime are labelled as the one kind and half as
    the other, drawn at random. What a network makes of that goes by chance with the truth or against it. So a second
    network is trained with every dealt label turned round, both from logits of zero, and the mean of the two counts.
    As long as nothing but the dealt labels tells the two kinds apart, one network is the other with its sign changed,
    and the mean is one half but for rounding; what exceeds it has come from the truth by another way.
    """
    device = fabric_device(context.hardware)
    short = dataclasses.replace(params.of(name), epochs=params.control_epochs)
    dataset, right = material.dataset, []
    for turned_round in (False, True):
        network = build_network(name, params, dataset.clips.shape[1], dataset.tokenizer)
        last = network.head.leave[-1]
        assert isinstance(last, torch.nn.Linear)
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
        train, val = (
            _dealt(material, network.extractor, split, params.seed, turned_round, device) for split in ("train", "val")
        )
        test = material.clips(network.extractor, "test", device)
        title = f"control: shuffled labels{', turned round' if turned_round else ''}"
        train_network(network, train, val, short, params.head, context, title)
        told = predict_clips(network.to(device), test[0], device).logits[:, -1] > 0
        right.append(told == (test[1].persistent.numpy() > 0))
    return np.asarray(np.mean(right, 0))


def _dealt(
    material: Material, extractor: Extractor, split: str, seed: int, turned_round: bool, device: torch.device
) -> tuple[Tensor, Targets]:
    """The clips of a split with dealt labels, the same for the same seed, or with their opposites."""
    kept, known = material.clips(extractor, split, device)
    truth = material.truth.take(material.rows(split))
    rng = np.random.default_rng([seed, len(truth.persistent)])
    labels = dealt_labels(np.stack([truth.persistent, truth.lifetime], -1), rng)
    dealt = torch.from_numpy(1 - labels if turned_round else labels).to(known.persistent)
    return kept, dataclasses.replace(known, persistent=dealt)


def dealt_labels(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) 0 and 1 for groups (N, columns): in each group half are 1, drawn at random; of an odd number one more or one
    fewer, in turn."""
    dealt, odd = np.zeros(len(group), np.int64), 0
    for each in np.unique(group, axis=0):
        rows = np.flatnonzero((group == each).all(1))
        dealt[rng.permutation(rows)[: (len(rows) + odd) // 2]] = 1
        odd ^= len(rows) & 1
    return dealt
