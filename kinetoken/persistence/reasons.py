"""What a decision rested on: a short record as data, and the same as a sentence.

The record holds only what the network itself had read by then; nothing of the truth.
"""

import dataclasses

import numpy as np

from kinetoken.persistence.stopping import sigmoid
from kinetoken.physics.laws import Array

PRESENT = 0.5  # presence above which the candidate counts as in sight
SMOOTH, ROUGH = 0.8, 1.1  # of `roughness`: below the one and above the other it is said so; diffusion has √2


@dataclasses.dataclass(frozen=True)
class Reason:
    """Of one decision."""

    track_id: int
    extractor: str
    decision: str  # persistent or transient
    confidence: float
    frames_seen: int
    frames_in_sight: int  # of those
    vanished: bool  # in sight once, and no longer at the end
    speed_px: float  # a frame, root mean square of the steps that were read; 0 if fewer than two frames
    roughness: float  # root mean square change of the step over that of the step; 0 if fewer than three frames
    posterior: tuple[float, ...]  # of persistent, after each step until the decision
    attention: float  # on the tokens around the place that was read, over uniform


def reason_of(
    track_id: int, extractor: str, persistent: bool, confidence: float, frames_seen: int, place: Array,
    presence: Array, log_odds: Array, attention: float,
) -> Reason:
    """From what was read: place (T, 2) px, presence (T,) and log-odds (S,) of everything up to the decision."""
    here = presence > PRESENT
    speed, roughness = smoothness(place, here)
    return Reason(
        int(track_id), extractor, "persistent" if persistent else "transient", round(float(confidence), 4),
        int(frames_seen), int(here.sum()), bool(here.any() and not here[-1]), round(speed, 3), round(roughness, 3),
        tuple(round(float(p), 4) for p in sigmoid(log_odds)), round(float(attention), 2),
    )


def smoothness(place: Array, here: np.ndarray) -> tuple[float, float]:
    """(speed in px a frame, roughness) over runs of frames in sight. place (T, 2), here (T,)."""
    step, two = np.diff(place, axis=0), here[1:] & here[:-1]
    turn, three = np.diff(step, axis=0), two[1:] & two[:-1]
    speed = float(np.sqrt((step[two] ** 2).sum(-1).mean())) if two.any() else 0.0
    change = float(np.sqrt((turn[three] ** 2).sum(-1).mean())) if three.any() else 0.0
    return speed, change / max(speed, 1e-6) if three.any() else 0.0


def sentence(reason: Reason) -> str:
    """The record in words, each clause from one of its fields."""
    sight = f"in sight in {reason.frames_in_sight} of {reason.frames_seen} frames"
    if reason.vanished:
        moved = "then gone"
    elif reason.roughness == 0:
        moved = "too few to tell how it moves"
    else:
        kind = "smoothly" if reason.roughness < SMOOTH else "erratically" if reason.roughness > ROUGH else "unevenly"
        moved = f"moving {kind} at {reason.speed_px:.1f} px a frame (step changes by {reason.roughness:.2f} of itself)"
    return (
        f"Decided {reason.decision} after {reason.frames_seen} frames at {reason.confidence:.1%}: {sight}, {moved}; "
        f"attention on it {reason.attention:.1f} times uniform."
    )
