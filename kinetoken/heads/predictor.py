"""From the codes of the past to the codes of the next time slice.

Three parts: a *reader* finds the ball's path and look in the past codes by soft-argmax, a *dynamics* network
carries the path on, a *writer* puts the ball's codes where the path says. The dynamics network, one of
DYNAMICS, mixes a learned bank of linear filters over the past path (each law of motion is a linear
recurrence) with weights that it reads from that same path. The writer decides each level of an FSQ code by
itself: given the path the levels are all but certain, and 8+5+5+5 choices are learned far sooner than 1000.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.artifacts import load_weights, read_config, save_model
from kinetoken.errors import UserError
from kinetoken.heads.paths import COORDINATES, extrapolation_matrix
from kinetoken.params import Positive, PositiveFloat, Range
from kinetoken.training import TrainingParams, index_batches

LOOK_WIDTH = 24
BANK_WINDOWS = (3, 5, 8, 12)  # frames that the filters look back on at the start of training
RESIDUAL_GAIN = 0.3


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictorParams(TrainingParams):
    """Section train_predictor; its own training fields are those of the dynamics networks."""

    past_slices: Positive  # time slices of codes given; the next one is predicted
    translation: TrainingParams  # of reader and writer, shared by all models
    width: Annotated[int, Range(ge=8)]  # channels of reader and writer
    filters: Positive  # in the bank of each dynamics network
    lstm_width: Positive
    transformer_width: Annotated[int, Range(ge=8)]  # a multiple of 4
    copies: Positive  # paths derived from each training track by symmetry
    copy_scale: tuple[PositiveFloat, PositiveFloat]  # their least and greatest size, of the original's
    bootstrap: Positive  # resamples of the test clips for intervals

    def __post_init__(self) -> None:
        if self.transformer_width % 4:
            raise ValueError(f"transformer_width must be a multiple of 4, is {self.transformer_width}")
        if self.copy_scale[0] > self.copy_scale[1]:
            raise ValueError(f"copy_scale: expected low <= high, found {list(self.copy_scale)}")


@dataclasses.dataclass(frozen=True)
class PredictorShape:
    """What it takes to rebuild a predictor before its weights are loaded."""

    grid: tuple[int, int, int]  # of a whole clip's codes
    levels: tuple[int, ...]  # choices of each part of a code; (codebook size,) for a quantizer without levels
    coordinates: int  # length of a code's vector
    codebook_size: int
    past_slices: int
    slice_frames: int
    image_size: int
    width: int
    filters: int
    lstm_width: int
    transformer_width: int

    @property
    def past_frames(self) -> int:
        return self.past_slices * self.slice_frames


class PathReader(nn.Module):
    """Path coordinates in every frame, and the ball's look in every slice, from codes.

    A slice is read with the one before it, never with a later one.
    """

    centres: Tensor

    def __init__(self, shape: PredictorShape) -> None:
        super().__init__()
        self.frames, (_, rows, columns) = shape.slice_frames, shape.grid
        width = shape.width
        self.body = nn.Sequential(
            nn.Conv2d(2 * shape.coordinates, width, 3, padding=1), nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1), nn.GELU(),
        )
        self.attention = nn.Conv2d(width, self.frames, 1)
        self.place = nn.Conv2d(width, self.frames * COORDINATES, 1)
        self.look = nn.Conv2d(width, LOOK_WIDTH, 1)
        y, x = torch.meshgrid(_cell_centres(rows), _cell_centres(columns), indexing="ij")
        self.register_buffer("centres", torch.stack([x, y, torch.zeros_like(x)]), persistent=False)  # (3, H, W)

    def forward(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, D, H, W) → path (B, K · frames, 3) and look (B, K, L)."""
        batch = len(coordinates)
        before = torch.cat([torch.zeros_like(coordinates[:, :1]), coordinates[:, :-1]], 1)
        both = rearrange([before, coordinates], "p b k d h w -> (b k) (p d) h w")
        features = self.body(both)
        weights = rearrange(self.attention(features), "n f h w -> n f (h w)").softmax(-1)
        place = rearrange(self.place(features), "n (f c) h w -> n f c (h w)", c=COORDINATES)
        place = place + rearrange(self.centres, "c h w -> c (h w)")
        path = torch.einsum("nfs,nfcs->nfc", weights, place)
        look = torch.einsum("ns,nls->nl", weights.mean(1), self.look(features).flatten(2))
        return (
            rearrange(path, "(b k) f c -> b (k f) c", b=batch), rearrange(look, "(b k) l -> b k l", b=batch)
        )


