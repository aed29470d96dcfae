"""Measures with what follows from them: gains, what is kept and how sure that is. The rules read from here.

A reading's *gain* is (accuracy − baseline) / (1 − baseline); it *keeps* the share gain / gain of the reference, where
the reference is the best reading at any point before it: what the data are known to hold. Accuracies are balanced over
classes, so the baseline is one over their number.
"""

import dataclasses
import math

from kinetoken.diagnosis.measures import Measures, gain

UPSTREAM = ("pixels", "latents")  # points before the codes, the first before the second


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Where measures turn from sound to suspect; how they were set: docs/notes/0006-ward.md."""

    chance: float = 3.0  # standard errors over the baseline, below which nothing can be read at all
    pair: float = 0.75  # accuracy on pixels between two classes, below which they are one to the eye
    few_clips: int = 100  # for training, of the class that has fewest, below which classes that look alike may not be
    sure_pair: float = 0.9  # accuracy on pixels between two classes, from which few clips were enough
    more_clips: float = 0.08  # accuracy on pixels that the last doubling of the training clips brought
    enough: float = 0.8  # gain at any point from which clips and labels are good enough to judge by
    kept: float = 0.95  # share of the reference from which nothing further is asked
    nearly_kept: float = 0.87  # the same, below which more is missing than healthy seeds of one tokenizer differ by
    clearly: float = 0.05  # accuracy by which a reading must be above another for their readers to be held apart
    planted: float = 0.5  # gain on what was planted in the codes, below which a probe is too weak for them
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
    few_codes_anywhere: float = 2.0  # perplexity of all tokens, background too
    one_code_anywhere: float = 0.97  # share of the commonest code among all tokens
    spoiled_db: float = -2.7  # PSNR of the whole picture over the mean video's: something that is not there is painted
    painted_db: float = 1.0  # foreground PSNR over the mean video's, below which the ball is not painted
    bare_db: float = -1.0  # background PSNR over the mean video's, from which the background is painted as it is


THRESHOLDS = Thresholds()


class Missing(Exception):
    """A rule needs a measure that is not there."""


@dataclasses.dataclass(frozen=True)
class Reasoning:
    """Measures with what follows from them; the rules read from here. `pooled`: averaged codes are what is judged."""

    m: Measures
    limit: Thresholds
    pooled: bool = False
    over: str = "space"  # what codes are averaged over, in words

    def need(self, name: str) -> float:
        """The measure; Missing if it is not there."""
        value = getattr(self.m, name)
        if value is None:
            raise Missing(name)
        return float(value)

    def best(self, *points: str) -> float:
        """The best accuracy at these points of the chain, the baseline if none of them was read."""
        readings = (getattr(self.m, f"probe_{point}") for point in points)
        return max((value for value in readings if value is not None), default=self.m.floor)

    def gain(self, accuracy: float) -> float:
        """Where an accuracy lies between the baseline, 0, and 1."""
        return gain(accuracy, self.m.floor)

    def kept(self, accuracy: float, reference: float) -> float:
        """Share of the reference's gain that an accuracy keeps, 1 where there is nothing to keep."""
        above = reference - self.m.floor
        return 1.0 if above <= 0 else (accuracy - self.m.floor) / above

    def error(self, accuracy: float) -> float:
        """Standard error of an accuracy on the test clips; 0 where their number is not known."""
        clips = self.m.test_clips
        return math.sqrt(max(accuracy * (1 - accuracy), 0.0) / clips) if clips else 0.0

    @property
    def read(self) -> bool:
        """Was any probe fitted?"""
        return self.m.probe_codes is not None

    @property
    def compared(self) -> bool:
        """Was anything read upstream of the codes?"""
        return any(getattr(self.m, f"probe_{point}") is not None for point in UPSTREAM)

    @property
    def readable(self) -> bool:
        """Is the class read anywhere, codes included, better than by guessing, beyond chance?"""
        best = self.best(*UPSTREAM, "codes")
        spread = self.error(max(self.m.floor, 1e-9))
        return best - self.m.floor > self.limit.chance * spread

    @property
    def reads_well(self) -> bool:
        """Is the class read nearly without error anywhere, codes included? Then clips and labels are not at fault."""
        return self.gain(self.best(*UPSTREAM, "codes")) >= self.limit.enough

    @property
    def kept_interval(self) -> tuple[float, float]:
        """95 % interval of the share that the codes keep of the best reading upstream."""
        low, high = self.m.kept_low, self.m.kept_high
        if low is None or high is None:
            codes, reference = self.need("probe_codes"), self.best(*UPSTREAM)
            spread = 1.96 * self.error(codes)
            low, high = (self.kept(codes + sign * spread, reference) for sign in (-1, 1))
        return low, high

    @property
    def loss_is_sure(self) -> bool:
        """Do the codes keep less than sound ones do, beyond the interval?"""
        return self.compared and self.read and self.readable and self.kept_interval[1] < self.limit.kept

    @property
    def learned(self) -> bool:
        """Did training bring the loss down? Taken for granted where there is no curve."""
        return self.m.loss_fall is None or self.m.loss_fall >= self.limit.learned

    @property
    def latents_keep(self) -> bool:
        """Do the latents keep what pixels hold? Where pixels were not read, nobody can say that they do not.

        What is read from the codes was in the latents that they were made from.
        """
        found = max(self.need("probe_latents"), self.best("codes"))
        return self.kept(found, self.best("pixels")) >= self.limit.latents_kept

    def lost(self) -> float | None:
        """Share of what could be read that the codes lost, or their average; None where nothing was compared."""
        found = self.m.probe_codes_pooled if self.pooled else self.m.probe_codes
        if found is None or not self.readable or not (self.pooled or self.compared):
            return None
        reference = self.best(*UPSTREAM, "codes")
        return min(max(1 - self.kept(found, reference), 0.0), 1.0)
