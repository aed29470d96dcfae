"""Say what law a ball follows, in equations and in a sentence, from what is read of its first three quarters.

By `source: codes` class probabilities come from the classifier and 3-D points from the position head, both on the
codes of the past alone; by `source: i3d_magvit` both come from that network, on the frames and codes of the past
alone. Provider "offline" fits the law by least squares: no language model has part in it. The trajectories serve for
scoring only, on the frames that nobody saw.

Reads    codes.parquet; models/classifier and models/position, or models/i3d_magvit and videos (all must be there, by
         the param one pair is read); trajectories.parquet and track_params.parquet
Writes   data/descriptions.jsonl (a row a clip), metrics/describe_motion.json, plots/describe_motion/*.csv

Alone    python -m stages.describe_motion --codes my/codes.parquet --trajectories my/trajectories.parquet
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from kinetoken.artifacts import write_csv, write_metrics
from kinetoken.codes import CodesTable, read_codes
from kinetoken.equations import offline, scoring
from kinetoken.equations.offline import ClassReader, DescribeMotion, Description, Evidence, PositionReader
from kinetoken.errors import UserError
from kinetoken.heads.scoring import log_softmax
from kinetoken.law_fit import camera_whitening
from kinetoken.laws import CLASSES, Array
from kinetoken.per_track import rows_by_track
from kinetoken.stage import Context, Input, Output, run_stage
from kinetoken.tracks import Tracks, read_tracks

if TYPE_CHECKING:
    import pandas as pd

TRUE_POINT_ERROR = 1e-4  # m: what the true points are trusted to, in place of the position head's own errors


@dataclass(frozen=True)
class Paths:
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    classifier: Annotated[Path, Input("classifier on codes")] = Path("models/classifier")
    position: Annotated[Path, Input("position head on codes")] = Path("models/position")
    i3d_magvit: Annotated[Path, Input("I3D + MAGVIT on frames and codes")] = Path("models/i3d_magvit")
    videos: Annotated[Path, Input("clip store, for I3D + MAGVIT")] = Path("data/motion/videos")
    trajectories: Annotated[Path, Input("true positions, for scoring only")] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("what was drawn, beside them")] = Path("data/motion/track_params.parquet")
    descriptions: Annotated[Path, Output("one row a clip")] = Path("data/descriptions.jsonl")
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("metrics/describe_motion.json")
    ladder: Annotated[Path, Output("each rung by class")] = Path("plots/describe_motion/ladder.csv")
    forms: Annotated[Path, Output("true and written law of each clip")] = Path("plots/describe_motion/forms.csv")


def run(params: DescribeMotion, paths: Paths, context: Context) -> None:
    codes = choose_clips(read_codes(paths.codes), params.clips, paths.codes)
    tracks = read_tracks(paths.trajectories, paths.track_params)
    context.progress.phase("reading the past", len(codes), "clips")
    times = tracks.world.times
    evidence = SOURCES[params.source](codes, times, paths)
    context.progress.advance(len(codes))
    context.progress.phase("fitting laws", 2 * len(codes), "clips")
    told = offline.describe(evidence, times, priors=params.priors, independence=params.independence)
    context.progress.advance(len(codes))
    # scoring: from here on the truth is known
    truth = true_points(tracks, codes.track_id, paths.trajectories)
    past = len(evidence.times)
    exact = dataclasses.replace(
        evidence, points=truth[:, :past], log_probabilities=np.zeros_like(evidence.log_probabilities),
        whitening=np.broadcast_to(np.eye(3) / TRUE_POINT_ERROR, (len(codes), past, 3, 3)),
    )
    told_exactly = offline.describe(exact, times, priors=params.priors)
    context.progress.advance(len(codes))
    rows = scoring.score_rows(evidence, told, told_exactly, codes.label, truth, times, params.priors)
    write_rows(paths.descriptions, codes, evidence, told, rows)
    metrics = scoring.summarise(rows, codes.label, truth, times, params.seed)
    write_metrics(paths.metrics, {"is_llm": 0, "source_is_video": int(params.source == "i3d_magvit"), **metrics})
    write_plots(paths, codes, rows)


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


def load_readers(paths: Paths) -> tuple[ClassReader, PositionReader]:
    """The two models that read codes."""
    from kinetoken.heads.classifier import load_classifier
    from kinetoken.heads.position import load_position_head

    return load_classifier(paths.classifier), load_position_head(paths.position)


def past_slices(codes: CodesTable) -> int:
    """The first three quarters of the time slices, at least one."""
    return max(codes.meta.grid[0] * 3 // 4, 1)


def evidence_of_codes(codes: CodesTable, times: Array, paths: Paths) -> Evidence:
    """What the heads read from the codes of the past."""
    return gather_evidence(codes, times, *load_readers(paths))


def gather_evidence(
    codes: CodesTable, times: Array, classifier: ClassReader, position: PositionReader
) -> Evidence:
    """What the models read from the first three quarters of the time slices; later codes are never touched."""
    past = codes.codes[:, : past_slices(codes)]
    points = np.asarray(position.positions(past), np.float64)  # (N, K, 3)
    whitening = camera_whitening(points, position.sigma["px"], position.sigma["depth_fraction"], position.focal)
    log_probabilities = np.asarray(classifier.log_probabilities(past), np.float64)
    return Evidence(times[: points.shape[1]], points, whitening, tuple(classifier.classes), log_probabilities)


def evidence_of_video(codes: CodesTable, times: Array, paths: Paths) -> Evidence:
    """What I3D + MAGVIT reads from frames and codes of the past; it is given no later ones.

    UserError for a network of another tokenizer or another past, and for clips that are not there.
    """
    import torch

    from kinetoken.clips import ClipStore
    from kinetoken.two_stream.network import load_two_stream
    from kinetoken.two_stream.past import in_metres, load_trust
    from kinetoken.two_stream.training import read

    network, trust, store = load_two_stream(paths.i3d_magvit), load_trust(paths.i3d_magvit), ClipStore(paths.videos)
    codes.meta.require_same_tokenizer(network.tokenizer_hash, paths.codes, paths.i3d_magvit)
    past = past_slices(codes)
    if network.past_slices != past:
        raise UserError(
            f"{paths.i3d_magvit}: reads pasts of {network.past_slices} slices, and motion is described from {past}; "
            "set train_i3d_magvit.forecast.past_slices"
        )
    rows = rows_by_track(codes.track_id, store.track_id, absent_from(paths.videos))
    order = np.argsort(rows)
    frames = np.empty((len(rows), network.past_frames, *store.shape[1:], 3), np.uint8)
    frames[order] = store.take(rows[order]).pixels[:, : network.past_frames]
    told = read(network, torch.from_numpy(frames), torch.from_numpy(codes.codes[:, :past].astype(np.int64)))
    points = in_metres(told.path, store.scene)
    whitening = camera_whitening(points, trust.px, trust.depth_fraction, store.scene.focal)
    log_probabilities = log_softmax(told.logits / trust.temperature)
    return Evidence(times[: points.shape[1]], points, whitening, network.shape.classes, log_probabilities)


SOURCES = {"codes": evidence_of_codes, "i3d_magvit": evidence_of_video}


def true_points(tracks: Tracks, track_id: np.ndarray, source: Path) -> Array:
    """(N, T, 3) of the clips; UserError naming the first that the trajectories do not have."""
    return tracks.points[rows_by_track(track_id, tracks.track_id, absent_from(source))]


def absent_from(source: Path) -> Callable[[int], str]:
    """What to say of a track with codes that the source does not have."""
    return f"{source}: no track {{}}, which the codes table has; both must come from one run".format


def write_rows(
    path: Path, codes: CodesTable, evidence: Evidence, told: list[Description], rows: "pd.DataFrame"
) -> None:
    """One JSON object a line, by track_id; errors that do not exist are null."""
    probabilities = offline.as_probabilities(evidence.log_probabilities, evidence.classes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as sink:
        for clip, one in enumerate(told):
            row: dict[str, Any] = {
                "track_id": int(codes.track_id[clip]), "provider": offline.PROVIDER, **one.equations,
                "description": one.sentence, "law": one.law, "true_law": str(codes.label[clip]),
                "facts": dataclasses.asdict(one.facts), "quantities": one.quantities,
                "class_probabilities": probabilities[clip], "points": np.round(evidence.points[clip], 4).tolist(),
                "verdicts": {name: _plain(rows[name].iloc[clip]) for name in rows},
            }
            sink.write(json.dumps(row, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: object) -> object:
    """A cell as JSON: numbers to six digits, null for a number that does not exist."""
    if isinstance(value, (bool, np.bool_, str)):
        return value if isinstance(value, str) else bool(value)
    number = float(value)  # type: ignore[arg-type]
    return float(f"{number:.6g}") if np.isfinite(number) else None


def write_plots(paths: Paths, codes: CodesTable, rows: "pd.DataFrame") -> None:
    """ladder.csv: the share of each class that reaches each rung; forms.csv: raw pairs for a confusion matrix."""
    import pandas as pd

    rungs = ["parsed", "finite", "form_match", "equation_correct", "oracle.correct", "description_correct"]
    shares = rows[rungs].astype(float).groupby(codes.label).mean().rename(columns={"oracle.correct": "oracle_form"})
    ladder = shares.rename_axis("class").reset_index().melt(id_vars="class", var_name="rung", value_name="share")
    write_csv(paths.ladder, ladder)
    write_csv(paths.forms, pd.DataFrame({"track_id": codes.track_id, "actual": codes.label, "predicted": rows["form"]}))


def main() -> int:
    return run_stage(run, DescribeMotion, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
