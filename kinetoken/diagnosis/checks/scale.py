"""Did the network get inputs on the scale that it was made for? Then its latents are on the scale of the codebook."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from kinetoken.diagnosis.checks.facts import CodeFacts
from kinetoken.diagnosis.finding import KEPT, LIKELY, POSSIBLE, Finding
from kinetoken.diagnosis.usage import fsq_digits

Array = NDArray[np.float64]

SATURATED = 0.9  # share of tokens with every channel at its first or last level
LEAST_LEVELS = 4  # of a channel, for its two ends to be unusual
LEAST_CORNERS = 3  # different codes of such tokens, or one code is all there is
MOST_TOP = 0.9  # share of the commonest code, from which codes alone say that they have collapsed, and no more
FAR = 8.0  # times that latents exceed their code vectors: root mean squares about 0
HALF = 0.5  # of the latents' values that must lie there, for it to be likely
DEEP = 4.0  # absolute latents of FSQ or LFQ from which tanh is within 0.1 % of its end


@dataclasses.dataclass(frozen=True)
class Saturation:
    """Share of tokens at the ends of all channels, how many codes those are, and what evenly used codes would give."""

    share: float
    corners: int
    even: float


def saturation(facts: CodeFacts) -> Saturation | None:
    """Of FSQ by its codes; None of other quantizers."""
    levels = np.array(facts.levels)
    if not len(levels) or levels.max() < LEAST_LEVELS:
        return None
    digits = fsq_digits(facts.tally.codes, facts.levels)
    inner = levels >= LEAST_LEVELS
    ends = ((digits == 0) | (digits == levels - 1))[:, inner].all(1)
    counts = facts.tally.counts
    return Saturation(
        float(counts[ends].sum() / counts.sum()), int((counts[ends] > 0).sum()), float(np.prod(2 / levels[inner])),
    )


def scaled_inputs(facts: CodeFacts) -> Finding | None:
    """An encoder that saturates: nearly all tokens at the ends of FSQ's levels, or latents far beyond the codebook."""
    return _saturated(facts) or _latents_far(facts)


def _saturated(facts: CodeFacts) -> Finding | None:
    found, usage = saturation(facts), facts.tally.usage(facts.tally.counts)
    if found is None or found.share < SATURATED:
        return None
    beyond, deep = "", 0.0
    if facts.latents is not None:
        deep = float((np.abs(facts.latents) > DEEP).mean())
        beyond = f" {deep:.0%} of the latents' values lie beyond ±{DEEP:g}, where tanh is at its end."
    if deep <= HALF and (found.corners < LEAST_CORNERS or usage.top1_share > MOST_TOP):
        return None
    return Finding(
        "inputs on another scale", KEPT, float(1 - usage.entropy_bits / np.log2(facts.tally.size)),
        LIKELY if deep > HALF else POSSIBLE,
        f"In {found.share:.1%} of the tokens every channel is at its first or last level ({found.corners} codes); "
        f"evenly used codes would give {found.even:.1%}.{beyond}{_range(facts)} An encoder made for [−1, 1] or [0, 1] "
        "does this with inputs in 0…255, or with weights that have grown too large.",
        "The range of the encoder's input, printed in the code that extracted these codes.", ("levels",),
    )


def _latents_far(facts: CodeFacts) -> Finding | None:
    """Latents of a learned codebook whose values exceed their vectors many times over."""
    if facts.latents is None or facts.code_vectors is None or facts.levels or "lfq" in facts.quantizer.lower():
        return None
    ours, theirs = (_size(values) for values in (facts.latents, facts.code_vectors))
    if theirs <= 0 or ours < FAR * theirs or facts.tally.usage(facts.tally.counts).top1_share > MOST_TOP:
        return None  # where one code is left, its size says nothing
    return Finding(
        "inputs on another scale", KEPT, float(1 - theirs**2 / ours**2), LIKELY,
        f"The latents' values are {ours:.3g} (root mean square), those of their codes {theirs:.3g}: "
        f"{ours / theirs:.0f} times less, so a code holds next to nothing of its latent.{_range(facts)} Inputs in "
        "0…255 for an encoder made for [−1, 1] do this.",
        "The range of the encoder's input, printed in the code that extracted these latents.", ("quantization_error",),
    )


def _size(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(values.astype(np.float64) ** 2)))


def _range(facts: CodeFacts) -> str:
    sight = facts.sight
    if sight is None or sight.black is None or sight.white is None:
        return ""
    return f" The clips' own values are read as [{sight.black:g}, {sight.white:g}]."
