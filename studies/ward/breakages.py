"""Ways of breaking the pipeline around a tokenizer, each with a strength.

Those of the encoder happen before clips are coded, those of the table after, those of the patient last, when
every point of the chain is known.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import nn

from kinetoken.codes import CodesTable
from kinetoken.diagnosis.chain import averaged_over_space
from kinetoken.diagnosis.patient import Patient
from kinetoken.tokenizer.network import Tokenizer
from kinetoken.tokenizer.quantizers import MovingAverage


@torch.no_grad()
def far_codebook(tokenizer: Tokenizer, distance: float) -> None:
    """A bad start: before training the codebook lies `distance` away from where latents begin, in every channel.

    One code is then the nearest to all latents and the only one that learns; a k-means start overwrites it.
    """
    quantizer = tokenizer.quantizer
    assert isinstance(quantizer, MovingAverage)
    quantizer.vq._codebook.embed.add_(distance)
    quantizer.vq._codebook.embed_avg.add_(distance)


@torch.no_grad()
def drift(tokenizer: Tokenizer, strength: float, clips: torch.Tensor) -> None:
    """The encoder's latents move on by `strength` of their deviations, the codebook stays where it was."""
    latents = tokenizer.latents(clips)
    deviation = rearrange(latents, "n d t h w -> d (n t h w)").std(1)
    last = tokenizer.to_latent[-1]
    assert isinstance(last, nn.Linear)
    last.bias.add_(strength * deviation)


@torch.no_grad()
def project(tokenizer: Tokenizer, rank: int, clips: torch.Tensor, seed: int) -> None:
    """The encoder's last layer collapses onto `rank` directions drawn at random, about its latents' mean."""
    latents = rearrange(tokenizer.latents(clips), "n d t h w -> (n t h w) d")
    mean = latents.mean(0)
    drawn = torch.randn(latents.shape[1], rank, generator=torch.Generator().manual_seed(seed))
    directions = torch.linalg.qr(drawn).Q  # (D, rank)
    onto = directions @ directions.T
    last = tokenizer.to_latent[-1]
    assert isinstance(last, nn.Linear)
    last.weight.copy_(onto @ last.weight)
    last.bias.copy_(mean + onto @ (last.bias - mean))


def mixed_rows(table: CodesTable, share: float, seed: int) -> CodesTable:
    """A share of the rows hold the codes of other clips."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(table))[: round(share * len(table))]
    codes = table.codes.copy()
    codes[rows] = table.codes[np.roll(rows, 1)]
    return dataclasses.replace(table, codes=codes)


def mixed_places(table: CodesTable, share: float, seed: int) -> CodesTable:
    """In a share of the rows the tokens stand at other places of the grid, in each row at others."""
    rng = np.random.default_rng(seed)
    codes = table.codes.copy()
    for row in rng.permutation(len(table))[: round(share * len(table))]:
        codes[row] = rng.permutation(codes[row].ravel()).reshape(codes[row].shape)
    return dataclasses.replace(table, codes=codes)


def stale(table: CodesTable, share: float, seed: int, other: CodesTable) -> CodesTable:
    """A share of the rows were coded by another tokenizer."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(table))[: round(share * len(table))]
    codes = table.codes.copy()
    codes[rows] = other.codes[rows]
    return dataclasses.replace(table, codes=codes)


def confused_labels(table: CodesTable, pairs: int, seed: int) -> CodesTable:
    """Within each of the first `pairs` pairs of classes the labels are drawn at random."""
    rng = np.random.default_rng(seed)
    label = table.label.copy()
    for first, second in zip(table.classes[0::2][:pairs], table.classes[1::2][:pairs], strict=True):
        rows = np.flatnonzero(np.isin(table.label, (first, second)))
        label[rows] = rng.choice((first, second), len(rows))
    return dataclasses.replace(table, label=label)


def random_labels(table: CodesTable, share: float, seed: int) -> CodesTable:
    """A share of the clips get the label of another clip."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(table))[: round(share * len(table))]
    label = table.label.copy()
    label[rows] = rng.permutation(table.label[rows])
    return dataclasses.replace(table, label=label)


def few_clips(table: CodesTable, count: int) -> CodesTable:
    """Only the first `count` training clips."""
    train = np.flatnonzero(table.split == "train")
    return table.take(np.sort(np.concatenate([train[:count], np.flatnonzero(table.split != "train")])))


def bypass(patient: Patient) -> None:
    """The codes are the encoder's output, never quantized."""
    patient.codes, patient.tally, patient.recoded = None, None, None
    patient.tokens["codes"] = patient.tokens["latents"]
    patient.tokens["codes_pooled"] = averaged_over_space(patient.tokens["latents"])


POOLINGS: dict[str, Callable[[Any], Any]] = {
    "space": averaged_over_space,
    "largest": lambda tokens: tokens.max((2, 3), keepdims=True),
    "clip": lambda tokens: tokens.mean((1, 2, 3), keepdims=True),
    "spread": lambda tokens: np.concatenate(
        [tokens.mean((2, 3), keepdims=True), tokens.std((2, 3), keepdims=True)], -1
    ),
}


def pool(patient: Patient, name: str) -> None:
    """What is used of the codes is their pooling over space, over the clip, or their largest value."""
    patient.tokens["codes_pooled"] = POOLINGS[name](patient.tokens["codes"])