class SliceWriter(nn.Module):
    """Logits of every token's levels in the slice where the ball takes a given path."""

    centres: Tensor

    def __init__(self, shape: PredictorShape) -> None:
        super().__init__()
        _, rows, columns = shape.grid
        width, frames = 2 * shape.width, shape.slice_frames
        self.from_codes = nn.Conv2d(shape.coordinates, width, 3, padding=1)
        self.from_path = nn.Linear(5 * (frames + 1) + LOOK_WIDTH, width)
        self.cell = nn.Parameter(torch.zeros(rows, columns, width))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
            for _ in range(2)
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sum(shape.levels)))
        y, x = torch.meshgrid(_cell_centres(rows), _cell_centres(columns), indexing="ij")
        self.register_buffer("centres", torch.stack([x, y], -1), persistent=False)  # (H, W, 2)
        self.cell_width = 4.0 / columns  # in path coordinates

    def forward(self, before: Tensor, path: Tensor, look: Tensor) -> Tensor:
        """before (B, D, H, W), path (B, 1 + frames, 3) from the last past frame on, look (B, L) → (B, H, W, ΣL)."""
        rows, columns, _ = self.centres.shape
        offset = (path[:, :, None, None, :2] - self.centres) / self.cell_width  # (B, F, H, W, 2) in cells
        size = repeat(path[:, :, 2:], "b f 1 -> b f h w 1", h=rows, w=columns)
        radius = torch.exp(size / 4) / 4 / self.cell_width  # in cells; r0 is a sixteenth, a quarter of 4, of the image
        away = offset.norm(dim=-1, keepdim=True)
        features = torch.cat(
            [offset.clamp(-2.5, 2.5), torch.tanh(away - radius), torch.exp(-(away**2)), size], -1
        )  # (B, F, H, W, 5)
        features = rearrange(features, "b f h w c -> b h w (f c)")
        looks = repeat(look, "b l -> b h w l", h=rows, w=columns)
        hidden = self.from_path(torch.cat([features, looks], -1))
        hidden = hidden + rearrange(self.from_codes(before), "b c h w -> b h w c") + self.cell
        for block in self.blocks:
            hidden = hidden + block(functional.gelu(hidden))
        logits: Tensor = self.out(hidden)
        return logits


