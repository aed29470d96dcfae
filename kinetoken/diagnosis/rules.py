"""The rules by which the doctor names a cause: each a test of the measures, its evidence in words, and the cure.

They are asked in order and the first that applies names the cause: facts of the table, then what clips and labels
hold, then whether the codes keep it, then what went wrong in training. A reading *keeps* the share
(accuracy − floor) / (reference − floor), where the reference is the best reading at any point before it: what the
data are known to hold.
"""

import dataclasses
import math
from collections.abc import Callable

from kinetoken.diagnosis.measures import Measures


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Where measures turn from sound to suspect; set on half of the ward's cases (docs/notes/0006-ward.md)."""

    readable: float = 0.15  # accuracy over the floor below which the class cannot be read at all
    pair: float = 0.75  # accuracy on pixels between two classes, below which they are one to the eye
    few_clips: int = 100  # for training, of the class that has fewest, below which classes that look alike may not be
    sure_pair: float = 0.9  # accuracy on pixels between two classes, from which few clips were enough
    more_clips: float = 0.08  # accuracy on pixels that the last doubling of the training clips brought
    kept: float = 0.92  # share of the reference from which nothing further is asked
    nearly_kept: float = 0.87  # the same, below which more is missing than healthy seeds of one tokenizer differ by
    exact: float = 1e-6  # quantization error below which no quantizer ran; of FSQ with 256 levels it is 2e-5
    mismatch: float = 0.01  # share of tokens; rounding between machines stays far below
    misplaced: float = 0.5  # share of the miscoded clips whose right codes stand elsewhere
    few_bits: float = 4.0  # log2 of the codebook's size
    learned: float = 0.42  # share of its first value that the loss fell by, from which training went well
    settled: float = 0.06  # the same, below which training changed nothing
    begun: float = 0.1  # the same, from which training was on its way
    late_fall: float = 0.15  # share of the loss's fall in the last quarter of training; a straight line brings 0.25
    few_directions: float = 0.4  # effective rank over the number of channels
    drifted: float = 1.2  # deviations between the latents' mean and the codebook's centre
    far: float = 0.9  # quantization error from which the latents' own mean would be nearer than their codes
    latents_kept: float = 0.92  # share of what pixels hold that a sound encoder's latents keep
    few_codes: float = 6.0  # foreground perplexity
    one_code: float = 0.5  # share of the commonest code on the foreground
    spoiled_db: float = -2.7  # PSNR of the whole picture over the mean video's: something that is not there is painted
    painted_db: float = 1.0  # foreground PSNR over the mean video's, below which the ball is not painted
    bare_db: float = -1.0  # background PSNR over the mean video's, from which the background is painted as it is


THRESHOLDS = Thresholds()
HEALTHY = "healthy"
POOLING = "pooling drops position"


@dataclasses.dataclass(frozen=True)
class Rule:
    """A cause, and a test that returns the evidence where it applies and None where it does not.

    rests_on: names of the measures that the evidence is made of, beside the readings along the chain.
    """

    cause: str
    shows: Callable[["Reasoning"], str | None]
    cure: str
    rests_on: tuple[str, ...] = ()


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

    @property
    def learned(self) -> bool:
        """Did training bring the loss down? Taken for granted where there is no curve."""
        return self.m.loss_fall is None or self.m.loss_fall >= self.limit.learned

    @property
    def latents_keep(self) -> bool:
        """Do the latents keep what pixels hold? Where pixels were not read, nobody can say that they do not."""
        return self.kept(self.need("probe_latents"), self.best("pixels")) >= self.limit.latents_kept

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


def _constant(r: Reasoning) -> str | None:
    if r.m.top1_share is None or r.m.top1_share < 1:
        return None
    if r.m.latent_offset is not None and r.m.probe_codes is not None:
        return None  # with latents and labels the rules below can tell why
    return f"All tokens of all clips have the same code, one of {r.m.codebook_size}."


