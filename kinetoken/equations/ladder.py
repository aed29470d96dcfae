"""All clips of a run on the ladder of `scoring`, with its floors and the oracle of the true law."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange
from numpy.typing import NDArray

from kinetoken.core.numbers import Headlines
from kinetoken.equations.evidence import Description, Evidence
from kinetoken.equations.facts import Facts, check_facts, facts_of
from kinetoken.equations.scoring import (
    CORRECT_NMSE,
    check_description,
    failure_of,
    nmse,
    reproduces,
    score_equations,
)
from kinetoken.equations.simplification import Simplifier
from kinetoken.physics.fitting import Priors, predict_known_law
from kinetoken.physics.laws import CLASSES, Array, are_laws
from kinetoken.scores import with_interval

if TYPE_CHECKING:
    import pandas as pd

WORST_NMSE = 1.0  # means cap each row here; a row without equations counts as this
SHARES = (
    "parsed", "finite", "form_match", "equation_correct", "equation_correct_true_points", "description_correct",
)
OF_LAWS = ("form_match", "description_correct")  # those that need the true law's name
ERRORS = ("nmse_in_range", "nmse_extrapolated")
HEADLINES = Headlines(
    required=(
        "is_llm", "parsed", "nmse_in_range", "nmse_extrapolated", "form_match", "equation_correct",
        "equation_correct_true_points", "equation_correct_oracle_form", "description_correct",
    ),
    further=("is_stand_in", "reasons_correct"),  # with a language model; with early decisions in words
    bounded=("equation_correct", "description_correct", "nmse_in_range", "form_match"),
)
HEADLINES_OF_OTHER_CLASSES = dataclasses.replace(HEADLINES, required=tuple(
    name for name in HEADLINES.required if name not in (*OF_LAWS, "equation_correct_oracle_form")
))
FLOORS = {"position": "constant position", "velocity": "constant velocity", "quadratic": "quadratic by least squares"}
RUNGS = ("parsed", "finite", "form_match", "equation_correct", "description_correct")
VELOCITY_FRAMES = 4  # at the end of the past, from which the constant-velocity floor takes its line


def score_rows(
    evidence: Evidence, told: Sequence[Description], told_exactly: Sequence[Description], labels: NDArray[np.str_],
    truth: Array, t: Array, priors: Priors | None,
) -> "pd.DataFrame":
    """One row a clip with every rung; the floors and, of known laws, the oracle are made from the very same points.

    `told_exactly` are the fits to the true points of the past; labels (N,), truth (N, T, 3).
    """
    past = len(evidence.times)
    table = rungs(told, labels, truth, t, past)
    best = rungs(told_exactly, labels, truth, t, past)
    for name in ("equation_correct", "form_match"):
        if name in best:
            table[f"{name}_true_points"] = best[name]
    seen, exact_past = evidence.points, truth[:, :past]
    oracle = {"oracle": predict_known_law(
        labels, evidence.times, seen, t, evidence.whitening, priors=priors
    )} if are_laws(labels.tolist()) else {}
    for name, paths in {
        **oracle, **floors_of(evidence.times, seen, t),
        **{f"true_{name}": path for name, path in floors_of(evidence.times, exact_past, t).items()},
    }.items():
        table[f"{name}.in_range"], table[f"{name}.extrapolated"] = nmse(paths, truth, past)
        table[f"{name}.correct"] = table[f"{name}.extrapolated"] < CORRECT_NMSE
    return table


def rungs(
    told: Sequence[Description], labels: NDArray[np.str_], truth: Array, t: Array, past: int
) -> "pd.DataFrame":
    """What each clip's equations and sentence reach, without floors and ceilings, and why they reach no further."""
    import pandas as pd

    rows, known = [], are_laws(labels.tolist())
    for one, law, path in zip(told, labels.tolist(), truth, strict=True):
        score = score_equations(one.equations, t, path, past, law)
        row = {**dataclasses.asdict(score), "failure": failure_of(one, score, law_known=known)}
        if known:
            verdicts = check_description(one, law, path, t)
            row |= {f"description_{name}": verdict for name, verdict in verdicts.items()}
            row["description_correct"] = all(verdicts.values())
        else:
            del row["form_match"]
        rows.append(row)
    return pd.DataFrame(rows)


