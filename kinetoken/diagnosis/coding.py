"""A user's codes as the doctor counts them: one pass finds their range, padding and layout; then each code has a place.

Codes that lie far above 0 (offset into a language model's vocabulary) are moved down; codes of a codebook too large
to be counted entry by entry are compacted to those that occur. Both are said aloud.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.diagnosis.checks.entries import PRECISIONS, representable
from kinetoken.diagnosis.columns import (
    Column,
    Source,
    is_table,
    is_tar,
    load_arrays,
    open_column,
    opened_shards,
    stored_arrays,
)
from kinetoken.diagnosis.formats import PADDING
from kinetoken.diagnosis.layouts import Known, Layout, guessed, parsed, stretched
from kinetoken.diagnosis.tables import open_table

Codes = NDArray[np.int64]  # (n, places, codebooks)

CODE_NAMES = ("codes", "indices", "tokens", "code", "ids")
MASK_NAMES = ("codes_mask", "attention_mask", "mask", "valid")  # 1 where there is a code
LENGTH_NAMES = ("length", "lengths", "num_tokens")
MOST_COUNTED = 2**18  # entries of all codebooks together that are counted one by one (LFQ's 2^18 is the largest in use)
LEAST_OFFSET = 256  # codes are taken to be offset only if the least is at least this


@dataclasses.dataclass(frozen=True)
class Book:
    """One codebook: code c has place c − offset, or, with `seen` (ascending codes less the offset), its place there.

    size: the entries that it is said or assumed to have; least, greatest: of the codes as the file has them;
    over: the code that one of `size`, rounded up by a float type too short for it, is counted as.
    """

    size: int
    offset: int
    least: int
    greatest: int
    seen: Codes | None = None
    over: int | None = None

    @property
    def counted(self) -> int:
        """Places that are counted."""
        return self.size if self.seen is None else len(self.seen)

    @property
    def entries(self) -> Codes:
        """The code, less the offset, of each place."""
        return np.arange(self.size, dtype=np.int64) if self.seen is None else self.seen

    def places(self, codes: Codes) -> Codes:
        """Places of codes as the file has them; PADDING stays."""
        moved = codes - self.offset
        if self.over is not None:
            moved = np.where(moved == self.size, self.over, moved)
        if self.seen is not None:
            moved = np.searchsorted(self.seen, moved)
        return np.where(codes == PADDING, PADDING, moved)


class CodesColumn:
    """The rows of a table of codes in one layout, as codes (n, places, codebooks) batch by batch."""

    def __init__(self, path: Source, layout: str | None, known: Known) -> None:
        """UserError for files without codes, layouts that do not fit, and several that do."""
        self.path, self.column = path, open_column(path, CODE_NAMES, "codes", fill=True)
        self.mask = _mask(path, len(self.column))
        self._wanted, self._known = None if layout is None else parsed(layout), known
        self.layout, self.grid = Layout(()), (0, 0, 0)

    def __len__(self) -> int:
        return len(self.column)

    def settle(self, first: NDArray[Any]) -> None:
        """Find the layout and the grid by the first rows, once it is known that they are codes."""
        shape, known = first.shape[1:], self._known
        if known.grid is not None and self.column.ragged:
            known = dataclasses.replace(known, grid=stretched(known.grid, shape, self.path))
        if self._wanted is not None and len(self._wanted.axes) != len(shape):
            raise UserError(
                f"{self.path}: --layout {self._wanted} has {len(self._wanted.axes)} axes after B, the rows have "
                f"{len(shape)}: {' × '.join(map(str, shape))}"
            )
        self.layout = self._wanted or guessed(first, known, self.path)
        self.grid = self.layout.grid(shape, known.grid, self.path)

    def settle_as(self, other: "CodesColumn") -> None:
        """Take the layout and grid of another table with rows of the same shape. UserError if theirs differ."""
        mine, theirs = (next(each.column.batches()) for each in (self, other))
        if mine.shape[1:] != theirs.shape[1:] or (np.issubdtype(mine.dtype, np.floating) and _continuous(self)):
            what = "holds numbers with fractions, not codes"
            if mine.shape[1:] != theirs.shape[1:]:
                mine_, theirs_ = (" × ".join(map(str, each.shape[1:])) for each in (mine, theirs))
                what = f"rows of {mine_} codes, but those of {other.path} have {theirs_}"
            raise UserError(f"{self.path}: {what}; a second extraction has codes of the same shape")
        self.layout, self.grid = other.layout, other.grid

    def batches(self) -> Iterator[Codes]:
        """All rows in order. UserError for rows of another shape."""
        start, mask = 0, None if self.mask is None else self.mask.following()
        for batch in self.column.batches():
            codes = self.layout.codes(batch, self.path, start)
            if mask is not None:
                codes = np.where(mask.there(len(codes), codes.shape[1], self.grid[0])[..., None], codes, PADDING)
            yield codes
            start += len(codes)

    def known_size(self) -> int | None:
        """The codebook's size by what the user or the file says, or by the width of bits and one-hot codes."""
        width = next(self.column.batches()).shape[-1]
        by_layout = {"BITS": 2**width, "ONEHOT": width}.get(self.layout.axes[-1])
        said = self._known.codebook_size
        if by_layout is not None and said not in (None, by_layout):
            raise UserError(f"{self.path}: read as {self.layout} the codes have {by_layout} values, but codebook_size "
                            f"is {said}")
        return said if by_layout is None else by_layout


