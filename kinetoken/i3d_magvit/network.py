"""Two streams, one of frames through a video network and one of MAGVIT tokens, read step by step by a transformer.

Frames → backbone (I3D by default) → one vector a step → compressed by a vector quantizer. Tokens of the same
slices → where the ball is in each frame, by a trained position head if there is one, and its look. Both, step by step,
and the form of the path so far → transformer → an embedding, from which come the class and the future: the ball's
place in the frames to come, and their MAGVIT tokens.

The network is given either a whole clip or its past alone. Within what it is given every step may look at every
other one, so a forecast is made from the past alone by giving nothing else.
"""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional

from kinetoken.backbones.backbone import averaged_down
from kinetoken.backbones.build import build_backbone
from kinetoken.backbones.loading import LoadReport
from kinetoken.core.artifacts import load_weights, rebuilding, save_model
from kinetoken.core.errors import UserError
from kinetoken.core.params import build
from kinetoken.heads.position import PositionHead, position_head_of
from kinetoken.i3d_magvit.compression import FeatureQuantizer
from kinetoken.i3d_magvit.params import I3DMagvitParams
from kinetoken.prediction.network import (
    DEGREES,
    LOOK_WIDTH,
    CodeVectors,
    FilterBank,
    HeadReader,
    PathReader,
    PathShape,
    PredictorShape,
    SliceWriter,
)
from kinetoken.scenes.paths import COORDINATES
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.training.loop import index_batches

READING_BATCH = 256
FORM_BOUND = 4.0  # of a path's form; early in training what is read off codes has any form at all


@dataclasses.dataclass(frozen=True)
class I3DMagvitShape:
    """What clips and codes are like; with the params, enough to rebuild the network before its weights are loaded."""

    classes: tuple[str, ...]
    frames: int
    image_size: int
    grid: tuple[int, int, int]  # of a whole clip's codes
    levels: tuple[int, ...]  # choices of each part of a code; (codebook size,) for a quantizer without levels
    codebook_size: int
    coordinates: int  # length of a code's vector

    @property
    def slice_frames(self) -> int:
        return self.frames // self.grid[0]


@dataclasses.dataclass
class JointOutput:
    """What the network makes of B clips of T frames; path coordinates are those of kinetoken.scenes.paths."""

    logits: Tensor  # (B, classes)
    embedding: Tensor  # (B, E)
    path: Tensor  # (B, T, 3) where the ball is in each frame given
    located: Tensor | None  # (L, T, 3) as the frames alone tell it, of the L clips looked at
    ahead: Tensor | None  # (B, F, 3) and in the frames to come, if what was given is the past
    compression: Tensor  # () loss of compressing the features


