"""Are the first frames reconstructed? A causal tokenizer takes 4k + 1 frames, and spoils the first ones of others."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from kinetoken.diagnosis.checks.facts import CodeFacts
from kinetoken.diagnosis.finding import KEPT, LIKELY, Finding

Array = NDArray[np.float64]

STRIDE = 4  # frames a time slice of most causal tokenizers
WORSE_DB = 2.0  # by which the best of the first frames must lie below the worst of the others
UNEXPLAINED_DB = 1.0  # of this, what must remain where each frame is held against how much it shows
SURE = 4.0  # standard errors over clips
LEAST_CLIPS = 8
LEAST_FRAMES = 4
MOST = 8  # first frames that are looked at
EXACT = 1e-6  # mean squared error below which a frame is exact


@dataclasses.dataclass(frozen=True)
class FirstFrames:
    """The first `count` frames' PSNR and that of the others in dB, their gap over clips, and its standard error."""

    count: int
    first_db: float
    others_db: float
    gap_db: float
    error_db: float


def decibel(error: Array) -> Array:
    return np.asarray(-10 * np.log10(np.maximum(error, EXACT)))


def first_frames(errors: Array, energy: Array) -> FirstFrames | None:
    """The frames at the start that are clearly worse than all others, of errors and energy (n, T).

    errors: mean squared ones; energy: that of each frame's pixels about their mean over clips, so that a frame that
    simply shows more is not counted as worse.
    """
    clips, frames = errors.shape
    if clips < LEAST_CLIPS or frames < LEAST_FRAMES:
        return None
    level = decibel(errors)
    relative = decibel(errors / np.maximum(energy / max(float(energy.mean()), 1e-12), 1e-3))
    for count in range(min(MOST, frames // 2), 0, -1):
        found = [_gap(each, count) for each in (level, relative)]
        wanted = zip(found, (WORSE_DB, UNEXPLAINED_DB), strict=True)
        if all(
            worst > least and gap.mean() > SURE * gap.std() / np.sqrt(clips) for (worst, gap), least in wanted
        ):
            gap = found[0][1]
            return FirstFrames(
                count, float(level[:, :count].mean()), float(level[:, count:].mean()), float(gap.mean()),
                float(gap.std() / np.sqrt(clips)),
            )
    return None


def _gap(level: Array, count: int) -> tuple[float, Array]:
    """By how much the best of the first frames lies below the worst of the others, on average; and each clip's gap."""
    mean = level.mean(0)
    return float(mean[count:].min() - mean[:count].max()), level[:, count:].mean(1) - level[:, :count].mean(1)


def first_not_reconstructed(facts: CodeFacts) -> Finding | None:
    """The first frames of reconstructions clearly worse than the rest."""
    sight = facts.sight
    if sight is None or sight.errors is None or sight.energy is None:
        return None
    found = first_frames(sight.errors, sight.energy)
    if found is None:
        return None
    frames = sight.errors.shape[1]
    fits = frames % STRIDE == 1
    length = (
        f"The clips have {frames} frames, which is {frames // STRIDE} · {STRIDE} + 1, as causal tokenizers take them: "
        "look at how the decoder treats the first one." if fits else
        f"The clips have {frames} frames, not {STRIDE}k + 1: a causal tokenizer takes the first frame alone and "
        f"{STRIDE} to a slice after it ({frames // STRIDE * STRIDE + 1} frames would fit), and fills up the rest."
    )
    which = "The first frame has" if found.count == 1 else f"The first {found.count} frames have"
    return Finding(
        "first frames not reconstructed", KEPT, found.count / frames, LIKELY,
        f"{which} a PSNR of {found.first_db:.1f} dB, the others of {found.others_db:.1f} dB (gap {found.gap_db:.1f} ± "
        f"{1.96 * found.error_db:.1f} dB over {len(sight.errors)} clips). {length}",
        "Reconstructions of the same clips with another number of frames.", ("reconstruction.psnr_db",),
    )