class Mask:
    """Where there are codes: a number of places or time slices a row (N,), or 0 and 1 for each of them."""

    def __init__(self, path: Source, name: str, lengths: NDArray[np.int64] | None, column: Column | None) -> None:
        self.path, self.name, self.lengths, self.column = path, name, lengths, column
        self._buffer: list[NDArray[np.bool_]] = []
        self._start = 0
        self._batches: Iterator[Any] = iter(())

    def following(self) -> "Mask":
        """The same, read from its start."""
        found = Mask(self.path, self.name, self.lengths, self.column)
        found._batches = iter(()) if self.column is None else self.column.batches()
        return found

    def there(self, count: int, places: int, slices: int) -> NDArray[np.bool_]:
        """(count, places) of the next rows. UserError for a mask that does not fit."""
        if self.lengths is not None:
            lengths = self.lengths[self._start : self._start + count]
            self._start += count
            if slices > 1 and self.lengths.max(initial=0) <= slices:
                lengths = lengths * (places // slices)
            if len(lengths) and (lengths.max() > places or lengths.min() < 0):
                raise UserError(f"{self.path}: '{self.name}' runs to {lengths.max()}, but a row has {places} codes")
            return np.arange(places) < lengths[:, None]
        while sum(map(len, self._buffer)) < count:
            batch = next(self._batches)
            self._buffer.append((batch > 0).reshape(len(batch), -1))
        held = np.concatenate(self._buffer)
        self._buffer = [held[count:]]
        if places % held.shape[1]:
            raise UserError(
                f"{self.path}: '{self.name}' has {held.shape[1]} values a row, but a row has {places} codes"
            )
        return np.repeat(held[:count], places // held.shape[1], axis=1)


def _mask(path: Source, length: int) -> Mask | None:
    """The mask or the lengths that stand beside the codes, or nothing."""
    if is_table(path):
        table = open_table(path)
        there, single = table.names, {name for name in table.names if "list" not in str(table.type_of(name))}
    elif is_tar(path):
        shards = opened_shards(path)
        there, single = [*shards.wide, *shards.single], set(shards.single)
    else:
        arrays = stored_arrays(path)
        there, single = list(arrays), {name for name, values in arrays.items() if values.ndim == 1}
    for name in LENGTH_NAMES:
        if name in there and name in single:
            values = _lengths(path, name)
            if len(values) != length:
                raise UserError(f"{path}: {len(values)} values in '{name}', but {length} rows of codes")
            return Mask(path, name, values, None)
    for name in MASK_NAMES:
        if name in there and name not in single:
            column = open_column(path, (name,), name, fill=True)
            if len(column) != length:
                raise UserError(f"{path}: {len(column)} rows of '{name}', but {length} rows of codes")
            return Mask(path, name, None, column)
    return None


def _lengths(path: Source, name: str) -> NDArray[np.int64]:
    if is_table(path):
        parts = [batch.to_numpy(zero_copy_only=False) for batch in open_table(path).batches(name, 65536)]
        values = np.concatenate(parts)
    else:
        values = load_arrays(path, (name,))[name]
    if not np.issubdtype(values.dtype, np.integer):
        raise UserError(f"{path}: '{name}' must be whole numbers: the number of codes in each row")
    return values.astype(np.int64)


@dataclasses.dataclass(frozen=True)
class Coding:
    """What the pass over the codes found: their codebooks, what share is padding, and what was assumed.

    `continuous`: the table holds numbers with fractions, and no codes.
    """

    continuous: bool
    books: tuple[Book, ...] = ()
    padding: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def starts(self) -> list[int]:
        """The first place of each codebook among all that are counted."""
        return [sum(book.counted for book in self.books[:place]) for place in range(len(self.books))]

    def places(self, codes: Codes) -> NDArray[np.int32]:
        """Codes (n, places, codebooks) → places among those counted, one codebook after the other; PADDING stays."""
        parts = [
            np.where((found := book.places(codes[..., place])) == PADDING, PADDING, found + start)
            for place, (book, start) in enumerate(zip(self.books, self.starts, strict=True))
        ]
        return np.stack(parts, -1).astype(np.int32)


class Ranges:
    """Least and greatest code of each codebook, padding, and the first code outside, as batches are added."""

    def __init__(self, codes: CodesColumn, size: int | None) -> None:
        self.path, self.size, self.masked = codes.path, size, codes.mask is not None
        self.least: Codes | None = None
        self.greatest: Codes | None = None
        self.above: dict[int, tuple[int, int]] = {}  # codebook → row and value of the first code of `size` or more
        self.rounded: dict[int, list[int]] = {}  # codebook → float types, by their limit, that hold all its codes
        self.rows = self.padded = self.total = 0

    def add(self, codes: Codes) -> None:
        """UserError for codes below 0 that are no padding, and rows without any code."""
        there = codes != PADDING
        self._check(codes, there)
        least = np.where(there, codes, np.iinfo(np.int64).max).min((0, 1))
        greatest = codes.max((0, 1))
        self.least = least if self.least is None else np.minimum(self.least, least)
        self.greatest = greatest if self.greatest is None else np.maximum(self.greatest, greatest)
        if self.size is not None and (greatest >= self.size).any():
            for book in np.flatnonzero(greatest >= self.size).tolist():
                outside = codes[..., book] >= self.size
                row = int(np.argmax(outside.any(1)))
                self.above.setdefault(book, (self.rows + row, int(codes[row, outside[row], book][0])))
        self._round(codes)
        self.rows += len(codes)
        self.padded += int((~there).sum())
        self.total += there.size

    def _round(self, codes: Codes) -> None:
        for book in range(codes.shape[-1]):
            for limit in (alive := self.rounded.setdefault(book, [limit for _, limit in PRECISIONS]))[:]:
                high = codes[..., book][codes[..., book] > limit]
                if not representable(high, limit).all():
                    alive.remove(limit)

    def _check(self, codes: Codes, there: NDArray[np.bool_]) -> None:
        size = "" if self.size is None else f" of {self.size}"
        below = (codes < PADDING).any((1, 2))
        inside = np.zeros(len(codes), bool) if self.masked else (there[:, 1:] & ~there[:, :-1]).any((1, 2))
        if (wrong := below | inside).any():
            row = int(np.argmax(wrong))
            value = int(codes[row].min())
            raise UserError(
                f"{self.path}: row {self.rows + row}: code {value} lies outside the codebook{size}; {_below(value)}"
            )
        if not (full := there.any((1, 2))).all():
            raise UserError(f"{self.path}: row {self.rows + int(np.argmin(full))} holds no codes, only padding")


def _below(value: int) -> str:
    """What a code below 0 most likely is, and what to do."""
    if value == PADDING:
        return (f"{PADDING} is read as padding only at the end of a row: mark what is no code with a column 'mask' "
                "(1 where there is one), or cut it off")
    if value in (np.iinfo(np.int32).min, np.iinfo(np.int64).min):
        return ("this is what NaN or infinity becomes as a whole number: look for NaN in the latents, and compute "
                "indices in float32")
    if value >= np.iinfo(np.int16).min:
        return ("whole numbers of 16 bits without sign turn negative from 32,768 on if they are read with one: read "
                f"them as uint16, or store int32; other values than {PADDING} are no padding")
    return "a sum that exceeds 32 bits turns negative: compute and store the indices as int64"


def examined(codes: CodesColumn, levels: tuple[int, ...], progress: Progress) -> Coding:
    """One pass over all rows (two where codes must be compacted): are they codes, and which?

    Raises UserError for codes outside the codebook, NaN, and more distinct codes than can be counted.
    """
    if _continuous(codes):
        return Coding(True, notes=("The table holds numbers with fractions, not codes: no quantizer ran.",))
    codes.settle(next(codes.column.batches()))
    size = codes.known_size()
    ranges = Ranges(codes, size)
    for batch in codes.batches():
        ranges.add(batch)
        progress.advance(len(batch))
    assert ranges.least is not None and ranges.greatest is not None
    books, notes = [], []
    for place, (least, greatest) in enumerate(zip(ranges.least.tolist(), ranges.greatest.tolist(), strict=True)):
        book, note = _book(ranges, place, least, greatest, size, bool(levels))
        books.append(book)
        notes += [note] if note and note not in notes else []
    found, said = _countable(codes, books, size is not None)
    notes += said
    share = ranges.padded / ranges.total
    if share:
        notes.append(f"{share:.1%} of the table is padding ({_padding_said(codes)}), which is not counted.")
    return Coding(False, tuple(found), share, (*([codes.layout.said] if codes.layout.said else []), *notes))


def _padding_said(codes: CodesColumn) -> str:
    if codes.mask is not None:
        return f"by its column '{codes.mask.name}'"
    return "rows of unequal length" if codes.column.ragged else f"codes of {PADDING}"


def _continuous(codes: CodesColumn) -> bool:
    """Are there numbers with fractions? UserError for NaN and infinite values; whole types are not looked at."""
    found, start = False, 0
    for batch in codes.column.batches():
        if not np.issubdtype(batch.dtype, np.floating):
            return False
        bad = ~np.isfinite(batch.reshape(len(batch), -1)).all(1)
        if bad.any():
            raise UserError(f"{codes.path}: row {start + int(np.argmax(bad))} holds NaN or infinite values")
        found = found or bool((batch != np.rint(batch)).any())
        start += len(batch)
    return found


def _book(
    ranges: Ranges, place: int, least: int, greatest: int, size: int | None, exact: bool
) -> tuple[Book, str]:
    """One codebook and what is said of it; `exact`: codes must be what they are, since FSQ's digits are read."""
    if greatest == PADDING:
        return Book(size or 2, 0, PADDING, PADDING), f"Codebook {place + 1} has no codes, only padding."
    if size is None:
        if least >= LEAST_OFFSET and 0 < greatest - least < least:
            return Book(max(greatest - least + 1, 2), least, least, greatest), (
                f"Codes run from {least} to {greatest}: they are taken to be offset, and {least} was subtracted. The "
                f"codebook's size is not known; the largest code, {greatest}, is taken as its last."
            )
        note = f"The codebook's size is not known; the largest code, {greatest}, is taken as its last."
        return Book(max(greatest, 1) + 1, 0, least, greatest), note
    if greatest < size:
        return Book(size, 0, least, greatest), ""
    if place and least >= place * size and greatest < (place + 1) * size:
        return Book(size, place * size, least, greatest), (
            f"Each codebook's codes start where those of the one before it end, every {size}: this was subtracted."
        )
    if not exact and least >= size and greatest - least < size:
        return Book(size, least, least, greatest), (
            f"Codes run from {least} to {greatest}, above a codebook of {size}: they are taken to be offset, and "
            f"{least} was subtracted."
        )
    short = [limit for limit in ranges.rounded[place] if limit < size]
    if greatest == size and short:
        step = next(step for step in range(1, size) if representable(np.array([size - step]), short[0])[0])
        return Book(size, 0, least, greatest, over=size - step), (
            f"Code {size} occurs, one above the last: it was rounded up, and is counted as {size - step}."
        )
    row, value = ranges.above[place]
    raise UserError(
        f"{ranges.path}: row {row}: code {value} lies outside the codebook of {size}; the codes run from {least} to "
        f"{greatest}{_beyond(greatest, size)}"
    )


def _beyond(greatest: int, size: int) -> str:
    """The end of a sentence on codes above the codebook: what they most likely are, and what to do."""
    if greatest == size:
        return (f": {size} is a special token (mask, start), which must be cut off, or the codebook has {size + 1} "
                "entries, to be said by codebook_size in --config")
    return (": give the codebook's true size (codebook_size, or levels, in --config), subtract the offset of a "
            "language model's vocabulary, and cut special tokens off")


def _countable(codes: CodesColumn, books: list[Book], said: bool) -> tuple[list[Book], list[str]]:
    """The codebooks, those too large compacted to the codes that occur; `said`: their size is the user's.

    UserError if still too many occur.
    """
    if sum(book.size for book in books) <= MOST_COUNTED:
        return books, []
    seen: list[Codes] = [np.empty(0, np.int64) for _ in books]
    for batch in codes.batches():
        for place, book in enumerate(books):
            here = batch[..., place]
            seen[place] = np.union1d(seen[place], here[here != PADDING] - book.offset)
        if sum(map(len, seen)) > MOST_COUNTED:
            raise UserError(
                f"{codes.path}: more than {MOST_COUNTED:,} different codes occur, more than the doctor counts; "
                "give the codes of each codebook apart (an axis of codebooks, --layout B,T,H,W,Q) or fewer clips"
            )
    compact = [
        dataclasses.replace(book, seen=found, size=book.size if said else max(len(found), 2))
        for book, found in zip(books, seen, strict=True)
    ]
    of_what = f"of the {books[0].size:,} that the codebook has" if said else "and usage is counted among these"
    return compact, [
        f"Codes up to {max(book.greatest for book in books):,} occur, too many to count each: the "
        f"{sum(map(len, seen)):,} codes that occur are counted, {of_what}."
    ]


def range_numbers(coding: Coding) -> dict[str, float]:
    """Least and greatest code of the file, and the share of padding if there is any."""
    there = [book for book in coding.books if book.greatest != PADDING]
    found: dict[str, float] = {
        "code_least": min(book.least for book in there), "code_greatest": max(book.greatest for book in there),
    }
    if coding.padding:
        found["padding_share"] = coding.padding
    return found
