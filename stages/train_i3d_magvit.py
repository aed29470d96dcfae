"""Train I3D + MAGVIT: frames and tokens of a clip read together, for its class and for what comes next.

Reads    params train_i3d_magvit, hardware; the motion clips, their codes, the tokenizer; trajectories and
         track_params, for the true positions
Writes   models/i3d_magvit, metrics, plots/train_i3d_magvit/{confusion,curves,forecast}.csv and pictures

The class is told from whole clips, and once more from the past alone; the future from the past alone.

Alone    python -m stages.train_i3d_magvit
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch

from kinetoken.codes import CodesTable, read_codes
from kinetoken.core.artifacts import write_csv, write_metrics
from kinetoken.core.per_track import require_same_tracks
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.i3d_magvit import pictures, scores
from kinetoken.i3d_magvit.frames import decoded, frame_metrics
from kinetoken.i3d_magvit.network import I3DMagvit, I3DMagvitShape
from kinetoken.i3d_magvit.params import I3DMagvitParams
from kinetoken.i3d_magvit.past import Trust, in_metres, measured_trust
from kinetoken.i3d_magvit.training import ClipSet, JointPredictions, pixels_apart, read, train_network
from kinetoken.prediction import judging
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.paths import scene_path, to_pixels
from kinetoken.scenes.rendering import Scene
from kinetoken.scenes.tracks import Tracks, read_tracks
from kinetoken.scores import (
    classification_metrics,
    confusion_rows,
    log_softmax,
    majority_accuracy,
    require_classes,
    with_interval,
)
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import Tokenizer, load_tokenizer, require_causal
from kinetoken.training.loop import curves_table, fabric_device

if TYPE_CHECKING:
    import pandas as pd

PICTURES_PER_CLASS = 2


@dataclass(frozen=True)
class Paths:
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    tokenizer: Annotated[Path, Input("tokenizer that made the codes")] = Path("models/tokenizer")
    trajectories: Annotated[Path, Input("true positions")] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("what was drawn")] = Path("data/motion/track_params.parquet")
    model: Annotated[Path, Output("both streams in one folder")] = Path("models/i3d_magvit")
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("metrics/train_i3d_magvit.json")
    confusion: Annotated[Path, Output("actual and predicted class")] = Path("plots/train_i3d_magvit/confusion.csv")
    curves: Annotated[Path, Output("training curves")] = Path("plots/train_i3d_magvit/curves.csv")
    forecast: Annotated[Path, Output("errors at each step ahead, by class")] = Path(
        "plots/train_i3d_magvit/judging.csv"
    )
    frames: Annotated[Path, Output("forecasts drawn on the frames")] = Path("plots/train_i3d_magvit/forecasts.png")
    paths: Annotated[Path, Output("forecasts as paths in space")] = Path("plots/train_i3d_magvit/paths.png")


def run(params: I3DMagvitParams, paths: Paths, context: Context) -> None:
    codes, tokenizer = read_codes(paths.codes), load_tokenizer(paths.tokenizer)
    codes.meta.require_same_tokenizer(tokenizer.hash, paths.codes, paths.tokenizer)
    require_causal(tokenizer, paths.tokenizer)
    store, tracks = ClipStore(paths.videos), read_tracks(paths.trajectories, paths.track_params)
    check(paths, codes, store, tracks)
    device = fabric_device(context.hardware)
    network = build(params, codes, tokenizer, store)
    context.progress.say(f"train_i3d_magvit: {params.backbone.title}, {network.loaded}")
    clips = {split: clip_set(split, codes, store, tracks) for split in ("train", "val", "test")}
    history = train_network(network, clips["train"], clips["val"], params, context)
    network.to(device)
    tokenizer.to(device)
    context.progress.phase("scoring", 5, "readings")
    test, past, first = clips["test"], network.past_frames, network.past_slices
    whole = read(network, test.clips, test.codes)
    told = read(network, test.clips[:, :past], test.codes[:, :first], tokens=True)
    context.progress.advance()
    metrics, by_step = class_and_future(network, codes, tracks, store.scene, whole, told)
    metrics |= each_stream(network, clips, whole)
    metrics |= frames_of(network, tokenizer, codes, tracks, store.scene, test, told, context)
    trust = trust_in_pasts(network, clips["val"], tracks.points[codes.split == "val"], store.scene)
    metrics["sigma"] = {"px": trust.px, "depth_fraction": trust.depth_fraction}
    metrics["past"]["temperature"] = trust.temperature
    context.progress.advance()
    network.save(paths.model, dataclasses.asdict(trust))
    write_metrics(paths.metrics, metrics)
    probabilities = np.exp(log_softmax(whole.logits))
    write_csv(paths.confusion, confusion_rows(probabilities, test.label.numpy(), codes.classes))
    write_csv(paths.curves, curves_table({"i3d_magvit": history}))
    write_csv(paths.forecast, by_step)
    draw(network, tokenizer, codes, tracks, store.scene, test, told, paths)


def check(paths: Paths, codes: CodesTable, store: ClipStore, tracks: Tracks) -> None:
    """UserError unless clips, codes and tracks belong together and every class is in every split."""
    require_classes(paths.codes, codes.label, codes.split)
    require_same_tracks(codes, paths.codes, (store, paths.videos), (tracks, paths.trajectories))
    _ = store.scene  # must be known


def build(params: I3DMagvitParams, codes: CodesTable, tokenizer: Tokenizer, store: ClipStore) -> I3DMagvit:
    """An untrained network for these clips; what is not loaded comes from the params' seed."""
    codebook = Codebook.of(tokenizer)
    shape = I3DMagvitShape(
        codes.classes, store.shape[0], store.shape[1], codes.meta.grid, codebook.levels, codebook.size, codebook.dim,
    )
    torch.manual_seed(params.seed)
    network = I3DMagvit(params, shape, codebook)
    network.tokenizer_hash = codes.meta.tokenizer
    return network


