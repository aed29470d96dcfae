"""The classifier of codes: pooled slices, read in order, any prefix of them.

Each slice's pooled features go through a linear map of their own and are summed over the slices seen so far; a
perceptron reads the sum. After slice k it has seen slices 0 … k and no other, so one pass gives the class
probabilities after every prefix. Of a pooling over time only the last features count: they are of all slices so far.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.codes import CodesTable
from kinetoken.core.artifacts import load_weights, rebuilding, save_model
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import Headlines
from kinetoken.core.params import Fraction, NonNegative, Positive, Range
from kinetoken.core.stage import Context
from kinetoken.heads.novelty import ABSENT, Novelty, load_novelty
from kinetoken.heads.poolings import POOLINGS, CodeFeatures, Grid, Size, SoftArgmax, require_prefix
from kinetoken.scores import fitted_temperature, log_softmax
from kinetoken.training.loop import (
    Batch,
    History,
    Step,
    TensorBatches,
    TrainingParams,
    fabric_device,
    fit,
    index_batches,
)

Array = NDArray[np.float64]

Change = Literal["mirror", "reverse"]

CHANGES: dict[Change, Callable[[np.ndarray], np.ndarray]] = {  # of clips (N, T, H, W, 3): motions that keep their class
    "mirror": lambda clips: clips[:, :, :, ::-1],  # left for right
    "reverse": lambda clips: clips[:, ::-1],  # played backwards
}
HEADLINES = Headlines(
    required=("accuracy", "ece", "per_class.*", "pooling.*.accuracy"),
    further=("novelty.auroc", "novelty.false_alarms"),
    bounded=("accuracy", "pooling.spatial_mean.accuracy", "novelty.auroc"),
)
NETWORK = ("channels", "blocks", "maps", "width", "code_features")  # of the params, what rebuilds the head


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierParams(TrainingParams):
    """Section train_classifier: the same settings for every pooling."""

    poolings: tuple[str, ...]  # the first is saved as models/classifier
    channels: Positive  # of each cell's features
    blocks: NonNegative  # of convolutions over cells
    maps: Positive  # attention maps a slice
    code_features: CodeFeatures  # how a code enters learned features: by its coordinates, its index or both
    width: Positive  # of the perceptron over slices
    dropout: Fraction  # of pooled features
    prefix_weight: Fraction  # share of the loss that falls on prefixes, the rest on whole clips
    augment: tuple[Change, ...]  # train on clips changed in these ways too, each encoded anew, if all classes are laws
    novelty_level: Annotated[float, Range(gt=0, lt=1)] = 0.01  # p-value up to which a clip is unlike the training data
    few_clips: NonNegative = 0  # with fewer training clips than this, the next two hold
    few_pooling: str = "moving_argmax"  # takes the place of the first pooling
    few_shift: NonNegative = 2  # cells by which training codes are shifted at random, up or down and left or right

    def __post_init__(self) -> None:
        if not self.poolings or len(set(self.poolings)) < len(self.poolings):
            raise ValueError("poolings: name at least one, each once")
        if len(set(self.augment)) < len(self.augment):
            raise ValueError("augment: each change once")
        if unknown := [name for name in (*self.poolings, self.few_pooling) if name not in POOLINGS]:
            raise ValueError(f"poolings: no '{unknown[0]}'; known are {', '.join(sorted(POOLINGS))}")

    def poolings_for(self, clips: int) -> tuple[str, ...]:
        """What is trained on so many training clips."""
        if clips >= self.few_clips:
            return self.poolings
        return tuple(dict.fromkeys((self.few_pooling, *self.poolings[1:])))

    def shift_for(self, clips: int) -> int:
        """By how many cells codes are shifted with so many training clips."""
        return self.few_shift if clips < self.few_clips else 0


class ShiftedCodes(TensorBatches):
    """Batches {"codes": (B, K, H', W'), …} in which each clip's grid is shifted at random by up to `most` cells.

    All slices of a clip are shifted alike. Cells that come in repeat the outermost ones. This stands for clips that
    were filmed a little to the side, which a network of convolutions encodes nearly alike.
    """

    def __init__(self, most: int, **tensors: Tensor) -> None:
        super().__init__(**tensors)
        self._most = most

    def gather(self, indices: np.ndarray, done: float = 0.0) -> Batch:
        batch = super().gather(indices, done)
        if not self._most:
            return batch
        codes = batch["codes"]
        height, width = codes.shape[2:]
        by = torch.randint(-self._most, self._most + 1, (2, len(codes), 1))
        rows, columns = (torch.arange(height) + by[0]).clamp(0, height - 1), torch.arange(width) + by[1]
        columns = columns.clamp(0, width - 1)
        clip = torch.arange(len(codes))[:, None, None]
        shifted = codes.permute(0, 2, 3, 1)[clip, rows[:, :, None], columns[:, None, :]]  # (B, H', W', K)
        return batch | {"codes": shifted.permute(0, 3, 1, 2).contiguous()}


class CodeClassifier(nn.Module):
    """codes (B, K, H', W'), K up to T' → logits after each slice (B, K, C)."""

    temperature: Tensor

    def __init__(
        self, classes: tuple[str, ...], coordinates: Tensor, grid: Grid, pooling: str, *, channels: int, blocks: int,
        maps: int, width: int, code_features: CodeFeatures = "both", dropout: float = 0.0,
    ) -> None:
        """coordinates: (codebook_size, D) of each code; grid: T', H', W'."""
        super().__init__()
        self.classes, self.grid, self.pooling = classes, grid, pooling
        self.tokenizer_hash = ""
        self.known: Novelty | None = None  # what tells clips that are unlike the training data
        self.register_buffer("temperature", torch.ones(grid[0]))  # after each prefix
        self.pool: nn.Module = POOLINGS[pooling](coordinates, grid, Size(channels, blocks, maps, code_features))
        self.dropout = nn.Dropout(dropout)
        features = int(self.pool.features)  # type: ignore[arg-type]
        self.slices = nn.Parameter(torch.randn(grid[0], features, width) / (features * grid[0]) ** 0.5)
        self.place = nn.Parameter(torch.zeros(grid[0], width))
        self.body = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.read = nn.Linear(width, len(classes))

    def hidden(self, codes: Tensor) -> Tensor:
        """(B, K, width): what is known after each slice."""
        count = codes.shape[1]
        pooled = self.dropout(self.pool(codes))  # (B, K, F)
        each = torch.einsum("bkf,kfw->bkw", pooled, self.slices[:count])
        seen = each if self.pool.over_time else each.cumsum(1)
        known: Tensor = self.body(seen + self.place[:count])
        return known

    def forward(self, codes: Tensor) -> Tensor:
        logits: Tensor = self.read(self.hidden(codes))
        return logits

    def log_probabilities(self, codes: np.ndarray, batch_size: int = 256) -> Array:
        """codes (N, K, H', W'), the first K ≥ 1 slices → calibrated log-probabilities (N, C).

        Raises ValueError for more slices than the head was trained on, or another grid.
        """
        scale = self.temperature[codes.shape[1] - 1 : codes.shape[1]].double()
        parts = [(self(batch)[:, -1].double() / scale).log_softmax(-1) for batch in self._batches(codes, batch_size)]
        return np.concatenate([np.empty((0, len(self.classes))), *(part.cpu().numpy() for part in parts)])

    def embedding(self, codes: np.ndarray, batch_size: int = 256) -> Array:
        """codes (N, K, H', W') → (N, width): where clips of like motion lie close together."""
        parts = [self.hidden(batch)[:, -1].double() for batch in self._batches(codes, batch_size)]
        return np.concatenate([np.empty((0, self.place.shape[1])), *(part.cpu().numpy() for part in parts)])

    def novelty(self, codes: np.ndarray) -> Array:
        """codes (N, K, H', W'), the first K ≥ 1 slices → p-values (N,): the share of val clips at least as strange.

        A clip at or below `known.level` is unlike the training data. UserError for a head saved without this score.
        """
        if self.known is None:
            raise UserError(f"the classifier: {ABSENT}")
        return self.known.p_values(codes)

    def _batches(self, codes: np.ndarray, batch_size: int) -> Any:  # noqa: ANN401
        require_prefix(codes, self.grid)
        self.eval()
        with torch.no_grad():
            for rows in index_batches(len(codes), batch_size):
                yield torch.from_numpy(codes[rows].astype(np.int64)).to(self.place.device)


