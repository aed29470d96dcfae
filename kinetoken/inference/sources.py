"""Clips to which models are applied, wherever they come from: a clip store, an array, video files, or tracks to draw.

    clips = open_clips("ball.mp4", resize=True, window="all")
    clips = open_clips("data/motion/videos", split="test", limit=60)
    clips = open_clips(np.load("clips.npy"))          # (T, H, W, C) or (N, T, H, W, C)

Opening reads no pixels. They are read block by block when a model is applied, since it is the model that says how
large they must be, and how many frames it takes. Neither splits nor classes are needed.
"""

import abc
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.actions.streaming import VideoHead, read_head, stream_frames
from kinetoken.actions.webm import VideoFault
from kinetoken.core.artifacts import read_table
from kinetoken.core.errors import UserError
from kinetoken.core.per_track import LARGEST_ID
from kinetoken.diagnosis.columns import load_arrays
from kinetoken.inference.defaults import FPS, LOOK_SEED, MOTION, NOISE_SEED
from kinetoken.inference.fitting import FrameFitter
from kinetoken.inference.windows import CUTS, ClipNeed, Cut, cut_stream, left_over
from kinetoken.scenes.clips import Clips, ClipStore, Pixels
from kinetoken.scenes.own_tracks import TRACK_COLUMNS, UNLABELLED, UNSPLIT, read_unsplit_tracks
from kinetoken.scenes.rendering import LOOK, Scene, add_noise, render
from kinetoken.scenes.tracks import Tracks

VIDEO_SUFFIXES = (".webm", ".mp4", ".mkv", ".mov", ".avi", ".gif")
ARRAY_SUFFIXES = (".npy", ".npz")
BLOCK = 256  # clips in memory at once, and at least one
BLOCK_BYTES = 1 << 26  # and no more than this as they lie in the source
ENCODED_AT_ONCE = 16  # clips, as extract_codes encodes them
DRAWN_AT_ONCE = 16  # clips, as render_videos draws them
DECODED_AT_ONCE = 8  # frames of a video file


@dataclasses.dataclass
class NamedClips(Clips):
    """N clips in memory, and what each is called: `17`, or `ball:16` for the window of `ball` that begins at frame 16.

    `track_id` is that of the source where it has one and clips are read whole, else a running number.
    """

    name: NDArray[np.str_]


@dataclasses.dataclass(frozen=True)
class _Part:
    """Some clips as they lie in a source; `known` ids (N,) or None."""

    name: list[str]
    known: NDArray[np.int32] | None
    label: np.ndarray
    split: np.ndarray
    pixels: Pixels  # (N, T, H, W, 3), of any size
    fps: float


class _Reading:
    """How one model reads clips: what it needs, how they are cut and resized, and notes of what was done to them."""

    def __init__(self, need: ClipNeed, cut: Cut | None, resize: bool) -> None:
        self.need, self.cut, self.notes = need, cut, list[str]()
        self.fitter = FrameFitter(need.size, need.reader, resize, self.notes)


class _Source(abc.ABC):
    """Where clips lie."""

    labelled = False  # do the clips have classes?
    scene: Scene | None = None  # how they were drawn, where it is known
    where = "clips"  # for messages
    note = ""  # what a user should know of all of them
    count: int | None = None  # clips before they are cut, where that is known

    @abc.abstractmethod
    def windows(self, reading: _Reading) -> Iterator[_Part]:
        """What is read of every clip, of the model's size, a few clips at a time."""

    @abc.abstractmethod
    def check(self, reading: _Reading) -> None:
        """UserError for what can be known to be wrong before the first clip is read."""


class _Whole(_Source):
    """A source whose clips are of one length, and can be cut many at a time."""

    frames: int  # of every clip

    @abc.abstractmethod
    def parts(self, need: ClipNeed) -> Iterator[_Part]: ...

    def check(self, reading: _Reading) -> None:
        reading.need.windows(self.frames, reading.cut, self.where)

    def windows(self, reading: _Reading) -> Iterator[_Part]:
        cut = reading.cut
        length, starts = reading.need.windows(self.frames, cut, self.where)
        if cut == "all" and (rest := self.frames - starts[-1] - reading.need.stride) > 0:
            reading.notes.append(left_over(self.where, rest, length))
        for part in self.parts(reading.need):
            pixels = np.stack([part.pixels[:, first : first + length] for first in starts], 1)  # (n, k, L, H, W, 3)
            pixels = reading.fitter.fit(pixels.reshape(-1, *pixels.shape[2:]), self.where)
            names = [f"{name}:{first}" for name in part.name for first in starts] if cut else part.name
            again = len(starts)
            yield _Part(
                names, None if cut else part.known, part.label.repeat(again), part.split.repeat(again), pixels, part.fps
            )


