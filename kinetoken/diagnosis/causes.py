"""From measures to a verdict: a named cause, the evidence for it, and the cure.

The chain pixels → latents → codes → pooled codes is walked in order; the first rule that applies names the
cause. A reading at some point *keeps* the share (accuracy − floor) / (reference − floor), where the reference is
the best reading at any point up to there: what the data are known to hold.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Measures:
    """What the diagnosis measured; None where its input was missing."""

    floor: float  # accuracy of the commonest class
    probe_pixels: float | None
    probe_latents: float | None
    probe_codes: float | None
    probe_codes_pooled: float | None
    codebook_size: int
    perplexity_foreground: float | None
    top1_share_foreground: float | None
    effective_rank_latents: float | None
    latent_channels: int | None
    quantization_error: float | None  # over the latents' variance, on the foreground
    mismatch: float | None  # share of tokens that the tokenizer itself would code otherwise
    foreground_gain_db: float | None  # foreground PSNR of reconstructions over that of the train mean video
    background_psnr_db: float | None  # of reconstructions, off the mask


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Where measures turn from sound to suspect."""

    readable: float = 0.15  # accuracy over the floor below which the class cannot be read at all
    kept: float = 0.85  # share of the reference that a sound point of the chain keeps
    exact: float = 1e-4  # quantization error below which no quantizer ran
    mismatch: float = 0.01  # share of tokens; rounding between machines stays far below
    few_codes: float = 8.0  # foreground perplexity
    one_code: float = 0.5  # share of the commonest code on the foreground
    few_directions: float = 0.4  # effective rank over the number of channels
    coarse: float = 0.25  # quantization error
    ball_painted_db: float = 3.0  # foreground PSNR over the mean video's below which the ball is not drawn
    background_painted_db: float = 30.0  # PSNR off the mask above which the background is


