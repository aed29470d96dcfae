"""Quantizers behind one small interface; the mathematics is that of vector-quantize-pytorch.

Three habits of that library are kept away from callers here: inputs of four or more dimensions are taken
as channel-first (so tokens are always handed over as (B, N, D)), FSQ returns no loss, and the indices of
learned codebooks only decode to what was quantized in eval mode.
"""

import abc
import math
from collections.abc import Callable
from typing import Literal

from einops import rearrange
from torch import Tensor, nn

QuantizerName = Literal["fsq", "lfq", "vq", "simvq"]


class Quantizer(nn.Module, abc.ABC):
    """Latents (B, D, T, H, W) to the nearest code vectors and their indices.

    `dim` is D; `codebook_size` the number of codes; `levels` those of FSQ, empty for the others.
    """

    def __init__(self, dim: int, codebook_size: int, levels: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.dim, self.codebook_size, self.levels = dim, codebook_size, levels

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, D, T, H, W) → quantized (B, D, T, H, W), indices (B, T, H, W) int64, auxiliary loss ()."""
        _, _, t, h, w = latents.shape
        tokens = rearrange(latents, "b d t h w -> b (t h w) d").float()  # (B, N, D)
        quantized, indices, loss = self._quantize(tokens)
        grid = {"t": t, "h": h, "w": w}
        quantized = rearrange(quantized, "b (t h w) d -> b d t h w", **grid).to(latents.dtype)
        return quantized, rearrange(indices.long(), "b (t h w) -> b t h w", **grid), loss

    def codes(self, indices: Tensor) -> Tensor:
        """Indices (B, T, H, W) → their code vectors (B, D, T, H, W)."""
        _, t, h, w = indices.shape
        vectors = self._vectors(rearrange(indices, "b t h w -> b (t h w)"))  # (B, N, D)
        return rearrange(vectors, "b (t h w) d -> b d t h w", t=t, h=h, w=w)

    @abc.abstractmethod
    def _quantize(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, D) → quantized (B, N, D), indices (B, N), loss ()."""

    @abc.abstractmethod
    def _vectors(self, indices: Tensor) -> Tensor:
        """(B, N) → (B, N, D)."""


class FiniteScalar(Quantizer):
    """FSQ (Mentzer et al. 2023, arXiv:2309.15505): each of D coordinates rounded to its few levels."""

    def __init__(self, levels: tuple[int, ...]) -> None:
        from vector_quantize_pytorch import FSQ

        super().__init__(len(levels), math.prod(levels), levels)
        self.fsq = FSQ(list(levels))

    def _quantize(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quantized, indices = self.fsq(tokens)
        return quantized, indices, tokens.new_zeros(())

    def _vectors(self, indices: Tensor) -> Tensor:
        vectors: Tensor = self.fsq.indices_to_codes(indices.int())
        return vectors


class LookupFree(Quantizer):
    """LFQ (Yu et al. 2023, arXiv:2310.05737): each coordinate's sign is one bit."""

    def __init__(self, codebook_size: int) -> None:
        from vector_quantize_pytorch import LFQ

        super().__init__(codebook_size.bit_length() - 1, codebook_size)
        self.lfq = LFQ(codebook_size=codebook_size, entropy_loss_weight=0.02, commitment_loss_weight=0.05)

    def _quantize(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quantized, indices, loss = self.lfq(tokens)
        return quantized, indices, loss

    def _vectors(self, indices: Tensor) -> Tensor:
        vectors: Tensor = self.lfq.indices_to_codes(indices)
        return vectors


class MovingAverage(Quantizer):
    """VQ-VAE with a codebook of running means (van den Oord et al. 2017, arXiv:1711.00937).

    k-means start and the replacement of dead codes are on: without them it collapses to a code or two.
    """

    def __init__(self, codebook_size: int, dim: int) -> None:
        from vector_quantize_pytorch import VectorQuantize

        super().__init__(dim, codebook_size)
        self.vq = VectorQuantize(
            dim=dim, codebook_size=codebook_size, decay=0.9, kmeans_init=True, threshold_ema_dead_code=2,
            commitment_weight=0.25,
        )

    def _quantize(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quantized, indices, loss = self.vq(tokens)
        return quantized, indices, loss.sum()

    def _vectors(self, indices: Tensor) -> Tensor:
        vectors: Tensor = self.vq.get_output_from_indices(indices)
        return vectors


class LinearCodebook(Quantizer):
    """SimVQ (Zhu et al. 2024, arXiv:2411.02038): a frozen random codebook behind one learned linear layer."""

    def __init__(self, codebook_size: int, dim: int) -> None:
        from vector_quantize_pytorch import SimVQ

        super().__init__(dim, codebook_size)
        self.simvq = SimVQ(dim=dim, codebook_size=codebook_size)

    def _quantize(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quantized, indices, loss = self.simvq(tokens)
        return quantized, indices, loss

    def _vectors(self, indices: Tensor) -> Tensor:
        vectors: Tensor = self.simvq.indices_to_codes(indices)
        return vectors


QUANTIZERS: dict[str, Callable[[tuple[int, ...], int, int], Quantizer]] = {
    "fsq": lambda levels, codebook_size, dim: FiniteScalar(levels),
    "lfq": lambda levels, codebook_size, dim: LookupFree(codebook_size),
    "vq": lambda levels, codebook_size, dim: MovingAverage(codebook_size, dim),
    "simvq": lambda levels, codebook_size, dim: LinearCodebook(codebook_size, dim),
}


def build_quantizer(name: QuantizerName, levels: tuple[int, ...], codebook_size: int, dim: int) -> Quantizer:
    """The named quantizer: `levels` are for FSQ, `codebook_size` for the others, `dim` for VQ and SimVQ.

    Raises ValueError for FSQ without levels or with fewer than 3 in one, and for LFQ with a codebook that
    is no power of two.
    """
    if name == "fsq" and (not levels or min(levels) < 3):
        raise ValueError(f"levels: FSQ needs at least one, each of 3 or more, found {list(levels)}")
    if name == "lfq" and (codebook_size < 2 or codebook_size & (codebook_size - 1)):
        raise ValueError(f"codebook_size: LFQ needs a power of two, found {codebook_size}")
    return QUANTIZERS[name](levels, codebook_size, dim)
