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

from kinetoken.equations.evidence import Description, Evidence
from kinetoken.equations.facts import Facts, check_facts, facts_of
from kinetoken.equations.grammar import EquationError, Expression, parse
from kinetoken.equations.hybrid import refit
from kinetoken.equations.sentences import stated_facts
from kinetoken.equations.simplification import Simplifier
from kinetoken.heads.scoring import with_interval
from kinetoken.law_choice import predict_known_law
from kinetoken.law_fit import Priors
from kinetoken.laws import CLASSES, Array

if TYPE_CHECKING:
    import pandas as pd

CORRECT_NMSE = 0.01  # below it an equation is correct on the held-out quarter
WORST_NMSE = 1.0  # means cap each row here; a row without equations counts as this
NODES = 41  # Chebyshev points: exact to rounding for everything a law of this laboratory can do in one clip
SAME = 0.01  # relative: the rounding of constants in a text is far below it, a different law far above
EXACT_NMSE = 1e-6  # below it constants fitted to the whole true path reproduce it
TRUSTED = 1e-4  # m: standard deviation that the true path is fitted with
HEADLINES = (
    "parsed", "finite", "form_match", "equation_correct", "equation_correct_true_points", "description_correct",
)
ERRORS = ("nmse_in_range", "nmse_extrapolated")
FLOORS = {"position": "constant position", "velocity": "constant velocity"}
RUNGS = ("parsed", "finite", "form_match", "equation_correct", "description_correct")
WRONG_LAW, WRONG_CONSTANTS, NOT_FINITE = "another law", "right law, wrong constants", "not finite"
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


def score_rows(
    evidence: Evidence, told: Sequence[Description], told_exactly: Sequence[Description], labels: NDArray[np.str_],
    truth: Array, t: Array, priors: Priors | None,
) -> "pd.DataFrame":
    """One row a clip with every rung; the floors and the oracle are made from the very same points.

    `told_exactly` are the fits to the true points of the past; labels (N,), truth (N, T, 3).
    """
    past = len(evidence.times)
    table = rungs(told, labels, truth, t, past)
    best = rungs(told_exactly, labels, truth, t, past)
    for name in ("equation_correct", "form_match"):
        table[f"{name}_true_points"] = best[name]
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


def rungs(
    told: Sequence[Description], labels: NDArray[np.str_], truth: Array, t: Array, past: int
) -> "pd.DataFrame":
    """What each clip's equations and sentence reach, without floors and ceilings, and why they reach no further."""
    import pandas as pd

    rows = []
    for one, law, path in zip(told, labels.tolist(), truth, strict=True):
        score = score_equations(one.equations, t, path, past, law)
        verdicts = check_description(one, law, path, t)
        rows.append({
            **dataclasses.asdict(score), "failure": failure_of(one, score),
            **{f"description_{name}": verdict for name, verdict in verdicts.items()},
            "description_correct": all(verdicts.values()),
        })
    return pd.DataFrame(rows)


def failure_of(one: Description, score: Score) -> str:
    """Why the equations are not correct, in a few fixed words; empty if they are."""
    if not score.parsed:
        return one.outcome.value
    if not score.finite:
        return NOT_FINITE
    if score.equation_correct:
        return ""
    return WRONG_CONSTANTS if score.form_match else WRONG_LAW


def ladder(
    told: Mapping[str, "pd.DataFrame"], chosen: "pd.DataFrame", labels: NDArray[np.str_]
) -> "pd.DataFrame":
    """Share of clips that reach each rung: columns provider, class ("all": every class), rung, share.

    `told` holds the `rungs` of each provider, `chosen` the `score_rows` of one: its floors and its oracle stand below
    the providers, as far as rungs mean anything to them.
    """
    import pandas as pd

    shares = {name: rows[list(RUNGS)] for name, rows in told.items()}
    shares["true law, fitted"] = chosen[["oracle.correct"]].rename(columns={"oracle.correct": "equation_correct"})
    for floor, name in FLOORS.items():
        shares[name] = chosen[[f"{floor}.correct"]].rename(columns={f"{floor}.correct": "equation_correct"})
    parts = []
    for name, rows in shares.items():
        by_class = rows.astype(float).groupby(labels).mean()
        by_class.loc["all"] = rows.astype(float).mean()
        wide = by_class.rename_axis("class").reset_index()
        parts.append(wide.melt(id_vars="class", var_name="rung", value_name="share").assign(provider=name))
    return pd.concat(parts, ignore_index=True)[["provider", "class", "rung", "share"]]


def examined_rows(labels: NDArray[np.str_], count: int) -> NDArray[np.intp]:
    """The first rows of each law, `count` in all at most."""
    each = count // len(CLASSES)
    return np.sort(np.concatenate([np.flatnonzero(labels == law)[:each] for law in CLASSES]))


