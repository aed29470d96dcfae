"""The standard motion set: one ball in a room on the four laws' paths, drawn as a tokenizer wants its clips.

The paths are those of the dataset `motion`, but for the seed, so that no tokenizer of this project was trained on them.
Their shape in space is the same for every tokenizer: a clip of another duration shows the same paths faster or slower,
so cards of tokenizers of different length and frame rate speak of the same motion.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from kinetoken.core.artifacts import write_json
from kinetoken.core.errors import UserError
from kinetoken.core.outputs import written_whole
from kinetoken.core.progress import Progress
from kinetoken.examination.adapter import TokenizerFacts
from kinetoken.physics.world import World
from kinetoken.scenes.clips import Clips, ClipStore, shard_path, write_shard
from kinetoken.scenes.motion import Bands, Counts, Trajectories, draw_tracks
from kinetoken.scenes.rendering import LOOK, Look, Scene, render
from kinetoken.scenes.tracks import Tracks, read_tracks, write_tracks

VERSION = 1  # of the set: raised when the same request would give other clips
SEED = 2317
SECONDS = 15 / 16  # from the first frame to the last, at which the bands below hold
SPEED, GRAVITY = (1.4, 2.1), (3.0, 6.0)  # m/s along the path, m/s²
PATH_RADIUS, PITCH = (0.2, 0.35), (0.6, 1.0)  # m; m a turn
SHARES = {"train": 0.6, "val": 0.1, "test": 0.3}
LEAST_CLIPS, DEFAULT_CLIPS = 40, 1200  # below 40, a split would have less than one clip of each law
SHADOW = 0.09
SHARD_BYTES, MOST_SHARD_CLIPS = 1 << 26, 500  # of pixels in one shard
CHUNK = 16  # clips drawn at once
DESCRIPTION = "motion_set.json"


@dataclasses.dataclass(frozen=True)
class SetRequest:
    """Which set: what a cached folder is recognized by."""

    size: int  # px a side
    frames: int
    fps: float
    clips: int
    seed: int = SEED
    version: int = VERSION

    @classmethod
    def of(cls, facts: TokenizerFacts, clips: int) -> "SetRequest":
        """UserError for fewer clips than a comparison needs."""
        if clips < LEAST_CLIPS:
            raise UserError(f"--clips {clips}: at least {LEAST_CLIPS}, so that each split has clips of each law")
        return cls(facts.size, facts.frames, facts.fps, clips)

    @property
    def stretch(self) -> float:
        """How much faster than the dataset `motion` the ball moves, so that a clip shows the same path."""
        return SECONDS * self.fps / (self.frames - 1)


@dataclasses.dataclass(frozen=True)
class MotionSet:
    """Clips in a store, and the tracks that they show, in the same order."""

    request: SetRequest
    store: ClipStore
    tracks: Tracks

    @property
    def scene(self) -> Scene:
        return self.store.scene

    @property
    def counts(self) -> dict[str, int]:
        """Clips in each split."""
        return {split: int((self.tracks.split == split).sum()) for split in SHARES}


def trajectories(request: SetRequest) -> Trajectories:
    """The parameters of the tracks: the dataset `motion` at this duration."""
    world = World(floor_y=-1.15, ball_radius=0.2, fps=request.fps, num_frames=request.frames)
    bands = Bands(_scaled(SPEED, request.stretch), PATH_RADIUS, _scaled(GRAVITY, request.stretch**2))
    counts = {split: round(share * request.clips) for split, share in SHARES.items()}
    counts["train"] += request.clips - sum(counts.values())
    return Trajectories(
        source="", seed=request.seed, world=world, counts=Counts(**counts, ood=0), start_low=(-0.5, -0.35, 2.5),
        start_high=(0.5, 0.35, 3.2), bands=bands, ood_bands=bands, tilt_degrees=30.0, pitch=PITCH, apex=(0.35, 0.65),
    )


def _scaled(band: tuple[float, float], by: float) -> tuple[float, float]:
    return band[0] * by, band[1] * by


def open_motion_set(request: SetRequest, folder: Path, progress: Progress) -> MotionSet:
    """The set in `folder`: drawn there if the folder is absent or empty, else read back.

    Raises UserError for a folder that holds another set, or something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        with written_whole(folder, folder=True) as partial:
            _draw(request, partial, progress)
    _require_same(request, folder)
    tracks = read_tracks(folder / "trajectories.parquet", folder / "track_params.parquet")
    store = ClipStore(folder)
    if not np.array_equal(store.track_id, tracks.track_id):
        raise UserError(f"{folder}: its clips and its tracks differ; remove the folder, and it will be drawn again")
    return MotionSet(request, store, tracks)


def _require_same(request: SetRequest, folder: Path) -> None:
    path = folder / DESCRIPTION
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(
            f"{folder}: no motion set ({DESCRIPTION} is not there or damaged); choose an empty folder"
        ) from None
    wanted = dataclasses.asdict(request)
    if differs := sorted(key for key in wanted if not isinstance(held, dict) or held.get(key) != wanted[key]):
        key = differs[0]
        there = held.get(key) if isinstance(held, dict) else None
        raise UserError(
            f"{folder}: this motion set has {key} {there}, {wanted[key]} is asked for; choose another folder"
        )


def _draw(request: SetRequest, folder: Path, progress: Progress) -> None:
    folder.mkdir(parents=True)
    tracks = draw_tracks(trajectories(request))
    write_tracks(tracks, folder / "trajectories.parquet", folder / "track_params.parquet")
    scene = Scene(tracks.world, Look(image_size=request.size, shadow=SHADOW))
    clip_bytes = request.frames * request.size**2 * 3
    shard_clips = min(MOST_SHARD_CLIPS, max(CHUNK, SHARD_BYTES // clip_bytes))
    progress.phase("rendering the motion set", len(tracks), "clips")
    for index, start in enumerate(range(0, len(tracks), shard_clips)):
        part = tracks.take(np.arange(start, min(start + shard_clips, len(tracks))))
        pixels = np.empty((len(part), request.frames, request.size, request.size, 3), np.uint8)
        for first in range(0, len(part), CHUNK):
            rows = slice(first, first + CHUNK)
            look = {name: part.drawn[name].to_numpy()[rows] for name in LOOK}
            pixels[rows] = render(scene, part.points[rows], look)
            progress.advance(len(pixels[rows]))
        write_shard(
            shard_path(folder, index), Clips(part.track_id, part.label, part.split, pixels, request.fps), scene
        )
    write_json(folder / DESCRIPTION, dataclasses.asdict(request))
