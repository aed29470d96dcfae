"""Quantizers behind one small interface; the mathematics is that of vector-quantize-pytorch.

Three habits of that library are kept away from callers here: inputs of four or more dimensions are taken
as channel-first (so tokens are always handed over as (B, N, D)), FSQ returns no loss, and the indices of
learned codebooks only decode to what was quantized in eval mode.
"""

import abc
import dataclasses
import math
from typing import Annotated, Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from kinetoken.core.params import NonNegativeFloat, Positive, Range

QuantizerKind = Literal["fsq", "lfq", "vq", "simvq"]
Activation = Literal["tanh", "ifsq"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizerParams:
    """The quantizer and its losses; part of section train_tokenizer. Each kind reads what concerns it."""

    kind: QuantizerKind
    levels: tuple[int, ...]  # fsq
    codebook_size: Annotated[int, Range(ge=2)]  # lfq (a power of two), vq, simvq
    code_dim: Positive = 8  # vq, simvq: latent channels
    weight: NonNegativeFloat = 1.0  # of the quantizer's own loss in the training loss
    commitment: NonNegativeFloat = 0.25  # lfq, vq, simvq: pull of the latents towards their codes
    entropy: NonNegativeFloat = 0.02  # lfq: weight of sure tokens and an even use of codes
    decay: Annotated[float, Range(ge=0, lt=1)] = 0.99  # vq: of the codebook's moving averages
    kmeans_start: bool = True  # vq: the codebook starts from the first batch, not at random
    dead_code_threshold: NonNegativeFloat = 0.1  # vq: tokens a batch under which a code moves onto a token; 0 is off
    rotation: bool = True  # vq, simvq: gradients by the rotation trick, not straight through
    contrastive: NonNegativeFloat = 0.0  # weight of InfoNCE between two noisy views' latents; 0 is off
    activation: Activation = "tanh"  # fsq: bounds a latent; ifsq makes the levels of normal latents equally likely

    def __post_init__(self) -> None:
        """ValueError for FSQ without levels or fewer than 3 in one, and LFQ with a codebook that is no power of two."""
        if self.kind == "fsq" and (not self.levels or min(self.levels) < 3):
            raise ValueError(f"levels: FSQ needs at least one, each of 3 or more, found {list(self.levels)}")
        if self.kind == "lfq" and self.codebook_size & (self.codebook_size - 1):
            raise ValueError(f"codebook_size: LFQ needs a power of two, found {self.codebook_size}")
        if self.activation != "tanh" and self.kind != "fsq":
            raise ValueError(f"activation: only FSQ has one; with kind {self.kind} leave it at tanh")

    def saved(self) -> dict[str, Any]:
        """What a tokenizer's config holds; the activation only if it is not tanh, which earlier configs mean."""
        found = dataclasses.asdict(self)
        if self.activation == "tanh":
            del found["activation"]
        return found


class Quantizer(nn.Module, abc.ABC):
    """Latents (B, D, T, H, W) to the nearest code vectors and their indices.

    `dim` is D; `codebook_size` the number of codes; `levels` those of FSQ, empty for the others.
    """

    def __init__(self, params: QuantizerParams, dim: int, codebook_size: int, levels: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.params = params
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

    def unquantized(self, latents: Tensor) -> Tensor:
        """Latents (B, D, T, H, W) on the scale of the codes, for training the decoder before they are quantized."""
        return latents

    def restart(self) -> None:
        """Let the next batch be the first one: a codebook that starts from k-means starts anew."""

    @abc.abstractmethod
    def _quantize(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, D) → quantized (B, N, D), indices (B, N), loss ()."""

    @abc.abstractmethod
    def _vectors(self, indices: Tensor) -> Tensor:
        """(B, N) → (B, N, D)."""


class FiniteScalar(Quantizer):
    """FSQ (Mentzer et al. 2023, arXiv:2309.15505): each of D coordinates rounded to its few levels.

    With activation ifsq (Lin et al. 2026, arXiv:2601.17124), 2·sigmoid(1.6·z) − 1 = tanh(0.8·z) bounds a latent z,
    which spreads normal latents of deviation 1 evenly over (−1, 1). All levels are then as wide, so that they are about
    equally likely. FSQ's own rounding, whose first and last level are half as wide as the others, would undo it.
    """

    def __init__(self, params: QuantizerParams) -> None:
        from vector_quantize_pytorch import FSQ

        super().__init__(params, len(params.levels), math.prod(params.levels), params.levels)
        self.fsq = FSQ(list(params.levels))

    def unquantized(self, latents: Tensor) -> Tensor:
        """f(z) of the papers: what is rounded to codes, and less than a step of its coordinate away from them."""
        bounded, step = self._bounded(rearrange(latents.float(), "b d t h w -> b t h w d"))
        return rearrange(bounded / step, "b t h w d -> b d t h w").to(latents.dtype)

    def _bounded(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """(…, D) → the same before rounding, counted in levels from the middle one; (D,) levels in a unit of codes."""
        levels = torch.tensor(self.levels, device=latents.device)
        offset = 0.5 * (levels % 2 == 0)
        if self.params.activation == "ifsq":
            return (2 * torch.sigmoid(1.6 * latents) - 1) * levels / 2 - offset, levels // 2
        half = (levels - 1) * (1 + 1e-3) / 2
        return torch.tanh(latents + torch.atanh(offset / half)) * half - offset, levels // 2

    def _quantize(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.params.activation == "tanh":
            quantized, indices = self.fsq(tokens)
            return quantized, indices, tokens.new_zeros(())
        bounded, step = self._bounded(tokens)
        level = bounded.round().clamp(-step, step - 1 + torch.tensor(self.levels, device=tokens.device) % 2)
        quantized = (bounded + (level - bounded).detach()) / step  # straight through
        return quantized, self.fsq.codes_to_indices(level / step), tokens.new_zeros(())

    def _vectors(self, indices: Tensor) -> Tensor:
        vectors: Tensor = self.fsq.indices_to_codes(indices.int())
        return vectors


class LookupFree(Quantizer):
    """LFQ (Yu et al. 2023, arXiv:2310.05737): each coordinate's sign is one bit."""

    def __init__(self, params: QuantizerParams) -> None:
        from vector_quantize_pytorch import LFQ

        super().__init__(params, params.codebook_size.bit_length() - 1, params.codebook_size)
        self.lfq = LFQ(
            codebook_size=params.codebook_size, entropy_loss_weight=params.entropy,
            commitment_loss_weight=params.commitment,
        )

    def _quantize(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quantized, indices, loss = self.lfq(tokens)
        return quantized, indices, loss

    def _vectors(self, indices: Tensor) -> Tensor:
        vectors: Tensor = self.lfq.indices_to_codes(indices)
        return vectors


class MovingAverage(Quantizer):
    """VQ-VAE with a codebook of running means (van den Oord et al. 2017, arXiv:1711.00937).

    Without a k-means start and the replacement of dead codes (Williams et al. 2020, arXiv:2002.08111) it
    collapses to a code or two where the latents lie off the origin.
    """

    def __init__(self, params: QuantizerParams) -> None:
        from vector_quantize_pytorch import VectorQuantize

        super().__init__(params, params.code_dim, params.codebook_size)
        self.vq = VectorQuantize(
            dim=params.code_dim, codebook_size=params.codebook_size, decay=params.decay,
            kmeans_init=params.kmeans_start, threshold_ema_dead_code=params.dead_code_threshold,
            commitment_weight=params.commitment, rotation_trick=params.rotation,
        )

    def _quantize(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quantized, indices, loss = self.vq(tokens)
        return quantized, indices, loss.sum()

    def restart(self) -> None:
        if self.params.kmeans_start:
            self.vq._codebook.initted.fill_(False)

    def _vectors(self, indices: Tensor) -> Tensor:
        vectors: Tensor = self.vq.get_output_from_indices(indices)
        return vectors


class LinearCodebook(Quantizer):
    """SimVQ (Zhu et al. 2024, arXiv:2411.02038): a frozen random codebook behind one learned linear layer."""

    def __init__(self, params: QuantizerParams) -> None:
        from vector_quantize_pytorch import SimVQ

        super().__init__(params, params.code_dim, params.codebook_size)
        self.simvq = SimVQ(
            dim=params.code_dim, codebook_size=params.codebook_size, rotation_trick=params.rotation,
            input_to_quantize_commit_loss_weight=params.commitment,
        )

    def _quantize(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quantized, indices, loss = self.simvq(tokens)
        return quantized, indices, loss if self.training else loss.new_zeros(())

    def _vectors(self, indices: Tensor) -> Tensor:
        vectors: Tensor = self.simvq.indices_to_codes(indices)
        return vectors


QUANTIZERS: dict[str, type[FiniteScalar | LookupFree | MovingAverage | LinearCodebook]] = {
    "fsq": FiniteScalar, "lfq": LookupFree, "vq": MovingAverage, "simvq": LinearCodebook,
}


def build_quantizer(params: QuantizerParams) -> Quantizer:
    """The quantizer of that kind."""
    return QUANTIZERS[params.kind](params)
