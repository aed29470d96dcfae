"""The section on early decisions: does a candidate persist, how soon is it known, and what did that rest on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kinetoken.charts.parts import Figure, Table
from kinetoken.charts.pictures import Picture
from kinetoken.report import persistence_charts as charts
from kinetoken.report.headline import shown
from kinetoken.report.persistence_numbers import (
    STAGE,
    Control,
    best_of,
    budgets,
    controls,
    extractor_table,
    extractors,
    groups,
)
from kinetoken.report.results import STAGES, Results, read_rows, spread


@dataclass(frozen=True)
class DecisionReason:
    """What one decision rested on, in a sentence."""

    extractor: str
    track: str
    actual: str
    right: bool
    sentence: str


@dataclass(frozen=True)
class EarlyDecisions:
    """All of the section; whatever is empty or None was not there."""

    sentence: str
    extractors: Table | None
    controls: Sequence[Control]
    operating: Figure | None
    frames: Figure | None
    confusions: Mapping[str, Figure]  # by extractor, as is attention
    attention: Mapping[str, Figure]
    groups: Sequence[Table]
    pictures: Sequence[Picture]
    heads: Sequence[Picture]
    cost: Picture | None
    budgets: Table | None
    reasons: Sequence[DecisionReason]


def early_decisions(results: Results, count: int) -> EarlyDecisions | None:
    """The section, with `count` reasons of right decisions and as many of wrong ones; None if nothing is there.

    None too if these data, or the parameters, left it out: there the page gives the reason.
    """
    if STAGE in results.not_measured:
        return None
    if STAGE not in results.metrics:
        results.note(f"plots/{STAGES[STAGE]}")
        if not (results.plots / STAGE).exists():
            return None
    names = extractors(results)
    decided = charts.decisions(results)
    return EarlyDecisions(
        sentence(results, names), extractor_table(results, names), controls(results), charts.operating(results),
        None if decided is None else charts.decision_frames(decided),
        {} if decided is None else charts.confusions(decided), charts.attention(results), groups(results, names),
        charts.pictures(results, names, ".png"), charts.pictures(results, names, "_heads.png"), charts.cost(results),
        budgets(results), reasons(results, count),
    )


def sentence(results: Results, names: Sequence[str]) -> str:
    """What the task is and what was found."""
    task = ("The only ball among clutter either keeps its direction and stays to the end, or moves at random and "
            "disappears. After each step a network predicts which of the two it is. It stops when it is sure enough.")
    best = best_of(results, names)
    if best is None:
        return f"{task} No extractor has written its numbers."

    def number(key: str) -> float | None:
        return results.number(STAGE, f"{best}.{key}")

    found = " The best extractor" if len(names) > 1 else " The extractor"
    found += f", {best}, decides {shown(number('accuracy'), 'share')} of the test tracks correctly"
    mean, early = number("mean_decision_frame"), number("earliness")
    if mean is not None:
        whole = "" if early is None or early >= 1 else f" of {mean / (1 - early):.0f}"
        found += f", after {mean:.1f}{whole} frames on average"
    if number("compute_saved") is not None:
        found += f"; this saves {shown(number('compute_saved'), 'share')} of the compute that whole clips need"
    regret = number("regret")
    found += (". For these laws of motion no optimum is known, so there is no regret." if regret is None else
              f". Its regret is {shown(regret, 'points')}: its errors and frames cost that much more than those of the "
              "best rule on true positions.")
    return task + found + " " + _controls_said(controls(results))


def _controls_said(found: Sequence[Control]) -> str:
    if not found:
        return "The controls were not run."
    off = [one.name for one in found if one.at_chance is not True]
    if not off:
        return "The control is at chance." if len(found) == 1 else f"All {len(found)} controls are at chance."
    return f"Not at chance within their intervals: {'; '.join(off)}."


def reasons(results: Results, count: int) -> list[DecisionReason]:
    """Sentences of right and of wrong decisions, over extractors and kinds in turn."""
    path = results.file(f"{STAGE}/reasons.jsonl")
    if path is None:
        return []

    def right(row: dict[str, Any]) -> bool:
        return row.get("decision") == row.get("actual")

    rows = spread(read_rows(path), count, right, lambda row: f"{row.get('actual')} {row.get('extractor')}")
    return [
        DecisionReason(
            str(row.get("extractor", "?")), str(row.get("track_id", "?")), str(row.get("actual", "?")), right(row),
            str(row.get("sentence", "")),
        )
        for row in rows
    ]
