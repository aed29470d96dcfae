"""What a stranger hands in: arrays of one tokenizer's codes and what lies beside them, and how they were made."""

import dataclasses
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[Any]  # (N, …) whole numbers, or numbers with fractions where the quantizer was left out
Latents = NDArray[np.float32]
Pixels = NDArray[np.uint8]


class Tokenizer(Protocol):
    """Enough of a tokenizer to extract codes again under another fault; clips in [0, 1], channels last everywhere."""

    def encode(self, clips: NDArray[np.float32]) -> Latents:
        """Latents (N, …, D) of clips (N, T, S, S, 3)."""

    def quantize(self, latents: Latents) -> Codes:
        """Codes (N, …) of latents (N, …, D), with an axis of codebooks at the end where there are several."""

    def decode(self, codes: Codes) -> NDArray[np.float32] | None:
        """Clips (N, T, S, S, 3), or None of a tokenizer without a decoder."""


@dataclasses.dataclass
class Bundle:
    """N clips; whatever is None does not exist.

    order (N,): the rows of the file of labels, where it has ids and another order than the codes; again: a second
    extraction of the same clips; history: columns by name; config: what the stranger knows of the tokenizer.
    """

    codes: Codes
    labels: NDArray[np.str_]
    clips: Pixels | None = None
    latents: Latents | None = None
    reconstructions: NDArray[np.float32] | None = None
    codebook: NDArray[np.float32] | None = None
    again: Codes | None = None
    history: dict[str, list[float]] | None = None
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    layout: str | None = None
    order: NDArray[np.int64] | None = None
    tokenizer: Tokenizer | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[np.int64]) -> "Bundle":
        """Only these rows of everything that has a row a clip."""
        names = ("codes", "labels", "clips", "latents", "reconstructions", "again")
        kept = {name: value[rows] for name in names if (value := getattr(self, name)) is not None}
        return dataclasses.replace(self, **kept)

    def extracted(self, latents: Latents) -> "Bundle":
        """The same with these latents, and codes and reconstructions made from them."""
        assert self.tokenizer is not None
        codes = self.tokenizer.quantize(latents)
        drawn = None if self.reconstructions is None else self.tokenizer.decode(codes)
        return dataclasses.replace(self, latents=latents, codes=codes, reconstructions=drawn)
