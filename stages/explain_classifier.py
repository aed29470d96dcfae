"""Which tokens carried the decision of the classifier of codes, with what shows whether the answer can be trusted.

Reads    params explain_classifier and hardware; codes, the classifier, clips for the picture; trajectories and
         track_params for scoring only, where there are any
Writes   metrics/explain_classifier.json, plots/explain_classifier/{attribution,by_slice,deletion}.csv, attribution.png

Alone    python -m stages.explain_classifier --codes my/codes.parquet --model my/classifier
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kinetoken.codes import CodesTable
from kinetoken.core.artifacts import read_config, write_csv
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import write_numbers
from kinetoken.core.per_track import require_classes, rows_by_track
from kinetoken.core.stage import Context, HeadlineFolder, Input, NumbersTable, Output, run_stage
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.diagnosis.usage import Mask, foreground_tokens
from kinetoken.explanations.drawing import draw_attribution
from kinetoken.explanations.explaining import ExplainClassifier, explain
from kinetoken.explanations.tables import HEADLINES, attribution_table, deletion_table, numbers_of, slice_table
from kinetoken.heads.classifier import load_classifier
from kinetoken.readings.sources import even_test_clips
from kinetoken.training.loop import fabric_device

PLOTS = Path("plots/explain_classifier")


@dataclass(frozen=True)
class Paths:
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    model: Annotated[Path, Input("the classifier that is explained")] = Path("models/classifier")
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    trajectories: Annotated[Path, Input("true positions", optional=True)] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("constants of each track", optional=True)] = Path(
        "data/motion/track_params.parquet"
    )
    metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/explain_classifier.json")
    headlines: HeadlineFolder = Path("metrics/explain_classifier")
    numbers: NumbersTable = PLOTS / "numbers.csv"
    attribution: Annotated[Path, Output("mean attribution of each token, by class")] = PLOTS / "attribution.csv"
    by_slice: Annotated[Path, Output("share of the attribution in each time slice")] = PLOTS / "by_slice.csv"
    deletion: Annotated[Path, Output("accuracy without tokens, or with few")] = PLOTS / "deletion.csv"
    picture: Annotated[Path, Output("a clip of each class with its attributions")] = PLOTS / "attribution.png"


def run(params: ExplainClassifier, paths: Paths, context: Context) -> None:
    device = fabric_device(context.hardware)
    dataset = Dataset.open(DatasetPaths(
        codes=paths.codes, videos=paths.videos, trajectories=paths.trajectories, track_params=paths.track_params,
    ), needs=require_classes, scene=True)
    head = load_classifier(paths.model).to(device)
    dataset.require_tokenizer_of(head, paths.model)
    if head.classes != dataset.classes:
        raise UserError(
            f"{paths.model}: classifies {', '.join(head.classes)}, but the classes of {paths.codes} are "
            f"{', '.join(dataset.classes)}; run train_classifier again"
        )
    some = even_test_clips(dataset.codes, params.clips)
    context.progress.phase("attributing", 2 * len(some), "clips")
    found = explain(
        head, read_config(paths.model)["network"], dataset.codes, some, ball_tokens(dataset, some), params,
        context.progress.advance,
    )
    context.progress.phase("writing")
    write_numbers(paths, numbers_of(found), HEADLINES)
    write_csv(paths.attribution, attribution_table(found))
    write_csv(paths.by_slice, slice_table(found))
    write_csv(paths.deletion, deletion_table(found))
    draw_attribution(paths.picture, found, dataset.clips)


def ball_tokens(dataset: Dataset, some: CodesTable) -> Mask | None:
    """Tokens of these clips that meet the ball's true disc, (N, T', H', W'); None where there are no true positions."""
    if not dataset.tracked:
        return None
    rows = rows_by_track(some.track_id, dataset.tracks.track_id)
    return foreground_tokens(dataset.scene, dataset.tracks.points[rows], some.meta.grid)


def main() -> int:
    return run_stage(run, ExplainClassifier, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
