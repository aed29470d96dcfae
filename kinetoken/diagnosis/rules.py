"""The rules by which the doctor names what the codes lost: each a test of the measures and its evidence in words.

They are asked in order and the first that applies names the cause: facts of the table, then what clips and labels
allow to be said, then whether the codes keep the class, then what went wrong in training.
"""

import dataclasses
import math
from collections.abc import Callable

from kinetoken.diagnosis.finding import CERTAIN, DATA, KEPT, LIKELY, POSSIBLE, Confidence, Question
from kinetoken.diagnosis.reasoning import UPSTREAM, Missing, Reasoning

HEALTHY = "healthy"
POOLING = "pooling drops position"


@dataclasses.dataclass(frozen=True)
class Rule:
    """A cause, and a test that returns the evidence where it applies and None where it does not.

    rests_on: names of the measures that the evidence is made of, beside the readings along the chain.
    """

    cause: str
    shows: Callable[["Reasoning"], str | None]
    rests_on: tuple[str, ...] = ()
    question: Question = KEPT
    confidence: Confidence = LIKELY


def _bypassed(r: Reasoning) -> str | None:
    if r.m.quantization_error is None or r.m.quantization_error >= r.limit.exact:
        return None
    return f"The codes equal the latents (error {r.m.quantization_error:.1e} of their variance): nothing was rounded."


def _miscoded(r: Reasoning) -> str | None:
    if r.m.mismatch is None or r.m.mismatch <= r.limit.mismatch:
        return None
    return f"For {r.m.mismatch:.1%} of the tokens, the tokenizer gives another code than the table"


def _other_clips(r: Reasoning) -> str | None:
    said, found = _miscoded(r), r.m.found_elsewhere
    if said is None or found is None or found < r.limit.misplaced:
        return None
    return f"{said}, and for {found:.0%} of those clips the right codes are in another row."


def _out_of_place(r: Reasoning) -> str | None:
    said, found = _miscoded(r), r.m.found_moved
    if said is None or found is None or found < r.limit.misplaced:
        return None
    return f"{said}, and in {found:.0%} of those clips the right tokens are all there, at other grid positions."


def _other_tokenizer(r: Reasoning) -> str | None:
    said = _miscoded(r)
    return None if said is None else f"{said}."


def _too_few_clips(r: Reasoning) -> str | None:
    whole, half, count = r.m.probe_pixels, r.m.probe_pixels_half, r.m.clips_a_class
    if whole is None or half is None or r.reads_well:
        return None
    pair = r.m.pair_pixels_high if r.m.pair_pixels_high is not None else r.m.pair_pixels
    if count is not None and count < r.limit.few_clips and (pair or 0) < r.limit.sure_pair:
        return (
            f"With {count:.0f} training clips in the smallest class, probes reach {whole:.1%} on pixels, and "
            f"{half:.1%} with half of the clips. With so few clips, a missing class is no proof against the codes."
        )
    return None


def _steep(r: Reasoning) -> str | None:
    whole, half = r.m.probe_pixels, r.m.probe_pixels_half
    if whole is None or half is None or r.reads_well:
        return None
    if whole - half < max(r.limit.more_clips, 2 * r.error(whole)):
        return None
    return (
        f"Probes on pixels reach {half:.1%} with half of the training clips and {whole:.1%} with all of them. Each "
        f"doubling still adds {100 * (whole - half):.0f} points, so what the clips hold is not known yet."
    )


def _few_test_clips(r: Reasoning) -> str | None:
    if not r.compared or not r.readable:
        return None
    low, high = r.kept_interval
    share = r.kept(r.need("probe_codes"), r.best(*UPSTREAM))
    if share >= r.limit.kept or high < r.limit.kept:
        return None
    return (
        f"The codes keep {share:.0%} of what can be read upstream, but on {r.need('test_clips'):.0f} test clips the "
        f"95 % interval runs from {low:.0%} to {high:.0%}: that neither shows a loss nor excludes it."
    )


def _unreadable(r: Reasoning) -> str | None:
    best = r.best(*UPSTREAM, "codes")
    if not r.readable:
        if r.m.probe_pixels is None:
            return None
        return (
            f"The best probe at any point, pixels included, reaches {best:.1%}, and guessing gives {r.m.floor:.1%}. "
            "Either the labels belong to other clips (shuffled, or joined in another order), or the videos do not show "
            "what they name."
        )
    pair = r.m.pair_pixels_high if r.m.pair_pixels_high is not None else r.m.pair_pixels
    if pair is not None and pair < r.limit.pair and not r.reads_well:
        return (
            f"On pixels, probes distinguish two classes in only {r.m.pair_pixels:.1%} of cases; guessing gives 50%."
        )
    return None


