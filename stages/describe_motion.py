"""Say what law a ball follows, in equations and in a sentence, from what is read of its first three quarters.

By `source: codes` class probabilities come from the classifier and 3-D points from the position head, both on the
codes of the past alone; by `source: i3d_magvit` both come from that network, on the frames and codes of the past
alone. The equations are written by the `provider`: "offline" fits the law by least squares, no language model has part
in it; "openai" asks the language model that `language_model` names; "hybrid" takes its form and fits the constants.
The trajectories serve for scoring only, on the frames that nobody saw (`points: true` hands their past to the
provider, as a control, and the metrics say so). Records of early decisions are put in words by the same means.

Reads    codes.parquet; models/classifier and models/position, or models/i3d_magvit and videos (all must be there, by
         the param one pair is read); trajectories.parquet and track_params.parquet; reasons.jsonl of detect_persistence
Writes   data/descriptions.jsonl (a row a clip), data/reasons.jsonl (a row a decision), metrics/describe_motion.json,
         plots/describe_motion/*.csv; with a language model the ledger of questions and answers, which outlives every
         run, and the bill in run_info

A language model needs OPENAI_API_KEY in the environment, and OPENAI_BASE_URL for another server than OpenAI's.

Alone    python -m stages.describe_motion --codes my/codes.parquet --trajectories my/trajectories.parquet
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from kinetoken.codes import CodesTable, read_codes
from kinetoken.core.artifacts import write_csv, write_json
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import write_numbers
from kinetoken.core.per_track import rows_by_track
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.equations import ladder, offline, reasons
from kinetoken.equations.evidence import Evidence
from kinetoken.equations.params import DescribeMotion
from kinetoken.equations.providers import describe
from kinetoken.equations.reading import READERS, Sources, absent_from, on_true_points, similar_clips
from kinetoken.equations.rows import write_descriptions, write_reasons
from kinetoken.llm.language_model import STAND_IN
from kinetoken.llm.spending import Bill
from kinetoken.physics.laws import CLASSES, Array
from kinetoken.scenes.tracks import Tracks, read_tracks

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Paths:
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    classifier: Annotated[Path, Input("classifier on codes")] = Path("models/classifier")
    position: Annotated[Path, Input("position head on codes")] = Path("models/position")
    i3d_magvit: Annotated[Path, Input("I3D + MAGVIT on frames and codes")] = Path("models/i3d_magvit")
    videos: Annotated[Path, Input("clip store, for I3D + MAGVIT")] = Path("data/motion/videos")
    trajectories: Annotated[Path, Input("true positions, for scoring only")] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("what was drawn, beside them")] = Path("data/motion/track_params.parquet")
    records: Annotated[Path, Input("early decisions")] = Path("plots/detect_persistence/reasons.jsonl")
    ledger: Annotated[Path, "questions and answers of a language model"] = Path("ledger/answers.sqlite")
    descriptions: Annotated[Path, Output("one row a clip")] = Path("data/descriptions.jsonl")
    reasons: Annotated[Path, Output("early decisions in words")] = Path("data/reasons.jsonl")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/describe_motion.json")
    headlines: HeadlineFolder = Path("metrics/describe_motion")
    numbers: NumbersTable = Path("plots/describe_motion/numbers.csv")
    ladder: Annotated[Path, Output("each rung by provider, class")] = Path("plots/describe_motion/ladder.csv")
    forms: Annotated[Path, Output("true and written law of each clip")] = Path("plots/describe_motion/forms.csv")

    @property
    def sources(self) -> Sources:
        return Sources(self.codes, self.classifier, self.position, self.i3d_magvit, self.videos)


def run(params: DescribeMotion, paths: Paths, context: Context) -> None:
    table = read_codes(paths.codes)
    codes = choose_clips(table, params.clips, paths.codes)
    tracks = read_tracks(paths.trajectories, paths.track_params)
    times, truth = tracks.world.times, true_points(tracks, codes.track_id, paths.trajectories)
    context.progress.phase("reading the past", len(codes), "clips")
    read = READERS[params.source](codes, times, paths.sources)
    context.progress.advance(len(codes))
    evidence = on_true_points(read, truth) if params.points is True else read
    similar = None
    if params.asks and params.neighbours:
        similar = similar_clips(codes, table.of_split("train"), paths.sources, params.neighbours)
    told = describe(params, evidence, times, codes.track_id, similar, paths.ledger, context.progress)
    records, spent = reasons.read_records(paths.records, params.reasons), told.bill.cost if told.bill else 0.0
    explained, extra = reasons.explain(records, params, paths.ledger, context.progress, spent)
    bills = {name: bill for name, bill in (("descriptions", told.bill), ("reasons", extra)) if bill is not None}
    # scoring: from here on the truth is known
    context.progress.phase("scoring", len(codes), "clips")
    told_exactly = offline.describe(without_classes(on_true_points(read, truth)), times, priors=params.priors)
    chosen = told.by[params.provider]
    rows = ladder.score_rows(evidence, chosen, told_exactly, codes.label, truth, times, params.priors)
    few = ladder.examined_rows(codes.label, params.examined)
    examined = ladder.examine(
        [chosen[row] for row in few], codes.label[few], truth[few], times, rows["form"].iloc[few].tolist()
    )
    metrics = ladder.summarise(rows, codes.label, truth, times, params.seed)
    metrics |= ladder.summarise_examined(examined) | ladder.point_errors(evidence.points, truth)
    metrics |= about_the_run(params, bills)
    if explained:
        right = float(np.mean([one.correct for one in explained]))
        metrics |= {"reasons_correct": right, "reasons_correct_floor": reasons.floor(explained)}
    write_numbers(paths, metrics, ladder.HEADLINES)
    write_descriptions(paths.descriptions, params, codes, evidence, chosen, rows)
    write_reasons(paths.reasons, params, explained)
    reached: dict[str, pd.DataFrame] = {params.provider: rows}
    reached |= {
        name: ladder.rungs(each, codes.label, truth, times, len(evidence.times))
        for name, each in told.by.items() if name != params.provider
    }
    write_plots(paths, codes, reached, rows)
    if context.run_info is not None and bills:
        write_json(context.run_info / "bill.json", {name: dataclasses.asdict(bill) for name, bill in bills.items()})


def choose_clips(codes: CodesTable, count: int, source: Path) -> CodesTable:
    """The first `count` / 4 test clips of each law, in order of track_id.

    UserError if there are none: equations are scored against a law, so the classes must be the laws.
    """
    test = codes.of_split("test")
    test = test.take(np.argsort(test.track_id, kind="stable"))
    rows = [np.flatnonzero(test.label == law)[: count // len(CLASSES)] for law in CLASSES]
    chosen = np.sort(np.concatenate(rows))
    if len(chosen) == 0:
        raise UserError(f"{source}: no test clip has a class that equations can be scored by: {', '.join(CLASSES)}")
    return test.take(chosen)


def true_points(tracks: Tracks, track_id: np.ndarray, source: Path) -> Array:
    """(N, T, 3) of the clips; UserError naming the first that the trajectories do not have."""
    return tracks.points[rows_by_track(track_id, tracks.track_id, absent_from(source))]


def without_classes(evidence: Evidence) -> Evidence:
    """The same, with nothing said of the class."""
    return dataclasses.replace(evidence, log_probabilities=np.zeros_like(evidence.log_probabilities))


def about_the_run(params: DescribeMotion, bills: Mapping[str, Bill]) -> dict[str, float]:
    """Who wrote the equations, from what, and what a language model cost; all of it repeatable from the ledger.

    `is_llm` is 1 only if something answered, and every answer came from a model that does not call itself a stand-in.
    """
    names = [name for bill in bills.values() for name in bill.models]
    played = any(name.startswith(STAND_IN) for name in names)
    about: dict[str, float] = {
        "is_llm": int(bool(names) and not played), "is_hybrid": int(params.provider == "hybrid"),
        "source_is_video": int(params.source == "i3d_magvit"), "points_are_true": int(params.points is True),
    }
    if not bills:
        return about
    counted = ("attempts", "prompt_tokens", "completion_tokens", "cost")
    about |= {name: sum(getattr(bill, name) for bill in bills.values()) for name in counted}
    return about | {"is_stand_in": int(played), "cost_per_1200_clips": bills["descriptions"].cost_per_1200_clips}


def write_plots(paths: Paths, codes: CodesTable, reached: dict[str, "pd.DataFrame"], rows: "pd.DataFrame") -> None:
    """ladder.csv: the share of clips that reach each rung, the chosen provider first; forms.csv: raw pairs."""
    import pandas as pd

    write_csv(paths.ladder, ladder.shares(reached, rows, codes.label))
    write_csv(paths.forms, pd.DataFrame({"track_id": codes.track_id, "actual": codes.label, "predicted": rows["form"]}))


def main() -> int:
    return run_stage(run, DescribeMotion, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
