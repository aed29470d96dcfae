"""Equations against the truth: a ladder, each rung reported, with its floors and the oracle of the true law.

Errors are mean squared distances over the mean squared spread of the whole true clip (nmse): 1 is what
its mean position would score on it. The last quarter of the frames is never seen by whoever wrote the
equations.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from kinetoken.equations.facts import Facts, check_facts, facts_of, render_sentence
from kinetoken.equations.grammar import EquationError, Expression, parse
from kinetoken.equations.offline import Description, Evidence
from kinetoken.heads.scoring import with_interval
from kinetoken.law_choice import predict_known_law
from kinetoken.law_fit import Priors
from kinetoken.laws import Array

if TYPE_CHECKING:
    import pandas as pd

CORRECT_NMSE = 0.01  # below it an equation is correct on the held-out quarter
WORST_NMSE = 1.0  # means cap each row here; a row without equations counts as this
NODES = 41  # Chebyshev points: exact to rounding for everything a law of this laboratory can do in one clip
SAME = 0.01  # relative: the rounding of constants in a text is far below it, a different law far above
HEADLINES = (
    "parsed", "finite", "form_match", "equation_correct", "equation_correct_true_points", "description_correct",
)
ERRORS = ("nmse_in_range", "nmse_extrapolated")
FLOORS = ("position", "velocity")
VELOCITY_FRAMES = 4  # at the end of the past, from which the constant-velocity floor takes its line


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
    spread = np.square(truth - truth.mean(1, keepdims=True)).sum(-1).mean(1)  # (N,)
    with np.errstate(over="ignore"):
        squares = np.square(paths - truth).sum(-1)  # (N, T)
    spread = np.maximum(spread, 1e-12)
    return squares[:, :past].mean(1) / spread, squares[:, past:].mean(1) / spread


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


def score_rows(
    evidence: Evidence, told: Sequence[Description], told_exactly: Sequence[Description], labels: NDArray[np.str_],
    truth: Array, t: Array, priors: Priors | None,
) -> "pd.DataFrame":
    """One row a clip with every rung; the floors and the oracle are made from the very same points.

    `told_exactly` are the descriptions from the true points of the past; labels (N,), truth (N, T, 3).
    """
    import pandas as pd

    past, rows = len(evidence.times), []
    for one, exact, law, path in zip(told, told_exactly, labels.tolist(), truth, strict=True):
        best = score_equations(exact.equations, t, path, past, law)
        verdicts = check_description(one, law, path, t)
        rows.append({
            **dataclasses.asdict(score_equations(one.equations, t, path, past, law)),
            "equation_correct_true_points": best.equation_correct, "form_match_true_points": best.form_match,
            **{f"description_{name}": verdict for name, verdict in verdicts.items()},
            "description_correct": all(verdicts.values()),
        })
    table = pd.DataFrame(rows)
    seen, exact_past = evidence.points, truth[:, :past]
    for name, paths in {
        "oracle": predict_known_law(labels, evidence.times, seen, t, evidence.whitening, priors=priors),
        "position": constant_position(seen, len(t)), "velocity": constant_velocity(evidence.times, seen, t),
        "true_position": constant_position(exact_past, len(t)),
        "true_velocity": constant_velocity(evidence.times, exact_past, t),
    }.items():
        table[f"{name}.in_range"], table[f"{name}.extrapolated"] = nmse(paths, truth, past)
        table[f"{name}.correct"] = table[f"{name}.extrapolated"] < CORRECT_NMSE
    return table


def summarise(rows: "pd.DataFrame", labels: NDArray[np.str_], truth: Array, t: Array, seed: int) -> dict[str, float]:
    """Means over the rows of `score_rows`, with intervals, floors (the better of the two) and ceilings."""
    columns = {name: rows[name].to_numpy(float) for name in HEADLINES}
    columns["equation_correct_oracle_form"] = rows["oracle.correct"].to_numpy(float)
    columns |= {name: capped(rows[name].to_numpy(float)) for name in ERRORS}
    metrics = {key: number for name, each in columns.items() for key, number in with_interval(name, each, seed).items()}
    for name, floors in (("", FLOORS), ("_oracle_form", FLOORS), ("_true_points", [f"true_{f}" for f in FLOORS])):
        metrics[f"equation_correct{name}_floor"] = max(float(rows[f"{floor}.correct"].mean()) for floor in floors)
    metrics["equation_correct_ceiling"] = metrics["equation_correct_oracle_form"]
    for name in ERRORS:
        rung = name.removeprefix("nmse_")
        metrics[f"{name}_floor"] = min(float(capped(rows[f"{floor}.{rung}"].to_numpy()).mean()) for floor in FLOORS)
        metrics[f"{name}_ceiling"] = float(capped(rows[f"oracle.{rung}"].to_numpy()).mean())
    metrics["form_match_floor"] = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    metrics["description_correct_floor"] = facts_floor(labels.tolist(), truth, t)
    for fact in dataclasses.fields(Facts):
        metrics[f"description.{fact.name}"] = float(rows[f"description_{fact.name}"].mean())
    return metrics | {"clips": len(rows)}


def constant_position(points: Array, frames: int) -> Array:
    """Floor: the last of the points (N, K, 3) for ever, (N, frames, 3)."""
    return np.repeat(points[:, -1:], frames, axis=1)


def constant_velocity(t: Array, points: Array, at: Array) -> Array:
    """Floor: the least-squares line through the last points (N, K, 3) seen at t (K,), at times `at`: (N, T, 3)."""
    last = min(VELOCITY_FRAMES, len(t))
    design = np.stack([np.ones(last), t[-last:]], -1)
    flat = rearrange(points[:, -last:], "n k i -> k (n i)")
    line = np.linalg.lstsq(design, flat, rcond=None)[0]  # (2, N·3)
    return rearrange(np.stack([np.ones(len(at)), at], -1) @ line, "t (n i) -> n t i", i=3)


def check_description(description: Description, law: str, truth: Array, t: Array) -> dict[str, bool]:
    """Verdicts on each stated fact against the truth (T, 3), and `rendered`: the sentence says just those facts."""
    rendered = description.sentence == render_sentence(description.facts, description.quantities)
    return {**check_facts(description.facts, law, truth, t), "rendered": rendered}


def facts_floor(labels: Sequence[str], truths: Array, t: Array) -> float:
    """Share of clips for which the most common facts, said of every clip, would be correct."""
    facts = [facts_of(law, truth, t) for law, truth in zip(labels, truths, strict=True)]
    usual: Facts = max(sorted(set(facts), key=repr), key=facts.count)
    clips = zip(labels, truths, strict=True)
    return float(np.mean([all(check_facts(usual, law, truth, t).values()) for law, truth in clips]))


def capped(errors: Sequence[float | None] | Array) -> Array:
    """Errors for a mean: at most WORST_NMSE each, which also stands for rows that have none."""
    return np.array([WORST_NMSE if error is None or not error < WORST_NMSE else float(error) for error in errors])
