"""One clip's equations and sentence against the truth: a ladder, each rung reported.

Errors are mean squared distances over the mean squared spread of the whole true clip (nmse): 1 is what
its mean position would score on it. The last quarter of the frames is never seen by whoever wrote the
equations.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.polynomial import chebyshev

from kinetoken.equations.evidence import Description
from kinetoken.equations.facts import check_facts
from kinetoken.equations.grammar import EquationError, Expression, parse
from kinetoken.equations.hybrid import refit
from kinetoken.equations.sentences import stated_facts
from kinetoken.physics.laws import Array

CORRECT_NMSE = 0.01  # below it an equation is correct on the held-out quarter
NODES = 41  # Chebyshev points: exact to rounding for everything a law of this laboratory can do in one clip
SAME = 0.01  # relative: the rounding of constants in a text is far below it, a different law far above
EXACT_NMSE = 1e-6  # below it constants fitted to the whole true path reproduce it
TRUSTED = 1e-4  # m: standard deviation that the true path is fitted with
WRONG_LAW, WRONG_CONSTANTS, NOT_FINITE = "another law", "right law, wrong constants", "not finite"
FAR_OFF = "far from the held-out frames"  # all that can be said where the true law has no name


@dataclasses.dataclass(frozen=True)
class Score:
    """One row's rungs; the errors are None where nothing could be evaluated."""

    parsed: bool
    finite: bool
    nmse_in_range: float | None
    nmse_extrapolated: float | None
    form: str  # the law that the text itself obeys, or "none"
    form_match: bool
    equation_correct: bool


def score_equations(equations: Mapping[str, object], t: Array, truth: Array, past: int, law: str) -> Score:
    """The ladder for equations of x, y and z against the true positions (T, 3) at times t of a track of `law`.

    The first `past` frames are in range, the others extrapolated.
    """
    try:
        expressions = [parse(equations.get(axis)) for axis in "xyz"]
    except EquationError:
        return Score(False, False, None, None, "none", False, False)
    path = evaluate(expressions, t)
    form = form_of(expressions, float(t[-1]))
    if not np.isfinite(path).all():
        return Score(True, False, None, None, form, form == law, False)
    in_range, extrapolated = (float(error[0]) for error in nmse(path[None], truth[None], past))
    if not np.isfinite([in_range, extrapolated]).all():  # finite positions whose squares are not
        return Score(True, False, None, None, form, form == law, False)
    return Score(True, True, in_range, extrapolated, form, form == law, extrapolated < CORRECT_NMSE)


def evaluate(expressions: Sequence[Expression], t: Array) -> Array:
    """(T, 3) from the expressions of x, y and z."""
    return np.stack([expression.evaluate(t) for expression in expressions], -1)


def nmse(paths: Array, truth: Array, past: int) -> tuple[Array, Array]:
    """Normalised errors of paths (N, T, 3) in range and extrapolated, (N,) each."""
    errors = normalised_squares(paths, truth)
    return errors[:, :past].mean(1), errors[:, past:].mean(1)


def normalised_squares(paths: Array, truth: Array) -> Array:
    """Squared distance in each frame over the mean squared spread of the true clip: (N, T, 3) m each → (N, T)."""
    spread = np.square(truth - truth.mean(1, keepdims=True)).sum(-1).mean(1, keepdims=True)
    with np.errstate(over="ignore"):
        squares: Array = np.square(paths - truth).sum(-1) / np.maximum(spread, 1e-12)
    return squares


def form_of(expressions: Sequence[Expression], duration: float) -> str:
    """The law that x(t), y(t), z(t) obey over the clip: one of CLASSES, or "none".

    Decided by what each law says of its derivatives: a line has no acceleration; a parabola a constant one
    straight down; a circle p''' = −ω² p' with perpendicular parts of equal size; a helix the same about a
    velocity along its axis. Derivatives are those of the Chebyshev interpolant.
    """
    nodes = chebyshev.chebpts1(NODES)
    values = evaluate(expressions, (nodes + 1) * duration / 2)  # (NODES, 3)
    if not np.isfinite(values).all() or np.abs(values).max() > 1e6:
        return "none"
    coefficients = np.linalg.solve(chebyshev.chebvander(nodes, NODES - 1), values)
    coefficients[np.abs(coefficients) < 1e-12 * np.abs(coefficients).max()] = 0  # rounding would grow in derivatives
    if np.abs(coefficients[-3:]).max() > 1e-9 * np.abs(coefficients).max():
        return "none"  # not smooth enough to be any law
    velocity, acceleration, jerk, snap = (
        np.asarray(chebyshev.chebval(nodes, chebyshev.chebder(coefficients, order, scl=2 / duration)).T, np.float64)
        for order in (1, 2, 3, 4)
    )  # (NODES, 3) each
    reach = np.linalg.norm(values - values[0], axis=-1).max()
    bend = np.linalg.norm(acceleration, axis=-1).max()
    if reach < 1e-6:
        return "none"
    if bend * duration**2 / 8 < SAME * reach:
        return "linear"
    if np.abs(jerk).max() * duration < SAME * bend:
        down = acceleration.mean(0)
        return "parabolic" if down[1] < 0 and np.hypot(down[0], down[2]) < SAME * bend else "none"
    return _round_form(velocity, acceleration, jerk, snap, reach / duration)


def _round_form(velocity: Array, acceleration: Array, jerk: Array, snap: Array, pace: float) -> str:
    squared = -float((snap * acceleration).sum() / np.square(acceleration).sum())  # ω²
    if squared <= 0 or np.abs(snap + squared * acceleration).max() > SAME * np.abs(snap).max():
        return "none"
    drift = velocity + jerk / squared  # constant: the velocity along the axis
    rise, strength = drift.mean(0), np.linalg.norm(acceleration, axis=-1)
    if np.ptp(strength) > SAME * strength.max():
        return "none"  # an ellipse
    if np.linalg.norm(rise) < SAME * pace:
        return "circular"
    across = np.abs(acceleration @ rise).max() / (np.linalg.norm(rise) * strength.max())
    return "helical" if across < SAME else "none"


def failure_of(one: Description, score: Score, *, law_known: bool = True) -> str:
    """Why the equations are not correct, in a few fixed words; empty if they are."""
    if not score.parsed:
        return one.outcome.value
    if not score.finite:
        return NOT_FINITE
    if score.equation_correct:
        return ""
    if not law_known:
        return FAR_OFF
    return WRONG_CONSTANTS if score.form_match else WRONG_LAW


def check_description(description: Description, law: str, truth: Array, t: Array) -> dict[str, bool]:
    """Verdicts on each stated fact against the truth (T, 3), and `stated`: the sentence says just those facts."""
    stated = stated_facts(description.sentence) == description.facts
    return {**check_facts(description.facts, law, truth, t), "stated": stated}


def reproduces(equations: dict[str, str], law: str, truth: Array, t: Array) -> bool:
    """Whether equations of the law's form give the true path (T, 3) once their constants are fitted to it."""
    trust = np.broadcast_to(np.eye(3) / TRUSTED, (len(t), 3, 3))
    expressions = [parse(text) for text in refit(equations, t, truth, trust).equations.values()]
    error = float(normalised_squares(evaluate(expressions, t)[None], truth[None]).mean())
    return error < EXACT_NMSE and form_of(expressions, float(t[-1])) == law
