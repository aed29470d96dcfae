"""Probes: how much of the class can be read at one point of the chain pixels → latents → codes → pooled codes.

The same family of probes runs at every point, on the same grid of tokens (N, T', H', W', D), so that a fall
between two points is a loss of information there and not a change of reader:

- ``linear``: logistic regression on principal components (Alain & Bengio 2017, 1610.01644);
- ``knn``: the votes of the nearest training clips among the same components;
- ``moments``: attention over each time slice that returns where and what (soft-argmax and mean values,
  Finn et al. 2016, 1509.06113), then a small network over the slices. A class of motion is a product of
  position and time, which no linear reading of a grid can form.

Training clips fit, validation clips choose strength and temperature, test clips are scored once.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn

from kinetoken.core.errors import UserError
from kinetoken.core.params import Positive
from kinetoken.core.stage import Context
from kinetoken.diagnosis.measures import gain
from kinetoken.layers import cell_centres, expected_places
from kinetoken.scores import bootstrap_interval, fitted_temperature, log_softmax
from kinetoken.training.loop import Batch, TensorBatches, TrainingParams, fit

Tokens = NDArray[np.float32]
Array = NDArray[np.float64]

COMPONENTS = 96  # principal components that linear and kNN probes read
STRENGTHS = (0.01, 0.1, 1.0)  # inverse penalties of the logistic regression, chosen on validation
NEIGHBOURS = (5, 15, 45)
LEAST_PROBABILITY = 1e-13  # of a class that a probe never saw
SURE = 0.02  # nats of validation cross-entropy below which no other probe could read better
LEAST_STEPS = 250  # of the moments probe's training: as many as 14 epochs of 1,150 clips
VALUES = 12  # numbers that each attention head of the moments probe reads beside its position


@dataclasses.dataclass(frozen=True, kw_only=True)
class MomentsParams(TrainingParams):
    """Section diagnose_codes.probe: the moments probe and its training."""

    width: Positive
    heads: Positive  # places that each time slice is read at


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Tokens (N, T', H', W', D) of one split and the index of each clip's class (N,).

    codes: the same as indices (N, T', H', W') or (N, T', H', W', Q), below 0 for padding, where tokens stand for codes.
    """

    tokens: Tokens
    target: NDArray[np.int64]
    codes: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.target)


@dataclasses.dataclass(frozen=True)
class Splits:
    """What a probe is fitted, chosen and scored on.

    approximate: are the tokens vectors that were made for codes, because the quantizer's own are not known?
    """

    train: Labelled
    val: Labelled
    test: Labelled
    num_classes: int
    approximate: bool = False

    def __post_init__(self) -> None:
        for field in ("train", "val", "test"):
            found = np.unique(getattr(self, field).target)
            if len(found) == 0:
                raise UserError(f"diagnosis: split '{field}' is empty")
            if field != "val" and len(found) < 2:
                raise UserError(f"diagnosis: split '{field}' holds one class only; a probe needs at least two")

    def map(self, change: Callable[[Tokens], Tokens]) -> "Splits":
        """The same clips with other tokens."""
        train, val, test = (Labelled(change(part.tokens), part.target) for part in (self.train, self.val, self.test))
        return Splits(train, val, test, self.num_classes)

    @cached_property
    def components(self) -> tuple[Tokens, Tokens, Tokens]:
        """Principal components (Hotelling 1933) of whole clips, fitted on train: (N, F) of train, val and test."""
        from sklearn.decomposition import PCA

        flat = [rearrange(part.tokens, "n t h w d -> n (t h w d)") for part in (self.train, self.val, self.test)]
        if min(flat[0].shape) > COMPONENTS:
            model = PCA(COMPONENTS, svd_solver="randomized", random_state=0, iterated_power=3).fit(flat[0])
            flat = [model.transform(x).astype(np.float32) for x in flat]
        return flat[0], flat[1], flat[2]


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """What one probe read on the test clips: probabilities (N, C), and its cross-entropy on validation in nats.

    val_accuracy: on validation clips, balanced over classes.
    share (C,): of each class among the training clips, which the probabilities carry as their prior.
    """

    probe: str
    probabilities: Array
    target: NDArray[np.int64]
    val_cross_entropy: float
    share: Array
    val_accuracy: float = 0.0

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether each test clip was named rightly, all classes taken to be equally likely."""
        return np.asarray((self.probabilities / np.maximum(self.share, 1e-12)).argmax(-1) == self.target)

    @cached_property
    def scores(self) -> Array:
        """(N,) whose mean is the accuracy: 1 for a clip named rightly, times N / (classes · clips of its class)."""
        return np.asarray(self.correct * balancing(self.target))

    @property
    def accuracy(self) -> float:
        """Balanced over classes: the mean over classes of the share named rightly (Brodersen et al. 2010)."""
        return float(self.scores.mean())

    @property
    def guess(self) -> float:
        """The accuracy of always naming one class."""
        return best_guess(self.target)

    @property
    def gain(self) -> float:
        """Where the accuracy lies between guessing, 0, and no error, 1."""
        return gain(self.accuracy, self.guess)

    @property
    def bits(self) -> Array:
        """(N,) −log2 of the probability given to each test clip's true class."""
        return -np.log2(np.maximum(self.probabilities[np.arange(len(self.target)), self.target], 1e-12))