def _kept(r: Reasoning) -> str | None:
    """Evidence that the codes keep the class, against what is read upstream."""
    codes, reference = r.need("probe_codes"), r.best(*UPSTREAM)
    if not r.compared or not r.readable or r.kept(codes, reference) < r.limit.kept:
        return None
    return comparison(r)


def comparison(r: Reasoning) -> str:
    codes, reference = r.need("probe_codes"), r.best(*UPSTREAM)
    low, high = r.kept_interval
    through = ", through their reconstructions," if r.m.probe_decoded == codes else ""
    before = max((point for point in UPSTREAM if getattr(r.m, f"probe_{point}") is not None), key=r.best)
    return (
        f"Probes classify {codes:.1%} of test clips correctly from the codes{through} and {reference:.1%} from the "
        f"{before}; guessing gives {r.m.floor:.1%}. The codes keep {min(r.kept(codes, reference), 1):.0%} of "
        f"what can be read (95 % interval {low:.0%} to {high:.0%})."
    )


def _nearly_kept(r: Reasoning) -> str | None:
    if not r.compared or r.kept(r.need("probe_codes"), r.best(*UPSTREAM)) < r.limit.nearly_kept:
        return None
    return (
        f"{comparison(r)} That is little for a sound tokenizer, but no measure shows a fault, and sound tokenizers of "
        "one kind differ by as much between seeds."
    )


def _no_worse(r: Reasoning) -> str | None:
    """Evidence that no loss is shown and a large one is excluded: a test of non-inferiority, by the interval."""
    if not r.compared or r.loss_is_sure or r.kept_interval[0] < r.limit.nearly_kept:
        return None
    return (
        f"{comparison(r)} That shows no loss, and excludes one of more than {1 - r.kept_interval[0]:.0%}."
    )


def _fall(r: Reasoning, after: str = "codes") -> str:
    """Where along the chain the probes' accuracy falls, in words: from the best point before."""
    points = ("codes",) if after == "codes_pooled" else UPSTREAM
    before = max(points, key=r.best)
    first, second = r.best(before), r.need(f"probe_{after}")
    return f"Probe accuracy falls from {first:.1%} on {before} to {second:.1%} on {AFTER.get(after, after)}"


def _few_levels(r: Reasoning) -> str | None:
    bits = math.log2(r.m.codebook_size)
    if bits >= r.limit.few_bits:
        return None
    return f"{_fall(r)}; a token can take {r.m.codebook_size} values, which is {bits:.1f} bits."


def _few_directions(r: Reasoning) -> str | None:
    rank, channels = r.need("effective_rank_latents"), r.need("latent_channels")
    if channels < 2 or rank >= r.limit.few_directions * channels or not r.learned:
        return None
    return f"{_fall(r)}, and on the foreground the latents use {rank:.2f} effective directions of {channels:.0f}."


def _drifted(r: Reasoning) -> str | None:
    offset, error = r.need("latent_offset"), r.need("quantization_error")
    if offset < r.limit.drifted or error < r.limit.far or not r.learned:
        return None
    return (
        f"{_fall(r)}. On the foreground the latents' mean is {offset:.1f} of their standard deviations away from the "
        f"centre of the codebook, and rounding costs {error:.1f} times the latents' variance."
    )


def _starved(r: Reasoning) -> str | None:
    if r.latents_keep or (fall := r.need("loss_fall")) >= r.limit.settled:
        return None
    return (
        f"{_fall(r)}. It is already {r.need('probe_latents'):.1%} on the latents, and the validation loss fell by only "
        f"{fall:.0%} in all of training, so longer training would change nothing."
    )


def _collapsed(r: Reasoning) -> str | None:
    """Few codes on what moves; where that is not known, hardly any code at all among all tokens."""
    if r.m.perplexity_foreground is None or r.m.top1_share_foreground is None:
        if (said := _hardly_any(r)) is None:
            raise Missing("perplexity_foreground")
        return f"{_fall(r)}. {said}"
    perplexity, top = r.m.perplexity_foreground, r.m.top1_share_foreground
    if perplexity >= r.limit.few_codes and top <= r.limit.one_code:
        return None
    return (
        f"{_fall(r)}. On the foreground only {perplexity:.1f} of {r.m.codebook_size} codes are in effective use, and "
        f"the most frequent code has {top:.0%} of the tokens."
    )


