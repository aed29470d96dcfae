"""From measures to a verdict: a named cause, the evidence for it, and the cure."""

import dataclasses

from kinetoken.diagnosis.measures import Measures
from kinetoken.diagnosis.rules import (
    DATA,
    FACTS,
    HEALTHY,
    RULES,
    THRESHOLDS,
    TRAINING,
    USE_RULES,
    Missing,
    Reasoning,
    Thresholds,
)
from kinetoken.diagnosis.statement import Remark


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The named cause, whether the codes are sound, one sentence of evidence, the cure, and side remarks.

    severity: the share of what could be read over guessing that is lost, in [0, 1]; None where it is not known.
    rests_on: names of the measures that decided it, beside the readings along the chain.
    """

    cause: str
    healthy: bool
    evidence: str
    cure: str
    remarks: tuple[Remark, ...] = ()
    severity: float | None = None
    rests_on: tuple[str, ...] = ()

    @property
    def degree(self) -> str:
        """Severity in a word, for a reader: none, mild, serious, total, or unknown."""
        if self.severity is None:
            return "unknown"
        return next(word for word, least in DEGREES.items() if self.severity >= least)


DEGREES = {"total": 0.9, "serious": 0.4, "mild": 0.05, "none": 0.0}  # the word from which severity on


def judge(measures: Measures, thresholds: Thresholds = THRESHOLDS, *, pooled: bool = False) -> Verdict:
    """The verdict on the codes, or with `pooled` on what is left of them after averaging over space.

    Where the next rule needs a measure that is missing, the verdict is "cannot tell without …".
    """
    reasoning = Reasoning(measures, thresholds)
    severity = reasoning.lost(pooled=pooled)
    try:
        for rule in (*FACTS, *DATA, *USE_RULES, *TRAINING) if pooled else RULES:
            evidence = rule.shows(reasoning)
            if evidence is not None:
                healthy, remarks = rule.cause == HEALTHY, _remarks(reasoning)
                return Verdict(rule.cause, healthy, evidence, rule.cure, remarks, severity, rule.rests_on)
    except Missing as missing:
        word = WORDS[str(missing)]
        return Verdict(
            f"cannot tell without {word}", False, f"{rule.cause.capitalize()} can be neither shown nor excluded.",
            f"Also give the doctor {word}.", _remarks(reasoning), severity, rule.rests_on,
        )
    raise AssertionError("the last rule always applies")


WORDS = {
    "labels": "labels, at least two and each with enough clips",
    "probe_pixels": "the videos", "probe_latents": "the tokenizer", "probe_codes": "the codes",
    "probe_codes_pooled": "the averaged codes", "quantization_error": "the tokenizer", "mismatch": "the tokenizer",
    "perplexity_foreground": "the trajectories (where the ball is)",
    "top1_share_foreground": "the trajectories (where the ball is)",
    "effective_rank_latents": "the tokenizer", "latent_channels": "the tokenizer", "latent_offset": "the tokenizer",
    "foreground_gain_db": "reconstructions", "background_gain_db": "reconstructions",
    "loss_fall": "the training curve",
}


def _remarks(r: Reasoning) -> tuple[Remark, ...]:
    found = []
    if None not in (r.m.probe_codes, r.m.probe_codes_pooled):
        for rule in USE_RULES:
            if (evidence := rule.shows(r)) is not None:
                found.append(Remark(evidence, rule.cause, rule.cure))
    if r.m.probe_pixels is None and r.m.probe_codes is not None:
        found.append(Remark("No videos were given, so the upper bound comes from latents and codes alone."))
    return tuple(found)
