"""All codes of a quantizer: the vector of each, and its parts.

An FSQ code is a level along each coordinate, and levels lie along a line, so its parts may be learned one by one. A
code of a quantizer without levels is its own and only part.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

if TYPE_CHECKING:
    from kinetoken.tokenizer.network import Tokenizer


class CodedShape(Protocol):
    """The shape of a model that reads or writes codes."""

    @property
    def codebook_size(self) -> int: ...

    @property
    def coordinates(self) -> int: ...  # length of a code's vector

    @property
    def levels(self) -> tuple[int, ...]: ...


@dataclasses.dataclass(frozen=True)
class Codebook:
    """K codes: their vectors (K, D), and how many levels each part of a code has; (K,) without levels."""

    vectors: Tensor
    levels: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: "Tokenizer") -> "Codebook":
        """The tokenizer's quantized latents, float32 on the CPU."""
        size, device = tokenizer.codebook_size, next(tokenizer.parameters()).device
        every = torch.arange(size, device=device)[:, None, None, None]
        with torch.no_grad():
            vectors = rearrange(tokenizer.codes_to_latents(every), "n d 1 1 1 -> n d").float().cpu()
        return cls(vectors, tokenizer.levels or (size,))

    @classmethod
    def unfilled(cls, shape: CodedShape) -> "Codebook":
        """All zeros, for a model of that shape whose weights, the vectors among them, are loaded next."""
        return cls(torch.zeros(shape.codebook_size, shape.coordinates), shape.levels)

    @property
    def size(self) -> int:
        """K."""
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """D."""
        return self.vectors.shape[1]

    def digits(self) -> Tensor:
        """The level, counted from 0, of each part of each code: (K, parts) int64."""
        if self.levels == (self.size,):
            return torch.arange(self.size, device=self.vectors.device)[:, None]
        return torch.stack([torch.unique(column, return_inverse=True)[1] for column in self.vectors.T], -1)

    def code_at(self) -> Tensor:
        """The inverse of `digits`: the code at each mixed-radix number, (product of levels,) int64."""
        digits = self.digits()
        inverse = torch.zeros(int(np.prod(self.levels)), dtype=torch.int64, device=digits.device)
        inverse[mixed_radix(digits, self.levels)] = torch.arange(self.size, device=digits.device)
        return inverse

    def codes_of(self, digits: Tensor) -> Tensor:
        """The codes whose parts are at these levels: (..., parts) → (...) int64."""
        return self.code_at()[mixed_radix(digits, self.levels)]


def mixed_radix(digits: Tensor, levels: Sequence[int]) -> Tensor:
    """(..., parts) → (...): the digits as one number, the first part counting ones."""
    place = np.cumprod([1, *levels[:-1]])
    return (digits * torch.tensor(place, device=digits.device)).sum(-1)
