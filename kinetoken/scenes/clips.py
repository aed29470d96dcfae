"""The clip store: video clips as raw RGB in a few Parquet shards, zstd-compressed, checksummed.

A folder of `part-*.parquet`; each row is one clip (track_id, class, split, num_frames, height, width, fps,
frames = uint8 RGB bytes in T, H, W, C order). The scene that was drawn, if known, is in the schema metadata.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.artifacts import read_about, read_table, write_table
from kinetoken.core.errors import UserError
from kinetoken.core.per_track import (
    Ids,
    PerTrack,
    any_ids,
    id_column,
    plain_column,
    read_names,
    read_numbers,
    track_ids,
)
from kinetoken.scenes.rendering import Scene, to_scene

if TYPE_CHECKING:
    import pyarrow as pa

Pixels = NDArray[np.uint8]

COLUMNS = ("track_id", "class", "split", "num_frames", "height", "width", "fps", "frames")
SHARD_GROUP_ROWS = 256
LARGEST = 2**15 - 1  # frames, rows and columns that the tables' int16 columns hold
LARGEST_CLIP = 1 << 30  # bytes of one clip that is read


@dataclasses.dataclass
class Clips(PerTrack):
    """N clips in memory: pixels (N, T, H, W, 3) uint8, and who they are."""

    track_id: NDArray[np.int32]
    label: np.ndarray
    split: np.ndarray
    pixels: Pixels
    fps: float


def shard_path(folder: Path, index: int) -> Path:
    return folder / f"part-{index:05d}.parquet"


def write_shard(path: Path, clips: Clips, scene: Scene | None, names: Sequence[str] | None = None) -> None:
    """One shard of the store; `names`, if given, say where each clip comes from. UserError for ids it cannot hold."""
    import pyarrow as pa

    count, frames, height, width, _ = clips.pixels.shape
    content = np.ascontiguousarray(clips.pixels)
    offsets = np.arange(count + 1, dtype=np.int64) * (content.nbytes // max(count, 1))
    table = pa.table({
        "track_id": id_column(path, clips.track_id),
        "class": clips.label.tolist(), "split": clips.split.tolist(),
        "num_frames": pa.array(np.full(count, frames), pa.int16()),
        "height": pa.array(np.full(count, height), pa.int16()),
        "width": pa.array(np.full(count, width), pa.int16()),
        "fps": pa.array(np.full(count, clips.fps), pa.float32()),
        "frames": pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(content)]
        ),
        **({} if names is None else {"name": list(names)}),
    })
    meta = {} if scene is None else {"scene": json.dumps(dataclasses.asdict(scene), sort_keys=True)}
    write_table(path, table.replace_schema_metadata(meta), row_group_rows=SHARD_GROUP_ROWS)


class ClipStore(PerTrack):
    """A folder of shards, read by split or streamed; every page's checksum is verified on reading.

    >>> from pathlib import Path
    >>> import kinetoken
    >>> store = kinetoken.ClipStore(Path("data/motion/videos"))
    >>> store.shape  # frames, height, width
    (16, 64, 64)
    >>> store.read("test", limit=3).pixels.shape
    (3, 16, 64, 64, 3)
    """

    def __init__(self, folder: Path, foreign: bool = False) -> None:
        """UserError if the folder holds no shard, shards that are no clips, or track ids that no table can hold.

        `foreign` clips were made elsewhere and may have ids of any type, as `any_ids` gives them.
        """
        self.folder = folder
        self.shards = sorted(folder.glob("part-*.parquet"))
        if not self.shards:
            raise UserError(f"{folder}: no part-*.parquet; run render_videos first")
        index = [self._read(path, COLUMNS[:-1]) for path in self.shards]
        self.lengths = [len(table) for table in index]
        if not sum(self.lengths):
            raise UserError(f"{folder}: no clip in it")
        parts = list(zip(self.shards, index, strict=True))
        self.shape = self._one_shape(parts)
        self.fps = float(np.concatenate([read_numbers(path, table, "fps") for path, table in parts])[0])
        if self.fps <= 0:
            raise UserError(f"{self._place(0)}, column 'fps': must be above 0, is {self.fps:g}")
        ids = np.concatenate([plain_column(path, table, "track_id") for path, table in parts])
        self.track_id: Ids = any_ids(ids) if foreign else track_ids(ids, self._place)
        self.label = np.concatenate([read_names(path, table, "class") for path, table in parts])
        self.split = np.concatenate([read_names(path, table, "split") for path, table in parts])
        known = b"scene" in (index[0].schema.metadata or {})
        self._scene = None
        if known:
            self._scene = to_scene(read_about(self.shards[0], index[0], "scene"), f"{self.shards[0]}: metadata 'scene'")

    @property
    def scene(self) -> Scene:
        """How the clips were drawn; UserError for clips that Kinetoken did not draw."""
        if self._scene is None:
            raise UserError(f"{self.folder}: these clips do not say how they were drawn (no scene in their metadata)")
        return self._scene

    def read(self, *splits: str, limit: int | None = None) -> Clips:
        """The clips of the splits (all if none is named), at most the first `limit` of them, in order."""
        wanted = np.isin(self.split, splits) if splits else np.ones(len(self), bool)
        return self.take(np.flatnonzero(wanted)[:limit])

    def take(self, rows: np.ndarray) -> Clips:
        """The clips at these ascending rows of the store; shards that hold none of them are not read."""
        frames, height, width = self.shape
        pixels: Pixels | None = None
        start = filled = 0
        for path, length in zip(self.shards, self.lengths, strict=True):
            inside = rows[(rows >= start) & (rows < start + length)] - start
            if len(inside):
                found = self._pixels(path, self._read(path, ("frames",)), inside)
                if pixels is None:  # not before the first clips are as large as they say
                    pixels = np.empty((len(rows), frames, height, width, 3), np.uint8)
                pixels[filled : filled + len(inside)] = found
                filled += len(inside)
            start += length
        if pixels is None:
            pixels = np.empty((0, frames, height, width, 3), np.uint8)
        return Clips(self.track_id[rows], self.label[rows], self.split[rows], pixels, self.fps)

    def stream(self) -> Iterator[Clips]:
        """Shard by shard, so that memory holds one at a time."""
        start = 0
        for path, length in zip(self.shards, self.lengths, strict=True):
            rows = slice(start, start + length)
            pixels = self._pixels(path, self._read(path, ("frames",)), np.arange(length))
            yield Clips(self.track_id[rows], self.label[rows], self.split[rows], pixels, self.fps)
            start += length

    def _one_shape(self, parts: Sequence[tuple[Path, "pa.Table"]]) -> tuple[int, int, int]:
        """Frames, height and width. UserError for clips of several shapes, and for one that no clip can have."""
        columns = [
            np.concatenate([read_numbers(path, table, name) for path, table in parts])
            for name in ("num_frames", "height", "width")
        ]
        for row in np.flatnonzero(np.any([each != each[0] for each in columns], axis=0))[:1]:
            raise UserError(f"{self._place(int(row))}: a clip of another shape than the first")
        frames, height, width = (int(each[0]) for each in columns)
        shape = frames, height, width
        if not all(0 < each <= LARGEST for each in shape) or math.prod(shape) * 3 > LARGEST_CLIP:
            raise UserError(f"{self.shards[0]}: clips of {frames} frames of {width}×{height} pixels cannot be read")
        return shape

    def _place(self, row: int) -> str:
        """A row of the store as a row of its shard, in words."""
        shard = int(np.searchsorted(np.cumsum(self.lengths), row, side="right"))
        return f"{self.shards[shard]}: row {row - sum(self.lengths[:shard])}"

    def _read(self, path: Path, columns: Sequence[str]) -> "pa.Table":
        try:
            return read_table(path, list(columns))
        except KeyError as error:
            raise UserError(f"{path}: no clip shard ({error})") from None

    def _pixels(self, path: Path, table: "pa.Table", rows: np.ndarray) -> Pixels:
        import pyarrow as pa
        import pyarrow.compute as pc

        frames, height, width = self.shape
        size = frames * height * width * 3
        column = table["frames"].combine_chunks()
        if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
            raise UserError(f"{path}: column 'frames' holds {column.type} values; expected bytes")
        lengths = pc.fill_null(pc.binary_length(column), -1).to_numpy(zero_copy_only=False)[rows]
        for place in np.flatnonzero(lengths != size)[:1]:
            found = "is missing" if lengths[place] < 0 else f"holds {lengths[place]} bytes"
            raise UserError(f"{path}: row {rows[place]} {found}, {size} expected")
        pixels = np.empty((len(rows), size), np.uint8)
        for place, row in enumerate(rows):
            pixels[place] = np.frombuffer(column[int(row)].as_buffer(), np.uint8)
        return pixels.reshape(-1, frames, height, width, 3)


def safe_name(text: str, longest: int = 40) -> str:
    """Any text, such as a class's name, as a part of a file's name: letters, digits and -._ of it, the rest as _."""
    return re.sub(r"[^\w.-]", "_", text).strip(".")[:longest] or "_"


def export_webm(path: Path, pixels: Pixels, fps: float, scale: int = 4) -> None:
    """One clip (T, H, W, 3) uint8 as a playable VP9 WebM, each pixel enlarged `scale` times."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    large = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=round(fps))
        stream.height, stream.width, stream.pix_fmt = large.shape[1], large.shape[2], "yuv420p"
        stream.options = {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "0"}
        for image in large:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
