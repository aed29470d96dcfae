"""Does the candidate persist? Where it is, how it moved, and a logit after every step of time.

Tokens of a step are read by attention over space, with a share for "nowhere": the candidate's place in each frame,
whether it is in sight, and its features. A recurrent cell follows places and steps from frame to frame; attention
over the steps seen so far gives the logit. Everything is causal, and `step` goes on from a state without computing
anything twice.
"""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn

from kinetoken.core.artifacts import load_weights, rebuilding, save_model
from kinetoken.core.errors import UserError
from kinetoken.core.params import build
from kinetoken.layers import cell_centres, expected_places
from kinetoken.persistence.extractors import CELL, Extractor, State, build_extractor
from kinetoken.persistence.params import HeadParams, PersistenceParams
from kinetoken.tokenizer.network import Tokenizer

STEP_PX = 2.0  # about one frame's motion, to scale places by
FAR = 8.0  # in those units: a jump this long is as long as any
FEATURES = 13  # of a frame, of how the candidate moved


@dataclasses.dataclass
class TokenReadout:
    """What is read of each step: B clips, S steps, T = S × stride frames."""

    content: Tensor  # (B, S, channels)
    place: Tensor  # (B, T, 2) px, u and v
    presence: Tensor  # (B, T) logits
    attention: Tensor  # (B, S, heads, cells), the rest of 1 being nowhere


@dataclasses.dataclass
class DetectorOutput:
    """What the network says: B clips, S steps."""

    logits: Tensor  # (B, S), of persistent
    seen: TokenReadout
    over_time: Tensor  # (B, heads, S, S): row k weighs the steps 0 … k


class Reader(nn.Module):
    """Attention over space with learned queries: tokens (B, S, cells, C) → TokenReadout."""

    centre: Tensor

    def __init__(self, channels: int, heads: int, stride: int, side: int) -> None:
        super().__init__()
        self.heads, self.stride = heads, stride
        self.score, self.nowhere = nn.Linear(channels, heads), nn.Parameter(torch.zeros(heads, 1))
        self.value = nn.Linear(channels, heads * (channels // heads))
        last = nn.Linear(channels, 2 * stride)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.offset = nn.Sequential(nn.Linear(channels, channels), nn.GELU(), last)
        self.presence = nn.Linear(channels, stride)
        centre = cell_centres(side, side, -0.5, CELL * side - 0.5)[:, None]  # (cells, 1, 2) px
        self.register_buffer("centre", centre, persistent=False)

    @property
    def size(self) -> int:
        """Of `content`."""
        return self.value.out_features

    def forward(self, tokens: Tensor) -> TokenReadout:
        scores = self.score(tokens).transpose(2, 3)  # (B, S, heads, cells)
        nowhere = self.nowhere.expand(*scores.shape[:3], 1)
        attention = torch.cat([scores, nowhere], -1).softmax(-1)[..., :-1]
        values = self.value(tokens).unflatten(-1, (self.heads, -1))  # (B, S, cells, heads, c)
        content = torch.einsum("bshn,bsnhc->bshc", attention, values).flatten(2)
        mean = attention.mean(2)  # (B, S, cells)
        mean = mean / (mean.sum(-1, keepdim=True) + 1e-6)
        places = self.centre + CELL * self.offset(tokens).unflatten(-1, (self.stride, 2))  # (B, S, cells, stride, 2)
        place = expected_places(mean[:, :, None], places.flatten(3))  # (B, S, 1, 2 stride)
        return TokenReadout(
            content, place.unflatten(-1, (self.stride, 2)).flatten(1, 3),
            torch.einsum("bsn,bsnf->bsf", mean, self.presence(tokens)).flatten(1, 2), attention,
        )


@dataclasses.dataclass
class HeadState:
    """What the head carries: the last two frames' places and presences, the recurrent state, the steps so far."""

    place: Tensor  # (B, 2, 2)
    presence: Tensor  # (B, 2)
    recurrent: Tensor  # (1, B, width)
    memory: Tensor  # (B, S, width): normalised, of the steps so far


class DecisionHead(nn.Module):
    """TokenReadout → a logit a step."""

    def __init__(self, size: int, params: HeadParams, stride: int) -> None:
        super().__init__()
        self.stride, width = stride, params.width
        self.enter = nn.Sequential(nn.Linear(FEATURES, width), nn.GELU(), nn.Linear(width, width))
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.content = nn.Linear(size, width)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, params.heads, batch_first=True)
        self.leave = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1)
        )

    def forward(self, seen: TokenReadout, state: HeadState | None = None) -> tuple[Tensor, Tensor, HeadState]:
        """→ logits (B, S), weights (B, heads, S, S') over the steps since the beginning, and the state after."""
        b = len(seen.place)
        if state is None:
            before, absent = seen.place.new_zeros(b, 2, 2), seen.presence.new_full((b, 2), -torch.inf)
            past, hidden = seen.place.new_zeros(b, 0, self.norm.normalized_shape[0]), None
        else:
            before, absent, past, hidden = state.place, state.presence, state.memory, state.recurrent
        place = torch.cat([before, seen.place], 1)
        presence = torch.cat([absent, seen.presence], 1)
        followed, hidden = self.recurrent(self.enter(motion_features(place, presence.sigmoid())), hidden)
        step = followed[:, self.stride - 1 :: self.stride] + self.content(seen.content)
        asked = self.norm(step)
        memory = torch.cat([past, asked], 1)
        steps, known = asked.shape[1], memory.shape[1]
        later = torch.ones(steps, known, dtype=torch.bool, device=asked.device).triu(known - steps + 1)
        gathered, weights = self.attention(asked, memory, memory, attn_mask=later, average_attn_weights=False)
        logits = self.leave(torch.cat([step, gathered], -1)).squeeze(-1)
        return logits, weights, HeadState(place[:, -2:], presence[:, -2:], hidden, memory)


