"""From the codes of the past to the codes of the next time slice, and from those on to the one after it.

Three parts: a *reader* finds the ball's path and look in the past codes, a *dynamics* network carries the path on, a
*writer* puts the ball's codes where the path says. Where true positions are known, the reader's path is that of the
trained position head; elsewhere it is learned here, by soft-argmax. The dynamics network, one of
DYNAMICS, mixes a learned bank of linear filters over the past path (each law of motion is nearly a linear
recurrence in the image) with weights that it reads from that same path. The writer decides the levels of an FSQ code
one after another, each knowing those before it: 32 choices and 32 more are learned far sooner than 1024.
"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.core.artifacts import load_weights, rebuilding, save_model
from kinetoken.core.errors import UserError
from kinetoken.core.params import Positive, PositiveFloat, Range
from kinetoken.heads.position import PositionHead, position_head_of
from kinetoken.layers import cell_centres, expected_places
from kinetoken.prediction.window import Window
from kinetoken.scenes.paths import COORDINATES, IMAGE_EDGES, RADIUS_GAIN, carry_on_matrix, polynomial_basis
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.training.loop import TrainingParams, index_batches
from kinetoken.training.muon import MuonParams

LOOK_WIDTH = 24
LEARNED_COORDINATES = 16  # of a code's vector, beside its own
RESIDUAL_GAIN = 0.3
DEGREES = 8  # of the polynomials that a path's form is told by


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictorParams(MuonParams):
    """Section train_predictor; its own training fields are those of the dynamics networks."""

    past_slices: Positive  # time slices of codes given
    future_slices: Positive  # predicted, one at a time from all before it
    translation: TrainingParams  # of reader and writer, shared by all models
    width: Annotated[int, Range(ge=8)]  # channels of reader and writer
    filters: Positive  # in the bank of each dynamics network
    lstm_width: Positive
    transformer_width: Annotated[int, Range(ge=8)]  # a multiple of 4
    copies: Positive  # paths derived from each training track by symmetry
    copy_scale: tuple[PositiveFloat, PositiveFloat]  # their least and greatest size, of the original's
    bootstrap: Positive = 1000  # resamples of the test clips for intervals

    def __post_init__(self) -> None:
        if self.transformer_width % 4:
            raise ValueError(f"transformer_width must be a multiple of 4, is {self.transformer_width}")
        if self.copy_scale[0] > self.copy_scale[1]:
            raise ValueError(f"copy_scale: expected low <= high, found {list(self.copy_scale)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictorShape(Window):
    """What it takes to rebuild a predictor before its weights are loaded."""

    grid: tuple[int, int, int]  # of a whole clip's codes
    levels: tuple[int, ...]  # choices of each part of a code; (codebook size,) for a quantizer without levels
    coordinates: int  # length of a code's vector
    codebook_size: int
    image_size: int
    width: int
    filters: int
    lstm_width: int
    transformer_width: int

    @property
    def vector(self) -> int:
        """Length of a code's vector, what is learned of it included."""
        return self.coordinates + LEARNED_COORDINATES

    @property
    def prefixes(self) -> range:
        """How many slices may be given: from the past alone to all but the last."""
        return range(self.past_slices, self.slices)


