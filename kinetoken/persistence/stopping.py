"""When to decide: rules that stop at the first step where they are sure, and what their decisions are worth.

Log-odds of "persistent" of N tracks come as (N, S), one column a decision time; `seen` (S,) says how many frames of T
each time has seen. A decision costs 1 if it is wrong, and `frame_cost` · seen / T for the watching.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.physics.laws import Array

Flags = NDArray[np.bool_]
Steps = NDArray[np.int64]

THRESHOLDS = np.linspace(0.0, 6.0, 49)  # log-odds that a rule's two may take
LIMIT = 12.0  # log-odds beyond it are alike
BINS = 40  # of log-odds, in the backward induction


@dataclasses.dataclass(frozen=True)
class Decisions:
    """Of N tracks: the step at which each was decided, what was decided, and how sure."""

    step: Steps  # (N,)
    persistent: Flags  # (N,)
    confidence: Array  # (N,) probability given to what was decided
    early: Flags  # (N,) by the rule, not because the clip ended


def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def decide(log_odds: Array, persistent_above: float, transient_below: float) -> Decisions:
    """Wald's (1945) sequential test: the first step with log-odds at or beyond a threshold, or else the last.

    UserError for thresholds that cross.
    """
    if not transient_below <= persistent_above:
        raise UserError(
            f"thresholds cross: transient at log-odds of {transient_below:g} or less, persistent at "
            f"{persistent_above:g} or more, so that some are both"
        )
    return decide_where((log_odds >= persistent_above) | (log_odds <= transient_below), log_odds)


def decide_where(stops: Flags, log_odds: Array) -> Decisions:
    """Decide at the first step of each row of `stops` (N, S) that is set, or at the last; what is likelier then."""
    last = log_odds.shape[1] - 1
    early = stops[:, :last].any(1)
    step = np.where(early, stops.argmax(1), last)
    at = log_odds[np.arange(len(log_odds)), step]
    return Decisions(step.astype(np.int64), np.asarray(at > 0), sigmoid(np.abs(at)), np.asarray(early))


def decide_at(step: int, log_odds: Array) -> Decisions:
    """The fixed-time rule: all tracks at one step."""
    stops = np.zeros(log_odds.shape, bool)
    stops[:, step] = True
    return decide_where(stops, log_odds)


def best_fixed_step(log_odds: Array, persistent: Flags, seen: Steps, num_frames: int, frame_cost: float) -> int:
    """The one step for all tracks that costs least on these, the baseline of every rule that adapts to a track."""
    means = [
        costs(decide_at(step, log_odds), persistent, seen, num_frames, frame_cost).mean() for step in range(len(seen))
    ]
    return int(np.argmin(means))


def costs(decisions: Decisions, persistent: Flags, seen: Steps, num_frames: int, frame_cost: float) -> Array:
    """(N,) what each decision costs."""
    wrong = decisions.persistent != persistent
    return np.asarray(wrong + frame_cost * seen[decisions.step] / num_frames)


def best_thresholds(
    log_odds: Array, persistent: Flags, seen: Steps, num_frames: int, frame_cost: float
) -> tuple[float, float]:
    """(persistent above, transient below): of a grid the two that cost least on these tracks, the widest of equals.

    A wrong decision counts by the probability that the log-odds themselves give it, mixed evenly with whether it was
    wrong: less noisy on few tracks than either alone where the log-odds are calibrated.
    """
    best, chosen = np.inf, (0.0, 0.0)
    for above in THRESHOLDS[::-1]:
        for below in THRESHOLDS[::-1]:
            decided = decide(log_odds, above, -below)
            cost = costs(decided, persistent, seen, num_frames, frame_cost)
            doubt = 0.5 * ((1 - decided.confidence) - (decided.persistent != persistent))
            mean = float((cost + doubt).mean())
            if mean < best - 1e-9:
                best, chosen = mean, (float(above), -float(below))
    return chosen


def fitted_temperatures(logits: Array, persistent: Flags) -> Array:
    """(S,) for logits (N, S) on held-out tracks: the temperature of each step, Guo et al. (2017, arXiv 1706.04599)."""
    from kinetoken.scores import fitted_temperature

    target = persistent.astype(np.int64)
    return np.array([
        fitted_temperature(np.stack([np.zeros(len(logits)), logits[:, k]], -1), target)
        for k in range(logits.shape[1])
    ])


@dataclasses.dataclass(frozen=True)
class StoppingRegions:
    """Where the optimum stops, by backward induction: for each time and group of tracks, a table over log-odds."""

    edges: tuple[tuple[Array, ...], ...]  # [time][group] inner edges of the bins
    stops: tuple[tuple[Flags, ...], ...]  # [time][group] of each bin

    def decide(self, log_odds: Array, group: Steps) -> Decisions:
        """Of log-odds (N, S) of tracks in groups (N,)."""
        stops = np.zeros(log_odds.shape, bool)
        for k, (edges, stop) in enumerate(zip(self.edges, self.stops, strict=True)):
            for g, (edge, chosen) in enumerate(zip(edges, stop, strict=True)):
                rows = np.flatnonzero(group == g)
                stops[rows, k] = chosen[np.searchsorted(edge, log_odds[rows, k], side="right")]
        return decide_where(stops, log_odds)


def backward_induction(
    log_odds: Array, persistent: Flags, group: Steps, seen: Steps, num_frames: int, frame_cost: float
) -> StoppingRegions:
    """The rule of least mean cost for log-odds that are the truth's own, from many simulated tracks.

    From the last time backwards: stop where stopping now costs no more than going on does on average for tracks of
    the same group (what else is known of a track, (N,) from 0) whose log-odds lie in the same bin; so Longstaff &
    Schwartz (2001) price options, with bins in place of polynomials.
    """
    steps = log_odds.shape[1]
    clipped = np.clip(log_odds, -LIMIT, LIMIT)
    wrong = (log_odds > 0) != persistent[:, None]
    ahead = wrong[:, -1] + frame_cost * seen[-1] / num_frames  # (N,) what going on has cost
    groups = int(group.max()) + 1
    edges: list[tuple[Array, ...]] = [tuple(np.empty(0) for _ in range(groups))]
    stops: list[tuple[Flags, ...]] = [tuple(np.ones(1, bool) for _ in range(groups))]
    for k in range(steps - 2, -1, -1):
        now = 1 - sigmoid(np.abs(log_odds[:, k])) + frame_cost * seen[k] / num_frames  # (N,) expected
        actual = wrong[:, k] + frame_cost * seen[k] / num_frames
        edge_here, stop_here = [], []
        for g in range(groups):
            rows = np.flatnonzero(group == g)
            if len(rows) == 0:  # no such track was simulated: none is expected
                edge_here.append(np.empty(0))
                stop_here.append(np.ones(1, bool))
                continue
            edge = np.unique(np.quantile(clipped[rows, k], np.linspace(0, 1, BINS + 1)[1:-1]))
            place = np.searchsorted(edge, clipped[rows, k], side="right")
            stop = np.bincount(place, now[rows], len(edge) + 1) <= np.bincount(place, ahead[rows], len(edge) + 1)
            ahead[rows] = np.where(stop[place], actual[rows], ahead[rows])
            edge_here.append(edge)
            stop_here.append(stop)
        edges.append(tuple(edge_here))
        stops.append(tuple(stop_here))
    return StoppingRegions(tuple(edges[::-1]), tuple(stops[::-1]))


def steps_seen(stride: int, num_frames: int) -> Steps:
    """(S,) how many frames each step of `stride` frames has seen."""
    return np.arange(stride, num_frames + 1, stride, dtype=np.int64)


def curve(log_odds: Array, persistent: Flags, seen: Steps, confidences: Sequence[float]) -> list[tuple[float, float]]:
    """(mean frames seen, accuracy) of the simple rule at each confidence: a line of accuracy over earliness."""
    points = []
    for confidence in confidences:
        bound = float(np.log(confidence / (1 - confidence)))
        decided = decide(log_odds, bound, -bound)
        points.append((float(seen[decided.step].mean()), float((decided.persistent == persistent).mean())))
    return points
