"""The section on laws in equations and words: who wrote them, from what, how far they come, and why they fail."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kinetoken.charts import vega
from kinetoken.charts.parts import Figure
from kinetoken.report.results import Results, spread

STAGE = "describe_motion"
WRITERS = {
    "offline": "least-squares fit, no language model (is_llm 0)",
    "openai": "equations and sentences by language model {model}",
    "hybrid": "form and sentences by language model {model}, constants by least squares",
}
ALL = "all"  # the class that stands for every clip


@dataclass(frozen=True)
class Ladder:
    """Share of clips whose equations reach each rung: rows are (rung, shares by class), or a provider and its rungs."""

    classes: Sequence[str]
    rows: list[tuple[str, list[float | None]]]


@dataclass(frozen=True)
class Failure:
    """One kind of wrong equations: how many clips, and the first of them."""

    kind: str
    clips: int
    row: dict[str, Any]


@dataclass(frozen=True)
class Words:
    """What the section shows; None or empty where its files are not there."""

    writer: str
    warnings: list[str]
    bill: str
    ladder: Ladder | None
    providers: Ladder | None
    failures: list[Failure]


def words(results: Results, rows: Sequence[dict[str, Any]]) -> Words:
    """The section, from all rows of descriptions."""
    return Words(
        writer(results, rows), warnings(results), bill(results), ladder(results), providers(results), failures(rows)
    )


def writer(results: Results, rows: Sequence[dict[str, Any]]) -> str:
    """Who wrote the equations; a stand-in is called one, whatever was asked for."""
    first = rows[0] if rows else {}
    told = WRITERS.get(str(first.get("provider", "offline")), WRITERS["offline"])
    if results.number(STAGE, "is_stand_in"):
        told = told.replace("language model", "a scripted substitute for a language model,")
    answered = sorted({str(row["model"]) for row in rows if row.get("model")})
    return told.format(model=", ".join(answered) or f"{first.get('asked', '?')} (which never answered)")


def warnings(results: Results) -> list[str]:
    """What a reader must know before any number."""
    told = []
    if results.number(STAGE, "points_are_true"):
        told.append("The provider was given the true positions of the past (points: true): a control and not a result.")
    if results.number(STAGE, "is_stand_in"):
        told.append("The answers come from a scripted substitute and not from a language model (is_stand_in 1).")
    return told


def bill(results: Results) -> str:
    """What the language model took; empty if none was asked."""
    cost = results.number(STAGE, "cost_per_1200_clips")
    if cost is None:
        return ""
    counts = {name: results.number(STAGE, name) or 0 for name in ("attempts", "prompt_tokens", "completion_tokens")}
    return (
        f"{counts['attempts']:,.0f} requests, {counts['prompt_tokens']:,.0f} prompt and "
        f"{counts['completion_tokens']:,.0f} completion tokens; 1,200 clips would cost {cost:.4g} in the currency of "
        "the price table."
    )


def ladder(results: Results) -> Ladder | None:
    """How far up the equations of each class come, by the provider of this run, the first in the table."""
    table = results.table(f"{STAGE}/ladder.csv", ("provider", "class", "rung", "share"))
    if table is None or table.empty:
        return None
    own = table[(table["provider"] == table["provider"].iloc[0]) & (table["class"] != ALL)]
    wide = own.pivot(index="rung", columns="class", values="share").reindex(own["rung"].unique())
    return Ladder([str(name) for name in wide.columns], _rows(wide))


def providers(results: Results) -> Ladder | None:
    """Every provider, the oracle and the floors over all clips: a row each, its rungs beside it."""
    path = f"{STAGE}/ladder.csv"
    if not (results.plots / path).exists():
        return None  # noted by `ladder`
    table = results.table(path, ("provider", "class", "rung", "share"))
    if table is None or table.empty:
        return None
    every = table[table["class"] == ALL]
    wide = every.pivot(index="provider", columns="rung", values="share")
    wide = wide.reindex(index=every["provider"].unique(), columns=every["rung"].unique())
    return Ladder([str(name).replace("_", " ") for name in wide.columns], _rows(wide))


def ladder_figures(words: Words) -> list[Figure]:
    """The steps by law, and by provider; empty without a table of them."""
    found = {"Steps that the equations reach, by law": words.ladder, "The same by provider, all clips": words.providers}
    return [ladder_figure(title, one) for title, one in found.items() if one is not None]


def ladder_figure(title: str, found: Ladder) -> Figure:
    """Shares as shaded cells with their percent."""
    cells = [
        {"x": name, "y": row, "shade": round(share, 4), "good": True, "text": f"{100 * share:.0f}"}
        for row, shares in found.rows for name, share in zip(found.classes, shares, strict=True) if share is not None
    ]
    spec = vega.matrix_spec(
        cells, found.classes, [row for row, _ in found.rows], x="", y="", tip={"y": "row", "x": "column", "text": "%"},
    )
    return vega.chart(title, spec, f"{title}: share of clips in percent", caption="Share of clips, %.")


def _rows(wide: Any) -> list[tuple[str, list[float | None]]]:  # noqa: ANN401 - a pandas frame
    return [
        (str(name).replace("_", " "), [None if share != share else float(share) for share in shares])
        for name, shares in wide.iterrows()
    ]


def failures(rows: Sequence[dict[str, Any]]) -> list[Failure]:
    """Every kind of failure among the rows, the most frequent first, with its first row."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if kind := str(row.get("verdicts", {}).get("failure", "")):
            kinds.setdefault(kind, []).append(row)
    found = [Failure(kind, len(each), each[0]) for kind, each in kinds.items()]
    return sorted(found, key=lambda one: (-one.clips, one.kind))


def choose_descriptions(rows: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The first `count` rows whose equation is correct and the first `count` whose is not, spread over the laws."""
    return spread(
        rows, count, lambda row: bool(row.get("verdicts", {}).get("equation_correct")),
        lambda row: str(row.get("true_law")),
    )


def choose_reasons(rows: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The first `count` early decisions whose words pass every check, and as many whose words do not."""
    return spread(
        rows, count, lambda row: all(row.get("verdicts", {"": False}).values()),
        lambda row: str(row.get("record", {}).get("extractor")),
    )
