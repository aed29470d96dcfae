"""Codes to which models are applied: those of a codes table, or made of clips by the tokenizer that a model knows."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.codes import CodesMeta, CodesTable, read_codes, write_codes
from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.footage.windows import STEP, ClipNeed, Cut
from kinetoken.inference.models import Device, Saved, load_model, name_of
from kinetoken.inference.opening import NamedClips, OpenClips, Readable, open_clips
from kinetoken.inference.sources import ENCODED_AT_ONCE, chosen_rows
from kinetoken.scenes.own_tracks import UNLABELLED
from kinetoken.scenes.rendering import Scene
from kinetoken.tokenizer.network import Tokenizer, require_causal

READ_AT_ONCE = 256  # clips' codes, as the heads' own batches
NAMES = "clip"  # the column of a codes table that says what a clip is called, where its track id does not


@dataclasses.dataclass
class NamedCodes(CodesTable):
    """Codes of N clips, what each clip is called, and its frames a second (0 where codes do not say)."""

    name: NDArray[np.str_]
    fps: float = 0.0

    def of_slices(self, count: int) -> "NamedCodes":
        """The codes of the first time slices alone."""
        meta = dataclasses.replace(self.meta, grid=(count, *self.meta.grid[1:]))
        return dataclasses.replace(self, codes=self.codes[:, :count], meta=meta)


class OpenCodes:
    """A codes table that was opened."""

    scene: Scene | None = None
    notes: Sequence[str] = ()

    def __init__(self, path: Path, split: str | None = None, limit: int | None = None) -> None:
        """UserError for a table that is damaged or none, or has no clip of the split."""
        table = read_codes(path)
        if not len(table):
            raise UserError(f"{path}: no clip in it")
        rows = chosen_rows(table.split, split, str(path))[:limit]
        self.path, self.table, self.name = path, table.take(rows), _names(path, table)[rows]

    def __repr__(self) -> str:
        return f"OpenCodes({self.where})"

    @property
    def where(self) -> str:
        return str(self.path)

    @property
    def count(self) -> int:
        """How many clips."""
        return len(self.table)

    @property
    def labelled(self) -> bool:
        """Whether the table has classes."""
        return bool((self.table.label != UNLABELLED).any())

    def blocks(self) -> Iterator[NamedCodes]:
        """All codes, READ_AT_ONCE clips together."""
        for start in range(0, len(self.table), READ_AT_ONCE):
            part = self.table.take(np.arange(start, min(start + READ_AT_ONCE, len(self.table))))
            yield NamedCodes(
                part.track_id, part.label, part.split, part.codes, part.meta, self.name[start : start + READ_AT_ONCE]
            )


Opened = OpenClips | OpenCodes
ClipsOrCodes = Opened | Readable  # what the functions of this room are given: opened, or anything that `open_any` takes


def open_any(
    source: ClipsOrCodes, *, resize: bool = False, window: Cut | None = None, fps: float | None = None,
    scene: Scene | None = None, split: str | None = None, limit: int | None = None,
) -> Opened:
    """A codes table (a `.parquet` file that `tokenize` or `extract_codes` wrote), or clips as `open_clips` takes them.

    What is open already is given back as it is. UserError as `open_clips`.
    """
    if isinstance(source, (OpenClips, OpenCodes)):
        return source
    if isinstance(source, Sequence) and not isinstance(source, str) and len(source) == 1:
        source = source[0]
    if isinstance(source, (str, Path)) and holds_codes(Path(source)):
        return OpenCodes(Path(source), split, limit)
    return open_clips(source, resize=resize, window=window, fps=fps, scene=scene, split=split, limit=limit)


def clips_of(source: ClipsOrCodes) -> OpenClips:
    """The clips, for a model that reads pixels. UserError for codes."""
    opened = open_any(source)
    if isinstance(opened, OpenCodes):
        raise UserError(f"{opened.where}: a codes table, and this needs the clips themselves")
    return opened


def holds_codes(path: Path) -> bool:
    """Whether a file is a codes table of Kinetoken."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix != ".parquet" or not path.is_file():
        return False
    try:
        return b"codes" in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