THRESHOLDS = Thresholds()
HEALTHY = "healthy"
POOLING = "pooling drops position"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The named cause, whether the codes are sound, one sentence of evidence, the cure, and side remarks."""

    cause: str
    healthy: bool
    evidence: str
    cure: str
    remarks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Rule:
    """A cause: `shows` returns the evidence if it applies; measures in `needs` must be there to say either way."""

    cause: str
    needs: tuple[str, ...]
    shows: Callable[["Reasoning"], str | None]
    cure: str


@dataclasses.dataclass(frozen=True)
class Reasoning:
    """Measures with what follows from them; the rules read from here."""

    m: Measures
    limit: Thresholds

    def reference(self, upto: Literal["pixels", "latents", "codes"]) -> float:
        """The best accuracy at any point of the chain up to there; the floor if nothing was read."""
        names = ("pixels", "latents", "codes")
        readings = (getattr(self.m, f"probe_{name}") for name in names[: names.index(upto) + 1])
        return max((value for value in readings if value is not None), default=self.m.floor)

    def share(self, accuracy: float | None, reference: float) -> float:
        """Share of the reference that an accuracy keeps over the floor, 1 where there is nothing to keep."""
        above = reference - self.m.floor
        return 1.0 if above <= 0 or accuracy is None else (accuracy - self.m.floor) / above

    def lost(self, accuracy: float | None, reference: float) -> bool:
        return accuracy is not None and self.share(accuracy, reference) < self.limit.kept

    @property
    def lost_in_latents(self) -> bool:
        return self.lost(self.m.probe_latents, self.reference("pixels"))

    @property
    def lost_in_codes(self) -> bool:
        return self.lost(self.m.probe_codes, self.reference("latents"))


def judge(measures: Measures, thresholds: Thresholds = THRESHOLDS, *, pooled: bool = False) -> Verdict:
    """The verdict on the codes, or with `pooled` on what is left of them after averaging over space.

    Where a rule would need a measure that is missing, the verdict is "cannot tell without …".
    """
    reasoning = Reasoning(measures, thresholds)
    for rule in (*RULES, POOLING_RULE) if pooled else RULES:
        missing = [name for name in rule.needs if getattr(measures, name) is None]
        if missing:
            return Verdict(
                f"cannot tell without {WORDS[missing[0]]}", False, f"{rule.cause} can be neither shown nor excluded.",
                f"Give the diagnosis {WORDS[missing[0]]}.",
            )
        evidence = rule.shows(reasoning)
        if evidence is not None:
            return Verdict(rule.cause, rule.cause == HEALTHY, evidence, rule.cure, _remarks(reasoning))
    return Verdict(HEALTHY, True, _kept_sentence(reasoning), "None needed.", _remarks(reasoning))


WORDS = {
    "probe_pixels": "the videos", "probe_latents": "the tokenizer", "probe_codes": "the codes",
    "probe_codes_pooled": "the averaged codes", "quantization_error": "the tokenizer", "mismatch": "the tokenizer",
    "perplexity_foreground": "the trajectories (where the ball is)",
    "top1_share_foreground": "the trajectories (where the ball is)",
    "effective_rank_latents": "the tokenizer", "latent_channels": "the tokenizer",
    "foreground_gain_db": "reconstructions", "background_psnr_db": "reconstructions",
}


def _unreadable(r: Reasoning) -> str | None:
    best = r.reference("codes")
    if best - r.m.floor >= r.limit.readable:
        return None
    return f"The best reading anywhere, pixels included, is {best:.1%}; guessing gets {r.m.floor:.1%}."


def _bypassed(r: Reasoning) -> str | None:
    if r.m.quantization_error is None or r.m.quantization_error >= r.limit.exact:
        return None
    return f"The codes equal the latents (error {r.m.quantization_error:.1e} of their variance): nothing was rounded."


def _mismatched(r: Reasoning) -> str | None:
    if r.m.mismatch is None or r.m.mismatch <= r.limit.mismatch:
        return None
    return f"The tokenizer would code {r.m.mismatch:.1%} of the tokens otherwise than the table does."


def _kept(r: Reasoning) -> str | None:
    return None if r.lost(r.m.probe_codes, r.reference("latents")) else _kept_sentence(r)


def _kept_sentence(r: Reasoning) -> str:
    reference = r.reference("latents")
    kept = r.share(r.m.probe_codes, reference)
    return (
        f"From the codes {r.m.probe_codes:.1%} of test clips are read, {kept:.0%} of what the best point before them "
        f"allows over the floor ({reference:.1%} against {r.m.floor:.1%})."
    )


def _fall(r: Reasoning, before: str, after: str) -> str:
    first, second = getattr(r.m, f"probe_{before}"), getattr(r.m, f"probe_{after}")
    words = {"codes_pooled": "averaged codes"}
    return f"Reading falls from {first:.1%} on {before} to {second:.1%} on {words.get(after, after)}"


def _few_directions(r: Reasoning) -> str | None:
    assert r.m.effective_rank_latents is not None and r.m.latent_channels is not None
    if not r.lost_in_latents or r.m.effective_rank_latents >= r.limit.few_directions * r.m.latent_channels:
        return None
    return (
        f"{_fall(r, 'pixels', 'latents')}, and the latents use {r.m.effective_rank_latents:.2f} effective "
        f"directions of {r.m.latent_channels}."
    )


def _background(r: Reasoning) -> str | None:
    assert r.m.foreground_gain_db is not None and r.m.background_psnr_db is not None
    unpainted = r.m.foreground_gain_db < r.limit.ball_painted_db
    if not (r.lost_in_latents and unpainted and r.m.background_psnr_db >= r.limit.background_painted_db):
        return None
    return (
        f"{_fall(r, 'pixels', 'latents')}; reconstructions paint the background ({r.m.background_psnr_db:.1f} dB) but "
        f"the ball only {r.m.foreground_gain_db:+.1f} dB over the mean video."
    )


def _undertrained(r: Reasoning) -> str | None:
    assert r.m.foreground_gain_db is not None and r.m.background_psnr_db is not None
    if not r.lost_in_latents or r.m.foreground_gain_db >= r.limit.ball_painted_db:
        return None
    return (
        f"{_fall(r, 'pixels', 'latents')}, and reconstructions paint neither ball ({r.m.foreground_gain_db:+.1f} dB "
        f"over the mean video) nor background ({r.m.background_psnr_db:.1f} dB)."
    )


def _encoder(r: Reasoning) -> str | None:
    return f"{_fall(r, 'pixels', 'latents')}, though the ball is painted." if r.lost_in_latents else None


def _collapsed(r: Reasoning) -> str | None:
    assert r.m.perplexity_foreground is not None and r.m.top1_share_foreground is not None
    few = r.m.perplexity_foreground < r.limit.few_codes or r.m.top1_share_foreground > r.limit.one_code
    if not (r.lost_in_codes and few):
        return None
    return (
        f"{_fall(r, 'latents', 'codes')}; on the ball only {r.m.perplexity_foreground:.1f} of {r.m.codebook_size} codes "
        f"are in effective use, one of them {r.m.top1_share_foreground:.0%} of the time."
    )


def _coarse(r: Reasoning) -> str | None:
    assert r.m.quantization_error is not None
    if not r.lost_in_codes or r.m.quantization_error < r.limit.coarse:
        return None
    return f"{_fall(r, 'latents', 'codes')}; rounding costs {r.m.quantization_error:.0%} of the latents' variance."


def _rounded_away(r: Reasoning) -> str | None:
    return f"{_fall(r, 'latents', 'codes')}, with many codes and small rounding errors." if r.lost_in_codes else None


def _pooling(r: Reasoning) -> str | None:
    if not r.lost(r.m.probe_codes_pooled, r.reference("codes")):
        return None
    return f"{_fall(r, 'codes', 'codes_pooled')}: the codes hold the class, their average over space does not."


READINGS = ("probe_pixels", "probe_codes")
RECONSTRUCTION = ("foreground_gain_db", "background_psnr_db")
RULES = (
    Rule("labels not separable in pixels", READINGS, _unreadable,
         "Change the scene, the labels or the number of clips: no tokenizer can keep what the video does not show."),
    Rule("quantizer bypassed", (), _bypassed, "Read the quantized codes, not the encoder's output."),
    Rule("codes of another tokenizer", (), _mismatched, "Extract the codes again with this tokenizer, in eval mode."),
    Rule(HEALTHY, ("probe_latents",), _kept, "None needed."),
    Rule("codebook collapse", ("perplexity_foreground", "top1_share_foreground"), _collapsed,
         "Use FSQ or LFQ, or restart dead codes and start a learned codebook from k-means."),
    Rule("levels too few", ("quantization_error",), _coarse, "Give FSQ more levels or channels, or a larger codebook."),
    Rule("rounding drops the class", (), _rounded_away,
         "Train longer with the quantizer in the loop, or give it more levels: the encoder relies on fine differences."),
    Rule("loss dominated by background", RECONSTRUCTION, _background,
         "Weight the loss towards the moving ball (foreground weight), or use a perceptual or temporal-difference term."),
    Rule("undertrained", RECONSTRUCTION, _undertrained, "Train longer, or raise the learning rate."),
    Rule("dimensional collapse", ("effective_rank_latents", "latent_channels"), _few_directions,
         "Add an entropy or decorrelation term, or widen the encoder before the quantizer."),
    Rule("encoder drops the class", (), _encoder, "Give the encoder more capacity or a finer grid of tokens."),
)
POOLING_RULE = Rule(
    POOLING, ("probe_codes_pooled",), _pooling,
    "Keep the grid: pool by soft-argmax over each time slice, or attend over all tokens.",
)


def _remarks(r: Reasoning) -> tuple[str, ...]:
    found = []
    if (evidence := _pooling(r)) is not None and not r.lost_in_codes:
        found.append(f"{POOLING.capitalize()}. {evidence} {POOLING_RULE.cure}")
    if r.m.probe_pixels is None:
        found.append("No videos were given: what the data hold is judged from latents and codes alone.")
    return tuple(found)
