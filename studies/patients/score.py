"""Were the faults of other people's codes named right, and were sound codes left alone?

A fault counts where it costs at least COST of balanced accuracy against its healthy twin, read from the codes by the
study's own readers; faults of how codes are used, and limits of the data, always count. Sound codes with nothing
upstream to compare with have a right headline too (`cannot tell without …`): they are scored with the faults.

Reads    a row a case
Writes   in the study's folder metrics.json; plots/ the cases, the confusion as rows and drawn, the confusion as text

Alone    python -m studies.patients.score --params studies/patients/params.yaml --section patients
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from kinetoken.core.artifacts import write_csv, write_metrics
from kinetoken.core.stage import Context, Input, Output, run_stage
from studies.patients.plan import HALVES, HEALTHY, SOUND, Patients
from studies.scoring import clopper_pearson, draw_confusion
from studies.variants import markdown_row

if TYPE_CHECKING:
    import pandas as pd

COST = 0.05  # of balanced accuracy, from which a fault counts
KEPT = ("name", "family", "fault", "half", "severity", "seed", "counts", "named", "reading", "doctor_reading",
        "clips", "making_seconds", "doctor_seconds", "reading_seconds", "evidence")


@dataclass(frozen=True)
class Paths:
    cases: Annotated[Path, Input("a row a case, JSON lines")] = Path("studies/patients/data/cases.jsonl")
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("studies/patients/metrics.json")
    table: Annotated[Path, Output("one row a case")] = Path("studies/patients/plots/cases.csv")
    confusion: Annotated[Path, Output("right and named headline")] = Path("studies/patients/plots/confusion.csv")
    text: Annotated[Path, Output("the same counted, and every miss")] = Path("studies/patients/plots/table.md")
    picture: Annotated[Path, Output("the confusion, drawn")] = Path("studies/patients/plots/confusion.png")


def run(params: Patients, paths: Paths, context: Context) -> None:
    table = judged([json.loads(line) for line in paths.cases.read_text(encoding="utf-8").splitlines()])
    write_metrics(paths.metrics, numbers(table))
    write_csv(paths.table, table)
    shown = table[(table["half"] == "scoring") & (table["counted"] | table["sound"])]
    shown = shown.assign(**{name: shown[name].map(shortened) for name in ("cause", "named")})
    write_csv(paths.confusion, shown[["cause", "named", "name"]])
    paths.text.write_text(as_text(shown), encoding="utf-8")
    print(as_text(shown))
    draw_confusion(paths.picture, shown, HEALTHY)


def judged(rows: list[dict[str, Any]]) -> "pd.DataFrame":
    """One row a case: what was named, whether that is right, what the fault costs, and whether it counts.

    cause: the headline that was named where it is right, else the first of those that would have been; sound: no fault
    and something upstream, so that `healthy` is right.
    """
    import pandas as pd

    twins = {row["twin"]: row["reading"] for row in rows if row["fault"] == SOUND}
    found = []
    for row in rows:
        right = accepted(row["named"], row["truth"])
        read, twin = row["reading"], twins.get(row["twin"])
        cost = twin - read if read is not None and twin is not None else None
        sound = row["truth"] == [HEALTHY]
        found.append({key: row[key] for key in KEPT} | {
            "changes": " ".join(row["changes"]), "truth": " | ".join(row["truth"]), "right": right,
            "cause": row["named"] if right else row["truth"][0], "twin_reading": twin, "cost": cost, "sound": sound,
            "counted": not sound and (row["counts"] == "always" or (cost is not None and cost >= COST)),
            "dear": row["fault"] != SOUND and cost is not None and cost >= COST,
        })
    return pd.DataFrame(found)


def accepted(named: str, truth: list[str]) -> bool:
    """Is the headline one of these? `cannot tell` stands for every headline that begins so."""
    return any(named == one or (one == "cannot tell" and named.startswith(one)) for one in truth)


def shortened(named: str) -> str:
    """The headline, without what is missing where nothing can be told."""
    return "cannot tell" if named.startswith("cannot tell") else named


def numbers(table: "pd.DataFrame") -> dict[str, Any]:
    """Counts and shares with 95 % Clopper-Pearson intervals: of the scoring half at the top, of the other as `set`."""
    scoring, setting = (_of_half(table[table["half"] == half]) for half in reversed(HALVES))
    return scoring | {"set": setting}


def _of_half(part: "pd.DataFrame") -> dict[str, Any]:
    counted, sound = part[part["counted"]], part[part["sound"]]
    dear = part[part["dear"]]
    false_healthy, alarms = int((dear["named"] == HEALTHY).sum()), sound[sound["named"].map(is_fault)]
    by_cause = {
        str(cause).replace(" ", "_"): {"cases": len(own), "named_right": int(own["right"].sum())}
        for cause, own in counted.groupby(counted["truth"].str.split(" | ", regex=False).str[0])
    }
    return {
        "scored": {
            "cases": len(counted), "causes": len(by_cause), "named_right": int(counted["right"].sum()),
            **_interval("named_right", int(counted["right"].sum()), len(counted)),
            "faults_of_5_points": len(dear), "false_healthy": false_healthy,
            **_interval("false_healthy", false_healthy, len(dear)),
            "faults_that_cost_less": int((~part["counted"] & ~part["sound"]).sum()),
            "refused": int((part["named"] == "refused").sum()), "crashed": int((part["named"] == "crashed").sum()),
        },
        "healthy": {
            "cases": len(sound), "called_healthy": int(sound["right"].sum()), "false_alarms": len(alarms),
            **_interval("false_alarms", len(alarms), len(sound)),
        },
        "cause": by_cause,
    }


def is_fault(named: str) -> bool:
    """Does the headline say that something is wrong? An honest `cannot tell` does not."""
    return named != HEALTHY and not named.startswith("cannot tell")


def _interval(name: str, count: int, total: int) -> dict[str, float]:
    low, high = clopper_pearson(count, total)
    return {f"{name}_share": count / total if total else 0.0, f"{name}_share_ci95_low": low,
            f"{name}_share_ci95_high": high}


def as_text(shown: "pd.DataFrame") -> str:
    """The confusion as Markdown: each right headline with what was named and how often; then every miss."""
    lines = [markdown_row(("right headline", "cases", "named")), markdown_row(("---", "---:", "---"))]
    for cause, own in shown.groupby("cause"):
        named = ", ".join(f"{name} {count}" for name, count in own["named"].value_counts().items())
        lines.append(markdown_row((str(cause), str(len(own)), named)))
    missed = shown[~shown["right"]]
    lines += ["", markdown_row(("case", "right", "named", "cost, points")), markdown_row(("---", "---", "---", "---:"))]
    for row in missed.to_dict("records"):
        cost = "" if row["cost"] is None or math.isnan(row["cost"]) else f"{100 * row['cost']:.0f}"
        lines.append(markdown_row((f"`{row['name']}`", row["truth"].replace(" | ", " or "), row["named"], cost)))
    return "\n".join([*lines, ""])


def main() -> int:
    return run_stage(run, Patients, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
