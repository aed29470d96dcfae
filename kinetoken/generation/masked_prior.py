"""A masked transformer over codes: what is hidden is filled in, a few patches a step.

Chang et al. (2022, MaskGIT, arXiv:2202.04200), for video Yu et al. (2023, MAGVIT, arXiv:2212.05199): trained to
foretell what is hidden from what is shown, it makes a clip out of nothing when all is hidden, and foretells the
future when that is.

A new clip begins with a plan (see `kinetoken.generation.plan`): where the ball will be and of what colour it is. Each
patch is told where the ball is as seen from it. Without a plan, as for foretelling, the codes shown have to say it all.

A patch is a square of neighbouring tokens of one slice, shown or hidden as a whole. Tokens that show the same
ball are anything but independent, so the codes of a patch are drawn one after another, level by level, by a small
head of its own (Lee et al. 2022, RQ-Transformer, arXiv:2203.01941).
"""

import dataclasses
import math
from typing import Annotated, Literal

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn

from kinetoken.core.errors import UserError
from kinetoken.core.params import Positive, Range
from kinetoken.generation.plan import COLOURS, Plan
from kinetoken.layers import cell_centres
from kinetoken.scenes.paths import IMAGE_EDGES, RADIUS_GAIN
from kinetoken.tokenizer.codebook import Codebook, mixed_radix
from kinetoken.training.loop import index_batches

Codes = NDArray[np.int32]