def balancing(target: NDArray[np.int64]) -> Array:
    """(N,) weights of mean 1 that make all classes of labels (N,) weigh the same."""
    _, place, count = np.unique(target, return_inverse=True, return_counts=True)
    return np.asarray(len(target) / (len(count) * count[place]), np.float64)


def best_guess(target: NDArray[np.int64]) -> float:
    """Balanced accuracy of always naming one class: one over the number of classes among labels (N,)."""
    return 1 / len(np.unique(target))


def read_all(splits: Splits, params: MomentsParams, context: Context, label: str) -> dict[str, ProbeResult]:
    """Every probe of PROBES at one point of the chain; the label names it in progress and curves.

    The moments probe, which takes longest, is left out where a simpler one reads without doubt already.
    Codes whose vectors are approximate are also read by how rare each is at its place, which needs no vector.
    """
    found = read_linearly(splits, params, context, label)
    if strongest(found).val_cross_entropy < SURE:
        return found
    found["moments"] = moments_probe(splits, params, context, f"{label}_moments")
    if splits.approximate:
        found["rarity"] = moments_probe(rarities(splits), params, context, f"{label}_rarity")
    return found


def rarities(splits: Splits) -> Splits:
    """The same clips with tokens of two numbers for each codebook: −log2 of a code's share in training, at its place
    and anywhere.

    Where a code was not seen at its place, its share among all tokens counts, as much as one clip does.
    """
    train, val, test = (part.codes for part in (splits.train, splits.val, splits.test))
    assert train is not None and val is not None and test is not None
    size = int(max(part.max() for part in (train, val, test))) + 2
    count = np.bincount(train.ravel() + 1, minlength=size)
    anywhere = (count + 0.5) / (count.sum() + 0.5 * size)
    seen, times = np.unique(_placed(train, size), return_counts=True)

    def rarity(codes: NDArray[np.int32]) -> Tokens:
        cells = _placed(codes, size)
        at = np.minimum(np.searchsorted(seen, cells), len(seen) - 1)
        here = np.where(seen[at] == cells, times[at], 0)
        everywhere = anywhere[codes + 1]
        share = np.stack([(here + everywhere) / (len(train) + 1), everywhere], -1)
        return np.asarray(-np.log2(share), np.float32).reshape(*codes.shape[:4], -1)

    learned, seen_first, judged = (
        Labelled(rarity(codes), part.target)
        for codes, part in ((train, splits.train), (val, splits.val), (test, splits.test))
    )
    return Splits(learned, seen_first, judged, splits.num_classes)


