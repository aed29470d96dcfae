"""Causal (2+1)D convolutional tokenizer over a patch or Haar stem.

Clips (B, T, H, W, 3) → stem of 2×4×4 patches → residual blocks → one 2×2×2 downsampling → residual
blocks → latents → quantizer, and the mirror of it back. Each residual block is a 1×3×3 convolution over
space and a 3×1×1 convolution over time (Tran et al. 2018, arXiv:1711.11248); those over time are causal
(MAGVIT-v2, arXiv:2310.05737): codes of time slice k depend on frames up to 4k+3 only, and so does what is
decoded from them.

Activations are kept channel-last, (B, T, H, W, C): both convolutions are then plain 2-D ones on a view,
which is the fastest layout on a CPU.
"""

import dataclasses
import math
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from kinetoken.core.artifacts import hash_path, load_weights, rebuilding, save_model
from kinetoken.core.errors import UserError
from kinetoken.core.params import Positive, Range, build
from kinetoken.tokenizer.losses import contrastive_loss
from kinetoken.tokenizer.quantizers import Quantizer, QuantizerParams, build_quantizer

if TYPE_CHECKING:
    from kinetoken.scenes.clips import ClipStore

PATCH = (2, 4, 4)  # frames, rows, columns of the stem
STRIDE = (4, 8, 8)  # of a token, after the downsampling
CELL = 3 * math.prod(PATCH)  # numbers in a cell

Quantizing = Literal["off", "starting", "on"]  # of latents in training: not yet, from this step on, as ever

Past = list[Tensor]  # of each causal block in turn, what entered its convolution over time at its last two times

# luma and two chromas from red, green, blue: orthonormal, as rows
OPPONENT = -np.array([[3, 3, 3], [6, 0, -6], [3, -6, 3]]) / np.array([[27**0.5], [72**0.5], [54**0.5]])
CHROMA_GAIN = 4.0  # of the input, so that hue stands out from contrast about as much as a place does


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkParams:
    """The network's shape; part of section train_tokenizer."""

    stem: Literal["patch", "haar"]
    causal: bool
    fine_channels: Positive  # at 2×4×4 pixels a cell
    fine_blocks: Annotated[int, Range(ge=0)]  # in the encoder, and as many in the decoder
    coarse_channels: Positive  # at 4×8×8 pixels a cell
    coarse_blocks: Annotated[int, Range(ge=0)]


