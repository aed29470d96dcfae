"""The kinds of places where clips lie: a clip store, an array, video files, or tracks to draw.

Each hands out clips a few at a time, cut into windows and brought to the size that a model takes.
"""

import abc
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.core.per_track import LARGEST_ID
from kinetoken.diagnosis.columns import load_arrays, stored_arrays
from kinetoken.diagnosis.formats import Values
from kinetoken.footage.fitting import FrameFitter
from kinetoken.footage.streaming import VideoHead, read_head, stream_frames
from kinetoken.footage.webm import VideoFault
from kinetoken.footage.windows import ClipNeed, Cut, cut_stream, left_over
from kinetoken.inference.defaults import FPS, LOOK_SEED, MOTION, NOISE_SEED
from kinetoken.scenes.clips import ClipStore, Pixels
from kinetoken.scenes.own_tracks import UNLABELLED, UNSPLIT, read_unsplit_tracks
from kinetoken.scenes.rendering import LOOK, Scene, add_noise, render
from kinetoken.scenes.tracks import Tracks

ARRAY_SUFFIXES = (".npy", ".npz")
CLIP_NAMES = ("clips", "videos", "frames", "pixels")  # of the array that is taken, where a file holds several
BLOCK = 256  # clips in memory at once
BLOCK_BYTES = 1 << 26  # and no more than this of an array, but at least one clip
ENCODED_AT_ONCE = 16  # clips, as extract_codes encodes them
DRAWN_AT_ONCE = 16  # clips, as render_videos draws them
DECODED_AT_ONCE = 8  # frames of a video file


@dataclasses.dataclass(frozen=True)
class ClipPart:
    """Some clips as they lie in a source; `known` ids (N,) or None."""

    name: list[str]
    known: NDArray[np.int32] | None
    label: np.ndarray
    split: np.ndarray
    pixels: Pixels  # (N, T, H, W, 3), of any size
    fps: float


class ClipReading:
    """How one model reads clips: what it needs, how they are cut and resized, and notes of what was done to them."""

    def __init__(self, need: ClipNeed, cut: Cut | None, resize: bool) -> None:
        self.need, self.cut, self.notes = need, cut, list[str]()
        self.fitter = FrameFitter(need.size, need.reader, resize, self.notes)


class ClipSource(abc.ABC):
    """Where clips lie."""

    labelled = False  # do the clips have classes?
    scene: Scene | None = None  # how they were drawn, where it is known
    where = "clips"  # for messages
    told: tuple[str, ...] = ()  # what a user should know of all of them
    count: int | None = None  # clips before they are cut, where that is known

    @abc.abstractmethod
    def windows(self, reading: ClipReading) -> Iterator[ClipPart]:
        """What is read of every clip, of the model's size, a few clips at a time."""

    @abc.abstractmethod
    def check(self, reading: ClipReading) -> None:
        """UserError for what can be known to be wrong before the first clip is read."""


class WholeClips(ClipSource):
    """A source whose clips are of one length, and can be cut many at a time."""

    frames: int  # of every clip

    @abc.abstractmethod
    def parts(self, need: ClipNeed) -> Iterator[ClipPart]: ...

    def check(self, reading: ClipReading) -> None:
        reading.need.windows(self.frames, reading.cut, self.where)

    def windows(self, reading: ClipReading) -> Iterator[ClipPart]:
        cut = reading.cut
        length, starts = reading.need.windows(self.frames, cut, self.where)
        if cut == "all" and (rest := self.frames - starts[-1] - reading.need.stride) > 0:
            reading.notes.append(left_over(self.where, rest, length))
        for part in self.parts(reading.need):
            pixels = np.stack([part.pixels[:, first : first + length] for first in starts], 1)  # (n, k, L, H, W, 3)
            pixels = reading.fitter.fit(pixels.reshape(-1, *pixels.shape[2:]), self.where)
            names = [f"{name}:{first}" for name in part.name for first in starts] if cut else part.name
            again = len(starts)
            yield ClipPart(
                names, None if cut else part.known, part.label.repeat(again), part.split.repeat(again), pixels, part.fps
            )


class StoredClips(WholeClips):
    """A clip store's folder, read shard by shard."""

    labelled = True

    def __init__(self, folder: Path, split: str | None) -> None:
        self.store, self.where = ClipStore(folder, foreign=True), str(folder)
        self.frames = int(self.store.shape[0])
        self.chosen = chosen_rows(self.store.split, split, self.where)
        self.count = len(self.chosen)
        try:
            self.scene = self.store.scene
        except UserError:  # clips that Kinetoken did not draw
            self.scene = None

    def check(self, reading: ClipReading) -> None:
        super().check(reading)
        reading.fitter.check(self.store.shape[2], self.store.shape[1], self.where)

    def parts(self, need: ClipNeed) -> Iterator[ClipPart]:
        start = 0
        for length in self.store.lengths:
            rows = self.chosen[(self.chosen >= start) & (self.chosen < start + length)]
            start += length
            if not len(rows):
                continue
            clips = self.store.take(rows)
            for first in range(0, len(rows), BLOCK):
                here = slice(first, first + BLOCK)
                ids = clips.track_id[here]
                yield ClipPart(
                    [str(each) for each in ids.tolist()], _as_track_ids(ids), clips.label[here], clips.split[here],
                    clips.pixels[here], clips.fps,
                )


