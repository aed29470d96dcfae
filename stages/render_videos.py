"""Render trajectories as 64×64 RGB clips into the Parquet clip store, or read a folder of videos into it.

With `clutter` in the section, texture and shapes that are not balls are drawn behind and around the ball. Where the
dataset's source is a folder of videos, there are no trajectories: the videos are resized, cut into clips and stored.

Reads    params render_videos.<dataset>; trajectories.parquet, track_params.parquet; or the folder of videos
Writes   videos/part-*.parquet; with --export K also K playable WebM files under run_info (not an output)

Alone    python -m stages.render_videos --section render_videos.motion --export 8
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from kinetoken.core.absence import NotMeasured, why_absent
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.core.workers import worker_pool
from kinetoken.footage.folder import VideoDataset
from kinetoken.footage.importing import import_folder
from kinetoken.scenes.clips import Clips, export_webm, safe_name, shard_path, write_shard
from kinetoken.scenes.clutter import Clutter, ClutteredRendering, render_candidates
from kinetoken.scenes.rendering import LOOK, Scene, add_noise, render
from kinetoken.scenes.tracks import Tracks, read_tracks

CHUNK = 16  # clips drawn at once: small enough for the cache, large enough for numpy


@dataclass(frozen=True)
class Paths:
    trajectories: Annotated[Path, Input("positions", optional=True)] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Input("colours and lights", optional=True)] = Path("data/motion/track_params.parquet")
    videos: Annotated[Path, Output("clip store")] = Path("data/motion/videos")
    export: Annotated[int, "also write the first K clips as WebM"] = 0
    source: Annotated[Path, Input("the dataset's source; read where it is a folder of videos")] = Path(
        "data/sources/synthetic.csv"
    )


def run(params: VideoDataset | ClutteredRendering, paths: Paths, context: Context) -> None:
    if unknown := why_absent(paths.trajectories):
        if isinstance(params, ClutteredRendering):
            raise NotMeasured(unknown)
        paths.videos.mkdir(parents=True)
        import_folder(paths.source, params, paths.videos, context.progress)
    else:
        draw(params, paths, context)
    if paths.export and context.run_info is not None:
        _export(paths, context.run_info / "clips", context)


def draw(params: VideoDataset | ClutteredRendering, paths: Paths, context: Context) -> None:
    """Draw all tracks, a shard at a time."""
    tracks = read_tracks(paths.trajectories, paths.track_params)
    scene = Scene(tracks.world, params.look)
    paths.videos.mkdir(parents=True)
    shards = [slice(i, i + params.shard_clips) for i in range(0, len(tracks), params.shard_clips)]
    clutter = params.clutter if isinstance(params, ClutteredRendering) else None
    jobs = [
        (scene, clutter, params.seed, _part(tracks, rows), shard_path(paths.videos, i)) for i, rows in enumerate(shards)
    ]
    context.progress.phase("rendering", len(tracks), "clips")
    if params.processes == 1:
        for job in jobs:
            context.progress.advance(draw_shard(*job))
    else:
        with worker_pool(params.processes) as pool:
            for count in pool.map(draw_shard, *zip(*jobs, strict=True)):
                context.progress.advance(count)


def draw_shard(scene: Scene, clutter: Clutter | None, seed: int, tracks: Tracks, path: Path) -> int:
    """Draw the tracks and write them as one shard; how many."""
    look = {name: tracks.drawn[name].to_numpy() for name in LOOK}
    size = scene.look.image_size
    pixels = np.empty((len(tracks), scene.world.num_frames, size, size, 3), np.uint8)
    for start in range(0, len(tracks), CHUNK):
        rows = slice(start, start + CHUNK)
        points, looks = tracks.points[rows], {name: values[rows] for name, values in look.items()}
        rngs = [np.random.default_rng([seed, int(i)]) for i in tracks.track_id[rows]]
        if clutter is None:
            pixels[rows] = add_noise(render(scene, points, looks), scene.look.noise, rngs)
        else:
            pixels[rows] = render_candidates(scene, clutter, points, looks, rngs)
    write_shard(path, Clips(tracks.track_id, tracks.label, tracks.split, pixels, scene.world.fps), scene)
    return len(tracks)


def _part(tracks: Tracks, rows: slice) -> Tracks:
    return Tracks(
        tracks.world, tracks.track_id[rows], tracks.label[rows], tracks.split[rows], tracks.points[rows],
        tracks.drawn.iloc[rows],
    )


def _export(paths: Paths, folder: Path, context: Context) -> None:
    from kinetoken.scenes.clips import ClipStore

    clips = ClipStore(paths.videos).read(limit=paths.export)
    for row, track in enumerate(clips.track_id):
        export_webm(folder / f"track-{track:06d}-{safe_name(clips.label[row])}.webm", clips.pixels[row], clips.fps)
    context.progress.say(f"{len(clips)} clips as WebM in {folder}")


def main() -> int:
    return run_stage(run, VideoDataset | ClutteredRendering, Paths)  # type: ignore[arg-type]  # a union is no type[P]


if __name__ == "__main__":
    raise SystemExit(main())