class CodeVectors(nn.Module):
    """A code as the numbers that the tokenizer has for it, and as many learned ones.

    The tokenizer packs all that a token may show into few numbers; neighbours in them may look quite different.
    """

    table: Tensor

    def __init__(self, codebook: Codebook) -> None:
        super().__init__()
        self.levels = codebook.levels
        self.register_buffer("table", codebook.vectors.float().clone())
        self.learned = nn.Embedding(codebook.size, LEARNED_COORDINATES)
        nn.init.normal_(self.learned.weight, std=0.1)

    @property
    def codebook(self) -> Codebook:
        """The tokenizer's codes, where this module is."""
        return Codebook(self.table, self.levels)

    def forward(self, codes: Tensor) -> Tensor:
        """(B, K, H, W) indices → (B, K, D, H, W) vectors."""
        return rearrange(torch.cat([self.table[codes], self.learned(codes)], -1), "b k h w d -> b k d h w")


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
            nn.Conv2d(2 * shape.vector, width, 3, padding=1), nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1), nn.GELU(),
        )
        self.attention = nn.Conv2d(width, self.frames, 1)
        self.place = nn.Conv2d(width, self.frames * COORDINATES, 1)
        self.look = nn.Conv2d(width, LOOK_WIDTH, 1)
        centres = functional.pad(cell_centres(rows, columns, *IMAGE_EDGES), (0, 1))  # (H W, 3), no size of their own
        self.register_buffer("centres", centres, persistent=False)

    def forward(self, coordinates: Tensor, codes: Tensor, path: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, K, D, H, W) → path (B, K · frames, 3) and look (B, K, L).

        It reads both anew: the codes, and a path in place of its own, are for a HeadReader.
        """
        batch = len(coordinates)
        before = torch.cat([torch.zeros_like(coordinates[:, :1]), coordinates[:, :-1]], 1)
        both = rearrange([before, coordinates], "p b k d h w -> (b k) (p d) h w")
        features = self.body(both)
        weights = rearrange(self.attention(features), "n f h w -> n f (h w)").softmax(-1)
        place = rearrange(self.place(features), "n (f c) h w -> n f c (h w)", c=COORDINATES)
        path = expected_places(weights, (place + self.centres.T).mT)
        look = torch.einsum("ns,nls->nl", weights.mean(1), self.look(features).flatten(2))
        return (
            rearrange(path, "(b k) f c -> b (k f) c", b=batch), rearrange(look, "(b k) l -> b k l", b=batch)
        )


class HeadReader(nn.Module):
    """The same by a trained position head, which stays as it is: the path is its, only the look is learned.

    A slice's look is that of the cells around the ball, as far as its radius reaches and one cell more.
    """

    centres: Tensor

    def __init__(self, shape: PredictorShape, head: PositionHead) -> None:
        super().__init__()
        self.head = head.requires_grad_(False)
        self.frames, (_, rows, columns) = shape.slice_frames, shape.grid
        self.middle, self.quarter = head.camera.centre, shape.image_size / 4
        self.smallest = shape.image_size / 16  # px, the radius whose path coordinate is 0
        self.body = nn.Sequential(nn.Conv2d(shape.vector, shape.width, 3, padding=1), nn.GELU())
        self.look = nn.Conv2d(shape.width, LOOK_WIDTH, 1)
        self.register_buffer("centres", cell_centres(rows, columns, *IMAGE_EDGES), persistent=False)  # (H W, 2)
        self.cell_width = (IMAGE_EDGES[1] - IMAGE_EDGES[0]) / columns  # in path coordinates

    @torch.no_grad()
    def path(self, codes: Tensor) -> Tensor:
        """(B, K, H, W) → (B, K · frames, 3). No slice is told of a later one."""
        seen = self.head.eval()(codes)  # u, v in pixels, log radius
        size = RADIUS_GAIN * (seen[..., 2:] - math.log(self.smallest))
        return torch.cat([(seen[..., :2] - self.middle) / self.quarter, size], -1)

    def forward(self, coordinates: Tensor, codes: Tensor, path: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, K, D, H, W) and codes (B, K, H, W) → path (B, K · frames, 3) and look (B, K, L).

        `path`: taken in place of what the head reads, if given.
        """
        batch = len(codes)
        path = self.path(codes) if path is None else path
        features = self.look(self.body(rearrange(coordinates, "b k d h w -> (b k) d h w"))).flatten(2)
        each = rearrange(path, "b (k f) c -> (b k) f c", f=self.frames)
        away = torch.cdist(each[..., :2], self.centres.expand(len(each), -1, -1)) / self.cell_width  # (B K, F, H W)
        reach = torch.exp(each[..., 2:] / RADIUS_GAIN) * self.smallest / self.quarter / self.cell_width + 1
        weights = (-((away / reach) ** 2)).softmax(-1).mean(1)
        look = torch.einsum("ns,nls->nl", weights, features)
        return path, rearrange(look, "(b k) l -> b k l", b=batch)