class ArrayClips(WholeClips):
    """An array in memory or in a file, of which only the block at hand is touched."""

    def __init__(self, values: NDArray[Any], where: str, fps: float) -> None:
        """UserError for an array that cannot be clips."""
        self.single = values.ndim == 4
        _require_clips(values, where)
        self.values, self.where, self.fps = values[None] if self.single else values, where, fps
        self.count, self.frames = len(self.values), int(self.values.shape[1])

    def check(self, reading: ClipReading) -> None:
        super().check(reading)
        reading.fitter.check(self.values.shape[3], self.values.shape[2], self.where)

    def parts(self, need: ClipNeed) -> Iterator[ClipPart]:
        at_once = min(BLOCK, max(BLOCK_BYTES // self.values[0].nbytes, 1))
        at_once -= at_once % ENCODED_AT_ONCE if at_once > ENCODED_AT_ONCE else 0
        for start in range(0, len(self.values), at_once):
            pixels = to_rgb(self.values[start : start + at_once], self.where, start)
            names = [Path(self.where).stem] if self.single else [str(start + row) for row in range(len(pixels))]
            yield _unlabelled(names, pixels, self.fps)


class VideoClips(ClipSource):
    """Video files, decoded as they are read."""

    def __init__(self, paths: Sequence[Path], fps: float | None) -> None:
        """UserError for a file that is no video; only its first frame is decoded here."""
        self.paths, self.fps = list(paths), fps
        self.where = str(paths[0]) if len(paths) == 1 else f"{len(paths)} video files"
        stems = [path.stem for path in paths]
        self.names = stems if len(set(stems)) == len(stems) else [path.as_posix() for path in paths]
        self.heads = [_head(path) for path in paths]

    def check(self, reading: ClipReading) -> None:
        for path, head in zip(self.paths, self.heads, strict=True):
            reading.fitter.check(head.width, head.height, str(path))

    def windows(self, reading: ClipReading) -> Iterator[ClipPart]:
        for path, name, head in zip(self.paths, self.names, self.heads, strict=True):
            fps = self.fps or head.fps or FPS
            names, held = list[str](), list[Pixels]()
            for first, window in self._windows(path, reading):
                names.append(f"{name}:{first}" if reading.cut else name)
                held.append(window)
                if len(held) == BLOCK:
                    yield _unlabelled(names, np.stack(held), fps)
                    names, held = [], []
            if held:
                yield _unlabelled(names, np.stack(held), fps)

    def _windows(self, path: Path, reading: ClipReading) -> Iterator[tuple[int, Pixels]]:
        name = str(path)
        try:
            with closing(stream_frames(path, DECODED_AT_ONCE)) as stream:
                fitted = (reading.fitter.fit(frames, name) for frames in stream)
                yield from cut_stream(reading.need, reading.cut, fitted, name, reading.notes)
        except VideoFault as fault:
            raise no_video(path, fault) from None


class DrawnClips(WholeClips):
    """Tracks, drawn as `render_videos` draws a dataset's."""

    def __init__(self, path: Path, scene: Scene | None, split: str | None) -> None:
        """UserError naming track, frame and column of the first fault."""
        drawn_in = scene or MOTION
        self.where = str(path)
        notices = list[str]()
        tracks = read_unsplit_tracks(path, drawn_in.world, LOOK_SEED, notices.append)
        self.tracks = tracks.take(chosen_rows(tracks.split, split, self.where))
        self.scene = dataclasses.replace(drawn_in, world=tracks.world)
        self.count, self.frames = len(self.tracks), tracks.world.num_frames
        self.labelled = bool((tracks.label != UNLABELLED).any())
        hidden = int((~tracks.world.in_view(self.tracks.points, margin=0.0)).sum())
        if hidden:
            notices.append(f"{path}: {hidden} of {len(self.tracks)} tracks leave the camera's view")
        self.told = tuple(notices)

    def parts(self, need: ClipNeed) -> Iterator[ClipPart]:
        assert self.scene is not None
        scene = dataclasses.replace(self.scene, look=dataclasses.replace(self.scene.look, image_size=need.size))
        for start in range(0, len(self.tracks), BLOCK):
            part = self.tracks.take(np.arange(start, min(start + BLOCK, len(self.tracks))))
            named = "source_id" in part.drawn  # by the file, otherwise than the tables name tracks
            names = part.drawn["source_id"] if named else part.track_id
            yield ClipPart(
                [str(each) for each in names.tolist()], None if named else part.track_id, part.label, part.split,
                drawn(part, scene), part.world.fps,
            )


def chosen_rows(splits: np.ndarray, wanted: str | None, where: str) -> NDArray[np.intp]:
    """Ascending rows of a split, or all of them. UserError if there are none."""
    rows = np.arange(len(splits)) if wanted is None else np.flatnonzero(splits == wanted)
    if not len(rows):
        there = ", ".join(sorted(map(str, set(splits)))) or "nothing"
        raise UserError(f"{where}: no clip of split '{wanted}'; there are {there}")
    return rows


def to_rgb(values: NDArray[Any], where: str, start: int = 0) -> Pixels:
    """(N, T, H, W, C), uint8 or float in [0, 1], C of 1 or 3 → (N, T, H, W, 3) uint8; `start` is the first row."""
    if values.dtype != np.uint8:
        wrong = ~((values >= 0) & (values <= 1)).reshape(len(values), -1).all(1)
        if wrong.any():
            row = int(np.argmax(wrong))
            low, high = float(values[row].min()), float(values[row].max())
            found = f"floats from {low:g} to {high:g}" if np.isfinite([low, high]).all() else "NaN or infinite values"
            raise UserError(f"{where}: clip {start + row}: {found}; give floats in [0, 1], or uint8")
        values = np.rint(values * 255).astype(np.uint8)
    return np.repeat(values, 3, -1) if values.shape[-1] == 1 else np.asarray(values)


def drawn(tracks: Tracks, scene: Scene) -> Pixels:
    """(N, T, H, W, 3) uint8 of the tracks, as `render_videos` draws a dataset of the look's noise and of no clutter."""
    look = {name: tracks.drawn[name].to_numpy() for name in LOOK}
    size, frames = scene.look.image_size, scene.world.num_frames
    points = tracks.points.astype(np.float32).astype(np.float64)  # as the pipeline's tables hold them
    pixels = np.empty((len(tracks), frames, size, size, 3), np.uint8)
    for start in range(0, len(tracks), DRAWN_AT_ONCE):
        rows = slice(start, start + DRAWN_AT_ONCE)
        rngs = [np.random.default_rng([NOISE_SEED, int(each)]) for each in tracks.track_id[rows]]
        seen = render(scene, points[rows], {name: values[rows] for name, values in look.items()})
        pixels[rows] = add_noise(seen, scene.look.noise, rngs)
    return pixels


def no_video(path: Path, fault: VideoFault) -> UserError:
    """What is wrong with a file, for the person who gave it."""
    return UserError(f"{path}: not a whole video ({fault.reason}: {fault})")


def _head(path: Path) -> VideoHead:
    try:
        return read_head(path)
    except VideoFault as fault:
        raise no_video(path, fault) from None


def only_array(path: Path) -> NDArray[Any]:
    """The array of clips in a file. UserError for a file of several, and for an array that cannot be clips."""
    arrays = stored_arrays(path)
    found = [name for name in CLIP_NAMES if name in arrays][:1] or list(arrays)
    if len(found) != 1:
        raise UserError(f"{path}: name the array of clips 'clips'; it holds {', '.join(arrays) or 'nothing'}")
    name = found[0]
    _require_clips(arrays[name], str(path))  # before memory is taken for it
    return load_arrays(path, (name,))[name]


def _require_clips(values: Values, where: str) -> None:
    """UserError for an array that cannot be clips."""
    if values.ndim not in (4, 5) or values.shape[-1] not in (1, 3) or 0 in values.shape:
        hint = "; its colours must come last" if values.ndim in (4, 5) and 3 in values.shape[-4:-2] else ""
        raise UserError(
            f"{where}: an array of shape {values.shape}; clips are (T, H, W, C) or (N, T, H, W, C) with 1 or 3 "
            f"colours{hint}"
        )
    if values.dtype != np.uint8 and not np.issubdtype(values.dtype, np.floating):
        raise UserError(f"{where}: {values.dtype} numbers; give uint8 in [0, 255] or floats in [0, 1]")


def _as_track_ids(ids: NDArray[Any]) -> NDArray[np.int32] | None:
    if ids.dtype.kind not in "iu" or ((ids < 0) | (ids > LARGEST_ID)).any():
        return None
    return ids.astype(np.int32)


def _unlabelled(names: list[str], pixels: Pixels, fps: float) -> ClipPart:
    return ClipPart(names, None, np.full(len(names), UNLABELLED), np.full(len(names), UNSPLIT), pixels, fps)
