"""Tokenizers of this project."""

from pathlib import Path

from torch import Tensor

from kinetoken.core.errors import UserError
from kinetoken.tokenizer.network import STRIDE, Tokenizer, load_tokenizer


class KinetokenTokenizer:
    """A trained `kinetoken.tokenizer.network.Tokenizer` on clips of its own size, 16 frames at 16 a second."""

    value_range = (0.0, 1.0)
    library = "kinetoken"

    def __init__(self, model: Tokenizer, name: str = "tokenizer", frames: int = 16, fps: float = 16.0) -> None:
        self.model, self.name, self.frames, self.fps = model.eval(), name, frames, fps
        self.size = model.image_size
        self.levels, self.codebook_size = model.levels, model.codebook_size
        self.quantizer = model.quantizer_name
        self.device = str(model.background.device)
        if not self.levels:
            from kinetoken.tokenizer.codebook import Codebook

            self.codebook = Codebook.of(model).vectors

    def encode(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) in [0, 1] → (B, T/4, H/8, W/8)."""
        return self.model.encode(_channels_last(video))

    def decode(self, indices: Tensor) -> Tensor:
        """The clips back, (B, 3, T, H, W) in [0, 1]."""
        return self.model.decode(indices.long()).movedim(-1, 1)

    def latents(self, video: Tensor) -> Tensor:
        """(B, D, T/4, H/8, W/8), before quantizing."""
        return self.model.latents(_channels_last(video))


def _channels_last(video: Tensor) -> Tensor:
    if video.shape[2] % STRIDE[0]:
        raise UserError(f"tokenizers of this project read a multiple of {STRIDE[0]} frames, found {video.shape[2]}")
    return video.movedim(1, -1).contiguous()


def from_folder(folder: Path) -> KinetokenTokenizer:
    """The tokenizer that `train_tokenizer` wrote. Raises UserError for a folder that holds another kind of model."""
    return KinetokenTokenizer(load_tokenizer(folder), folder.absolute().name)