def _hardly_any_moving(r: Reasoning) -> str | None:
    """So few codes on what moves that whatever the picture looks like, they say little of it."""
    perplexity = r.m.perplexity_foreground
    return None if perplexity is None or perplexity >= r.limit.few_codes else _collapsed(r)


def _hardly_any(r: Reasoning) -> str | None:
    """Few codes over all tokens, background too: what may well explain a loss, but proves none."""
    perplexity, top = r.m.perplexity, r.m.top1_share
    if perplexity is None or top is None or r.m.codebook_size < MANY_CODES:
        return None
    if perplexity >= r.limit.few_codes_anywhere and top <= r.limit.one_code_anywhere:
        return None
    return _all_tokens(r, perplexity, top)


def one_code_left(r: Reasoning) -> str | None:
    """Evidence of collapse by counts alone: most clips consist of one code, the same in all of them."""
    perplexity, top, places = r.m.perplexity, r.m.top1_share, r.m.tokens_a_clip
    if perplexity is None or top is None or places is None or r.m.codebook_size < MANY_CODES:
        return None
    others = (1 - top) * places
    if top <= r.limit.one_code_anywhere or others >= 1:
        return None
    if top >= 1:
        return f"All tokens of all clips have the same code, one of {r.m.codebook_size}."
    return (
        f"{_all_tokens(r, perplexity, top)} On average {others:.2f} of a clip's {places:.0f} tokens are any other "
        "code, so most clips have the same codes."
    )


def _all_tokens(r: Reasoning, perplexity: float, top: float) -> str:
    return (
        f"Over all tokens only {perplexity:.2f} of {r.m.codebook_size} codes are in effective use, and the most "
        f"frequent code has {top:.1%} of the tokens."
    )


def unused_share(r: Reasoning) -> float:
    """Share of the bits of a token that the codes do not use."""
    perplexity = max(r.m.perplexity or 1.0, 1.0)
    return min(max(1 - math.log2(perplexity) / math.log2(r.m.codebook_size), 0.0), 1.0)


MANY_CODES = 3  # with fewer, one code for most tokens is what a codebook of this size may well show


def _spoiled(r: Reasoning) -> str | None:
    whole = r.m.picture_gain_db
    if whole is None or whole >= r.limit.spoiled_db:
        return None
    return (
        f"{_fall(r)}. {_painting(r)}, and {whole:+.1f} dB on the whole picture. The mean video alone would be closer, "
        "so the codes describe a background that is not there."
    )


def _unpainted(r: Reasoning) -> str | None:
    if r.need("foreground_gain_db") >= r.limit.painted_db or r.need("background_gain_db") < r.limit.bare_db:
        return None
    if not r.latents_keep:
        return None
    if not r.learned and r.need("loss_fall") >= r.limit.begun:
        return None
    said = "" if r.m.loss_fall is None else f", and the validation loss fell by {r.m.loss_fall:.0%}"
    return (
        f"{_fall(r)}, although it is {r.need('probe_latents'):.1%} on the latents and many codes are in use: the codes "
        f"describe something else. {_painting(r)}{said}."
    )


def _painting(r: Reasoning) -> str:
    ball, rest = r.need("foreground_gain_db"), r.need("background_gain_db")
    return f"Relative to the mean video, the PSNR is {ball:+.1f} dB on the foreground, {rest:+.1f} dB on the background"


def _undertrained(r: Reasoning) -> str | None:
    fall, late = r.need("loss_fall"), r.m.late_fall or 0.0
    if late >= r.limit.late_fall:
        return (
            f"{_fall(r)}. The last quarter of training still brought {late:.0%} of the total fall of the validation "
            "loss: it had not settled when training ended."
        )
    if r.learned or fall < r.limit.settled:
        return None
    painted = "" if r.m.foreground_gain_db is None else (
        f", and on the foreground the PSNR is only {r.m.foreground_gain_db:+.1f} dB relative to the mean video"
    )
    return f"{_fall(r)}. The validation loss had fallen by only {fall:.0%} when training ended{painted}."


