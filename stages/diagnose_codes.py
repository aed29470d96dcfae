"""Did the codes keep the motion, and if not, where was it lost?

Reads    params diagnose_codes and hardware; videos, trajectories, track_params, codes, the tokenizer
Writes   metrics/diagnose_codes.json; in plots/diagnose_codes the verdict, tables of usage, levels, the chain
         of probes, class distances and the embedding, and two pictures

Alone    python -m stages.diagnose_codes --codes data/motion/codes.parquet --tokenizer models/tokenizer
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.artifacts import write_csv, write_metrics
from kinetoken.clips import ClipStore
from kinetoken.codes import read_codes
from kinetoken.diagnosis import usage
from kinetoken.diagnosis.causes import judge, verdict_page
from kinetoken.diagnosis.chain import CHAIN, Diagnosis, Painted, Walk, painted, walk
from kinetoken.diagnosis.findings import Readings, examine, information_table, physics_numbers, shown_features
from kinetoken.diagnosis.probes import read_all
from kinetoken.errors import UserError
from kinetoken.heads.scoring import require_classes
from kinetoken.rendering import MASK_COVERAGE, Scene, ball_coverage
from kinetoken.stage import Context, Input, Output, run_stage
from kinetoken.tokenizer.network import Tokenizer, check_shape, load_tokenizer
from kinetoken.training import fabric_device
from kinetoken.trajectories import Tracks, read_tracks


@dataclass(frozen=True)
class Paths:
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    trajectories: Annotated[Path, Input("where the ball is")] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("what was drawn")] = Path("data/motion/track_params.parquet")
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, Input("tokenizer that made the codes")] = Path("models/tokenizer")
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("metrics/diagnose_codes.json")
    verdict: Annotated[Path, Output("cause, evidence, cure")] = Path("plots/diagnose_codes/verdict.md")
    information: Annotated[Path, Output("probes along the chain")] = Path("plots/diagnose_codes/information.csv")
    positions: Annotated[Path, Output("usage by position")] = Path("plots/diagnose_codes/usage_by_position.csv")
    levels: Annotated[Path, Output("FSQ level histograms")] = Path("plots/diagnose_codes/levels.csv")
    embedding: Annotated[Path, Output("PCA and t-SNE views")] = Path("plots/diagnose_codes/embedding.csv")
    embedding_image: Annotated[Path, Output("the same, drawn")] = Path("plots/diagnose_codes/embedding.png")
    usage_image: Annotated[Path, Output("usage, drawn")] = Path("plots/diagnose_codes/usage.png")


def run(params: Diagnosis, paths: Paths, context: Context) -> None:
    from threadpoolctl import threadpool_limits

    device = fabric_device(context.hardware)
    table, store, tokenizer = read_codes(paths.codes), ClipStore(paths.videos), load_tokenizer(paths.tokenizer)
    table.meta.require_same_tokenizer(tokenizer.hash, paths.codes, paths.tokenizer)
    check_shape(tokenizer, store)
    require_classes(paths.codes, table.label, table.split)
    tracks = read_tracks(paths.trajectories, paths.track_params)
    with threadpool_limits(context.hardware.threads):
        chain = walk(store, table, tokenizer.to(device), device, params, context.progress)
        points = _points(tracks, chain.table.track_id, paths.trajectories)
        test = chain.rows("test")
        mask = usage.foreground_tokens(store.scene, points[test], table.meta.grid)
        context.progress.phase("reconstructing", len(chain.shown), "clips")
        drawn = _painted(store.scene, tokenizer, chain, points, device)
        readings = {point: read_all(chain.splits(point), params.probe, context, point) for point in CHAIN}
        context.progress.phase("measuring")
        numbers, measures = examine(chain, readings, mask, drawn, params)
        numbers["physics"] = physics_numbers(chain, points, tracks.world.fps)
        verdict = judge(measures)
        _write_plots(paths, chain, readings, mask, params)
    paths.verdict.parent.mkdir(parents=True, exist_ok=True)
    paths.verdict.write_text(verdict_page(verdict, measures), encoding="utf-8")
    write_metrics(paths.metrics, {"healthy": int(verdict.healthy), **numbers})
    context.progress.say(f"verdict: {verdict.cause}. {verdict.evidence}")


def _points(tracks: Tracks, track_id: NDArray[np.int32], path: Path) -> NDArray[np.float64]:
    """Positions (N, T, 3) in m of the tracks."""
    place = np.minimum(np.searchsorted(tracks.track_id, track_id), len(tracks) - 1)
    if (absent := track_id[tracks.track_id[place] != track_id]).size:
        raise UserError(f"{path}: no track {absent[0]}, which the codes table holds")
    return tracks.points[place]


def _painted(scene: Scene, tokenizer: Tokenizer, chain: Walk, points: NDArray[np.float64], device: Any) -> Painted:  # noqa: ANN401
    mask = ball_coverage(scene, points[chain.shown]) > MASK_COVERAGE  # (n, T, H, W)
    return painted(tokenizer, chain.table.codes[chain.shown], chain.pixels, mask, chain.mean_video, device)


def _write_plots(
    paths: Paths, chain: Walk, readings: Readings, mask: NDArray[np.bool_], params: Diagnosis
) -> None:
    from kinetoken.diagnosis.drawing import draw_embedding, draw_usage, embed

    codes, meta = chain.table.codes[chain.rows("test")], chain.table.meta
    positions = usage.by_position(codes, meta.codebook_size, mask)
    levels = usage.level_histograms(codes, meta.levels, mask)
    rows, features = shown_features(chain, params)
    table = embed(features, chain.table.label[rows], chain.table.track_id[rows], params.seed)
    write_csv(paths.positions, positions)
    write_csv(paths.levels, levels)
    write_csv(paths.information, information_table(chain, readings, params.seed))
    write_csv(paths.embedding, table)
    draw_embedding(paths.embedding_image, table)
    draw_usage(paths.usage_image, positions, levels)


def main() -> int:
    return run_stage(run, Diagnosis, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