SAMPLING_BATCH = 240
IMPOSSIBLE = -1e9  # finite, so that guidance may subtract it


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How a clip is filled in; part of section train_generator."""

    steps: Positive  # passes through the network a clip
    order: Literal["unsure", "sure"]  # which patches come first
    temperature: Annotated[float, Range(ge=0, le=2)]  # of each draw; 0 takes the most probable level
    final_temperature: Annotated[float, Range(ge=0, le=2)] = 0.0  # at the last step; linear in between
    guidance: Annotated[float, Range(ge=0, le=10)] = 0.0  # classifier-free: how far beyond the class's own logits
    plan_spread: Annotated[float, Range(gt=0, le=1)]  # of each path component's spread, as much is drawn


@dataclasses.dataclass(frozen=True)
class MaskedShape:
    """What it takes to rebuild a masked prior before its weights are loaded."""

    classes: int
    grid: tuple[int, int, int]
    levels: tuple[int, ...]  # choices of each part of a code; (codebook size,) for a quantizer without levels
    patch: int  # tokens a side
    width: int
    layers: int
    heads: int
    slice_frames: int

    def __post_init__(self) -> None:
        if self.grid[1] % self.patch or self.grid[2] % self.patch:
            raise UserError(f"patch: {self.patch} tokens a side do not divide a grid of {self.grid[1]}×{self.grid[2]}")
        if self.width % self.heads:
            raise UserError(f"width: {self.width} is no multiple of {self.heads} heads")

    @property
    def patches(self) -> tuple[int, int, int]:
        """Slices, rows and columns of patches."""
        return self.grid[0], self.grid[1] // self.patch, self.grid[2] // self.patch

    @property
    def choices(self) -> tuple[int, ...]:
        """How many choices each digit of a patch has; token by token, part by part."""
        return self.levels * self.patch**2


class MaskedPrior(nn.Module):
    """Digits of patches, some of them hidden, and a class → what the hidden ones may be."""

    digits_of_code: Tensor
    code_at: Tensor
    offsets: Tensor

    def __init__(self, shape: MaskedShape, codebook: Codebook) -> None:
        super().__init__()
        self.shape, width, choices = shape, shape.width, shape.choices
        self.register_buffer("digits_of_code", codebook.digits())  # (codebook size, parts)
        self.register_buffer("code_at", codebook.code_at())
        offsets = torch.tensor(np.cumsum([0, *choices[:-1]]))
        self.register_buffer("offsets", offsets, persistent=False)  # of each digit in the embeddings
        self.embed = _ordinal_embedding(choices, width)
        self.hidden = nn.Parameter(0.02 * torch.randn(width))
        self.label = nn.Embedding(shape.classes + 1, width)  # the last is: no class
        nn.init.normal_(self.label.weight, std=0.02)
        self.place = nn.Parameter(0.02 * torch.randn(math.prod(shape.patches), width))
        self.planned = nn.Sequential(nn.Linear(plan_size(shape), width), nn.GELU(), nn.Linear(width, width))
        self.no_plan = nn.Parameter(0.02 * torch.randn(width))
        layer = nn.TransformerEncoderLayer(
            width, shape.heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, shape.layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.marginal = nn.Linear(width, sum(choices))
        self.before = _ordinal_embedding(choices, width)  # digits of the same patch drawn earlier
        self.turn = nn.Parameter(0.02 * torch.randn(len(choices), width))
        self.draw_head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.GELU(),
        )
        self.levels = nn.Parameter(torch.randn(len(choices), max(choices), width) / width**0.5)

    @property
    def no_class(self) -> int:
        return self.shape.classes

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Weights between hidden layers: those that Muon trains."""
        inside = [*self.layers.parameters(), *self.draw_head.parameters()]
        return [p for p in inside if p.ndim == 2]

    def to_patches(self, codes: Tensor) -> Tensor:
        """Codes (B, K, H', W') → digits of their patches (B, P, D) int64."""
        p = self.shape.patch
        digits = self.digits_of_code[codes]  # (B, K, H', W', parts)
        return rearrange(digits, "b k (h p) (w q) d -> b (k h w) (p q d)", p=p, q=p)

    def to_codes(self, digits: Tensor) -> Tensor:
        """The inverse: (B, P, D) → (B, T', H', W') int64."""
        (_, rows, columns), p = self.shape.patches, self.shape.patch
        parted = rearrange(
            digits, "b (k h w) (p q d) -> b k (h p) (w q) d", h=rows, w=columns, p=p, q=p
        )
        return self.code_at[mixed_radix(parted, self.shape.levels)]

    def forward(
        self, digits: Tensor, hidden: Tensor, label: Tensor, plan: Plan | None = None, withheld: Tensor | None = None
    ) -> Tensor:
        """digits (B, P, D), where (B, P) True is hidden, class (B,) → what is known of each patch (B, P, C).

        Clips for which `withheld` (B,) is True get no plan, and none does without one.
        """
        shown = self.embed(digits + self.offsets).sum(-2)
        seen = torch.where(hidden[..., None], self.hidden, shown) + self.place
        told = self.no_plan if plan is None else self.planned(plan_features(plan, self.shape))  # (B, P, C) or (C,)
        if plan is not None and withheld is not None:
            told = torch.where(withheld[:, None, None], self.no_plan, told)
        known: Tensor = self.layers(seen + told + self.label(label)[:, None])
        return known

    def digit_logits(self, known: Tensor, digits: Tensor) -> Tensor:
        """known (M, C) of patches, digits (M, D) → logits (M, D, L) of each given those before it in its patch."""
        before = self.before(digits + self.offsets).cumsum(1)
        before = nn.functional.pad(before, (0, 0, 1, 0))[:, :-1]
        return self._logits(known[:, None] + before + self.turn, slice(None))

    def _logits(self, state: Tensor, turn: slice) -> Tensor:
        """state (M, d, C) for the digits `turn` → (M, d, L); choices that a digit lacks are impossible."""
        logits = torch.einsum("mdc,dlc->mdl", self.draw_head(state), self.levels[turn])
        choices = torch.tensor(self.shape.choices, device=logits.device)[turn]
        lacking = torch.arange(logits.shape[-1], device=logits.device) >= choices[:, None]
        return logits.masked_fill(lacking, IMPOSSIBLE)

    def uncertainty(self, known: Tensor) -> Tensor:
        """(B, P, C) → (B, P): entropy in nats of each digit by itself, added up."""
        parts = torch.split(self.marginal(known), list(self.shape.choices), -1)
        return torch.stack([torch.distributions.Categorical(logits=part).entropy() for part in parts]).sum(0)

    @torch.no_grad()
    def fill(
        self, digits: Tensor, hidden: Tensor, label: Tensor, sampling: SamplingParams, generator: torch.Generator,
        plan: Plan | None = None,
    ) -> Tensor:
        """Draw the hidden patches (B, P), as many in each clip, step by step → (B, P, D) with none hidden.

        `plan` (B clips) says what they are to show. After step s of S a share cos(π/2 · s/S) of the patches is still
        hidden. Which are drawn next depends on how sure the network is of them, never on what was drawn for them.
        """
        digits, hidden = digits.clone(), hidden.clone()
        total = int(hidden[0].sum())
        sign = 1.0 if sampling.order == "unsure" else -1.0
        for step in range(1, sampling.steps + 1):
            left = math.floor(total * math.cos(math.pi / 2 * step / sampling.steps) + 1e-9)
            count = min(int(hidden[0].sum()) - left, int(hidden[0].sum()))
            if not count:
                continue
            known = [self(digits, hidden, label, plan)]
            if sampling.guidance:
                known.append(self(digits, hidden, torch.full_like(label, self.no_class)))
            wish = (sign * self.uncertainty(known[0])).masked_fill(~hidden, -torch.inf)
            chosen = wish.topk(count, dim=1).indices  # (B, count)
            rows = torch.arange(len(digits), device=digits.device)[:, None]
            share = (step - 1) / max(sampling.steps - 1, 1)
            temperature = sampling.temperature + share * (sampling.final_temperature - sampling.temperature)
            states = [rearrange(each[rows, chosen], "b n c -> (b n) c") for each in known]
            drawn = self._draw(states, sampling.guidance, temperature, generator)
            digits[rows, chosen] = rearrange(drawn, "(b n) d -> b n d", n=count)
            hidden[rows, chosen] = False
        return digits

    def _draw(self, states: list[Tensor], guidance: float, temperature: float, generator: torch.Generator) -> Tensor:
        """states (M, C) with the class and, where guided, without → digits (M, D)."""
        known = torch.stack(states)  # (1 or 2, M, C)
        drawn = []
        for turn in range(len(self.shape.choices)):
            state = rearrange(known + self.turn[turn], "s m c -> (s m) 1 c")
            logits = rearrange(self._logits(state, slice(turn, turn + 1)), "(s m) 1 l -> s m l", s=len(states))
            mixed = logits[0] if len(states) == 1 else (1 + guidance) * logits[0] - guidance * logits[1]
            if temperature:
                uniform = torch.rand(mixed.shape, generator=generator).to(mixed.device).clamp_min(1e-20)
                mixed = mixed - temperature * (-uniform.log()).log()  # Gumbel (1954): the largest is a draw
            digit = mixed.argmax(-1)
            known = known + self.before(digit + self.offsets[turn])
            drawn.append(digit)
        return torch.stack(drawn, -1)

    def write(self, plan: Plan, label: int, generator: torch.Generator, sampling: SamplingParams) -> Codes:
        """Clips (N, T', H', W') of the class of index `label` that show what is planned."""
        count = len(plan.path)
        empty = np.zeros((count, 0, *self.shape.grid[1:]), np.int32)
        return self._complete(empty, label, generator, sampling, plan)

    def complete(self, past: Codes, generator: torch.Generator, sampling: SamplingParams) -> Codes:
        """The slices after the past ones (N, K, H', W'), class and plan unknown: whole clips' codes (N, T', H', W')."""
        return self._complete(past, self.no_class, generator, sampling, None)

    def _complete(
        self, past: Codes, label: int, generator: torch.Generator, sampling: SamplingParams, plan: Plan | None
    ) -> Codes:
        device = self.place.device
        slices, rows, columns = self.shape.patches
        parts = []
        for batch in index_batches(len(past), SAMPLING_BATCH):
            index = torch.from_numpy(batch)
            here = None if plan is None else Plan(plan.path[index].to(device), plan.colour[index].to(device))
            digits = torch.zeros(len(batch), slices * rows * columns, len(self.shape.choices), dtype=torch.int64)
            digits, known = digits.to(device), past.shape[1] * rows * columns
            digits[:, :known] = self.to_patches(torch.from_numpy(past[batch].astype(np.int64)).to(device))
            hidden = torch.arange(digits.shape[1], device=device).expand(len(batch), -1) >= known
            labels = torch.full((len(batch),), label, device=device)
            parts.append(self.to_codes(self.fill(digits, hidden, labels, sampling, generator, here)))
        return torch.cat(parts).cpu().numpy().astype(np.int32)