def _placed(codes: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    """Codes (N, …) as one number for each code at each place, padding too."""
    places = np.arange(codes[0].size, dtype=np.int64).reshape(codes.shape[1:])
    return np.asarray(places * size + codes + 1)


def read_linearly(splits: Splits, params: MomentsParams, context: Context, label: str) -> dict[str, ProbeResult]:
    """The probes that fit in a moment, for tokens that have no time in them."""
    return {name: PROBES[name](splits, params, context, f"{label}_{name}") for name in ("linear", "knn")}


def strongest(readings: Mapping[str, ProbeResult]) -> ProbeResult:
    """The probe of the least validation cross-entropy: chosen without a look at the test clips."""
    return min(readings.values(), key=_val_cross_entropy)


def linear_probe(splits: Splits, params: MomentsParams, context: Context, label: str) -> ProbeResult:
    """Multinomial logistic regression on standardised principal components."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = _channel_scale(splits.components[0])
    train, val, test = ((x - mean) / scale for x in splits.components)
    tried = []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=300).fit(train, splits.train.target)
        given = (model.predict_proba(x) for x in (val, test))
        seen, judged = (_all_classes(share, model.classes_, splits.num_classes) for share in given)
        tried.append(_calibrated("linear", seen, judged, splits))
    return min(tried, key=_val_cross_entropy)


def knn_probe(splits: Splits, params: MomentsParams, context: Context, label: str) -> ProbeResult:
    """Votes of the nearest training clips by Euclidean distance among the components, one pseudo-vote a class."""
    from sklearn.neighbors import NearestNeighbors

    train, val, test = splits.components
    most = min(max(NEIGHBOURS), len(train))
    index = NearestNeighbors(n_neighbors=most, algorithm="brute").fit(train)
    near_val, near_test = (splits.train.target[index.kneighbors(x, return_distance=False)] for x in (val, test))
    tried = []
    for count in NEIGHBOURS:
        seen, judged = (np.log(_votes(near[:, :count], splits.num_classes)) for near in (near_val, near_test))
        tried.append(_calibrated("knn", seen, judged, splits))
    return min(tried, key=_val_cross_entropy)


def moments_probe(splits: Splits, params: MomentsParams, context: Context, label: str) -> ProbeResult:
    """Attention over space that reports where and what in each time slice, then a network over the slices."""
    torch.manual_seed(params.seed)
    shape = splits.train.tokens.shape
    mean, scale = _channel_scale(splits.train.tokens)
    train, val, test = (
        np.ascontiguousarray((part.tokens - mean) / scale, dtype=np.float32)
        for part in (splits.train, splits.val, splits.test)
    )
    network = MomentsNetwork(shape[1:4], shape[4], splits.num_classes, params)
    batches = TensorBatches(tokens=torch.from_numpy(train), target=torch.from_numpy(splits.train.target))

    def validate(module: nn.Module) -> dict[str, float]:
        scores = _scores(module, val)
        return {"val_loss": float(nn.functional.cross_entropy(scores, torch.from_numpy(splits.val.target)))}

    fit(network, _probe_step, batches, long_enough(params, len(train)), context, label=label,
        validate=validate, monitor="val_loss")
    seen, judged = (_scores(network, part).numpy().astype(np.float64) for part in (val, test))
    return _calibrated("moments", seen, judged, splits)


def long_enough(params: MomentsParams, clips: int) -> MomentsParams:
    """With so many epochs that LEAST_STEPS are made: a probe of few clips is not to be weak for want of training.

    Then training also ends where the validation loss has long been rising.
    """
    epochs = -(-LEAST_STEPS // -(-clips // params.batch_size))
    if epochs <= params.epochs:
        return params
    return dataclasses.replace(params, epochs=epochs, patience=params.patience or max(epochs // 5, 5))


PROBES: dict[str, Callable[[Splits, MomentsParams, Context, str], ProbeResult]] = {
    "linear": linear_probe, "knn": knn_probe, "moments": moments_probe,
}


class MomentsNetwork(nn.Module):
    """Tokens (B, T', H', W', D) → class scores (B, C)."""

    def __init__(self, grid: tuple[int, ...], channels: int, num_classes: int, params: MomentsParams) -> None:
        super().__init__()
        slices, height, width = grid
        self.embed = nn.Linear(channels, params.width)
        self.place = nn.Parameter(torch.randn(height, width, params.width) * 0.02)
        self.near = nn.Conv2d(params.width, params.width, 3, padding=1, groups=params.width)
        self.mix = nn.Linear(params.width, params.width)
        self.attend = nn.Linear(params.width, params.heads)
        self.value = nn.Linear(params.width, VALUES)
        self.over_time = nn.Sequential(
            nn.Linear(slices * params.heads * (2 + VALUES), 4 * params.width), nn.GELU(),
            nn.Linear(4 * params.width, 2 * params.width), nn.GELU(), nn.Linear(2 * params.width, num_classes),
        )
        self.where: Tensor
        self.register_buffer("where", cell_centres(height, width, -1, 1, "centres"), persistent=False)  # (H'W', 2)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, slices = tokens.shape[:2]
        found = nn.functional.gelu(self.embed(rearrange(tokens, "b t h w d -> (b t) h w d")) + self.place)
        found = found + rearrange(self.near(rearrange(found, "n h w d -> n d h w")), "n d h w -> n h w d")
        found = rearrange(nn.functional.gelu(self.mix(found)), "n h w d -> n (h w) d")
        weight = self.attend(found).softmax(1)  # (B T', H'W', heads)
        read = torch.cat([self.where.expand(len(found), -1, -1), self.value(found)], -1)
        slots = expected_places(weight.mT, read)  # (B T', heads, 2 + VALUES)
        scores: Tensor = self.over_time(rearrange(slots, "(b t) h v -> b (t h v)", b=batch, t=slices))
        return scores


def _probe_step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    return nn.functional.cross_entropy(module(batch["tokens"]), batch["target"]), {}


@torch.no_grad()
def _scores(module: nn.Module, tokens: Tokens) -> Tensor:
    device = next(module.parameters()).device
    parts = [module(torch.from_numpy(tokens[i : i + 256]).to(device)).float().cpu() for i in range(0, len(tokens), 256)]
    return torch.cat(parts)


def _channel_scale(tokens: Tokens) -> tuple[Tokens, Tokens]:
    flat = tokens.reshape(-1, tokens.shape[-1])
    return flat.mean(0), np.maximum(flat.std(0), 1e-6)


def _votes(labels: NDArray[np.int64], num_classes: int) -> Array:
    """(N, k) classes of neighbours → (N, C) shares, smoothed so that none is 0."""
    counts = (labels[:, :, None] == np.arange(num_classes)).sum(1) + 1.0
    return np.asarray(counts / counts.sum(-1, keepdims=True))


def _calibrated(probe: str, val: Array, test: Array, splits: Splits) -> ProbeResult:
    """The reading of scores (N, C) at the temperature that is best on validation."""
    temperature = fitted_temperature(val, splits.val.target)
    logs = log_softmax(val / temperature)
    entropy = float(-logs[np.arange(len(logs)), splits.val.target].mean())
    share = np.bincount(splits.train.target, minlength=splits.num_classes) / len(splits.train)
    seen = (logs - np.log(np.maximum(share, 1e-12))).argmax(1) == splits.val.target
    accuracy = float((seen * balancing(splits.val.target)).mean())
    return ProbeResult(probe, np.exp(log_softmax(test / temperature)), splits.test.target, entropy, share, accuracy)


def _val_cross_entropy(reading: ProbeResult) -> float:
    return reading.val_cross_entropy


def _all_classes(probabilities: Array, classes: NDArray[np.int64], num_classes: int) -> Array:
    """Log-probabilities (N, C) from those of the classes that a probe saw."""
    full = np.zeros((len(probabilities), num_classes))
    full[:, classes] = probabilities
    return np.log(np.maximum(full, LEAST_PROBABILITY))


# --- what a reading is worth -----------------------------------------------------------------------


def label_information_bits(reading: ProbeResult) -> float:
    """max(0, H(label) − held-out cross-entropy) in bits, at most H(label): a lower bound of what the tokens tell.

    The variational bound of Barber & Agakov (2003) with the probe as the decoder.
    """
    return max(0.0, label_entropy_bits(reading.target) - float(reading.bits.mean()))


def label_entropy_bits(target: NDArray[np.int64]) -> float:
    """Entropy of the labels (N,) in bits: the ceiling of label_information_bits."""
    share = np.bincount(target) / len(target)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def information_interval(reading: ProbeResult, seed: int) -> tuple[float, float]:
    """95 % interval of label_information_bits by the bootstrap over test clips, the labels' entropy held fixed."""
    low, high = bootstrap_interval(label_entropy_bits(reading.target) - reading.bits, seed)
    return max(0.0, low), max(0.0, high)
