"""VQModel of diffusers, an image tokenizer, on videos frame by frame.

The interface: `encode(images).latents` gives what is quantized; `quantize(latents)` ends with the indices, flat;
`quantize.get_codebook_entry(indices, (B, H', W', D))` takes them back, and `decode(…, force_not_quantize=True).sample`
draws. With `lookup_from_codebook` in its config, `decode` takes the indices themselves.
"""

import importlib
from pathlib import Path
from typing import Any

from einops import rearrange
from torch import Tensor

from kinetoken.core.errors import UserError
from kinetoken.examination.adapters.devices import device_of


class DiffusersVQ:
    """A `diffusers.VQModel` on images in [−1, 1]; each frame of a video is an image of its own."""

    library = "diffusers"
    quantizer = "vq"

    def __init__(
        self, model: Any, *, size: int = 64, frames: int = 16, fps: float = 16.0,  # noqa: ANN401 - no package to name it by
        value_range: tuple[float, float] = (-1.0, 1.0), name: str = "VQModel", batch_size: int = 4,
    ) -> None:
        self.model = model.eval()
        self.size, self.frames, self.fps, self.value_range = size, frames, fps, value_range
        self.name, self.batch_size, self.device = name, batch_size, device_of(model)
        self.codebook = model.quantize.embedding.weight.detach()
        self.codebook_size = len(self.codebook)
        self.looks_up = bool(getattr(model.config, "lookup_from_codebook", False))

    def encode(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) → (B, T, H', W')."""
        latents = self._latents(video)  # (B T, D, H', W')
        indices: Tensor = self.model.quantize(latents)[2][2]
        return indices.reshape(len(video), -1, *latents.shape[-2:])

    def decode(self, indices: Tensor) -> Tensor:
        """Indices → (B, 3, T, H, W)."""
        shape = (indices.shape[0] * indices.shape[1], *indices.shape[2:], self.codebook.shape[1])
        flat = indices.reshape(-1)
        if self.looks_up:
            images = self.model.decode(flat, force_not_quantize=True, shape=shape).sample
        else:
            vectors = self.model.quantize.get_codebook_entry(flat, shape)
            images = self.model.decode(vectors, force_not_quantize=True).sample
        video: Tensor = rearrange(images, "(b t) c h w -> b c t h w", b=len(indices))
        return video

    def latents(self, video: Tensor) -> Tensor:
        """(B, D, T, H', W'), before quantizing."""
        return rearrange(self._latents(video), "(b t) d h w -> b d t h w", b=len(video))

    def _latents(self, video: Tensor) -> Tensor:
        latents: Tensor = self.model.encode(rearrange(video, "b c t h w -> (b t) c h w")).latents
        return latents


def from_folder(folder: Path) -> DiffusersVQ:
    """The VQModel that `save_pretrained` wrote. Raises UserError without diffusers, or if it cannot read the folder."""
    try:
        diffusers = importlib.import_module("diffusers")
    except ModuleNotFoundError:
        raise UserError(f"{folder}: a VQModel of diffusers needs that package: pip install diffusers") from None
    try:
        model = diffusers.VQModel.from_pretrained(str(folder))
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{folder}: diffusers cannot read this model: {str(error).splitlines()[0]}") from None
    return DiffusersVQ(model, name=folder.absolute().name)