class _StoredClips(_Whole):
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

    def check(self, reading: _Reading) -> None:
        super().check(reading)
        reading.fitter.check(self.store.shape[2], self.store.shape[1], self.where)

    def parts(self, need: ClipNeed) -> Iterator[_Part]:
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
                yield _Part(
                    [str(each) for each in ids.tolist()], _as_track_ids(ids), clips.label[here], clips.split[here],
                    clips.pixels[here], clips.fps,
                )


class _ArrayClips(_Whole):
    """An array in memory or in a file, of which only the block at hand is touched."""

    def __init__(self, values: NDArray[Any], where: str, fps: float) -> None:
        """UserError for an array that cannot be clips."""
        self.single = values.ndim == 4
        if values.ndim not in (4, 5) or values.shape[-1] not in (1, 3) or 0 in values.shape:
            hint = "; its colours must come last" if values.ndim in (4, 5) and 3 in values.shape[-4:-2] else ""
            raise UserError(
                f"{where}: an array of shape {values.shape}; clips are (T, H, W, C) or (N, T, H, W, C) with 1 or 3 "
                f"colours{hint}"
            )
        if values.dtype != np.uint8 and not np.issubdtype(values.dtype, np.floating):
            raise UserError(f"{where}: {values.dtype} numbers; give uint8 in [0, 255] or floats in [0, 1]")
        self.values, self.where, self.fps = values[None] if self.single else values, where, fps
        self.count, self.frames = len(self.values), int(self.values.shape[1])

    def check(self, reading: _Reading) -> None:
        super().check(reading)
        reading.fitter.check(self.values.shape[3], self.values.shape[2], self.where)

    def parts(self, need: ClipNeed) -> Iterator[_Part]:
        at_once = min(BLOCK, max(BLOCK_BYTES // self.values[0].nbytes, 1))
        at_once -= at_once % ENCODED_AT_ONCE if at_once > ENCODED_AT_ONCE else 0
        for start in range(0, len(self.values), at_once):
            pixels = to_rgb(self.values[start : start + at_once], self.where, start)
            names = [Path(self.where).stem] if self.single else [str(start + row) for row in range(len(pixels))]
            yield _unlabelled(names, pixels, self.fps)


class _VideoClips(_Source):
    """Video files, decoded as they are read."""

    def __init__(self, paths: Sequence[Path], fps: float | None) -> None:
        """UserError for a file that is no video; only its first frame is decoded here."""
        self.paths, self.fps = list(paths), fps
        self.where = str(paths[0]) if len(paths) == 1 else f"{len(paths)} video files"
        stems = [path.stem for path in paths]
        self.names = stems if len(set(stems)) == len(stems) else [path.as_posix() for path in paths]
        self.heads = [_head(path) for path in paths]

    def check(self, reading: _Reading) -> None:
        for path, head in zip(self.paths, self.heads, strict=True):
            reading.fitter.check(head.width, head.height, str(path))

    def windows(self, reading: _Reading) -> Iterator[_Part]:
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

    def _windows(self, path: Path, reading: _Reading) -> Iterator[tuple[int, Pixels]]:
        name = str(path)
        try:
            with closing(stream_frames(path, DECODED_AT_ONCE)) as stream:
                fitted = (reading.fitter.fit(frames, name) for frames in stream)
                yield from cut_stream(reading.need, reading.cut, fitted, name, reading.notes)
        except VideoFault as fault:
            raise no_video(path, fault) from None


class _DrawnClips(_Whole):
    """Tracks, drawn as `render_videos` draws a dataset's."""

    def __init__(self, path: Path, scene: Scene | None, split: str | None) -> None:
        """UserError naming track, frame and column of the first fault."""
        drawn_in = scene or MOTION
        self.where = str(path)
        tracks = read_unsplit_tracks(path, drawn_in.world, LOOK_SEED)
        _require_before_camera(path, tracks)
        self.tracks = tracks.take(chosen_rows(tracks.split, split, self.where))
        self.scene = dataclasses.replace(drawn_in, world=tracks.world)
        self.count, self.frames = len(self.tracks), tracks.world.num_frames
        self.labelled = bool((tracks.label != UNLABELLED).any())
        hidden = int((~tracks.world.in_view(self.tracks.points, margin=0.0)).sum())
        self.note = f"{path}: {hidden} of {len(self.tracks)} tracks leave the camera's view" if hidden else ""

    def parts(self, need: ClipNeed) -> Iterator[_Part]:
        assert self.scene is not None
        scene = dataclasses.replace(self.scene, look=dataclasses.replace(self.scene.look, image_size=need.size))
        for start in range(0, len(self.tracks), BLOCK):
            part = self.tracks.take(np.arange(start, min(start + BLOCK, len(self.tracks))))
            yield _Part(
                [str(each) for each in part.track_id.tolist()], part.track_id, part.label, part.split,
                drawn(part, scene), part.world.fps,
            )


class OpenClips:
    """Clips that were opened and not read yet, and how they are to be read."""

    def __init__(
        self, source: _Source, *, resize: bool = False, window: Cut | None = None, limit: int | None = None
    ) -> None:
        self._source, self._resize, self._window, self._limit = source, resize, window, limit
        self.notes: list[str] = []  # what a user should know of how they were read; filled as they are

    def __repr__(self) -> str:
        return f"OpenClips({self.where})"

    @property
    def where(self) -> str:
        """Where the clips lie, for messages."""
        return self._source.where

    @property
    def labelled(self) -> bool:
        """Whether the source has classes."""
        return self._source.labelled

    @property
    def scene(self) -> Scene | None:
        """How the clips were drawn; None where they do not say."""
        return self._source.scene

    @property
    def count(self) -> int | None:
        """How many clips will be read; None where that is not known before."""
        if self._source.count is None or self._window == "all":
            return self._limit
        return min(self._source.count, self._limit or self._source.count)

    def check(self, need: ClipNeed) -> None:
        """UserError if clips of this source cannot be read so, as far as that is known before they are read."""
        self._source.check(_Reading(need, self._window, self._resize))

    def blocks(self, need: ClipNeed) -> Iterator[NamedClips]:
        """The clips as `need` asks, some BLOCK of the same length together, in order.

        UserError naming the clip for one that is too short, too long, of another size, or not whole.
        """
        reading = _Reading(need, self._window, self._resize)
        self.notes = reading.notes
        self.notes += [self._source.note] if self._source.note else []
        count, held = 0, list[_Part]()
        for part in self._source.windows(reading):
            left = None if self._limit is None else self._limit - count
            part = _first(part, left)
            if held and not _alike(held, part):
                yield _joined(held, count - _length(held))
                held = []
            held.append(part)
            count += len(part.name)
            if count == self._limit:
                break
        if held:
            yield _joined(held, count - _length(held))
        if not count:
            raise UserError(f"{self.where}: no clip in it")


Readable = str | Path | NDArray[Any] | Sequence[str | Path]


def open_clips(
    source: Readable, *, resize: bool = False, window: Cut | None = None, fps: float | None = None,
    scene: Scene | None = None, split: str | None = None, limit: int | None = None,
) -> OpenClips:
    """Clips to apply a model to.

    `source` is the folder of a clip store; an array (T, H, W, C) or (N, T, H, W, C), uint8 or float in [0, 1], in
    memory or in a `.npy` or `.npz` file; one or several video files (VIDEO_SUFFIXES), or a folder of them; or a `.csv`
    or `.parquet` file of tracks with the columns track_id, frame, x, y, z in metres, which are drawn.

    Frames of another size than the model's are refused; with `resize` their middle square is cut out and averaged to
    that size. Clips with more frames than the model reads are refused; `window` reads one window of them (`first`,
    `last`) or every one that fits, side by side (`all`). Frames a second are the source's own; `fps` is for arrays
    (default 16), and for video files whose rate is wrong. `scene` is what tracks are drawn in (default: that of the
    dataset `motion`). `split` and `limit` choose from a store or tracks those of a split, and of anything the first
    clips.

    UserError for what is missing, damaged, or nothing of the above.

    >>> import kinetoken, numpy as np
    >>> clips = kinetoken.open_clips("data/motion/videos", split="test", limit=3)
    >>> clips.count, clips.labelled
    (3, True)
    >>> long = np.zeros((40, 128, 192, 3), np.uint8)  # (frames, height, width, RGB)
    >>> table = kinetoken.classify(
    ...     kinetoken.open_clips(long, resize=True, window="all"), "models/classifier", tokenizer="models/tokenizer"
    ... )
    >>> table["clip"].tolist()
    ['array:0', 'array:16']
    """
    if window not in (None, *CUTS):
        raise UserError(f"--window {window}: choose {', '.join(CUTS)}")
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: at least 1")
    if fps is not None and not 0 < fps < 1e4:
        raise UserError(f"--fps {fps:g}: frames a second must be above 0")
    found = _opened(source, fps, scene, split)
    if split is not None and not isinstance(found, (_StoredClips, _DrawnClips)):
        raise UserError(f"--split {split}: {found.where} has no splits; a clip store and tracks have")
    return OpenClips(found, resize=resize, window=window, limit=limit)


def _opened(source: Readable, fps: float | None, scene: Scene | None, split: str | None) -> _Source:
    if isinstance(source, np.ndarray):
        return _ArrayClips(source, "array", fps or FPS)
    paths = [Path(source)] if isinstance(source, (str, Path)) else [Path(each) for each in source]
    if not paths:
        raise UserError("no clips were given")
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
    return _of_path(paths[0], fps, scene, split) if len(paths) == 1 else _of_videos(paths, fps)


def _of_path(path: Path, fps: float | None, scene: Scene | None, split: str | None) -> _Source:
    if path.is_dir():
        return _of_folder(path, fps, split)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return _of_videos([path], fps)
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return _ArrayClips(_only_array(path), str(path), fps or FPS)
    if path.suffix == ".csv" or (path.suffix == ".parquet" and holds_tracks(path)):
        return _DrawnClips(path, scene, split)
    raise UserError(
        f"{path}: clips come as the folder of a clip store, {', '.join(ARRAY_SUFFIXES)}, video files "
        f"({', '.join(VIDEO_SUFFIXES)}), or tracks as .csv or .parquet with {', '.join(TRACK_COLUMNS)}"
    )


def _of_folder(folder: Path, fps: float | None, split: str | None) -> _Source:
    if any(folder.glob("part-*.parquet")):
        return _StoredClips(folder, split)
    videos = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        raise UserError(f"{folder}: neither a clip store (part-*.parquet) nor a folder with video files")
    return _of_videos(videos, fps)


def _of_videos(paths: Sequence[Path], fps: float | None) -> _VideoClips:
    for path in paths:
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            raise UserError(f"{path}: of several files all must be videos ({', '.join(VIDEO_SUFFIXES)})")
    return _VideoClips(paths, fps)


def holds_tracks(path: Path) -> bool:
    """Whether a Parquet file has the columns of tracks."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        read_table(path)  # says what is wrong with it
        return False
    return {"track_id", "x", "y", "z"} <= set(names)


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


def _only_array(path: Path) -> NDArray[Any]:
    arrays = load_arrays(path)
    for name in ("clips", "videos", "frames", "pixels"):
        if name in arrays:
            return arrays[name]
    if len(arrays) != 1:
        raise UserError(f"{path}: name the array of clips 'clips'; it holds {', '.join(arrays) or 'nothing'}")
    return next(iter(arrays.values()))


def _require_before_camera(path: Path, tracks: Tracks) -> None:
    behind = np.argwhere(tracks.points[..., 2] <= tracks.world.ball_radius)
    if len(behind):
        row, frame = behind[0]
        raise UserError(
            f"{path}: track {tracks.track_id[row]}, frame {frame}, column 'z': {tracks.points[row, frame, 2]:g} m; the "
            "camera stands at the origin and looks along +z, so that z is the distance from it"
        )


def _as_track_ids(ids: NDArray[Any]) -> NDArray[np.int32] | None:
    if ids.dtype.kind not in "iu" or ((ids < 0) | (ids > LARGEST_ID)).any():
        return None
    return ids.astype(np.int32)


def _unlabelled(names: list[str], pixels: Pixels, fps: float) -> _Part:
    return _Part(names, None, np.full(len(names), UNLABELLED), np.full(len(names), UNSPLIT), pixels, fps)


def _first(part: _Part, count: int | None) -> _Part:
    if count is None or len(part.name) <= count:
        return part
    known = None if part.known is None else part.known[:count]
    return _Part(part.name[:count], known, part.label[:count], part.split[:count], part.pixels[:count], part.fps)


def _length(parts: list[_Part]) -> int:
    return sum(len(part.name) for part in parts)


def _alike(held: list[_Part], part: _Part) -> bool:
    """Whether the part may go into one block with those before it: small ones that videos give, alike in every way."""
    first = held[0]
    return (
        first.known is None and part.known is None and first.fps == part.fps
        and first.pixels.shape[1:] == part.pixels.shape[1:] and _length(held) + len(part.name) <= BLOCK
    )


def _joined(parts: list[_Part], start: int) -> NamedClips:
    """Parts as one block; `start` is the running number of its first clip."""
    names = [name for part in parts for name in part.name]
    known = parts[0].known
    ids = np.arange(start, start + len(names), dtype=np.int32) if known is None else known
    label, split, pixels = (
        getattr(parts[0], name) if len(parts) == 1 else np.concatenate([getattr(part, name) for part in parts])
        for name in ("label", "split", "pixels")
    )
    return NamedClips(ids, label, split, pixels, parts[0].fps, np.array(names))