def examine(
    told: Sequence[Description], labels: NDArray[np.str_], truth: Array, t: Array, forms: Sequence[str]
) -> "pd.DataFrame":
    """What takes longer, of N clips: `symbolic_match` and the `complexity` of the simplified equations.

    Symbolic match: the form is the true law's, and its constants, fitted anew to the whole true path, reproduce that
    path. Complexity counts operations, numbers and names of x, y and z together; NaN where there are no equations or
    they could not be simplified in time.
    """
    import pandas as pd

    rows = []
    with Simplifier() as simplifier:
        for one, law, path, form in zip(told, labels.tolist(), truth, forms, strict=True):
            sizes = [simplifier.simplify(text) for text in one.equations.values()]
            known = [size.complexity for size in sizes if size is not None]
            rows.append({
                "symbolic_match": form == law and reproduces(one.equations, law, path, t),
                "complexity": float(sum(known)) if known and len(known) == len(sizes) else float("nan"),
            })
    return pd.DataFrame(rows, columns=["symbolic_match", "complexity"])


def reproduces(equations: dict[str, str], law: str, truth: Array, t: Array) -> bool:
    """Whether equations of the law's form give the true path (T, 3) once their constants are fitted to it."""
    trust = np.broadcast_to(np.eye(3) / TRUSTED, (len(t), 3, 3))
    expressions = [parse(text) for text in refit(equations, t, truth, trust).equations.values()]
    error = float(normalised_squares(evaluate(expressions, t)[None], truth[None]).mean())
    return error < EXACT_NMSE and form_of(expressions, float(t[-1])) == law


def summarise(rows: "pd.DataFrame", labels: NDArray[np.str_], truth: Array, t: Array, seed: int) -> dict[str, float]:
    """Means over the rows of `score_rows`, with intervals, floors (the better of the two) and ceilings."""
    columns = {name: rows[name].to_numpy(float) for name in HEADLINES}
    columns["equation_correct_oracle_form"] = rows["oracle.correct"].to_numpy(float)
    columns |= {name: capped(rows[name].to_numpy(float)) for name in ERRORS}
    metrics = {key: number for name, each in columns.items() for key, number in with_interval(name, each, seed).items()}
    for name, floors in (
        ("", list(FLOORS)), ("_oracle_form", list(FLOORS)), ("_true_points", [f"true_{floor}" for floor in FLOORS]),
    ):
        metrics[f"equation_correct{name}_floor"] = max(float(rows[f"{floor}.correct"].mean()) for floor in floors)
    metrics["equation_correct_ceiling"] = metrics["equation_correct_oracle_form"]
    for name in ERRORS:
        rung = name.removeprefix("nmse_")
        metrics[f"{name}_floor"] = min(float(capped(rows[f"{floor}.{rung}"].to_numpy()).mean()) for floor in FLOORS)
        metrics[f"{name}_ceiling"] = float(capped(rows[f"oracle.{rung}"].to_numpy()).mean())
    metrics["form_match_floor"] = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    metrics["description_correct_floor"] = facts_floor(labels.tolist(), truth, t)
    facts = {fact.name: float(rows[f"description_{fact.name}"].mean()) for fact in dataclasses.fields(Facts)}
    metrics |= {f"description.{name}": share for name, share in facts.items()}
    metrics["facts_correct"] = float(np.mean(list(facts.values())))
    metrics["facts_correct_floor"] = facts_floor(labels.tolist(), truth, t, every=False)
    return metrics | {"clips": len(rows)}


def summarise_examined(rows: "pd.DataFrame") -> dict[str, float]:
    """Means over the rows of `examine`: none where nothing was examined, or nothing could be simplified."""
    metrics = {"examined": float(len(rows))}
    if len(rows):
        metrics["symbolic_match"] = float(rows["symbolic_match"].mean())
        metrics["symbolic_match_floor"] = 1 / len(CLASSES)  # a line said of every clip
    if len(sizes := rows["complexity"].dropna()):
        metrics["complexity"] = float(sizes.mean())
    return metrics


def point_errors(points: Array, truth: Array) -> dict[str, float]:
    """Errors of the points (N, K, 3) that the provider was given, and of their common mean, the floor."""
    exact = truth[:, : points.shape[1]]
    constant = np.broadcast_to(exact.mean((0, 1)), exact.shape)
    found = {}
    for end, each in (("", points), ("_floor", constant)):
        found[f"points.error_m{end}"] = float(np.linalg.norm(each - exact, axis=-1).mean())
        found[f"points.error_depth_percent{end}"] = float(100 * np.abs(each[..., 2] / exact[..., 2] - 1).mean())
    return found


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
    """Verdicts on each stated fact against the truth (T, 3), and `stated`: the sentence says just those facts."""
    stated = stated_facts(description.sentence) == description.facts
    return {**check_facts(description.facts, law, truth, t), "stated": stated}


def facts_floor(labels: Sequence[str], truths: Array, t: Array, *, every: bool = True) -> float:
    """Share of clips for which the most common facts, said of every clip, would all be correct; else of the facts."""
    facts = [facts_of(law, truth, t) for law, truth in zip(labels, truths, strict=True)]
    usual: Facts = max(sorted(set(facts), key=repr), key=facts.count)
    clips = zip(labels, truths, strict=True)
    verdicts = np.array([list(check_facts(usual, law, truth, t).values()) for law, truth in clips])  # (N, facts)
    return float(verdicts.all(1).mean() if every else verdicts.mean())


def capped(errors: Sequence[float | None] | Array) -> Array:
    """Errors for a mean: at most WORST_NMSE each, which also stands for rows that have none."""
    return np.array([WORST_NMSE if error is None or not error < WORST_NMSE else float(error) for error in errors])