def plan_size(shape: MaskedShape) -> int:
    """How many numbers a patch is told of the plan."""
    return (shape.slice_frames + 1) * (4 * shape.patch**2 + 1) + COLOURS


def plan_features(plan: Plan, shape: MaskedShape) -> Tensor:
    """The plan as seen from each patch: (B, P, plan_size).

    For the frames of its slice and the last one before, the ball's offset from each of its tokens, in tokens, how far
    beyond the ball's edge that is, how near its middle; and its size and colour.
    """
    slices, rows, columns = shape.patches
    frames, p = shape.slice_frames, shape.patch
    path = torch.cat([plan.path[:, :1], plan.path], 1).unfold(1, frames + 1, frames)  # (B, K, 3, F + 1)
    path = rearrange(path, "b k c f -> b k f c")
    centres = cell_centres(*shape.grid[1:], *IMAGE_EDGES, device=path.device)
    centres = centres.unflatten(0, shape.grid[1:])  # (H', W', 2)
    cell = 4.0 / shape.grid[2]
    offset = (path[:, :, :, None, None, :2] - centres) / cell  # (B, K, F + 1, H', W', 2) in tokens
    size = path[..., 2]
    radius = torch.exp(size / RADIUS_GAIN)[..., None, None, None] / 4 / cell  # r0 is a sixteenth of the image
    away = offset.norm(dim=-1, keepdim=True)
    seen = torch.cat([offset.clamp(-3, 3), torch.tanh(away - radius), torch.exp(-(away**2))], -1)
    seen = rearrange(seen, "b k f (h p) (w q) c -> b (k h w) (f p q c)", p=p, q=p)
    common = torch.cat([size, plan.colour[:, None].expand(-1, slices, -1)], -1)  # (B, K, F + 1 + 3)
    return torch.cat([seen, common.repeat_interleave(rows * columns, 1)], -1)


def _ordinal_embedding(choices: tuple[int, ...], width: int) -> nn.Embedding:
    """One row a choice of each digit; neighbouring levels start out alike."""
    table = nn.Embedding(sum(choices), width)
    rows = []
    for count in choices:
        at = torch.linspace(-1, 1, count)[:, None] if count > 1 else torch.zeros(1, 1)
        waves = [torch.cos(math.pi / 2 * k * (at + 1)) @ torch.randn(1, width) / k for k in range(1, 5)]
        rows.append(torch.stack(waves).sum(0) + 0.02 * torch.randn(count, width))
    with torch.no_grad():
        table.weight.copy_(0.3 * torch.cat(rows))
    return table