def clip_set(split: str, codes: CodesTable, store: ClipStore, tracks: Tracks) -> ClipSet:
    """The clips of a split with their codes, classes and true paths."""
    rows = codes.split == split
    return ClipSet(
        torch.from_numpy(store.read(split).pixels), torch.from_numpy(codes.codes[rows].astype(np.int64)),
        torch.from_numpy(codes.target[rows]), scene_path(store.scene, tracks.points[rows]),
    )


def class_and_future(
    network: I3DMagvit, codes: CodesTable, tracks: Tracks, scene: Scene, whole: JointPredictions, told: JointPredictions
) -> tuple[dict[str, Any], "pd.DataFrame"]:
    """Metrics of the test clips, and the forecasts' errors step by step."""
    import pandas as pd

    test, train = codes.split == "test", codes.split == "train"
    target = codes.target[test]
    floor = majority_accuracy(codes.target[train], target)
    metrics: dict[str, Any] = classification_metrics(np.exp(log_softmax(whole.logits)), target, codes.classes, floor)
    metrics["past"] = classification_metrics(np.exp(log_softmax(told.logits)), target, codes.classes, floor)
    future = scores.Future(tracks.points[test], network.past_frames, network.shape.slice_frames)
    floors = scores.trivial_futures(future, codes.label[test], tracks.points[train], codes.label[train])
    assert told.ahead is not None
    found = in_metres(told.ahead, scene)
    metrics |= scores.forecast_metrics(found, future, floors)
    metrics["parameters"] = sum(weights.numel() for weights in network.parameters())
    metrics["backbone"] = {
        "parameters": network.loaded.parameters, "pretrained": int(network.loaded.trained),
        "reduced": int(network.params.backbone.reduced),
    }
    return metrics, pd.DataFrame(scores.error_by_step(found, future, floors, codes.label[test]))


