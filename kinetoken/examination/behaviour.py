"""How a tokenizer behaves: the same codes twice, alone as in a batch, and whether later frames change earlier codes."""

import dataclasses
from typing import Literal

import numpy as np

from kinetoken.core.progress import Progress
from kinetoken.examination.checking import Array, CheckedTokenizer, Pixels

Answer = Literal["yes", "nearly", "no", "not measured"]

CLIPS = 8  # looked at by each check
ROUNDING = 0.005  # share of codes that may differ by the order of sums in floating point
CLOSE = 1e-3  # difference of continuous latents, over their deviation, that counts as none


@dataclasses.dataclass(frozen=True)
class Check:
    """The answer to one question, the share of codes (or latents) that differ, and a sentence."""

    name: str
    question: str
    answer: Answer
    share: float | None
    evidence: str


def behaviour(tokenizer: CheckedTokenizer, pixels: Pixels, progress: Progress) -> tuple[Check, ...]:
    """The three checks on a few clips (n, T, H, W, 3), n at least 2."""
    progress.phase("checking batches, repeats and causality", 3, "checks")
    clips = pixels[:CLIPS]
    first = tokenizer.encode(clips)
    repeated = _share(tokenizer, first, tokenizer.encode(clips))
    progress.advance()
    alone = np.concatenate([tokenizer.encode(clips[row : row + 1]) for row in range(len(clips))])
    batched = _share(tokenizer, first, alone)
    progress.advance()
    found = (
        _compared("repeatable", "Does the same clip give the same codes twice?", repeated,
                  "between two runs over the same clips"),
        _compared("batch_independent", "Does a clip give the same codes alone and in a batch?", batched,
                  f"between {len(clips)} clips in one batch and one by one"),
        _causal(tokenizer, clips, first, repeated),
    )
    progress.advance()
    return found


def _compared(name: str, question: str, share: float, where: str) -> Check:
    answer: Answer = "yes" if share == 0 else "nearly" if share <= ROUNDING else "no"
    rounding = ", as floating point allows" if answer == "nearly" else ""
    return Check(name, question, answer, share, f"{share:.2%} of codes differ {where}{rounding}.")


def _causal(tokenizer: CheckedTokenizer, clips: Pixels, first: Array, repeated: float) -> Check:
    """Frames after the end of a time slice are replaced by those of another clip; do the slices up to it stay?"""
    name, question = "causal", "Do later frames leave the codes of earlier time slices as they are?"
    axis = tokenizer.time_axis()
    if axis is None:
        return Check(name, question, "not measured", None, "The layout of the codes has no time axis.")
    slices, frames = first.shape[axis], tokenizer.facts.frames
    if slices < 2:
        return Check(name, question, "not measured", None, "One time slice holds all frames.")
    if repeated > ROUNDING:
        return Check(name, question, "not measured", None, "The codes differ between two runs already.")
    changed = 0.0
    for last in range(slices - 1):
        end = slice_end(last, slices, frames)
        other = clips.copy()
        other[:, end:] = np.roll(clips, 1, axis=0)[:, end:, ::-1, ::-1]  # mirrored: differs where the clips are alike
        part = [slice(None)] * first.ndim
        part[axis] = slice(0, last + 1)
        changed = max(changed, _share(tokenizer, first[tuple(part)], tokenizer.encode(other)[tuple(part)]))
    checked = _compared(name, question, changed, "in time slices that end before the first changed frame")
    return dataclasses.replace(checked, evidence=f"At most {checked.evidence}")


def slice_end(last: int, slices: int, frames: int) -> int:
    """The first frame after time slice `last`, from 0.

    Frames are in equal groups, or the first frame is a slice alone (1 + k·s frames in 1 + k slices, Yu et al. 2023,
    arXiv:2310.05737); where neither fits, in groups as equal as can be.
    """
    if frames % slices and slices > 1 and (frames - 1) % (slices - 1) == 0:
        return 1 + last * ((frames - 1) // (slices - 1))
    return -(-(last + 1) * frames // slices)


def _share(tokenizer: CheckedTokenizer, one: Array, other: Array) -> float:
    """Of codes that differ, or of latents that differ by more than rounding."""
    if tokenizer.facts.quantized:
        return float((one != other).mean())
    return float((np.abs(one - other) > CLOSE * max(float(one.std()), 1e-9)).mean())
