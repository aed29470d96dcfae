"""A classifier of codes as a function of the features that stand for the codes: what can be changed by degrees."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from kinetoken.codes import Indices
from kinetoken.heads.classifier import CodeClassifier
from kinetoken.heads.poolings import CodeEncoder, CodeEntry
from kinetoken.training.loop import index_batches

BATCH = 64  # clips whose features are held at once


class FeatureReader:
    """The class log-probabilities after whole clips, read from features (N, T', H', W', F) in place of codes.

    A code enters the network as rows of one or two tables: its coordinates, its learned embedding, or both; and where
    the network heeds it, as whether it is unusual for its cell, 1 or 0. The features of a token are these, one after
    the other. The network reads features by giving each token a code of its own and tables that hold its features.
    """

    def __init__(self, head: CodeClassifier) -> None:
        self.head = head.eval().requires_grad_(False)
        self.tables = dict(code_tables(head))  # name → (codebook_size, its part of F)
        self.encoder = next((each for each in head.modules() if isinstance(each, CodeEncoder)), None)
        self.device = head.place.device

    def features(self, codes: Indices) -> Tensor:
        """(N, T', H', W') → (N, T', H', W', F)."""
        known = torch.from_numpy(codes.astype(np.int64)).to(self.device)
        rows = [table[known] for table in self.tables.values()]
        return torch.cat(rows if self.encoder is None else [*rows, self.encoder.unusual(known)[..., None]], -1)

    def mean_features(self, codes: Indices) -> Tensor:
        """The mean over clips at each place of the grid: (N, T', H', W') → (T', H', W', F)."""
        sums = [self.features(codes[rows]).double().sum(0) for rows in index_batches(len(codes), BATCH)]
        return (torch.stack(sums).sum(0) / len(codes)).float()

    def log_probabilities(self, features: Tensor) -> Tensor:
        """(N, T', H', W', F) → calibrated log-probabilities (N, C), with a gradient to the features."""
        shape = features.shape[:-1]
        own = torch.arange(shape.numel(), device=features.device).reshape(shape)  # a code of its own for each token
        sizes = [table.shape[1] for table in self.tables.values()]
        *parts, unusual = features.flatten(0, -2).split([*sizes, features.shape[-1] - sum(sizes)], -1)
        with _heeding(self.encoder, unusual):
            logits: Tensor = functional_call(self.head, dict(zip(self.tables, parts, strict=True)), (own,))[:, -1]
        return (logits / self.head.temperature[-1]).log_softmax(-1)

    @torch.no_grad()
    def chosen(self, features: Tensor) -> Tensor:
        """(N, T', H', W', F) → the most probable class (N,)."""
        parts = [self.log_probabilities(features[rows]).argmax(-1) for rows in index_batches(len(features), BATCH)]
        return torch.cat(parts)


@contextmanager
def _heeding(encoder: CodeEncoder | None, unusual: Tensor) -> Iterator[None]:
    """Meanwhile the encoder takes these numbers (tokens, 1) for whether codes are unusual; made-up codes all are."""
    if encoder is None:
        yield
        return
    vars(encoder)["unusual"] = lambda codes: unusual.reshape(codes.shape)  # before the method of that name
    try:
        yield
    finally:
        del vars(encoder)["unusual"]


def code_tables(head: CodeClassifier) -> Iterator[tuple[str, Tensor]]:
    """The tables through which codes enter the network, by their names in its state."""
    for name, module in head.named_modules():
        entry = isinstance(module, CodeEntry)
        if "coordinates" in dict(module.named_buffers(recurse=False)) and not (entry and module.enter is None):
            yield f"{name}.coordinates", module.get_buffer("coordinates")
        if entry and module.index is not None:
            yield f"{name}.index.weight", module.index.weight


def random_weights(head: CodeClassifier, network: dict[str, object], seed: int) -> CodeClassifier:
    """An untrained network of the same shape on the same codes; `network`: that of the model's config."""
    coordinates = next(buffer for name, buffer in head.named_buffers() if name.endswith("coordinates"))
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        made = CodeClassifier(head.classes, coordinates.cpu(), head.grid, head.pooling, **network)  # type: ignore[arg-type]
    usual = {name: value for name, value in head.named_buffers() if name.endswith(".usual")}
    made.load_state_dict(usual, strict=False)  # what a cell mostly holds was seen in the data, not learned
    return made.to(coordinates.device).eval()