def each_stream(network: I3DMagvit, clips: dict[str, ClipSet], whole: JointPredictions) -> dict[str, Any]:
    """What the test clips' codes say with the frames left open, and how far off the place is by frames alone, px.

    The floor of the place is the training clips' mean one in each frame.
    """
    test, metrics = clips["test"], dict[str, Any]()
    if network.params.tokens and network.params.video_share < 1:  # else nothing stands for frames not seen
        bare = read(network, None, test.codes)
        right = (bare.logits.argmax(1) == test.label.numpy()).astype(np.float64)
        floor = majority_accuracy(clips["train"].label.numpy(), test.label.numpy())
        metrics["without_frames"] = {**with_interval("accuracy", right), "accuracy_floor": floor}
    assert whole.located is not None
    mean = clips["train"].path.mean(0)
    away, floor_away = (
        pixels_apart(found, test.path, network.shape.image_size).mean(1).numpy() for found in (whole.located, mean)
    )
    alone = with_interval("place_px", away) | {"place_px_floor": float(floor_away.mean())}
    return metrics | {"frames_alone": alone}


def trust_in_pasts(network: I3DMagvit, val: ClipSet, points: scores.Array, scene: Scene) -> Trust:
    """How far off what is read of validation clips' pasts is; points (N, T, 3) m."""
    past, first = network.past_frames, network.past_slices
    told = read(network, val.clips[:, :past], val.codes[:, :first])
    return measured_trust(told, val.label.numpy(), points[:, :past], scene)


def frames_of(
    network: I3DMagvit, tokenizer: Tokenizer, codes: CodesTable, tracks: Tracks, scene: Scene, clips: ClipSet,
    told: JointPredictions, context: Context,
) -> dict[str, float]:
    """Metrics of the frames foretold, of as many of the test clips as the params say, evenly chosen."""
    test, count = np.flatnonzero(codes.split == "test"), network.params.frames_scored
    rows = np.unique(np.linspace(0, len(test) - 1, min(count, len(test))).astype(int))
    past, chosen = network.past_frames, test[rows]
    last = past + network.shape.slice_frames
    truth = judging.Truth(
        codes.label[chosen], clips.clips[rows, past:last].numpy(), tracks.points[chosen, :last], past
    )
    assert told.codes is not None
    true_codes = codes.codes[chosen, : network.past_slices + 1]
    return frame_metrics(tokenizer, true_codes, told.codes[rows], truth, scene, context.progress)


def draw(
    network: I3DMagvit, tokenizer: Tokenizer, codes: CodesTable, tracks: Tracks, scene: Scene, clips: ClipSet,
    told: JointPredictions, paths: Paths,
) -> None:
    """A few test clips of each class: forecasts on the frames, and as paths in space."""
    test, past = np.flatnonzero(codes.split == "test"), network.past_frames
    rows = np.concatenate(
        [np.flatnonzero(codes.label[test] == name)[:PICTURES_PER_CLASS] for name in codes.classes]
    )
    last = past + network.shape.slice_frames
    pixels, points = clips.clips[rows].numpy(), tracks.points[test[rows]]
    assert told.codes is not None and told.ahead is not None
    frames = decoded(
        tokenizer, codes.codes[test[rows], : network.past_slices + 1], told.codes[rows], network.shape.slice_frames
    )
    size = network.shape.image_size
    places = [np.stack(to_pixels(each, size)[:2], -1) for each in (
        scene_path(scene, points[:, past:last]), told.ahead[rows]
    )]
    pictures.draw_frames(paths.frames, pixels[:, past - 1], pixels[:, past:last], frames, *places)
    pictures.draw_paths(
        paths.paths, [str(name) for name in codes.label[test[rows]]], points, in_metres(told.path[rows], scene),
        in_metres(told.ahead[rows], scene),
    )


def main() -> int:
    return run_stage(run, I3DMagvitParams, Paths, hardware=True)


if __name__ == "__main__":
    raise SystemExit(main())
