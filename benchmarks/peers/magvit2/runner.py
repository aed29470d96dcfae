"""magvit2-pytorch 0.5.1 for so many seconds, run by the interpreter of an environment of its own.

The layers make the grid 4×8×8 of 16×64×64 clips, as its README's do, with finite scalar quantization in Kinetoken's
levels, but one residual unit where the README has two, none at full size, no attention, and a quarter of the width: in
a pilot of 40 s that learned more than the README's layers at that width did, being three times as fast. No
discriminator and no perceptual loss: the first has no time to learn, the second needs downloaded weights. What is left
of its loss is the mean squared error; `--loss weighted` takes Kinetoken's foreground-weighted one instead.

Codes come from `forward(return_codes=True)` and clips from `decode_from_code_indices`: its `encode` alone returns
latents that were never quantized.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np
import torch
from magvit2_pytorch import VideoTokenizer
from magvit2_pytorch.optimizer import get_optimizer
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.exchange import Data, Training, clock, code_clips, peak_mib, runner_options
from kinetoken.tokenizer.losses import LossParams, reconstruction_loss

LAYERS = (
    "compress_space", "compress_space", "residual", "compress_space", "residual", "compress_time", "residual",
    "compress_time", "residual",
)
LEVELS = [8, 5, 5, 5]
WHOLE = {"video_contains_first_frame": False}  # 16 frames are four slices, none of them a first frame's own


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What served it best in pilots of 40 s; its trainer's own rate of 1e-5 moves nothing in this time."""

    init_dim: int = 32  # README: 64
    max_dim: int = 128  # README: 512
    input_kernel: tuple[int, int, int] = (3, 3, 3)  # README: 7, 7, 7
    batch_size: int = 2
    learning_rate: float = 2e-3
    warmup: float = 0.05  # share of the time; then half a cosine down to zero, as Kinetoken's
    gradient_clip: float = 1.0


def build(recipe: Recipe, image_size: int) -> VideoTokenizer:
    return VideoTokenizer(
        image_size=image_size, init_dim=recipe.init_dim, max_dim=recipe.max_dim, layers=LAYERS,
        input_conv_kernel_size=recipe.input_kernel, use_fsq=True, fsq_levels=LEVELS, use_gan=False,
        perceptual_loss_weight=0.0,
    )


def to_video(clips: NDArray[np.uint8]) -> Tensor:
    """(B, T, H, W, 3) uint8 → (B, 3, T, H, W) in [0, 1]."""
    return torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() / 255


def train(
    data: Data, recipe: Recipe, seed: int, seconds: float, weighting: LossParams | None
) -> tuple[VideoTokenizer, Training]:
    """A tokenizer trained until the time is over; in bf16 where Kinetoken's is, on processors with AMX."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = build(recipe, data.train.shape[2])
    background = torch.from_numpy(data.background)
    optimizer = get_optimizer(model.parameters(), lr=recipe.learning_rate)
    half = bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    draws = np.random.default_rng(seed)

    def loss_of(rows: np.ndarray) -> Tensor:
        video = to_video(data.train[rows])
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            if weighting is None:
                loss: Tensor = model(video, return_loss=True, **WHOLE)[0]
                return loss
            output = model(video, **WHOLE)
        pixels, target = (x.permute(0, 2, 3, 4, 1).float().contiguous() for x in (output, video))
        return reconstruction_loss(pixels, target, background, weighting)

    model.train()
    loss_of(np.arange(recipe.batch_size)).backward()  # allocates and chooses kernels, off the clock
    start, clips, order = clock(), 0, np.empty(0, np.int64)
    while (spent := clock() - start) < seconds:
        if len(order) < recipe.batch_size:
            order = draws.permutation(len(data.train))
        rows, order = order[: recipe.batch_size], order[recipe.batch_size :]
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * rate(spent / seconds, recipe.warmup)
        optimizer.zero_grad()
        loss_of(rows).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimizer.step()
        clips += len(rows)
    parameters = sum(p.numel() for p in model.parameters())
    return model.eval(), Training(spent, clips, parameters, peak_mib())


def rate(share: float, warmup: float) -> float:
    """Of the peak learning rate, by the share of the time that is gone."""
    if share < warmup:
        return max(share / warmup, 0.05)
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))


def main() -> None:
    parser = runner_options(__doc__)
    parser.add_argument("--loss", choices=("mse", "weighted"), default="mse")
    options = parser.parse_args()
    data = Data.load(options.data)
    weighting = read_weighting(options.params) if options.loss == "weighted" else None
    model, training = train(data, Recipe(), options.seed, options.seconds, weighting)

    @torch.no_grad()
    def encode(clips: NDArray[np.uint8]) -> NDArray[np.int32]:
        codes: NDArray[np.int32] = model(to_video(clips), return_codes=True, **WHOLE).numpy().astype(np.int32)
        return codes

    @torch.no_grad()
    def decode(codes: NDArray[np.int32]) -> NDArray[np.float16]:
        video = model.decode_from_code_indices(torch.from_numpy(codes), **WHOLE)  # (B, 3, T, H, W)
        frames: NDArray[np.float16] = video.permute(0, 2, 3, 4, 1).clamp(0, 1).numpy().astype(np.float16)
        return frames

    code_clips(data.test, encode, decode, math.prod(LEVELS), training).save(options.out)


def read_weighting(path: Path) -> LossParams:
    from kinetoken.core.params import load_params

    return load_params(path, "train_tokenizer.loss", LossParams)


if __name__ == "__main__":
    main()