def _too_few_clips(r: Reasoning) -> str | None:
    if all(getattr(r.m, f"probe_{point}") is None for point in ("pixels", "latents", "codes")):
        raise Missing("labels")
    whole, half, count = r.m.probe_pixels, r.m.probe_pixels_half, r.m.clips_a_class
    if whole is None or half is None:
        return None
    if count is not None and count < r.limit.few_clips and (r.m.pair_pixels or 0) < r.limit.sure_pair:
        return (
            f"With {count} training clips in the smallest class, probes reach {whole:.1%} on pixels, and {half:.1%} "
            "with half of the clips. With so few clips, neither labels nor codes can be blamed for the errors."
        )
    if whole - half < r.limit.more_clips:
        return None
    return (
        f"Probes on pixels reach {half:.1%} with half of the training clips and {whole:.1%} with all of them. Each "
        f"doubling still adds {100 * (whole - half):.0f} points, so the codes cannot be blamed for the errors."
    )


def _unreadable(r: Reasoning) -> str | None:
    best = r.best("pixels", "latents", "codes")
    if best - r.m.floor < r.limit.readable:
        r.need("probe_pixels")
        return f"The best probe at any point, pixels included, reaches {best:.1%}; guessing gives {r.m.floor:.1%}."
    if r.m.pair_pixels is not None and r.m.pair_pixels < r.limit.pair:
        return f"On pixels, probes distinguish two classes in only {r.m.pair_pixels:.1%} of cases; guessing gives 50%."
    return None


def _kept(r: Reasoning) -> str | None:
    codes, reference = r.need("probe_codes"), r.best("pixels", "latents")
    if r.kept(codes, reference) < r.limit.kept:
        return None
    if reference <= r.m.floor:
        return f"Probes classify {codes:.1%} of test clips correctly from the codes; guessing gives {r.m.floor:.1%}."
    return (
        f"Probes classify {codes:.1%} of test clips correctly from the codes and {reference:.1%} from the best earlier "
        f"point; guessing gives {r.m.floor:.1%}."
    )


def _fall(r: Reasoning, after: str = "codes") -> str:
    """Where along the chain the probes' accuracy falls, in words: from the best point before."""
    points = ("codes",) if after == "codes_pooled" else ("pixels", "latents")
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
    perplexity, top = r.need("perplexity_foreground"), r.need("top1_share_foreground")
    if perplexity >= r.limit.few_codes and top <= r.limit.one_code:
        return None
    return (
        f"{_fall(r)}. On the foreground only {perplexity:.1f} of {r.m.codebook_size} codes are in effective use, and "
        f"the most frequent code has {top:.0%} of the tokens."
    )


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
    return (
        f"{_fall(r)}. The validation loss had fallen by only {fall:.0%} when training ended, and on the foreground the "
        f"PSNR is only {r.need('foreground_gain_db'):+.1f} dB relative to the mean video."
    )


def _nearly_kept(r: Reasoning) -> str | None:
    codes, reference = r.need("probe_codes"), r.best("pixels", "latents")
    if (share := r.kept(codes, reference)) < r.limit.nearly_kept:
        return None
    clips = r.m.test_clips
    chance = "" if clips is None else f" (±{196 * math.sqrt(codes * (1 - codes) / clips):.1f} points by chance)"
    return (
        f"Probes classify {codes:.1%} of test clips correctly from the codes{chance} and {reference:.1%} from the best "
        f"earlier point: {share:.0%} of the accuracy above guessing is kept. That is little for a sound tokenizer. But "
        "no measure shows a fault, and sound tokenizers of one kind differ by as much between seeds."
    )


def _narrow(r: Reasoning) -> str | None:
    return (
        f"{_fall(r)}. Neither codebook nor loss shows a fault. So, by elimination, the encoder keeps too little in a "
        "token."
    )


def _pooling(r: Reasoning) -> str | None:
    codes, pooled = r.need("probe_codes"), r.need("probe_codes_pooled")
    if codes - r.m.floor < r.limit.readable or r.kept(pooled, codes) >= r.limit.kept:
        return None
    return f"{_fall(r, 'codes_pooled')}: the codes hold the class, their average over space does not."


