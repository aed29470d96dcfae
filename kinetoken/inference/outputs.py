"""Results as files: tables, codes and videos, each there whole or not at all.

What is there already is left alone unless `force` is set.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack, closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinetoken.core.artifacts import write_csv, write_table
from kinetoken.core.errors import UserError
from kinetoken.core.outputs import require_free, written_whole
from kinetoken.scenes.clips import Pixels

if TYPE_CHECKING:
    import pandas as pd

SCALE = 4  # that video files enlarge each pixel by, for eyes; arrays never are


def require_ending(out: Path, endings: Collection[str], force: bool) -> None:
    """UserError for an ending that does not say what is to be written, and for a place that is taken or not ours."""
    if out.suffix.lower() not in endings:
        raise UserError(f"{out}: the ending says what is written; choose {', '.join(endings)}")
    require_free(out, force=force)


def _write_parquet(path: Path, table: "pd.DataFrame") -> None:
    import pyarrow as pa

    write_table(path, pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None))


def _write_json(path: Path, table: "pd.DataFrame") -> None:
    path.write_text(to_json(table), encoding="utf-8")


TABLES: dict[str, Callable[[Path, "pd.DataFrame"], None]] = {
    ".parquet": _write_parquet, ".csv": write_csv, ".json": _write_json,
}


def write_result(out: str | Path, table: "pd.DataFrame", force: bool = False) -> None:
    """A table as Parquet, CSV (numbers to six digits) or JSON, by the ending. UserError as `require_ending`."""
    out = Path(out)
    require_ending(out, TABLES, force)
    with written_whole(out, force=force) as partial:
        TABLES[out.suffix.lower()](partial, table)


def to_json(table: "pd.DataFrame") -> str:
    """A list with an object a row; what is no number is null."""
    rows = [{key: _plain(value) for key, value in row.items()} for row in table.to_dict("records")]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_text(table: "pd.DataFrame", rows: int = 40) -> str:
    """For people: aligned columns, four digits; of a long table the beginning, and how many rows follow."""
    shown = table.head(rows)
    text = str(shown.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.4g}"))
    return text + (f"\n… {len(table) - rows} rows more; --out or --json gives all\n" if len(table) > rows else "\n")


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


Played = tuple[str, Pixels, float]  # a clip to be written: its name, (T, H, W, 3) uint8, frames a second


def require_media(out: Path, force: bool) -> None:
    """As `require_ending`, for one file of MEDIA, or for a folder that gets a file a clip."""
    if out.suffix:
        require_ending(out, MEDIA, force)
    else:
        require_free(out, force=force, folder=True)


def write_clips(
    out: str | Path, clips: Iterable[Played], *, scale: int = SCALE, ending: str = ".webm", force: bool = False
) -> int:
    """Write clips as they come; how many.

    To one file, in which they play one after another (`.webm` in VP9, `.mp4` in H.264, each pixel enlarged `scale`
    times) or follow each other as an array (N, T, H, W, 3) uint8 (`.npy`); or, where `out` has no ending, to a folder
    with a file a clip. UserError as `require_media`, for no clip at all, and for clips of unlike shapes in one file.
    """
    out = Path(out)
    require_media(out, force)
    if scale < 1:
        raise UserError(f"--scale {scale}: at least 1")
    if out.suffix:
        return _write_file(out, clips, scale, force)
    return _write_folder(out, clips, scale, ending, force)


def _write_file(out: Path, clips: Iterable[Played], scale: int, force: bool) -> int:
    count = 0
    with written_whole(out, force=force) as partial, ExitStack() as stack:
        sink: _ArrayFile | _VideoFile | None = None
        for name, pixels, fps in clips:
            if sink is None:
                sink = stack.enter_context(closing(_sink(partial, pixels.shape, fps, scale)))
            if pixels.shape != sink.shape:
                raise UserError(
                    f"{out}: {name} is {'×'.join(map(str, pixels.shape[:3]))}, the clips before it "
                    f"{'×'.join(map(str, sink.shape[:3]))}; a file holds clips of one shape, name a folder"
                )
            sink.add(pixels)
            count += 1
        if sink is None:
            raise UserError(f"{out}: no clips to write")
    return count


def _write_folder(out: Path, clips: Iterable[Played], scale: int, ending: str, force: bool) -> int:
    if ending not in MEDIA:
        raise UserError(f"{ending}: clips are written as {', '.join(MEDIA)}")
    used = set[str]()
    with written_whole(out, force=force, folder=True) as partial:
        partial.mkdir()
        for name, pixels, fps in clips:
            stem = _file_name(name, used)
            with closing(_sink(partial / f"{stem}{ending}", pixels.shape, fps, scale)) as sink:
                sink.add(pixels)
        if not used:
            raise UserError(f"{out}: no clips to write")
    return len(used)


def _file_name(name: str, used: set[str]) -> str:
    """`ball:16` as `ball-16`; a number follows where two would be called alike."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "clip"
    stem, again = plain, 2
    while stem in used:
        stem, again = f"{plain}-{again}", again + 1
    used.add(stem)
    return stem


class _ArrayFile:
    """Clips of one shape as an NPY array (N, T, H, W, 3) uint8, N not known before the end."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.shape, self._count, self._file = shape, 0, path.open("wb")
        self._write_head()

    def add(self, pixels: Pixels) -> None:
        self._file.write(np.ascontiguousarray(pixels).tobytes())
        self._count += 1

    def close(self) -> None:
        """Write the number of clips into the head, which NumPy keeps room for."""
        self._file.seek(0)
        self._write_head()
        self._file.close()

    def _write_head(self) -> None:
        head = {"descr": "|u1", "fortran_order": False, "shape": (self._count, *self.shape)}
        np.lib.format.write_array_header_1_0(self._file, head)


class _VideoFile:
    """Clips of one shape, played one after another, each pixel enlarged `scale` times."""

    def __init__(self, path: Path, shape: tuple[int, ...], fps: float, scale: int) -> None:
        import av

        codec, options = CODECS[path.suffix.lower()]
        self.shape, self._scale = shape, scale
        self._container: Any = av.open(str(path), "w")
        stream: Any = self._container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = shape[1] * scale, shape[2] * scale
        stream.pix_fmt, stream.options = "yuv420p", dict(options)
        self._stream = stream

    def add(self, pixels: Pixels) -> None:
        import av

        for image in pixels.repeat(self._scale, axis=1).repeat(self._scale, axis=2):
            self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))

    def close(self) -> None:
        try:
            self._container.mux(self._stream.encode())
        finally:
            self._container.close()


def _sink(path: Path, shape: tuple[int, ...], fps: float, scale: int) -> _ArrayFile | _VideoFile:
    if path.suffix.lower() == ".npy":
        return _ArrayFile(path, shape)
    return _VideoFile(path, shape, fps, scale)


CODECS = {  # by ending: codec and its options; those of WebM as the clip store's exports
    ".webm": ("libvpx-vp9", {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "0"}),
    ".mp4": ("libx264", {"crf": "18"}),
}
MEDIA = (*CODECS, ".npy")
