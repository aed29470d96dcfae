"""Write equations and a sentence for the law of motion of each clip, from its first three quarters.

Class probabilities and 3-D points of the first three quarters come from read_motion. The `provider` writes the
equations: "offline" fits the law by least squares without a language model; "openai" asks the language model that
`language_model` names; "hybrid" takes that model's form and fits the constants. The trajectories are used only to score
the held-out frames (`points: true` gives their past to the provider, as a control, and the metrics say so). Where
classes are not the four laws, equations are scored by the true positions alone: no law's name can be right or wrong.
Records of early decisions are described in sentences in the same way.

Reads    readings.parquet of read_motion; trajectories.parquet and track_params.parquet; reasons.jsonl of
         detect_persistence
Writes   data/descriptions.jsonl (a row a clip), data/reasons.jsonl (a row a decision), metrics/describe_motion.json,
         plots/describe_motion/*.csv; with a language model the ledger of questions and answers, which outlives every
         run, and the bill in run_info

A language model needs OPENAI_API_KEY in the environment, and OPENAI_BASE_URL for another server than OpenAI's.

Alone    python -m stages.describe_motion --readings my/readings.parquet --trajectories my/trajectories.parquet
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from kinetoken.core.artifacts import write_csv, write_json
from kinetoken.core.numbers import write_numbers
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.equations import ladder, offline, reasons
from kinetoken.equations.params import DescribeMotion
from kinetoken.equations.providers import describe
from kinetoken.equations.reading import evidence_of, on_true_points, true_tracks, without_classes
from kinetoken.equations.rows import write_descriptions, write_reasons
from kinetoken.llm.language_model import STAND_IN
from kinetoken.llm.spending import Bill
from kinetoken.physics.laws import are_laws
from kinetoken.readings.table import Readings, read_readings
from kinetoken.scenes.tracks import Tracks, read_tracks

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Paths:
    readings: Annotated[Path, Input("what models predict from each clip's past")] = Path("data/readings.parquet")
    trajectories: Annotated[Path, Input("true positions, for scoring only")] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("constants of each track")] = Path("data/motion/track_params.parquet")
    records: Annotated[Path, Input("early decisions")] = Path("plots/detect_persistence/reasons.jsonl")
    ledger: Annotated[Path, "questions and answers of a language model"] = Path("ledger/answers.sqlite")
    descriptions: Annotated[Path, Output("one row a clip")] = Path("data/descriptions.jsonl")
    reasons: Annotated[Path, Output("early decisions in words")] = Path("data/reasons.jsonl")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/describe_motion.json")
    headlines: HeadlineFolder = Path("metrics/describe_motion")
    numbers: NumbersTable = Path("plots/describe_motion/numbers.csv")
    ladder: Annotated[Path, Output("each rung by provider, class")] = Path("plots/describe_motion/ladder.csv")
    forms: Annotated[Path, Output("true and written law of each clip")] = Path("plots/describe_motion/forms.csv")


def run(params: DescribeMotion, paths: Paths, context: Context) -> None:
    readings = read_readings(paths.readings)
    tracks = read_tracks(paths.trajectories, paths.track_params)
    clips = true_tracks(readings, tracks, paths.readings, paths.trajectories)
    times, truth, labels = clips.world.times, clips.points, clips.label
    read = evidence_of(readings)
    evidence = on_true_points(read, truth) if params.points is True else read
    similar = readings.neighbours if readings.neighbours.size else None
    told = describe(params, evidence, times, readings.track_id, similar, paths.ledger, context.progress)
    records, spent = reasons.read_records(paths.records, params.reasons), told.bill.cost if told.bill else 0.0
    explained, extra = reasons.explain(records, params, paths.ledger, context.progress, spent)
    bills = {name: bill for name, bill in (("descriptions", told.bill), ("reasons", extra)) if bill is not None}
    # scoring: from here on the truth is known
    context.progress.phase("scoring", len(clips), "clips")
    told_exactly = offline.describe(without_classes(on_true_points(read, truth)), times, priors=params.priors)
    chosen = told.by[params.provider]
    rows = ladder.score_rows(evidence, chosen, told_exactly, labels, truth, times, params.priors)
    few = ladder.examined_rows(labels, params.examined)
    examined = ladder.examine(
        [chosen[row] for row in few], labels[few], truth[few], times, rows["form"].iloc[few].tolist()
    )
    metrics = ladder.summarise(rows, labels, truth, times, params.seed)
    metrics |= ladder.summarise_examined(examined) | ladder.point_errors(evidence.points, truth)
    metrics |= about_the_run(params, readings, bills)
    if explained:
        right = float(np.mean([one.correct for one in explained]))
        metrics |= {"reasons_correct": right, "reasons_correct_floor": reasons.floor(explained)}
    headlines = ladder.HEADLINES if are_laws(labels.tolist()) else ladder.HEADLINES_OF_OTHER_CLASSES
    write_numbers(paths, metrics, headlines)
    write_descriptions(paths.descriptions, params, clips, evidence, chosen, rows, readings)
    write_reasons(paths.reasons, params, explained)
    reached: dict[str, pd.DataFrame] = {params.provider: rows}
    reached |= {
        name: ladder.rungs(each, labels, truth, times, len(evidence.times))
        for name, each in told.by.items() if name != params.provider
    }
    write_plots(paths, clips, reached, rows)
    if context.run_info is not None and bills:
        write_json(context.run_info / "bill.json", {name: dataclasses.asdict(bill) for name, bill in bills.items()})


def about_the_run(params: DescribeMotion, readings: Readings, bills: Mapping[str, Bill]) -> dict[str, float]:
    """Who wrote the equations, from what, and what a language model cost; all of it repeatable from the ledger.

    `is_llm` is 1 only if something answered, and every answer came from a model that does not call itself a stand-in.
    """
    names = [name for bill in bills.values() for name in bill.models]
    played = any(name.startswith(STAND_IN) for name in names)
    about: dict[str, float] = {
        "is_llm": int(bool(names) and not played), "is_hybrid": int(params.provider == "hybrid"),
        "source_is_video": int(readings.source == "i3d_magvit"), "points_are_true": int(params.points is True),
    }
    if not bills:
        return about
    counted = ("attempts", "prompt_tokens", "completion_tokens", "cost")
    about |= {name: sum(getattr(bill, name) for bill in bills.values()) for name in counted}
    return about | {"is_stand_in": int(played), "cost_per_1200_clips": bills["descriptions"].cost_per_1200_clips}


def write_plots(paths: Paths, clips: Tracks, reached: dict[str, "pd.DataFrame"], rows: "pd.DataFrame") -> None:
    """ladder.csv: the share of clips that reach each rung, the chosen provider first; forms.csv: raw pairs."""
    import pandas as pd

    write_csv(paths.ladder, ladder.shares(reached, rows, clips.label))
    write_csv(paths.forms, pd.DataFrame({"track_id": clips.track_id, "actual": clips.label, "predicted": rows["form"]}))


def main() -> int:
    return run_stage(run, DescribeMotion, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