class I3DMagvit(nn.Module):
    """clips and their codes → class, embedding, the ball's path, and its future."""

    def __init__(
        self, params: I3DMagvitParams, shape: I3DMagvitShape, codebook: Codebook, head: PositionHead | None = None
    ) -> None:
        """`head`: a trained position head on the same codes, which then reads them; it is saved with the rest.

        Raises UserError for sizes that do not fit together.
        """
        super().__init__()
        self.params, self.shape = params, shape
        self.tokenizer_hash = ""
        past = params.forecast.past_slices
        if not 1 <= past < shape.grid[0]:
            raise UserError(f"train_i3d_magvit.forecast.past_slices: {past} of {shape.grid[0]} slices leave no future")
        self.past_slices, self.past_frames = past, past * shape.slice_frames
        require_fitting(shape.image_size, params.backbone.image_size)
        if params.backbone.frames != shape.frames:
            raise UserError(
                f"train_i3d_magvit.backbone.frames: {params.backbone.frames}, but the clips have {shape.frames}"
            )
        self.backbone, self.loaded = build_backbone(params.backbone)
        self.steps = self._steps()  # of a slice
        if params.frozen:
            self.backbone.requires_grad_(False)
        self.compress = FeatureQuantizer(self.backbone.feature_size, params.compression)
        told = self._predictor_shape()
        self.vectors = CodeVectors(codebook)
        self.reader = _reader(told, head) if params.tokens else None
        self.locate = nn.Linear(params.compression.size, shape.slice_frames // self.steps * COORDINATES)
        self.form = PathShape(told)
        of_slice = (DEGREES + shape.slice_frames) * COORDINATES + (LOOK_WIDTH if params.tokens else 0)
        joined = params.compression.size + of_slice
        width, temporal = params.temporal.width, params.temporal
        longest = shape.grid[0] * self.steps
        # a matrix for each step: what bends a path is the difference of steps, and one matrix for all would hide it
        self.join = nn.Parameter(torch.randn(longest, joined, width) / (joined * longest) ** 0.5)
        # frames begin with no say beside tokens (ReZero, Bachlechner et al. 2020, arXiv:2003.04887): few clips are
        # looked at, and what features add at random is harm
        self.say = nn.Parameter(torch.tensor(0.0 if params.tokens else 1.0), requires_grad=params.tokens)
        self.place = nn.Parameter(0.02 * torch.randn(longest, width))
        self.unseen = nn.Parameter(torch.zeros(params.compression.size))  # in place of features not looked at
        self.plain = nn.Parameter(torch.zeros(LOOK_WIDTH))  # look of a path that was drawn and has no codes
        layer = nn.TransformerEncoderLayer(
            width, temporal.heads, 4 * width, dropout=params.dropout, activation="gelu", batch_first=True,
            norm_first=True,
        )
        self.layers = (
            nn.TransformerEncoder(layer, temporal.layers, enable_nested_tensor=False)
            if temporal.kind == "transformer" else None
        )
        self.embed = nn.Sequential(nn.GELU(), nn.Linear(width, params.embedding))
        self.classify = nn.Sequential(
            nn.GELU(), nn.Dropout(params.dropout), nn.Linear(params.embedding, params.hidden), nn.GELU(),
            nn.Dropout(params.dropout), nn.Linear(params.hidden, len(shape.classes)),
        )
        self.foretell = FilterBank(params.embedding, params.forecast.filters, self.past_frames, shape.slice_frames)
        self.look, self.writer = nn.Linear(params.embedding, LOOK_WIDTH), SliceWriter(told)
        unread: list[Tensor] = [] if params.video_share < 1 else [self.unseen]
        unread += [] if params.tokens else [self.vectors.learned.weight, self.writer.from_codes.weight]
        unread += [] if isinstance(self.reader, HeadReader) and params.drawn else [self.plain]
        for weights in unread:
            weights.requires_grad_(False)

    def _steps(self) -> int:
        """Steps of the backbone in one slice of tokens, the same for the past and the whole clip."""
        name, slices = self.params.backbone.name, self.shape.grid[0]
        for count in (slices, self.past_slices):
            frames = count * self.shape.slice_frames
            steps = self.backbone.steps(frames)
            if steps % count or self.shape.slice_frames % max(steps // count, 1) or not steps:
                raise UserError(
                    f"train_i3d_magvit.backbone: {name} makes {steps} steps of {frames} frames, which do not go evenly "
                    f"into {count} slices of tokens"
                )
        return self.backbone.steps(self.shape.frames) // slices

    def _predictor_shape(self) -> PredictorShape:
        """What the parts that are the predictor's are told; of it they read grid, levels, frames, and width."""
        shape, forecast = self.shape, self.params.forecast
        return PredictorShape(
            grid=shape.grid, levels=shape.levels, coordinates=shape.coordinates, codebook_size=shape.codebook_size,
            past_slices=shape.grid[0], slice_frames=shape.slice_frames, image_size=shape.image_size,
            width=forecast.width, filters=forecast.filters, lstm_width=1, transformer_width=8,
        )

    @property
    def codebook(self) -> Codebook:
        """The tokenizer's codes."""
        return self.vectors.codebook

    def train(self, mode: bool = True) -> "I3DMagvit":
        """As every module; a frozen backbone stays as it came, its running statistics too."""
        super().train(mode)
        if self.params.frozen:
            self.backbone.eval()
        return self

    def forward(
        self, whole: Tensor, pasts: Tensor, codes: Tensor, path: Tensor | None = None, drawn: Tensor | None = None
    ) -> tuple[JointOutput, JointOutput]:
        """Clips with codes (B, K, H', W') int64 in training: what is made of each whole, and of its past alone.

        Frames are looked at of part of them: `whole` (W, T, H, W, 3) uint8 are those of the first clips, `pasts`
        (P, past frames, H, W, 3) those of the last clips' pasts; what others would say is left open. `path` (B, T, 3)
        stands in place of what a position head reads in these codes; `drawn` (M, T, 3): what it might read of M more
        clips, which come after the others.
        """
        looked = [self._features(whole), self._features(pasts)]
        sizes = [each.shape[0] * each.shape[1] for each in looked]
        narrow, loss = self.compress(torch.cat([each.flatten(0, 1) for each in looked])[None])
        first, last = (
            rearrange(each, "(b k) f -> b k f", b=len(clips))
            for each, clips in zip(narrow[0].split(sizes), looked, strict=True)
        )
        batch, past = len(codes), self.past_slices
        read = self._read(codes, path)
        more = 0 if drawn is None else len(drawn)
        if drawn is not None:
            assert read is not None
            look = self.plain.expand(more, codes.shape[1], -1)
            read = torch.cat([read[0], drawn]), torch.cat([read[1], look])
        before = None if read is None else (read[0][:, : self.past_frames], read[1][:, :past])
        opened = self._open(batch + more - len(first), codes.shape[1]), self._open(batch - len(last), past)
        return (
            self._seen(torch.cat([first, opened[0]]), read, self._located(first), loss),
            self._seen(torch.cat([opened[1], last, self._open(more, past)]), before, self._located(last), loss),
        )

    def see(self, clips: Tensor | None, codes: Tensor) -> JointOutput:
        """clips (B, T, H, W, 3) uint8 and their codes (B, K, H', W') int64, both whole or both the past alone.

        With no clips what the frames would say is left open, as for part of the clips in training.
        """
        if clips is None:
            compressed = self._open(len(codes), codes.shape[1])
            return self._seen(compressed, self._read(codes), None, compressed.new_zeros(()))
        compressed, loss = self.compress(self._features(clips))  # (B, K S, size)
        return self._seen(compressed, self._read(codes), self._located(compressed), loss)

    def _open(self, clips: int, slices: int) -> Tensor:
        """What stands for frames not looked at: (B, K S, size)."""
        return self.unseen.expand(clips, slices * self.steps, -1)

    def _located(self, compressed: Tensor) -> Tensor:
        """The ball's path as a linear map of the frames' steps (B, K S, size) tells it: (B, T, 3)."""
        path: Tensor = rearrange(self.locate(compressed), "b k (f c) -> b (k f) c", c=COORDINATES)
        return path

    def read_by_head(self, codes: Tensor) -> Tensor | None:
        """The path (N, T, 3) of codes (N, K, H', W') as the position head reads it; None where there is none."""
        if not isinstance(self.reader, HeadReader):
            return None
        device = self.place.device
        parts = [self.reader.path(codes[rows].to(device)).cpu() for rows in index_batches(len(codes), READING_BATCH)]
        return torch.cat(parts)

    def _read(self, codes: Tensor, path: Tensor | None = None) -> tuple[Tensor, Tensor] | None:
        """The ball's path (B, T, 3) and its look (B, K, ·), slice by slice; nothing where tokens are not read."""
        if self.reader is None:
            return None
        found: tuple[Tensor, Tensor] = self.reader(self.vectors(codes), codes, path)
        return found

    def _seen(
        self, compressed: Tensor, read: tuple[Tensor, Tensor] | None, located: Tensor | None, compression: Tensor
    ) -> JointOutput:
        """From the frames' steps (B, K S, size), what the codes say of the same slices, and the path by frames alone.

        Where codes say nothing, that path is the only one. Raises ValueError with neither.
        """
        known: list[Tensor] = []
        if read is not None:
            path = read[0]
            known.append(read[1])
        elif located is not None:
            path = located
        else:
            raise ValueError("neither frames nor codes are read")
        known.append(rearrange(path, "b (k f) c -> b k (f c)", f=self.shape.slice_frames))
        known.append(self.form(path.detach()).clamp(-FORM_BOUND, FORM_BOUND))  # (B, K, ·) each
        slices = repeat(torch.cat(known, -1), "b k f -> b (k s) f", s=self.steps)
        # a step's features weigh as much as one number: at full size they would drown the path, however little they say
        joined = torch.cat([self.say * compressed / self.params.compression.size**0.5, slices], -1)  # (B, K S, ·)
        count = joined.shape[1]
        steps = torch.einsum("bsf,sfw->bsw", joined, self.join[:count]) + self.place[:count]  # (B, K S, width)
        if self.layers is not None:
            steps = self.layers(steps)
        embedding = self.embed(steps.sum(1))
        ahead = self.foretell(path, functional.gelu(embedding)) if path.shape[1] == self.past_frames else None
        return JointOutput(self.classify(embedding), embedding, path, located, ahead, compression)

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Weights between hidden layers: those that Muon trains."""
        inside = [*self.classify[2].parameters(), *(self.layers.parameters() if self.layers is not None else ())]
        return [p for p in inside if p.ndim == 2]

    def _features(self, clips: Tensor) -> Tensor:
        """(B, T, H, W, 3) uint8 → (B, K, C)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.params.frozen):
            return self.backbone.features(averaged_down(clips, self.params.backbone.image_size))

    def written(self, seen: JointOutput, codes: Tensor, path: Tensor) -> Tensor:
        """What every token of the next slice shows: (B, H', W', width).

        codes: of the past (B, K, H', W'); path (B, 1 + frames, 3): from the last frame of the past on.
        """
        before = self.vectors(codes)[:, -1]
        if self.reader is None:  # a network without the tokens' stream is not told of them here either
            before = torch.zeros_like(before)
        shown: Tensor = self.writer(before, path, self.look(functional.gelu(seen.embedding)))
        return shown

    def next_codes(self, seen: JointOutput, codes: Tensor) -> Tensor:
        """The tokens of the slice after the past, where the network foretells the ball: (B, 1, H', W') int64."""
        if seen.ahead is None:
            raise ValueError("a forecast is made from the past alone; a whole clip was given")
        shown = self.written(seen, codes, torch.cat([seen.path[:, -1:], seen.ahead], 1))
        return self.codebook.codes_of(self.writer.choose(shown))[:, None]

    def save(self, folder: Path, trust: dict[str, float] | None = None) -> None:
        """The model folder: weights, and a config that rebuilds the network and says how far to trust its readings."""
        reader = self.reader
        save_model(folder, self, {
            "position": reader.head.rebuilt_from if isinstance(reader, HeadReader) else None,
            "params": dataclasses.asdict(self.params), "shape": dataclasses.asdict(self.shape),
            "tokenizer": self.tokenizer_hash, "backbone": dataclasses.asdict(self.loaded), "trust": trust,
        })


def _reader(shape: PredictorShape, head: PositionHead | None) -> PathReader | HeadReader:
    return PathReader(shape) if head is None else HeadReader(shape, head)


def require_fitting(size: int, wanted: int) -> None:
    """UserError where clips of `size` pixels a side cannot be averaged to `wanted`."""
    if size % wanted:
        raise UserError(f"train_i3d_magvit.backbone.image_size: clips of {size} pixels cannot be averaged to {wanted}")


def load_i3d_magvit(folder: Path | str) -> I3DMagvit:
    """The network in eval mode; UserError if the folder is another kind of model."""
    folder = Path(folder)
    with rebuilding(folder) as config:
        try:
            fields: dict[str, Any] = config["shape"]
            listed = {name: tuple(fields[name]) for name in ("classes", "grid", "levels")}
            shape = I3DMagvitShape(**{**fields, **listed})
            section: dict[str, Any] = config["params"]
            report: dict[str, Any] = config["backbone"]
            loaded = LoadReport(**{**report, "left_out": tuple(report["left_out"])})
            tokenizer = str(config["tokenizer"])
            # its own weights follow: no others are fetched
            backbone = {**section["backbone"], "pretrained": False, "checkpoint": None}
        except (KeyError, TypeError):
            raise UserError(f"{folder}: not a model of train_i3d_magvit (config.json has no fitting 'shape')") from None
        params = build(I3DMagvitParams, {**section, "backbone": backbone}, f"{folder}/config.json: params")
        head = config.get("position")
        network = I3DMagvit(params, shape, Codebook.unfilled(shape), None if head is None else position_head_of(head))
        load_weights(folder, network)
        network.tokenizer_hash, network.loaded = tokenizer, loaded
    return network.eval()
