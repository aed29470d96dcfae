"""NVIDIA Cosmos tokenizers: a pair of TorchScript files, encoder.jit and decoder.jit.

The interface is that of NVIDIA/Cosmos-Tokenizer (`video_lib.py`): videos (B, 3, T, H, W) in [−1, 1], T one more than
a multiple of the temporal stride. A discrete encoder returns the indices (B, T', H', W') first, then their code
vectors; a continuous one returns the latents (B, 16, T', H', W') first. The decoder takes indices or latents.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinetoken.core.errors import UserError
from kinetoken.examination.adapters.devices import device_of

ENCODER, DECODER = "encoder.jit", "decoder.jit"
LEVELS = (8, 8, 8, 5, 5, 5)  # FSQ of the published discrete tokenizers, 64,000 codes


class CosmosTokenizer:
    """A pair of TorchScript modules; whether it is quantized is found by encoding one black clip.

    dtype: of the network's weights; the published files are bfloat16. levels: of FSQ; empty where they are not known.
    """

    value_range = (-1.0, 1.0)
    library = "cosmos-tokenizer"

    def __init__(
        self, encoder: torch.nn.Module, decoder: torch.nn.Module, *, name: str = "cosmos", size: int = 64,
        frames: int = 17, fps: float = 24.0, levels: tuple[int, ...] = LEVELS, batch_size: int = 4,
    ) -> None:
        self.encoder, self.decoder = encoder.eval(), decoder.eval()
        self.name, self.size, self.frames, self.fps, self.batch_size = name, size, frames, fps, batch_size
        self.device = device_of(encoder)
        self.dtype = next((weight.dtype for weight in encoder.parameters()), torch.float32)
        self.quantized = not self._first(torch.zeros(1, 3, frames, size, size, device=self.device)).is_floating_point()
        self.levels = levels if self.quantized else ()
        self.quantizer = "fsq" if self.levels else "unknown"

    def encode(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) → indices (B, T', H', W'), or latents (B, D, T', H', W')."""
        return self._first(video)

    def decode(self, codes: Tensor) -> Tensor:
        """Indices or latents → (B, 3, T, H, W)."""
        return _first_of(self.decoder(codes if self.quantized else codes.to(self.dtype)))

    @torch.no_grad()
    def _first(self, video: Tensor) -> Tensor:
        return _first_of(self.encoder(video.to(self.dtype)))


def _first_of(found: Any) -> Tensor:  # noqa: ANN401 - a tensor, or a tuple that begins with one
    tensor: Tensor = found[0] if isinstance(found, tuple) else found
    return tensor


def from_folder(folder: Path) -> CosmosTokenizer:
    """The pair in a folder, on the CPU. Raises UserError for a file that is missing or no TorchScript."""
    return CosmosTokenizer(_loaded(folder / ENCODER), _loaded(folder / DECODER), name=folder.absolute().name)


def _loaded(path: Path) -> torch.nn.Module:
    if not path.is_file():
        raise UserError(f"{path}: no such file; a Cosmos tokenizer is a pair {ENCODER} and {DECODER}")
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # that other formats are to come
            return torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-any-return]
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{path}: no TorchScript module: {str(error).splitlines()[0]}") from None