class Translator(nn.Module):
    """Reader and writer, trained side by side: codes to path, path to codes."""

    def __init__(self, shape: PredictorShape) -> None:
        super().__init__()
        self.reader, self.writer = PathReader(shape), SliceWriter(shape)
        self.past = shape.past_slices

    def forward(self, coordinates: Tensor, path: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Read all slices (B, K, D, H, W); write slice `target` (B,) where `path` (B, 1 + frames, 3) says.

        The writer sees the slice before the target and the look of the slices before it.
        """
        found, look = self.reader(coordinates)
        row = torch.arange(len(coordinates), device=coordinates.device)
        earlier = torch.arange(coordinates.shape[1], device=coordinates.device) < target[:, None]  # (B, K)
        look = (look * earlier[..., None]).sum(1) / earlier.sum(1, keepdim=True)
        return found, self.writer(coordinates[row, target - 1], path, look)


class FilterBank(nn.Module):
    """The next frames of a path as a mixture of linear filters over the past ones.

    Filters start as least-squares lines and parabolas over windows of several lengths.
    """

    def __init__(self, shape: PredictorShape) -> None:
        super().__init__()
        past, frames = shape.past_frames, shape.slice_frames
        bank = torch.zeros(shape.filters, frames, past)
        for index in range(shape.filters):
            window = min(BANK_WINDOWS[(index // 2) % len(BANK_WINDOWS)], past)
            matrix = extrapolation_matrix(min(1 + index % 2, window - 1), window, frames)
            bank[index, :, -window:] = torch.from_numpy(matrix).float()
        self.filters = nn.Parameter(bank + 0.02 * torch.randn_like(bank))
        self.outputs = COORDINATES * shape.filters + frames * COORDINATES

    def forward(self, path: Tensor, reading: Tensor) -> Tensor:
        """path (B, P, 3), reading (B, outputs) → (B, frames, 3); a reading of zeros is the mean filter."""
        count, frames, _ = self.filters.shape
        weights = rearrange(reading[:, : COORDINATES * count], "b (c k) -> b c k", c=COORDINATES) + 1 / count
        rest = rearrange(reading[:, COORDINATES * count :], "b (f c) -> b f c", f=frames)
        last = path[:, -1:]
        mixed = torch.einsum("bck,kfp->bcfp", weights, self.filters)
        return last + torch.einsum("bcfp,bpc->bfc", mixed, path - last) + RESIDUAL_GAIN * rest


class Dynamics(nn.Module):
    """A path carried on by one time slice: a network over past slices that steers a filter bank."""

    def __init__(self, shape: PredictorShape) -> None:
        super().__init__()
        self.bank = FilterBank(shape)
        self.slices, self.frames = shape.past_slices, shape.slice_frames
        self.features = 3 * COORDINATES * shape.slice_frames

    def forward(self, path: Tensor) -> Tensor:
        """(B, P, 3) → (B, frames, 3)."""
        step = torch.diff(path, dim=1, prepend=2 * path[:, :1] - path[:, 1:2])
        features = torch.cat([path, 2 * (path - path[:, -1:]), 4 * step], -1)  # (B, P, 9), each of order one
        features = rearrange(features, "b (k f) c -> b k (f c)", k=self.slices)
        ahead: Tensor = self.bank(path, self.read(features))
        return ahead

    def read(self, features: Tensor) -> Tensor:
        """(B, K, features) → (B, bank.outputs)."""
        raise NotImplementedError


class LstmDynamics(Dynamics):
    """Two layers of LSTM (Hochreiter and Schmidhuber 1997) over the past slices."""

    def __init__(self, shape: PredictorShape) -> None:
        super().__init__(shape)
        width = shape.lstm_width
        self.into = nn.Linear(self.features, width)
        self.lstm = nn.LSTM(width, width, 2, batch_first=True)
        self.out = nn.Sequential(nn.Linear(width, width), nn.GELU(), _quiet(nn.Linear(width, self.bank.outputs)))

    def read(self, features: Tensor) -> Tensor:
        hidden, _ = self.lstm(functional.gelu(self.into(features)))
        result: Tensor = self.out(hidden[:, -1])
        return result


class TransformerDynamics(Dynamics):
    """Causal transformer (Vaswani et al. 2017), pre-norm, two layers, over the past slices."""

    mask: Tensor

    def __init__(self, shape: PredictorShape) -> None:
        super().__init__(shape)
        width = shape.transformer_width
        self.into = nn.Linear(self.features, width)
        self.position = nn.Parameter(0.02 * torch.randn(shape.past_slices, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.out = _quiet(nn.Linear(width, self.bank.outputs))
        mask = nn.Transformer.generate_square_subsequent_mask(shape.past_slices)
        self.register_buffer("mask", mask, persistent=False)

    def read(self, features: Tensor) -> Tensor:
        hidden = self.layers(self.into(features) + self.position, mask=self.mask, is_causal=True)
        result: Tensor = self.out(hidden[:, -1])
        return result


DYNAMICS: dict[str, type[Dynamics]] = {"lstm": LstmDynamics, "transformer": TransformerDynamics}


class Predictor(nn.Module):
    """All models of DYNAMICS behind one reader and one writer; codes in, codes out."""

    table: Tensor

    def __init__(self, shape: PredictorShape, table: Tensor) -> None:
        """`table` (codebook size, D): the vector of every code, see `Tokenizer.codes_to_latents`."""
        super().__init__()
        self.shape = shape
        self.translator = Translator(shape)
        self.dynamics = nn.ModuleDict({name: build(shape) for name, build in DYNAMICS.items()})
        self.register_buffer("table", table.float())
        self.tokenizer_hash, self.best = "", next(iter(DYNAMICS))

    def coordinates(self, codes: Tensor) -> Tensor:
        """(B, K, H, W) indices → (B, K, D, H, W) vectors."""
        return rearrange(self.table[codes], "b k h w d -> b k d h w")

    def digits(self) -> Tensor:
        """(codebook size, parts): which level each part of a code is at."""
        return level_digits(self.table, self.shape.levels)

    def forward(self, codes: Tensor, model: str | None = None) -> Tensor:
        """Past codes (B, K, H, W) int64 → the next slice (B, 1, H, W) int64, by the named model or the best one."""
        coordinates = self.coordinates(codes)
        path, look = self.translator.reader(coordinates)
        ahead = self.dynamics[model or self.best](path)
        whole = torch.cat([path[:, -1:], ahead], 1)
        logits = self.translator.writer(coordinates[:, -1], whole, look.mean(1))
        return self.choose(logits)[:, None]

    def choose(self, logits: Tensor) -> Tensor:
        """The code of each token, its parts being independent: (..., ΣL) → (...) int64.

        Levels lie along a line, so the one nearest to the expected level is taken: it errs least. A code
        that has no levels is the most probable one.
        """
        parts = torch.split(logits, list(self.shape.levels), -1)
        if len(parts) == 1:
            chosen = parts[0].argmax(-1)[..., None]
        else:
            places = [torch.arange(part.shape[-1], device=part.device) for part in parts]
            expected = [(part.softmax(-1) * at).sum(-1) for part, at in zip(parts, places, strict=True)]
            chosen = torch.stack(expected, -1).round().long()  # (..., parts)
        return code_of_digits(self.digits(), self.shape.levels)[_mixed_radix(chosen, self.shape.levels)]

    @torch.no_grad()
    def predict(self, codes: np.ndarray, model: str | None = None, batch_size: int = 256) -> np.ndarray:
        """Past codes (N, K, H, W) int → the next slice's (N, 1, H, W) int32.

        Raises UserError if there are not exactly `past_slices` slices on the predictor's grid.
        """
        past, grid = self.shape.past_slices, self.shape.grid
        if codes.shape[1:] != (past, *grid[1:]):
            raise UserError(f"predictor reads {(past, *grid[1:])} codes a clip, found {codes.shape[1:]}")
        given = torch.from_numpy(codes.astype(np.int64)).to(self.table.device)
        parts = [self(given[torch.from_numpy(rows)], model) for rows in index_batches(len(codes), batch_size)]
        return torch.cat(parts).cpu().numpy().astype(np.int32)

    def save(self, folder: Path) -> None:
        """The model folder, all models in one."""
        config = {"shape": dataclasses.asdict(self.shape), "tokenizer": self.tokenizer_hash, "best": self.best}
        save_model(folder, self, {**config, "models": sorted(DYNAMICS)})


def load_predictor(folder: Path | str) -> Predictor:
    """The predictor in eval mode; UserError if the folder is no predictor."""
    folder = Path(folder)
    config = read_config(folder)
    try:
        fields: dict[str, Any] = config["shape"]
        shape = PredictorShape(**{**fields, "grid": tuple(fields["grid"]), "levels": tuple(fields["levels"])})
    except (KeyError, TypeError):
        raise UserError(f"{folder}: not a predictor (config.json has no fitting 'shape')") from None
    predictor = Predictor(shape, torch.zeros(shape.codebook_size, shape.coordinates))
    load_weights(folder, predictor)
    predictor.tokenizer_hash, predictor.best = config["tokenizer"], config["best"]
    return predictor


def level_digits(table: Tensor, levels: Sequence[int]) -> Tensor:
    """The level, counted from 0, of each part of each code: (codebook size, parts) int64.

    With no levels to part a code into, the code is its own and only part.
    """
    if tuple(levels) == (len(table),):
        return torch.arange(len(table), device=table.device)[:, None]
    return torch.stack([torch.unique(column, return_inverse=True)[1] for column in table.T], -1)


def code_of_digits(digits: Tensor, levels: Sequence[int]) -> Tensor:
    """The inverse of `level_digits`: the code at each mixed-radix number, (product of levels,) int64."""
    inverse = torch.zeros(int(np.prod(levels)), dtype=torch.int64, device=digits.device)
    inverse[_mixed_radix(digits, levels)] = torch.arange(len(digits), device=digits.device)
    return inverse


def _mixed_radix(digits: Tensor, levels: Sequence[int]) -> Tensor:
    place = np.cumprod([1, *levels[:-1]])
    return (digits * torch.tensor(place, device=digits.device)).sum(-1)


def _cell_centres(count: int) -> Tensor:
    """Middles of `count` equal cells in path coordinates, where the image runs from −2 to 2."""
    return 4 * (torch.arange(count) + 0.5) / count - 2


def _quiet(layer: nn.Linear) -> nn.Linear:
    """Start near zero output, so that training begins at the mean filter."""
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.zero_()
    return layer