class MatrixConv2d(nn.Module):
    """2-D convolution whose kernel is kept as a matrix (out, in·height·width): the form that Muon works on."""

    def __init__(self, channels: int, size: tuple[int, int], padding: tuple[int, int] = (0, 0)) -> None:
        super().__init__()
        self.kernel, self.padding = (channels, *size), padding
        reach = 1 / math.sqrt(channels * math.prod(size))
        self.weight = nn.Parameter(torch.empty(channels, channels * math.prod(size)).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-reach, reach))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H', W')."""
        return F.conv2d(x, self.weight.unflatten(1, self.kernel), self.bias, padding=self.padding)


class Block(nn.Module):
    """Residual (2+1)D block on (B, T, H, W, C), position-wise normalized so that time stays causal."""

    def __init__(self, channels: int, causal: bool) -> None:
        super().__init__()
        self.norm_space, self.norm_time = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.space = MatrixConv2d(channels, (3, 3), padding=(1, 1))
        self.time = MatrixConv2d(channels, (3, 1))
        self.padding = (2, 0) if causal else (1, 1)  # zero frames before and after
        nn.init.normal_(self.time.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self._over_space(x)
        return self._over_time(x, F.pad(F.silu(self.norm_time(x)), (0, 0, 0, 0, 0, 0, *self.padding)))

    def step(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """The next times of a causal block: (B, t, H, W, C) and what the call before left (None: nothing came before).

        → the same of `forward` over all times so far, and (B, 2, H, W, C) for the next call.
        """
        x = self._over_space(x)
        entering = F.silu(self.norm_time(x))
        before = torch.zeros_like(entering[:, :1]).expand(-1, self.padding[0], -1, -1, -1) if past is None else past
        padded = torch.cat([before, entering], 1)
        return self._over_time(x, padded), padded[:, -self.padding[0] :]

    def _over_space(self, x: Tensor) -> Tensor:
        frames = rearrange(F.silu(self.norm_space(x)), "b t h w c -> (b t) c h w")
        y: Tensor = x + rearrange(self.space(frames), "(b t) c h w -> b t h w c", b=len(x))
        return y

    def _over_time(self, x: Tensor, padded: Tensor) -> Tensor:
        """x (B, T, H, W, C) plus the convolution of what entered it, two times more: (B, T + 2, H, W, C)."""
        columns = rearrange(padded, "b t h w c -> b c t (h w)")
        y: Tensor = x + rearrange(self.time(columns), "b c t (h w) -> b t h w c", h=x.shape[2])
        return y


class CellStem(nn.Module):
    """Clip ↔ cells of 2×4×4 pixels, and the maps between a cell's 96 numbers and C channels.

    Going in, the map is linear. Coming out, a cell is painted as a thing of one colour behind a soft mask, one
    value a pixel, plus a linear rest. A moving thing is just that product of what and where, and its edges are
    sharp: a linear map has to learn it again for every colour and place.

    The weights of the linear maps are kept in an orthonormal basis of the cell: for colour, luma and two chromas
    (a ball's hue is a tenth of its contrast's energy, and in RGB its gradient drowns); for space and time,
    the pixels themselves (`patch`) or the 3-D Haar wavelets (`haar`). Folding the basis into the weights
    costs nothing where the pixels are.
    """

    def __init__(self, kind: str, channels: int) -> None:
        super().__init__()
        inside = np.eye(32) if kind == "patch" else haar_basis()
        basis = np.kron(OPPONENT, inside).astype(np.float32)  # (96, 96), rows are the basis
        gain = np.repeat(np.array([1.0, CHROMA_GAIN, CHROMA_GAIN], np.float32), 32)[:, None]
        self.analysis: Tensor
        self.synthesis: Tensor
        self.opponent: Tensor
        self.register_buffer("opponent", torch.from_numpy(OPPONENT.astype(np.float32)), persistent=False)
        self.register_buffer("analysis", torch.from_numpy(gain * basis), persistent=False)
        self.register_buffer("synthesis", torch.from_numpy(basis.T.copy()), persistent=False)
        self.embed = nn.Linear(CELL, channels)
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Linear(channels, CELL)
        self.mask, self.colour = nn.Linear(channels, CELL // 3), nn.Linear(channels, 3)
        for layer in (self.project, self.colour):  # training starts from the bare background
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, T, H, W, 3) → (B, T/2, H/4, W/4, C)."""
        p, q, r = PATCH
        cells = rearrange(clips, "b (t p) (h q) (w r) c -> b t h w (c p q r)", p=p, q=q, r=r)
        return F.linear(cells, self.embed.weight @ self.analysis, self.embed.bias)

    def inverse(self, x: Tensor) -> Tensor:
        """(B, T/2, H/4, W/4, C) → (B, T, H, W, 3)."""
        p, q, r = PATCH
        x = self.norm(x)
        rest = F.linear(x, self.synthesis @ self.project.weight, self.synthesis @ self.project.bias)
        colour = self.colour(x) @ self.opponent  # (B, T/2, H/4, W/4, 3)
        thing = colour.unsqueeze(-1) * self.mask(x).sigmoid().unsqueeze(-2)
        cells = rest + thing.flatten(-2)
        clips: Tensor = rearrange(cells, "b t h w (c p q r) -> b (t p) (h q) (w r) c", p=p, q=q, r=r)
        return clips


def _folded(x: Tensor) -> Tensor:
    """(B, T, H, W, C) → (B, T/2, H/2, W/2, 8 C): the next coarser grid."""
    return rearrange(x, "b (t p) (h q) (w r) c -> b t h w (p q r c)", p=2, q=2, r=2)


