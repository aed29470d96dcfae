"""Clips to which models are applied, wherever they come from.

    clips = open_clips("ball.mp4", resize=True, window="all")
    clips = open_clips("data/motion/videos", split="test", limit=60)
    clips = open_clips(np.load("clips.npy"))          # (T, H, W, C) or (N, T, H, W, C)

Opening reads no pixels. They are read block by block when a model is applied, since it is the model that says how
large they must be, and how many frames it takes. Neither splits nor classes are needed.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.artifacts import read_table, require_file
from kinetoken.core.errors import UserError
from kinetoken.footage.streaming import VIDEO_SUFFIXES
from kinetoken.footage.windows import CUTS, ClipNeed, Cut
from kinetoken.inference.defaults import FPS
from kinetoken.inference.sources import (
    ARRAY_SUFFIXES,
    BLOCK,
    ArrayClips,
    ClipPart,
    ClipReading,
    ClipSource,
    DrawnClips,
    StoredClips,
    VideoClips,
    only_array,
)
from kinetoken.scenes.clips import Clips
from kinetoken.scenes.rendering import Scene
from kinetoken.scenes.track_files import TEXT_SUFFIXES, TRACK_COLUMNS, has_track_columns


@dataclasses.dataclass
class NamedClips(Clips):
    """N clips in memory, and what each is called: `17`, or `ball:16` for the window of `ball` that begins at frame 16.

    `track_id` is that of the source where it has one and clips are read whole, else a running number.
    """

    name: NDArray[np.str_]


class OpenClips:
    """Clips that were opened and not read yet, and how they are to be read."""

    def __init__(
        self, source: ClipSource, *, resize: bool = False, window: Cut | None = None, limit: int | None = None
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
        self._source.check(ClipReading(need, self._window, self._resize))

    def blocks(self, need: ClipNeed) -> Iterator[NamedClips]:
        """The clips as `need` asks, some BLOCK of the same length together, in order.

        UserError naming the clip for one that is too short, too long, of another size, or not whole.
        """
        reading = ClipReading(need, self._window, self._resize)
        self.notes = reading.notes
        self.notes += self._source.told
        count, held = 0, list[ClipPart]()
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
    memory or in a `.npy` or `.npz` file; one or several video files (VIDEO_SUFFIXES), or a folder of them; or a `.csv`,
    `.tsv` or `.parquet` file of tracks with the columns track_id, frame, x, y, z in metres, which are drawn.

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
    if split is not None and not isinstance(found, (StoredClips, DrawnClips)):
        raise UserError(f"--split {split}: {found.where} has no splits; a clip store and tracks have")
    return OpenClips(found, resize=resize, window=window, limit=limit)


def _opened(source: Readable, fps: float | None, scene: Scene | None, split: str | None) -> ClipSource:
    if isinstance(source, np.ndarray):
        return ArrayClips(source, "array", fps or FPS)
    paths = [Path(source)] if isinstance(source, (str, Path)) else [Path(each) for each in source]
    if not paths:
        raise UserError("no clips were given")
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
    return _of_path(paths[0], fps, scene, split) if len(paths) == 1 else _of_videos(paths, fps)


def _of_path(path: Path, fps: float | None, scene: Scene | None, split: str | None) -> ClipSource:
    if path.is_dir():
        return _of_folder(path, fps, split)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return _of_videos([path], fps)
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return ArrayClips(only_array(path), str(path), fps or FPS)
    suffix = path.suffix.lower()
    if suffix in TEXT_SUFFIXES or (suffix == ".parquet" and holds_tracks(path)):
        return DrawnClips(path, scene, split)
    raise UserError(
        f"{path}: clips come as the folder of a clip store, {', '.join(ARRAY_SUFFIXES)}, video files "
        f"({', '.join(VIDEO_SUFFIXES)}), or tracks as {', '.join(TEXT_SUFFIXES)} or .parquet with "
        f"{', '.join(TRACK_COLUMNS)}"
    )


def _of_folder(folder: Path, fps: float | None, split: str | None) -> ClipSource:
    if any(folder.glob("part-*.parquet")):
        return StoredClips(folder, split)
    videos = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        raise UserError(f"{folder}: neither a clip store (part-*.parquet) nor a folder with video files")
    return _of_videos(videos, fps)


def _of_videos(paths: Sequence[Path], fps: float | None) -> VideoClips:
    for path in paths:
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            raise UserError(f"{path}: of several files all must be videos ({', '.join(VIDEO_SUFFIXES)})")
    return VideoClips(paths, fps)


def holds_tracks(path: Path) -> bool:
    """Whether a Parquet file has the columns of tracks."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    require_file(path)
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        read_table(path)  # says what is wrong with it
        return False
    return has_track_columns(names)


def _first(part: ClipPart, count: int | None) -> ClipPart:
    if count is None or len(part.name) <= count:
        return part
    known = None if part.known is None else part.known[:count]
    return ClipPart(part.name[:count], known, part.label[:count], part.split[:count], part.pixels[:count], part.fps)


def _length(parts: list[ClipPart]) -> int:
    return sum(len(part.name) for part in parts)


def _alike(held: list[ClipPart], part: ClipPart) -> bool:
    """Whether the part may go into one block with those before it: small ones that videos give, alike in every way."""
    first = held[0]
    return (
        first.known is None and part.known is None and first.fps == part.fps
        and first.pixels.shape[1:] == part.pixels.shape[1:] and _length(held) + len(part.name) <= BLOCK
    )


def _joined(parts: list[ClipPart], start: int) -> NamedClips:
    """Parts as one block; `start` is the running number of its first clip."""
    names = [name for part in parts for name in part.name]
    known = parts[0].known
    ids = np.arange(start, start + len(names), dtype=np.int32) if known is None else known
    label, split, pixels = (
        getattr(parts[0], name) if len(parts) == 1 else np.concatenate([getattr(part, name) for part in parts])
        for name in ("label", "split", "pixels")
    )
    return NamedClips(ids, label, split, pixels, parts[0].fps, np.array(names))