def build_classifier(
    params: ClassifierParams, pooling: str, classes: tuple[str, ...], coordinates: Tensor, grid: Grid
) -> CodeClassifier:
    """An untrained head; its weights come from the params' seed."""
    torch.manual_seed(params.seed)
    return CodeClassifier(
        classes, coordinates, grid, pooling, channels=params.channels, blocks=params.blocks, maps=params.maps,
        width=params.width, code_features=params.code_features, dropout=params.dropout,
    )


def prefix_step(prefix_weight: float) -> Step:
    """Cross-entropy on whole clips, mixed with its mean over all proper prefixes.

    The mean is what training on a prefix of random length gives, without its noise.
    """
    def step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = module(batch["codes"])  # (B, K, C)
        target = batch["target"][:, None].expand(-1, logits.shape[1])
        losses = functional.cross_entropy(logits.transpose(1, 2), target, reduction="none").mean(0)  # (K,)
        loss = losses[-1]
        if len(losses) > 1:
            loss = (1 - prefix_weight) * loss + prefix_weight * losses[:-1].mean()
        accuracy = (logits[:, -1].argmax(-1) == batch["target"]).float().mean()
        return loss, {"train_accuracy": accuracy}

    return step


def train_head(
    params: ClassifierParams, pooling: str, codes: CodesTable, coordinates: Tensor, context: Context
) -> tuple[CodeClassifier, History]:
    """The head of one pooling, the weights of its best epoch and its temperatures chosen on val.

    An epoch is judged at the temperature that suits it: few clips make a head too sure long before it reads its best.
    """
    head = build_classifier(params, pooling, codes.classes, coordinates, codes.meta.grid)
    target = codes.target
    train, val = np.flatnonzero(codes.split == "train"), np.flatnonzero(codes.split == "val")
    given = torch.from_numpy(codes.codes[train].astype(np.int64))
    if isinstance(head.pool, SoftArgmax):
        head.pool.notice(given)

    def validate(_: torch.nn.Module) -> dict[str, float]:
        raw = head.log_probabilities(codes.codes[val])
        log_likelihood = log_softmax(raw / fitted_temperature(raw, target[val]))
        right = log_likelihood.argmax(1) == target[val]
        return {"val_loss": float(-log_likelihood[np.arange(len(val)), target[val]].mean()),
                "val_accuracy": float(right.mean())}

    batches = ShiftedCodes(params.shift_for(len(train)), codes=given, target=torch.from_numpy(target[train]))
    history = fit(
        head, prefix_step(params.prefix_weight), batches, params, context, label=pooling, validate=validate,
        monitor="val_loss",
    )
    head.to(fabric_device(context.hardware))
    for count in range(1, codes.meta.grid[0] + 1):
        raw = head.log_probabilities(codes.codes[val, :count])
        head.temperature[count - 1] = fitted_temperature(raw, target[val])
    return head, history


def save_classifier(folder: Path, module: CodeClassifier, params: ClassifierParams, tokenizer_hash: str) -> None:
    """models/classifier: weights with the codes' coordinates, and a config that rebuilds it."""
    coordinates = next(b for name, b in module.named_buffers() if name.endswith("coordinates"))
    save_model(folder, module, {
        "classes": list(module.classes), "grid": list(module.grid), "pooling": module.pooling,
        "tokenizer": tokenizer_hash, "codebook": list(coordinates.shape),
        "network": {name: getattr(params, name) for name in NETWORK},
    })


def load_classifier(folder: Path) -> CodeClassifier:
    """The trained head, in eval mode; UserError if the folder is damaged or another kind of model."""
    with rebuilding(folder) as config:
        needed = {"classes", "grid", "pooling", "codebook", "network"}
        if not needed <= set(config) or config["pooling"] not in POOLINGS:
            raise UserError(f"{folder}: not a classifier of codes")
        module = CodeClassifier(
            tuple(config["classes"]), torch.zeros(config["codebook"]), tuple(config["grid"]), config["pooling"],
            **config["network"],
        )
        module.tokenizer_hash = config["tokenizer"]
        load_weights(folder, module)
    module.known = load_novelty(folder)
    return module.eval()