def _narrow(r: Reasoning) -> str | None:
    return (
        f"{_fall(r)}. Neither codebook nor loss shows a fault. So, by elimination, the encoder keeps too little in a "
        "token."
    )


def _pooling(r: Reasoning) -> str | None:
    codes, pooled = r.need("probe_codes"), r.need("probe_codes_pooled")
    if codes - r.m.floor <= r.limit.chance * r.error(r.m.floor) or r.kept(pooled, codes) >= r.limit.kept:
        return None
    return f"{_fall(r, 'codes_pooled')}: the codes hold the class, their average over {r.over} does not."


def _shown_by_reconstructions(r: Reasoning) -> str | None:
    drawn, codes = r.m.probe_reconstructions, r.m.probe_codes
    if drawn is None or codes is None or drawn - codes < max(r.limit.clearly, 2 * r.error(codes)):
        return None
    return (
        f"Probes classify {codes:.1%} of test clips correctly from the codes, and {drawn:.1%} from the "
        "reconstructions. A decoder knows nothing but the codes. So either these probes miss what the codes hold, or "
        "the reconstructions are of other codes."
    )


def planted_missed(r: Reasoning) -> str | None:
    """Evidence that these probes cannot read even what was planted in the codes."""
    if r.m.planted is None or r.m.planted >= r.limit.planted:
        return None
    return (
        f"As a control, what is known was planted in the same codes. The same probes read only "
        f"{min(max(r.m.planted, 0), 1):.0%} of it. With so many different codes and so few clips, they could miss a "
        "class that the codes do hold."
    )


AFTER = {"codes_pooled": "averaged codes"}
PAINTING = ("picture_gain_db", "foreground_gain_db", "background_gain_db")
FACTS = (  # of the table itself; they need no labels
    Rule("quantizer bypassed", _bypassed, ("quantization_error",), confidence=CERTAIN),
    Rule("codes of other clips", _other_clips, ("mismatch", "found_elsewhere"), confidence=CERTAIN),
    Rule("tokens out of place", _out_of_place, ("mismatch", "found_moved"), confidence=CERTAIN),
    Rule("codes of another tokenizer", _other_tokenizer, ("mismatch",), confidence=CERTAIN),
)
LIMITS = (  # what clips and labels allow to be said; no tokenizer can mend them
    Rule("too little data", _too_few_clips, ("probe_pixels_half", "clips_a_class", "pair_pixels"), DATA),
    Rule("labels not separable in pixels", _unreadable, ("pair_pixels",), DATA),
)
UNCERTAIN = (  # where neither a loss nor that there is none is shown
    Rule("too little data", _steep, ("probe_pixels_half", "clips_a_class"), DATA),
    Rule("too little data", _few_test_clips, ("test_clips",), DATA),
)
WEAK = (  # readings that miss what the codes hold or may hold
    Rule("probe too weak", _shown_by_reconstructions, ("probe_reconstructions",)),
    Rule("probe too weak", planted_missed, ("planted",)),
)
KEPT_WELL = Rule(HEALTHY, _kept)
NEARLY_KEPT = Rule(HEALTHY, _nearly_kept, ("test_clips",), confidence=POSSIBLE)
NO_WORSE = Rule(HEALTHY, _no_worse, ("kept_low", "kept_high"), confidence=POSSIBLE)
BY_ELIMINATION = Rule(
    "encoder starved", _narrow, ("perplexity_foreground", "quantization_error", "loss_fall"), confidence=POSSIBLE
)
CAUSES = (  # of a loss that is measured; where none shows, BY_ELIMINATION is left
    Rule("levels too few", _few_levels, ("codebook_size",)),
    Rule("dimensional collapse", _few_directions, ("effective_rank_latents", "latent_channels", "loss_fall")),
    Rule("encoder and codebook drifted apart", _drifted, ("latent_offset", "quantization_error", "loss_fall")),
    Rule("encoder starved", _starved, ("loss_fall",)),
    Rule("codebook collapse", _hardly_any_moving, ("perplexity_foreground", "top1_share_foreground")),
    Rule("loss dominated by background", _spoiled, PAINTING),
    Rule("codebook collapse", _collapsed, ("perplexity_foreground", "top1_share_foreground")),
    Rule("loss dominated by background", _unpainted, (*PAINTING, "loss_fall")),
    Rule("undertrained", _undertrained, ("loss_fall", "late_fall", "foreground_gain_db")),
)
USES = (Rule(POOLING, _pooling),)  # of sound codes
