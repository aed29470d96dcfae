"""The chain pixels → latents → codes → pooled codes, each as tokens (N, T', H', W', D) of the same clips."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from kinetoken.codes import CodesTable, Indices
from kinetoken.core.errors import UserError
from kinetoken.core.params import NonNegative, Range
from kinetoken.core.per_track import rows_by_track
from kinetoken.core.progress import Progress
from kinetoken.diagnosis.probes import Labelled, MomentsParams, Splits
from kinetoken.footage.motion import still_pictures
from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.codebook import Codebook

if TYPE_CHECKING:
    from kinetoken.dataset import Dataset
    from kinetoken.tokenizer.network import Tokenizer

Tokens = NDArray[np.float32]
Pixels = NDArray[np.uint8]

CHAIN = ("pixels", "latents", "codes", "codes_pooled")
FLOW = "pixels_flow"  # the mean motion of each time slice
STILL = "pixels_still"  # the clips' mean frame in colour: what can be read without motion
DECODED = "reconstructions"  # decoded from the codes, and read as pixels are
CHUNK = 16  # clips turned into numbers at once: small enough for the cache


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


@dataclasses.dataclass
class Walk:
    """N clips at every point of the chain, in the order of the codes table.

    tokens: for each of CHAIN (N, T', H', W', D); recoded (N, T', H', W'): what the tokenizer itself makes of the clips;
    shown (n,): rows of the test clips whose pixels (n, T, H, W, 3) are kept; mean_video (T, H, W, 3): of the
    train clips, in [0, 1].
    """

    table: CodesTable
    tokens: dict[str, Tokens]
    recoded: Indices
    shown: NDArray[np.int64]
    pixels: Pixels
    mean_video: NDArray[np.float32]

    def rows(self, split: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.table.split == split)

    def splits(self, point: str) -> Splits:
        """Tokens at one point of CHAIN as a probe takes them."""
        target = self.table.target
        train, val, test = (
            Labelled(self.tokens[point][rows], target[rows]) for rows in map(self.rows, ("train", "val", "test"))
        )
        return Splits(train, val, test, len(self.table.classes))


def walk(dataset: "Dataset", device: torch.device, params: Diagnosis, progress: Progress) -> Walk:
    """A sample of clips at every point of the chain; one shard of the store in memory at a time.

    The tokenizer is on the device already. Raises UserError for codes whose clips are not in the store or whose grid
    is not the tokenizer's.
    """
    store, table, tokenizer = dataset.clips, dataset.codes, dataset.tokenizer
    chosen = _sample(table, params)
    _check_fit(store, chosen, tokenizer.grid(store.shape[0]))
    grid, test = table.meta.grid, np.flatnonzero(chosen.split == "test")
    shown = test[even_sample(chosen.label[test], params.reconstructed_clips)]
    quantized = Codebook.of(tokenizer).vectors.numpy()[chosen.codes]
    tokens = {"latents": np.empty_like(quantized), "codes": quantized, "codes_pooled": averaged_over_space(quantized)}
    kept = np.empty((len(shown), *store.shape, 3), np.uint8)
    background, recoded = dataset.background, np.empty_like(chosen.codes)
    total = np.zeros((*store.shape, 3), np.float32)
    progress.phase("reading clips", len(chosen), "clips")
    for pixels, track_id in _selected(store, chosen.track_id):
        rows = rows_by_track(track_id, chosen.track_id)
        behind = still_pictures(pixels) if background is None else background
        put(tokens, len(chosen), rows, seen_in(pixels, behind, grid))
        tokens["latents"][rows], recoded[rows] = _encode(tokenizer, pixels, device)
        total += pixels[chosen.split[rows] == "train"].sum(0, dtype=np.float32) / 255
        among = np.isin(rows, shown)
        kept[np.searchsorted(shown, rows[among])] = pixels[among]
        progress.advance(len(rows))
    mean_video = total / np.float32((chosen.split == "train").sum())
    return Walk(chosen, tokens, recoded, shown, kept, mean_video)


def _check_fit(store: ClipStore, table: CodesTable, grid: tuple[int, int, int]) -> None:
    if table.meta.grid != grid:
        raise UserError(f"codes table: grid {list(table.meta.grid)}, the tokenizer makes {list(grid)} of these clips")
    missing = table.track_id[~np.isin(table.track_id, store.track_id)]
    if len(missing):
        raise UserError(f"{store.folder}: no clip of track {missing[0]}, which the codes table holds")


def _selected(store: ClipStore, track_id: NDArray[np.int32]) -> Iterator[tuple[Pixels, NDArray[np.int32]]]:
    """Pixels (n, T, H, W, 3) and ids (n,) of the wanted clips, in the store's order, n ≤ CHUNK."""
    for clips in store.stream():
        rows = np.flatnonzero(np.isin(clips.track_id, track_id))
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            yield clips.pixels[part], clips.track_id[part]


