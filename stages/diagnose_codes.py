"""Did the codes keep the motion, and if not, where was it lost?

Reads    params diagnose_codes and hardware; videos, trajectories, track_params, codes, the tokenizer and the
         curve of its training
Writes   metrics/diagnose_codes.json; in plots/diagnose_codes the verdict in words and as data, tables of
         usage, levels, the chain of probes, class distances and the embedding, and two pictures

Alone    python -m stages.diagnose_codes --codes data/motion/codes.parquet --tokenizer models/tokenizer
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kinetoken.core.absence import write_absent
from kinetoken.core.artifacts import write_csv
from kinetoken.core.numbers import write_numbers
from kinetoken.core.per_track import PerTrack, require_classes, require_splits
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.diagnosis.admission import admit
from kinetoken.diagnosis.chain import Diagnosis
from kinetoken.diagnosis.doctor import Report, diagnose
from kinetoken.diagnosis.history import read_history
from kinetoken.diagnosis.numbers import HEADLINES, HEADLINES_WITHOUT_CLASSES
from kinetoken.diagnosis.text import write_verdict
from kinetoken.training.loop import fabric_device


@dataclass(frozen=True)
class Paths:
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    trajectories: Annotated[Path, Input("true positions", optional=True)] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("constants of each track", optional=True)] = Path(
        "data/motion/track_params.parquet"
    )
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, Input("tokenizer that made the codes")] = Path("models/tokenizer")
    history: Annotated[Path, Input("training curve of the tokenizer")] = Path("plots/train_tokenizer/curves.csv")
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/diagnose_codes.json")
    headlines: HeadlineFolder = Path("metrics/diagnose_codes")
    numbers: NumbersTable = Path("plots/diagnose_codes/numbers.csv")
    verdict: Annotated[Path, Output("cause, evidence, cure in words")] = Path("plots/diagnose_codes/verdict.md")
    verdict_json: Annotated[Path, Output("the same as data")] = Path("plots/diagnose_codes/verdict.json")
    information: Annotated[Path, Output("probes along the chain")] = Path("plots/diagnose_codes/information.csv")
    positions: Annotated[Path, Output("usage by position")] = Path("plots/diagnose_codes/usage_by_position.csv")
    levels: Annotated[Path, Output("FSQ level histograms")] = Path("plots/diagnose_codes/levels.csv")
    embedding: Annotated[Path, Output("PCA and t-SNE views")] = Path("plots/diagnose_codes/embedding.csv")
    embedding_image: Annotated[Path, Output("the same as a picture")] = Path("plots/diagnose_codes/embedding.png")
    usage_image: Annotated[Path, Output("usage as a picture")] = Path("plots/diagnose_codes/usage.png")


def run(params: Diagnosis, paths: Paths, context: Context) -> None:
    from threadpoolctl import threadpool_limits

    device = fabric_device(context.hardware)
    dataset = Dataset.open(DatasetPaths(
        videos=paths.videos, codes=paths.codes, tokenizer=paths.tokenizer, trajectories=paths.trajectories,
        track_params=paths.track_params,
    ), needs=readable, row_for_row=False)  # codes of a part of the clips, in any order, are examined too
    dataset.tokenizer.to(device)
    with threadpool_limits(context.hardware.threads):
        patient = admit(dataset, device, params, context.progress)
    patient.history, patient.late_fall = read_history(paths.history)
    report = diagnose(patient, params, context)
    _write(paths, report)
    context.progress.say(f"verdict: {report.verdict.cause}. {report.verdict.evidence}")


def readable(table: PerTrack, source: object) -> None:
    """UserError for an empty split, or a class without clips in one; a table without classes is examined too."""
    (require_splits if len(table.classes) < 2 else require_classes)(table, source)


def _write(paths: Paths, report: Report) -> None:
    from kinetoken.diagnosis.drawing import draw_embedding, draw_usage

    tables = report.tables
    write_csv(paths.positions, tables["positions"])
    write_csv(paths.levels, tables["levels"])
    if "information" in tables:
        write_csv(paths.information, tables["information"])
    else:
        write_absent(paths.information, "the clips have no classes that probes could read")
    write_csv(paths.embedding, tables["embedding"])
    draw_embedding(paths.embedding_image, tables["embedding"])
    draw_usage(paths.usage_image, tables["positions"], tables["levels"])
    write_verdict(paths.verdict, paths.verdict_json, report.statement("kinetoken"))
    headlines = HEADLINES if "probe" in report.numbers else HEADLINES_WITHOUT_CLASSES
    lost = {} if report.verdict.severity is None else {"severity": report.verdict.severity}
    write_numbers(paths, {"healthy": int(report.verdict.healthy), **lost, **report.numbers}, headlines)


def main() -> int:
    return run_stage(run, Diagnosis, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
