"""From measures and findings to a verdict: two questions answered apart, and the costliest finding as the headline.

*How are the codes used* needs nothing but codes. *What did they keep* needs something upstream to compare with, else
the answer is "cannot tell", with what to bring. Contradictions cannot arise, because a loss is measured first and once:
where it is sure, no limit of clips or labels is put in its place; where it is not, no cause of a loss is named as sure;
and "healthy" is only said of a comparison that was made and held.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from kinetoken.diagnosis.finding import CERTAIN, DATA, KEPT, LIKELY, POSSIBLE, USE, Finding
from kinetoken.diagnosis.measures import Measures
from kinetoken.diagnosis.reasoning import THRESHOLDS, Missing, Reasoning, Thresholds
from kinetoken.diagnosis.rules import (
    BY_ELIMINATION,
    CAUSES,
    FACTS,
    HEALTHY,
    KEPT_WELL,
    LIMITS,
    NEARLY_KEPT,
    NO_WORSE,
    UNCERTAIN,
    USES,
    WEAK,
    Rule,
    comparison,
    one_code_left,
    planted_missed,
    unused_share,
)

CANNOT_TELL = "cannot tell without "
SPOILED = 0.05  # severity from which a finding about the use of codes is more than worth knowing
MORE_EXACT = {("tokens out of place", "axes swapped")}  # a fact of the table, and a finding that says more of it
MORE_THAN_NOTHING = ("training counters differ", "drift over the file")  # peculiar, and no fault of sound codes
WORDS = {  # what to bring for a measure that is missing
    "probe_pixels": "the videos (--clips)", "probe_latents": "the encoder's output (--latents)",
    "probe_codes": "labels, at least two and each with enough clips (--labels)",
    "quantization_error": "the encoder's output (--latents)", "latent_offset": "the encoder's output (--latents)",
    "effective_rank_latents": "the encoder's output (--latents)", "latent_channels": "the encoder's output (--latents)",
    "perplexity_foreground": "the videos (--clips), which show what moves",
    "top1_share_foreground": "the videos (--clips), which show what moves",
    "foreground_gain_db": "reconstructions (--reconstructions)",
    "background_gain_db": "reconstructions (--reconstructions)", "loss_fall": "the training curve (--history)",
}
WITHOUT = {"videos": "probe_pixels", "labels": "probe_codes"}  # what a verdict may lack, and the measure it lacks


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The headline, what else was found (costliest first), and the answers to the two questions.

    kept: what the codes kept, also where the headline is another finding.
    """

    headline: Finding
    kept: Finding
    others: tuple[Finding, ...] = ()

    @property
    def cause(self) -> str:
        """The name of the headline."""
        return self.headline.name

    @property
    def healthy(self) -> bool:
        """Was a comparison made, and did it hold? Never true without one."""
        return self.headline.name == HEALTHY

    @property
    def severity(self) -> float | None:
        return self.headline.severity

    @property
    def evidence(self) -> str:
        return self.headline.evidence

    @property
    def rests_on(self) -> tuple[str, ...]:
        return self.headline.rests_on

    @property
    def degree(self) -> str:
        """Severity in a word, for a reader: none, mild, serious, total, or unknown."""
        return degree(self.severity)


def degree(severity: float | None) -> str:
    """A severity in a word."""
    if severity is None:
        return "unknown"
    return next(word for word, least in DEGREES.items() if severity >= least)


DEGREES = {"total": 0.9, "serious": 0.4, "mild": 0.05, "none": 0.0}  # the word from which severity on


def judge(
    measures: Measures, thresholds: Thresholds = THRESHOLDS, *, pooled: bool = False, over: str = "space",
    found: Sequence[Finding] = (), too_few: str = "",
) -> Verdict:
    """The verdict on the codes, or with `pooled` on what is left of them after averaging over `over`.

    found: findings that other checks brought, such as dead codebooks; too_few: why no probe could be fitted though
    there are labels.
    """
    r = Reasoning(measures, thresholds, pooled, over)
    kept = _too_few(too_few) if too_few and not r.read else _kept(r)
    uses = [*found, *_usage_alone(r, kept)]
    spoiling = sorted((one for one in uses if (one.severity or 0) >= SPOILED), key=_cost, reverse=True)
    headline = kept
    telling = [one for one in found if one.name in MORE_THAN_NOTHING]
    if telling and not spoiling and kept.name.startswith(CANNOT_TELL):
        headline = telling[0]
    elif spoiling and not _is_fact(kept):
        headline = _explaining(spoiling[0], kept)
    elif more := [one for one in spoiling if (kept.name, one.name) in MORE_EXACT]:
        headline = dataclasses.replace(more[0], severity=max(more[0].severity or 0.0, kept.severity or 0.0))
    rest = [one for one in (kept, *uses, *_beside(r, kept)) if one.name != headline.name]
    return Verdict(headline, kept, tuple(sorted(rest, key=_cost, reverse=True)))


