"""The decisions on some test clips explained: attributions of each token, and all that they are compared with."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinetoken.codes import CodesTable
from kinetoken.core.params import NonNegative, Positive
from kinetoken.explanations.integrated_gradients import integrated_gradients
from kinetoken.explanations.reader import FeatureReader, random_weights
from kinetoken.explanations.replacing import first_of, ranks_of, right_without
from kinetoken.heads.classifier import CodeClassifier

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SHARES = (0.05, 0.1, 0.2)  # of a clip's tokens, first in some order, that are deleted or kept
RANDOM_STEPS = 8  # terms of the integral of an untrained network, which is nearly linear
ATTRIBUTED, RANDOM_WEIGHTS, DIFFERENCE, RANDOM, BALL = "attributed", "random_weights", "difference", "random", "ball"


@dataclasses.dataclass(frozen=True)
class ExplainClassifier:
    """Section explain_classifier."""

    seed: NonNegative  # of the random weights and the random tokens
    clips: Positive  # of the test split that are explained, in equal parts for each class
    steps: Positive  # terms of the integral


@dataclasses.dataclass(frozen=True)
class ExplainedClips:
    """N test clips with the attributions of their tokens (N, T', H', W'), in nats.

    They are of the chosen class's log-probability: a positive one speaks for that class, a negative one against it.
    """

    codes: CodesTable
    classes: tuple[str, ...]  # of the classifier
    chosen: NDArray[np.int64]  # (N,) the class that was predicted
    attribution: Array
    of_random_weights: Array  # the same for an untrained network of the same shape, for the same class
    difference: Array  # distance of a token's features from the baseline: what no network is needed for
    incomplete: Array  # (N,) |sum of attributions − (f(clip) − f(baseline))| / |f(clip) − f(baseline)|
    ball: Mask | None  # tokens that meet the ball; None where true positions are not known
    right: dict[str, Array]  # kind → (N,) 1.0 where the class is still predicted without the tokens deleted first
    replaced: dict[tuple[str, str, float], Array]  # (deletion or insertion, kind, share of tokens) → the same

    @property
    def target(self) -> NDArray[np.int64]:
        """(N,) true class, among `classes`."""
        return np.searchsorted(np.array(self.classes), self.codes.label).astype(np.int64)


def explain(
    head: CodeClassifier, network: dict[str, object], table: CodesTable, some: CodesTable, ball: Mask | None,
    params: ExplainClassifier, advance: Callable[[int], None] = lambda done: None,
) -> ExplainedClips:
    """The decisions of `head` on the clips `some` of the `table`, whose training clips give the baseline.

    network: settings of the model's config, from which the untrained one is built. ball (N, T', H', W').
    """
    reader, untrained = FeatureReader(head), FeatureReader(random_weights(head, network, params.seed))
    features, baseline = reader.features(some.codes), reader.mean_features(table.of_split("train").codes)
    chosen = reader.chosen(features)
    attribution = _summed(reader, features, baseline, chosen, params.steps, advance)
    other = _summed(
        untrained, untrained.features(some.codes), untrained.mean_features(table.of_split("train").codes), chosen,
        min(params.steps, RANDOM_STEPS), advance,
    )
    found = ExplainedClips(
        some, head.classes, chosen.cpu().numpy(), attribution, other,
        (features - baseline).norm(dim=-1).double().cpu().numpy(),
        _incomplete(reader, features, baseline, chosen, attribution), ball, {}, {},
    )
    right, replaced = _deleted(found, reader, features, baseline, params.seed)
    return dataclasses.replace(found, right=right, replaced=replaced)


def _summed(
    reader: FeatureReader, features: Tensor, baseline: Tensor, chosen: Tensor, steps: int,
    advance: Callable[[int], None],
) -> Array:
    """Integrated gradients of the chosen class's log-probability, summed over a token's features: (N, T', H', W')."""
    each = integrated_gradients(reader.log_probabilities, features, baseline, chosen, steps, advance)
    return np.asarray(each.double().sum(-1).cpu().numpy())


@torch.no_grad()
def _incomplete(
    reader: FeatureReader, features: Tensor, baseline: Tensor, chosen: Tensor, attribution: Array
) -> Array:
    after = torch.cat([reader.log_probabilities(part) for part in features.split(64)]).gather(1, chosen[:, None])[:, 0]
    before = reader.log_probabilities(baseline[None])[0, chosen]
    rise = (after.double() - before.double()).cpu().numpy()
    error = np.abs(attribution.reshape(len(attribution), -1).sum(1) - rise)
    return np.asarray(error / np.maximum(np.abs(rise), 1e-9))


def _deleted(
    found: ExplainedClips, reader: FeatureReader, features: Tensor, baseline: Tensor, seed: int
) -> tuple[dict[str, Array], dict[tuple[str, str, float], Array]]:
    """Accuracy without the tokens that each order puts first: as many as meet the ball, and by shares of all tokens."""
    size = found.attribution[0].size
    noise = np.random.default_rng(seed).random(found.attribution.shape)
    scores = {
        ATTRIBUTED: np.abs(found.attribution), RANDOM_WEIGHTS: np.abs(found.of_random_weights),
        DIFFERENCE: found.difference, RANDOM: noise,
    }
    if found.ball is not None:
        scores[BALL] = found.ball + noise  # the ball's tokens in any order, then the others
    ranks = {kind: ranks_of(each) for kind, each in scores.items()}
    without = lambda mask: right_without(reader, features, baseline, mask, found.target)  # noqa: E731
    if found.ball is None:
        counts = np.full(len(features), round(SHARES[1] * size))
    else:
        counts = found.ball.reshape(len(features), -1).sum(1)
    right = {kind: without(first_of(each, counts)) for kind, each in ranks.items()}
    replaced = {}
    for kind, each in ranks.items():
        for share in SHARES:
            first = first_of(each, np.full(len(features), round(share * size)))
            replaced["deletion", kind, share], replaced["insertion", kind, share] = without(first), without(~first)
    return right | {"none": (found.chosen == found.target).astype(np.float64)}, replaced