def haar_basis() -> np.ndarray:
    """(32, 32) orthonormal: one Haar level over 2 frames, two over 4 rows and 4 columns; rows are wavelets."""
    half = np.sqrt(0.5)
    two = np.array([[half, half], [half, -half]])
    four = np.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, -0.5, -0.5], [half, -half, 0, 0], [0, 0, half, -half]])
    return np.kron(two, np.kron(four, four)).astype(np.float32)


class Tokenizer(nn.Module):
    """Encoder, quantizer and decoder for clips of a square `image_size`.

    `background` (H, W, 3) in [0, 1] is the training clips' typical image. Input and output are taken relative
    to it, so that a still scene costs no code and training starts from an empty stage and not from grey.
    """

    def __init__(self, shape: NetworkParams, quantizer: QuantizerParams, image_size: int) -> None:
        """Raises UserError for an image size that is no multiple of 8."""
        super().__init__()
        if image_size % STRIDE[1]:
            raise UserError(f"the tokenizer needs an image size that is a multiple of {STRIDE[1]}, not {image_size}")
        self.shape, self.image_size = shape, image_size
        self.hash = ""
        fine, coarse = shape.fine_channels, shape.coarse_channels
        self.background: Tensor
        self.register_buffer("background", torch.full((image_size, image_size, 3), 0.5))
        self.quantizer: Quantizer = build_quantizer(quantizer)
        self.stem = CellStem(shape.stem, fine)
        self.fine_encoder = nn.Sequential(*(Block(fine, shape.causal) for _ in range(shape.fine_blocks)))
        self.down = nn.Linear(8 * fine, coarse)
        self.coarse_encoder = nn.Sequential(*(Block(coarse, shape.causal) for _ in range(shape.coarse_blocks)))
        self.to_latent = nn.Sequential(nn.LayerNorm(coarse), nn.Linear(coarse, self.quantizer.dim))
        self.from_latent = nn.Linear(self.quantizer.dim, coarse)
        self.coarse_decoder = nn.Sequential(*(Block(coarse, shape.causal) for _ in range(shape.coarse_blocks)))
        self.up = nn.Linear(coarse, 8 * fine)
        self.fine_decoder = nn.Sequential(*(Block(fine, shape.causal) for _ in range(shape.fine_blocks)))

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Weights between hidden layers, each a matrix: those that Muon trains."""
        inside = (
            self.fine_encoder, self.down, self.coarse_encoder, self.coarse_decoder, self.up, self.fine_decoder,
        )
        return [p for module in inside for p in module.parameters() if p.ndim == 2]

    @property
    def codebook_size(self) -> int:
        return self.quantizer.codebook_size

    @property
    def levels(self) -> tuple[int, ...]:
        """Of FSQ; empty for the other quantizers."""
        return self.quantizer.levels

    @property
    def quantizer_name(self) -> str:
        return self.quantizer.params.kind

    @property
    def temporal_stride(self) -> int:
        """Frames in one time slice of codes."""
        return STRIDE[0]

    def grid(self, num_frames: int) -> tuple[int, int, int]:
        """Time slices, rows and columns of the codes of a clip of that many frames."""
        return num_frames // STRIDE[0], self.image_size // STRIDE[1], self.image_size // STRIDE[2]

    def forward(
        self, clips: Tensor, background: Tensor | None = None, view: Tensor | None = None, quantizing: Quantizing = "on"
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """For training: (B, T, H, W, 3) → reconstruction of the same shape, not clipped, and losses () by name.

        They are the `quantizer`'s own and, given another view of the same clips, the `contrastive` one. Clips may be
        windows of any size that is a multiple of 8 if the `background` (B, 1, H, W, 3) behind each is given.

        With `quantizing` off, latents reach the decoder as they are and the quantizer is left out. Where it is
        starting, a codebook that starts from k-means does so from these clips.
        """
        latents = self.latents(clips, background)
        if quantizing == "starting":
            self.quantizer.restart()
        if quantizing == "off":
            quantized, loss = self.quantizer.unquantized(latents), latents.new_zeros(())
        else:
            quantized, _, loss = self.quantize(latents)
        losses = {"quantizer": loss}
        if view is not None:
            losses["contrastive"] = contrastive_loss(latents, self.latents(view, background))
        return self.decode_latents(quantized, background), losses

    def latents(self, clips: Tensor, background: Tensor | None = None) -> Tensor:
        """(B, T, H, W, 3), uint8 or float in [0, 1] → (B, D, T/4, H/8, W/8), before quantizing.

        Raises ValueError for another size than the background's or a number of frames that is no multiple of 4.
        """
        background = self.background if background is None else background
        size = tuple(background.shape[-3:])
        if clips.ndim != 5 or tuple(clips.shape[2:]) != size or clips.shape[1] % STRIDE[0] or not clips.shape[1]:
            raise ValueError(f"clips {tuple(clips.shape)}: expected (B, T, {size[0]}, {size[1]}, 3), T a multiple of 4")
        x = clips.to(self.background.dtype) / 255 if clips.dtype == torch.uint8 else clips
        x = self.fine_encoder(self.stem(x - background))  # (B, T/2, H/4, W/4, fine)
        x = self.coarse_encoder(self.down(_folded(x)))  # (B, T/4, H/8, W/8, coarse)
        latents: Tensor = rearrange(self.to_latent(x), "b t h w d -> b d t h w")
        return latents

    def quantize(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, D, T', H', W') → quantized of the same shape, indices (B, T', H', W') int64, loss ()."""
        quantized: tuple[Tensor, Tensor, Tensor] = self.quantizer(latents)
        return quantized

    def codes_to_latents(self, indices: Tensor) -> Tensor:
        """Indices (B, T', H', W') → quantized coordinates (B, D, T', H', W')."""
        return self.quantizer.codes(indices)

    def decode_latents(
        self, quantized: Tensor, background: Tensor | None = None, last: int | None = None
    ) -> Tensor:
        """Quantized coordinates (B, D, T', H', W'), any T' ≥ 1 → clips (B, 4T', H, W, 3), not clipped.

        Only their `last` frames, an even number, if given: at a fraction of the work.
        """
        x = self.up(self.coarse_decoder(self._entering_decoder(quantized)))
        x = rearrange(x, "b t h w (p q r c) -> b (t p) (h q) (w r) c", p=2, q=2, r=2)
        steps = x.shape[1] if last is None else last // PATCH[0]
        reach = sum(block.padding[0] for block in self.fine_decoder)  # type: ignore[index,misc]  # into earlier steps
        x = self.fine_decoder(x[:, -(steps + reach) :])[:, -steps:]
        pixels: Tensor = self.stem.inverse(x)
        return pixels + (self.background if background is None else background)

    def _entering_decoder(self, quantized: Tensor) -> Tensor:
        """(B, D, T', H', W') → (B, T', H', W', coarse)."""
        x: Tensor = self.from_latent(rearrange(quantized, "b d t h w -> b t h w d"))
        return x

    @torch.no_grad()
    def code_features(self, indices: Tensor) -> Tensor:
        """What the decoder makes of codes before it paints: indices (B, T', H', W') → (B, T', H', W', coarse)."""
        x: Tensor = self.coarse_decoder(self._entering_decoder(self.codes_to_latents(indices)))
        return x

    @torch.no_grad()
    def step(self, clips: Tensor, past: Past | None = None) -> tuple[Tensor, Tensor, Past]:
        """The next slices of clips that arrive piece by piece, of a causal tokenizer; nothing is computed twice.

        clips (B, 4 n, H, W, 3) and what the call before left → indices (B, n, H', W'), their `code_features`
        (B, n, H', W', coarse), and what the next call needs. Raises ValueError for a tokenizer that is not causal.
        """
        if not self.shape.causal:
            raise ValueError("a tokenizer that is not causal needs whole clips")
        kept: Iterator[Tensor | None] = repeat(None) if past is None else iter(past)
        left: Past = []

        def through(blocks: nn.Sequential, x: Tensor) -> Tensor:
            for block in blocks:
                x, new = block.step(x, next(kept))  # type: ignore[operator]
                left.append(new)
            return x

        x = clips.to(self.background.dtype) / 255 if clips.dtype == torch.uint8 else clips
        x = through(self.fine_encoder, self.stem(x - self.background))
        x = through(self.coarse_encoder, self.down(_folded(x)))
        quantized, indices, _ = self.quantize(rearrange(self.to_latent(x), "b t h w d -> b d t h w"))
        return indices, through(self.coarse_decoder, self._entering_decoder(quantized)), left

    @torch.no_grad()
    def encode(self, clips: Tensor) -> Tensor:
        """(B, T, H, W, 3), uint8 or float in [0, 1] → indices (B, T/4, H/8, W/8) int64."""
        return self.quantize(self.latents(clips))[1]

    @torch.no_grad()
    def decode(self, indices: Tensor, last: int | None = None) -> Tensor:
        """Indices (B, T', H', W'), any T' ≥ 1 → clips (B, 4T', H, W, 3) float in [0, 1]; their `last` frames if given.

        Raises ValueError for a `last` that is odd or more than there are.
        """
        if last is not None and (last % PATCH[0] or not 0 < last <= STRIDE[0] * indices.shape[1]):
            raise ValueError(f"last: {last} frames of {STRIDE[0] * indices.shape[1]}, expected an even number of them")
        return self.decode_latents(self.codes_to_latents(indices), last=last).clamp(0, 1)

    @torch.no_grad()
    def reconstruct(self, clips: Tensor) -> Tensor:
        """What the codes keep of the clips: (B, T, H, W, 3) float in [0, 1]."""
        return self.decode(self.encode(clips))