class OnCodes(Protocol):
    """A model that reads codes, and knows the tokenizer whose codes it was trained on."""

    tokenizer_hash: str


@dataclasses.dataclass(frozen=True)
class CodesNeed:
    """What a model asks of codes."""

    reader: str  # that asks, for messages
    grid: tuple[int, int, int]  # of the clips that it was trained on
    slices: int  # read of each clip, the first ones
    tokenizer: str  # hash of the tokenizer that it was trained on
    past: bool = False  # codes of the slices read must not know later frames

    @classmethod
    def prefix(
        cls, model: OnCodes, given: Saved, kind: str, grid: tuple[int, int, int], frames: int | None, past: bool = False
    ) -> "CodesNeed":
        """Of a model that reads the first `frames` of a clip, all of them for None.

        UserError unless these are a whole number of its time slices.
        """
        name, most = name_of(given, kind), grid[0] * STEP
        frames = most if frames is None else frames
        if frames % STEP or not 0 < frames <= most:
            raise UserError(f"--frames {frames}: {name} reads a multiple of {STEP} frames, at most {most}")
        return cls(name, grid, frames // STEP, model.tokenizer_hash, past or frames < most)


def codes_for(
    source: Opened, need: CodesNeed, tokenizer: Saved | None, device: Device = "auto",
    progress: Progress | None = None,
) -> Iterator[NamedCodes]:
    """The codes that a model reads, READ_AT_ONCE clips together; made of clips by the tokenizer.

    UserError for clips without a tokenizer, codes or a tokenizer other than the model was trained on, and codes of
    another grid or too few slices.
    """
    module = None if tokenizer is None else fitting_tokenizer(tokenizer, need.tokenizer, need.reader, device)
    if isinstance(source, OpenCodes):
        source.table.meta.require_same_tokenizer(need.tokenizer, source.where, need.reader)
        _require_grid(source, need)
        parts = source.blocks()
    else:
        if module is None:
            raise UserError(f"{source.where}: {need.reader} reads codes; --tokenizer names what makes them of clips")
        if need.past:
            require_causal(module, Path(name_of(tokenizer or "", "tokenizer")))
        asked = ClipNeed(need.reader, module.image_size, need.slices * STEP, need.grid[0] * STEP)
        source.check(asked)
        parts = encoded_blocks(source, asked, module)
    for part in regrouped(parts, READ_AT_ONCE):
        yield part.of_slices(need.slices)
        if progress is not None:
            progress.advance(len(part))


def fitting_tokenizer(given: Saved, hashed: str, reader: str, device: Device = "auto") -> Tokenizer:
    """The tokenizer, if its hash is the one that the reader was trained with; else UserError naming both."""
    module: Tokenizer = load_model(given, "tokenizer", device=device)
    if module.hash != hashed:
        raise UserError(
            f"{reader}: trained on codes of tokenizer {hashed[:12]}, but {name_of(given, 'tokenizer')} is "
            f"{module.hash[:12]}; give the one that it was trained with"
        )
    return module


def encoded_blocks(clips: OpenClips, need: ClipNeed, tokenizer: Tokenizer) -> Iterator[NamedCodes]:
    """The codes of each block of clips."""
    for block in clips.blocks(need):
        yield encoded_clips(block, tokenizer)


def encoded_clips(clips: NamedClips, tokenizer: Tokenizer) -> NamedCodes:
    """The clips' codes, a few clips at a time as `extract_codes` makes them."""
    grid = tokenizer.grid(clips.pixels.shape[1])
    meta = CodesMeta(grid, tokenizer.codebook_size, tokenizer.quantizer_name, tokenizer.levels, tokenizer.hash)
    device, codes = tokenizer.background.device, np.empty((len(clips), *grid), np.int32)
    for start in range(0, len(clips), ENCODED_AT_ONCE):
        rows = slice(start, start + ENCODED_AT_ONCE)
        codes[rows] = tokenizer.encode(torch.from_numpy(clips.pixels[rows]).to(device)).cpu().numpy()
    return NamedCodes(clips.track_id, clips.label, clips.split, codes, meta, clips.name, clips.fps)


def regrouped(parts: Iterable[NamedCodes], size: int) -> Iterator[NamedCodes]:
    """The same clips in groups of `size`, the last one smaller; codes of one grid and frame rate go together."""
    held: NamedCodes | None = None
    for part in parts:
        if held is not None and (held.meta != part.meta or held.fps != part.fps):
            yield held
            held = None
        held = part if held is None else joined_codes([held, part])
        while len(held) >= size:
            yield _rows(held, slice(size))
            held = _rows(held, slice(size, None))
    if held is not None and len(held):
        yield held


def joined_codes(parts: Sequence[NamedCodes]) -> NamedCodes:
    """Codes of one grid, one after another."""
    track_id, label, split, codes, name = (
        np.concatenate([getattr(part, field) for part in parts])
        for field in ("track_id", "label", "split", "codes", "name")
    )
    return NamedCodes(track_id, label, split, codes, parts[0].meta, name, parts[0].fps)


def write_named_codes(path: str | Path, parts: Iterable[NamedCodes]) -> int:
    """The project's codes table, streamed; how many clips it holds.

    Where the clips' names are not their track ids, they stand in a column of their own, NAMES. UserError for no part,
    or parts of different grids.
    """
    import itertools

    path = Path(path)
    stream = iter(parts)
    first = next(stream, None)
    if first is None:
        raise UserError(f"{path}: no clips")
    names: list[str] = []

    def noted() -> Iterator[CodesTable]:
        for part in itertools.chain([first], stream):
            if part.meta != first.meta:
                raise UserError(
                    f"{part.name[0]}: codes of {part.meta.grid[0]} slices, those before have {first.meta.grid[0]}; a "
                    "codes table holds clips of one length"
                )
            names.extend(part.name.tolist())
            yield part

    write_codes(path, first.meta, noted())
    _add_names(path, names)
    return len(names)


def _add_names(path: Path, names: list[str]) -> None:
    """Put the names beside the codes, row group by row group, if they say more than the track ids."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = pq.read_table(path, columns=["track_id"])["track_id"].to_pylist()
    if names == [str(each) for each in ids]:
        return
    whole = pq.ParquetFile(path)
    schema = whole.schema_arrow.append(pa.field(NAMES, pa.string()))
    named, start = path.with_name(f"{path.name}.named"), 0
    try:
        with pq.ParquetWriter(named, schema, compression="zstd", write_page_checksum=True) as sink:
            for group in range(whole.num_row_groups):
                rows = whole.read_row_group(group)
                column = pa.array(names[start : start + len(rows)], pa.string())
                sink.write_table(rows.append_column(schema.field(NAMES), column).cast(schema))
                start += len(rows)
        named.replace(path)
    finally:
        named.unlink(missing_ok=True)


def _names(path: Path, table: CodesTable) -> NDArray[np.str_]:
    import pyarrow.parquet as pq

    if NAMES in pq.read_schema(path).names:
        return np.array(pq.read_table(path, columns=[NAMES])[NAMES].to_pylist(), np.str_)
    return table.track_id.astype(np.str_)


def _require_grid(source: OpenCodes, need: CodesNeed) -> None:
    found = source.table.meta.grid
    if found[1:] != need.grid[1:]:
        raise UserError(f"{source.where}: codes on a grid of {list(found)}; {need.reader} reads {list(need.grid)}")
    if found[0] < need.slices:
        raise UserError(
            f"{source.where}: codes of {found[0] * STEP} frames; {need.reader} reads {need.slices * STEP}"
        )
    if found[0] > need.grid[0]:
        raise UserError(
            f"{source.where}: codes of {found[0] * STEP} frames; {need.reader} reads clips of {need.grid[0] * STEP}. "
            "Tokenize the clips again, cut by --window first, last or all"
        )


def _rows(part: NamedCodes, rows: slice) -> NamedCodes:
    return dataclasses.replace(
        part, track_id=part.track_id[rows], label=part.label[rows], split=part.split[rows], codes=part.codes[rows],
        name=part.name[rows],
    )
