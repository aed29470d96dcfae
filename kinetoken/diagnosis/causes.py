"""From measures to a verdict: a named cause, the evidence for it, and the cure.

The chain pixels → latents → codes → pooled codes is walked in order; the first rule that applies names the
cause. A reading *keeps* the share (accuracy − floor) / (reference − floor), where the reference is the best
reading at any point before it: what the data are known to hold.
"""

import dataclasses
from collections.abc import Callable

from kinetoken.diagnosis.measures import Measures


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
    background_painted_db: float = 0.0  # PSNR off the mask over the mean video's from which the background is


THRESHOLDS = Thresholds()
HEALTHY = "healthy"
POOLING = "pooling drops position"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The named cause, whether the codes are sound, one sentence of evidence, the cure, and side remarks.

    severity: the share of what could be read over guessing that is lost, in [0, 1]; None where it is not known.
    """

    cause: str
    healthy: bool
    evidence: str
    cure: str
    remarks: tuple[str, ...] = ()
    severity: float | None = None

    @property
    def degree(self) -> str:
        """Severity in a word, for a reader: none, mild, serious, total, or unknown."""
        if self.severity is None:
            return "unknown"
        return next(word for word, least in DEGREES.items() if self.severity >= least)


DEGREES = {"total": 0.9, "serious": 0.4, "mild": 0.05, "none": 0.0}  # the word from which severity on


@dataclasses.dataclass(frozen=True)
class Rule:
    """A cause, and a test that returns the evidence where it applies and None where it does not."""

    cause: str
    shows: Callable[["Reasoning"], str | None]
    cure: str


class Missing(Exception):
    """A rule needs a measure that is not there."""


@dataclasses.dataclass(frozen=True)
class Reasoning:
    """Measures with what follows from them; the rules read from here."""

    m: Measures
    limit: Thresholds

    def need(self, name: str) -> float:
        """The measure; Missing if it is not there."""
        value = getattr(self.m, name)
        if value is None:
            raise Missing(name)
        return float(value)

    def best(self, *points: str) -> float:
        """The best accuracy at these points of the chain, the floor if none of them was read."""
        readings = (getattr(self.m, f"probe_{point}") for point in points)
        return max((value for value in readings if value is not None), default=self.m.floor)

    def kept(self, accuracy: float, reference: float) -> float:
        """Share of the reference that an accuracy keeps over the floor, 1 where there is nothing to keep."""
        above = reference - self.m.floor
        return 1.0 if above <= 0 else (accuracy - self.m.floor) / above

    def lost(self, *, pooled: bool) -> float | None:
        """Share of what could be read that codes, or averaged codes, lost; None where it was not measured.

        All of it where nothing can be read anywhere.
        """
        found = self.m.probe_codes_pooled if pooled else self.m.probe_codes
        if found is None:
            return None
        reference = self.best("pixels", "latents", "codes")
        if reference - self.m.floor < self.limit.readable:
            return 1.0
        return min(max(1 - self.kept(found, reference), 0.0), 1.0)

    @property
    def lost_by_rounding(self) -> bool:
        """Is the fall from latents to codes the larger one, or that from pixels to latents?"""
        latents = self.need("probe_latents")
        return latents - self.need("probe_codes") >= self.need("probe_pixels") - latents


def judge(measures: Measures, thresholds: Thresholds = THRESHOLDS, *, pooled: bool = False) -> Verdict:
    """The verdict on the codes, or with `pooled` on what is left of them after averaging over space.

    Where the next rule needs a measure that is missing, the verdict is "cannot tell without …".
    """
    reasoning = Reasoning(measures, thresholds)
    severity = reasoning.lost(pooled=pooled)
    try:
        for rule in (*USE_RULES, *RULES) if pooled else RULES:
            evidence = rule.shows(reasoning)
            if evidence is not None:
                healthy = rule.cause == HEALTHY
                return Verdict(rule.cause, healthy, evidence, rule.cure, _remarks(reasoning), severity)
    except Missing as missing:
        word = WORDS[str(missing)]
        return Verdict(
            f"cannot tell without {word}", False, f"{rule.cause.capitalize()}: neither shown nor excluded.",
            f"Give the diagnosis {word}.", _remarks(reasoning), severity,
        )
    raise AssertionError("the last rule always applies")


WORDS = {
    "labels": "labels, at least two and each with enough clips",
    "probe_pixels": "the videos", "probe_latents": "the tokenizer", "probe_codes": "the codes",
    "probe_codes_pooled": "the averaged codes", "quantization_error": "the tokenizer", "mismatch": "the tokenizer",
    "perplexity_foreground": "the trajectories (where the ball is)",
    "top1_share_foreground": "the trajectories (where the ball is)",
    "effective_rank_latents": "the tokenizer", "latent_channels": "the tokenizer",
    "foreground_gain_db": "reconstructions", "background_gain_db": "reconstructions",
}


def _constant(r: Reasoning) -> str | None:
    if r.m.top1_share is None or r.m.top1_share < 1:
        return None
    return f"Every token of every clip is the same one of {r.m.codebook_size} codes."


def _unreadable(r: Reasoning) -> str | None:
    if all(getattr(r.m, f"probe_{point}") is None for point in ("pixels", "latents", "codes")):
        raise Missing("labels")
    best = r.best("pixels", "latents", "codes")
    if best - r.m.floor >= r.limit.readable:
        return None
    r.need("probe_pixels")
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
    codes, reference = r.need("probe_codes"), r.best("pixels", "latents")
    if r.kept(codes, reference) < r.limit.kept:
        return None
    if reference <= r.m.floor:
        return f"From the codes {codes:.1%} of test clips are read; guessing gets {r.m.floor:.1%}."
    return (
        f"From the codes {codes:.1%} of test clips are read, from the best point before them {reference:.1%}; "
        f"guessing gets {r.m.floor:.1%}, so {min(r.kept(codes, reference), 1):.0%} of what can be read is kept."
    )


def _fall(r: Reasoning, before: str, after: str) -> str:
    first, second = r.need(f"probe_{before}"), r.need(f"probe_{after}")
    return f"Reading falls from {first:.1%} on {before} to {second:.1%} on {AFTER.get(after, after)}"


def _collapsed(r: Reasoning) -> str | None:
    if not r.lost_by_rounding:
        return None
    perplexity, top = r.need("perplexity_foreground"), r.need("top1_share_foreground")
    if perplexity >= r.limit.few_codes and top <= r.limit.one_code:
        return None
    return (
        f"{_fall(r, 'latents', 'codes')}; on the ball only {perplexity:.1f} of {r.m.codebook_size} codes are in "
        f"effective use, one of them {top:.0%} of the time."
    )


def _coarse(r: Reasoning) -> str | None:
    if not r.lost_by_rounding or (error := r.need("quantization_error")) < r.limit.coarse:
        return None
    return f"{_fall(r, 'latents', 'codes')}; rounding costs {error:.0%} of the latents' variance."


def _rounded_away(r: Reasoning) -> str | None:
    return f"{_fall(r, 'latents', 'codes')}, with many codes and small rounding errors." if r.lost_by_rounding else None


def _background(r: Reasoning) -> str | None:
    gain, background = r.need("foreground_gain_db"), r.need("background_gain_db")
    if gain >= r.limit.ball_painted_db or background < r.limit.background_painted_db:
        return None
    return (
        f"{_fall(r, 'pixels', 'latents')}; reconstructions paint the background ({background:+.1f} dB over the "
        f"mean video) but not the ball ({gain:+.1f} dB)."
    )


def _undertrained(r: Reasoning) -> str | None:
    gain, background = r.need("foreground_gain_db"), r.need("background_gain_db")
    if gain >= r.limit.ball_painted_db:
        return None
    return (
        f"{_fall(r, 'pixels', 'latents')}, and reconstructions paint neither ball ({gain:+.1f} dB over the mean video) "
        f"nor background ({background:+.1f} dB)."
    )


def _few_directions(r: Reasoning) -> str | None:
    rank, channels = r.need("effective_rank_latents"), r.need("latent_channels")
    if rank >= r.limit.few_directions * channels:
        return None
    return f"{_fall(r, 'pixels', 'latents')}, and the latents use {rank:.2f} effective directions of {channels:.0f}."


def _encoder(r: Reasoning) -> str | None:
    return f"{_fall(r, 'pixels', 'latents')}, though the ball is painted."


def _pooling(r: Reasoning) -> str | None:
    codes, pooled = r.need("probe_codes"), r.need("probe_codes_pooled")
    if codes - r.m.floor < r.limit.readable or r.kept(pooled, codes) >= r.limit.kept:
        return None
    return f"{_fall(r, 'codes', 'codes_pooled')}: the codes hold the class, their average over space does not."


AFTER = {"codes_pooled": "averaged codes"}
RULES = (
    Rule("quantizer bypassed", _bypassed, "Read the quantized codes, not the encoder's output."),
    Rule("codes of another tokenizer", _mismatched, "Extract the codes again with this tokenizer, in eval mode."),
    Rule("codebook collapse", _constant,
         "Use FSQ or LFQ, or restart dead codes and start a learned codebook from k-means."),
    Rule("labels not separable in pixels", _unreadable,
         "Change the scene, the labels or the number of clips: no tokenizer can keep what the video does not show."),
    Rule(HEALTHY, _kept, "None needed."),
    Rule("codebook collapse", _collapsed,
         "Use FSQ or LFQ, or restart dead codes and start a learned codebook from k-means."),
    Rule("levels too few", _coarse, "Give FSQ more levels or channels, or a larger codebook."),
    Rule("rounding drops the class", _rounded_away,
         "Train longer with the quantizer in the loop, or give it more levels: fine differences carry the class."),
    Rule("loss dominated by background", _background,
         "Weight the loss towards the moving ball, or use a perceptual or temporal-difference term."),
    Rule("undertrained", _undertrained, "Train longer, or raise the learning rate."),
    Rule("dimensional collapse", _few_directions,
         "Add an entropy or decorrelation term, or widen the encoder before the quantizer."),
    Rule("encoder drops the class", _encoder, "Give the encoder more capacity or a finer grid of tokens."),
)
USE_RULES = (
    Rule(POOLING, _pooling, "Keep the grid: pool by soft-argmax over each time slice, or attend over all tokens."),
)


def _remarks(r: Reasoning) -> tuple[str, ...]:
    found = []
    if None not in (r.m.probe_codes, r.m.probe_codes_pooled):
        for rule in USE_RULES:
            if (evidence := rule.shows(r)) is not None:
                found.append(f"{rule.cause.capitalize()}. {evidence} {rule.cure}")
    if r.m.probe_pixels is None and r.m.probe_codes is not None:
        found.append("No videos were given: what the data hold is judged from latents and codes alone.")
    return tuple(found)


def verdict_page(verdict: Verdict, measures: Measures) -> str:
    """The verdict as a page of Markdown: cause, evidence, cure, remarks, and the measures it rests on."""
    lost = "" if verdict.severity is None else f" Lost of what can be read: {verdict.severity:.0%} ({verdict.degree})."
    lines = [
        f"# Verdict: {verdict.cause}", "", verdict.evidence + lost, "", f"**Cure:** {verdict.cure}", "",
        *(line for remark in verdict.remarks for line in (f"**Beside that:** {remark}", "")),
        "| measure | value |", "|---|---|",
    ]
    for field in dataclasses.fields(measures):
        value = getattr(measures, field.name)
        lines.append(f"| {field.name.replace('_', ' ')} | {'not measured' if value is None else f'{value:.4g}'} |")
    return "\n".join(lines) + "\n"
