"""Usage as training counted it: did it fall, and is it what these clips show?"""

import numpy as np
from numpy.typing import NDArray

from kinetoken.diagnosis.checks.facts import CodeFacts
from kinetoken.diagnosis.finding import CERTAIN, LIKELY, USE, Finding
from kinetoken.diagnosis.history import UsageCurve

Array = NDArray[np.float64]

LEAST_POINTS = 5  # of a curve, for a peak and an end to be told apart
FELL = 0.5  # share of its peak that usage must have come down to at the end; training alone moves it by less
DIFFERS = 0.5  # share of the training's last usage below which these clips show another
COUNTED = 20  # tokens an entry that must be counted here for that


def fell_in_training(facts: CodeFacts) -> Finding | None:
    """Usage or perplexity that rose to a peak and fell to less than half of it by the end of training."""
    curve = facts.curve
    if curve is None or len(curve.values) < LEAST_POINTS:
        return None
    values = _smooth(np.array(curve.values))
    peak, end = int(values.argmax()), _end(values)
    if values[peak] <= 0 or end > FELL * values[peak]:
        return None
    later = values[peak:]
    middle = (values[peak] + end) / 2
    where = peak + int(np.flatnonzero(later > middle)[-1]) + 1  # the last crossing: it did not come back
    show = "{:.1%}".format if curve.kind == "share" else "{:,.4g}".format
    return Finding(
        "usage fell during training", USE, float(1 - end / values[peak]), CERTAIN,
        f"By the history, {curve.name} was {show(values[peak])} at {curve.step} {curve.steps[peak]:g} and is "
        f"{show(end)} at the end ({curve.step} {curve.steps[-1]:g}); it fell below half-way at {curve.step} "
        f"{curve.steps[min(where, len(values) - 1)]:g}.",
        f"The weights of {curve.step} {curve.steps[peak]:g}, and what changed between the two: learning rate, loss "
        "weights, precision.", ("history",),
    )


def counters_differ(facts: CodeFacts) -> Finding | None:
    """The training's own count of usage at its end against what these clips show."""
    curve, tally = facts.curve, facts.tally
    if curve is None or not len(curve.values) or tally.counts.sum() / tally.depth < COUNTED * tally.size:
        return None
    here = tally.usage(tally.counts)
    last = _end(_smooth(np.array(curve.values)))
    found = {
        "share": here.usage, "entries": here.usage * tally.size, "perplexity": here.perplexity,
    }[curve.kind]
    if last <= 0 or found >= DIFFERS * last:
        return None
    show = "{:.1%}".format if curve.kind == "share" else "{:,.4g}".format
    return Finding(
        "training counters differ", USE, 0.0, LIKELY,
        f"Training ended with {curve.name} {show(last)}; over the {tally.clips:,} clips here it is {show(found)}. A "
        "counter that runs over many steps, or counts entries that were replaced and not chosen, stays high; and "
        "these clips may be more alike than those of the training.",
        "The codes of the training's own clips from its last weights.", ("history", "usage", "perplexity"),
    )


def curve_numbers(curve: UsageCurve) -> dict[str, float]:
    """The training's usage or perplexity: its peak and its end."""
    values = _smooth(np.array(curve.values))
    return {"peak": float(values.max()), "end": _end(values)}


def _smooth(values: Array) -> Array:
    """Medians of three in a row, so that one odd point is no peak; the ends as they are."""
    if len(values) < 3:
        return values
    inner = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), 0)
    return np.concatenate([values[:2].min(keepdims=True), inner, values[-1:]])


def _end(values: Array) -> float:
    """The mean of the last twentieth of the curve, at least its last two points."""
    return float(values[-max(len(values) // 20, min(2, len(values))) :].mean())
