"""The chain pixels → latents → codes → pooled codes, each as tokens (N, T', H', W', D) of the same clips."""

import dataclasses
from typing import Annotated

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from kinetoken.diagnosis.probes import MomentsParams
from kinetoken.params import NonNegative, Range

Tokens = NDArray[np.float32]
Pixels = NDArray[np.uint8]

CHAIN = ("pixels", "latents", "codes", "codes_pooled")
CHUNK = 64  # clips turned into numbers at once


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Section diagnose_codes."""

    seed: NonNegative  # of the bootstrap and the t-SNE
    train_clips: Annotated[int, Range(ge=8)]  # at most so many of each split are read, evenly from every class
    val_clips: Annotated[int, Range(ge=4)]
    test_clips: Annotated[int, Range(ge=8)]
    shown_clips: Annotated[int, Range(ge=8, le=600)]  # test clips in distances, silhouettes and embeddings
    reconstructed_clips: Annotated[int, Range(ge=1)]  # test clips whose reconstruction is judged
    probe: MomentsParams


def even_sample(label: np.ndarray, count: int) -> NDArray[np.int64]:
    """Ascending rows of at most `count` items, every class (N,) in proportion and spread over its whole length."""
    order = np.argsort(label, kind="stable")
    count = min(count, len(label))
    place = np.floor((np.arange(count) + 0.5) * len(label) / count).astype(np.int64)
    return np.sort(order[place])


def pixel_tokens(pixels: Pixels, background: NDArray[np.float32], grid: tuple[int, int, int]) -> Tokens:
    """Pixels (N, T, H, W, 3) uint8 as tokens on the codes' grid, (N, T', H', W', 6 T/T').

    In each frame and each cell the grey difference from the background (H, W, 3) in [0, 1] is projected on
    the six polynomials 1, x, y, x², xy, y², made orthonormal: it is linear in the pixels and keeps where a
    disc lies inside the cell and how large it is, which a plain mean would blur.
    """
    slices, rows, columns = grid
    kernel = _cell_polynomials(pixels.shape[2] // rows, pixels.shape[3] // columns)
    stride = (kernel.shape[-2], kernel.shape[-1])
    still = torch.nn.functional.conv2d(_channels_first(background[None] * 255), kernel, stride=stride)
    parts = []
    for start in range(0, len(pixels), CHUNK):
        frames = rearrange(pixels[start : start + CHUNK], "n t h w c -> (n t) h w c")
        found = torch.nn.functional.conv2d(_channels_first(frames), kernel, stride=stride) - still
        parts.append(
            rearrange(found.numpy(), "(n t f) k h w -> n t h w (f k)", t=slices, f=pixels.shape[1] // slices)
        )
    return np.concatenate(parts)


def _channels_first(frames: NDArray[np.float32] | Pixels) -> torch.Tensor:
    return rearrange(torch.from_numpy(np.ascontiguousarray(frames)).float(), "n h w c -> n c h w")


def _cell_polynomials(height: int, width: int) -> torch.Tensor:
    """(6, 3, height, width): the polynomials over a cell, averaged over colours, for values of 0 … 255."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1).reshape(-1, 6)
    orthonormal = np.linalg.qr(basis)[0]
    orthonormal *= np.sign(orthonormal[0])  # LAPACK leaves the signs open
    kernel = rearrange(orthonormal, "(h w) k -> k 1 h w", h=height).repeat(3, axis=1) / (3 * 255)
    return torch.from_numpy(np.ascontiguousarray(kernel, dtype=np.float32))


def averaged_over_space(tokens: Tokens) -> Tokens:
    """(N, T', H', W', D) → (N, T', 1, 1, D): the first team's pooling, which keeps no position."""
    return tokens.mean((2, 3), keepdims=True)
