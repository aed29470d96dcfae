"""What a clip is going to show, before any of its codes is drawn: the ball's path through it, and its colour.

A clip of 256 tokens is some twenty numbers' worth of motion. A prior that draws these first, and codes that show them
after, needs far less training than one that has to find out from codes alone that there is one ball, that it keeps its
colour and that it moves on smoothly. It is to the codes what a layout is to a picture.
"""

import dataclasses
import math

import torch
from einops import rearrange
from torch import Tensor, nn

from kinetoken.generation.judging import BallTracks
from kinetoken.scenes.paths import to_path_coordinates
from kinetoken.training.loop import Batch

COLOURS = 3
HEADS = 4
LEAST_SPREAD = 0.02  # standard deviation of a component's draws, of the component's own


@dataclasses.dataclass(frozen=True)
class Plan:
    """The ball in N clips: path (N, T, 3) in path coordinates and mean colour (N, 3) in [0, 1]."""

    path: Tensor
    colour: Tensor

    @classmethod
    def of_tracks(cls, found: BallTracks, image_size: int) -> "Plan":
        """What was followed through clips of `image_size` pixels a side."""
        ball = found.tracked
        path = to_path_coordinates(ball.u, ball.v, ball.radius, image_size)
        return cls(path, torch.from_numpy(found.colour).float())

    def mirrored(self) -> "Plan":
        """Left and right exchanged: what the same world shows as often."""
        return Plan(self.path * torch.tensor([-1.0, 1.0, 1.0]), self.colour)

    def joined(self, other: "Plan") -> "Plan":
        return Plan(torch.cat([self.path, other.path]), torch.cat([self.colour, other.colour]))


@dataclasses.dataclass(frozen=True)
class PlanShape:
    """What it takes to rebuild a prior of plans before its weights are loaded."""

    components: int  # principal components of the path; colour adds three
    width: int
    layers: int
    mixture: int  # Gaussians a component


class PlanPrior(nn.Module):
    """Plans of a class: principal components of path and colour, one after another, each a mixture of Gaussians.

    Components in falling order of variance; a causal transformer (Vaswani et al. 2017) reads those before and gives the
    mixture of the next (Bishop 1994, mixture density networks).
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, classes: int, frames: int, shape: PlanShape) -> None:
        super().__init__()
        self.components, width, mixture = shape.components, shape.width, shape.mixture
        size = shape.components + COLOURS
        self.register_buffer("mean", torch.zeros(3 * frames + COLOURS))
        self.register_buffer("basis", torch.zeros(size, 3 * frames + COLOURS))  # rows: one standard deviation each
        self.label = nn.Embedding(classes, width)
        self.value = nn.Linear(9, width)
        self.place = nn.Parameter(0.02 * torch.randn(size, width))
        layer = nn.TransformerEncoderLayer(
            width, HEADS, 3 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, shape.layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.out = nn.Linear(width, 3 * mixture)

    def settle(self, seen: Plan) -> None:
        """Take mean and principal components from training clips."""
        path, colour = seen.path.flatten(1).double(), seen.colour.double()
        rows = []
        for values, kept, at in ((path, self.components, 0), (colour, COLOURS, path.shape[1])):
            centred = values - values.mean(0)
            spread, directions = torch.linalg.eigh(centred.T @ centred / len(values))
            spread, directions = spread.flip(0)[:kept], directions.flip(1)[:, :kept]
            part = torch.zeros(kept, path.shape[1] + COLOURS, dtype=torch.float64)
            part[:, at : at + values.shape[1]] = (directions * spread.clamp_min(1e-12).sqrt()).T
            rows.append(part)
        self.basis.copy_(torch.cat(rows))
        self.mean.copy_(torch.cat([path.mean(0), colour.mean(0)]))

    def to_components(self, seen: Plan) -> Tensor:
        """(N, D), each of unit variance over the training clips."""
        values = torch.cat([seen.path.flatten(1), seen.colour], 1) - self.mean.cpu()
        basis = self.basis.cpu()
        return values @ (basis / basis.square().sum(1, keepdim=True)).T

    def to_plan(self, components: Tensor) -> Plan:
        """The inverse, but for what the components left out."""
        values = components @ self.basis + self.mean
        path = rearrange(values[:, :-COLOURS], "n (t c) -> n t c", c=3)
        return Plan(path, values[:, -COLOURS:])

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Weights between hidden layers: those that Muon trains."""
        return [p for p in self.layers.parameters() if p.ndim == 2]

    def mixtures(self, components: Tensor, label: Tensor) -> Tensor:
        """(B, d) components known, class (B,) → mixtures of components 0 … d, at most D − 1: (B, ≤ d + 1, 3, M)."""
        waves = [f(k * components) for k in (0.5, 1.0, 2.0, 4.0) for f in (torch.sin, torch.cos)]
        known = self.value(torch.stack([components, *waves], -1))  # (B, d, C)
        tokens = torch.cat([self.label(label)[:, None], known], 1)[:, : len(self.place)]
        count = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(count, device=tokens.device)
        hidden = self.layers(tokens + self.place[:count], mask=mask, is_causal=True)
        mixtures: Tensor = rearrange(self.out(hidden), "b d (three m) -> b d three m", three=3)
        return mixtures

    def forward(self, components: Tensor, label: Tensor) -> Tensor:
        """(B, D), (B,) → log-density of each component given those before, (B, D)."""
        weight, middle, spread = self.mixtures(components, label).unbind(-2)
        spread = nn.functional.softplus(spread) + LEAST_SPREAD
        apart = (components[..., None] - middle) / spread
        each = -0.5 * apart.square() - spread.log() - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(weight.log_softmax(-1) + each, -1)

    @torch.no_grad()
    def sample(self, label: int, count: int, generator: torch.Generator, path_spread: float = 1.0) -> Plan:
        """`count` plans of the class of index `label`.

        Path components are drawn with `path_spread` of their spread. Below 1 there is less of what the prior does not
        know, and so more plans of the class that was asked for, but also less variety; colour is drawn in full.
        """
        device = self.place.device
        labels = torch.full((count,), label, device=device)
        drawn = torch.zeros(count, 0, device=device)
        for index in range(len(self.place)):
            weight, middle, spread = self.mixtures(drawn, labels)[:, -1].unbind(-2)  # (B, M) each
            chosen = torch.multinomial(weight.softmax(-1).cpu(), 1, generator=generator).to(device)
            spread = nn.functional.softplus(spread.gather(1, chosen)) + LEAST_SPREAD
            if index < self.components:
                spread = path_spread * spread
            noise = torch.randn(count, 1, generator=generator).to(device)
            drawn = torch.cat([drawn, middle.gather(1, chosen) + spread * noise], 1)
        return self.to_plan(drawn)


def plan_step(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean negative log-density a component, in nats, of batch["components"] (B, D) given batch["label"] (B,)."""
    loss = -module(batch["components"], batch["label"]).mean()
    return loss, {}
