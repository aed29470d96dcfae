"""Autoencoders around a quantizer of vector-quantize-pytorch: any of its classes that take (B, N, D).

Known by their class names: VectorQuantize, ResidualVQ, FSQ, ResidualFSQ, LFQ, ResidualLFQ, SimVQ, ResidualSimVQ. In
each, the call gives the indices second, and `get_output_from_indices` or `indices_to_codes` takes them back.
"""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from kinetoken.core.errors import UserError
from kinetoken.examination.adapters.devices import device_of

KINDS = {
    "VectorQuantize": "vq", "ResidualVQ": "rvq", "FSQ": "fsq", "ResidualFSQ": "residual fsq", "LFQ": "lfq",
    "ResidualLFQ": "residual lfq", "SimVQ": "simvq", "ResidualSimVQ": "residual simvq",
}


class VectorQuantizeAutoencoder:
    """encoder: (B, 3, T, H, W) → latents (B, D, T', H', W'); quantizer: of the library; decoder: the way back.

    Raises UserError for a quantizer of another class.
    """

    library = "vector-quantize-pytorch"

    def __init__(
        self, encoder: nn.Module, quantizer: nn.Module, decoder: nn.Module, *, size: int, frames: int,
        fps: float = 16.0, value_range: tuple[float, float] = (0.0, 1.0), name: str = "autoencoder",
        batch_size: int = 16,
    ) -> None:
        kind = type(quantizer).__name__
        if kind not in KINDS:
            raise UserError(
                f"{kind} is no quantizer that this adapter knows ({', '.join(KINDS)}); write an adapter of your own"
            )
        self.encoder, self.quantizer_module, self.decoder = encoder.eval(), quantizer.eval(), decoder.eval()
        self.size, self.frames, self.fps, self.value_range = size, frames, fps, value_range
        self.name, self.batch_size, self.quantizer = name, batch_size, KINDS[kind]
        self.device = device_of(encoder)
        module: Any = quantizer
        levels = getattr(module, "levels" if kind == "ResidualFSQ" else "_levels", ()) if "FSQ" in kind else ()
        self.levels = tuple(int(level) for level in levels)
        self.codebook_size = int(module.codebook_size) if hasattr(module, "codebook_size") else None
        self.depth = _depth(module)
        self.layout = "B,T,H,W,Q" if self.depth > 1 else "B,T,H,W"
        self.codebook = _codebook(module) if "FSQ" not in kind and "LFQ" not in kind else None

    def encode(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) → (B, T', H', W'), of several codebooks (B, T', H', W', Q)."""
        latents = self.encoder(video)
        grid = dict(zip("thw", latents.shape[2:], strict=True))
        indices: Tensor = self.quantizer_module(rearrange(latents, "b d t h w -> b (t h w) d"))[1]
        pattern = "b (t h w) q -> b t h w q" if self.depth > 1 else "b (t h w) -> b t h w"
        return rearrange(indices.reshape(len(indices), -1, *([self.depth] if self.depth > 1 else [])), pattern, **grid)

    def decode(self, indices: Tensor) -> Tensor:
        """Indices → (B, 3, T, H, W)."""
        grid = dict(zip("thw", indices.shape[1:4], strict=True))
        pattern = "b t h w q -> b (t h w) q" if self.depth > 1 else "b t h w -> b (t h w)"
        vectors = self._vectors(rearrange(indices, pattern))  # (B, N, D)
        video: Tensor = self.decoder(rearrange(vectors, "b (t h w) d -> b d t h w", **grid))
        return video

    def _vectors(self, indices: Tensor) -> Tensor:
        """Indices (B, N) or (B, N, Q) → what the quantizer gives for them, (B, N, D)."""
        module: Any = self.quantizer_module
        if self.quantizer == "vq" and self.depth > 1 and module.codebook.ndim == 2:
            # heads that share one codebook: the library's own way back leaves them apart
            found: Tensor = module.project_out(module.codebook[indices].flatten(-2))
            return found
        back: Callable[[Tensor], Tensor] = getattr(module, "get_output_from_indices", None) or module.indices_to_codes
        return back(indices)

    def latents(self, video: Tensor) -> Tensor:
        """(B, T', H', W', D) as the quantizer compares them, after its projection."""
        latents = rearrange(self.encoder(video), "b d t h w -> b t h w d")
        project = getattr(self.quantizer_module, "project_in", None)
        projected: Tensor = latents if project is None else project(latents)
        return projected


def _depth(module: Any) -> int:  # noqa: ANN401
    """Codebooks of a token."""
    heads = getattr(module, "heads", 1) if type(module).__name__ == "VectorQuantize" else 1
    return max(int(getattr(module, "num_quantizers", 1)), int(getattr(module, "num_codebooks", 1)), int(heads))


def _codebook(module: Any) -> Tensor | None:  # noqa: ANN401
    """(K, D), or (Q, K, D) of several; None where the library gives none."""
    found = getattr(module, "codebooks", None)
    found = getattr(module, "codebook", None) if found is None else found
    return found.detach() if isinstance(found, torch.Tensor) else None