def _cost(finding: Finding) -> float:
    return -1.0 if finding.severity is None else finding.severity


def _is_fact(finding: Finding) -> bool:
    """Is the table itself another than was meant? Then nothing that is measured on it counts."""
    return finding.name in {rule.cause for rule in FACTS} and finding.confidence == CERTAIN


def _explaining(finding: Finding, kept: Finding) -> Finding:
    """A finding about the codes' use as the headline; where the codes also lost something, with how much."""
    if kept.question != KEPT or kept.severity is None or kept.severity < SPOILED:
        return finding
    lost = f"The codes lost {kept.severity:.0%} of what can be read, which this may explain."
    severity = max(finding.severity or 0.0, kept.severity)
    return dataclasses.replace(finding, severity=severity, evidence=f"{finding.evidence} {lost}")


# --- what did the codes keep? ----------------------------------------------------------------------


def _kept(r: Reasoning) -> Finding:
    """The one answer: a fact of the table, a loss and its cause, a limit, healthy, or cannot tell."""
    for rule in FACTS:
        if evidence := rule.shows(r):
            lost = r.lost()
            shares = [share for share in (lost, r.m.mismatch) if share is not None]
            return _finding(rule, evidence, max(shares) if r.m.mismatch else lost)
    if not r.read:
        return _cannot("labels", "Without labels there is nothing whose loss could be measured.")
    if not r.loss_is_sure and (limit := _first(LIMITS, r)):
        return limit
    if r.pooled and (pooling := _first(USES, r, r.lost())):
        return pooling
    return _lost(r) if r.loss_is_sure else _not_lost(r)


def _too_few(why: str) -> Finding:
    return Finding(
        LIMITS[0].cause, DATA, None, CERTAIN, f"No probe could be fitted: {why}.",
        "Bring more labelled clips of that class.",
    )


STRONGER: dict[tuple[str, ...], str] = {  # what to bring for stronger readings, by the measure that shows them weak
    ("planted",): "Bring the codes' vectors (--codebook) or their levels (--config), or more clips.",
    ("probe_reconstructions",): (
        "Bring the encoder's output (--latents) with --codebook or levels (--config): then it is known which codes the "
        "reconstructions are of."
    ),
}


def _lost(r: Reasoning) -> Finding:
    """A loss that is sure: its cause, or where it happened if no measure that is there shows the cause."""
    if weak := _first(WEAK, r):
        return dataclasses.replace(weak, surer=STRONGER[weak.rests_on])
    cause, missing = _cause(r)
    if cause:
        return cause
    if missing:
        return _place(r, missing)
    found = _first((NEARLY_KEPT, BY_ELIMINATION), r, r.lost())  # little is lost and nothing is wrong; or by elimination
    assert found is not None
    return found


def _cause(r: Reasoning) -> tuple[Finding | None, list[str]]:
    """The first cause that a measure shows, and the measures that are missing to show or exclude those before it."""
    missing: list[str] = []
    for rule in CAUSES:
        try:
            evidence = rule.shows(r)
        except Missing as absent:
            missing.append(str(absent))
        else:
            if evidence:
                return _finding(rule, evidence, r.lost(), _ask(missing)), missing
    return None, missing


def _place(r: Reasoning, missing: list[str]) -> Finding:
    """Where a loss happened. By readers that latents have not, it may be one of readers: then the place is not sure."""
    name, confidence, evidence = "lost between pixels and codes", LIKELY, comparison(r)
    if r.m.probe_latents is not None and r.latents_keep:
        name = "lost in quantizing"
    elif r.m.probe_latents is not None:
        name, alike = "lost in the encoder", r.m.probe_pixels_alike
        if alike is not None and r.kept(r.best("latents", "codes"), alike) >= r.limit.latents_kept:
            confidence = POSSIBLE
            evidence = (
                f"{evidence} By the readers that latents have too, pixels show {alike:.1%} and latents "
                f"{r.m.probe_latents:.1%}, so the loss may also be in quantizing."
            )
    return Finding(name, KEPT, r.lost(), confidence, evidence, _ask(missing))


