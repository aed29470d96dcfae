"""Priors over the codes of a clip: draw codes, decode them, and there is a new clip.

Each prior is an entry of PRIORS: two Gaussians, which are the floor, and a masked transformer that begins with a plan.
That one is a forecaster too: `Generator.complete` carries on what the first slices of a clip show.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from kinetoken.codes import CodesTable
from kinetoken.core.artifacts import load_weights, rebuilding, save_model
from kinetoken.core.errors import UserError
from kinetoken.core.params import Fraction, NonNegative, Positive, Range, build
from kinetoken.core.stage import Context
from kinetoken.generation.gaussian_prior import ClassGaussianPrior, Codes, GaussianPrior
from kinetoken.generation.masked_prior import MaskedPrior, MaskedShape, SamplingParams
from kinetoken.generation.plan import Plan, PlanPrior, PlanShape
from kinetoken.generation.training import MaskedParams, PlanParams, train_masked_prior, train_plan_prior
from kinetoken.physics.laws import are_laws
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.training.loop import History


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorParams:
    """Section train_generator."""

    seed: NonNegative
    components: Positive  # principal directions that a Gaussian keeps, at most
    shrinkage: Fraction  # share of each coordinate's variance that is drawn independently of all others
    plan: PlanParams
    masked: MaskedParams
    clips_per_class: Annotated[int, Range(ge=2)]  # drawn from each prior for the scoring
    neighbours: Positive  # k of coverage, density, precision and recall
    bootstrap: Positive = 1000  # resamples of clips for intervals


@dataclasses.dataclass(frozen=True)
class GeneratorShape:
    """What it takes to rebuild a generator before its weights are loaded."""

    classes: tuple[str, ...]
    grid: tuple[int, int, int]
    levels: tuple[int, ...]  # choices of each part of a code; (codebook size,) for a quantizer without levels
    codebook_size: int
    coordinates: int  # length of a code's vector
    slice_frames: int
    components: int
    plan: PlanShape
    patch: int
    width: int
    layers: int
    heads: int

    @property
    def masked(self) -> MaskedShape:
        return MaskedShape(
            len(self.classes), self.grid, self.levels, self.patch, self.width, self.layers, self.heads,
            self.slice_frames,
        )


def _gaussian(kind: type[GaussianPrior]) -> Callable[[GeneratorShape, Codebook], nn.Module]:
    return lambda shape, codebook: kind(len(shape.classes), shape.grid, shape.coordinates, shape.components)


PRIORS: dict[str, Callable[[GeneratorShape, Codebook], nn.Module]] = {
    "gaussian": _gaussian(GaussianPrior), "class_gaussian": _gaussian(ClassGaussianPrior),
    "masked": lambda shape, codebook: MaskedPrior(shape.masked, codebook),
}


class Generator(nn.Module):
    """All priors of PRIORS over the codes of one tokenizer."""

    table: Tensor

    def __init__(self, shape: GeneratorShape, codebook: Codebook, sampling: SamplingParams) -> None:
        super().__init__()
        self.shape, self.sampling = shape, sampling
        self.register_buffer("table", codebook.vectors.float().clone())  # (K, D)
        self.priors = nn.ModuleDict({name: make(shape, codebook) for name, make in PRIORS.items()})
        self.plan = PlanPrior(len(shape.classes), shape.grid[0] * shape.slice_frames, shape.plan)
        self.tokenizer_hash = ""

    @property
    def classes(self) -> tuple[str, ...]:
        return self.shape.classes

    def fit(
        self, codes: CodesTable, seen: Mapping[str, Plan], params: GeneratorParams, context: Context
    ) -> dict[str, History]:
        """Fit every prior to the training codes; the curves of those that are trained step by step.

        `seen` has what the clips of `train` and `val` show, in the order of `codes`.
        """
        label = {split: torch.from_numpy(codes.target[codes.split == split]) for split in ("train", "val")}
        train = codes.of_split("train")
        vectors = self.table.cpu().numpy()[train.codes].reshape(len(train), -1)
        for prior in self.priors.values():
            if isinstance(prior, GaussianPrior):
                prior.fit(vectors, label["train"].numpy(), params.shrinkage)
        history = {
            "plan": train_plan_prior(
                self.plan, seen, label, params.plan, context, mirrored=are_laws(self.classes)
            ),
            "masked": train_masked_prior(self.masked, codes, seen, params.masked, context),
        }
        self.eval()
        return history

    @property
    def masked(self) -> MaskedPrior:
        prior = self.priors["masked"]
        assert isinstance(prior, MaskedPrior)
        return prior

    def follows_class(self, name: str) -> bool:
        """Does the prior heed the class that is asked for?"""
        return name != "gaussian"

    def sample(self, prior: str, label: str, count: int, seed: int, sampling: SamplingParams | None = None) -> Codes:
        """`count` clips' codes (count, T', H', W') int32 for class `label`, the same for the same seed.

        `sampling` stands in for the masked prior's own. Raises UserError for an unknown prior or class.
        """
        if prior not in PRIORS:
            raise UserError(f"no prior '{prior}'; known are {', '.join(PRIORS)}")
        if label not in self.classes:
            raise UserError(f"no class '{label}'; known are {', '.join(self.classes)}")
        index = self.classes.index(label)
        rng = np.random.default_rng([seed, list(PRIORS).index(prior), index])
        chosen = self.priors[prior]
        if isinstance(chosen, GaussianPrior):
            return chosen.sample(index, count, rng, self.table)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        how = sampling or self.sampling
        plan = self.plan.sample(index, count, generator, how.plan_spread)
        return self.masked.write(plan, index, generator, how)

    def complete(self, past: Codes, slices: int) -> Codes:
        """The `slices` that the masked prior holds most probable after the past (N, K, H', W'), its class unknown.

        (N, slices, H', W') int32, nothing of it drawn at random. Raises UserError for a past of another grid, or more
        slices than a clip has.
        """
        total, *cells = self.shape.grid
        if past.shape[2:] != tuple(cells) or past.shape[1] + slices > total or past.shape[1] < 1:
            raise UserError(
                f"codes {past.shape[1:]} and {slices} slices more: the generator's clips are {self.shape.grid}"
            )
        surest = dataclasses.replace(self.sampling, temperature=0.0, final_temperature=0.0, guidance=0.0)
        whole = self.masked.complete(past, torch.Generator(), surest)
        return whole[:, past.shape[1] : past.shape[1] + slices]

    def save(self, folder: Path) -> None:
        """The model folder, all priors in one."""
        config = {
            "shape": dataclasses.asdict(self.shape), "tokenizer": self.tokenizer_hash,
            "sampling": dataclasses.asdict(self.sampling),
        }
        save_model(folder, self, {**config, "priors": sorted(PRIORS)})


def load_generator(folder: Path | str) -> Generator:
    """The generator in eval mode; UserError if the folder is no generator."""
    folder = Path(folder)
    with rebuilding(folder) as config:
        try:
            fields: dict[str, Any] = config["shape"]
            listed = {name: tuple(fields[name]) for name in ("classes", "grid", "levels")}
            shape = GeneratorShape(**{**fields, **listed, "plan": PlanShape(**fields["plan"])})
            sampling = build(SamplingParams, config["sampling"], f"{folder}/config.json: sampling")
        except (KeyError, TypeError):
            raise UserError(f"{folder}: not a generator (config.json has no fitting 'shape')") from None
        generator = Generator(shape, Codebook.unfilled(shape), sampling)
        load_weights(folder, generator)
        generator.tokenizer_hash = config["tokenizer"]
    return generator
