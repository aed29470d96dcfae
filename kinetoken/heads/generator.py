"""Priors over the codes of a clip: draw codes, decode them, and there is a new clip.

Each prior is an entry of PRIORS. The Gaussian ones are the floor that a generator worth its training must
beat: they know which codes vary together over space and time, and nothing of what a ball is.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn

from kinetoken.artifacts import load_weights, read_config, save_model
from kinetoken.errors import UserError
from kinetoken.params import Fraction, NonNegative, Positive, Range
from kinetoken.training import index_batches

Codes = NDArray[np.int32]

ROUNDING_ROWS = 65536


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorParams:
    """Section train_generator."""

    seed: NonNegative
    components: Positive  # principal directions that a Gaussian keeps, at most
    shrinkage: Fraction  # share of each coordinate's variance that is drawn independently of all others
    clips_per_class: Annotated[int, Range(ge=2)]  # drawn from each prior for the scoring
    neighbours: Positive  # k of coverage and density
    bootstrap: Positive  # resamples of clips for intervals


@dataclasses.dataclass(frozen=True)
class GeneratorShape:
    """What it takes to rebuild a generator before its weights are loaded."""

    classes: tuple[str, ...]
    grid: tuple[int, int, int]
    codebook_size: int
    coordinates: int  # length of a code's vector
    components: int


class GaussianPrior(nn.Module):
    """One Gaussian over the vectors of all codes of a clip, whatever the class asked for.

    Its covariance is that of the leading principal directions (Tipping and Bishop 1999), shrunk towards
    its own diagonal (Ledoit and Wolf 2004); a draw is rounded to the nearest code at each token.
    """

    mean: Tensor
    basis: Tensor
    spread: Tensor
    by_class = False

    def __init__(self, shape: GeneratorShape) -> None:
        super().__init__()
        groups, size = self.groups(shape), int(np.prod(shape.grid)) * shape.coordinates
        self.register_buffer("mean", torch.zeros(groups, size))
        self.register_buffer("basis", torch.zeros(groups, shape.components, size))
        self.register_buffer("spread", torch.zeros(groups, size))

    @classmethod
    def groups(cls, shape: GeneratorShape) -> int:
        """How many Gaussians there are."""
        return len(shape.classes) if cls.by_class else 1

    def fit(self, vectors: np.ndarray, target: np.ndarray, shrinkage: float) -> None:
        """vectors (N, P) of the training clips' codes, target (N,) their class."""
        for group in range(len(self.mean)):
            rows = vectors[target == group] if self.by_class else vectors
            centred = rows - rows.mean(0)
            covariance = centred.T @ centred / len(rows)  # (P, P)
            values, directions = np.linalg.eigh(covariance)
            kept = slice(-self.basis.shape[1], None)
            scaled = (directions[:, kept] * np.sqrt(np.maximum(values[kept], 0) * (1 - shrinkage))).T
            self.mean[group] = torch.from_numpy(rows.mean(0))
            self.basis[group] = torch.from_numpy(scaled)
            self.spread[group] = torch.from_numpy(np.sqrt(shrinkage * np.diag(covariance)))

    def sample(self, label: int, count: int, rng: np.random.Generator) -> np.ndarray:
        """`count` draws for the class of index `label`: (count, P) float32."""
        group = label if self.by_class else 0
        mean, basis, spread = (part[group].cpu().numpy() for part in (self.mean, self.basis, self.spread))
        common = rng.standard_normal((count, len(basis)), np.float32) @ basis
        return np.asarray(mean + common + spread * rng.standard_normal((count, len(mean)), np.float32))


class ClassGaussianPrior(GaussianPrior):
    """A Gaussian for each class."""

    by_class = True


PRIORS: dict[str, type[GaussianPrior]] = {"gaussian": GaussianPrior, "class_gaussian": ClassGaussianPrior}


class Generator(nn.Module):
    """All priors of PRIORS over the codes of one tokenizer."""

    table: Tensor

    def __init__(self, shape: GeneratorShape, table: Tensor) -> None:
        """`table` (codebook size, D): the vector of every code, see `Tokenizer.codes_to_latents`."""
        super().__init__()
        self.shape = shape
        self.register_buffer("table", table.float())
        self.priors = nn.ModuleDict({name: build(shape) for name, build in PRIORS.items()})
        self.tokenizer_hash = ""

    @property
    def classes(self) -> tuple[str, ...]:
        return self.shape.classes

    def fit(self, codes: Codes, target: np.ndarray, shrinkage: float) -> None:
        """Fit every prior to training codes (N, T', H', W') of classes `target` (N,)."""
        vectors = self.table.cpu().numpy()[codes].reshape(len(codes), -1)
        for name in PRIORS:
            self.prior(name).fit(vectors, target, shrinkage)

    def prior(self, name: str) -> GaussianPrior:
        """The prior of that name; UserError if there is none."""
        if name not in PRIORS:
            raise UserError(f"no prior '{name}'; known are {', '.join(PRIORS)}")
        prior = self.priors[name]
        assert isinstance(prior, GaussianPrior)
        return prior

    def sample(self, prior: str, label: str, count: int, seed: int) -> Codes:
        """`count` clips' codes (count, T', H', W') int32 for class `label`, the same for the same seed.

        Raises UserError for an unknown prior or class.
        """
        if label not in self.classes:
            raise UserError(f"no class '{label}'; known are {', '.join(self.classes)}")
        index = self.classes.index(label)
        rng = np.random.default_rng([seed, list(PRIORS).index(prior) if prior in PRIORS else 0, index])
        drawn = self.prior(prior).sample(index, count, rng)
        tokens = rearrange(torch.from_numpy(drawn), "n (s d) -> (n s) d", d=self.shape.coordinates)
        nearest = [
            torch.cdist(tokens[torch.from_numpy(rows)], self.table.cpu()).argmin(-1)
            for rows in index_batches(len(tokens), ROUNDING_ROWS)
        ]
        return torch.cat(nearest).numpy().astype(np.int32).reshape(count, *self.shape.grid)

    def save(self, folder: Path) -> None:
        """The model folder, all priors in one."""
        config = {"shape": dataclasses.asdict(self.shape), "tokenizer": self.tokenizer_hash}
        save_model(folder, self, {**config, "priors": sorted(PRIORS)})


def load_generator(folder: Path | str) -> Generator:
    """The generator in eval mode; UserError if the folder is no generator."""
    folder = Path(folder)
    config = read_config(folder)
    try:
        fields = config["shape"]
        shape = GeneratorShape(**{**fields, "classes": tuple(fields["classes"]), "grid": tuple(fields["grid"])})
    except (KeyError, TypeError):
        raise UserError(f"{folder}: not a generator (config.json has no fitting 'shape')") from None
    generator = Generator(shape, torch.zeros(shape.codebook_size, shape.coordinates))
    load_weights(folder, generator)
    generator.tokenizer_hash = config["tokenizer"]
    return generator