def _not_lost(r: Reasoning) -> Finding:
    """No loss beyond the interval: healthy if a comparison shows it, else what the comparison lacks."""
    if kept := _first((KEPT_WELL,), r, r.lost()):
        ask = "" if r.m.probe_pixels is not None else f"Whether the encoder kept it: bring {WORDS['probe_pixels']}."
        return dataclasses.replace(kept, surer=ask)
    if not r.compared or not r.readable:
        return _cannot("videos", _nothing_upstream(r))
    cause, missing = _cause(r)
    if cause and r.kept(r.need("probe_codes"), r.best("pixels", "latents")) < r.limit.kept:
        return dataclasses.replace(cause, confidence=POSSIBLE)
    found = _first((NO_WORSE,) if missing else (NEARLY_KEPT, NO_WORSE), r, r.lost()) or _first(UNCERTAIN, r)
    assert found is not None
    return dataclasses.replace(found, surer=" ".join(filter(None, ("Bring more test clips.", _ask(missing)))))


def _nothing_upstream(r: Reasoning) -> str:
    said = (
        f"Probes classify {r.need('probe_codes'):.1%} of test clips correctly from the codes; guessing gives "
        f"{r.m.floor:.1%}. Whether more could be read before coding is not known: nothing upstream was given."
    )
    weak = planted_missed(r)
    return f"{said} {weak}" if weak else said


def _cannot(what: str, evidence: str) -> Finding:
    name = WITHOUT[what]
    return Finding(f"{CANNOT_TELL}{what}", KEPT, None, CERTAIN, evidence, f"Bring {WORDS[name]}.")


def _ask(missing: Iterable[str]) -> str:
    wanted = dict.fromkeys(WORDS[name] for name in missing)
    return f"Bring {'; '.join(wanted)}." if wanted else ""


def _first(rules: Iterable[Rule], r: Reasoning, severity: float | None = None) -> Finding | None:
    for rule in rules:
        if evidence := rule.shows(r):
            return _finding(rule, evidence, severity)
    return None


def _finding(rule: Rule, evidence: str, severity: float | None, surer: str = "") -> Finding:
    return Finding(rule.cause, rule.question, severity, rule.confidence, evidence, surer, rule.rests_on)


# --- how are they used, and what stands beside? -----------------------------------------------------


def _usage_alone(r: Reasoning, kept: Finding) -> list[Finding]:
    """Collapse by counts alone, where what was kept does not already say what became of the codes."""
    evidence = one_code_left(r)
    if evidence is None or (kept.question == KEPT and kept.severity is not None):
        return []
    finding = Finding(
        "codebook collapse", USE, unused_share(r), CERTAIN, evidence, kept.surer, ("perplexity", "top1_share"),
    )
    return [finding]


def _beside(r: Reasoning, kept: Finding) -> list[Finding]:
    """What is worth knowing beside the headline and costs nothing by itself."""
    found = []
    if None not in (r.m.probe_codes, r.m.probe_codes_pooled) and not r.pooled:
        if pooling := _first(USES, r, 0.0):
            found.append(pooling)
    few = _first((LIMITS[0], UNCERTAIN[0]), r, 0.0)
    if few and (r.loss_is_sure or kept.name == HEALTHY):
        whole, half = r.need("probe_pixels"), r.need("probe_pixels_half")
        stands = "The loss is" if r.loss_is_sure else "What is kept is"
        found.append(dataclasses.replace(few, evidence=(
            f"Probes on pixels reach {half:.1%} with half of the training clips and {whole:.1%} with all of them, so "
            f"every reading may rise with more clips. {stands} measured on the same clips and stands."
        )))
    still, pixels = r.m.probe_still, r.m.probe_pixels
    if still is not None and pixels is not None and r.readable and r.kept(still, pixels) >= r.limit.kept:
        found.append(Finding(
            "class shows in still frames", DATA, 0.0, LIKELY,
            f"A probe on the mean frame of each clip classifies {still:.1%} correctly; the best reading of pixels is "
            f"{pixels:.1%}. So these labels do not show whether motion is kept.",
            "Bring labels that only motion shows, such as directions.", ("probe_still", "probe_pixels"),
        ))
    return [one for one in found if one.name != kept.name]