def motion_features(place: Tensor, presence: Tensor) -> Tensor:
    """places (B, 2 + T, 2) px and presences (B, 2 + T) in [0, 1] → (B, T, 13): first and second differences.

    Each difference counts as far as all its frames have the candidate in sight.
    """
    unit = place / STEP_PX
    here = presence[:, 2:, None]
    two = here * presence[:, 1:-1, None]
    three = two * presence[:, :-2, None]
    moved = (unit[:, 1:] - unit[:, :-1]).clamp(-FAR, FAR)
    turned = (moved[:, 1:] - moved[:, :-1]).clamp(-FAR, FAR)
    moved = moved[:, 1:]
    fast, rough = moved.square().sum(-1, keepdim=True), turned.square().sum(-1, keepdim=True)
    return torch.cat([
        here, two, three, two * moved, three * turned, two * fast.clamp(max=2 * FAR), three * rough.clamp(max=2 * FAR),
        two * (fast + 0.02).log(), three * (rough + 0.02).log(), unit[:, 2:] / 10 - 1.6,
    ], -1)


class PersistenceNetwork(nn.Module):
    """An extractor, the reader of its tokens and the head."""

    def __init__(self, extractor: Extractor, params: HeadParams) -> None:
        super().__init__()
        self.extractor = extractor
        self.reader = Reader(extractor.channels, params.heads, extractor.stride, extractor.side)
        self.head = DecisionHead(self.reader.size, params, extractor.stride)

    @property
    def stride(self) -> int:
        """Frames in a step."""
        return self.extractor.stride

    def forward(self, kept: Tensor) -> DetectorOutput:
        """What the extractor keeps of whole clips, (B, T / n, ...) → DetectorOutput."""
        seen = self.reader(self.extractor.tokens(kept))
        logits, over_time, _ = self.head(seen)
        return DetectorOutput(logits, seen, over_time)

    def step(
        self, frames: Tensor, state: tuple[State, HeadState] | None
    ) -> tuple[DetectorOutput, tuple[State, HeadState]]:
        """The next `stride` frames (B, stride, H, W, 3) uint8 → the output of one step, and the state for the next."""
        inside, before = state if state is not None else (None, None)
        tokens, inside = self.extractor.step(frames, inside)
        seen = self.reader(tokens[:, None])
        logits, over_time, after = self.head(seen, before)
        return DetectorOutput(logits, seen, over_time), (inside, after)


def build_network(
    name: str, params: PersistenceParams, image_size: int, tokenizer: Tokenizer | None
) -> PersistenceNetwork:
    """The untrained network on one extractor; its weights come from that section's seed.

    UserError for clips that training would cut within one of the extractor's steps.
    """
    torch.manual_seed(params.of(name).seed)
    network = PersistenceNetwork(build_extractor(name, params.of(name), image_size, tokenizer), params.head)
    if params.head.short_frames % network.stride:
        raise UserError(
            f"detect_persistence.head.short_frames: {params.head.short_frames} is no whole number of {name}'s steps of "
            f"{network.stride} frames"
        )
    return network


@dataclasses.dataclass(frozen=True)
class Detector:
    """A trained network, and how its logits become decisions."""

    name: str
    network: PersistenceNetwork
    temperatures: tuple[float, ...]  # of each step; logits are divided by them
    persistent_above: float  # log-odds at or above which it is decided
    transient_below: float  # and at or below which
    num_frames: int  # of a clip, after which the likelier one is decided
    tokenizer: str  # hash of the tokenizer, for magvit; else empty


def save_detector(folder: Path, detector: Detector, params: PersistenceParams, image_size: int) -> None:
    """`model.safetensors` and `config.json`; the tokenizer is not copied, its hash is."""
    save_model(folder, detector.network, {
        "name": detector.name, "image_size": image_size, "params": dataclasses.asdict(params),
        "temperatures": list(detector.temperatures), "persistent_above": detector.persistent_above,
        "transient_below": detector.transient_below, "num_frames": detector.num_frames,
        "tokenizer": detector.tokenizer,
    })


def load_detector(folder: Path | str, tokenizer: Tokenizer | None = None) -> Detector:
    """The detector in eval mode. UserError for another kind of model, or a tokenizer that is missing or another."""
    folder = Path(folder)
    with rebuilding(folder) as config:
        try:
            name, digest = str(config["name"]), str(config["tokenizer"])
            params = build(PersistenceParams, config["params"], f"{folder}/config.json: params")
            decisions = (
                tuple(float(t) for t in config["temperatures"]), float(config["persistent_above"]),
                float(config["transient_below"]), int(config["num_frames"]),
            )
            size = int(config["image_size"])
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{folder}: not a model of detect_persistence, or one that was never calibrated") from None
        if digest and (tokenizer is None or tokenizer.hash != digest):
            found = "none was given" if tokenizer is None else f"{tokenizer.hash[:12]} was given"
            raise UserError(f"{folder}: reads codes of tokenizer {digest[:12]}, {found}")
        network = build_network(name, params, size, tokenizer)
        load_weights(folder, network)
    return Detector(name, network, *decisions, digest)