def save_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Weights and config; FSQ's own constants are rebuilt from the levels."""
    config: dict[str, Any] = {
        "image_size": tokenizer.image_size, "network": dataclasses.asdict(tokenizer.shape),
        "quantizer": tokenizer.quantizer.params.saved(),
    }
    save_model(folder, tokenizer, config)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in eval mode, `hash` set to that of its folder. UserError if it is no tokenizer's folder."""
    folder = Path(folder)
    with rebuilding(folder) as config:
        if absent := [key for key in ("network", "quantizer", "image_size") if key not in config]:
            raise UserError(f"{folder}/config.json: not a tokenizer (no '{absent[0]}')")
        shape = build(NetworkParams, config["network"], f"{folder}/config.json: network")
        quantizer = build(QuantizerParams, config["quantizer"], f"{folder}/config.json: quantizer")
        tokenizer = Tokenizer(shape, quantizer, int(config["image_size"]))
        load_weights(folder, tokenizer)
    tokenizer.hash = hash_path(folder)
    return tokenizer


def require_causal(tokenizer: Tokenizer, folder: Path) -> None:
    """UserError if codes of the past could know later frames; `folder` is named."""
    if not tokenizer.shape.causal:
        raise UserError(
            f"{folder}: trained with causal: false, so that its codes of the past know later frames and a forecast "
            "from them would be none; set train_tokenizer.network.causal: true"
        )


def check_shape(tokenizer: Tokenizer, store: "ClipStore") -> None:
    """UserError unless the store's clips have the tokenizer's image size and a number of frames it can slice."""
    frames, height, width = store.shape
    size = tokenizer.image_size
    if (height, width) != (size, size):
        raise UserError(f"{store.folder}: clips are {width}×{height}, the tokenizer takes {size}×{size}")
    if frames % STRIDE[0]:
        raise UserError(f"{store.folder}: clips have {frames} frames, the tokenizer needs a multiple of {STRIDE[0]}")