class SliceWriter(nn.Module):
    """What every token shows in the slice where the ball takes a given path, and the levels that say so.

    A code's parts are decided in turn, each with the levels of those before it known.
    """

    centres: Tensor

    def __init__(self, shape: PredictorShape) -> None:
        super().__init__()
        _, rows, columns = shape.grid
        width, frames = 2 * shape.width, shape.slice_frames
        self.from_codes = nn.Conv2d(shape.vector, width, 3, padding=1)
        self.from_path = nn.Linear(5 * (frames + 1) + LOOK_WIDTH, width)
        self.cell = nn.Parameter(torch.zeros(rows, columns, width))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(width)
        self.known = nn.ModuleList(nn.Embedding(levels, width) for levels in shape.levels[:-1])
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, levels)) for levels in shape.levels
        )
        centres = cell_centres(rows, columns, *IMAGE_EDGES).unflatten(0, (rows, columns))
        self.register_buffer("centres", centres, persistent=False)  # (H, W, 2)
        self.cell_width = 4.0 / columns  # in path coordinates

    def forward(self, before: Tensor, path: Tensor, look: Tensor) -> Tensor:
        """before (B, D, H, W), path (B, 1 + frames, 3) from the last past frame on, look (B, L) → (B, H, W, width)."""
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
        shown: Tensor = self.norm(hidden)
        return shown

    def logits(self, shown: Tensor, digits: Tensor) -> list[Tensor]:
        """Of each part's levels, the right ones (..., parts) of those before it being known: (..., levels) each."""
        found = []
        for part, head in enumerate(self.parts):
            found.append(head(shown))
            if part < len(self.known):
                shown = shown + self.known[part](digits[..., part])
        return found

    def choose(self, shown: Tensor) -> Tensor:
        """The most probable level of each part, those before it being chosen: (..., width) → (..., parts) int64."""
        chosen = []
        for part, head in enumerate(self.parts):
            chosen.append(head(shown).argmax(-1))
            if part < len(self.known):
                shown = shown + self.known[part](chosen[-1])
        return torch.stack(chosen, -1)


