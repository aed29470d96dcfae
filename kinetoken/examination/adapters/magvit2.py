"""Tokenizers of magvit2-pytorch: its class VideoTokenizer.

The interface: `tokenize(video)` for (B, 3, T, H, W), T one more than a multiple of `time_downsample_factor`, gives
indices (B, T', H', W'); `decode_from_code_indices` takes them back; `encode(video)` gives what enters `quantizers`,
LFQ or FSQ of vector-quantize-pytorch.
"""

from typing import Any

from torch import Tensor


class Magvit2Tokenizer:
    """A model of magvit2-pytorch, from its own `VideoTokenizer.init_and_load_from(path)` or from a trainer."""

    library = "magvit2-pytorch"

    def __init__(
        self, model: Any, *, frames: int | None = None, fps: float = 16.0,  # noqa: ANN401 - no package to name it by
        value_range: tuple[float, float] = (0.0, 1.0), name: str = "magvit2", batch_size: int = 4,
    ) -> None:
        self.model = model.eval()
        self.size, self.fps, self.value_range = int(model.image_size), fps, value_range
        self.frames = 1 + 4 * int(model.time_downsample_factor) if frames is None else frames
        self.name, self.batch_size, self.device = name, batch_size, str(model.device)
        quantizers = model.quantizers
        self.codebook_size = int(quantizers.codebook_size)
        self.levels = tuple(int(level) for level in quantizers._levels) if model.use_fsq else ()
        self.quantizer = "fsq" if model.use_fsq else "lfq"
        self.layout = "B,T,H,W,Q" if int(quantizers.num_codebooks) > 1 else "B,T,H,W"

    def encode(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) → (B, T', H', W'), of several codebooks (B, T', H', W', Q)."""
        codes: Tensor = self.model.tokenize(video)
        return codes

    def decode(self, indices: Tensor) -> Tensor:
        """Indices → (B, 3, T, H, W)."""
        video: Tensor = self.model.decode_from_code_indices(indices)
        return video

    def latents(self, video: Tensor) -> Tensor:
        """(B, T', H', W', D) as the quantizer compares them, after its projection."""
        latents: Tensor = self.model.quantizers.project_in(self.model.encode(video).movedim(1, -1))
        return latents