AFTER = {"codes_pooled": "averaged codes"}
COLLAPSE = (
    "Start the codebook from k-means and restart its dead codes (dvc exp run "
    "-S train_tokenizer.quantizer.kmeans_start=true -S train_tokenizer.quantizer.dead_code_threshold=0.1), or use "
    "FSQ, whose codebook is fixed (-S train_tokenizer.quantizer.kind=fsq). If the encoder itself starts far away "
    "from 0, neither is enough: start it around 0."
)
CAPACITY = (
    "Give the encoder more capacity or a finer grid of tokens (dvc exp run "
    "-S train_tokenizer.network.fine_channels=96 -S train_tokenizer.network.coarse_channels=144)."
)
FACTS = (  # of the table itself; they need no labels
    Rule("quantizer bypassed", _bypassed,
         "Use the quantized codes and not the encoder's output. If the tokenizer has a switch for quantizing, set it "
         "(here: dvc repro --force extract_codes@motion).", ("quantization_error",)),
    Rule("codes of other clips", _other_clips,
         "Join codes and clips by track_id and not by their order, or extract the codes again "
         "(dvc repro --force extract_codes@motion).", ("mismatch", "found_elsewhere")),
    Rule("tokens out of place", _out_of_place,
         "Reshape the tokens in the order in which they were flattened (time, rows, columns), or extract the codes "
         "again (dvc repro --force extract_codes@motion).", ("mismatch", "found_moved")),
    Rule("codes of another tokenizer", _other_tokenizer,
         "Extract the codes again with this tokenizer, in eval mode (dvc repro --force extract_codes@motion).",
         ("mismatch",)),
    Rule("codebook collapse", _constant, COLLAPSE, ("top1_share", "codebook_size")),
)
DATA = (  # of clips and labels; no tokenizer can mend them
    Rule("too little data", _too_few_clips,
         "Use more clips (dvc exp run -S generate_trajectories.motion.counts.train=3840).",
         ("probe_pixels_half", "clips_a_class", "pair_pixels")),
    Rule("labels not separable in pixels", _unreadable,
         "Change the scene or the labels: no tokenizer can keep what the video does not show "
         "(dvc exp run -S 'generate_trajectories.motion.pitch=[0.6,1.0]' for helices that look like circles).",
         ("pair_pixels",)),
)
BACKGROUND = (
    "Weight the loss towards the foreground that moves, and vary the background less (dvc exp run "
    "-S train_tokenizer.loss.foreground=12 -S train_tokenizer.augmentation.background=0.1)."
)
PAINTING = ("picture_gain_db", "foreground_gain_db", "background_gain_db")
TRAINING = (
    Rule(HEALTHY, _kept, "None needed."),
    Rule("levels too few", _few_levels,
         "Use more levels or a larger codebook (dvc exp run -S 'train_tokenizer.quantizer.levels=[32,32]', or "
         "-S train_tokenizer.quantizer.codebook_size=1024).", ("codebook_size",)),
    Rule("dimensional collapse", _few_directions,
         "Train again with a contrastive term, which keeps the encoder's directions apart "
         "(dvc exp run -S train_tokenizer.quantizer.contrastive=0.002).",
         ("effective_rank_latents", "latent_channels", "loss_fall")),
    Rule("encoder and codebook drifted apart", _drifted,
         "Train encoder and codebook together again with a commitment term (dvc exp run "
         "-S train_tokenizer.quantizer.commitment=0.25 -S train_tokenizer.quantizer.decay=0.9), or restore the "
         "encoder that belongs to the codebook.", ("latent_offset", "quantization_error", "loss_fall")),
    Rule("loss dominated by background", _spoiled, BACKGROUND, PAINTING),
    Rule("encoder starved", _starved, CAPACITY, ("loss_fall",)),
    Rule("codebook collapse", _collapsed, COLLAPSE, ("perplexity_foreground", "top1_share_foreground")),
    Rule("loss dominated by background", _unpainted, BACKGROUND, (*PAINTING, "loss_fall")),
    Rule("undertrained", _undertrained,
         "Train longer (dvc exp run -S train_tokenizer.epochs=44), or raise the learning rate.",
         ("loss_fall", "late_fall", "foreground_gain_db")),
    Rule(HEALTHY, _nearly_kept, "None needed. A second seed shows whether the missing points are the tokenizer's own.",
         ("test_clips",)),
    Rule("encoder starved", _narrow, CAPACITY, ("perplexity_foreground", "quantization_error", "loss_fall")),
)
USE_RULES = (
    Rule(POOLING, _pooling,
         "Keep the grid: pool by soft-argmax over each time slice, or attend over all tokens "
         "(dvc exp run -S 'train_classifier.poolings=[soft_argmax]')."),
)
RULES = (*FACTS, *DATA, *TRAINING)