def shares(
    told: Mapping[str, "pd.DataFrame"], chosen: "pd.DataFrame", labels: NDArray[np.str_]
) -> "pd.DataFrame":
    """Share of clips that reach each rung: columns provider, class ("all": every class), rung, share.

    `told` holds the `rungs` of each provider, `chosen` the `score_rows` of one: its floors and its oracle stand below
    the providers, as far as rungs mean anything to them.
    """
    import pandas as pd

    each = {name: rows[[rung for rung in RUNGS if rung in rows]] for name, rows in told.items()}
    if "oracle.correct" in chosen:
        each["true law, fitted"] = chosen[["oracle.correct"]].rename(columns={"oracle.correct": "equation_correct"})
    for floor, name in FLOORS.items():
        each[name] = chosen[[f"{floor}.correct"]].rename(columns={f"{floor}.correct": "equation_correct"})
    parts = []
    for name, rows in each.items():
        by_class = rows.astype(float).groupby(labels).mean()
        by_class.loc["all"] = rows.astype(float).mean()
        wide = by_class.rename_axis("class").reset_index()
        parts.append(wide.melt(id_vars="class", var_name="rung", value_name="share").assign(provider=name))
    return pd.concat(parts, ignore_index=True)[["provider", "class", "rung", "share"]]


def examined_rows(labels: NDArray[np.str_], count: int) -> NDArray[np.intp]:
    """The first rows of each law, `count` in all at most; none of classes that are no laws."""
    each = count // len(CLASSES) if are_laws(labels.tolist()) else 0
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


def summarise(rows: "pd.DataFrame", labels: NDArray[np.str_], truth: Array, t: Array, seed: int) -> dict[str, float]:
    """Means over the rows of `score_rows`, with intervals, floors (the better of the two) and ceilings."""
    known = are_laws(labels.tolist())
    columns = {name: rows[name].to_numpy(float) for name in SHARES if known or name not in OF_LAWS}
    if known:
        columns["equation_correct_oracle_form"] = rows["oracle.correct"].to_numpy(float)
    columns |= {name: capped(rows[name].to_numpy(float)) for name in ERRORS}
    metrics = {key: number for name, each in columns.items() for key, number in with_interval(name, each, seed).items()}
    for name, floors in (
        ("", list(FLOORS)), ("_oracle_form", list(FLOORS)), ("_true_points", [f"true_{floor}" for floor in FLOORS]),
    ):
        if f"equation_correct{name}" in metrics:
            metrics[f"equation_correct{name}_floor"] = max(float(rows[f"{floor}.correct"].mean()) for floor in floors)
    for name in ERRORS:
        rung = name.removeprefix("nmse_")
        metrics[f"{name}_floor"] = min(float(capped(rows[f"{floor}.{rung}"].to_numpy()).mean()) for floor in FLOORS)
        if known:
            metrics[f"{name}_ceiling"] = float(capped(rows[f"oracle.{rung}"].to_numpy()).mean())
    return metrics | {"clips": len(rows)} | (_by_law(rows, labels, truth, t) if known else {})


def _by_law(rows: "pd.DataFrame", labels: NDArray[np.str_], truth: Array, t: Array) -> dict[str, float]:
    """What can be said only where the true law of each clip is known: the oracle's share, form and sentence."""
    metrics = {"equation_correct_ceiling": float(rows["oracle.correct"].mean())}
    metrics["form_match_floor"] = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    metrics["description_correct_floor"] = facts_floor(labels.tolist(), truth, t)
    facts = {fact.name: float(rows[f"description_{fact.name}"].mean()) for fact in dataclasses.fields(Facts)}
    metrics |= {f"description.{name}": share for name, share in facts.items()}
    metrics["facts_correct"] = float(np.mean(list(facts.values())))
    metrics["facts_correct_floor"] = facts_floor(labels.tolist(), truth, t, every=False)
    return metrics


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


def floors_of(t: Array, points: Array, at: Array) -> dict[str, Array]:
    """FLOORS by name: points (N, P, 3) seen at times t carried on to times `at`, (N, T, 3) each."""
    return {
        "position": constant_position(points, len(at)), "velocity": constant_velocity(t, points, at),
        "quadratic": quadratic(t, points, at),
    }


def quadratic(t: Array, points: Array, at: Array) -> Array:
    """The parabola of least squares through all points (N, P, 3), each axis by itself, at times `at`: (N, T, 3)."""
    powers = np.arange(min(3, len(t)))
    return np.asarray(at[:, None] ** powers @ (np.linalg.pinv(t[:, None] ** powers) @ points))


def constant_velocity(t: Array, points: Array, at: Array) -> Array:
    """Floor: the least-squares line through the last points (N, K, 3) seen at t (K,), at times `at`: (N, T, 3)."""
    last = min(VELOCITY_FRAMES, len(t))
    design = np.stack([np.ones(last), t[-last:]], -1)
    flat = rearrange(points[:, -last:], "n k i -> k (n i)")
    line = np.linalg.lstsq(design, flat, rcond=None)[0]  # (2, N·3)
    return rearrange(np.stack([np.ones(len(at)), at], -1) @ line, "t (n i) -> n t i", i=3)


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