class Translator(nn.Module):
    """Reader and writer, trained side by side: codes to path, path to codes."""

    def __init__(self, shape: PredictorShape, codebook: Codebook, head: PositionHead | None = None) -> None:
        super().__init__()
        self.vectors = CodeVectors(codebook)
        self.reader = PathReader(shape) if head is None else HeadReader(shape, head)
        self.writer = SliceWriter(shape)

    def forward(self, codes: Tensor, path: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Read all slices (B, K, H, W); write slice `target` (B,) where `path` (B, 1 + frames, 3) says.

        The path that was read, and the logits of each part of the codes, the parts before it being as `digits`
        (B, H, W, parts) say. The writer sees the slice before the target and the look of the slices before it.
        """
        coordinates = self.vectors(codes)
        found, look = self.reader(coordinates, codes)
        row = torch.arange(len(coordinates), device=coordinates.device)
        earlier = torch.arange(coordinates.shape[1], device=coordinates.device) < target[:, None]  # (B, K)
        look = (look * earlier[..., None]).sum(1) / earlier.sum(1, keepdim=True)
        return found, self.writer.logits(self.writer(coordinates[row, target - 1], path, look), digits)


class FilterBank(nn.Module):
    """The next frames of a path as a mixture of linear filters over the past ones.

    Filters start as least-squares fits: lines, parabolas and circles of several periods over several windows.
    """

    def __init__(self, width: int, filters: int, past: int, frames: int) -> None:
        """`width` of the hidden state that steers the mixture; `past` frames are seen, `frames` come next."""
        super().__init__()
        starts = [torch.from_numpy(carry_on_matrix(index, past, frames)).float() for index in range(filters)]
        bank = torch.stack(starts)  # (filters, frames, past)
        self.filters = nn.Parameter(bank + 0.02 * torch.randn_like(bank))
        self.steer = _quiet(nn.Linear(width, COORDINATES * (filters + frames)))

    def forward(self, path: Tensor, hidden: Tensor) -> Tensor:
        """path (B, P, 3), hidden (B, width) → (B, frames, 3); steered by zeros it is the mean filter."""
        count, frames, _ = self.filters.shape
        steering = self.steer(hidden)
        weights = rearrange(steering[:, : COORDINATES * count], "b (c k) -> b c k", c=COORDINATES) + 1 / count
        rest = rearrange(steering[:, COORDINATES * count :], "b (f c) -> b f c", f=frames)
        last = path[:, -1:]
        ahead = torch.einsum("kfp,bpc->bkfc", self.filters, path - last)
        carried: Tensor = last + torch.einsum("bck,bkfc->bfc", weights, ahead) + RESIDUAL_GAIN * rest
        return carried


class PathShape(nn.Module):
    """The form of a path up to the end of each slice: coefficients of orthogonal polynomials, each of order one.

    The bend of a path is a hundredth of its place; only with both brought to one size does a network learn from both.
    """

    spread: Tensor

    def __init__(self, shape: PredictorShape) -> None:
        super().__init__()
        self.frames, longest = shape.slice_frames, shape.slices - 1
        self.register_buffer("spread", torch.ones(longest, DEGREES, COORDINATES))
        for slices in range(1, longest + 1):
            basis = polynomial_basis(DEGREES, slices * self.frames)
            self.register_buffer(f"basis_{slices}", torch.from_numpy(basis).float(), persistent=False)

    def coefficients(self, path: Tensor) -> Tensor:
        """(B, P, 3) → (B, P / frames, DEGREES, 3): of all frames up to the end of each slice."""
        slices = range(1, path.shape[1] // self.frames + 1)
        seen = [(getattr(self, f"basis_{count}"), path[:, : count * self.frames]) for count in slices]
        return torch.stack([torch.einsum("dp,bpc->bdc", *each) for each in seen], 1)

    def measure(self, path: Tensor) -> None:
        """Take the spread of the coefficients from these paths (B, (slices − 1) · frames, 3)."""
        self.spread.copy_(self.coefficients(path.to(self.spread.device)).std(0).clamp(min=1e-3))

    def forward(self, path: Tensor) -> Tensor:
        """(B, P, 3) → (B, K, DEGREES · 3)."""
        found = self.coefficients(path)
        return (found / self.spread[: found.shape[1]]).flatten(2)


class Dynamics(nn.Module):
    """A path carried on by one time slice: a causal network over the slices so far that steers a filter bank.

    There is a bank for each number of slices that may be given.
    """

    def __init__(self, shape: PredictorShape, width: int) -> None:
        super().__init__()
        self.frames, self.prefixes = shape.slice_frames, shape.prefixes
        self.form, self.features = PathShape(shape), DEGREES * COORDINATES
        self.banks = nn.ModuleList(
            FilterBank(width, shape.filters, slices * shape.slice_frames, shape.slice_frames)
            for slices in shape.prefixes
        )

    def forward(self, path: Tensor) -> Tensor:
        """The next slice after each number of slices that may be given, of those that the path holds.

        Path (B, P, 3) → (B, prefixes, frames, 3); the last of them carries on the whole path.
        """
        hidden = self.read(self.form(path))
        given = [slices for slices in self.prefixes if slices <= hidden.shape[1]]
        ahead = [
            bank(path[:, : slices * self.frames], hidden[:, slices - 1])
            for slices, bank in zip(given, self.banks, strict=False)
        ]
        return torch.stack(ahead, 1)

    def read(self, features: Tensor) -> Tensor:
        """(B, K, features) → (B, K, width); no slice is told of a later one."""
        raise NotImplementedError

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Those for Muon: inside the network, not the maps into it and out of it, nor the bank.

        Nor those of an LSTM: for its four gates together the orthogonalising takes longer than all the rest.
        """
        inside = ("layers.", "out.")
        return [each for name, each in self.named_parameters() if name.startswith(inside) and each.ndim == 2]


class LstmDynamics(Dynamics):
    """Two layers of LSTM (Hochreiter and Schmidhuber 1997) over the slices so far."""

    def __init__(self, shape: PredictorShape) -> None:
        width = shape.lstm_width
        super().__init__(shape, width)
        self.into = nn.Linear(self.features, width)
        self.lstm = nn.LSTM(width, width, 2, batch_first=True)
        self.out = nn.Sequential(nn.Linear(width, width), nn.GELU())

    def read(self, features: Tensor) -> Tensor:
        hidden, _ = self.lstm(functional.gelu(self.into(features)))
        result: Tensor = self.out(hidden)
        return result


class TransformerDynamics(Dynamics):
    """Causal transformer (Vaswani et al. 2017), pre-norm, two layers, over the slices so far."""

    mask: Tensor

    def __init__(self, shape: PredictorShape) -> None:
        width, longest = shape.transformer_width, shape.slices - 1
        super().__init__(shape, width)
        self.into = nn.Linear(self.features, width)
        self.position = nn.Parameter(0.02 * torch.randn(longest, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        mask = nn.Transformer.generate_square_subsequent_mask(longest)
        self.register_buffer("mask", mask, persistent=False)

    def read(self, features: Tensor) -> Tensor:
        count = features.shape[1]
        hidden = self.into(features) + self.position[:count]
        result: Tensor = self.layers(hidden, mask=self.mask[:count, :count], is_causal=True)
        return result


DYNAMICS: dict[str, Callable[[PredictorShape], Dynamics]] = {"lstm": LstmDynamics, "transformer": TransformerDynamics}


class Predictor(nn.Module):
    """All models of DYNAMICS behind one reader and one writer; codes in, codes out."""

    def __init__(self, shape: PredictorShape, codebook: Codebook, head: PositionHead | None = None) -> None:
        """`head`: a trained position head on the same codes, which then reads the past; it is saved with the rest."""
        super().__init__()
        self.shape = shape
        self.translator = Translator(shape, codebook, head)
        self.dynamics = nn.ModuleDict({name: build(shape) for name, build in DYNAMICS.items()})
        self.tokenizer_hash, self.best = "", next(iter(DYNAMICS))

    @property
    def codebook(self) -> Codebook:
        """The tokenizer's codes."""
        return self.translator.vectors.codebook

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.translator.vectors.table.device

    def forward(self, codes: Tensor, model: str | None = None) -> Tensor:
        """Codes so far (B, K, H, W) int64 → the next slice (B, 1, H, W) int64, by the named model or the best one."""
        coordinates, path, look = self.read(codes)
        ahead = self.dynamics[model or self.best](path)[:, -1]
        shown = self.translator.writer(coordinates[:, -1], torch.cat([path[:, -1:], ahead], 1), look.mean(1))
        return self.codebook.codes_of(self.translator.writer.choose(shown))[:, None]

    def read(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes (B, K, H, W) → their vectors (B, K, D, H, W), the ball's path (B, K · frames, 3) and look (B, K, L)."""
        coordinates = self.translator.vectors(codes)
        path, look = self.translator.reader(coordinates, codes)
        return coordinates, path, look

    @torch.no_grad()
    def paths(self, codes: np.ndarray, model: str | None = None, batch_size: int = 256) -> tuple[Tensor, Tensor]:
        """Codes (N, K, H, W) → the path that is read in them (N, K · frames, 3) and its next slice (N, frames, 3).

        Both in path coordinates (`kinetoken.scenes.paths`), before anything is written as codes.
        """
        seen, ahead = [], []
        for rows in index_batches(len(codes), batch_size):
            _, path, _ = self.read(torch.from_numpy(codes[rows].astype(np.int64)).to(self.device))
            seen.append(path)
            ahead.append(self.dynamics[model or self.best](path)[:, -1])
        return torch.cat(seen).cpu(), torch.cat(ahead).cpu()

    @torch.no_grad()
    def predict(
        self, codes: np.ndarray, model: str | None = None, slices: int | None = None, batch_size: int = 256
    ) -> np.ndarray:
        """Codes so far (N, K, H, W) int → the next `slices` of them (N, slices, H, W) int32, each from all before it.

        As many as were trained for if not told. Raises UserError for a grid other than the predictor's, or more or
        fewer slices, given and asked for, than it was trained for.
        """
        shape, given = self.shape, codes.shape[1]
        slices = shape.future_slices if slices is None else slices
        if codes.shape[2:] != shape.grid[1:] or given < shape.past_slices or given + slices > shape.slices:
            raise UserError(
                f"predictor reads {shape.past_slices} to {shape.slices - 1} slices of {shape.grid[1:]} codes and goes "
                f"on to slice {shape.slices}; found {codes.shape[1:]}, {slices} more asked for"
            )
        start = torch.from_numpy(codes.astype(np.int64)).to(self.device)
        parts = []
        for rows in index_batches(len(codes), batch_size):
            whole = start[torch.from_numpy(rows)]
            for _ in range(slices):
                whole = torch.cat([whole, self(whole, model)], 1)
            parts.append(whole[:, given:])
        return torch.cat(parts).cpu().numpy().astype(np.int32)

    def save(self, folder: Path) -> None:
        """The model folder, all models in one."""
        reader = self.translator.reader
        config = {
            "shape": dataclasses.asdict(self.shape), "tokenizer": self.tokenizer_hash, "best": self.best,
            "position": reader.head.rebuilt_from if isinstance(reader, HeadReader) else None,
        }
        save_model(folder, self, {**config, "models": sorted(DYNAMICS)})


def load_predictor(folder: Path | str) -> Predictor:
    """The predictor in eval mode; UserError if the folder is no predictor."""
    folder = Path(folder)
    with rebuilding(folder) as config:
        try:
            fields: dict[str, Any] = config["shape"]
            shape = PredictorShape(**{**fields, "grid": tuple(fields["grid"]), "levels": tuple(fields["levels"])})
        except (KeyError, TypeError):
            raise UserError(f"{folder}: not a predictor (config.json has no fitting 'shape')") from None
        head = config.get("position")
        predictor = Predictor(shape, Codebook.unfilled(shape), None if head is None else position_head_of(head))
        load_weights(folder, predictor)
        predictor.tokenizer_hash, predictor.best = config["tokenizer"], config["best"]
    return predictor


def _quiet(layer: nn.Linear) -> nn.Linear:
    """Start near zero output, so that training begins at the mean filter."""
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.zero_()
    return layer
