"""The three providers on the same clips and the same answers, in one table.

The answers are those of a stand-in that listens on this machine (see `stand_in`): no language model is asked, and the
table says so. With one at hand, `describe_motion.provider: hybrid` in params.yaml leaves the same ladder of its answers
in plots/describe_motion/ladder.csv.

Reads    params describe_motion of the study; what describe_motion reads
Writes   in the study's folder metrics.json; plots/ table.md (also printed), ladder.csv (every rung by provider
         and class), failures.csv (why equations were not correct, by provider)

Alone    python -m studies.language_model.compare --params studies/language_model/params.yaml --section describe_motion
"""

import dataclasses
import json
import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from unittest.mock import patch

from kinetoken.core.artifacts import write_csv, write_metrics
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import read_numbers
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.equations.params import DescribeMotion
from stages import describe_motion
from studies.language_model.stand_in import MODEL, serving
from studies.variants import markdown_row

if TYPE_CHECKING:
    import pandas as pd

PLOTS = Path("studies/language_model/plots")
RUNGS = {
    "parsed": "parsed", "finite": "finite", "form_match": "law", "equation_correct": "right on the unseen quarter",
    "description_correct": "sentence right",
}
KEPT = (
    "attempts", "prompt_tokens", "completion_tokens", "cost_per_1200_clips", "reasons_correct",
    "reasons_correct_floor", "is_llm", "is_stand_in", "symbolic_match", "complexity",
)
BEGIN = f"""\
Answers are played by a program ({MODEL}) over a local socket: **no language model was asked**. The table shows what the
pipeline makes of such answers, not what any model can do.
"""


@dataclass(frozen=True)
class Paths:
    readings: Annotated[Path, Input("what models read of each clip's past")] = Path("data/readings.parquet")
    trajectories: Annotated[Path, Input("true positions, for scoring only")] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("what was drawn, beside them")] = Path("data/motion/track_params.parquet")
    records: Annotated[Path, Input("early decisions")] = Path("plots/detect_persistence/reasons.jsonl")
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("studies/language_model/metrics.json")
    table: Annotated[Path, Output("the table in Markdown")] = PLOTS / "table.md"
    ladder: Annotated[Path, Output("each rung by provider and class")] = PLOTS / "ladder.csv"
    failures: Annotated[Path, Output("why equations were not correct")] = PLOTS / "failures.csv"


def run(params: DescribeMotion, paths: Paths, context: Context) -> None:
    import pandas as pd

    if params.provider == "offline" or params.language_model.model != MODEL:
        raise UserError(f"this study asks {MODEL}: set provider to openai or hybrid, and language_model.model to that")
    given = {field.name: getattr(paths, field.name) for field in dataclasses.fields(describe_motion.Paths)
             if hasattr(paths, field.name)}
    with tempfile.TemporaryDirectory() as name, serving() as address:
        parts = ("ledger", "descriptions", "reasons", "forms", "metrics", "headlines", "numbers")
        there = {part: Path(name) / part for part in parts}
        environment = {"OPENAI_BASE_URL": address, "OPENAI_API_KEY": "none"}
        with patch.dict(os.environ, environment):
            describe_motion.run(params, describe_motion.Paths(**given | there), context)
        found = read_numbers(there["numbers"])
        rows = [json.loads(line) for line in there["descriptions"].read_text(encoding="utf-8").splitlines()]
    ladder = pd.read_csv(paths.ladder)
    shares = ladder[ladder["class"] == "all"].pivot(index="provider", columns="rung", values="share")
    shares = shares.reindex(index=ladder["provider"].unique(), columns=list(RUNGS))
    metrics = {slug(name): each.dropna().to_dict() for name, each in shares.iterrows()}
    write_metrics(paths.metrics, metrics | {key: found[key] for key in KEPT if key in found} | {"clips": len(rows)})
    counts = Counter(row["verdicts"]["failure"] or "correct" for row in rows)
    write_csv(paths.failures, pd.DataFrame({"failure": counts.keys(), "clips": counts.values()}))
    text = table(shares, params, found, counts)
    paths.table.write_text(text, encoding="utf-8")
    print(text)


def slug(name: object) -> str:
    """A provider's name as a key of metrics."""
    return str(name).replace(",", "").replace(" ", "_")


def table(shares: "pd.DataFrame", params: DescribeMotion, found: dict[str, float], counts: Counter[str]) -> str:
    """Shares of clips in per cent, a row a provider, then the floors and the oracle; what it took; what went wrong."""
    lines = [BEGIN, markdown_row(["", *RUNGS.values()]), markdown_row(["---"] * (1 + len(RUNGS)))]
    for name, each in shares.iterrows():
        label = f"{name} ({MODEL})" if name in ("openai", "hybrid") else str(name)
        lines.append(markdown_row([label, *("" if share != share else f"{100 * share:.1f}" for share in each)]))
    wrong = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    lines += [
        "", f"{sum(counts.values())} clips and {params.reasons} early decisions, {found['attempts']:.0f} requests, "
        f"{found['prompt_tokens']:.0f} + {found['completion_tokens']:.0f} tokens by the stand-in's count. Equations of "
        f"{params.provider}: {wrong}. Early decisions in words, right in every check: "
        f"{100 * found['reasons_correct']:.0f} % (floor {100 * found['reasons_correct_floor']:.0f} %).", "",
    ]
    return "\n".join(lines)


def main() -> int:
    return run_stage(run, DescribeMotion, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