def _sample(table: CodesTable, params: Diagnosis) -> CodesTable:
    counts = {"train": params.train_clips, "val": params.val_clips, "test": params.test_clips}
    rows = [np.flatnonzero(table.split == split) for split in counts]
    kept = [part[even_sample(table.label[part], count)] for part, count in zip(rows, counts.values(), strict=True)]
    return table.take(np.sort(np.concatenate(kept)))


@torch.no_grad()
def _encode(tokenizer: "Tokenizer", pixels: Pixels, device: torch.device) -> tuple[Tokens, Indices]:
    """Latents (n, T', H', W', D) and indices (n, T', H', W') of clips."""
    latents = tokenizer.latents(torch.from_numpy(pixels).to(device))
    indices = tokenizer.quantize(latents)[1]
    return rearrange(latents.float().cpu().numpy(), "n d t h w -> n t h w d"), indices.cpu().numpy().astype(np.int32)


def bounded_latents(latents: Tokens, levels: tuple[int, ...]) -> Tokens:
    """Latents (..., D) on the scale of FSQ's codes, before rounding: f(z) of Mentzer et al. 2023, arXiv:2309.15505.

    With no levels (other quantizers) the latents already are on the scale of their codes.
    """
    if not levels:
        return latents
    count = np.array(levels, np.float32)
    half = (count - 1) * 1.001 / 2
    offset = np.where(count % 2 == 0, 0.5, 0.0)
    return np.asarray(
        (np.tanh(latents + np.arctanh(offset / half)) * half - offset) / (count // 2), dtype=np.float32
    )


@dataclasses.dataclass(frozen=True)
class Painted:
    """PSNR in dB of reconstructions from codes: all pixels, the ball's mask, the rest; floors are the mean video's."""

    psnr_db: float
    psnr_db_floor: float
    foreground_psnr_db: float
    foreground_psnr_db_floor: float
    background_psnr_db: float
    background_psnr_db_floor: float


def painted(
    tokenizer: "Tokenizer", indices: Indices, pixels: Pixels, mask: NDArray[np.bool_],
    mean_video: NDArray[np.float32], device: torch.device,
) -> Painted:
    """How well clips (n, T, H, W, 3) are painted from their codes (n, T', H', W'); mask (n, T, H, W)."""

    def decode(part: slice) -> NDArray[np.float32]:
        with torch.no_grad():
            return tokenizer.decode(torch.from_numpy(indices[part]).long().to(device)).float().cpu().numpy()

    return judged_painting(decode, pixels, mask, mean_video)


def decoded_points(
    tokenizer: "Tokenizer", indices: Indices, background: NDArray[np.float32] | None, device: torch.device,
    progress: Progress,
) -> dict[str, Tokens]:
    """What is seen in the reconstructions from codes (N, T', H', W'), read as pixels are, before a background if known.
    """
    found: dict[str, Tokens] = {}
    progress.phase("decoding", len(indices), "clips")
    for start in range(0, len(indices), CHUNK):
        part = np.arange(start, min(start + CHUNK, len(indices)))
        with torch.no_grad():
            drawn = tokenizer.decode(torch.from_numpy(indices[part]).long().to(device)).float().cpu().numpy()
        pixels = np.rint(np.clip(drawn, 0, 1) * 255).astype(np.uint8)
        behind = still_pictures(pixels) if background is None else background
        put(found, len(indices), part, seen_in(pixels, behind, indices.shape[1:]))
        progress.advance(len(part))
    return found


def judged_painting(
    draw: Callable[[slice], NDArray[np.float32]], pixels: Pixels, mask: NDArray[np.bool_],
    mean_video: NDArray[np.float32],
) -> Painted:
    """The same for pictures from anywhere: `draw` gives those of a slice of the clips, (n, T, H, W, 3) in [0, 1]."""
    sums = np.zeros((2, 2))  # model or mean video, by ball or background: summed squared errors
    counts = np.zeros(2)
    for start in range(0, len(pixels), CHUNK):
        part = slice(start, start + CHUNK)
        clean = pixels[part].astype(np.float32) / 255
        drawn = draw(part)
        for row, guess in enumerate((drawn, mean_video[None])):
            error = ((guess - clean) ** 2).mean(-1, dtype=np.float64)  # (n, T, H, W)
            sums[row] += error[mask[part]].sum(), error[~mask[part]].sum()
        counts += mask[part].sum(), (~mask[part]).sum()
    mean = np.concatenate([sums.sum(1, keepdims=True) / counts.sum(), sums / np.maximum(counts, 1)], 1)
    decibel = -10 * np.log10(np.maximum(mean, 1e-10))
    return Painted(*(float(value) for value in decibel.T.ravel()))


def even_sample(label: np.ndarray, count: int) -> NDArray[np.int64]:
    """Ascending rows of at most `count` items, every class (N,) in proportion and spread over its whole length."""
    order = np.argsort(label, kind="stable")
    count = min(count, len(label))
    place = np.floor((np.arange(count) + 0.5) * len(label) / count).astype(np.int64)
    return np.sort(order[place])


def pixel_tokens(pixels: Pixels, background: NDArray[np.float32], grid: tuple[int, int, int]) -> Tokens:
    """Pixels (N, T, H, W, 3) uint8 as tokens on the codes' grid, (N, T', H', W', 6 T/T').

    In each frame and each cell the grey difference from the background (H, W, 3), or one a clip (N, H, W, 3),
    in [0, 1] is projected on
    the six polynomials 1, x, y, x², xy, y², made orthonormal: it is linear in the pixels and keeps where a
    disc lies inside the cell and how large it is, which a plain mean would blur.
    """
    slices, rows, columns = grid
    kernel = _cell_polynomials(pixels.shape[2] // rows, pixels.shape[3] // columns)
    stride = (kernel.shape[-2], kernel.shape[-1])
    one_each = background.ndim == 4
    still = torch.nn.functional.conv2d(
        _channels_first((background if one_each else background[None]) * 255), kernel, stride=stride
    )
    still = still.repeat_interleave(pixels.shape[1], 0) if one_each else still  # (N T or 1, 6, H', W')
    parts = []
    for start in range(0, len(pixels), CHUNK):
        frames = rearrange(pixels[start : start + CHUNK], "n t h w c -> (n t) h w c")
        behind = still[start * pixels.shape[1] :][: len(frames)] if one_each else still
        found = torch.nn.functional.conv2d(_channels_first(frames), kernel, stride=stride) - behind
        parts.append(
            rearrange(found.numpy(), "(n t f) k h w -> n t h w (f k)", t=slices, f=pixels.shape[1] // slices)
        )
    return np.concatenate(parts)


def seen_in(pixels: Pixels, background: NDArray[np.float32], grid: tuple[int, int, int]) -> dict[str, Tokens]:
    """All that pixels (N, T, H, W, 3) are read by: their tokens, those of their mean frames, and of what moves."""
    flow = np.zeros((len(pixels), grid[0], 1, 1, 6), np.float32)
    if pixels.shape[1] > grid[0]:
        flow = flow_tokens(pixels, grid[0])
    return {"pixels": pixel_tokens(pixels, background, grid), STILL: still_tokens(pixels, grid), FLOW: flow}


def put(tokens: dict[str, Tokens], count: int, rows: NDArray[np.int64], found: Mapping[str, Tokens]) -> None:
    """Write what was found of these rows to tables of `count` rows, which are made when first written to."""
    for point, values in found.items():
        tokens.setdefault(point, np.empty((count, *values.shape[1:]), np.float32))[rows] = values


def still_tokens(pixels: Pixels, grid: tuple[int, int, int]) -> Tokens:
    """Pixels (N, T, H, W, 3) uint8 as tokens of their mean frame on the codes' rows and columns, (N, 1, H', W', 3 × 6).

    The same polynomials of each cell as in `pixel_tokens` (fewer than six in cells of few pixels), for each colour and
    with the background.
    """
    _, rows, columns = grid
    kernel = _cell_polynomials(pixels.shape[2] // rows, pixels.shape[3] // columns)
    parts = []
    for start in range(0, len(pixels), CHUNK):
        mean = rearrange(pixels[start : start + CHUNK].mean(1, dtype=np.float32), "n h w c -> (n c) h w 1")
        found = torch.nn.functional.conv2d(
            _channels_first(mean), kernel[:, :1] * 3, stride=(kernel.shape[-2], kernel.shape[-1])
        )
        parts.append(rearrange(found.numpy(), "(n c) k h w -> n 1 h w (c k)", c=pixels.shape[-1]))
    return np.concatenate(parts)


def flow_tokens(pixels: Pixels, slices: int) -> Tokens:
    """What moves in each time slice of pixels (N, T, H, W, 3) uint8: (N, T', 1, 1, 6), its velocity to the right and
    down, how much changes, and its mean colour.

    The velocity in pixels a frame is that of Lucas & Kanade (1981) for the whole picture: exact where one thing moves.
    A direction of motion is linear in it, and not in pixels. Colour is averaged with the change as its weight.
    """
    parts = []
    for start in range(0, len(pixels), CHUNK):
        film = pixels[start : start + CHUNK].astype(np.float32) / np.float32(255)
        grey = film.mean(-1)  # (n, T, H, W)
        change = np.diff(grey, axis=1)
        weight = np.abs(np.diff(film, axis=1)).sum(-1)
        mean = (grey[:, 1:] + grey[:, :-1]) / 2
        down, right = np.gradient(mean, axis=(2, 3))
        sums = [(a * b).sum((2, 3)) for a, b in (
            (right, right), (right, down), (down, down), (right, change), (down, change), (change, change),
        )]  # each (n, T − 1)
        xx, xy, yy, xt, yt, tt = (
            np.stack([part.sum(1) for part in np.array_split(one, slices, axis=1)], 1) for one in sums
        )
        det = xx * yy - xy * xy + 1e-6
        moved = [(xy * yt - yy * xt) / det, (xy * xt - xx * yt) / det, np.log(tt + 1e-3)]
        parts.append(np.concatenate([np.stack(moved, -1), _weighted_colour(film, weight, slices)], -1))
    return np.concatenate(parts)[:, :, None, None].astype(np.float32)


def _weighted_colour(
    film: NDArray[np.float32], weight: NDArray[np.float32], slices: int
) -> NDArray[np.float32]:
    """(n, T', 3): mean colour of films (n, T, H, W, 3) in each slice, by weights (n, T − 1, H, W) of their changes."""
    total = np.einsum("nthw,nthwc->ntc", weight, film[:, 1:] + film[:, :-1]) / 2
    amount = weight.sum((2, 3))[..., None]
    sums, amounts = (
        np.stack([part.sum(1) for part in np.array_split(one, slices, axis=1)], 1) for one in (total, amount)
    )
    return np.asarray(sums / np.maximum(amounts, 1e-3), np.float32)


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
    return np.asarray(tokens.mean((2, 3), keepdims=True))
